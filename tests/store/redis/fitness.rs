//! Servers that may not be used are refused with what to change.

use keybound::store::redis::RedisOptions;
use keybound::store::{Families as _, StoreError, StoreHealth as _};
use keybound_proofs::{ClaimAnswer, Ledger, LedgerError};
use keybound_testkit::redis::RedisServer;

use super::{claim, comes_to, connect, node, now, patient, until};
use keybound::store::conformance::sample;

fn unfit(result: Result<impl std::fmt::Debug, StoreError>) -> String {
    match result {
        Err(StoreError::Unfit(why)) => why,
        other => panic!("expected a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_at_the_start_and_noeviction_is_taken() {
    let server = RedisServer::start(&[]).await;
    for policy in ["allkeys-lru", "volatile-ttl"] {
        server.config_set("maxmemory-policy", policy).await;
        let why = unfit(connect(patient(server.url())).await);
        assert!(why.contains(policy) && why.contains("set `maxmemory-policy noeviction`"), "{why}");
    }
    server.config_set("maxmemory-policy", "noeviction").await;
    assert!(node(&server).await.check().await.is_ok());
}

#[tokio::test]
async fn a_server_that_begins_to_evict_is_not_used_until_it_stops() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    server.config_set("maxmemory-policy", "volatile-lru").await;
    let trouble = until(async || store.check().await, Result::is_err).await;
    assert!(trouble.unwrap_err().to_string().contains("noeviction"));
    assert_eq!(claim(&store, 1).await, Err(LedgerError::Unavailable));
    assert!(store.advance(&sample::advance(1, 0)).await.is_err());
    server.config_set("maxmemory-policy", "noeviction").await;
    comes_to(async || store.check().await, Ok(())).await;
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = RedisServer::start(&[]).await;
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.port().to_string()]).await;
    let refused = until(async || connect(patient(replica.url())).await.map(|_| ()), |got| matches!(got, Err(StoreError::Unfit(_)))).await;
    assert!(unfit(refused).contains("address of the primary"));
    assert!(connect(patient(primary.url())).await.is_ok());
}

#[tokio::test]
async fn a_cluster_node_is_refused() {
    let server = RedisServer::start(&["--cluster-enabled", "yes"]).await;
    assert!(unfit(connect(patient(server.url())).await).contains("cluster mode"));
}

/// A2: no answer holds the password.
#[tokio::test]
async fn a_wrong_password_is_refused_without_naming_it_and_the_right_one_is_taken() {
    let server = RedisServer::start(&["--requirepass", "correct-horse"]).await;
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port());
    let why = unfit(connect(patient(url("battery-staple"))).await);
    assert!(why.contains("password") && !why.contains("battery"), "{why}");
    assert!(matches!(connect(patient(server.url())).await, Err(StoreError::Unfit(_))));
    let store = connect(patient(url("correct-horse"))).await.unwrap();
    assert!(!format!("{store:?}").contains("horse"));
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
}

/// The rights that RELIABILITY asks for are enough: nothing here needs CONFIG, KEYS or FLUSHALL.
#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = RedisServer::start(&[]).await;
    let rights =
        "on >pw resetkeys ~rp:* ~f:* ~c:* ~e:* ~kb:* -@all +set +get +mget +del +setrange +pexpire +evalsha +eval +info +time +ping +scan";
    let words: Vec<&str> = ["ACL", "SETUSER", "keybound"].into_iter().chain(rights.split(' ')).collect();
    server.command(&words).await.unwrap();
    let store = connect(patient(format!("redis://keybound:pw@127.0.0.1:{}", server.port()))).await.unwrap();
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
    store.create(&sample::family(1)).await.unwrap();
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Ok(keybound::domain::Advanced::Rotated(_))));
    let filter = keybound::store::FamilyFilter::default();
    assert_eq!(store.list(&filter, None, 10, sample::START).await.unwrap().families.len(), 1);
}

#[tokio::test]
async fn a_url_that_is_none_or_trusts_any_certificate_is_refused() {
    for url in ["", "127.0.0.1", "http://127.0.0.1/", "rediss://127.0.0.1:1/#insecure"] {
        unfit(connect(RedisOptions::new(url)).await);
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable_and_not_unfit() {
    let server = RedisServer::start(&[]).await;
    server.kill();
    assert!(matches!(connect(RedisOptions::new(server.url())).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_closed_store_accepts_nothing() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    store.check().await.unwrap();
    store.close(now()).await.unwrap();
    assert!(store.check().await.is_err());
    assert_eq!(store.epoch(), Err(LedgerError::Unavailable));
    assert!(store.create(&sample::family(1)).await.is_err());
}
