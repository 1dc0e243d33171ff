//! Nonces of the gateway (RFC 9449 section 9).

use std::time::Duration;

use keybound_testkit::{Dialect, Service, Settings, Store, Verify, both_stores};
use serde_json::json;

use crate::access::text;
use crate::verify::{Caller, URL};
use crate::{start, start_with};

/// `accounts-api` needs a nonce, `payments-api` does not.
fn settings() -> Settings {
    let resource = |id: &str| json!({"id": format!("{id}-api"), "url": format!("https://api.example.test/{id}"), "audience": "urn:api", "scopes": [id]});
    let mut accounts = resource("accounts");
    accounts["nonce"] = json!("required");
    Settings::default().with("resource", json!([accounts, resource("payments")]))
}

/// A call with this nonce.
fn with_nonce(caller: &Caller, nonce: &str) -> Verify {
    caller.call_with(&caller.proof().nonce(nonce))
}

/// A nonce of the gateway, from a challenge.
async fn challenged(service: &Service, caller: &Caller) -> String {
    caller.call().ask(Dialect::Nginx, service).await.refused(401, "use_dpop_nonce").nonce.expect("a nonce")
}

/// NON-02, NON-03, NON-06, NON-07, NON-09, NON-14, DPOP-4.2-08, DPOP-4.3-10
async fn a_nonce_is_demanded_in_the_challenge(store: Store) {
    let service = start_with(store, settings()).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        for call in [caller.call(), with_nonce(&caller, "stale"), with_nonce(&caller, ""), with_nonce(&caller, "x y")] {
            let judged = call.ask(dialect, &service).await.refused(401, "use_dpop_nonce");
            let nonce = judged.nonce.expect("a nonce");
            assert!(nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{nonce}");
            // It is good more than once, and not sent again while it is fresh.
            for _ in 0..2 {
                assert_eq!(with_nonce(&caller, &nonce).ask(dialect, &service).await.passes().nonce, None);
            }
        }
    }
}

/// NON-06: every 401 of a resource that needs a nonce brings one; a resource that needs none hands none out.
async fn a_nonce_comes_only_where_one_is_needed(store: Store) {
    let service = start_with(store, settings()).await;
    let caller = Caller::new(&service).await;
    let nonce = challenged(&service, &caller).await;
    for dialect in Dialect::ALL {
        let stranger = Verify::new("GET", URL).token("unknown");
        let payments = "https://api.example.test/payments";
        for (call, comes) in [
            (Verify::new("GET", URL), true),
            (Verify::new("GET", URL).authorization("Bearer x"), true),
            (Verify::new("GET", URL).token(&caller.token), true),
            (stranger.proof(Verify::proof_for("GET", URL, "unknown", &caller.key).nonce(&nonce).sign(&caller.key)), true),
            (Verify::new("GET", payments), false),
            (Verify::new("GET", payments).token(&caller.token), false),
            (Verify::good("GET", payments, "unknown", &caller.key), false),
        ] {
            let judged = call.ask(dialect, &service).await;
            assert_eq!((judged.status, judged.nonce.is_some()), (401, comes), "{}", judged.whole);
        }
        let call = Verify::good("GET", payments, &caller.token, &caller.key);
        assert_eq!(call.ask(dialect, &service).await.passes().nonce, None);
        // One that is sent must be good all the same.
        let proof = Verify::proof_for("GET", payments, &caller.token, &caller.key).nonce("stale");
        let stale = Verify::new("GET", payments).token(&caller.token).proof(proof.sign(&caller.key));
        stale.ask(dialect, &service).await.refused(401, "use_dpop_nonce");
    }
}

/// NON-08: a nonce of the authorization server is none of the gateway, and the other way round.
async fn nonces_of_two_roles_are_not_mixed_up(store: Store) {
    let service = start_with(store, settings().with("dpop.nonce", "required")).await;
    let session = service.session("spa").await;
    let of_server = service.nonce().await;
    let tokens = session.refresh().prove_with_nonce(&session.key, &of_server).send(&service).await.tokens();
    let caller = Caller { token: text(&tokens, "access_token"), key: session.key.clone(), grant_id: session.grant_id.clone() };
    with_nonce(&caller, &of_server).ask(Dialect::Nginx, &service).await.refused(401, "use_dpop_nonce");
    let of_gateway = challenged(&service, &caller).await;
    session.refresh().prove_with_nonce(&session.key, &of_gateway).send(&service).await.nonce_challenge();
    with_nonce(&caller, &of_gateway).ask(Dialect::Nginx, &service).await.passes();
    // The default of a resource is the policy of the service.
    Verify::good("GET", "https://api.example.test/payments", &caller.token, &caller.key)
        .ask(Dialect::Nginx, &service)
        .await
        .refused(401, "use_dpop_nonce");
}

/// NON-10: the same `jti` works on the retry.
async fn a_nonce_challenge_leaves_no_trace(store: Store) {
    let service = start_with(store, settings()).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        let proof = caller.proof();
        let judged = caller.call_with(&proof).ask(dialect, &service).await.refused(401, "use_dpop_nonce");
        let proof = proof.nonce(&judged.nonce.expect("a nonce"));
        caller.call_with(&proof).ask(dialect, &service).await.passes();
        caller.call_with(&proof).ask(dialect, &service).await.refused(401, "invalid_dpop_proof");
    }
}

/// NON-04, NON-05: the previous nonce is good and renewed in every dialect.
async fn the_previous_nonce_is_good_and_is_renewed(store: Store) {
    let service = start_with(store, settings().with("dpop.nonce_step_s", 10)).await;
    let caller = Caller::new(&service).await;
    let first = challenged(&service, &caller).await;
    let mut second = first.clone();
    while second == first {
        tokio::time::sleep(Duration::from_millis(50)).await;
        second = challenged(&service, &caller).await;
    }
    for dialect in Dialect::ALL {
        let judged = with_nonce(&caller, &first).ask(dialect, &service).await.passes();
        assert_eq!(judged.nonce.as_deref(), Some(second.as_str()), "{dialect:?}");
    }
}

/// R5: after the ledger was lost a proof from before is dead, and every resource asks for a nonce.
async fn after_a_crash_captured_proofs_stay_dead(store: Store) {
    let mut service = start(store).await;
    let caller = Caller::new(&service).await;
    let (captured, unused) = (caller.call(), caller.call());
    captured.ask(Dialect::Nginx, &service).await.passes();
    service.kill();
    service.restart().await;
    if store == Store::Redis {
        // Redis remembers.
        captured.ask(Dialect::Nginx, &service).await.refused(401, "invalid_dpop_proof");
        unused.ask(Dialect::Nginx, &service).await.passes();
        return;
    }
    for dialect in Dialect::ALL {
        captured.ask(dialect, &service).await.refused(401, "use_dpop_nonce");
        let judged = unused.clone().member("replay", "check").ask(dialect, &service).await.refused(401, "use_dpop_nonce");
        with_nonce(&caller, &judged.nonce.expect("a nonce")).ask(dialect, &service).await.passes();
    }
}

/// SEC-01, SEC-04: a resource may be stricter or more patient than the service.
async fn a_resource_has_its_own_age_of_proofs(store: Store) {
    let with =
        |id: &str, age: u32| json!({"id": id, "url": format!("https://{id}.example.test"), "audience": "urn:api", "proof_max_age_s": age});
    let mut strict = with("strict", 5);
    strict["scopes"] = json!(["accounts"]);
    let service = start_with(store, Settings::default().with("resource", json!([strict, with("patient", 300)]))).await;
    let caller = Caller::new(&service).await;
    for (url, offset, passes) in [
        ("https://strict.example.test/a", 0, true),
        ("https://strict.example.test/a", -10, false),
        ("https://patient.example.test/a", -290, true),
        ("https://patient.example.test/a", -302, false),
    ] {
        let proof = Verify::proof_for("GET", url, &caller.token, &caller.key).iat_offset(offset).sign(&caller.key);
        let call = Verify::new("GET", url).token(&caller.token).proof(proof);
        let judged = call.ask(Dialect::Json, &service).await;
        assert_eq!(judged.status == 200, passes, "{url} {offset}: {}", judged.whole);
        if passes {
            call.ask(Dialect::Json, &service).await.refused(401, "invalid_dpop_proof");
        }
    }
}

both_stores!(
    a_nonce_is_demanded_in_the_challenge,
    a_nonce_comes_only_where_one_is_needed,
    nonces_of_two_roles_are_not_mixed_up,
    a_nonce_challenge_leaves_no_trace,
    the_previous_nonce_is_good_and_is_renewed,
    after_a_crash_captured_proofs_stay_dead,
    a_resource_has_its_own_age_of_proofs,
);
