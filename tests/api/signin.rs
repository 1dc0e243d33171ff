//! The built-in sign-in page, as a browser without script uses it.

use keybound_testkit::authorization::{REDIRECT_URI, location, pairs, settings};
use keybound_testkit::http::Response;
use keybound_testkit::{CodeFlow, Request, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

const LOOPBACK: &str = "http://127.0.0.1:8080";

fn builtin() -> Settings {
    settings().with("issuer", LOOPBACK).with("interaction", json!({}))
}

async fn start(store: Store) -> Service {
    start_with(store, builtin()).await
}

/// The page, and what its form would send.
struct Page {
    path: String,
    response: Response,
    cookie: String,
    csrf: String,
}

impl Page {
    async fn open(service: &Service, flow: &CodeFlow) -> Self {
        let location = location(&flow.open_plain(service).await);
        let path = location.strip_prefix(LOOPBACK).unwrap_or_else(|| panic!("{location}")).to_owned();
        Self::at(service, path).await
    }

    async fn at(service: &Service, path: String) -> Self {
        let response = service.get(&path).await;
        assert_eq!(response.status, 200, "{response}");
        let cookie = response.header("Set-Cookie").expect("a cookie").to_owned();
        let html = response.text();
        let csrf = html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned();
        Self { path, response, cookie, csrf }
    }

    async fn submit(&self, service: &Service, fields: &[(&str, &str)]) -> Response {
        let cookie = self.cookie.split(';').next().unwrap_or_default();
        let mut all = vec![("csrf", self.csrf.as_str())];
        all.extend_from_slice(fields);
        service.send(&Request::new("POST", &self.path).header("Cookie", cookie).form(&all)).await
    }
}

async fn allowing_leads_to_tokens(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app").set("nonce", "n");
    let page = Page::open(&service, &flow).await;
    let answer = page.submit(&service, &[("username", "alice"), ("decision", "allow")]).await;
    let code = flow.code_of(&location(&answer));
    let tokens = flow.redeem(&code).send(&service).await.tokens();
    assert_eq!((tokens["sub"].as_str(), tokens["scope"].as_str()), (Some("alice"), Some("accounts openid")));
    let again = page.submit(&service, &[("username", "mallory"), ("decision", "allow")]).await;
    assert_eq!(again.status, 409, "{again}");
}

/// ISS-01
async fn denying_leads_back_without_a_code(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let page = Page::open(&service, &flow).await;
    let answer = flow.answer(&location(&page.submit(&service, &[("username", ""), ("decision", "deny")]).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("access_denied"));
}

/// The page says who asks for what and where one goes next, in a form that needs no script.
async fn the_page_says_what_is_asked(store: Store) {
    let service = start(store).await;
    let details = json!([{"type": "account_information", "actions": ["list_accounts"], "note": "<script>x</script>"}]);
    let flow = CodeFlow::known(&service, "app").set("authorization_details", details.to_string()).set("login_hint", "a\"lice");
    let html = Page::open(&service, &flow).await.response.text();
    for part in [
        "<html lang=\"en\">",
        "Example application",
        "<code>https://app.example.test</code>",
        "know who you are",
        "<code>accounts</code>",
        "For account information",
        "list_accounts",
        "<label for=\"username\">",
        "value=\"a&quot;lice\"",
        "any name is accepted",
        "value=\"allow\"",
        "value=\"deny\"",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(!html.contains("<script"), "{html}");
}

/// The page can't be framed, runs nothing, and its form leads here or to the client.
async fn the_page_is_locked_down(store: Store) {
    let service = start(store).await;
    let response = Page::open(&service, &CodeFlow::known(&service, "app")).await.response;
    let policy = response.header("Content-Security-Policy").expect("a policy").to_owned();
    for part in ["default-src 'none'", "form-action 'self' https://app.example.test;", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{part} is missing in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(response.header("X-Frame-Options"), Some("DENY"));
    assert_eq!(response.header("Referrer-Policy"), Some("no-referrer"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    let cookie = response.header("Set-Cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/oauth/signin", "Max-Age=600"] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
}

async fn a_form_from_elsewhere_is_refused(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let page = Page::open(&service, &flow).await;
    let other = Page::open(&service, &flow).await;
    let fields = [("username", "alice"), ("decision", "allow")];
    let without_cookie = Page { cookie: String::new(), ..Page::at(&service, page.path.clone()).await };
    let foreign_cookie = Page { cookie: other.cookie.clone(), ..Page::at(&service, page.path.clone()).await };
    let foreign_token = Page { csrf: other.csrf.clone(), ..Page::at(&service, page.path.clone()).await };
    for forged in [without_cookie, foreign_cookie, foreign_token] {
        let answer = forged.submit(&service, &fields).await;
        assert_eq!(answer.status, 403, "{answer}");
        assert_eq!(answer.header("Location"), None);
    }
    flow.code_of(&location(&page.submit(&service, &fields).await));
}

async fn a_missing_name_is_asked_for_again(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let page = Page::open(&service, &flow).await;
    for name in ["", "   ", &"a".repeat(65)] {
        let answer = page.submit(&service, &[("username", name), ("decision", "allow")]).await;
        assert_eq!(answer.status, 400, "{answer}");
        assert!(answer.text().contains("role=\"alert\""), "{answer}");
    }
    let odd = page.submit(&service, &[("username", "alice"), ("decision", "maybe")]).await;
    assert_eq!(odd.status, 400, "{odd}");
    let fresh = Page::at(&service, page.path.clone()).await;
    flow.code_of(&location(&fresh.submit(&service, &[("username", &"a".repeat(64)), ("decision", "allow")]).await));
}

async fn a_sign_in_that_is_not_there_gets_a_page(store: Store) {
    let service = start(store).await;
    for path in ["/oauth/signin", "/oauth/signin?interaction=x", &format!("/oauth/signin?interaction={}", "A".repeat(43))] {
        let answer = service.get(path).await;
        assert_eq!(answer.status, 404, "{answer}");
        assert!(answer.text().contains("This sign-in can not go on"), "{answer}");
    }
}

/// Nothing may be shown, and nobody stays signed in here.
async fn prompt_none_asks_for_a_login(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app").set("prompt", "none");
    let answer = flow.answer(&location(&flow.open_plain(&service).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("login_required"));
    Page::open(&service, &flow.set("prompt", "login")).await;
}

/// The page exists on loopback issuers without a login application, and nowhere else.
async fn the_page_is_for_loopback_issuers(store: Store) {
    let elsewhere = start_with(store, settings()).await;
    assert_eq!(elsewhere.get("/oauth/signin?interaction=x").await.status, 404);
    assert!(elsewhere.get("/oauth/signin?interaction=x").await.json()["error"].is_string());
    let off = start_with(store, builtin().with("interaction", json!({"builtin": false}))).await;
    let flow = CodeFlow::known(&off, "app");
    let target = location(&flow.open_plain(&off).await);
    let (redirect_uri, query) = target.split_once('?').expect("a query");
    assert_eq!((redirect_uri, pairs(query).get("error").map(String::as_str)), (REDIRECT_URI, Some("server_error")));
    let on: Value = start(store).await.get("/.well-known/openid-configuration").await.json();
    assert_eq!(on["authorization_endpoint"], format!("{LOOPBACK}/oauth/authorize"));
}

both_stores!(
    allowing_leads_to_tokens,
    denying_leads_back_without_a_code,
    the_page_says_what_is_asked,
    the_page_is_locked_down,
    a_form_from_elsewhere_is_refused,
    a_missing_name_is_asked_for_again,
    a_sign_in_that_is_not_there_gets_a_page,
    prompt_none_asks_for_a_login,
    the_page_is_for_loopback_issuers,
);
