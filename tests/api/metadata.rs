//! What the service says about itself: metadata, keys, and access tokens that verify with them.

use keybound_testkit::jose::{split, verify};
use keybound_testkit::{Client, Key, Service, Settings, Store, both_stores, time};
use serde_json::{Value, json};

use crate::{start, start_with};

/// The claims of an access token, verified with the published keys (RFC 9068 section 4).
async fn verified(service: &Service, token: &str, typ: &str) -> Value {
    let jwks = service.get("/oauth/jwks").await.json();
    let (header, claims, input, signature) = split(token);
    assert_eq!(header["typ"], typ);
    let keys = jwks["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap_or_else(|| panic!("{header} not in {jwks}"));
    assert!(verify(key, header["alg"].as_str().expect("alg"), input.as_bytes(), &signature), "the signature verifies");
    claims
}

/// MD-01, MD-03, META-5.1
async fn both_documents_say_the_same(store: Store) {
    let service = start(store).await;
    let answer = service.get("/.well-known/oauth-authorization-server").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
    let document = answer.json();
    assert_eq!(document, service.get("/.well-known/openid-configuration").await.json());
    let issuer = service.issuer();
    assert_eq!(document["issuer"], issuer);
    assert_eq!(document["token_endpoint"], format!("{issuer}/oauth/token"));
    assert_eq!(document["jwks_uri"], format!("{issuer}/oauth/jwks"));
    assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256", "ES384", "PS256", "EdDSA", "Ed25519"]));
    let list = |name: &str| -> Vec<String> {
        let values = document[name].as_array().unwrap_or_else(|| panic!("no {name} in {document}"));
        values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
    };
    for grant in ["refresh_token", "client_credentials"] {
        assert!(list("grant_types_supported").contains(&grant.to_owned()));
    }
    for method in ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] {
        assert!(list("token_endpoint_auth_methods_supported").contains(&method.to_owned()));
    }
    let algorithms = list("token_endpoint_auth_signing_alg_values_supported");
    assert!(algorithms.contains(&"ES256".to_owned()) && !algorithms.contains(&"none".to_owned()), "{algorithms:?}");
    for name in [
        "response_types_supported",
        "scopes_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "claims_supported",
    ] {
        assert!(!list(name).is_empty());
    }
}

/// MD-02
async fn empty_lists_are_left_out(store: Store) {
    let service = start(store).await;
    let document = service.get("/.well-known/oauth-authorization-server").await.json();
    for (name, value) in document.as_object().expect("an object") {
        assert!(!value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()), "{name}: {value}");
    }
}

/// META-5.1, DPOP-4.2-02, DPOP-4.3-05: what is published is what is enforced.
async fn the_published_algorithms_are_the_enforced_ones(store: Store) {
    let service = start_with(store, Settings::default().with("dpop.algs", json!(["ES256", "PS256"]))).await;
    let document = service.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256", "PS256"]));
    for key in [Key::es256(), Key::es384(), Key::ps256(), Key::ed25519()] {
        let session = service.session_with("spa", key.clone(), json!({})).await;
        let answer = session.refresh().send(&service).await;
        if matches!(key.alg(), "ES256" | "PS256") {
            answer.tokens();
        } else {
            answer.invalid_proof();
        }
    }
    let session = service.session("spa").await;
    let refused = session.refresh().set("refresh_token", "kbr_x").send(&service).await;
    refused.invalid_grant();
    let challenge = refused.response.header("WWW-Authenticate").expect("a challenge").to_owned();
    assert!(challenge.contains("algs=\"ES256 PS256\""), "{challenge}");
}

/// MD-01: the well-known path goes between host and path of the issuer.
async fn the_document_of_an_issuer_with_a_path(store: Store) {
    let service = start_with(store, Settings::default().with("issuer", "https://as.example.test/tenant")).await;
    let document = service.get("/.well-known/oauth-authorization-server/tenant").await;
    assert_eq!(document.status, 200, "{document}");
    assert_eq!(document.json()["issuer"], "https://as.example.test/tenant");
    assert_eq!(document.json()["token_endpoint"], "https://as.example.test/tenant/oauth/token");
}

/// CNF-01, BCP-05: RFC 9068 claims, signed with a published key; no private part is published.
async fn access_tokens_verify_with_the_published_keys(store: Store) {
    let service = start(store).await;
    let answer = service.get("/oauth/jwks").await;
    assert_eq!(answer.status, 200);
    for key in answer.json()["keys"].as_array().expect("keys") {
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private} is published");
        }
        assert_eq!(key["use"], "sig");
        assert_eq!(key["kid"], keybound_testkit::jose::thumbprint(key));
    }
    let session = service.session("spa").await;
    let tokens = session.refresh().send(&service).await.tokens();
    let claims = verified(&service, tokens["access_token"].as_str().expect("text"), "at+jwt").await;
    let now = time::now();
    assert_eq!(claims["iss"], service.issuer());
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("spa")));
    assert!(claims["iat"].as_i64().is_some_and(|iat| (now - 5..=now).contains(&iat)), "{claims}");
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 300));
    assert_eq!(claims["scope"], "accounts openid payments");
    assert!(claims["aud"].is_string() || claims["aud"].is_array());
    assert_eq!(claims["cnf"], json!({"jkt": session.key.jkt()}));
    let other = session.refresh().send(&service).await.tokens();
    let second = verified(&service, other["access_token"].as_str().expect("text"), "at+jwt").await;
    assert!(claims["jti"].is_string() && claims["jti"] != second["jti"]);
    let id_token = verified(&service, tokens["id_token"].as_str().expect("text"), "JWT").await;
    assert_eq!(id_token["aud"], "spa");
}

/// MD-03: every algorithm that access tokens may be signed with.
async fn access_tokens_may_be_signed_with_other_algorithms(store: Store) {
    for alg in ["ES384", "PS256", "EdDSA"] {
        let service = start_with(store, Settings::default().with("tokens.access_token_alg", alg)).await;
        let tokens = Client::known("web").credentials_call(&Key::es256(), service.issuer()).send(&service).await.tokens();
        let token = tokens["access_token"].as_str().expect("text");
        assert_eq!(split(token).0["alg"], alg);
        verified(&service, token, "at+jwt").await;
    }
}

/// MD-03: keys stay the same across a restart.
async fn keys_survive_a_restart(store: Store) {
    let mut service = start(store).await;
    let session = service.session("spa").await;
    let tokens = session.refresh().send(&service).await.tokens();
    let before = service.get("/oauth/jwks").await.json();
    service.stop().await;
    service.restart().await;
    assert_eq!(service.get("/oauth/jwks").await.json(), before);
    verified(&service, tokens["access_token"].as_str().expect("text"), "at+jwt").await;
}

both_stores!(
    both_documents_say_the_same,
    empty_lists_are_left_out,
    the_published_algorithms_are_the_enforced_ones,
    the_document_of_an_issuer_with_a_path,
    access_tokens_verify_with_the_published_keys,
    access_tokens_may_be_signed_with_other_algorithms,
    keys_survive_a_restart,
);
