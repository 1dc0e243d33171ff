use super::*;
use serde_json::json;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn metadata(value: Value) -> ClientMetadata {
    serde_json::from_value(value).unwrap()
}

fn validate(value: Value) -> Result<Client, InvalidClientMetadata> {
    metadata(value).validate(false, &mut Counting(0))
}

fn refused_member(value: Value) -> &'static str {
    validate(value).expect_err("an invalid registration").member()
}

fn fapi2(value: Value) -> Result<Client, InvalidClientMetadata> {
    metadata(value).validate(true, &mut Counting(0))
}

fn p256() -> Value {
    let jwk = josekit::jwk::Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap();
    serde_json::to_value(jwk.to_public_key().unwrap()).unwrap()
}

#[test]
fn the_default_method_follows_from_the_credentials() {
    assert!(validate(json!({"client_id": "a"})).unwrap().is_public());
    let secret = validate(json!({"client_id": "a", "client_secret": "0123456789abcdef"})).unwrap();
    assert_eq!(secret.auth_method(), AuthMethod::ClientSecretBasic);
    let keys = validate(json!({"client_id": "a", "jwks": {"keys": [p256()]}})).unwrap();
    assert_eq!(keys.auth_method(), AuthMethod::PrivateKeyJwt);
    assert_eq!(keys.keys().len(), 1);
}

/// PKJ-06, FAPI-CR-03
#[test]
fn keys_may_be_published_instead_of_registered() {
    let client = validate(json!({"client_id": "a", "jwks_uri": "https://app.example/jwks"})).unwrap();
    assert_eq!(client.auth_method(), AuthMethod::PrivateKeyJwt);
    assert!(client.keys().is_empty() && client.jwks_uri().is_some());
    assert!(client.allows_assertion_alg(AssertionAlg::Es256) && !client.allows_assertion_alg(AssertionAlg::Rs256));
    assert_eq!(Client::from_stored_json(&client.to_stored_json(), false).unwrap().jwks_uri(), client.jwks_uri());
}

#[test]
fn a_stored_client_says_by_whose_word_it_exists() {
    let client = validate(json!({"client_id": "a"})).unwrap();
    let provenance = |client: &Client| Client::from_stored_json(&client.to_stored_json(), false).unwrap().provenance();
    assert_eq!(provenance(&client), Provenance::Operator);
    assert_eq!(provenance(&client.with_provenance(Provenance::SelfRegistered)), Provenance::SelfRegistered);
}

#[test]
fn defaults_are_the_safe_ones() {
    let client = validate(json!({"client_id": "a"})).unwrap();
    assert!(client.dpop_bound_access_tokens());
    assert!(client.rotates_refresh_tokens());
    assert_eq!(client.refresh_reuse(), RefreshReuse::Revoke);
    assert_eq!(client.assertion_audience(), ClientAssertionAudience::Strict);
    assert!(client.allows_grant(GrantType::AuthorizationCode) && client.allows_grant(GrantType::RefreshToken));
    assert!(!client.allows_grant(GrantType::ClientCredentials));
    assert!(client.scope().is_empty());
}

/// TOK-03: only its refresh token is bound then, and that is legal.
#[test]
fn a_public_client_may_have_unbound_access_tokens() {
    assert!(!validate(json!({"client_id": "a", "dpop_bound_access_tokens": false})).unwrap().dpop_bound_access_tokens());
}

#[test]
fn every_refusal_names_the_member() {
    let secret = "0123456789abcdef";
    assert_eq!(refused_member(json!({})), "client_id");
    assert_eq!(refused_member(json!({"client_id": "a", "client_secret": ""})), "client_secret");
    assert_eq!(refused_member(json!({"client_id": "a", "client_secret": "0123456789abcde\n"})), "client_secret");
    assert_eq!(refused_member(json!({"client_id": "a", "token_endpoint_auth_method": "client_secret_post"})), "client_secret");
    assert_eq!(refused_member(json!({"client_id": "a", "client_secret": secret, "jwks": {"keys": [p256()]}})), "client_secret");
    assert_eq!(refused_member(json!({"client_id": "a", "token_endpoint_auth_method": "private_key_jwt"})), "jwks");
    assert_eq!(refused_member(json!({"client_id": "a", "grant_types": ["client_credentials"]})), "grant_types");
    assert_eq!(refused_member(json!({"client_id": "a", "redirect_uris": ["http://app.example/"]})), "redirect_uris");
    assert_eq!(refused_member(json!({"client_id": "a", "response_types": ["token"]})), "response_types");
    assert_eq!(refused_member(json!({"client_id": "a", "jwks_uri": "http://app.example/jwks"})), "jwks_uri");
    let both = json!({"client_id": "a", "jwks_uri": "https://app.example/jwks", "jwks": {"keys": [p256()]}});
    assert_eq!(refused_member(both), "jwks_uri");
    assert_eq!(refused_member(json!({"client_id": "a", "refresh_token_delivery": "cookie"})), "allowed_origins");
    assert_eq!(refused_member(json!({"client_id": "a", "client_name": "x\u{7}"})), "client_name");
    assert_eq!(refused_member(json!({"client_id": "a", "token_endpoint_auth_signing_alg": "ES256"})), "token_endpoint_auth_signing_alg");
    assert!(validate(json!({"client_id": "a", "client_secret": secret, "grant_types": ["client_credentials"]})).is_ok());
}

#[test]
fn a_cookie_is_for_pages_of_registered_origins() {
    let cookie = |name: &str, value: Value| {
        let mut registration = json!({"client_id": "a", "refresh_token_delivery": "cookie", "allowed_origins": ["https://app.example", "http://localhost:3000"]});
        registration[name] = value;
        registration
    };
    let client = validate(cookie("client_name", json!("x"))).unwrap();
    assert_eq!(client.refresh_token_cookie(), Some("__Host-keybound_rt"));
    assert_eq!(client.allowed_origins(), ["https://app.example", "http://localhost:3000"]);
    assert_eq!(validate(cookie("refresh_token_cookie", json!("__Host-a"))).unwrap().refresh_token_cookie(), Some("__Host-a"));
    assert_eq!(validate(json!({"client_id": "a"})).unwrap().refresh_token_cookie(), None);
    for (name, value) in [
        ("refresh_token_cookie", json!("")),
        ("refresh_token_cookie", json!("a b")),
        ("refresh_token_cookie", json!("a=b")),
        ("refresh_token_cookie", json!("x".repeat(65))),
        ("allowed_origins", json!([])),
        ("allowed_origins", json!(["*"])),
        ("allowed_origins", json!(["https://app.example/"])),
        ("allowed_origins", json!(["http://app.example"])),
    ] {
        assert_eq!(refused_member(cookie(name, value.clone())), name, "{value}");
    }
    assert_eq!(refused_member(cookie("client_secret", json!("0123456789abcdef"))), "refresh_token_delivery");
    assert_eq!(refused_member(json!({"client_id": "a", "refresh_token_cookie": "x"})), "refresh_token_cookie");
    assert_eq!(refused_member(json!({"client_id": "a", "allowed_origins": ["https://app.example"]})), "allowed_origins");
}

#[test]
fn an_unknown_member_is_refused() {
    let error = serde_json::from_value::<ClientMetadata>(json!({"client_id": "a", "dpop_bound": true})).unwrap_err();
    assert!(error.to_string().contains("dpop_bound"));
}

#[test]
fn a_private_or_malformed_key_is_refused_and_a_foreign_one_passed_over() {
    let register = |key: Value| validate(json!({"client_id": "a", "jwks": {"keys": [key, p256()]}}));
    let changed = |name: &str, value: Value| {
        let mut key = p256();
        key[name] = value;
        register(key)
    };
    assert_eq!(register(p256()).unwrap().keys().len(), 2);
    assert_eq!(changed("use", json!("enc")).unwrap().keys().len(), 1);
    assert_eq!(changed("kty", json!("AKP")).unwrap().keys().len(), 1);
    assert_eq!(changed("alg", json!("ES384")).unwrap().keys().len(), 1);
    assert!(changed("d", json!("AAAA")).is_err());
    assert!(changed("x", json!("AAAA")).is_err());
    assert!(changed("y", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).is_err());
    assert!(register(json!({"kty": "oct", "k": "AAAA"})).is_err());
    assert!(register(json!("key")).is_err());
    assert!(validate(json!({"client_id": "a", "jwks": {"keys": []}})).is_err());
    assert!(validate(json!({"client_id": "a", "jwks": {"keys": vec![p256(); 16]}})).is_ok());
    assert!(validate(json!({"client_id": "a", "jwks": {"keys": vec![p256(); 17]}})).is_err());
}

#[test]
fn keys_may_be_given_as_json_text() {
    let text = json!({"keys": [p256()]}).to_string();
    let client = validate(json!({"client_id": "a", "jwks": text})).unwrap();
    assert!(client.metadata().jwks.as_ref().unwrap().is_object());
    assert!(validate(json!({"client_id": "a", "jwks": "{\"keys\":[],\"keys\":[]}"})).is_err());
}

/// PKJ-06, JOSE-06, FAPI-CR-02
#[test]
fn rs256_needs_registration_and_rsa_keys_need_2048_bits() {
    let rsa = |bits| {
        let jwk = josekit::jwk::Jwk::generate_rsa_key(bits).unwrap();
        serde_json::to_value(jwk.to_public_key().unwrap()).unwrap()
    };
    let (small, good) = (rsa(1024), rsa(2048));
    let algs = |client: Client| client.keys().iter().map(ClientKey::alg).collect::<Vec<_>>();
    assert_eq!(algs(validate(json!({"client_id": "a", "jwks": {"keys": [good]}})).unwrap()), [AssertionAlg::Ps256]);
    let registered = json!({"client_id": "a", "jwks": {"keys": [good]}, "token_endpoint_auth_signing_alg": "RS256"});
    assert_eq!(algs(validate(registered.clone()).unwrap()), [AssertionAlg::Rs256]);
    assert_eq!(fapi2(registered).unwrap_err().member(), "token_endpoint_auth_signing_alg");
    assert_eq!(refused_member(json!({"client_id": "a", "jwks": {"keys": [small]}})), "jwks");
}

/// FAPI-AS-03, FAPI-AS-04, FAPI-AS-08, FAPI-AS-09
#[test]
fn fapi2_takes_private_key_jwt_and_bound_tokens_only() {
    let with = |name: &str, value: Value| {
        let mut registration = json!({"client_id": "a", "jwks": {"keys": [p256()]}});
        registration[name] = value;
        registration
    };
    let good = fapi2(with("client_name", json!("x"))).unwrap();
    assert!(!good.rotates_refresh_tokens());
    for (name, value) in [
        ("token_endpoint_auth_method", json!("none")),
        ("dpop_bound_access_tokens", json!(false)),
        ("refresh_token_rotation", json!("always")),
        ("client_assertion_audience", json!("compat")),
        ("require_pushed_authorization_requests", json!(false)),
    ] {
        assert_eq!(fapi2(with(name, value.clone())).unwrap_err().member(), name);
        assert!(validate(with(name, value)).is_ok(), "{name}");
    }
    assert!(fapi2(json!({"client_id": "a", "client_secret": "0123456789abcdef"})).is_err());
}

#[test]
fn a_secret_is_recognised_and_neither_kept_nor_shown() {
    let client = validate(json!({"client_id": "a", "client_secret": "correct horse battery"})).unwrap();
    assert_eq!(client.verify_secret(b"correct horse battery", NOW), Ok(()));
    assert_eq!(client.verify_secret(b"correct horse batterz", NOW), Err(WrongSecret));
    assert_eq!(client.verify_secret(b"", NOW), Err(WrongSecret));
    let stored = client.to_stored_json();
    let shown = format!("{client:?}{}{}", String::from_utf8_lossy(&stored), Value::Object(client.to_public_json()));
    assert!(!shown.contains("correct horse"));
    let again = Client::from_stored_json(&stored, false).unwrap();
    assert_eq!(again.verify_secret(b"correct horse battery", NOW), Ok(()));
    assert_eq!(again.to_stored_json(), stored);
}

#[test]
fn a_stored_record_of_another_version_is_refused() {
    let stored = validate(json!({"client_id": "a"})).unwrap().to_stored_json();
    let text = String::from_utf8(stored).unwrap();
    let newer = text.replace("\"version\":1", "\"version\":2");
    assert!(Client::from_stored_json(text.as_bytes(), false).is_ok());
    assert_eq!(Client::from_stored_json(newer.as_bytes(), false).unwrap_err(), StoredClientError::Version(2));
    assert_eq!(Client::from_stored_json(b"{}", false).unwrap_err(), StoredClientError::Unreadable);
    assert!(matches!(Client::from_stored_json(text.as_bytes(), true).unwrap_err(), StoredClientError::Invalid(_)));
}

#[test]
fn grant_types_go_by_their_exact_names() {
    for name in ["authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"] {
        assert_eq!(GrantType::from_name(name).unwrap().name(), name);
    }
    assert_eq!(GrantType::from_name("Refresh_Token"), None);
    assert_eq!(serde_json::to_value(GrantType::TokenExchange).unwrap(), GrantType::TokenExchange.name());
}
