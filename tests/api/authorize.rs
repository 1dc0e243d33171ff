//! The authorization endpoint, and the login application's side of it.

use keybound_testkit::authorization::{REDIRECT_URI, accept, authorize, error_page, interaction, location, reject, settings};
use keybound_testkit::http::form;
use keybound_testkit::{Client, ClientLogin, CodeFlow, Request, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

async fn start(store: Store) -> Service {
    start_with(store, settings()).await
}

async fn shown(service: &Service, interaction: &str) -> Value {
    let answer = service.manage("GET", &format!("/admin/interactions/{interaction}"), None).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()
}

/// BCP-06, FAPI-AZ-10, FAPI-AZ-11: what can't be answered at a redirect URI is told to a person.
async fn without_a_trusted_redirect_uri_nothing_is_redirected(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    for bad in [
        flow.clone().without("client_id"),
        flow.clone().set("client_id", "nobody"),
        flow.clone().set("client_id", "\u{e9}"),
        flow.clone().set("redirect_uri", "https://evil.example.test/cb"),
        flow.clone().set("redirect_uri", "https://app.example.test/cb/"),
        flow.clone().set("redirect_uri", "https://app.example.test/cb?x=1"),
        flow.clone().set("redirect_uri", "https://app.example.test/cb#x"),
        flow.clone().set("redirect_uri", "//app.example.test/cb"),
        flow.clone().add("state", "twice"),
        flow.clone().add("redirect_uri", "https://evil.example.test/cb"),
        flow.clone().set("client_secret", "in the URL"),
        flow.clone().set("request_uri", "urn:x").set("request", "a.b.c"),
    ] {
        error_page(&bad.open_plain(&service).await, "invalid_request");
    }
    error_page(&authorize(&service, "client_id=%zz").await, "invalid_request");
    error_page(&authorize(&service, "").await, "invalid_request");
    error_page(&flow.clone().set("request", "a.b.c").open_plain(&service).await, "invalid_request_object");
    interaction(&flow.open_plain(&service).await);
}

/// BCP-06: markup in a request stays text.
async fn an_error_page_repeats_no_markup(store: Store) {
    let service = start(store).await;
    let page = authorize(&service, &form(&[("client_id", "<script>alert(1)</script>"), ("redirect_uri", "javascript:alert(1)")])).await;
    error_page(&page, "invalid_request");
    assert!(!page.text().contains("<script"), "{page}");
    assert!(page.header("Content-Security-Policy").is_some_and(|policy| policy.starts_with("default-src 'none'")), "{page}");
}

/// ISS-01, BCP-08, PKCE-01, FAPI-AZ-01, FAPI-AZ-07, FAPI-AZ-14
async fn every_other_refusal_goes_to_the_redirect_uri(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app").set("state", format!("{}&?#+ \u{e9}", "s".repeat(1500)));
    let long = "n".repeat(513);
    for (name, value, code) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "form_post", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("dpop_jkt", "short", "invalid_request"),
        ("nonce", long.as_str(), "invalid_request"),
        ("prompt", "none consent", "invalid_request"),
        ("scope", "admin", "invalid_scope"),
        ("resource", "https://unknown.example.test", "invalid_target"),
        ("authorization_details", "[{}]", "invalid_authorization_details"),
    ] {
        let bad = flow.clone().set(name, value);
        let answer = bad.answer(&location(&bad.open_plain(&service).await));
        assert_eq!(answer.get("error").map(String::as_str), Some(code), "{name}={value}");
        assert!(answer.get("error_description").is_some_and(|text| !text.is_empty()));
    }
    let no_code = CodeFlow::known(&service, "no-code-app");
    let answer = no_code.answer(&location(&no_code.open_plain(&service).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("unauthorized_client"));
    interaction(&flow.set("nonce", "n".repeat(512)).open_plain(&service).await);
}

/// FAPI-AZ-03: who must push can't do without.
async fn a_client_that_must_push_is_told_so(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "pushing-app");
    let answer = flow.answer(&location(&flow.open_plain(&service).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("invalid_request"));
    flow.tokens(&service).await;

    let strict = start_with(store, settings().with("authorize.require_par", true)).await;
    let flow = CodeFlow::known(&strict, "app");
    let answer = flow.answer(&location(&flow.open_plain(&strict).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("invalid_request"));
    let metadata = strict.get("/.well-known/openid-configuration").await.json();
    assert_eq!(metadata["require_pushed_authorization_requests"], true);
    flow.tokens(&strict).await;
}

/// JKT-01: the key in plain parameters counts as well.
async fn a_plain_request_leads_to_tokens(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let flow = flow.clone().set("dpop_jkt", flow.key.jkt());
    let interaction = interaction(&flow.open_plain(&service).await);
    let code = flow.code_of(&accept(&service, &interaction, json!({"sub": "alice"})).await);
    flow.redeem(&code).prove(&keybound_testkit::Key::es256()).send(&service).await.invalid_grant();
    flow.redeem(&code).send(&service).await.tokens();
}

/// BCP-12: no other origin may read anything here, and nobody posts here.
async fn the_page_is_not_shared_with_other_origins(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let query: Vec<(&str, &str)> = ["client_id", "redirect_uri", "response_type", "code_challenge", "code_challenge_method"]
        .into_iter()
        .map(|name| (name, flow.parameter(name).expect("a parameter")))
        .collect();
    let target = format!("/oauth/authorize?{}", form(&query));
    let answer = service.send(&Request::new("GET", &target).header("Origin", "https://app.example.test")).await;
    assert_eq!(answer.status, 303, "{answer}");
    let preflight =
        Request::new("OPTIONS", &target).header("Origin", "https://app.example.test").header("Access-Control-Request-Method", "GET");
    let preflight = service.send(&preflight).await;
    assert_eq!(preflight.status, 405, "{preflight}");
    for response in [&answer, &preflight] {
        assert!(response.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("access-control-")), "{response}");
    }
    let posted = service.send(&Request::new("POST", "/oauth/authorize").form(&query)).await;
    assert_eq!((posted.status, posted.header("Allow")), (405, Some("GET")), "{posted}");
    let pushed = service.send(&Request::new("POST", "/oauth/par").header("Origin", "https://app.example.test").form(&query)).await;
    assert_eq!(pushed.header("Access-Control-Allow-Origin"), Some("*"), "{pushed}");
}

/// BCP-06, FAPI-AZ-08: the port of a loopback redirect URI is the client's to choose, and nothing else is.
async fn a_native_client_listens_on_any_port(store: Store) {
    let native = json!({"client_id": "native", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/cb", "com.example.native:/cb"], "grant_types": ["authorization_code", "refresh_token"]});
    let service = start_with(store, settings().client(native)).await;
    let client = Client { id: "native".to_owned(), login: ClientLogin::Public };
    let flow = CodeFlow::new(service.issuer(), client).set("scope", "openid");
    for uri in ["http://127.0.0.1:49152/cb", "http://127.0.0.1/cb", "com.example.native:/cb"] {
        flow.clone().set("redirect_uri", uri).tokens(&service).await;
    }
    for uri in ["http://127.0.0.1:49152/other", "http://localhost:49152/cb", "https://127.0.0.1:49152/cb", "com.example.native:/other"] {
        error_page(&flow.clone().set("redirect_uri", uri).open_plain(&service).await, "invalid_request");
    }
    error_page(&flow.without("redirect_uri").open_plain(&service).await, "invalid_request");
}

/// FAPI-AZ-06: one registered URI need not be named, and then not at the token endpoint either.
async fn the_only_redirect_uri_may_be_left_out(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "webapp").without("redirect_uri");
    let code = flow.code(&service).await;
    flow.redeem(&code).set("redirect_uri", "https://app.example.test/other").send(&service).await.invalid_grant();
    flow.redeem(&code).send(&service).await.tokens();
    let code = flow.code(&service).await;
    flow.redeem(&code).set("redirect_uri", REDIRECT_URI).send(&service).await.tokens();
}

async fn the_login_application_learns_what_is_asked(store: Store) {
    let service = start(store).await;
    let details = json!([{"type": "account_information", "actions": ["list_accounts"]}]);
    let flow = CodeFlow::known(&service, "app")
        .set("resource", "https://api.example.test/accounts")
        .set("authorization_details", details.to_string())
        .set("prompt", "none")
        .set("max_age", "60")
        .set("login_hint", "alice@example.test")
        .set("acr_values", "urn:one")
        .set("claims", "{\"userinfo\":{\"email\":null}}");
    let interaction = interaction(&flow.open_plain(&service).await);
    let mut shown = shown(&service, &interaction).await;
    let left = shown["expires_at"].take().as_i64().expect("a time") - keybound_testkit::time::now();
    assert!((590..=600).contains(&left), "{left}");
    let expected = json!({
        "client": {"client_id": "app", "client_name": "Example application"},
        "redirect_uri": REDIRECT_URI, "redirect_origin": "https://app.example.test",
        "scope": "accounts openid", "authorization_details": details, "resource": ["https://api.example.test/accounts"],
        "claims": {"userinfo": {"email": null}}, "prompt": "none", "max_age": 60, "login_hint": "alice@example.test",
        "acr_values": "urn:one", "expires_at": null,
    });
    assert_eq!(shown, expected);
}

async fn an_acceptance_is_never_wider_than_the_request(store: Store) {
    let service = start(store).await;
    let details = json!([{"type": "account_information", "actions": ["list_accounts", "read_balances"]}]);
    let flow = CodeFlow::known(&service, "app").set("authorization_details", details.to_string());
    let interaction = interaction(&flow.open_plain(&service).await);
    let path = format!("/admin/interactions/{interaction}/accept");
    for bad in [
        json!({}),
        json!({"sub": ""}),
        json!({"sub": "a".repeat(256)}),
        json!({"sub": "a\nb"}),
        json!({"sub": "alice", "scope": "openid payments"}),
        json!({"sub": "alice", "authorization_details": [{"type": "payment"}]}),
        json!({"sub": "alice", "authorization_details": [{"type": "account_information", "actions": ["write"]}]}),
        json!({"sub": "alice", "authorization_details": {"type": "account_information"}}),
        json!({"sub": "alice", "auth_time": 4_000_000_000_i64}),
        json!({"sub": "alice", "unknown": 1}),
    ] {
        let answer = service.manage("POST", &path, Some(bad.clone())).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")), "{bad}: {answer}");
    }
    let less = json!([{"type": "account_information", "actions": ["read_balances"]}]);
    let agreed = json!({"sub": "alice", "scope": "accounts", "authorization_details": less});
    let code = flow.code_of(&accept(&service, &interaction, agreed).await);
    let tokens = flow.redeem(&code).send(&service).await.tokens();
    assert_eq!((&tokens["scope"], &tokens["authorization_details"]), (&json!("accounts"), &less));
    assert!(tokens.get("id_token").is_none(), "{tokens}");
}

async fn an_interaction_is_answered_once(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let id = interaction(&flow.open_plain(&service).await);
    let path = format!("/admin/interactions/{id}/accept");
    let tries = (0..32).map(|_| service.manage("POST", &path, Some(json!({"sub": "alice"}))));
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)));
    for (method, path, body) in [
        ("POST", format!("/admin/interactions/{id}/reject"), Some(json!({"error": "access_denied"}))),
        ("GET", format!("/admin/interactions/{id}"), None),
    ] {
        assert_eq!(service.manage(method, &path, body).await.status, 409);
    }
    for unknown in ["x", &"A".repeat(43)] {
        assert_eq!(service.manage("GET", &format!("/admin/interactions/{unknown}"), None).await.status, 404);
    }
    let open = service.send(&Request::new("GET", &format!("/admin/interactions/{id}"))).await;
    assert_eq!(open.status, 404, "the management API is not on the public listener");
}

/// ISS-01, PAR-04: a refusal ends a pushed request as well.
async fn a_rejection_reaches_the_client(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let name = flow.push(&service).await;
    let id = interaction(&flow.open_pushed(&service, &name).await);
    for bad in [
        json!({"error": ""}),
        json!({"error": "Access Denied"}),
        json!({"error": "access_denied", "error_description": "a \"quote\""}),
        json!({"error_description": "x"}),
    ] {
        assert_eq!(service.manage("POST", &format!("/admin/interactions/{id}/reject"), Some(bad)).await.status, 400);
    }
    let body = json!({"error": "access_denied", "error_description": "alice said no"});
    let answer = flow.answer(&reject(&service, &id, body).await);
    assert_eq!(answer.get("error").map(String::as_str), Some("access_denied"));
    assert_eq!(answer.get("error_description").map(String::as_str), Some("alice said no"));
    assert!(!answer.contains_key("code"));
    error_page(&flow.open_pushed(&service, &name).await, "invalid_request_uri");
}

async fn max_age_is_kept(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app").set("max_age", "100").set("nonce", "n-1");
    let now = keybound_testkit::time::now();
    let id = interaction(&flow.open_plain(&service).await);
    for bad in [json!({"sub": "alice"}), json!({"sub": "alice", "auth_time": now - 120})] {
        assert_eq!(service.manage("POST", &format!("/admin/interactions/{id}/accept"), Some(bad)).await.status, 400);
    }
    let code = flow.code_of(&accept(&service, &id, json!({"sub": "alice", "auth_time": now - 90, "acr": "urn:one"})).await);
    let tokens = flow.redeem(&code).send(&service).await.tokens();
    let (_, claims, ..) = keybound_testkit::jose::split(tokens["id_token"].as_str().expect("an ID token"));
    assert_eq!((&claims["auth_time"], &claims["acr"], &claims["nonce"]), (&json!(now - 90), &json!("urn:one"), &json!("n-1")));
}

/// Nobody can sign in where no login application is configured, and the client is told.
async fn without_a_login_application_nobody_signs_in(store: Store) {
    let app =
        json!({"client_id": "app", "token_endpoint_auth_method": "none", "redirect_uris": [REDIRECT_URI], "scope": "openid accounts"});
    let service = start_with(store, Settings::default().client(app)).await;
    let flow = CodeFlow::known(&service, "app");
    let answer = flow.answer(&location(&flow.open_plain(&service).await));
    assert_eq!(answer.get("error").map(String::as_str), Some("server_error"));
}

/// MD-03, ISS-02, BCP-08
async fn metadata_names_the_endpoints(store: Store) {
    let service = start(store).await;
    let issuer = service.issuer();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let metadata = service.get(path).await.json();
        assert_eq!(metadata["authorization_endpoint"], format!("{issuer}/oauth/authorize"));
        assert_eq!(metadata["pushed_authorization_request_endpoint"], format!("{issuer}/oauth/par"));
        assert_eq!(metadata["require_pushed_authorization_requests"], false);
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        assert_eq!(metadata["response_types_supported"], json!(["code"]));
        assert!(metadata["grant_types_supported"].as_array().is_some_and(|types| types.contains(&json!("authorization_code"))));
        let algs = metadata["request_object_signing_alg_values_supported"].as_array().expect("a list");
        assert!(algs.contains(&json!("ES256")) && !algs.contains(&json!("RS256")) && !algs.contains(&json!("none")));
    }
}

both_stores!(
    without_a_trusted_redirect_uri_nothing_is_redirected,
    an_error_page_repeats_no_markup,
    every_other_refusal_goes_to_the_redirect_uri,
    a_client_that_must_push_is_told_so,
    a_plain_request_leads_to_tokens,
    the_page_is_not_shared_with_other_origins,
    a_native_client_listens_on_any_port,
    the_only_redirect_uri_may_be_left_out,
    the_login_application_learns_what_is_asked,
    an_acceptance_is_never_wider_than_the_request,
    an_interaction_is_answered_once,
    a_rejection_reaches_the_client,
    max_age_is_kept,
    without_a_login_application_nobody_signs_in,
    metadata_names_the_endpoints,
);
