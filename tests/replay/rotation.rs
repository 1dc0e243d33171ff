//! Lost answers, reuse, and originals that come late.

use keybound_testkit::{Connection, Endpoint, Store, both_stores};

use crate::start;

/// BCP-13, DPOP-4-01: an answer may be lost any number of times (G4).
async fn an_answer_may_be_lost_any_number_of_times(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    for _ in 0..5 {
        for _ in 0..5 {
            let call = session.refresh();
            Connection::new(service.public).send_and_hang_up(&call.request()).await.expect("it is sent");
        }
        let mut successors = Vec::new();
        for _ in 0..5 {
            successors.push(session.refresh().send(&service).await.tokens()["refresh_token"].clone());
        }
        assert!(successors.iter().all(|successor| *successor == successors[0] && *successor != session.refresh_token));
        session.rotate(&service).await;
    }
}

/// BCP-02: a token older than the previous one, with a fresh proof, ends the family.
async fn reuse_ends_the_family(store: Store) {
    let service = start(store).await;
    for endpoint in Endpoint::ALL {
        let mut session = service.session("spa").await;
        let first = session.refresh_token.clone();
        session.rotate(&service).await;
        session.call_with(endpoint, &first).send(&service).await.tokens();
        session.rotate(&service).await;
        session.call_with(endpoint, &first).send(&service).await.invalid_grant();
        session.refresh().send(&service).await.invalid_grant();
    }
}

/// BCP-02: a proof that was made before the last rotation is a delayed original: refused, and nothing ends.
async fn a_delayed_original_ends_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let delayed = session.refresh().proof(session.proof(Endpoint::Refresh).iat_offset(-5).sign(&session.key));
    session.rotate(&service).await;
    session.rotate(&service).await;
    delayed.send(&service).await.invalid_grant();
    session.rotate(&service).await;
    delayed.prove(&session.key).send(&service).await.invalid_grant();
    session.refresh().send(&service).await.invalid_grant();
}

/// BCP-02, SEC-03: a captured request, sent again when its token is long superseded, is a replay and ends nothing.
async fn a_replayed_refresh_ends_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let captured = session.refresh();
    session.keep(&captured.send(&service).await.tokens());
    for _ in 0..3 {
        session.rotate(&service).await;
        captured.send(&service).await.invalid_proof();
    }
    session.rotate(&service).await;
}

/// BCP-14, TOK-05: a thief without the key ends nothing, whichever token he holds.
async fn a_thief_without_the_key_ends_nothing(store: Store) {
    let service = start(store).await;
    let mut session = service.session("spa").await;
    let mut tokens = vec![session.refresh_token.clone()];
    for _ in 0..4 {
        session.rotate(&service).await;
        tokens.push(session.refresh_token.clone());
    }
    let thief = keybound_testkit::Key::es256();
    for token in &tokens {
        session.call_with(Endpoint::Refresh, token).prove(&thief).send(&service).await.invalid_grant();
    }
    session.rotate(&service).await;
}

both_stores!(
    an_answer_may_be_lost_any_number_of_times,
    reuse_ends_the_family,
    a_delayed_original_ends_nothing,
    a_replayed_refresh_ends_nothing,
    a_thief_without_the_key_ends_nothing,
);
