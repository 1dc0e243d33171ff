//! The guard's ledger in Redis, as two processes of one API share it.

use std::sync::Arc;
use std::time::Duration;

use keybound_guard::{RedisLedger, RedisTrouble, system};
use keybound_proofs::{Claim, ClaimAnswer, Ledger, LedgerError, ReplayKey};
use keybound_testkit::redis::RedisServer;
use keybound_testkit::time::Stopwatch;
use tokio::task::JoinSet;

async fn connect(redis: &RedisServer) -> RedisLedger {
    let ledger = RedisLedger::connect(&redis.url(), "api", system::now(), &mut system::OsEntropy).await;
    ledger.unwrap_or_else(|error| panic!("{error}"))
}

fn claim(ledger: &RedisLedger, name: u64) -> Claim {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&name.to_be_bytes());
    Claim { key: ReplayKey::from_bytes(key), ttl: Duration::from_secs(76), epoch: ledger.epoch().expect("an epoch").id }
}

/// R1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_claims_of_one_proof_one_is_the_first_whichever_process_makes_it() {
    let redis = RedisServer::start(&[]).await;
    let ledgers = [Arc::new(connect(&redis).await), Arc::new(connect(&redis).await)];
    assert_eq!(ledgers[0].epoch(), ledgers[1].epoch(), "both agree on the epoch");
    for name in 0..50 {
        let mut claims = JoinSet::new();
        for turn in 0..32 {
            let ledger = Arc::clone(&ledgers[turn % 2]);
            claims.spawn(async move { ledger.claim(&claim(&ledger, name), system::now()).await });
        }
        let answers = claims.join_all().await;
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(ClaimAnswer::First)).count(), 1);
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(ClaimAnswer::Seen)).count(), 31);
    }
}

/// R5: a flush, and a restart that kept everything, both begin an epoch on which the processes agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_may_have_lost_claims_begins_a_new_epoch() {
    let redis = RedisServer::start(&["--appendonly", "yes"]).await;
    let (one, two) = (connect(&redis).await, connect(&redis).await);
    for forget in ["flush", "restart"] {
        let used = claim(&one, 1);
        assert!(one.claim(&used, system::now()).await.is_ok());
        let before = one.epoch().expect("an epoch");
        if forget == "flush" {
            redis.flushall().await
        } else {
            redis.restart().await
        }
        assert_eq!(one.claim(&used, system::now()).await, Err(LedgerError::EpochMoved), "{forget}");
        assert_eq!(two.claim(&used, system::now()).await, Err(LedgerError::EpochMoved), "{forget}");
        assert_eq!(one.epoch(), two.epoch(), "{forget}");
        let epoch = one.epoch().expect("an epoch");
        assert!(epoch.id != before.id && epoch.demands_nonce(system::now(), Duration::from_secs(75)), "{forget}");
        assert!(matches!(one.claim(&claim(&one, 2), system::now()).await, Ok(ClaimAnswer::First | ClaimAnswer::Seen)), "{forget}");
    }
}

/// R4, R6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_or_full_lets_nothing_in_and_answers_within_a_second() {
    let redis = RedisServer::start(&[]).await;
    let ledger = connect(&redis).await;
    assert_eq!(ledger.claim(&claim(&ledger, 1), system::now()).await, Ok(ClaimAnswer::First));
    redis.config_set("maxmemory", "1").await;
    assert_eq!(ledger.claim(&claim(&ledger, 2), system::now()).await, Err(LedgerError::AtCapacity));
    redis.config_set("maxmemory", "0").await;
    assert_eq!(ledger.claim(&claim(&ledger, 2), system::now()).await, Ok(ClaimAnswer::First), "the refused claim has left nothing");
    redis.kill();
    let watch = Stopwatch::start();
    assert_eq!(ledger.claim(&claim(&ledger, 3), system::now()).await, Err(LedgerError::Unavailable));
    assert!(watch.elapsed() < Duration::from_secs(1), "{:?}", watch.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_forget_is_not_used() {
    let redis = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    let refused = RedisLedger::connect(&redis.url(), "api", system::now(), &mut system::OsEntropy).await;
    assert!(matches!(refused, Err(RedisTrouble::Unfit(_))));
}
