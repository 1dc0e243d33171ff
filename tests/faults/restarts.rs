//! One restart, clean or not.

use keybound_testkit::{Store, both_stores};

use crate::start;

/// SEC-03, SEC-04: a clean stop keeps families, used proofs and nonces, and nobody is challenged.
async fn a_clean_restart_forgets_nothing(store: Store) {
    let mut service = start(store).await;
    let mut session = service.session("spa").await;
    let captured = session.refresh();
    session.keep(&captured.send(&service).await.tokens());
    let assertion_user = service.session("signer").await;
    let used = assertion_user.refresh();
    used.send(&service).await.tokens();
    let ended = service.session("spa").await;
    assert!(matches!(service.revoke(&ended.grant_id).await.status, 200 | 204));
    let nonce = service.nonce().await;
    assert!(service.stop().await, "a clean stop ends with success");
    service.restart().await;
    captured.send(&service).await.invalid_proof();
    used.prove(&assertion_user.key).send(&service).await.refused(401, "invalid_client");
    ended.refresh().send(&service).await.invalid_grant();
    session.rotate(&service).await;
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
}

/// SEC-03, SEC-04: the ledger that a clean stop wrote is good for one start: a crash after it is a crash.
async fn a_crash_after_a_clean_restart_is_a_crash(store: Store) {
    let mut service = start(store).await;
    let session = service.session("spa").await;
    service.stop().await;
    service.restart().await;
    let captured = session.refresh();
    captured.send(&service).await.tokens();
    service.kill();
    service.restart().await;
    assert_eq!(captured.send(&service).await.status(), 400);
    captured.send(&service).await.refused(400, if store == Store::Embedded { "use_dpop_nonce" } else { "invalid_dpop_proof" });
}

/// SEC-08, NON-01, NON-10: after a crash no proof made before it is good (R5), and every family is.
async fn after_a_crash_captured_proofs_stay_dead(store: Store) {
    let mut service = start(store).await;
    let mut session = service.session("spa").await;
    let before = service.nonce().await;
    let captured = session.refresh();
    session.keep(&captured.send(&service).await.tokens());
    let with_nonce = session.refresh().prove_with_nonce(&session.key, &before);
    with_nonce.send(&service).await.tokens();
    let unused = session.refresh();
    service.kill();
    service.restart().await;
    if store == Store::Redis {
        // Redis remembers: no new epoch, nobody is challenged.
        captured.send(&service).await.invalid_proof();
        with_nonce.send(&service).await.invalid_proof();
        unused.send(&service).await.tokens();
        return;
    }
    captured.send(&service).await.nonce_challenge();
    with_nonce.send(&service).await.nonce_challenge();
    unused.send(&service).await.nonce_challenge();
    session.refresh().send(&service).await.nonce_challenge();
    // One challenge suffices, and the same jti may answer it.
    let call = session.refresh();
    let proof = call.fresh_proof(&session.key);
    let nonce = call.clone().proof(proof.sign(&session.key)).send(&service).await.nonce_challenge();
    let tokens = call.proof(proof.nonce(&nonce).sign(&session.key)).send(&service).await.tokens();
    session.keep(&tokens);
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    captured.send(&service).await.nonce_challenge();
}

/// NON-06, SEC-04: the demand for a nonce ends when nothing captured could be in its window any more.
async fn the_demand_for_a_nonce_ends(store: Store) {
    if store == Store::Redis {
        return;
    }
    let settings = keybound_testkit::Settings::default().with("dpop.proof_max_age_s", 2).with("dpop.clock_skew_s", 1);
    let mut service = crate::start_with(store, settings).await;
    let session = service.session("spa").await;
    let captured = session.refresh();
    captured.send(&service).await.tokens();
    service.kill();
    service.restart().await;
    session.refresh().send(&service).await.nonce_challenge();
    let watch = keybound_testkit::time::Stopwatch::start();
    loop {
        assert_eq!(captured.send(&service).await.status(), 400, "a captured proof is never good");
        let answer = session.refresh().send(&service).await;
        if answer.status() == 200 {
            break;
        }
        answer.nonce_challenge();
        assert!(watch.elapsed().as_secs() < 20, "nonces are demanded for ever");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(watch.elapsed().as_secs() >= 3, "the demand ended while a captured proof was in its window");
    captured.send(&service).await.invalid_proof();
}

/// REF-04: nothing about a family changes in a crash: superseded tokens stay superseded.
async fn a_crash_revives_no_old_token(store: Store) {
    let mut service = start(store).await;
    let mut session = service.session("spa").await;
    let first = session.refresh_token.clone();
    for _ in 0..3 {
        session.rotate(&service).await;
    }
    service.kill();
    service.restart().await;
    let nonce = service.nonce().await;
    session
        .call_with(keybound_testkit::Endpoint::Refresh, &first)
        .prove_with_nonce(&session.key, &nonce)
        .send(&service)
        .await
        .invalid_grant();
    session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.invalid_grant();
}

both_stores!(
    a_clean_restart_forgets_nothing,
    a_crash_after_a_clean_restart_is_a_crash,
    after_a_crash_captured_proofs_stay_dead,
    the_demand_for_a_nonce_ends,
    a_crash_revives_no_old_token,
);
