//! `grant_type=authorization_code` at the token endpoint.

use std::time::Duration;

use keybound_testkit::authorization::{accept, interaction, settings};
use keybound_testkit::jose::{b64, random, sha256, split};
use keybound_testkit::{CodeFlow, Endpoint, Key, Service, Session, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

async fn start(store: Store) -> Service {
    start_with(store, settings()).await
}

fn session(flow: &CodeFlow, tokens: &Value) -> Session {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (_, claims, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    Session {
        client: flow.client.clone(),
        key: flow.key.clone(),
        issuer: flow.issuer.clone(),
        refresh_token: text(&tokens["refresh_token"]),
        grant_id: text(&claims["grant_id"]),
    }
}

/// TOK-01, TOK-02, TOK-05: bound tokens of a public client, whose refresh token works with its key alone.
async fn a_public_clients_tokens_are_bound_to_its_key(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let tokens = flow.tokens(&service).await;
    let (_, claims, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    assert_eq!(claims["cnf"]["jkt"], flow.key.jkt());
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("alice"), &json!("app")));
    let mut session = session(&flow, &tokens);
    session.refresh().prove(&Key::es256()).send(&service).await.invalid_grant();
    for _ in 0..3 {
        session.rotate(&service).await;
    }
}

/// TOK-06: a confidential client's refresh token works with any key, and with nobody else's credentials.
async fn a_confidential_clients_refresh_token_follows_its_credentials(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "webapp");
    let mut session = session(&flow, &flow.tokens(&service).await);
    session.key = Key::es256();
    let tokens = session.rotate(&service).await;
    let (_, claims, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    assert_eq!(claims["cnf"]["jkt"], session.key.jkt());
    session.client = CodeFlow::known(&service, "signed-webapp").client;
    session.refresh().send(&service).await.invalid_grant();
}

/// TOK-03, TOK-09: without a proof a client that is registered for it gets a bearer token, with a good one a bound token.
async fn an_optional_proof_still_counts(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "bearer-webapp");
    let code = flow.code(&service).await;
    flow.redeem(&code).proof("garbage").send(&service).await.invalid_proof();
    assert_eq!(flow.redeem(&code).send(&service).await.tokens()["token_type"], "DPoP");
    let code = flow.code(&service).await;
    assert_eq!(flow.redeem(&code).without_proof().send(&service).await.tokens()["token_type"], "Bearer");
}

/// TOK-04, TOK-05
async fn other_clients_need_a_proof(store: Store) {
    let service = start(store).await;
    for client in ["app", "webapp", "once-app"] {
        let flow = CodeFlow::known(&service, client);
        let code = flow.code(&service).await;
        flow.redeem(&code).without_proof().send(&service).await.invalid_proof();
        flow.redeem(&code).send(&service).await.tokens();
    }
}

/// A client without the grant gets no refresh token, and its access token still belongs to a grant that can be ended.
async fn a_refresh_token_needs_the_grant(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "once-app");
    let tokens = flow.tokens(&service).await;
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");
    let (_, claims, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    let grant_id = claims["grant_id"].as_str().expect("a grant").to_owned();
    assert_eq!(service.revoke(&grant_id).await.status, 204);
}

/// PKCE-01, BCP-07, JKT-01, R2: whatever is wrong, the code stays good for whoever has everything right.
async fn a_wrong_request_leaves_the_code_usable(store: Store) {
    let service = start(store).await;
    for client in ["app", "webapp", "signed-webapp"] {
        let flow = CodeFlow::known(&service, client);
        let flow = flow.clone().set("dpop_jkt", flow.key.jkt());
        let code = flow.code(&service).await;
        let good = || flow.redeem(&code);
        for bad in [
            good().set("code_verifier", b64(random::<32>())),
            good().set("code_verifier", "short"),
            good().set("code_verifier", b64(sha256(&flow.verifier))),
            good().without("code_verifier"),
            good().without("redirect_uri"),
            good().set("redirect_uri", "https://app.example.test/cb/"),
            good().prove(&Key::es256()),
            good().set("code", format!("{code}x")),
            good().set("code", &code[4..]),
            good().set("code", format!("kbc_{}", b64(random::<32>()))),
        ] {
            bad.send(&service).await.invalid_grant();
        }
        good().without("code").send(&service).await.refused(400, "invalid_request");
        good().set("resource", "https://unknown.example.test").send(&service).await.refused(400, "invalid_target");
        let details = json!([{"type": "account_information"}]).to_string();
        good().set("authorization_details", details).send(&service).await.refused(400, "invalid_authorization_details");
        // Another client, with its own good credentials.
        flow.in_the_hands_of(&service, "other-app").redeem(&code).send(&service).await.invalid_grant();
        good().send(&service).await.tokens();
    }
}

/// NON-10: a challenge leaves the code, the assertion and the proof's `jti` as they were.
async fn a_nonce_challenge_leaves_the_code_usable(store: Store) {
    let service = start_with(store, settings().with("dpop.nonce", "required")).await;
    for client in ["app", "signed-webapp"] {
        let flow = CodeFlow::known(&service, client);
        let code = flow.code(&service).await;
        let call = flow.redeem(&code);
        let proof = call.fresh_proof(&flow.key);
        let nonce = call.clone().proof(proof.sign(&flow.key)).send(&service).await.nonce_challenge();
        call.proof(proof.nonce(&nonce).sign(&flow.key)).send(&service).await.tokens();
    }
}

/// FAPI-AZ-09, TOK-01: the second use is refused and ends what the first one gave.
async fn a_second_use_ends_the_grant(store: Store) {
    let service = start(store).await;
    for client in ["app", "webapp"] {
        let flow = CodeFlow::known(&service, client);
        let code = flow.code(&service).await;
        let session = session(&flow, &flow.redeem(&code).send(&service).await.tokens());
        flow.redeem(&code).send(&service).await.invalid_grant();
        session.refresh().send(&service).await.invalid_grant();
        flow.redeem(&code).send(&service).await.invalid_grant();
        let events = service.manage("GET", "/admin/events", None).await.json();
        let ended = |event: &&Value| event["grant_id"] == json!(session.grant_id) && event["reason"] == "code_reuse";
        assert_eq!(events["events"].as_array().expect("a list").iter().filter(ended).count(), 1, "A1: {events}");
    }
}

/// BCP-14: without the verifier, the key or the client's credentials nobody ends a grant.
async fn a_second_use_by_someone_else_ends_nothing(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let flow = flow.clone().set("dpop_jkt", flow.key.jkt());
    let code = flow.code(&service).await;
    let first = flow.redeem(&code);
    let mut session = session(&flow, &first.send(&service).await.tokens());
    flow.redeem(&code).set("code_verifier", b64(random::<32>())).send(&service).await.invalid_grant();
    flow.redeem(&code).prove(&Key::es256()).send(&service).await.invalid_grant();
    flow.in_the_hands_of(&service, "other-app").redeem(&code).send(&service).await.invalid_grant();
    // The very bytes of the first request: the proof was used.
    first.send(&service).await.invalid_proof();
    session.rotate(&service).await;
}

/// FAPI-AZ-09: 32 at once, each with a proof of its own.
async fn of_many_redemptions_one_succeeds(store: Store) {
    let service = start(store).await;
    for client in ["app", "signed-webapp"] {
        let flow = CodeFlow::known(&service, client);
        let code = flow.code(&service).await;
        let calls: Vec<_> = (0..32).map(|_| flow.redeem(&code)).collect();
        let answers = futures_util::future::join_all(calls.iter().map(|call| call.send(&service))).await;
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status() == 200);
        assert_eq!(good.len(), 1, "{client}");
        for answer in bad {
            answer.invalid_grant();
        }
        // It was used by more than one: nobody can tell which was the honest one.
        session(&flow, &good[0].tokens()).refresh().send(&service).await.invalid_grant();
    }
}

/// FAPI-AS-11
async fn a_code_ends_in_time(store: Store) {
    let service = start_with(store, settings().with("authorize.code_lifetime_s", 1)).await;
    let flow = CodeFlow::known(&service, "app");
    let code = flow.code(&service).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    flow.redeem(&code).send(&service).await.invalid_grant();
    let code = flow.code(&service).await;
    flow.redeem(&code).send(&service).await.tokens();
}

/// The grant must be one that the client is registered for.
async fn a_client_without_the_grant_is_refused(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let code = flow.code(&service).await;
    let other = flow.in_the_hands_of(&service, "no-code-app");
    other.redeem(&code).send(&service).await.refused(400, "unauthorized_client");
    flow.redeem(&code).send(&service).await.tokens();
}

/// AT-04, AT-05, RAR-03: one access token may be for less than the grant.
async fn a_token_request_may_narrow(store: Store) {
    let service = start(store).await;
    let details = json!([{"type": "account_information", "actions": ["list_accounts", "read_balances"]}]);
    let flow =
        CodeFlow::known(&service, "webapp").set("scope", "accounts payments openid").set("authorization_details", details.to_string());
    let code = flow.code(&service).await;
    let less = json!([{"type": "account_information", "actions": ["read_balances"]}]);
    let call = flow.redeem(&code).set("resource", "https://api.example.test/payments").set("authorization_details", less.to_string());
    let tokens = call.send(&service).await.tokens();
    let (_, claims, ..) = split(tokens["access_token"].as_str().expect("an access token"));
    assert_eq!((&claims["aud"], &claims["scope"]), (&json!("https://api.example.test/payments"), &json!("openid payments")));
    assert_eq!((&tokens["authorization_details"], &claims["authorization_details"]), (&less, &less));
    let whole = session(&flow, &tokens).refresh().send(&service).await.tokens();
    assert_eq!((&whole["scope"], &whole["authorization_details"]), (&json!("accounts openid payments"), &details));
}

/// The ID token of the first answer repeats the nonce; later ones do not (OpenID Connect Core section 12.2).
async fn the_id_token_answers_the_request(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "webapp").set("nonce", "n".repeat(64));
    let pushed = flow.push(&service).await;
    let id = interaction(&flow.open_pushed(&service, &pushed).await);
    let now = keybound_testkit::time::now();
    let agreed = json!({"sub": "alice", "auth_time": now, "acr": "urn:one", "claims": {"email": "alice@example.test", "iss": "nobody"}});
    let code = flow.code_of(&accept(&service, &id, agreed).await);
    let tokens = flow.redeem(&code).send(&service).await.tokens();
    let (header, claims, ..) = split(tokens["id_token"].as_str().expect("an ID token"));
    assert_eq!(header["alg"], "ES256");
    for (name, value) in [
        ("iss", json!(flow.issuer)),
        ("sub", json!("alice")),
        ("aud", json!("webapp")),
        ("nonce", json!("n".repeat(64))),
        ("auth_time", json!(now)),
        ("acr", json!("urn:one")),
        ("email", json!("alice@example.test")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let refreshed = session(&flow, &tokens).call(Endpoint::Token).send(&service).await.tokens();
    let (_, claims, ..) = split(refreshed["id_token"].as_str().expect("an ID token"));
    assert_eq!((claims.get("nonce"), &claims["auth_time"]), (None, &json!(now)));
}

both_stores!(
    a_public_clients_tokens_are_bound_to_its_key,
    a_confidential_clients_refresh_token_follows_its_credentials,
    an_optional_proof_still_counts,
    other_clients_need_a_proof,
    a_refresh_token_needs_the_grant,
    a_wrong_request_leaves_the_code_usable,
    a_nonce_challenge_leaves_the_code_usable,
    a_second_use_ends_the_grant,
    a_second_use_by_someone_else_ends_nothing,
    of_many_redemptions_one_succeeds,
    a_code_ends_in_time,
    a_client_without_the_grant_is_refused,
    a_token_request_may_narrow,
    the_id_token_answers_the_request,
);
