//! Two nodes, many requests at once.

use std::sync::Arc;

use keybound::domain::{Advanced, Generation, RevokeReason};
use keybound::store::Families as _;
use keybound::store::conformance::sample;
use keybound::store::redis::RedisStore;
use keybound_proofs::ClaimAnswer;
use keybound_testkit::redis::RedisServer;
use tokio::sync::Barrier;

use super::{claim, node};

const COPIES: usize = 64;
const ROUNDS: u64 = 200;

/// Runs `COPIES` of a request at once, half of them on each node.
async fn at_once<T, F>(nodes: &[Arc<RedisStore>; 2], request: impl Fn(Arc<RedisStore>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(COPIES));
    let tasks: Vec<_> = (0..COPIES)
        .map(|copy| {
            let (start, request) = (Arc::clone(&start), request(Arc::clone(&nodes[copy % 2])));
            tokio::spawn(async move {
                start.wait().await;
                request.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(COPIES);
    for task in tasks {
        answers.push(task.await.expect("no panic"));
    }
    answers
}

/// R1: 64 copies of one proof on two nodes: exactly one is the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_copies_of_one_proof_exactly_one_is_first() {
    let server = RedisServer::start(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    for round in 0..ROUNDS {
        let answers = at_once(&nodes, |node| async move { claim(&node, round).await.unwrap() }).await;
        let first = answers.iter().filter(|answer| **answer == ClaimAnswer::First).count();
        assert_eq!(first, 1, "round {round}");
    }
}

/// G1, G2, G3: 64 uses of one token on two nodes: one transition, one successor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uses_of_one_token_are_one_transition_and_one_successor() {
    let server = RedisServer::start(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    nodes[0].create(&sample::family(1)).await.unwrap();
    for round in 0..u32::try_from(ROUNDS).unwrap() {
        let answers = at_once(&nodes, |node| async move { node.advance(&sample::advance(1, round)).await.unwrap() }).await;
        let mut rotated = 0;
        for answer in answers {
            let family = match answer {
                Advanced::Rotated(family) => {
                    rotated += 1;
                    family
                }
                Advanced::Repeated(family) => family,
                other => panic!("{other:?}"),
            };
            assert_eq!(family.generation, Generation(round + 1));
        }
        assert_eq!(rotated, 1, "round {round}");
    }
}

/// G6: once a revocation is acknowledged, nothing newer is given out, on whichever node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_given_out_after_an_acknowledged_revocation() {
    let server = RedisServer::start(&[]).await;
    let nodes = [node(&server).await, node(&server).await];
    for round in 0..50 {
        nodes[0].create(&sample::family(round)).await.unwrap();
        let (advancing, revoking) = (Arc::clone(&nodes[0]), Arc::clone(&nodes[1]));
        let advances = tokio::spawn(async move {
            for generation in 0.. {
                if let Advanced::Refused(_) = advancing.advance(&sample::advance(round, generation)).await.unwrap() {
                    return generation;
                }
            }
            unreachable!("the family is revoked before the generations end")
        });
        assert!(revoking.revoke(sample::id(round), RevokeReason::Requested, sample::START).await.unwrap());
        let stored = revoking.read(sample::id(round), sample::START).await.unwrap().expect("revoked families are returned");
        let reached = advances.await.unwrap();
        assert_eq!(stored.generation, Generation(reached), "round {round}: the last successor is from before the revocation");
    }
}
