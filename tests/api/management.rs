//! The management listener (design section 8).

use keybound_testkit::service::MANAGEMENT_TOKEN;
use keybound_testkit::{Client, ClientLogin, Connection, Key, Request, Service, Session, Store, both_stores};
use serde_json::{Value, json};

use crate::start;

async fn unauthenticated(service: &Service, method: &str, path: &str, token: Option<&str>) -> u16 {
    let request = Request::new(method, path).json(&json!({}));
    let request = match token {
        Some(token) => request.header("Authorization", token),
        None => request,
    };
    Connection::new(service.management).send(&request).await.expect("an answer").status
}

/// BCP-14: nobody manages without the token.
async fn the_management_token_is_needed(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let grant = format!("/admin/grants/{}", session.grant_id);
    for (method, path) in [
        ("POST", "/admin/grants"),
        ("GET", "/admin/grants?sub=alice"),
        ("DELETE", &grant),
        ("GET", "/admin/clients"),
        ("POST", "/admin/clients"),
    ] {
        for token in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic x"), Some(MANAGEMENT_TOKEN)] {
            assert_eq!(unauthenticated(&service, method, path, token).await, 401, "{method} {path} {token:?}");
        }
        let cut = format!("Bearer {}", &MANAGEMENT_TOKEN[1..]);
        assert_eq!(unauthenticated(&service, method, path, Some(&cut)).await, 401);
    }
    session.refresh().send(&service).await.tokens();
}

/// REF-04: health is for anyone who reaches the listener.
async fn health_needs_no_token(store: Store) {
    let service = start(store).await;
    for path in ["/livez", "/readyz"] {
        let answer = Connection::new(service.management).send(&Request::new("GET", path)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
    }
}

/// TOK-05, BCP-04: grants are made, listed and ended.
async fn grants_are_made_listed_and_ended(store: Store) {
    let service = start(store).await;
    let session = service.session_with("spa", Key::es256(), json!({"sub": "bob"})).await;
    let other = service.session_with("web", Key::es256(), json!({"sub": "bob"})).await;
    let names = |page: &Value| -> Vec<String> {
        let grants = page["grants"].as_array().unwrap_or_else(|| panic!("no grants in {page}"));
        grants.iter().map(|grant| grant["grant_id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let jkt = format!("/admin/grants?jkt={}", session.key.jkt());
    let by_jkt = service.manage("GET", &jkt, None).await;
    assert_eq!(by_jkt.status, 200, "{by_jkt}");
    assert!(!by_jkt.text().contains("kbr_"), "no usable token is listed");
    assert_eq!(names(&by_jkt.json()), [session.grant_id.as_str()]);
    let by_sub = names(&service.manage("GET", "/admin/grants?sub=bob", None).await.json());
    assert!(by_sub.contains(&session.grant_id) && by_sub.contains(&other.grant_id) && by_sub.len() == 2, "{by_sub:?}");
    let by_client = names(&service.manage("GET", "/admin/grants?sub=bob&client_id=web", None).await.json());
    assert_eq!(by_client, [other.grant_id.as_str()]);
    assert!(matches!(service.revoke(&session.grant_id).await.status, 200 | 204));
    session.refresh().send(&service).await.invalid_grant();
    other.refresh().send(&service).await.tokens();
    for unknown in ["AAAAAAAAAAAAAAAAAAAAAA", "not-a-grant"] {
        let answer = service.revoke(unknown).await;
        assert!(matches!(answer.status, 400 | 404), "{unknown}: {answer}");
    }
}

/// BCP-04: everything of one end user, client or key ends at once.
async fn grants_end_together(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    let carol = [
        service.session_with("spa", key.clone(), json!({"sub": "carol"})).await,
        service.session_with("web", Key::es256(), json!({"sub": "carol"})).await,
    ];
    let dave = service.session_with("spa", key.clone(), json!({"sub": "dave"})).await;
    let erin = service.session_with("spa", Key::es256(), json!({"sub": "erin"})).await;
    assert!(matches!(service.manage("DELETE", "/admin/grants?sub=carol", None).await.status, 200 | 204));
    for session in &carol {
        session.refresh().send(&service).await.invalid_grant();
    }
    dave.refresh().send(&service).await.tokens();
    assert!(matches!(service.manage("DELETE", &format!("/admin/grants?jkt={}", key.jkt()), None).await.status, 200 | 204));
    dave.refresh().send(&service).await.invalid_grant();
    erin.refresh().send(&service).await.tokens();
    assert!(matches!(service.manage("DELETE", "/admin/grants?client_id=spa", None).await.status, 200 | 204));
    erin.refresh().send(&service).await.invalid_grant();
    assert_eq!(service.manage("DELETE", "/admin/grants", None).await.status, 400, "nothing named, nothing ended");
}

/// TOK-05, TOK-08: no unbound family can be made, and no nonsense.
async fn a_grant_is_checked(store: Store) {
    let service = start(store).await;
    let jkt = Key::es256().jkt();
    let good = json!({"client_id": "spa", "sub": "alice", "scope": "accounts", "jkt": jkt});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for body in [
        with("jkt", json!("short")),
        with("jkt", json!(null)),
        with("client_id", json!("nobody")),
        with("scope", json!("beyond registration")),
        with("unheard_of", json!(1)),
        with("resource", json!(["https://elsewhere.example.test/"])),
        with("authorization_details", json!([{"no_type": 1}])),
        with("authorization_details", json!([{"type": "not_registered"}])),
        json!({"client_id": "spa", "sub": "alice", "scope": "accounts"}),
        json!({"sub": "alice", "scope": "accounts", "jkt": jkt}),
        json!([]),
    ] {
        let answer = service.manage("POST", "/admin/grants", Some(body.clone())).await;
        assert!(matches!(answer.status, 400 | 404), "{body}: {answer}");
    }
    let made = service.manage("POST", "/admin/grants", Some(good)).await;
    assert_eq!(made.status, 201, "{made}");
    for member in ["grant_id", "refresh_token", "expires_at"] {
        assert!(made.json().get(member).is_some(), "{member}: {made}");
    }
}

/// META-5.2, SEC-13: clients are registered, replaced and removed at run time.
async fn clients_are_registered_at_run_time(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    let client = json!({"client_id": "late", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.jwk()]},
        "grant_types": ["client_credentials", "refresh_token"], "scope": "accounts"});
    let made = service.manage("POST", "/admin/clients", Some(client.clone())).await;
    assert_eq!(made.status, 201, "{made}");
    let late = Client { id: "late".to_owned(), login: ClientLogin::Assertion(key.clone()) };
    let call = || late.credentials_call(&Key::es256(), service.issuer());
    call().send(&service).await.tokens();
    let shown = service.manage("GET", "/admin/clients/late", None).await;
    assert_eq!((shown.status, &shown.json()["client_id"]), (200, &json!("late")));
    let grant =
        service.manage("POST", "/admin/grants", Some(json!({"client_id": "late", "sub": "alice", "scope": "accounts"}))).await.json();
    let session = Session {
        client: late.clone(),
        key: Key::es256(),
        issuer: service.issuer().to_owned(),
        refresh_token: grant["refresh_token"].as_str().expect("text").to_owned(),
        grant_id: grant["grant_id"].as_str().expect("text").to_owned(),
    };
    session.refresh().send(&service).await.tokens();
    let mut narrower = client.clone();
    narrower["grant_types"] = json!(["refresh_token"]);
    let replaced = service.manage("PUT", "/admin/clients/late", Some(narrower)).await;
    assert_eq!(replaced.status, 200, "{replaced}");
    call().send(&service).await.refused(400, "unauthorized_client");
    assert!(matches!(service.manage("DELETE", "/admin/clients/late", None).await.status, 200 | 204));
    call().send(&service).await.refused(401, "invalid_client");
    session.refresh().send(&service).await.refused(401, "invalid_client");
    assert_eq!(service.manage("GET", "/admin/clients/late", None).await.status, 404);
    // A client of the same name later does not inherit the old one's grants.
    assert_eq!(service.manage("POST", "/admin/clients", Some(client)).await.status, 201);
    session.refresh().send(&service).await.invalid_grant();
}

/// META-5.2: what is not legal is not registered; secrets are never shown.
async fn a_registration_is_checked(store: Store) {
    let service = start(store).await;
    let good = json!({"client_id": "fresh", "token_endpoint_auth_method": "client_secret_basic", "client_secret": "0123456789abcdef0123",
        "grant_types": ["client_credentials"], "scope": "accounts"});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for body in [
        with("unheard_of", json!(1)),
        with("token_endpoint_auth_method", json!("tls_client_auth")),
        with("token_endpoint_auth_method", json!("none")),
        with("client_secret", json!("")),
        with("grant_types", json!(["password"])),
        with("dpop_bound_access_tokens", json!("yes")),
        with("client_id", json!("")),
        with("scope", json!("a \"quoted\" scope")),
    ] {
        let answer = service.manage("POST", "/admin/clients", Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}: {answer}");
    }
    let made = service.manage("POST", "/admin/clients", Some(good.clone())).await;
    assert_eq!(made.status, 201, "{made}");
    let again = service.manage("POST", "/admin/clients", Some(good)).await;
    assert_eq!(again.status, 409, "{again}");
    for path in ["/admin/clients", "/admin/clients/fresh", "/admin/clients/web"] {
        let shown = service.manage("GET", path, None).await;
        assert_eq!(shown.status, 200, "{shown}");
        assert!(!shown.text().contains("0123456789abcdef0123") && !shown.text().contains(keybound_testkit::service::SECRET), "{path}");
    }
    for method in ["PUT", "DELETE"] {
        let body = (method == "PUT").then(|| json!({"client_id": "web"}));
        let answer = service.manage(method, "/admin/clients/web", body).await;
        assert!(matches!(answer.status, 400 | 403 | 409), "configured clients can't be changed: {answer}");
    }
}

/// SEC-05: the two listeners are apart.
async fn management_is_not_on_the_public_listener(store: Store) {
    let service = start(store).await;
    for path in ["/admin/clients", "/admin/grants", "/livez", "/readyz"] {
        let request = Request::new("GET", path).header("Authorization", format!("Bearer {MANAGEMENT_TOKEN}"));
        assert_eq!(service.send(&request).await.status, 404, "{path}");
    }
    let token = Connection::new(service.management).send(&Request::new("POST", "/oauth/token")).await.expect("an answer");
    assert_eq!(token.status, 404);
}

both_stores!(
    the_management_token_is_needed,
    health_needs_no_token,
    grants_are_made_listed_and_ended,
    grants_end_together,
    a_grant_is_checked,
    clients_are_registered_at_run_time,
    a_registration_is_checked,
    management_is_not_on_the_public_listener,
);
