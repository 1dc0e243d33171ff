//! Clients that register themselves (RFC 7591), and the rotation of client secrets.

use keybound_testkit::{Call, Client, ClientLogin, Endpoint, Key, Request, Response, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::{start, start_with};

const PATH: &str = "/oauth/register";
const TOKEN: &str = "initial-access-token-of-the-tests";

fn open() -> Settings {
    Settings::default().with("registration.mode", "open")
}

fn guarded() -> Settings {
    Settings::default().with("registration.mode", "token").with("registration.token", TOKEN)
}

async fn register(service: &Service, body: &Value) -> Response {
    service.send(&Request::new("POST", PATH).json(body)).await
}

async fn register_with(service: &Service, token: &str, body: &Value) -> Response {
    service.send(&Request::new("POST", PATH).header("Authorization", format!("Bearer {token}")).json(body)).await
}

fn refused(answer: &Response, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{answer}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
}

fn web_app() -> Value {
    json!({"client_name": "App", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none",
        "contacts": ["someone@app.example"], "scope": "accounts openid"})
}

/// MD-03: the endpoint is there, and named, exactly where it was switched on.
async fn registration_is_off_unless_it_is_switched_on(store: Store) {
    let service = start(store).await;
    assert_eq!(register(&service, &web_app()).await.status, 404);
    let path = "/.well-known/oauth-authorization-server";
    assert!(service.get(path).await.json().get("registration_endpoint").is_none());
    let service = start_with(store, open()).await;
    assert_eq!(service.get(path).await.json()["registration_endpoint"], format!("{}{PATH}", service.issuer()));
    assert_eq!(register(&service, &web_app()).await.status, 201);
    assert_eq!(service.get(PATH).await.status, 405);
}

/// RFC 7591 section 3.2.1
async fn a_registered_client_is_answered_with_its_registration(store: Store) {
    let service = start_with(store, open()).await;
    let answer = register(&service, &web_app()).await;
    assert_eq!((answer.status, answer.header("Cache-Control")), (201, Some("no-store")), "{answer}");
    let client = answer.json();
    assert!(client["client_id"].as_str().is_some_and(|id| id.len() == 22), "{client}");
    assert!(client["client_id_issued_at"].is_i64() && client.get("client_secret").is_none(), "{client}");
    assert_eq!(client["redirect_uris"], json!(["https://app.example/cb"]));
    assert_eq!(client["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!((&client["token_endpoint_auth_method"], &client["dpop_bound_access_tokens"]), (&json!("none"), &json!(true)));
    assert!(client.get("contacts").is_none(), "what is not understood is left out: {client}");
    // The client is there: a grant can be made for it, and refreshed with its key.
    let id = client["client_id"].as_str().expect("a client_id");
    let session = service.session_with(id, Key::es256(), json!({"scope": "accounts"})).await;
    session.refresh().send(&service).await.tokens();
}

/// A client gets a secret where it wants one or says nothing, and it works.
async fn a_made_secret_is_shown_once_and_works(store: Store) {
    let service = start_with(store, guarded()).await;
    let own = json!({"grant_types": ["client_credentials"], "scope": "accounts"});
    let client = register_with(&service, TOKEN, &own).await;
    assert_eq!(client.status, 201, "{client}");
    let client = client.json();
    assert_eq!((&client["token_endpoint_auth_method"], &client["client_secret_expires_at"]), (&json!("client_secret_basic"), &json!(0)));
    let secret = client["client_secret"].as_str().expect("a secret").to_owned();
    let id = client["client_id"].as_str().expect("a client_id").to_owned();
    let shown = service.manage("GET", &format!("/admin/clients/{id}"), None).await.json();
    assert!(shown.get("client_secret").is_none(), "{shown}");
    let client = Client { id, login: ClientLogin::Basic(secret) };
    client.credentials_call(&Key::es256(), service.issuer()).send(&service).await.tokens();
}

async fn the_initial_access_token_is_asked_for(store: Store) {
    let service = start_with(store, guarded()).await;
    let without = register(&service, &web_app()).await;
    refused(&without, 401, "invalid_token");
    assert!(without.header("WWW-Authenticate").is_some_and(|challenge| challenge.starts_with("Bearer ")), "{without}");
    for wrong in ["", "wrong", &TOKEN[1..], &format!("{TOKEN}x")] {
        refused(&register_with(&service, wrong, &web_app()).await, 401, "invalid_token");
    }
    assert_eq!(register_with(&service, TOKEN, &web_app()).await.status, 201);
}

/// RFC 7591 section 3.2.2
async fn a_bad_registration_is_refused_and_names_the_member(store: Store) {
    let service = start_with(store, open()).await;
    let with = |name: &str, value: Value| {
        let mut body = web_app();
        body[name] = value;
        body
    };
    for (name, value, error) in [
        ("redirect_uris", json!([]), "invalid_redirect_uri"),
        ("redirect_uris", json!(["http://app.example/cb"]), "invalid_redirect_uri"),
        ("redirect_uris", json!(["https://app.example/cb#x"]), "invalid_redirect_uri"),
        ("redirect_uris", json!(["javascript:alert(1)"]), "invalid_redirect_uri"),
        ("redirect_uris", json!("https://app.example/cb"), "invalid_redirect_uri"),
        ("grant_types", json!(["client_credentials"]), "invalid_client_metadata"),
        ("grant_types", json!(["urn:ietf:params:oauth:grant-type:token-exchange"]), "invalid_client_metadata"),
        ("grant_types", json!(["implicit"]), "invalid_client_metadata"),
        ("response_types", json!(["token"]), "invalid_client_metadata"),
        ("token_endpoint_auth_method", json!("tls_client_auth"), "invalid_client_metadata"),
        ("jwks_uri", json!("https://127.0.0.1/jwks"), "invalid_client_metadata"),
        ("jwks_uri", json!("https://169.254.169.254/jwks"), "invalid_client_metadata"),
        ("jwks_uri", json!("https://10.0.0.1/jwks"), "invalid_client_metadata"),
        ("jwks_uri", json!("http://app.example/jwks"), "invalid_client_metadata"),
        ("jwks", json!({"keys": [Key::es256().private_jwk()]}), "invalid_client_metadata"),
        ("scope", json!(["accounts"]), "invalid_client_metadata"),
        ("client_name", json!("x".repeat(201)), "invalid_client_metadata"),
    ] {
        let mut body = with(name, value.clone());
        if name.starts_with("jwks") {
            body["token_endpoint_auth_method"] = json!("private_key_jwt");
        }
        let answer = register(&service, &body).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some(error)), "{name} {value}: {answer}");
        assert!(answer.json()["error_description"].as_str().is_some_and(|text| text.contains(name)), "{answer}");
    }
    let keyless = register(&service, &with("token_endpoint_auth_method", json!("private_key_jwt"))).await;
    refused(&keyless, 400, "invalid_client_metadata");
    let post = async |content_type: &str, body: &str| service.send(&Request::new("POST", PATH).body(content_type, body)).await;
    assert_eq!(post("application/x-www-form-urlencoded", "client_name=x").await.status, 415);
    for body in ["", "[]", "{", r#"{"client_name":"a","client_name":"b"}"#] {
        assert_eq!(post("application/json", body).await.status, 400, "{body}");
    }
    assert_eq!(post("application/json", &format!("{{\"x\":\"{}\"}}", "x".repeat(20_000))).await.status, 413);
    assert_eq!(register(&service, &web_app()).await.status, 201);
}

async fn what_a_client_may_not_choose_it_does_not_get(store: Store) {
    let service = start_with(store, open()).await;
    let mut body = web_app();
    for (name, value) in [
        ("client_id", json!("spa")),
        ("client_secret", json!("0123456789abcdef")),
        ("dpop_bound_access_tokens", json!(false)),
        ("refresh_token_rotation", json!("never")),
        ("bound_subject_without_proof", json!(true)),
        ("client_assertion_audience", json!("compat")),
    ] {
        body[name] = value;
    }
    let client = register(&service, &body).await;
    assert_eq!(client.status, 201, "{client}");
    let client = client.json();
    assert_ne!(client["client_id"], "spa");
    assert_eq!(client["dpop_bound_access_tokens"], true);
    for name in ["client_secret", "refresh_token_rotation", "bound_subject_without_proof", "client_assertion_audience"] {
        assert!(client.get(name).is_none(), "{client}");
    }
}

async fn there_are_so_many_and_no_more(store: Store) {
    let service = start_with(store, open().with("registration.max_clients", 2)).await;
    let first = register(&service, &web_app()).await;
    assert_eq!((first.status, register(&service, &web_app()).await.status), (201, 201));
    refused(&register(&service, &web_app()).await, 403, "invalid_request");
    // The operator's own don't count, and one that goes makes room.
    assert_eq!(service.manage("POST", "/admin/clients", Some(json!({"client_id": "own"}))).await.status, 201);
    let id = first.json()["client_id"].as_str().expect("a client_id").to_owned();
    assert_eq!(service.manage("DELETE", &format!("/admin/clients/{id}"), None).await.status, 204);
    assert_eq!(register(&service, &web_app()).await.status, 201);
}

/// TEP-13
async fn too_many_in_one_minute_are_429(store: Store) {
    let service = start_with(store, open().with("registration.max_per_minute", 1)).await;
    // A minute may begin between two of them, and not between two pairs.
    let mut last = register(&service, &web_app()).await;
    for _ in 0..3 {
        last = register(&service, &web_app()).await;
        if last.status == 429 {
            break;
        }
    }
    assert_eq!(last.status, 429, "{last}");
    let seconds = last.header("Retry-After").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=60).contains(&seconds)), "{last}");
}

async fn a_rotated_secret_overlaps_with_the_old_one(store: Store) {
    let service = start(store).await;
    let body = json!({"client_id": "rotating", "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"],
        "scope": "accounts"});
    let created = service.manage("POST", "/admin/clients", Some(body)).await.json();
    let old = created["client_secret"].as_str().expect("a secret").to_owned();
    let works = async |secret: &str| {
        let client = Client { id: "rotating".to_owned(), login: ClientLogin::Basic(secret.to_owned()) };
        client.credentials_call(&Key::es256(), service.issuer()).send(&service).await.status() == 200
    };
    let rotate = async |body: Value| service.manage("POST", "/admin/clients/rotating/secret", Some(body)).await;
    let answer = rotate(json!({"overlap_s": 60})).await;
    assert_eq!((answer.status, answer.header("Cache-Control")), (201, Some("no-store")), "{answer}");
    let new = answer.json()["client_secret"].as_str().expect("a secret").to_owned();
    assert!(works(&old).await && works(&new).await && !works("0123456789abcdef").await);
    let newest = rotate(json!({"overlap_s": 0})).await.json()["client_secret"].as_str().expect("a secret").to_owned();
    assert!(!works(&old).await && !works(&new).await && works(&newest).await);
    assert_eq!(rotate(json!({"overlap_s": 7_776_001})).await.status, 400);
    assert_eq!(rotate(json!({"overlap": 1})).await.status, 400);
    for (id, status) in [("spa", 409), ("web", 409), ("nobody", 404)] {
        assert_eq!(service.manage("POST", &format!("/admin/clients/{id}/secret"), Some(json!({}))).await.status, status, "{id}");
    }
    assert!(!service.log().contains(&newest) && !service.log().contains(&old));
}

/// A self-registered client without the grant can't use it, whatever it asks.
async fn an_open_registration_gives_no_way_to_act_alone(store: Store) {
    let service = start_with(store, open()).await;
    let mut body = web_app();
    body["token_endpoint_auth_method"] = json!("client_secret_basic");
    body["grant_types"] = json!(["authorization_code", "client_credentials"]);
    let client = register(&service, &body).await.json();
    assert_eq!(client["grant_types"], json!(["authorization_code"]));
    let text = |name: &str| client[name].as_str().expect("a text").to_owned();
    let client = Client { id: text("client_id"), login: ClientLogin::Basic(text("client_secret")) };
    client.credentials_call(&Key::es256(), service.issuer()).send(&service).await.refused(400, "unauthorized_client");
    let exchange = Call::new(Endpoint::Token, service.issuer()).set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    let exchange = exchange.set("subject_token", "x").set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
    exchange.login(&client).prove(&Key::es256()).send(&service).await.refused(400, "unauthorized_client");
}

both_stores!(
    registration_is_off_unless_it_is_switched_on,
    a_registered_client_is_answered_with_its_registration,
    a_made_secret_is_shown_once_and_works,
    the_initial_access_token_is_asked_for,
    a_bad_registration_is_refused_and_names_the_member,
    what_a_client_may_not_choose_it_does_not_get,
    there_are_so_many_and_no_more,
    too_many_in_one_minute_are_429,
    a_rotated_secret_overlaps_with_the_old_one,
    an_open_registration_gives_no_way_to_act_alone,
);
