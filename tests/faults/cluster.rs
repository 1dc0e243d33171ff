//! Redis Cluster: primaries die, hang and give slots away, while clients go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keybound_testkit::cluster::ClusterRedis;
use keybound_testkit::redis::RedisServer;
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Answer, Call, Service, Session, Settings};
use redis::Value;
use serde_json::json;

use crate::outages::until_ready;

async fn start_on(cluster: &ClusterRedis, durability: &str) -> Service {
    let settings = Settings::default()
        .with("store.kind", "redis")
        .with("store.urls", json!(cluster.urls()))
        .with("store.topology", "cluster")
        .with("store.durability", durability);
    Service::start_on(env!("CARGO_BIN_EXE_keybound"), None, settings).await
}

/// The slots that hold keys of this kind.
async fn slots_of(cluster: &ClusterRedis, pattern: &str) -> Vec<u16> {
    let mut slots = Vec::new();
    for node in cluster.nodes().iter().filter(|node| !node.is_down()) {
        if node.info("role").await != "master" {
            continue;
        }
        let Ok(Value::Array(keys)) = node.command(&["KEYS", pattern]).await else { panic!("no list of keys") };
        for key in keys {
            let Value::BulkString(key) = key else { panic!("no key") };
            slots.push(cluster.slot_of(&key).await);
        }
    }
    slots.sort_unstable();
    slots.dedup();
    slots
}

/// Where the family of a session is.
async fn slot_of(cluster: &ClusterRedis, service: &Service) -> (Session, u16) {
    let before = slots_of(cluster, "f:*").await;
    let session = service.session("spa").await;
    let slot = slots_of(cluster, "f:*").await.into_iter().find(|slot| !before.contains(slot));
    (session, slot.expect("two families are rarely in one slot"))
}

/// What a client does that knows the protocol: sends, and comes again once with the nonce that it was given. How often it came again is the
/// second part.
async fn sent(service: &Service, session: &Session, nonce: &mut Option<String>) -> (Answer, usize) {
    let call = |nonce: Option<&str>| match nonce {
        Some(nonce) => session.refresh().prove_with_nonce(&session.key, nonce),
        None => session.refresh(),
    };
    for tries in 0.. {
        let answer = call(nonce.as_deref()).send(service).await;
        if let Some(fresh) = answer.response.header("DPoP-Nonce") {
            *nonce = Some(fresh.to_owned());
        }
        let challenged = answer.response.status == 400 && answer.response.json()["error"] == "use_dpop_nonce";
        if !challenged || tries == 1 {
            return (answer, tries);
        }
    }
    unreachable!("it returns after the second try")
}

/// Refreshes as a patient client does, until it has its session back.
async fn refresh(service: &Service, session: &mut Session) {
    let (watch, mut nonce) = (Stopwatch::start(), None);
    loop {
        let (answer, _) = sent(service, session, &mut nonce).await;
        match answer.response.status {
            200 => return session.keep(&answer.tokens()),
            503 => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => assert_eq!(answer.response.json()["error"], "use_dpop_nonce", "{}", answer.response),
        }
        assert!(watch.elapsed() < Duration::from_secs(20), "a client does not get its session back");
    }
}

/// A client whose grant was revoked gets `invalid_grant`, as soon as it gets anything.
async fn stays_ended(service: &Service, session: &Session) {
    let (watch, mut nonce) = (Stopwatch::start(), None);
    loop {
        let (answer, _) = sent(service, session, &mut nonce).await;
        let challenged = answer.response.status == 400 && answer.response.json()["error"] == "use_dpop_nonce";
        if answer.response.status != 503 && !challenged {
            return drop(answer.invalid_grant());
        }
        assert!(watch.elapsed() < Duration::from_secs(20), "no answer: {}", answer.response);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn never_again(service: &Service, captured: &Call) {
    for _ in 0..2 {
        let answer = captured.send(service).await;
        assert!([400, 503].contains(&answer.response.status), "a captured proof got {}", answer.response);
    }
}

/// SEC-03, SEC-07, SEC-08, NON-13: the ordinary life on a cluster: two nodes give out and take the same nonces and know each proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_a_cluster_are_one_service() {
    let cluster = ClusterRedis::start().await;
    let first = start_on(&cluster, "strict").await;
    let second = first.second_node().await;
    for client in ["spa", "web", "signer"] {
        let mut session = first.session(client).await;
        for (here, there) in [(&first, &second), (&second, &first)] {
            let nonce = here.nonce().await;
            let captured = session.refresh().prove_with_nonce(&session.key, &nonce);
            let tokens = captured.send(there).await.tokens();
            never_again(here, &captured).await;
            never_again(there, &captured).await;
            session.keep(&tokens);
        }
        assert_eq!(first.revoke(&session.grant_id).await.status, 204);
        session.refresh().send(&second).await.invalid_grant();
    }
}

/// SEC-03, SEC-08, BCP-04: with strict durability the failover of any primary costs no session, revives no grant and lets no captured proof
/// in (R1, R5, G6, L1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_any_primary_costs_no_session_and_revives_nothing() {
    let cluster = ClusterRedis::start().await;
    let service = start_on(&cluster, "strict").await;
    let mut sessions = [service.session("spa").await, service.session("web").await, service.session("spa").await];
    let (mut captured, mut ended) = (Vec::new(), Vec::new());
    for (round, slot) in [100, 8000, 16_000].into_iter().enumerate() {
        // Recorded before the failover; their claims are on any of the primaries, and each of these ends once.
        for session in &mut sessions {
            let call = session.refresh();
            let answer = call.send(&service).await;
            if answer.response.status == 200 {
                session.keep(&answer.tokens());
            }
            captured.push(call);
            let session = service.session("spa").await;
            assert_eq!(service.revoke(&session.grant_id).await.status, 204);
            ended.push(session);
        }
        cluster.fail_over(slot).await;
        let watch = Stopwatch::start();
        // The primary that took over has no replica yet: what is on it is confirmed by nobody until the old one is back.
        cluster.heal().await;
        until_ready(&service).await;
        for session in &mut sessions {
            refresh(&service, session).await;
        }
        println!("round {round}: every client had refreshed {:?} after the failover", watch.elapsed());
        for call in &captured {
            never_again(&service, call).await;
        }
        for session in &ended {
            stays_ended(&service, session).await;
        }
    }
}

/// SEC-08: slots with families and with used proofs move between primaries under load: no client sees an error beyond one retry with a nonce,
/// and no proof of before is taken again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_under_load_and_no_client_sees_more_than_one_retry() {
    let cluster = ClusterRedis::start().await;
    let service = Arc::new(start_on(&cluster, "standard").await);
    let (ended, refreshed, retried) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (service, ended, refreshed, retried) = (Arc::clone(&service), Arc::clone(&ended), Arc::clone(&refreshed), Arc::clone(&retried));
        let mut session = service.session("spa").await;
        clients.spawn(async move {
            let mut nonce = None;
            while !ended.load(Ordering::Relaxed) {
                let (answer, retries) = sent(&service, &session, &mut nonce).await;
                assert_eq!(answer.response.status, 200, "after {retries} retries: {}", answer.response);
                session.keep(&answer.tokens());
                refreshed.fetch_add(1, Ordering::Relaxed);
                retried.fetch_add(retries, Ordering::Relaxed);
            }
        });
    }
    let session = service.session("spa").await;
    let captured = session.refresh();
    captured.send(&service).await.tokens();
    let families = slots_of(&cluster, "f:*").await;
    let buckets = slots_of(&cluster, "kb:epoch:*").await;
    let mut moves = 0;
    for (number, slot) in families.iter().copied().chain((0..100).map(|number| number * 160)).enumerate() {
        let from = cluster.owner(slot).await;
        if !buckets.contains(&slot) {
            cluster.move_slot(slot, (from + 1 + number % 2) % 3).await;
            moves += 1;
        }
    }
    // Each of these moves the epoch: a client that has just been given a nonce may need another one, unless they come one by one.
    for number in 0..3 {
        let slot = buckets[number * buckets.len() / 3];
        let from = cluster.owner(slot).await;
        cluster.move_slot(slot, (from + 1) % 3).await;
        moves += 1;
        let before = refreshed.load(Ordering::Relaxed);
        until(|| refreshed.load(Ordering::Relaxed) > before + 30).await;
        never_again(&service, &captured).await;
    }
    ended.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let (refreshed, retried) = (refreshed.load(Ordering::Relaxed), retried.load(Ordering::Relaxed));
    println!("{moves} slots moved, {refreshed} refreshes, {retried} of them with a second try");
    assert!(retried < refreshed / 2, "{retried} of {refreshed}");
}

/// SEC-08, REF-04: while a primary is away without anybody to take over, its families get 503 and the others' go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_away_costs_only_what_it_has() {
    let cluster = ClusterRedis::start().await;
    let service = start_on(&cluster, "standard").await;
    let mut sessions = Vec::new();
    while (0..3).any(|owner| sessions.iter().filter(|(_, of)| *of == owner).count() < 1) {
        let (session, slot) = slot_of(&cluster, &service).await;
        sessions.push((session, cluster.owner(slot).await));
    }
    let lost = sessions[0].1;
    cluster.nodes()[lost + 3].kill();
    cluster.nodes()[lost].freeze(true);
    // The nonce of a claim decides on which primary it is kept: another proof of the same client may be luckier.
    let mut served = 0;
    for (session, owner) in &mut sessions {
        for _ in 0..20 {
            let watch = Stopwatch::start();
            let answer = session.refresh().send(&service).await;
            assert!(watch.elapsed() < Duration::from_millis(2500), "{:?}", watch.elapsed());
            match answer.response.status {
                200 => {
                    assert_ne!(*owner, lost, "its primary is away");
                    session.keep(&answer.tokens());
                    served += 1;
                }
                _ => drop(answer.refused(503, "temporarily_unavailable")),
            }
        }
    }
    assert!(served > 0, "clients of the other primaries go on");
    assert!(service.ready().await, "a node goes on with the other primaries");
    cluster.nodes()[lost].freeze(false);
    cluster.heal().await;
    for (session, _) in &mut sessions {
        refresh(&service, session).await;
    }
}

/// SEC-07: used proofs on a server of their own, everything else on a cluster, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_of_ledger_and_families_may_be_on_a_cluster() {
    let (cluster, server) = (ClusterRedis::start().await, Arc::new(RedisServer::start(&[]).await));
    let ledger = |urls: serde_json::Value, topology: &str| json!({"urls": urls, "topology": topology});
    let on_cluster = Settings::default()
        .with("store.kind", "redis")
        .with("store.urls", json!(cluster.urls()))
        .with("store.topology", "cluster")
        .with("store.ledger", ledger(json!([server.url()]), "standalone"));
    let on_server = Settings::default().with("store.ledger", ledger(json!(cluster.urls()), "cluster"));
    for (settings, redis) in [(on_cluster, None), (on_server, Some(Arc::clone(&server)))] {
        let service = Service::start_on(env!("CARGO_BIN_EXE_keybound"), redis, settings).await;
        let mut session = service.session("spa").await;
        let nonce = service.nonce().await;
        let captured = session.refresh().prove_with_nonce(&session.key, &nonce);
        let tokens = captured.send(&service).await.tokens();
        session.keep(&tokens);
        captured.send(&service).await.invalid_proof();
        session.refresh().prove_with_nonce(&session.key, &nonce).send(&service).await.tokens();
    }
    assert!(!slots_of(&cluster, "f:*").await.is_empty() && !slots_of(&cluster, "rp:*").await.is_empty());
    let Ok(Value::Array(claims)) = server.command(&["KEYS", "rp:*"]).await else { panic!("no list of keys") };
    assert!(!claims.is_empty());
}

async fn until(holds: impl Fn() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.elapsed() < Duration::from_secs(30), "the clients do not get on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
