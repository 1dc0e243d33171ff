//! What clients publish about themselves: metadata at the URL that is their `client_id`, and keys at their `jwks_uri`.

use keybound_testkit::flow::assertion;
use keybound_testkit::{Call, Client, ClientLogin, Endpoint, Host, Key, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::{start, start_with};

const METADATA: &str = "/.well-known/oauth-authorization-server";

fn enabled() -> Settings {
    Settings::default().with("client_metadata_documents.enabled", true).with("client_metadata_documents.allow_loopback", true)
}

fn document(id: &str) -> Value {
    json!({"client_id": id, "client_name": "App", "redirect_uris": ["https://app.example/cb"], "scope": "accounts",
        "token_endpoint_auth_method": "none"})
}

/// Whether the service takes `id` for a client: a grant can be made for it.
async fn knows(service: &Service, id: &str) -> bool {
    let grant = json!({"client_id": id, "sub": "alice", "scope": "accounts", "jkt": Key::es256().jkt()});
    let answer = service.manage("POST", "/admin/grants", Some(grant)).await;
    assert!([201, 400, 404].contains(&answer.status), "{answer}");
    answer.status == 201
}

/// MD-03
async fn a_client_is_known_by_the_url_of_its_metadata(store: Store) {
    let service = start_with(store, enabled()).await;
    assert_eq!(service.get(METADATA).await.json()["client_id_metadata_document_supported"], true);
    let host = Host::start().await;
    let id = host.url("/app.json");
    host.publish(&document(&id));
    let session = service.session_with(&id, Key::es256(), json!({"scope": "accounts"})).await;
    let tokens = session.refresh().send(&service).await.tokens();
    assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("DPoP"), &json!("accounts")));
    assert_eq!(host.asked(), 1, "the document is kept");
    // It is a public client: what every public client may not do, it may not either.
    let call = Call::new(Endpoint::Token, service.issuer()).set("grant_type", "client_credentials").set("client_id", id.as_str());
    call.prove(&Key::es256()).send(&service).await.refused(400, "unauthorized_client");
}

async fn documents_are_off_unless_they_are_switched_on(store: Store) {
    let host = Host::start().await;
    let id = host.url("/app.json");
    host.publish(&document(&id));
    for settings in [Settings::default(), Settings::default().with("client_metadata_documents.enabled", true)] {
        let service = start_with(store, settings).await;
        assert!(!knows(&service, &id).await);
    }
    assert_eq!(host.asked(), 0, "neither where they are off, nor on this machine where that was not allowed");
    let service = start(store).await;
    assert_eq!(service.get(METADATA).await.json()["client_id_metadata_document_supported"], false);
}

async fn a_document_that_is_not_good_makes_no_client(store: Store) {
    let service = start_with(store, enabled()).await;
    let refuses = async |what: &str, status: u16, headers: &str, body: &str| {
        let host = Host::start().await;
        let id = host.url("/app.json");
        host.answer(status, headers, &body.replace("ID", &id));
        assert!(!knows(&service, &id).await, "{what}");
        assert_eq!(host.asked(), 1, "{what}");
        assert!(!knows(&service, &id).await, "{what}");
        assert_eq!(host.asked(), 1, "{what}: the failure is kept for a while");
    };
    let json_type = "Content-Type: application/json\r\n";
    let with = |name: &str, value: Value| {
        let mut changed = document("ID");
        changed[name] = value;
        changed.to_string()
    };
    let good = document("ID").to_string();
    refuses("another client_id", 200, json_type, &document("https://other.example/app.json").to_string()).await;
    refuses("no client_id", 200, json_type, &with("client_id", json!(null))).await;
    refuses("a secret", 200, json_type, &with("client_secret", json!("0123456789abcdef0123456789abcdef"))).await;
    refuses("a method with a secret", 200, json_type, &with("token_endpoint_auth_method", json!("client_secret_basic"))).await;
    refuses("no redirect URI", 200, json_type, &with("redirect_uris", json!([]))).await;
    refuses("a bad redirect URI", 200, json_type, &with("redirect_uris", json!(["http://app.example/cb"]))).await;
    refuses("HTML", 200, "Content-Type: text/html\r\n", &good).await;
    refuses("not JSON", 200, json_type, "{").await;
    refuses("a member twice", 200, json_type, &format!("{},{}", &good[..good.len() - 1], "\"client_id\":\"ID\"}")).await;
    refuses("too large", 200, json_type, &with("x", json!("x".repeat(16 * 1024)))).await;
    refuses("404", 404, json_type, &good).await;
    let other = Host::start().await;
    other.publish(&document(&other.url("/app.json")));
    refuses("a redirect", 302, &format!("Location: {}\r\n", other.url("/app.json")), "").await;
    assert_eq!(other.asked(), 0);
}

async fn a_client_id_that_is_not_the_plain_url_of_a_document_is_not_fetched(store: Store) {
    let service = start_with(store, enabled()).await;
    let host = Host::start().await;
    let base = host.url("");
    host.publish(&document(&base));
    for id in [
        base.clone(),
        format!("{base}/"),
        format!("{base}/app.json#x"),
        format!("{base}/a/../app.json"),
        format!("{base}/%2e%2e/app.json"),
        format!("{base}/a b"),
        base.replace("http://", "http://user@") + "/app.json",
        base.replace("http://", "HTTP://") + "/app.json",
        base.replace("127.0.0.1", "127.1") + "/app.json",
    ] {
        assert!(!knows(&service, &id).await, "{id}");
    }
    assert_eq!(host.asked(), 0);
}

/// PKJ-06, FAPI-CR-03: a client may publish its keys, and change them.
async fn a_client_authenticates_with_keys_that_it_publishes(store: Store) {
    let (host, key, next) = (Host::start().await, Key::es256(), Key::ps256());
    let named = |key: &Key, kid: &str| {
        let mut jwk = key.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    // Two keys of one name: the one that fits is found.
    host.publish(&json!({"keys": [named(&Key::es256(), "a"), named(&key, "a"), named(&Key::ed25519(), "a")]}));
    let registered = json!({"client_id": "publisher", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": host.url("/jwks"),
        "grant_types": ["client_credentials"], "scope": "accounts"});
    let service = start_with(store, Settings::default().client(registered)).await;
    let client = Client { id: "publisher".to_owned(), login: ClientLogin::Assertion(key.clone()) };
    let signed = |key: &Key, kid: &str| {
        let header = json!({"alg": key.alg(), "kid": kid});
        key.jws(&header, &client.assertion_claims(service.issuer()))
    };
    let call = |assertion: &str| {
        let call = Call::new(Endpoint::Token, service.issuer()).set("grant_type", "client_credentials");
        call.assertion(assertion).prove(&Key::es256())
    };
    // What is wrong without a look at the keys costs no fetch.
    let mut late = client.assertion_claims(service.issuer());
    late["exp"] = json!(1);
    call(&assertion(&key, &late)).send(&service).await.refused(401, "invalid_client");
    assert_eq!(host.asked(), 0);
    call(&signed(&key, "a")).send(&service).await.tokens();
    assert_eq!(host.asked(), 1);
    // RELIABILITY, row JWKS.
    host.publish(&json!({"keys": [named(&next, "b")]}));
    for attempt in 0..20 {
        call(&signed(&next, &format!("invented-{attempt}"))).send(&service).await.refused(401, "invalid_client");
    }
    assert_eq!(host.asked(), 1);
    call(&signed(&Key::es256(), "a")).send(&service).await.refused(401, "invalid_client");
    call(&signed(&key, "a")).send(&service).await.tokens();
    assert_eq!(host.asked(), 1);
}

async fn keys_that_cannot_be_fetched_authenticate_nobody(store: Store) {
    let (host, key) = (Host::start().await, Key::es256());
    let registered = |id: &str, jwks_uri: &str| {
        json!({"client_id": id, "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": jwks_uri,
            "grant_types": ["client_credentials"], "scope": "accounts"})
    };
    let settings = Settings::default().client(registered("gone", &host.url("/jwks"))).client(registered("there", &host.url("/jwks?x")));
    let service = start_with(store, settings).await;
    let call = |id: &str| {
        let client = Client { id: id.to_owned(), login: ClientLogin::Assertion(key.clone()) };
        client.credentials_call(&Key::es256(), service.issuer())
    };
    for (status, headers, body) in [(404, "", String::new()), (200, "", json!({"keys": [key.jwk()]}).to_string())] {
        host.answer(status, headers, &body);
        call("gone").send(&service).await.refused(401, "invalid_client");
    }
    host.publish(&json!({"keys": [key.jwk()]}));
    call("there").send(&service).await.tokens();
}

/// A client that nobody vouches for makes us fetch nothing from inside.
async fn a_strangers_keys_are_not_fetched_from_this_machine(store: Store) {
    let keys = Host::start().await;
    let key = Key::es256();
    keys.publish(&json!({"keys": [key.jwk()]}));
    let service = start_with(store, enabled()).await;
    let host = Host::start().await;
    let id = host.url("/app.json");
    let mut published = document(&id);
    published["token_endpoint_auth_method"] = json!("private_key_jwt");
    published["jwks_uri"] = json!("http://169.254.169.254/jwks");
    host.publish(&published);
    assert!(!knows(&service, &id).await, "http, and not on this machine");
    let other = Host::start().await;
    let id = other.url("/app.json");
    published["client_id"] = json!(id);
    published["jwks_uri"] = json!("https://10.0.0.1/jwks");
    other.publish(&published);
    let client = Client { id: id.clone(), login: ClientLogin::Assertion(key.clone()) };
    let call = Call::new(Endpoint::Token, service.issuer()).set("grant_type", "refresh_token").set("refresh_token", "kbr_x");
    call.login(&client).prove(&Key::es256()).send(&service).await.refused(401, "invalid_client");
    // Its own host is this machine, which was allowed: so are its keys there.
    let third = Host::start().await;
    let id = third.url("/app.json");
    published["client_id"] = json!(id);
    published["jwks_uri"] = json!(keys.url("/jwks"));
    third.publish(&published);
    let client = Client { id, login: ClientLogin::Assertion(key) };
    let call = Call::new(Endpoint::Token, service.issuer()).set("grant_type", "refresh_token").set("refresh_token", "kbr_x");
    call.login(&client).prove(&Key::es256()).send(&service).await.invalid_grant();
    assert_eq!(keys.asked(), 1);
}

both_stores!(
    a_client_is_known_by_the_url_of_its_metadata,
    documents_are_off_unless_they_are_switched_on,
    a_document_that_is_not_good_makes_no_client,
    a_client_id_that_is_not_the_plain_url_of_a_document_is_not_fetched,
    a_client_authenticates_with_keys_that_it_publishes,
    keys_that_cannot_be_fetched_authenticate_nobody,
    a_strangers_keys_are_not_fetched_from_this_machine,
);
