//! What a proof and a family cost the server (DESIGN section 10).

use std::sync::Arc;

use keybound::store::Families as _;
use keybound::store::conformance::sample;
use keybound_proofs::ClaimAnswer;
use keybound_testkit::redis::RedisServer;

use super::{claim, node};

const ENTRIES: u64 = 100_000;
const AT_ONCE: u64 = 64;

async fn used(server: &RedisServer) -> u64 {
    server.info("used_memory").await.trim().parse().expect("a number")
}

/// Runs `work` for each number, `AT_ONCE` tasks taking turns.
async fn for_all<F: Future<Output = ()> + Send + 'static>(work: impl Fn(u64) -> F) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..ENTRIES {
        if number >= AT_ONCE {
            tasks.join_next().await.expect("a task").expect("no panic");
        }
        tasks.spawn(work(number));
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_proof_takes_170_bytes_at_most_and_a_family_300() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let empty = used(&server).await;
    let claiming = Arc::clone(&store);
    for_all(move |number| {
        let store = Arc::clone(&claiming);
        async move { assert_eq!(claim(&store, number).await, Ok(ClaimAnswer::First)) }
    })
    .await;
    let claims = used(&server).await;
    server.command(&["FLUSHALL"]).await.unwrap();
    let flushed = used(&server).await;
    for_all(move |number| {
        let store = Arc::clone(&store);
        async move { store.create(&sample::family(number)).await.unwrap() }
    })
    .await;
    let families = used(&server).await;
    let (per_proof, per_family) = ((claims - empty) / ENTRIES, (families - flushed) / ENTRIES);
    println!("{per_proof} B per live proof, {per_family} B per family ({ENTRIES} of each)");
    assert!(per_proof <= 170, "{per_proof} B per live proof");
    assert!(per_family <= 300, "{per_family} B per family");
}
