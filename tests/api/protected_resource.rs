//! `/.well-known/oauth-protected-resource` (RFC 9728).

use keybound_testkit::http::Request;
use keybound_testkit::{Key, Service, Settings, Store, both_stores};
use serde_json::{Value, json};

use crate::access::{USERINFO, settings};
use crate::{start, start_with};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

async fn document(service: &Service, path: &str) -> Value {
    let answer = service.send(&Request::new("GET", path).header("Origin", "https://app.example.test")).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")), "{path}: {answer}");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"), "{answer}");
    let document = answer.json();
    for (name, value) in document.as_object().expect("an object") {
        assert!(!value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()), "{name} is empty");
    }
    document
}

/// PRM-01, PRM-02, PRM-03
async fn userinfo_describes_itself(store: Store) {
    let service = start(store).await;
    let described = document(&service, WELL_KNOWN).await;
    assert_eq!(described, document(&service, &format!("{WELL_KNOWN}/oauth/userinfo")).await);
    assert_eq!(described["resource"], USERINFO);
    assert_eq!(described["authorization_servers"], json!([service.issuer()]));
    assert_eq!(described["bearer_methods_supported"], json!(["header"]));
    assert_eq!(described["dpop_signing_alg_values_supported"], json!(["ES256", "ES384", "PS256", "EdDSA", "Ed25519"]));
    assert_eq!(described["dpop_bound_access_tokens_required"], false);
    assert!(described["scopes_supported"].as_array().expect("scopes").contains(&json!("openid")));
    let metadata = service.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["userinfo_endpoint"], USERINFO);
}

/// PRM-01, PRM-02, PRM-03, PRM-05
async fn every_resource_is_described(store: Store) {
    let service = start_with(store, settings(&Key::es256())).await;
    for id in ["accounts", "payments", "silent"] {
        let described = document(&service, &format!("{WELL_KNOWN}/{id}-api")).await;
        assert_eq!(described["resource"], format!("https://api.example.test/{id}"));
        assert_eq!(described["authorization_servers"], json!([service.issuer()]));
        assert_eq!(described["bearer_methods_supported"], json!(["header"]));
        assert_eq!(described["scopes_supported"], json!([id]));
        assert_eq!(described.get("client_secret"), None);
    }
    for unknown in ["nobody", "Accounts-api", "accounts-api/", "accounts-api/more", ""] {
        assert_eq!(service.get(&format!("{WELL_KNOWN}/{unknown}")).await.status, 404, "{unknown}");
    }
}

/// PRM-01: zero-value arrays are left out, and a resource on the issuer's origin is found by its path.
async fn a_resource_beside_the_issuer_is_found_by_its_path(store: Store) {
    let resource = json!({"id": "beside", "url": "https://as.example.test/api/v1"});
    let service = start_with(store, Settings::default().with("resource", json!([resource]))).await;
    let described = document(&service, &format!("{WELL_KNOWN}/api/v1")).await;
    assert_eq!(described["resource"], "https://as.example.test/api/v1");
    assert_eq!(described.get("scopes_supported"), None);
    assert_eq!(described, document(&service, &format!("{WELL_KNOWN}/beside")).await);
    assert_eq!(service.get(&format!("{WELL_KNOWN}/api")).await.status, 404);
}

/// PRM-01: behind the path of the issuer too, where a proxy may hand out no more.
async fn an_issuer_with_a_path_is_no_obstacle(store: Store) {
    let settings = settings(&Key::es256()).with("issuer", "https://as.example.test/tenant");
    let service = start_with(store, settings).await;
    let described = document(&service, &format!("{WELL_KNOWN}/tenant")).await;
    assert_eq!(described["resource"], "https://as.example.test/tenant/oauth/userinfo");
    let described = document(&service, &format!("{WELL_KNOWN}/tenant/accounts-api")).await;
    assert_eq!(described, document(&service, &format!("{WELL_KNOWN}/accounts-api")).await);
}

/// PRM-03: under FAPI 2.0 every token is bound.
async fn under_fapi_bound_tokens_are_required(store: Store) {
    let signer = Key::es256();
    let client = json!({"client_id": "signer", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [signer.jwk()]}});
    let service = start_with(store, settings(&signer).with("profile", "fapi2").with("client", json!([client]))).await;
    for path in [WELL_KNOWN, &format!("{WELL_KNOWN}/accounts-api")] {
        let described = document(&service, path).await;
        assert_eq!(described["dpop_bound_access_tokens_required"], true);
        assert_eq!(described["dpop_signing_alg_values_supported"], json!(["ES256", "PS256", "EdDSA", "Ed25519"]));
    }
}

both_stores!(
    userinfo_describes_itself,
    every_resource_is_described,
    a_resource_beside_the_issuer_is_found_by_its_path,
    an_issuer_with_a_path_is_no_obstacle,
    under_fapi_bound_tokens_are_required,
);
