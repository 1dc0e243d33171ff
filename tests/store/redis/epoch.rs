//! The replay epoch moves whenever claims may have been forgotten, and only then.

use std::sync::Arc;
use std::time::Duration;

use keybound::clock::{Clock, OsEntropy, SystemClock};
use keybound::store::redis::{RedisOptions, RedisStore};
use keybound_proofs::{ClaimAnswer, Epoch, Ledger, LedgerError, UnixTime};
use keybound_testkit::redis::RedisServer;

use super::{claim, claim_in, comes_to, connect, node, now, patient, until};

/// How exactly the begin is told on a busy machine: an answer that takes long makes it later.
const SLACK: Duration = Duration::from_millis(2500);

async fn moved_from(store: &RedisStore, before: Epoch) -> Epoch {
    until(async || store.epoch(), |epoch| epoch.is_ok_and(|epoch| epoch.id != before.id)).await.expect("an epoch")
}

/// R5: nobody can have used a proof before; so no nonce is demanded.
#[tokio::test]
async fn a_first_start_on_an_empty_database_has_no_past() {
    let server = RedisServer::start(&[]).await;
    server.command(&["SET", "somebody:else", "1"]).await.unwrap();
    assert_eq!(node(&server).await.epoch().unwrap().since, None);
    // The second node finds the same epoch.
    assert_eq!(node(&server).await.epoch().unwrap().since, None);
}

#[tokio::test]
async fn a_later_start_on_an_empty_database_has_a_past() {
    let server = RedisServer::start(&[]).await;
    let store = RedisStore::connect(patient(server.url()), Arc::new(SystemClock::new()), false, Box::new(OsEntropy)).await.unwrap();
    let since = store.epoch().unwrap().since.expect("a begin");
    assert!(now().since(since).max(since.since(now())) < SLACK, "{since:?}");
}

#[tokio::test]
async fn a_first_start_on_a_database_that_holds_claims_or_families_has_a_past() {
    for key in ["rp:0123456789abcdef", "f:0123456789abcdef"] {
        let server = RedisServer::start(&[]).await;
        server.command(&["SET", key, "1"]).await.unwrap();
        assert!(node(&server).await.epoch().unwrap().since.is_some(), "{key}");
    }
}

#[tokio::test]
async fn two_issuers_under_two_prefixes_have_two_epochs_and_two_ledgers() {
    let server = RedisServer::start(&[]).await;
    let with = |prefix: &str| RedisOptions { key_prefix: prefix.to_owned(), ..patient(server.url()) };
    let (a, b) = (connect(with("a:")).await.unwrap(), connect(with("b:")).await.unwrap());
    assert_ne!(a.epoch().unwrap().id, b.epoch().unwrap().id);
    assert_eq!(claim(&a, 1).await, Ok(ClaimAnswer::First));
    assert_eq!(claim(&b, 1).await, Ok(ClaimAnswer::First));
    assert_eq!(claim(&a, 1).await, Ok(ClaimAnswer::Seen));
    // The claims of the first do not give the second a past.
    assert_eq!(connect(with("c:")).await.unwrap().epoch().unwrap().since, None);
}

/// R5, DPOP-11.1: a flush is noticed before the next claim is accepted.
#[tokio::test]
async fn the_first_claim_after_a_flush_is_not_relied_on_and_leaves_no_trace() {
    let server = RedisServer::start(&[]).await;
    let (a, b) = (node(&server).await, node(&server).await);
    let before = a.epoch().unwrap();
    assert_eq!(claim(&a, 1).await, Ok(ClaimAnswer::First));
    server.flushall().await;
    // Either the claim notices, or the watch did before it.
    assert_eq!(a.claim(&claim_in(1, before.id), now()).await, Err(LedgerError::EpochMoved));
    let after = a.epoch().unwrap();
    assert_ne!(after.id, before.id);
    assert!(after.since.is_some());
    // The other node can't be fooled by what it still believes.
    assert_eq!(b.claim(&claim_in(1, before.id), now()).await, Err(LedgerError::EpochMoved));
    assert_eq!(b.epoch().unwrap().id, after.id);
    // The same proof with a nonce of the new epoch is accepted, once.
    assert_eq!(a.claim(&claim_in(1, after.id), now()).await, Ok(ClaimAnswer::First));
    assert_eq!(b.claim(&claim_in(1, after.id), now()).await, Ok(ClaimAnswer::Seen));
}

/// R5: without any claim, the watch notices a flush within about a second.
#[tokio::test]
async fn a_flush_is_noticed_without_a_claim() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let before = store.epoch().unwrap();
    server.flushall().await;
    assert!(moved_from(&store, before).await.since.is_some());
}

/// R5: a proof judged under another epoch is not even recorded.
#[tokio::test]
async fn a_claim_under_another_epoch_is_refused_and_under_this_one_taken() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let other = keybound_proofs::EpochId::from_bytes([1; 16]);
    assert_eq!(store.claim(&claim_in(1, other), now()).await, Err(LedgerError::EpochMoved));
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
}

/// R5: with its data or without, a restarted server may have lost the last claims.
#[tokio::test]
async fn a_restart_moves_the_epoch_with_data_and_without() {
    let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (a, b) = (node(&server).await, node(&server).await);
    assert_eq!(claim(&a, 1).await, Ok(ClaimAnswer::First));
    for empty in [false, true] {
        let before = a.epoch().unwrap();
        if empty {
            server.restart_empty().await
        } else {
            server.restart().await
        }
        let after = moved_from(&a, before).await;
        assert!(after.since.is_some());
        assert_eq!(moved_from(&b, before).await, Epoch { since: b.epoch().unwrap().since, ..after }, "the nodes agree");
        // What was claimed under the old epoch is refused; under the new one it is seen if the data survived.
        assert_eq!(a.claim(&claim_in(1, before.id), now()).await, Err(LedgerError::EpochMoved));
        let expected = if empty { ClaimAnswer::First } else { ClaimAnswer::Seen };
        assert_eq!(until(async || claim(&a, 1).await, Result::is_ok).await, Ok(expected));
    }
}

/// R5, R6: keys thrown out for want of memory.
#[tokio::test]
async fn an_eviction_moves_the_epoch() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let before = store.epoch().unwrap();
    server.config_set("maxmemory-policy", "allkeys-random").await;
    for number in 0..200 {
        server.command(&["SET", &format!("filler:{number}"), &"x".repeat(10_000)]).await.unwrap();
    }
    let used: u64 = server.info("used_memory").await.trim().parse().unwrap();
    server.config_set("maxmemory", &(used - 500_000).to_string()).await;
    for number in 0..50 {
        server.command(&["SET", &format!("more:{number}"), &"x".repeat(10_000)]).await.unwrap();
    }
    assert_ne!(server.info("evicted_keys").await.trim(), "0");
    server.config_set("maxmemory", "0").await;
    server.config_set("maxmemory-policy", "noeviction").await;
    assert!(moved_from(&store, before).await.since.is_some());
    comes_to(async || claim(&store, 1).await, Ok(ClaimAnswer::First)).await;
}

/// R5: a primary that followed another one meanwhile holds that one's memory.
#[tokio::test]
async fn a_primary_that_became_a_replica_is_not_used_and_comes_back_with_a_new_epoch() {
    let (server, other) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let store = node(&server).await;
    let before = store.epoch().unwrap();
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).await.unwrap();
    comes_to(async || claim(&store, 1).await, Err(LedgerError::Unavailable)).await;
    server.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert!(moved_from(&store, before).await.since.is_some());
    comes_to(async || claim(&store, 1).await, Ok(ClaimAnswer::First)).await;
}

#[tokio::test]
async fn an_operator_moves_the_epoch_for_all_nodes() {
    let server = RedisServer::start(&[]).await;
    let (a, b) = (node(&server).await, node(&server).await);
    let before = a.epoch().unwrap();
    let after = a.move_epoch().await.unwrap();
    assert!(after.id != before.id && after.since.is_some());
    assert_eq!(b.claim(&claim_in(1, before.id), now()).await, Err(LedgerError::EpochMoved));
    assert_eq!(b.epoch().unwrap().id, after.id);
}

struct Ahead(i64);

impl Clock for Ahead {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(SystemClock::new().now().as_millis() + self.0)
    }
}

/// The begin of an epoch is told by the clock of the node that asks, whatever the server's clock says.
#[tokio::test]
async fn the_begin_is_told_by_the_nodes_own_clock() {
    let server = RedisServer::start(&[]).await;
    for lead in [-1500, 0, 1500] {
        let clock = Arc::new(Ahead(lead));
        let store = RedisStore::connect(patient(server.url()), clock.clone(), false, Box::new(OsEntropy)).await.unwrap();
        store.move_epoch().await.unwrap();
        let (since, now) = (store.epoch().unwrap().since.unwrap(), clock.now());
        assert!(now.since(since).max(since.since(now)) < SLACK, "{lead}");
    }
}

#[tokio::test]
async fn a_clock_four_seconds_away_is_refused_and_one_a_second_away_is_taken() {
    let server = RedisServer::start(&[]).await;
    for (lead, fit) in [(-4000, false), (-1000, true), (1000, true), (4000, false)] {
        let refused = RedisStore::connect(patient(server.url()), Arc::new(Ahead(lead)), true, Box::new(OsEntropy)).await.err();
        assert_eq!(refused.is_none(), fit, "{lead}");
        if let Some(error) = refused {
            assert!(error.to_string().contains("synchronise both"), "{error}");
        }
    }
}

/// R1, R5: other nodes' claims are remembered for as long as those nodes accept proofs. A node that accepts them for longer moves the
/// epoch, once for all; one that accepts them for less does not.
#[tokio::test]
async fn a_node_that_accepts_proofs_for_longer_moves_the_epoch_once() {
    let server = RedisServer::start(&[]).await;
    let with = |seconds| RedisOptions { acceptance_window: Duration::from_secs(seconds), ..patient(server.url()) };
    let before = connect(with(60)).await.unwrap().epoch().unwrap();
    assert_eq!(connect(with(59)).await.unwrap().epoch().unwrap(), before);
    let after = connect(with(61)).await.unwrap().epoch().unwrap();
    assert_ne!(after.id, before.id);
    assert!(after.since.is_some());
    assert_eq!(connect(with(60)).await.unwrap().epoch().unwrap().id, after.id, "the nodes do not take turns");
}
