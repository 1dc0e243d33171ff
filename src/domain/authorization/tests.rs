use serde_json::json;

use super::*;
use crate::domain::ClientMetadata;

struct NoEntropy;

impl keybound_proofs::Entropy for NoEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

fn client(extra: Value) -> Client {
    let mut metadata = json!({
        "client_id": "app",
        "redirect_uris": ["https://app.example/cb"],
        "scope": "accounts openid",
        "authorization_details_types": ["account"],
    });
    for (name, value) in extra.as_object().expect("an object") {
        metadata[name] = value.clone();
    }
    let metadata: ClientMetadata = serde_json::from_value(metadata).expect("metadata");
    metadata.validate(false, &mut NoEntropy).expect("a client")
}

fn parameters(changes: &[(&str, &str)]) -> RequestParameters {
    let mut all = std::collections::BTreeMap::from([
        ("response_type", "code"),
        ("redirect_uri", "https://app.example/cb"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    all.extend(changes.iter().copied());
    let one = |name: &str| all.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
    RequestParameters::read(one, Vec::new())
}

fn judged(client: &Client, parameters: RequestParameters) -> Result<AuthorizationRequest, Refusal> {
    let target = parameters.redirect_target(client, false)?;
    parameters.judge(client, target, &Resources::new(Vec::new(), "https://as.example".to_owned()), &DetailsTypes::default())
}

fn refused(changes: &[(&str, &str)]) -> RefusalCode {
    judged(&client(json!({})), parameters(changes)).expect_err("a refusal").code
}

/// PKCE-01, JKT-08, FAPI-AZ-01
#[test]
fn each_rule_has_its_own_refusal() {
    judged(&client(json!({})), parameters(&[])).expect("a good request");
    for (name, value, code) in [
        ("response_type", "", RefusalCode::InvalidRequest),
        ("response_type", "token", RefusalCode::UnsupportedResponseType),
        ("response_type", "code id_token", RefusalCode::UnsupportedResponseType),
        ("response_mode", "fragment", RefusalCode::InvalidRequest),
        ("redirect_uri", "https://app.example/cb/", RefusalCode::InvalidRequest),
        ("code_challenge", "", RefusalCode::InvalidRequest),
        ("code_challenge", "short", RefusalCode::InvalidRequest),
        ("code_challenge_method", "", RefusalCode::InvalidRequest),
        ("code_challenge_method", "plain", RefusalCode::InvalidRequest),
        ("dpop_jkt", "short", RefusalCode::InvalidRequest),
        ("scope", "payments", RefusalCode::InvalidScope),
        ("scope", "openid  accounts", RefusalCode::InvalidScope),
        ("authorization_details", "{}", RefusalCode::InvalidAuthorizationDetails),
        ("authorization_details", r#"[{"type":"payment"}]"#, RefusalCode::InvalidAuthorizationDetails),
        ("prompt", "none login", RefusalCode::InvalidRequest),
        ("prompt", "NONE", RefusalCode::InvalidRequest),
        ("max_age", "-1", RefusalCode::InvalidRequest),
        ("claims", "[]", RefusalCode::InvalidRequest),
        ("claims", r#"{"a":1,"a":2}"#, RefusalCode::InvalidRequest),
    ] {
        assert_eq!(refused(&[(name, value)]), code, "{name}={value}");
    }
}

#[test]
fn what_is_asked_for_is_carried_along() {
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let request = judged(
        &client(json!({})),
        parameters(&[
            ("response_mode", "query"),
            ("scope", "openid offline_access"),
            ("dpop_jkt", jkt),
            ("prompt", "login consent"),
            ("max_age", "0"),
            ("claims", r#"{"id_token":{"auth_time":{"essential":true}}}"#),
            ("authorization_details", r#"[{"type":"account"}]"#),
        ]),
    )
    .expect("a good request");
    assert_eq!(request.dpop_jkt.map(|jkt| jkt.to_string()).as_deref(), Some(jkt));
    assert_eq!((request.max_age, request.needs_auth_time()), (Some(0), true));
    assert_eq!(request.scope.to_string(), "offline_access openid");
    let text = serde_json::to_string(&request).expect("JSON");
    assert_eq!(serde_json::from_str::<AuthorizationRequest>(&text).expect("a request"), request);
}

/// FAPI-AZ-14
#[test]
fn a_nonce_has_512_bytes_at_most_and_a_state_any_number() {
    for (length, good) in [(511, true), (512, true), (513, false)] {
        let nonce = "n".repeat(length);
        assert_eq!(judged(&client(json!({})), parameters(&[("nonce", &nonce)])).is_ok(), good, "{length}");
    }
    judged(&client(json!({})), parameters(&[("state", &"s".repeat(4000))])).expect("a good request");
}

#[test]
fn the_scope_is_what_the_client_is_registered_with() {
    let scope = |registered: &str, asked: &str| {
        judged(&client(json!({ "scope": registered })), parameters(&[("scope", asked)])).map(|request| request.scope.to_string())
    };
    assert_eq!(scope("accounts openid", "").as_deref(), Ok("accounts openid"));
    assert_eq!(scope("accounts openid", "accounts").as_deref(), Ok("accounts"));
    assert_eq!(scope("", "openid offline_access").as_deref(), Ok("offline_access openid"));
    assert_eq!(scope("accounts", "accounts offline_access").as_deref(), Ok("accounts offline_access"));
    assert!(scope("", "accounts").is_err());
    assert!(scope("accounts", "openid").is_err());
    let details = parameters(&[("authorization_details", r#"[{"type":"account"}]"#)]);
    assert!(judged(&client(json!({})), details).expect("a good request").scope.is_empty());
}

/// BCP-06, FAPI-AZ-06
#[test]
fn the_redirect_uri_may_be_left_out_where_there_is_one() {
    let unnamed = || parameters(&[("redirect_uri", "")]);
    let request = judged(&client(json!({})), unnamed()).expect("a good request");
    assert_eq!((request.redirect_uri.as_str(), request.redirect_uri_named), ("https://app.example/cb", false));
    assert!(unnamed().redirect_target(&client(json!({})), true).is_err());
    let two = client(json!({ "redirect_uris": ["https://app.example/cb", "https://app.example/other"] }));
    assert!(judged(&two, unnamed()).is_err());
    let none = client(json!({ "redirect_uris": [] }));
    assert!(judged(&none, unnamed()).is_err());
}

#[test]
fn a_client_needs_the_grant() {
    let refused = judged(&client(json!({ "grant_types": ["refresh_token"] })), parameters(&[])).expect_err("a refusal");
    assert_eq!(refused.code, RefusalCode::UnauthorizedClient);
}

/// PAR-06
#[test]
fn claims_of_a_request_object_may_have_their_json_form() {
    let claims = json!({
        "response_type": "code", "max_age": 5, "claims": {"userinfo": {}}, "resource": ["a", "b"],
        "authorization_details": [{"type": "account"}], "other": 1, "state": "",
    });
    let read = RequestParameters::from_claims(claims.as_object().expect("an object")).expect("parameters");
    assert_eq!((read.max_age.as_deref(), read.claims.as_deref(), read.state.as_deref()), (Some("5"), Some(r#"{"userinfo":{}}"#), None));
    assert_eq!((read.resource.len(), read.authorization_details.as_deref()), (2, Some(r#"[{"type":"account"}]"#)));
    for bad in [json!({ "scope": ["a"] }), json!({ "resource": [1] }), json!({ "state": 1 }), json!({ "redirect_uri": null })] {
        let refused = RequestParameters::from_claims(bad.as_object().expect("an object")).expect_err("a refusal");
        assert_eq!(refused.code, RefusalCode::InvalidRequestObject, "{bad}");
    }
}

/// The codes are what clients branch on: RFC 6749 section 4.1.2.1, RFC 8707, RFC 9396, RFC 9101, OpenID Connect Core section 3.1.2.6.
#[test]
fn every_code_is_spelled_as_its_specification_has_it() {
    for (code, text) in [
        (RefusalCode::InvalidRequest, "invalid_request"),
        (RefusalCode::UnauthorizedClient, "unauthorized_client"),
        (RefusalCode::UnsupportedResponseType, "unsupported_response_type"),
        (RefusalCode::InvalidScope, "invalid_scope"),
        (RefusalCode::InvalidTarget, "invalid_target"),
        (RefusalCode::InvalidAuthorizationDetails, "invalid_authorization_details"),
        (RefusalCode::InvalidRequestUri, "invalid_request_uri"),
        (RefusalCode::InvalidRequestObject, "invalid_request_object"),
        (RefusalCode::LoginRequired, "login_required"),
        (RefusalCode::AccessDenied, "access_denied"),
        (RefusalCode::ServerError, "server_error"),
    ] {
        assert_eq!((code.as_str(), code.to_string()), (text, text.to_owned()));
    }
}

/// A2: what a request asks for is not for logs.
#[test]
fn parameters_print_who_asks_and_nothing_else() {
    let one = |name: &str| Some(format!("secret-{name}"));
    let printed = format!("{:?}", RequestParameters::read(one, vec!["secret-resource".to_owned()]));
    assert!(printed.contains("secret-client_id"));
    assert_eq!(printed.matches("secret-").count(), 1, "{printed}");
}
