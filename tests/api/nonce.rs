//! Nonces of the authorization server (RFC 9449 section 8).

use std::time::Duration;

use keybound_testkit::flow::assertion;
use keybound_testkit::{Client, Endpoint, Key, Request, Service, Settings, Store, both_stores};

use crate::{start, start_with};

async fn start_requiring(store: Store) -> Service {
    start_with(store, Settings::default().with("dpop.nonce", "required")).await
}

/// NON-01, NON-02, NON-09, DPOP-4.2-08, DPOP-4.3-10
async fn a_proof_without_a_nonce_is_challenged(store: Store) {
    let service = start_requiring(store).await;
    let session = service.session("spa").await;
    for endpoint in Endpoint::ALL {
        let nonce = session.call(endpoint).send(&service).await.nonce_challenge();
        session.call(endpoint).prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    }
}

/// NON-01, NON-03, DPOP-4.3-10
async fn a_nonce_that_was_not_given_is_challenged(store: Store) {
    let service = start_requiring(store).await;
    let session = service.session("spa").await;
    let good = service.nonce().await;
    let mut flipped = good.clone().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).expect("ASCII");
    let long = "x".repeat(300);
    for bad in ["stale", "", " ", &flipped, &good[1..], &good.to_lowercase(), &format!("{good}="), &format!("{good} "), &long] {
        let call = session.refresh().prove_with_nonce(&session.key, bad);
        let fresh = call.send(&service).await.nonce_challenge();
        assert_ne!(fresh, bad);
    }
    session.refresh().prove_with_nonce(&session.key, &good).send(&service).await.tokens();
}

/// DPOP-4.3-03: a nonce of another type is no nonce at all.
async fn a_nonce_that_is_no_text_is_a_broken_proof(store: Store) {
    let service = start_requiring(store).await;
    let session = service.session("spa").await;
    for nonce in [serde_json::json!(1), serde_json::json!(null), serde_json::json!([service.nonce().await])] {
        let proof = session.proof(Endpoint::Refresh).claim("nonce", nonce).sign(&session.key);
        session.refresh().proof(proof).send(&service).await.invalid_proof();
    }
}

/// NON-03, NON-06: where nonces are optional none is handed out unasked, and one that is sent must be good.
async fn optional_nonces_are_not_pressed_on_anyone(store: Store) {
    let service = start(store).await;
    let session = service.session("spa").await;
    let answer = session.refresh().send(&service).await;
    answer.tokens();
    assert_eq!(answer.response.header("DPoP-Nonce"), None);
    session.refresh().set("scope", "admin").send(&service).await.refused(400, "invalid_scope");
    let fresh = session.refresh().prove_with_nonce(&session.key, "stale").send(&service).await.nonce_challenge();
    session.refresh().prove_with_nonce(&session.key, &fresh).send(&service).await.tokens();
    session.refresh().send(&service).await.tokens();
}

/// NON-06
async fn required_nonces_stay_required(store: Store) {
    let service = start_requiring(store).await;
    let session = service.session("spa").await;
    let nonce = session.refresh().send(&service).await.nonce_challenge();
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    session.refresh().send(&service).await.nonce_challenge();
}

/// NON-04, NON-14
async fn one_nonce_serves_many_proofs_and_is_not_sent_again(store: Store) {
    let service = start_requiring(store).await;
    let session = service.session("spa").await;
    let mut nonce = service.nonce().await;
    for _ in 0..3 {
        let answer = session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await;
        answer.tokens();
        // Once in five minutes the nonce changes just now.
        if let Some(next) = answer.response.header("DPoP-Nonce") {
            assert_ne!(next, nonce, "a fresh nonce is not sent again");
            next.clone_into(&mut nonce);
        }
    }
}

/// NON-04, NON-05, NON-14: the previous nonce is good and renewed, the one before it is not good.
async fn the_previous_nonce_is_good_and_is_renewed(store: Store) {
    let settings = Settings::default().with("dpop.nonce", "required").with("dpop.nonce_step_s", 10);
    let service = start_with(store, settings).await;
    let session = service.session("spa").await;
    let first = service.nonce().await;
    let second = next_nonce(&service, &first).await;
    let answer = session.refresh().prove_with_nonce(&session.key, &first).send(&service).await;
    answer.tokens();
    assert_eq!(answer.response.header("DPoP-Nonce"), Some(second.as_str()), "the new nonce rides on the success");
    let third = next_nonce(&service, &second).await;
    let renewed = session.refresh().prove_with_nonce(&session.key, &first).send(&service).await.nonce_challenge();
    assert_ne!(renewed, first);
    session.refresh().prove_with_nonce(&session.key, &third).send(&service).await.tokens();
}

/// Waits for the nonce after `nonce`.
async fn next_nonce(service: &Service, nonce: &str) -> String {
    for _ in 0..2000 {
        let next = service.nonce().await;
        if next != nonce {
            return next;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the nonce never changes");
}

/// NON-08, NON-13: a nonce of another issuer is worth nothing here.
async fn a_nonce_of_another_server_is_challenged(store: Store) {
    let (service, other) = tokio::join!(start_requiring(store), start_requiring(store));
    let session = service.session("spa").await;
    let foreign = other.nonce().await;
    session.refresh().prove_with_nonce(&session.key, &foreign).send(&service).await.nonce_challenge();
    let own = service.nonce().await;
    session.refresh().prove_with_nonce(&session.key, &own).send(&service).await.tokens();
}

/// NON-10, PKJ-08, PIPE-1: the same jti, the same refresh token and the same client assertion work on the retry.
async fn a_challenge_leaves_no_trace(store: Store) {
    let service = start_requiring(store).await;
    for client in ["spa", "signer", "web"] {
        let session = service.session(client).await;
        let call = session.refresh();
        let proof = call.fresh_proof(&session.key);
        let challenged = call.clone().proof(proof.sign(&session.key));
        challenged.send(&service).await.nonce_challenge();
        let nonce = challenged.send(&service).await.nonce_challenge();
        let retry = call.proof(proof.nonce(&nonce).sign(&session.key));
        retry.send(&service).await.tokens();
        retry.send(&service).await.refused(400, "invalid_dpop_proof");
    }
    let signer = Client::known("signer");
    let key = Key::es256();
    let call = signer.credentials_call(&key, service.issuer());
    let nonce = call.send(&service).await.nonce_challenge();
    call.prove_with_nonce(&key, &nonce).send(&service).await.tokens();
}

/// PKJ-08, NON-10: an assertion is used up by the request that succeeds, not by one that is challenged.
async fn a_challenged_assertion_is_not_used_up(store: Store) {
    let service = start_requiring(store).await;
    let signer = Client::known("signer");
    let key = Key::es256();
    let signed = assertion(&keybound_testkit::service::signer_key(), &signer.assertion_claims(service.issuer()));
    let call = signer.credentials_call(&key, service.issuer()).assertion(&signed);
    let nonce = call.send(&service).await.nonce_challenge();
    call.clone().prove_with_nonce(&key, &nonce).send(&service).await.tokens();
    call.prove_with_nonce(&key, &nonce).send(&service).await.refused(401, "invalid_client");
}

/// NON-11, DPOP-4.3-11: with `trust_nonce_time` a good nonce stands in for a good clock; without it, it does not.
async fn a_nonce_may_stand_in_for_a_good_clock(store: Store) {
    for trusted in [true, false] {
        let settings = Settings::default().with("dpop.nonce", "required").with("dpop.trust_nonce_time", trusted);
        let service = start_with(store, settings).await;
        let session = service.session("spa").await;
        let nonce = service.nonce().await;
        for offset in [-300, 300] {
            let proof = session.proof(Endpoint::Refresh).nonce(&nonce).iat_offset(offset).sign(&session.key);
            let answer = session.refresh().proof(&proof).send(&service).await;
            if trusted {
                answer.tokens();
                session.refresh().proof(&proof).send(&service).await.invalid_proof();
            } else {
                answer.invalid_proof();
            }
        }
        let unproven = session.proof(Endpoint::Refresh).iat_offset(-300).sign(&session.key);
        assert_eq!(session.refresh().proof(unproven).send(&service).await.status(), 400);
    }
}

/// NON-13: nonces survive a clean stop.
async fn a_nonce_survives_a_clean_restart(store: Store) {
    let mut service = start_requiring(store).await;
    let session = service.session("spa").await;
    let nonce = service.nonce().await;
    assert!(service.stop().await, "a clean stop ends with success");
    service.restart().await;
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
}

/// NON-02, NON-05, NON-06: a nonce can be had for nothing.
async fn a_nonce_is_handed_out_for_nothing(store: Store) {
    let service = start_requiring(store).await;
    for method in ["GET", "HEAD"] {
        let answer = service.send(&Request::new(method, "/oauth/nonce")).await;
        assert!(matches!(answer.status, 200 | 204), "{answer}");
        let nonce = answer.header("DPoP-Nonce").expect("one nonce").to_owned();
        assert!(nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{nonce}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
        let session = service.session("spa").await;
        session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    }
    assert_eq!(service.send(&Request::new("POST", "/oauth/nonce")).await.status, 405);
}

both_stores!(
    a_proof_without_a_nonce_is_challenged,
    a_nonce_that_was_not_given_is_challenged,
    a_nonce_that_is_no_text_is_a_broken_proof,
    optional_nonces_are_not_pressed_on_anyone,
    required_nonces_stay_required,
    one_nonce_serves_many_proofs_and_is_not_sent_again,
    the_previous_nonce_is_good_and_is_renewed,
    a_nonce_of_another_server_is_challenged,
    a_challenge_leaves_no_trace,
    a_challenged_assertion_is_not_used_up,
    a_nonce_may_stand_in_for_a_good_clock,
    a_nonce_survives_a_clean_restart,
    a_nonce_is_handed_out_for_nothing,
);
