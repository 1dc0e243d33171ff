//! `GET|POST /oauth/signin`: the built-in sign-in and consent page, for development on one machine.
//!
//! Anyone may sign in under any name: it exists where the issuer is a loopback address, and nowhere else.

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::clock::OsEntropy;
use crate::domain::redirect_uri;
use crate::http::error::never_cached;
use crate::http::page::{escape, page, refused, see_other};
use crate::http::params::{BodyKinds, Params};
use crate::http::{PublicState, read_params};
use crate::service::handle::new_handle;
use crate::service::interaction::{Acceptance, InteractionError, OpenInteraction, Rejection};

/// Shows who asks for what, a field for a user name, and two buttons.
pub async fn show(request: HttpRequest, state: web::Data<PublicState>) -> HttpResponse {
    let Some(interaction) = interaction_of(&request) else { return refuse(&InteractionError::Unknown) };
    match state.server.interaction(&interaction, state.server.clock.now()).await {
        Ok(open) => form(&state, &interaction, &open, StatusCode::OK, None),
        Err(error) => refuse(&error),
    }
}

/// Takes the answer of the person, and sends the browser back to the client.
pub async fn answer(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let Some(interaction) = interaction_of(&request) else { return refuse(&InteractionError::Unknown) };
    let params = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => params,
        Err(error) => return refused(error.status(), error.code().as_str(), error.description()),
    };
    let (server, now) = (&state.server, state.server.clock.now());
    let from_our_page = request.cookie(&cookie_name(&interaction)).is_some_and(|cookie| {
        let given = params.one("csrf").unwrap_or_default();
        csrf_token(cookie.value(), &interaction).as_bytes().ct_eq(given.as_bytes()).into()
    });
    if !from_our_page {
        return refused(StatusCode::FORBIDDEN, "access_denied", "the form did not come from the sign-in page of this browser");
    }
    let done = match (params.one("decision"), user_name(&params)) {
        (Some("allow"), Some(sub)) => {
            let auth_time = Some(now.as_secs());
            server.accept(&interaction, Acceptance { sub, auth_time, ..Acceptance::default() }, now).await
        }
        (Some("allow"), None) => {
            return match server.interaction(&interaction, now).await {
                Ok(open) => form(&state, &interaction, &open, StatusCode::BAD_REQUEST, Some("Enter a user name of 1 to 64 characters.")),
                Err(error) => refuse(&error),
            };
        }
        (Some("deny"), _) => {
            let error_description = Some("the user did not allow it".to_owned());
            server.reject(&interaction, Rejection { error: "access_denied".to_owned(), error_description }, now).await
        }
        _ => return refused(StatusCode::BAD_REQUEST, "invalid_request", "the form is incomplete"),
    };
    match done {
        Ok(redirect_to) => see_other(&redirect_to),
        Err(error) => refuse(&error),
    }
}

fn interaction_of(request: &HttpRequest) -> Option<String> {
    let params = Params::from_query(request.query_string());
    params.ok().and_then(|params| params.one("interaction").map(str::to_owned))
}

fn user_name(params: &Params) -> Option<String> {
    let name = params.one("username").unwrap_or_default().trim();
    let good = !name.is_empty() && name.len() <= 64 && !name.chars().any(char::is_control);
    good.then(|| name.to_owned())
}

fn refuse(error: &InteractionError) -> HttpResponse {
    match error {
        InteractionError::Unknown => refused(StatusCode::NOT_FOUND, "unknown_interaction", "this sign-in is over, or never began"),
        InteractionError::Answered | InteractionError::UsedUp => {
            refused(StatusCode::CONFLICT, "answered", "this sign-in was answered before")
        }
        InteractionError::Unfit(why) => refused(StatusCode::BAD_REQUEST, "invalid_request", why),
        InteractionError::Store(error) => {
            tracing::warn!(%error, "a sign-in could not be decided");
            refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "the service can not decide right now; try again")
        }
    }
}

fn form(state: &PublicState, interaction: &str, open: &OpenInteraction, status: StatusCode, problem: Option<&str>) -> HttpResponse {
    let issuer = &state.server.issuer;
    let secret = new_handle(&mut OsEntropy);
    let cookie = Cookie::build(cookie_name(interaction), secret.as_str())
        .path(format!("{}{}", issuer.path(), crate::service::Issuer::SIGN_IN))
        .http_only(true)
        .secure(issuer.as_str().starts_with("https:"))
        .same_site(SameSite::Strict)
        .max_age(Duration::seconds(600))
        .finish();
    let metadata = open.client.metadata();
    let name = escape(metadata.client_name.as_deref().unwrap_or(open.request.client_id.as_str()));
    let origin = redirect_uri::origin(&open.request.redirect_uri);
    let hint = open.request.login_hint.as_deref().unwrap_or_default();
    let (described, problem) = match problem {
        Some(problem) => (
            " aria-invalid=\"true\" aria-describedby=\"problem\"",
            format!("<p class=\"error\" id=\"problem\" role=\"alert\">{}</p>\n", escape(problem)),
        ),
        None => ("", String::new()),
    };
    let main = format!(
        "<h1>Sign in to {name}</h1>\n\
         <p><strong>{name}</strong> asks for access in your name. Whatever you decide, you go back to <code>{}</code>.</p>\n\
         {}\
         <p class=\"note\">Development sign-in: no password is asked, any name is accepted.</p>\n\
         <form method=\"post\" action=\"?interaction={}\">\n\
         <input type=\"hidden\" name=\"csrf\" value=\"{}\">\n\
         <label for=\"username\">User name</label>\n{problem}\
         <input type=\"text\" id=\"username\" name=\"username\" value=\"{}\" maxlength=\"64\" autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" required autofocus{described}>\n\
         <div class=\"actions\">\n<button name=\"decision\" value=\"allow\">Allow</button>\n\
         <button class=\"second\" name=\"decision\" value=\"deny\" formnovalidate>Deny</button>\n</div>\n</form>\n\
         <p class=\"quiet\">Signing in at <code>{}</code></p>",
        escape(origin),
        asked(open),
        escape(interaction),
        csrf_token(&secret, interaction),
        escape(hint),
        escape(issuer.as_str()),
    );
    let mut answer = never_cached(status);
    answer.cookie(cookie);
    answer.insert_header((header::VARY, "Cookie"));
    page(answer, "Sign in", &main, &format!("'self' {}", form_target(origin)))
}

/// What is asked for, in words.
fn asked(open: &OpenInteraction) -> String {
    let mut html = String::new();
    let scopes: Vec<String> = open.request.scope.iter().map(|token| format!("<li>{}</li>\n", scope_in_words(token))).collect();
    if !scopes.is_empty() {
        html.push_str(&format!("<h2>It would be able to</h2>\n<ul>\n{}</ul>\n", scopes.concat()));
    }
    for entry in &open.request.authorization_details {
        html.push_str(&details_in_words(entry));
    }
    if scopes.is_empty() && open.request.authorization_details.is_empty() {
        html.push_str("<p>It asks for nothing but who you are.</p>\n");
    }
    html
}

fn scope_in_words(token: &str) -> String {
    let known = match token {
        "openid" => "know who you are",
        "profile" => "see your profile, such as your name",
        "email" => "see your e-mail address",
        "address" => "see your postal address",
        "phone" => "see your telephone number",
        "offline_access" => "keep this access while you are away",
        _ => return format!("use <code>{}</code>", escape(token)),
    };
    known.to_owned()
}

fn details_in_words(entry: &Map<String, Value>) -> String {
    let name = entry.get("type").and_then(Value::as_str).unwrap_or_default();
    let rows: Vec<String> = entry
        .iter()
        .filter(|(member, _)| *member != "type")
        .map(|(member, value)| format!("<dt>{}</dt>\n<dd>{}</dd>\n", escape(&spaced(member)), escape(&in_words(value))))
        .collect();
    let rows = if rows.is_empty() { "<p>Without any limit.</p>\n".to_owned() } else { format!("<dl>\n{}</dl>\n", rows.concat()) };
    format!("<h2>For {}</h2>\n{rows}", escape(&spaced(name)))
}

/// `account_information` reads better as two words.
fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => "none".to_owned(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{}: {}", spaced(name), in_words(value))).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// A redirect that answers a form is judged by `form-action` too. Private-use schemes and IPv6 addresses have no host that a policy
/// could name: there the scheme is allowed.
fn form_target(origin: &str) -> &str {
    match origin.split_once("://") {
        Some(("http" | "https", authority)) if !authority.starts_with('[') => origin,
        _ => &origin[..origin.find(':').map_or(origin.len(), |end| end + 1)],
    }
}

/// One cookie for each sign-in, so that two of them in one browser do not disturb each other.
fn cookie_name(interaction: &str) -> String {
    format!("keybound_signin_{}", &digest(&["name", interaction])[..12])
}

/// Known only to a page that was rendered for the holder of the cookie, for this sign-in.
fn csrf_token(cookie: &str, interaction: &str) -> String {
    digest(&["csrf", cookie, interaction])
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_what_the_redirect_leads_to() {
        for (origin, source) in [
            ("https://app.example", "https://app.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http:"),
            ("com.example.app:", "com.example.app:"),
            ("com.example.app://cb", "com.example.app:"),
        ] {
            assert_eq!(form_target(origin), source);
        }
    }

    #[test]
    fn details_are_told_in_words() {
        let entry = serde_json::json!({"type": "account_information", "actions": ["read", "list"], "limits": {"per_day": 5}, "x": "<b>"});
        let html = details_in_words(entry.as_object().expect("an object"));
        for part in ["For account information", "<dd>read, list</dd>", "<dd>per day: 5</dd>", "&lt;b&gt;"] {
            assert!(html.contains(part), "{part} in {html}");
        }
    }
}
