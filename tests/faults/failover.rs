//! Sentinels and replicas: the primary dies, another takes over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keybound_testkit::sentinel::{MASTER, WatchedRedis};
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Endpoint, Service, Session, Settings};
use serde_json::json;

use crate::outages::until_ready;

async fn start_on(redis: &WatchedRedis, durability: &str) -> Service {
    let settings = Settings::default()
        .with("store.kind", "redis")
        .with("store.urls", json!(redis.urls()))
        .with("store.topology", "sentinel")
        .with("store.sentinel_master", MASTER)
        .with("store.durability", durability);
    Service::start_on(env!("CARGO_BIN_EXE_keybound"), None, settings).await
}

/// SEC-03, SEC-08, BCP-04: with strict durability a failover loses no session, revives no grant and lets no captured proof in
/// (R1, R5, G6, L1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_costs_no_session_and_revives_nothing() {
    let redis = WatchedRedis::start(2).await;
    let service = start_on(&redis, "strict").await;
    let mut sessions = [service.session("spa").await, service.session("web").await, service.session("spa").await];
    for round in 0..3 {
        // Recorded before the failover, and used where the epoch of the last one lets proofs without a nonce in.
        let captured = sessions[0].refresh();
        let answer = captured.send(&service).await;
        if answer.response.status == 200 {
            sessions[0].keep(&answer.tokens());
        }
        let ended = service.session("spa").await;
        assert_eq!(service.revoke(&ended.grant_id).await.status, 204);

        redis.fail_over().await;
        // The fault is over when the sentinels have turned the other replica round.
        redis.until_replicated(1).await;
        let watch = Stopwatch::start();
        until_ready(&service).await;
        for session in &mut sessions {
            refresh(&service, session).await;
        }
        println!("round {round}: every client had refreshed {:?} after the failover", watch.elapsed());
        for _ in 0..2 {
            let answer = captured.send(&service).await;
            assert_eq!(answer.response.status, 400, "round {round}: a captured proof got {}", answer.response);
        }
        let nonce = nonce(&service).await;
        ended.refresh().prove_with_nonce(&ended.key, &nonce).send(&service).await.invalid_grant();
        redis.heal(2).await;
    }
}

/// REF-04, SEC-08: clients that refresh without pause see their session again after every failover, and in between nothing but 503 and
/// requests for a nonce; none of their sessions forks (G1, G4, R4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_under_way_see_503_and_nothing_worse() {
    let redis = Arc::new(WatchedRedis::start(2).await);
    for durability in ["strict", "standard"] {
        let service = Arc::new(start_on(&redis, durability).await);
        let (ended, refreshed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (service, ended, refreshed) = (Arc::clone(&service), Arc::clone(&ended), Arc::clone(&refreshed));
            let mut session = service.session("spa").await;
            clients.spawn(async move {
                let mut nonce = None;
                while !ended.load(Ordering::Relaxed) {
                    refreshed.fetch_add(usize::from(step(&service, &mut session, &mut nonce).await), Ordering::Relaxed);
                }
                session
            });
        }
        until(|| refreshed.load(Ordering::Relaxed) > 50).await;
        redis.fail_over().await;
        let before = refreshed.load(Ordering::Relaxed);
        until(|| refreshed.load(Ordering::Relaxed) > before + 50).await;
        ended.store(true, Ordering::Relaxed);
        for mut session in clients.join_all().await {
            refresh(&service, &mut session).await;
        }
        redis.heal(2).await;
    }
}

/// One refresh as a patient client makes it: tells whether it succeeded.
async fn step(service: &Service, session: &mut Session, nonce: &mut Option<String>) -> bool {
    let call = match nonce.as_deref() {
        Some(nonce) => session.call(Endpoint::Refresh).prove_with_nonce(&session.key, nonce),
        None => session.call(Endpoint::Refresh),
    };
    let answer = call.send(service).await;
    if let Some(fresh) = answer.response.header("DPoP-Nonce") {
        *nonce = Some(fresh.to_owned());
    }
    match answer.response.status {
        200 => {
            session.keep(&answer.tokens());
            true
        }
        503 => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            false
        }
        _ => {
            assert_eq!(answer.response.json()["error"], "use_dpop_nonce", "{}", answer.response);
            false
        }
    }
}

/// Refreshes as a patient client does: comes again after a 503, and with the nonce that it was given.
async fn refresh(service: &Service, session: &mut Session) {
    let (watch, mut nonce) = (Stopwatch::start(), None);
    while !step(service, session, &mut nonce).await {
        assert!(watch.elapsed() < Duration::from_secs(20), "a client does not get its session back");
    }
}

/// A nonce, as soon as there is one.
async fn nonce(service: &Service) -> String {
    let watch = Stopwatch::start();
    loop {
        if let Some(nonce) = service.get("/oauth/nonce").await.header("DPoP-Nonce") {
            return nonce.to_owned();
        }
        assert!(watch.elapsed() < Duration::from_secs(10), "no nonce");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(holds: impl Fn() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < Duration::from_secs(30), "the clients do not get on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// SEC-08: what replicas did not confirm is not acknowledged, is not lost either, and the same request works when they are back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replicas_strict_durability_acknowledges_nothing() {
    let redis = WatchedRedis::start(1).await;
    let service = start_on(&redis, "strict").await;
    let mut session = service.session("spa").await;
    let ended = service.session("spa").await;
    redis.servers()[1].kill();
    for _ in 0..2 {
        session.refresh().send(&service).await.refused(503, "temporarily_unavailable");
        assert_eq!(service.revoke(&ended.grant_id).await.status, 503);
    }
    assert!(!service.ready().await, "a node that can't acknowledge a write is not ready");
    redis.heal(1).await;
    until_ready(&service).await;
    let tokens = session.refresh().send(&service).await.tokens();
    session.keep(&tokens);
    // It was ended by the first try; only now that is confirmed.
    assert!([204, 404].contains(&service.revoke(&ended.grant_id).await.status));
    ended.refresh().send(&service).await.invalid_grant();
    let tokens = session.refresh().send(&service).await.tokens();
    session.keep(&tokens);
}
