//! Two nodes on one Redis behind nginx, which asks them in turns.

use std::sync::Arc;
use std::time::Duration;

use keybound_testkit::redis::RedisServer;
use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Connection, Fleet, Request, Service, Store};

use crate::gateway::{Addresses, Gateway, Kind};
use crate::rig::{HOST, proof, settings, token};
use crate::upstream::Upstream;

const ROUNDS: usize = 500;
const COPIES: usize = 64;

/// R1, SEC-03: whichever node is asked first, and however close together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_copies_of_a_proof_one_passes_whichever_of_two_nodes_is_asked() {
    let one = Service::start(env!("CARGO_BIN_EXE_keybound"), Store::Redis, settings()).await;
    let two = one.second_node().await;
    let api = Upstream::start().await;
    let gateway = Gateway::start(Kind::Nginx, &Addresses { keybound: vec![one.gateway, two.gateway], api: api.address }).await;
    let mut session = one.session("spa").await;
    let mut access = token(&one, &mut session).await;
    let mut fleet = Fleet::open(&[gateway.address], COPIES).await;
    let (watch, mut renewed) = (Stopwatch::start(), Stopwatch::start());
    for round in 0..ROUNDS {
        if renewed.elapsed() > Duration::from_secs(120) {
            access = token(&one, &mut session).await;
            renewed = Stopwatch::start();
        }
        let target = format!("/accounts/{round}");
        let proof = proof(&session.key, &access, "GET", &target).sign(&session.key);
        let call =
            Request::new("GET", &target).header("Host", HOST).header("Authorization", format!("DPoP {access}")).header("DPoP", proof);
        let mut passed = 0;
        for answer in fleet.volley(vec![call; COPIES]).await {
            let answer = answer.unwrap_or_else(|error| panic!("round {round}: {error}\n{}", gateway.log()));
            match answer.status {
                200 => passed += 1,
                status => assert_eq!(status, 401, "round {round}: {answer}\n{}\n{}", gateway.log(), one.log()),
            }
        }
        assert_eq!(passed, 1, "round {round}");
    }
    assert_eq!(api.reached(), ROUNDS);
    println!("{ROUNDS} rounds of {COPIES} copies in {:?}", watch.elapsed());
}

/// R4: nginx goes on with the node that is left; without Redis nobody can tell, and nothing passes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_is_enough_and_no_redis_is_a_503_within_seconds() {
    let redis = Arc::new(RedisServer::start(&["--appendonly", "yes"]).await);
    let mut one = Service::start_on(env!("CARGO_BIN_EXE_keybound"), Some(Arc::clone(&redis)), settings()).await;
    let two = one.second_node().await;
    let api = Upstream::start().await;
    let gateway = Gateway::start(Kind::Nginx, &Addresses { keybound: vec![one.gateway, two.gateway], api: api.address }).await;
    let mut session = two.session("spa").await;
    let access = token(&two, &mut session).await;
    let call = |nonce: Option<&str>| {
        let proof = proof(&session.key, &access, "GET", "/accounts/1");
        let proof = nonce.map_or_else(|| proof.clone(), |nonce| proof.clone().nonce(nonce)).sign(&session.key);
        Request::new("GET", "/accounts/1").header("Host", HOST).header("Authorization", format!("DPoP {access}")).header("DPoP", proof)
    };
    let send = async |request: Request| Connection::new(gateway.address).send(&request).await.expect("an answer");
    one.kill();
    for _ in 0..10 {
        let answer = send(call(None)).await;
        assert_eq!(answer.status, 200, "{answer}\n{}", gateway.log());
    }

    redis.kill();
    let reached = api.reached();
    for _ in 0..5 {
        let watch = Stopwatch::start();
        let answer = send(call(None)).await;
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{answer}");
        assert!(watch.elapsed() < Duration::from_secs(3), "{:?}", watch.elapsed());
    }
    assert_eq!(api.reached(), reached);

    redis.restart().await;
    let watch = Stopwatch::start();
    // Another run of Redis may have lost claims: every proof needs a nonce for a while.
    let nonce = loop {
        let answer = send(call(None)).await;
        match answer.header("DPoP-Nonce") {
            Some(nonce) => break nonce.to_owned(),
            None => assert!(answer.status == 503 && watch.elapsed() < Duration::from_secs(20), "{answer}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let answer = send(call(Some(&nonce))).await;
    assert_eq!(answer.status, 200, "{answer}");
}
