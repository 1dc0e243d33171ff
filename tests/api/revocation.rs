//! `POST /oauth/revoke` (RFC 7009).

use keybound_testkit::flow::assertion;
use keybound_testkit::http::Request;
use keybound_testkit::{Client, ClientLogin, Key, Response, Service, Store, both_stores};
use serde_json::json;

use crate::access::{Access, accounts_api, form, introspect, settings, text};
use crate::{start, start_with};

const PATH: &str = "/oauth/revoke";

async fn revoke(service: &Service, client: &Client, token: &str) -> Response {
    service.send(&form(PATH, client, &[("token", token)])).await
}

async fn revoked(service: &Service, client: &Client, token: &str) {
    let answer = revoke(service, client, token).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"".as_slice()), "{answer}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
    assert_eq!(answer.header("WWW-Authenticate"), None, "{answer}");
}

fn refused(answer: &Response, status: u16, code: &str) {
    assert_eq!((answer.status, text(&answer.json(), "error").as_str()), (status, code), "{answer}");
    assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
}

/// REV-01, REV-03: whoever has a refresh token may put it out of use, without its key; at once, with all that came of it.
async fn any_refresh_token_of_a_grant_ends_it(store: Store) {
    let service = start_with(store, settings(&Key::es256())).await;
    for client in ["spa", "web", "signer", "steady"] {
        for generations in [0, 1, 3] {
            let mut session = service.session(client).await;
            let first = session.refresh_token.clone();
            let mut access = Access::of(&service, &mut session).await;
            for _ in 0..generations {
                access = Access::of(&service, &mut session).await;
            }
            assert_eq!(access.userinfo(&service).await.status, 200);
            revoked(&service, &session.client, &first).await;
            session.refresh().send(&service).await.invalid_grant();
            assert_eq!(access.userinfo(&service).await.status, 401);
            assert_eq!(introspect(&service, &accounts_api(), &access.token).await, json!({"active": false}));
            revoked(&service, &session.client, &first).await;
        }
    }
}

/// REV-01, REV-03
async fn an_access_token_ends_its_grant(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let older = Access::of(&service, &mut session).await;
    let newer = Access::of(&service, &mut session).await;
    revoked(&service, &session.client, &older.token).await;
    assert_eq!((older.userinfo(&service).await.status, newer.userinfo(&service).await.status), (401, 401));
    session.refresh().send(&service).await.invalid_grant();
    let other = service.session("spa").await;
    other.refresh().send(&service).await.tokens();
}

/// REV-01: a token without a grant ends alone.
async fn a_token_of_a_client_itself_ends_alone(store: Store) {
    let service = start_with(store, settings(&Key::es256())).await;
    let (first, second) = (Access::of_client(&service, "web").await, Access::of_client(&service, "web").await);
    revoked(&service, &Client::known("web"), &first.token).await;
    assert_eq!(introspect(&service, &accounts_api(), &first.token).await, json!({"active": false}));
    assert_eq!(introspect(&service, &Client::known("web"), &first.token).await, json!({"active": false}));
    assert_eq!(introspect(&service, &accounts_api(), &second.token).await["active"], true);
    revoked(&service, &Client::known("web"), &first.token).await;
    let events = service.manage("GET", "/admin/events", None).await.text();
    assert_eq!(events.matches("access_token_revoked").count(), 1, "one change of state, one event: {events}");
}

/// REV-03: on every node.
async fn a_revocation_is_seen_by_every_node() {
    let service = start_with(Store::Redis, settings(&Key::es256())).await;
    let other = service.second_node().await;
    let own = Access::of_client(&service, "web").await;
    let mut session = service.session("web").await;
    let access = Access::of(&service, &mut session).await;
    for token in [&own.token, &access.token] {
        assert_eq!(introspect(&other, &accounts_api(), token).await["active"], true);
        revoked(&service, &Client::known("web"), token).await;
        assert_eq!(introspect(&other, &accounts_api(), token).await, json!({"active": false}));
    }
}

/// REV-01: RFC 6749 section 5.2 has a code for a token that was issued to another client.
async fn another_clients_token_is_refused_and_stays_good(store: Store) {
    let service = start(store).await;
    for (owner, other) in [("spa", "other-spa"), ("web", "other-web"), ("web", "spa")] {
        let mut session = service.session(owner).await;
        let access = Access::of(&service, &mut session).await;
        for token in [&session.refresh_token, &access.token] {
            refused(&revoke(&service, &Client::known(other), token).await, 400, "invalid_grant");
        }
        assert_eq!(access.userinfo(&service).await.status, 200);
        session.rotate(&service).await;
    }
}

/// REV-01
async fn a_confidential_client_must_authenticate(store: Store) {
    let service = start(store).await;
    let mut session = service.session("web").await;
    let token = session.refresh_token.clone();
    let wrong = Client { id: "web".to_owned(), login: ClientLogin::Basic("not the secret of web".to_owned()) };
    refused(&revoke(&service, &wrong, &token).await, 401, "invalid_client");
    let unproven = Client { id: "web".to_owned(), login: ClientLogin::Public };
    refused(&revoke(&service, &unproven, &token).await, 401, "invalid_client");
    refused(&revoke(&service, &Client { id: "nobody".to_owned(), login: ClientLogin::Public }, &token).await, 401, "invalid_client");
    refused(&service.send(&Request::new("POST", PATH).form(&[("token", token.as_str())])).await, 400, "invalid_request");
    session.rotate(&service).await;
    revoked(&service, &Client::known("web"), &token).await;
}

/// REV-01: an assertion works once, here too.
async fn a_used_assertion_revokes_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("signer").await;
    let ClientLogin::Assertion(key) = &session.client.login else { panic!("signer signs") };
    let used = assertion(key, &session.client.assertion_claims(service.issuer()));
    let call = |token: &str| {
        let parameters = [("token", token), ("client_assertion_type", keybound_testkit::flow::ASSERTION_TYPE), ("client_assertion", &used)];
        Request::new("POST", PATH).form(&parameters)
    };
    assert_eq!(service.send(&call("unknown")).await.status, 200);
    refused(&service.send(&call(&session.refresh_token.clone())).await, 401, "invalid_client");
    session.rotate(&service).await;
}

/// REV-02
async fn an_unknown_token_is_success(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let forged = format!("{}AAAA", &session.refresh_token[..session.refresh_token.len() - 4]);
    for token in ["unknown", "kbr_unknown", "a.b.c", &forged, &"x".repeat(8000)] {
        revoked(&service, &session.client, token).await;
    }
    session.refresh().send(&service).await.tokens();
}

/// REV-02
async fn a_hint_is_only_a_hint(store: Store) {
    let service = start(store).await;
    for hint in ["access_token", "refresh_token", "pigeon", ""] {
        let mut session = service.session("spa").await;
        let access = Access::of(&service, &mut session).await;
        let answer = service.send(&form(PATH, &session.client, &[("token", &access.token), ("token_type_hint", hint)])).await;
        assert_eq!(answer.status, 200, "{hint}: {answer}");
        assert_eq!(access.userinfo(&service).await.status, 401);
        let session = service.session("spa").await;
        let answer = service.send(&form(PATH, &session.client, &[("token", &session.refresh_token), ("token_type_hint", hint)])).await;
        assert_eq!(answer.status, 200, "{hint}: {answer}");
        session.refresh().send(&service).await.invalid_grant();
    }
}

/// REV-01: possession is enough, so that a finder can put a token out of use. A proof is not looked at.
async fn a_proof_is_ignored(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let call = form(PATH, &session.client, &[("token", &session.refresh_token)]).header("DPoP", "no proof").header("DPoP", "nor this");
    assert_eq!(service.send(&call).await.status, 200);
    session.refresh().send(&service).await.invalid_grant();
}

/// REV-01, BCP-13
async fn the_request_is_a_form_with_one_token(store: Store) {
    let service = start(store).await;
    let spa = Client::known("spa");
    refused(&service.send(&form(PATH, &spa, &[])).await, 400, "invalid_request");
    refused(&service.send(&form(PATH, &spa, &[("token", "a"), ("token", "b")])).await, 400, "invalid_request");
    refused(&service.send(&form(&format!("{PATH}?token=a"), &spa, &[("token", "a")])).await, 400, "invalid_request");
    let json = Request::new("POST", PATH).json(&json!({"token": "a", "client_id": "spa"}));
    refused(&service.send(&json).await, 415, "invalid_request");
    refused(&service.get(PATH).await, 405, "invalid_request");
    revoked(&service, &spa, "a").await;
}

/// MD-03: the endpoint is published, with what it takes.
async fn the_endpoint_is_published(store: Store) {
    let service = start(store).await;
    let document = service.get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(document["revocation_endpoint"], format!("{}{PATH}", service.issuer()));
    assert_eq!(document["revocation_endpoint_auth_methods_supported"], document["token_endpoint_auth_methods_supported"]);
    assert_eq!(
        document["revocation_endpoint_auth_signing_alg_values_supported"],
        document["token_endpoint_auth_signing_alg_values_supported"]
    );
}

/// REV-04: where the store can't tell, the token is still good, and the client is told to come back.
#[tokio::test]
async fn without_the_store_nothing_is_promised() {
    let redis = std::sync::Arc::new(keybound_testkit::redis::RedisServer::start(&[]).await);
    let service = Service::start_on(env!("CARGO_BIN_EXE_keybound"), Some(std::sync::Arc::clone(&redis)), settings(&Key::es256())).await;
    let mut session = service.session("spa").await;
    let access = Access::of(&service, &mut session).await;
    redis.kill();
    let answer = revoke(&service, &session.client, &session.refresh_token).await;
    refused(&answer, 503, "temporarily_unavailable");
    assert_eq!(answer.header("Retry-After"), Some("1"), "{answer}");
    assert_eq!(access.userinfo(&service).await.status, 503);
    let answer = service.send(&form("/oauth/introspect", &accounts_api(), &[("token", &access.token)])).await;
    refused(&answer, 503, "temporarily_unavailable");
}

#[tokio::test]
async fn a_revocation_reaches_every_node() {
    a_revocation_is_seen_by_every_node().await;
}

both_stores!(
    any_refresh_token_of_a_grant_ends_it,
    an_access_token_ends_its_grant,
    a_token_of_a_client_itself_ends_alone,
    another_clients_token_is_refused_and_stays_good,
    a_confidential_client_must_authenticate,
    a_used_assertion_revokes_nothing,
    an_unknown_token_is_success,
    a_hint_is_only_a_hint,
    a_proof_is_ignored,
    the_request_is_a_form_with_one_token,
    the_endpoint_is_published,
);
