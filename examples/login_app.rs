//! A login application in one file: the smallest thing that Keybound can send browsers to.
//!
//! Keybound checks the authorization request and redirects to `interaction.url?interaction=<id>`. This program asks the management
//! API who wants what, shows it together with a password form, and tells the management API how it ended. It never sees a code, a
//! token or a key.
//!
//! ```text
//! LOGIN_LISTEN=127.0.0.1:3000 KEYBOUND_MANAGEMENT=http://127.0.0.1:8082 KEYBOUND_TOKEN=… LOGIN_USERS=alice:wonderland \
//!     cargo run --example login_app
//! ```
//!
//! with `[interaction] url = "http://127.0.0.1:3000/"` in Keybound's configuration. What a real one has in addition: password
//! hashes instead of passwords, limits on attempts, a session so that `prompt=none` can succeed, and TLS.
#![allow(clippy::disallowed_methods, reason = "a program of its own, with a clock of its own")]

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

/// What the handlers share.
struct Login {
    /// Talks to the management API.
    client: reqwest::Client,
    /// Its base URL.
    management: String,
    /// Its bearer token.
    token: String,
    /// Passwords by user name.
    users: HashMap<String, String>,
}

impl Login {
    /// Who wants what; `None` where the sign-in is over or never began.
    async fn interaction(&self, id: &str) -> Result<Option<Value>, reqwest::Error> {
        let answer = self.client.get(self.url(id, "")).bearer_auth(&self.token).send().await?;
        if answer.status().is_success() { answer.json().await.map(Some) } else { Ok(None) }
    }

    /// Tells how the sign-in ended; returns where the browser goes.
    async fn finish(&self, id: &str, verb: &str, body: &Value) -> Result<Option<String>, reqwest::Error> {
        let answer = self.client.post(self.url(id, verb)).bearer_auth(&self.token).json(body).send().await?;
        let answer: Value = answer.json().await?;
        Ok(answer["redirect_to"].as_str().map(str::to_owned))
    }

    /// The name of the interaction came from a browser: it may become one segment of the path and nothing else.
    fn url(&self, id: &str, verb: &str) -> String {
        let id: String = id.chars().filter(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_')).collect();
        format!("{}/admin/interactions/{id}{verb}", self.management)
    }
}

/// The query that Keybound adds.
#[derive(Deserialize)]
struct Named {
    interaction: String,
}

/// What the form sends.
#[derive(Deserialize)]
struct Form {
    csrf: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    decision: String,
}

async fn show(named: web::Query<Named>, login: web::Data<Login>) -> HttpResponse {
    page(&login, &named.interaction, "").await
}

async fn submit(request: HttpRequest, named: web::Query<Named>, form: web::Form<Form>, login: web::Data<Login>) -> HttpResponse {
    let id = &named.interaction;
    // Other sites can send this form too, but not with this cookie, nor with its value.
    let ours = request.cookie(COOKIE).is_some_and(|cookie| cookie.value().as_bytes().ct_eq(form.csrf.as_bytes()).into());
    if !ours {
        return HttpResponse::Forbidden().body("the form did not come from this page");
    }
    let outcome = if form.decision == "allow" {
        let known = login.users.get(&form.username).is_some_and(|password| password.as_bytes().ct_eq(form.password.as_bytes()).into());
        if !known {
            return page(&login, id, "<p role=\"alert\">Unknown user name or wrong password.</p>").await;
        }
        // Everything that was asked for; `scope` and `authorization_details` here could be less.
        let body = json!({"sub": form.username, "auth_time": now(), "acr": "urn:example:password"});
        login.finish(id, "/accept", &body).await
    } else {
        login.finish(id, "/reject", &json!({"error": "access_denied", "error_description": "the user did not allow it"})).await
    };
    match outcome {
        Ok(Some(redirect_to)) => see_other(&redirect_to),
        Ok(None) => HttpResponse::Conflict().body("this sign-in is over"),
        Err(error) => unreachable_management(&error),
    }
}

async fn page(login: &Login, id: &str, problem: &str) -> HttpResponse {
    let interaction = match login.interaction(id).await {
        Ok(Some(interaction)) => interaction,
        Ok(None) => return HttpResponse::NotFound().body("this sign-in is over, or never began"),
        Err(error) => return unreachable_management(&error),
    };
    // Nobody stays signed in here, so nobody can be signed in without seeing anything.
    if interaction["prompt"] == "none" {
        return match login.finish(id, "/reject", &json!({"error": "login_required"})).await {
            Ok(Some(redirect_to)) => see_other(&redirect_to),
            Ok(None) => HttpResponse::Conflict().body("this sign-in is over"),
            Err(error) => unreachable_management(&error),
        };
    }
    let client = &interaction["client"];
    let name = escape(client["client_name"].as_str().or(client["client_id"].as_str()).unwrap_or("an application"));
    let origin = escape(interaction["redirect_origin"].as_str().unwrap_or_default());
    let scope = escape(interaction["scope"].as_str().unwrap_or_default());
    let mut secret = [0; 32];
    if getrandom::fill(&mut secret).is_err() {
        return HttpResponse::ServiceUnavailable().finish();
    }
    let csrf: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let cookie = Cookie::build(COOKIE, csrf.as_str()).http_only(true).same_site(SameSite::Strict).path("/").finish();
    HttpResponse::Ok()
        .cookie(cookie)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"))
        .body(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>Sign in</title>\n<main>\n<h1>Sign in to {name}</h1>\n\
             <p>It asks for <code>{scope}</code>. You go back to <code>{origin}</code>.</p>\n{problem}\n<form method=\"post\">\n\
             <input type=\"hidden\" name=\"csrf\" value=\"{csrf}\">\n\
             <p><label>User name <input name=\"username\" autocomplete=\"username\" required autofocus></label></p>\n\
             <p><label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label></p>\n\
             <p><button name=\"decision\" value=\"allow\">Allow</button>\n\
             <button name=\"decision\" value=\"deny\" formnovalidate>Deny</button></p>\n</form>\n</main>\n</html>\n"
        ))
}

fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).insert_header((header::CACHE_CONTROL, "no-store")).finish()
}

fn unreachable_management(error: &reqwest::Error) -> HttpResponse {
    eprintln!("the management API does not answer: {error}");
    HttpResponse::ServiceUnavailable().body("try again later")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

const COOKIE: &str = "login_csrf";

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    // The HTTP client wants to know which cryptography to use before it is made; a second installation changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let users = setting("LOGIN_USERS", "alice:wonderland");
    let users = users.split(',').filter_map(|pair| pair.split_once(':')).map(|(name, password)| (name.to_owned(), password.to_owned()));
    let login = web::Data::new(Login {
        client: reqwest::Client::new(),
        management: setting("KEYBOUND_MANAGEMENT", "http://127.0.0.1:8082"),
        token: setting("KEYBOUND_TOKEN", ""),
        users: users.collect(),
    });
    HttpServer::new(move || App::new().app_data(login.clone()).service(web::resource("/").get(show).post(submit)))
        .workers(1)
        .bind(setting("LOGIN_LISTEN", "127.0.0.1:3000"))?
        .run()
        .await
}
