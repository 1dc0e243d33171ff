//! Two nodes on one Redis behind nginx, which asks them in turns.

use std::time::Duration;

use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Fleet, Request, Service, Store};

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
