//! Pushed authorization requests (RFC 9126) and keys that codes are bound to (RFC 9449 section 10).

use std::time::Duration;

use keybound_testkit::authorization::{accept, error_page, interaction, request_uri, settings};
use keybound_testkit::flow::assertion;
use keybound_testkit::service::signer_key;
use keybound_testkit::{Answer, Call, CodeFlow, Endpoint, Key, Request, Service, Store, both_stores};
use serde_json::{Value, json};

use crate::start_with;

const CLIENTS: [&str; 3] = ["app", "webapp", "signed-webapp"];

async fn start(store: Store) -> Service {
    start_with(store, settings()).await
}

async fn push(service: &Service, call: Call) -> Answer {
    call.send(service).await
}

/// PAR-01, PAR-03, FAPI-AZ-02, FAPI-AZ-12
async fn each_kind_of_client_pushes_and_gets_tokens(store: Store) {
    let service = start(store).await;
    for client in CLIENTS {
        let flow = CodeFlow::known(&service, client);
        let tokens = flow.tokens(&service).await;
        assert_eq!((tokens["sub"].as_str(), tokens["scope"].as_str()), (Some("alice"), Some("accounts openid")), "{client}");
        assert!(tokens["refresh_token"].is_string(), "{client}");
    }
}

/// PAR-01, FAPI-AZ-04: authenticated as at the token endpoint.
async fn only_the_client_itself_pushes(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "webapp");
    let call = flow.push_call().without_header("Authorization");
    push(&service, call.clone()).await.refused(401, "invalid_client");
    push(&service, call.header("Authorization", flow.client.basic("not the secret of webapp"))).await.refused(401, "invalid_client");
    push(&service, flow.push_call().set("client_id", "app")).await.refused(401, "invalid_client");
    push(&service, CodeFlow::known(&service, "app").push_call().without("client_id")).await.refused(400, "invalid_request");
    let unknown = CodeFlow::known(&service, "nobody");
    push(&service, unknown.push_call()).await.refused(401, "invalid_client");
    request_uri(&push(&service, flow.push_call()).await);
}

/// PKJ-02, PKJ-04: the issuer is the audience, and one assertion pushes once.
async fn an_assertion_pushes_once(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let mut claims = flow.client.assertion_claims(&flow.issuer);
    let text = assertion(&signer_key(), &claims);
    request_uri(&push(&service, flow.push_call().assertion(&text)).await);
    push(&service, flow.push_call().assertion(&text)).await.refused(401, "invalid_client");
    claims["jti"] = json!("another");
    claims["aud"] = json!(format!("{}/oauth/par", flow.issuer));
    push(&service, flow.push_call().assertion(&assertion(&signer_key(), &claims))).await.refused(401, "invalid_client");
    claims["aud"] = json!(flow.issuer);
    request_uri(&push(&service, flow.push_call().assertion(&assertion(&signer_key(), &claims))).await);
}

/// PAR-02, PKCE-01, JKT-08, BCP-06, FAPI-AZ-01, FAPI-AZ-05, FAPI-AZ-06
async fn a_request_is_judged_when_it_is_pushed(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "webapp");
    let refusals = [
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("redirect_uri", "https://app.example.test/other", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("dpop_jkt", "short", "invalid_request"),
        ("scope", "admin", "invalid_scope"),
        ("resource", "https://unknown.example.test", "invalid_target"),
        ("authorization_details", "{}", "invalid_authorization_details"),
        ("authorization_details", "[{\"type\":\"payment\"}]", "invalid_authorization_details"),
        ("prompt", "none login", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("claims", "[]", "invalid_request"),
        ("request", "a.b.c", "invalid_request_object"),
    ];
    for (name, value, code) in refusals {
        push(&service, flow.clone().set(name, value).push_call()).await.refused(400, code);
    }
    let no_code = CodeFlow::known(&service, "no-code-app");
    push(&service, no_code.push_call()).await.refused(400, "unauthorized_client");
    push(&service, flow.clone().without("state").add("scope", "openid").push_call()).await.refused(400, "invalid_request");
    let all = flow
        .set("response_mode", "query")
        .set("resource", "https://api.example.test/accounts")
        .set("authorization_details", "[{\"type\":\"account_information\"}]")
        .set("prompt", "login consent")
        .set("max_age", "60")
        .set("login_hint", "alice")
        .set("acr_values", "urn:one urn:two")
        .set("claims", "{\"userinfo\":{\"email\":null}}");
    request_uri(&push(&service, all.push_call()).await);
}

/// PAR-05
async fn only_posted_forms_are_taken(store: Store) {
    let service = start(store).await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = service.send(&Request::new(method, "/oauth/par")).await;
        assert_eq!(answer.status, 405, "{answer}");
    }
    let flow = CodeFlow::known(&service, "app");
    let answer = push(&service, flow.push_call().json()).await;
    assert_eq!(answer.status(), 415, "{}", answer.response);
    let long = flow.clone().set("state", "s".repeat(20_000));
    assert_eq!(push(&service, long.push_call()).await.status(), 413);
    request_uri(&push(&service, flow.set("state", "s".repeat(2000)).push_call()).await);
}

/// PAR-04: another client's name is refused, and stays good for its own client.
async fn a_name_works_for_its_own_client_only(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let name = flow.push(&service).await;
    error_page(&CodeFlow::known(&service, "other-app").open_pushed(&service, &name).await, "invalid_request_uri");
    for bad in
        ["urn:ietf:params:oauth:request_uri:unknown", "https://app.example.test/request", &format!("{name}x"), &name[..name.len() - 1]]
    {
        error_page(&flow.open_pushed(&service, bad).await, "invalid_request_uri");
    }
    interaction(&flow.open_pushed(&service, &name).await);
}

/// PAR-04: opening the page again is fine until the sign-in is over; then the name is used up, for every page that it opened.
async fn a_name_is_used_up_by_the_first_finished_sign_in(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let name = flow.push(&service).await;
    let first = interaction(&flow.open_pushed(&service, &name).await);
    let second = interaction(&flow.open_pushed(&service, &name).await);
    assert_ne!(first, second);
    let code = flow.code_of(&accept(&service, &second, json!({"sub": "alice"})).await);
    error_page(&flow.open_pushed(&service, &name).await, "invalid_request_uri");
    let late = service.manage("POST", &format!("/admin/interactions/{first}/accept"), Some(json!({"sub": "mallory"}))).await;
    assert_eq!(late.status, 409, "{late}");
    flow.redeem(&code).send(&service).await.tokens();
}

/// PAR-04, FAPI-AZ-12
async fn a_name_ends_in_time(store: Store) {
    let service = start_with(store, settings().with("authorize.request_uri_lifetime_s", 1)).await;
    let flow = CodeFlow::known(&service, "app");
    let name = flow.push(&service).await;
    let opened = interaction(&flow.open_pushed(&service, &name).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    error_page(&flow.open_pushed(&service, &name).await, "invalid_request_uri");
    // What began in time may take its time.
    flow.code_of(&accept(&service, &opened, json!({"sub": "alice"})).await);
}

/// JKT-01, JKT-03, JKT-04, JKT-05, FAPI-AS-12: a code is bound to the key that the pushed request names or proves.
async fn a_code_is_bound_to_the_pushed_key(store: Store) {
    let service = start(store).await;
    for client in CLIENTS {
        for proved in [false, true] {
            let flow = CodeFlow::known(&service, client);
            let call = if proved { flow.push_call().prove(&flow.key) } else { flow.push_call().set("dpop_jkt", flow.key.jkt()) };
            let name = request_uri(&push(&service, call).await);
            let interaction = interaction(&flow.open_pushed(&service, &name).await);
            let code = flow.code_of(&accept(&service, &interaction, json!({"sub": "alice"})).await);
            flow.redeem(&code).prove(&Key::es256()).send(&service).await.invalid_grant();
            let tokens = flow.redeem(&code).send(&service).await.tokens();
            assert_eq!(tokens["dpop_access_token_bound"], true, "{client}");
        }
    }
}

/// JKT-02
async fn a_bound_code_needs_a_proof(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "bearer-webapp");
    let bound = flow.clone().set("dpop_jkt", flow.key.jkt());
    let code = bound.code(&service).await;
    bound.redeem(&code).without_proof().send(&service).await.invalid_grant();
    bound.redeem(&code).send(&service).await.tokens();
    let unbound = flow.code(&service).await;
    assert_eq!(flow.redeem(&unbound).without_proof().send(&service).await.tokens()["token_type"], "Bearer");
}

/// JKT-06
async fn two_keys_in_one_request_must_agree(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let call = flow.push_call().set("dpop_jkt", Key::es256().jkt());
    push(&service, call.prove(&flow.key)).await.refused(400, "invalid_request");
    request_uri(&push(&service, flow.push_call().set("dpop_jkt", flow.key.jkt()).prove(&flow.key)).await);
}

/// JKT-04, JKT-09: the proof at PAR is a whole proof, for this URL, once.
async fn a_proof_at_par_is_checked_in_full(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let good = flow.push_call().fresh_proof(&flow.key);
    let token_url = format!("{}/oauth/token", flow.issuer);
    for bad in [
        good.clone().claim("htu", token_url),
        good.clone().claim("htm", "GET"),
        good.clone().iat_offset(-3600),
        good.clone().claim("ath", "x"),
    ] {
        push(&service, flow.push_call().proof(bad.sign(&flow.key))).await.invalid_proof();
    }
    let proof = good.sign(&flow.key);
    push(&service, flow.push_call().proof(&proof).and_proof(&proof)).await.invalid_proof();
    request_uri(&push(&service, flow.push_call().proof(&proof)).await);
    push(&service, flow.push_call().proof(&proof)).await.invalid_proof();
}

/// NON-10, NON-12, PKJ-08: a challenge leaves the assertion, the proof's `jti` and the request as they were.
async fn a_nonce_challenge_at_par_leaves_no_trace(store: Store) {
    let service = start_with(store, settings().with("dpop.nonce", "required")).await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let call = flow.push_call();
    let proof = call.fresh_proof(&flow.key);
    let nonce = call.clone().proof(proof.sign(&flow.key)).send(&service).await.nonce_challenge();
    let answer = call.proof(proof.nonce(&nonce).sign(&flow.key)).send(&service).await;
    request_uri(&answer);
    assert_eq!(answer.response.header("DPoP-Nonce"), None);
}

fn object(claims: &Value) -> String {
    signer_key().jws(&json!({"alg": "ES256", "typ": "oauth-authz-req+jwt"}), claims)
}

/// PAR-06, JKT-07: only what is inside the request object counts.
async fn a_request_object_takes_the_place_of_the_parameters(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let mut claims = flow.request_object_claims();
    claims["dpop_jkt"] = json!(flow.key.jkt());
    let call = flow.push_object_call(&object(&claims)).set("scope", "openid accounts payments");
    let name = request_uri(&call.send(&service).await);
    let interaction = interaction(&flow.open_pushed(&service, &name).await);
    let shown = service.manage("GET", &format!("/admin/interactions/{interaction}"), None).await.json();
    assert_eq!(shown["scope"], "accounts openid", "{shown}");
    let code = flow.code_of(&accept(&service, &interaction, json!({"sub": "alice"})).await);
    flow.redeem(&code).prove(&Key::es256()).send(&service).await.invalid_grant();
    flow.redeem(&code).send(&service).await.tokens();
    // Another key in the header than in the claim.
    push(&service, flow.push_object_call(&object(&claims)).prove(&Key::es256())).await.refused(400, "invalid_request");
    request_uri(&push(&service, flow.push_object_call(&object(&claims)).prove(&flow.key)).await);
}

/// FAPI-MS, PAR-06
async fn a_request_object_is_judged_as_a_whole(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let now = keybound_testkit::time::now();
    let changed = |changes: &[(&str, Value)]| {
        let mut claims = flow.request_object_claims();
        for (name, value) in changes {
            match value {
                Value::Null => drop(claims.as_object_mut().map(|members| members.remove(*name))),
                value => claims[*name] = value.clone(),
            }
        }
        claims
    };
    let refused: &[&[(&str, Value)]] = &[
        &[("iss", json!("webapp"))],
        &[("client_id", json!("webapp"))],
        &[("client_id", Value::Null)],
        &[("aud", Value::Null)],
        &[("aud", json!("https://other.example.test"))],
        &[("aud", json!(["https://other.example.test"]))],
        &[("exp", Value::Null)],
        &[("nbf", Value::Null)],
        &[("exp", json!(now - 60)), ("nbf", json!(now - 120))],
        &[("exp", json!(now + 3700))],
        &[("nbf", json!(now - 3700)), ("exp", json!(now - 100))],
        &[("nbf", json!(now + 61))],
        &[("exp", json!("soon"))],
        &[("request_uri", json!("urn:x"))],
        &[("scope", json!(["openid"]))],
    ];
    for changes in refused {
        push(&service, flow.push_object_call(&object(&changed(changes)))).await.refused(400, "invalid_request_object");
    }
    push(&service, flow.push_object_call(&object(&changed(&[("redirect_uri", Value::Null), ("response_type", Value::Null)]))))
        .await
        .refused(400, "invalid_request");
    let accepted: &[&[(&str, Value)]] = &[
        &[],
        &[("aud", json!([flow.issuer, "https://other.example.test"]))],
        &[("nbf", json!(now + 8))],
        &[("nbf", json!(now - 3500)), ("exp", json!(now + 60))],
        &[("authorization_details", json!([{"type": "account_information"}])), ("max_age", json!(60))],
    ];
    for changes in accepted {
        request_uri(&push(&service, flow.push_object_call(&object(&changed(changes)))).await);
    }
}

/// FAPI-MS: the signature is the client's own, with an algorithm that is not RS256 and not none.
async fn a_request_object_is_signed_by_the_client(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "signed-webapp");
    let claims = flow.request_object_claims();
    let b64 = |bytes: &[u8]| keybound_testkit::jose::b64(bytes);
    let unsigned = format!("{}.{}.", b64(json!({"alg": "none"}).to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    let rsa = Key::ps256();
    let input = format!("{}.{}", b64(json!({"alg": "RS256"}).to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    let rs256 = format!("{input}.{}", b64(&rsa.sign_rs256(input.as_bytes())));
    let foreign = Key::es256().jws(&json!({"alg": "ES256"}), &claims);
    let other_type = signer_key().jws(&json!({"alg": "ES256", "typ": "client-authentication+jwt"}), &claims);
    let critical = signer_key().jws(&json!({"alg": "ES256", "crit": ["x"], "x": 1}), &claims);
    for bad in [unsigned, rs256, foreign, other_type, critical, "x".to_owned(), "a.b.c.d.e".to_owned()] {
        push(&service, flow.push_object_call(&bad)).await.refused(400, "invalid_request_object");
    }
    for header in [json!({"alg": "ES256"}), json!({"alg": "ES256", "typ": "JWT"}), json!({"alg": "ES256", "typ": "OAUTH-AUTHZ-REQ+JWT"})] {
        request_uri(&push(&service, flow.push_object_call(&signer_key().jws(&header, &claims))).await);
    }
    // A client without keys has none to sign with.
    let keyless = CodeFlow::known(&service, "webapp");
    let object = object(&keyless.request_object_claims());
    push(&service, keyless.push_object_call(&object)).await.refused(400, "invalid_request_object");
}

/// R1 and single use at once: of 32 equal requests with one proof, one is taken.
async fn one_proof_pushes_once_among_many(store: Store) {
    let service = start(store).await;
    let flow = CodeFlow::known(&service, "app");
    let call = flow.push_call().prove(&flow.key);
    let answers = futures_util::future::join_all((0..32).map(|_| call.send(&service))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 201).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status() != 201) {
        answer.invalid_proof();
    }
    assert_eq!(Endpoint::Par.path(), "/oauth/par");
}

both_stores!(
    each_kind_of_client_pushes_and_gets_tokens,
    only_the_client_itself_pushes,
    an_assertion_pushes_once,
    a_request_is_judged_when_it_is_pushed,
    only_posted_forms_are_taken,
    a_name_works_for_its_own_client_only,
    a_name_is_used_up_by_the_first_finished_sign_in,
    a_name_ends_in_time,
    a_code_is_bound_to_the_pushed_key,
    a_bound_code_needs_a_proof,
    two_keys_in_one_request_must_agree,
    a_proof_at_par_is_checked_in_full,
    a_nonce_challenge_at_par_leaves_no_trace,
    a_request_object_takes_the_place_of_the_parameters,
    a_request_object_is_judged_as_a_whole,
    a_request_object_is_signed_by_the_client,
    one_proof_pushes_once_among_many,
);
