//! The protocol of the token endpoints (RFC 6749).

use keybound_testkit::http::{escape, form};
use keybound_testkit::{Call, Client, Endpoint, Key, Request, Store, both_stores};
use serde_json::json;

use crate::start;

const FORM: &str = "application/x-www-form-urlencoded";

/// TEP-01
async fn only_post_is_allowed(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
            let answer = service.send(&Request::new(method, endpoint.path())).await;
            assert_eq!(answer.status, 405, "{method} {}: {answer}", endpoint.path());
            assert!(answer.header("Allow").is_some_and(|allow| allow.contains("POST")), "{answer}");
        }
    }
}

/// TEP-02
async fn a_body_of_another_type_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let body = form(&[("refresh_token", session.refresh_token.as_str()), ("client_id", "spa"), ("grant_type", "refresh_token")]);
    let request = |endpoint: Endpoint, content_type: &str| {
        Request::new("POST", endpoint.path()).header("DPoP", session.proof(endpoint).sign(&session.key)).body(content_type, &body)
    };
    for endpoint in Endpoint::ALL {
        for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/xml", ""] {
            let answer = service.send(&request(endpoint, content_type)).await;
            assert_eq!(answer.status, 415, "{content_type:?} at {}: {answer}", endpoint.path());
            assert_eq!(answer.header("Cache-Control"), Some("no-store"));
            assert_eq!(answer.json()["error"], "invalid_request");
        }
        for content_type in [FORM, "application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded"] {
            let answer = service.send(&request(endpoint, content_type)).await;
            assert_eq!(answer.status, 200, "{content_type}: {answer}");
        }
    }
}

/// TEP-02: JSON is for `/oauth/refresh` alone.
async fn the_token_endpoint_takes_forms_only(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let answer = session.call(Endpoint::Token).json().send(&service).await;
    assert_eq!(answer.status(), 415, "{}", answer.response);
    session.call(Endpoint::Token).send(&service).await.tokens();
    session.call(Endpoint::Refresh).json().send(&service).await.tokens();
}

/// TEP-03
async fn a_repeated_parameter_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        for (name, value) in [
            ("refresh_token", session.refresh_token.as_str()),
            ("client_id", "spa"),
            ("grant_type", "refresh_token"),
            ("scope", "accounts"),
            ("unknown", "x"),
        ] {
            let twice = session.call(endpoint).set(name, value).add(name, value);
            twice.send(&service).await.refused(400, "invalid_request");
        }
        session.call(endpoint).set("unknown", "x").send(&service).await.tokens();
    }
}

/// TEP-03: what may repeat by its own specification may.
async fn resource_may_repeat(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        let call = session.call(endpoint).add("resource", "https://api.example.test/accounts");
        call.add("resource", "https://api.example.test/payments").send(&service).await.tokens();
    }
}

/// TEP-03: duplicates in JSON, at any depth, escaped or not.
async fn a_repeated_json_member_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let token = &session.refresh_token;
    let send = async |body: String| {
        let request = Request::new("POST", "/oauth/refresh").header("DPoP", session.proof(Endpoint::Refresh).sign(&session.key));
        service.send(&request.body("application/json", body)).await
    };
    for body in [
        format!("{{\"refresh_token\":\"{token}\",\"refresh_token\":\"{token}\",\"client_id\":\"spa\"}}"),
        format!("{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\",\"client\\u005fid\":\"spa\"}}"),
        format!("{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\",\"x\":{{\"a\":1,\"a\":2}}}}"),
    ] {
        let answer = send(body.clone()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}");
    }
    assert_eq!(send(format!("{{\"refresh_token\":\"{token}\",\"client\\u005fid\":\"spa\"}}")).await.status, 200);
}

/// TEP-02, TEP-10: `{}` and everything that is no flat object.
async fn a_json_body_is_a_flat_object(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let send = async |body: &[u8]| {
        let request = Request::new("POST", "/oauth/refresh").header("DPoP", session.proof(Endpoint::Refresh).sign(&session.key));
        service.send(&request.body("application/json", body)).await
    };
    let token = &session.refresh_token;
    for body in [
        "{}".to_owned(),
        "{\"client_id\":\"spa\"}".to_owned(),
        String::new(),
        "[]".to_owned(),
        "null".to_owned(),
        "\"x\"".to_owned(),
        "{".to_owned(),
        "{} {}".to_owned(),
        format!("[{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\"}}]"),
        format!("{{\"refresh_token\":[\"{token}\"],\"client_id\":\"spa\"}}"),
        "{\"refresh_token\":{\"a\":1},\"client_id\":\"spa\"}".to_owned(),
        "{\"refresh_token\":1,\"client_id\":\"spa\"}".to_owned(),
        format!("{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\"}}x"),
        format!("\u{feff}{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\"}}"),
    ] {
        let answer = send(body.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}: {answer}");
    }
    assert_eq!(send(b"{\"client_id\":\"\xff\"}").await.status, 400);
    assert_eq!(send(format!("{{\"refresh_token\":\"{token}\",\"client_id\":\"spa\"}}").as_bytes()).await.status, 200);
}

/// TEP-04
async fn empty_parameters_are_omitted_and_unknown_ones_ignored(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        session.call(endpoint).set("scope", "").set("unknown", "x").set("client_secret", "").send(&service).await.tokens();
        session.call(endpoint).set("refresh_token", "").send(&service).await.refused(400, "invalid_request");
    }
    session.refresh().set("grant_type", "").send(&service).await.tokens();
}

/// TEP-05
async fn credentials_in_the_query_string_are_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        let query = format!("?refresh_token={}", session.refresh_token);
        session.call(endpoint).without("refresh_token").query(&query).send(&service).await.refused(400, "invalid_request");
        for query in ["?client_id=spa", "?client_secret=x", "?client_assertion=x", "?a=b&client_secret=y", &query] {
            session.call(endpoint).query(query).send(&service).await.refused(400, "invalid_request");
        }
        session.call(endpoint).query("?a=b").send(&service).await.tokens();
    }
}

/// TEP-10
async fn grant_type_is_judged(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let call = session.call(Endpoint::Token);
    call.clone().without("grant_type").send(&service).await.refused(400, "invalid_request");
    call.clone().set("grant_type", "unheard_of").send(&service).await.refused(400, "unsupported_grant_type");
    call.clone().without("refresh_token").send(&service).await.refused(400, "invalid_request");
    call.send(&service).await.tokens();
    let refresh = session.refresh();
    refresh.clone().set("grant_type", "client_credentials").send(&service).await.refused(400, "invalid_request");
    refresh.set("grant_type", "refresh_token").send(&service).await.tokens();
}

/// BCP-09
async fn the_password_grant_does_not_exist(store: Store) {
    let service = start(store).await;
    let call = Client::known("web").credentials_call(&Key::es256(), service.issuer());
    let password = call.clone().set("grant_type", "password").set("username", "alice").set("password", "wonderland");
    password.send(&service).await.refused(400, "unsupported_grant_type");
    call.send(&service).await.tokens();
}

/// TEP-10: what a client is not registered for.
async fn a_client_uses_the_grants_it_is_registered_for(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    for client in ["no-machine", "spa"] {
        let answer = Client::known(client).credentials_call(&key, service.issuer()).send(&service).await;
        answer.refused(400, "unauthorized_client");
    }
    Client::known("machine").credentials_call(&key, service.issuer()).send(&service).await.tokens();
    let granted = service.manage("POST", "/admin/grants", Some(json!({"client_id": "machine", "sub": "alice", "scope": "accounts"}))).await;
    assert!(granted.status == 400 || granted.json().get("refresh_token").is_none(), "no refresh token without the grant type: {granted}");
}

/// TEP-11, TOK-01, TOK-02, BCP-05
async fn client_credentials_give_a_bound_token_and_no_refresh_token(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    for client in ["web", "poster", "signer", "machine"] {
        let call = Client::known(client).credentials_call(&key, service.issuer()).set("scope", "accounts");
        let tokens = call.send(&service).await.tokens();
        assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("DPoP"), &json!("accounts")));
        for absent in ["refresh_token", "id_token", "sub"] {
            assert!(tokens.get(absent).is_none(), "{absent} in {tokens}");
        }
        let (_, claims, _, _) = keybound_testkit::jose::split(tokens["access_token"].as_str().expect("a token"));
        assert_eq!(claims["cnf"]["jkt"], key.jkt());
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(client), &json!(client)), "RFC 9068 section 2.2");
    }
    let call = Client::known("web").credentials_call(&key, service.issuer());
    call.clone().without_proof().send(&service).await.invalid_proof();
    call.clone().set("scope", "admin").send(&service).await.refused(400, "invalid_scope");
    call.clone().send(&service).await.tokens();
    call.send(&service).await.invalid_proof();
}

/// TOK-03: a confidential client registered for bearer tokens.
async fn client_credentials_may_give_a_bearer_token(store: Store) {
    let service = start(store).await;
    let call = Client::known("bearer-web").credentials_call(&Key::es256(), service.issuer());
    assert_eq!(call.send(&service).await.tokens()["token_type"], "DPoP");
    assert_eq!(call.without_proof().send(&service).await.tokens()["token_type"], "Bearer");
}

/// TEP-11, TEP-12: `state` comes back from refusals, whatever the body's form.
async fn state_is_echoed(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for call in [session.refresh(), session.refresh().json(), session.call(Endpoint::Token)] {
        for state in ["af0ifjsldkj", "with spaces and é", "<script>alert(1)</script>"] {
            let call = call.clone().set("state", state).set("scope", "admin").prove(&session.key);
            assert_eq!(call.send(&service).await.refused(400, "invalid_scope")["state"], state);
        }
    }
}

/// TEP-12: a body that is too large.
async fn a_large_body_is_refused(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    for call in [session.refresh(), session.refresh().json(), session.call(Endpoint::Token)] {
        let answer = call.clone().set("filler", "x".repeat(17_000)).send(&service).await;
        assert_eq!(answer.status(), 413, "{}", answer.response);
        assert_eq!(answer.response.json()["error"], "invalid_request");
        call.set("filler", "x".repeat(8_000)).send(&service).await.tokens();
    }
}

/// TEP-02: what a form may hold.
async fn a_form_is_utf8(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let send = async |extra: &str| {
        let request = Request::new("POST", "/oauth/refresh").header("DPoP", session.proof(Endpoint::Refresh).sign(&session.key));
        let body = format!("refresh_token={}&client_id=spa{extra}", escape(&session.refresh_token));
        service.send(&request.body(FORM, body)).await.status
    };
    assert_eq!(send("&state=%ff").await, 400);
    assert_eq!(send("&state=%C3%A9").await, 200);
    assert_eq!(send("&&").await, 200);
}

/// TEP-10
async fn an_empty_request_is_an_invalid_one(store: Store) {
    let service = start(store).await;
    let key = Key::es256();
    for endpoint in Endpoint::ALL {
        Call::new(endpoint, service.issuer()).prove(&key).send(&service).await.refused(400, "invalid_request");
    }
}

both_stores!(
    only_post_is_allowed,
    a_body_of_another_type_is_refused,
    the_token_endpoint_takes_forms_only,
    a_repeated_parameter_is_refused,
    resource_may_repeat,
    a_repeated_json_member_is_refused,
    a_json_body_is_a_flat_object,
    empty_parameters_are_omitted_and_unknown_ones_ignored,
    credentials_in_the_query_string_are_refused,
    grant_type_is_judged,
    the_password_grant_does_not_exist,
    a_client_uses_the_grants_it_is_registered_for,
    client_credentials_give_a_bound_token_and_no_refresh_token,
    client_credentials_may_give_a_bearer_token,
    state_is_echoed,
    a_large_body_is_refused,
    a_form_is_utf8,
    an_empty_request_is_an_invalid_one,
);
