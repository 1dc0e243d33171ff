//! The store on a cluster: slots that move, primaries that end, one that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keybound::clock::Stopwatch;
use keybound::domain::{Advanced, ClientId, FamilyState, Generation, RevokeReason};
use keybound::secret::Secret;
use keybound::store::conformance::sample;
use keybound::store::redis::{RedisOptions, RedisStore};
use keybound::store::{ClientRecords as _, Families as _, FamilyFilter, ReplayLedger as _, StoreError, StoreHealth as _, conformance};
use keybound_proofs::{Claim, ClaimAnswer, EpochId, Ledger as _, LedgerError, ReplayKey};
use keybound_testkit::cluster::ClusterRedis;
use keybound_testkit::redis::RedisServer;

use super::{comes_to, connect, now, patient, until};

fn options(cluster: &ClusterRedis) -> RedisOptions {
    RedisOptions { cluster: cluster.urls().into_iter().map(Secret::new).collect(), ..patient("redis://127.0.0.1:1") }
}

async fn node(cluster: &ClusterRedis) -> Arc<RedisStore> {
    connect(options(cluster)).await.expect("a fit cluster")
}

/// A claim of this bucket.
fn proof(bucket: u8, number: u64, epoch: EpochId) -> Claim {
    let mut key = [0x7b; ReplayKey::LEN];
    key[0] = bucket;
    key[8..].copy_from_slice(&number.to_be_bytes());
    Claim { key: ReplayKey::from_bytes(key), ttl: Duration::from_secs(76), epoch }
}

async fn claim(store: &RedisStore, bucket: u8, number: u64) -> Result<ClaimAnswer, LedgerError> {
    store.claim(&proof(bucket, number, store.epoch()?.id), now()).await
}

/// The slot of a bucket: its epoch record is in it.
async fn bucket_slot(cluster: &ClusterRedis, bucket: u8) -> u16 {
    for node in cluster.nodes() {
        let Ok(redis::Value::Array(keys)) = node.command(&["KEYS", "kb:epoch:*"]).await else { continue };
        for key in keys {
            let redis::Value::BulkString(key) = key else { panic!("no key") };
            let slot = cluster.slot_of(&key).await;
            if slot / 64 == u16::from(bucket) {
                return slot;
            }
        }
    }
    panic!("the bucket has no record");
}

fn family_key(number: u64) -> Vec<u8> {
    [b"f:".as_slice(), sample::id(number).as_bytes()].concat()
}

/// Of each primary, the number of a family that it has, as the slots are at first.
async fn family_of_each(cluster: &ClusterRedis) -> [u64; 3] {
    let mut found = [None; 3];
    for number in 0.. {
        found[cluster.owner(cluster.slot_of(&family_key(number)).await).await].get_or_insert(number);
        if let [Some(a), Some(b), Some(c)] = found {
            return [a, b, c];
        }
    }
    unreachable!("every primary has families")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms_on_a_cluster() {
    let cluster = ClusterRedis::start().await;
    let made = AtomicU32::new(0);
    conformance::run(async || {
        let key_prefix = format!("part{}:", made.fetch_add(1, Ordering::Relaxed));
        let store = connect(RedisOptions { key_prefix, ..options(&cluster) }).await.expect("a fit cluster");
        let (families, clients, ledger) = (Arc::clone(&store), Arc::clone(&store), store);
        conformance::Backend { families, clients, ledger, ledger_time: conformance::LedgerTime::Its }
    })
    .await;
}

/// R1, R5: nodes share claims and the epoch; a flush of one primary is noticed by the next claim that it had, and all agree again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_agree_on_claims_and_on_the_epoch_of_all_buckets() {
    let cluster = ClusterRedis::start().await;
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    let before = a.epoch().unwrap();
    assert_eq!((before.since, b.epoch().unwrap()), (None, before), "nothing came before");
    for bucket in 0..=u8::MAX {
        assert_eq!(claim(&a, bucket, 1).await, Ok(ClaimAnswer::First), "{bucket}");
        assert_eq!(claim(&b, bucket, 1).await, Ok(ClaimAnswer::Seen), "{bucket}");
        assert_eq!(b.recall(&proof(bucket, 1, before.id), now()).await, Ok(ClaimAnswer::Seen));
        assert_eq!(b.recall(&proof(bucket, 2, before.id), now()).await, Ok(ClaimAnswer::First));
    }
    let owner = cluster.owner(bucket_slot(&cluster, 200).await).await;
    cluster.nodes()[owner].flushall().await;
    assert_eq!(a.claim(&proof(200, 1, before.id), now()).await, Err(LedgerError::EpochMoved));
    let after = until(async || a.epoch().unwrap(), |epoch| epoch.id != before.id).await;
    assert!(after.since.is_some());
    comes_to(async || b.epoch().unwrap().id, after.id).await;
    // Buckets that lost nothing are judged under the whole as well.
    for bucket in [0, 200] {
        assert_eq!(b.claim(&proof(bucket, 1, before.id), now()).await, Err(LedgerError::EpochMoved));
    }
    assert_eq!(claim(&a, 0, 1).await, Ok(ClaimAnswer::Seen));
    assert_eq!(claim(&a, 200, 1).await, Ok(ClaimAnswer::First));

    // For operators: a new epoch on all nodes.
    let moved = a.move_epoch().await.unwrap();
    assert_ne!(moved.id, after.id);
    comes_to(async || b.epoch().unwrap().id, moved.id).await;
}

/// SEC-08: families and clients are found on all primaries, a page at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_walk_over_all_primaries() {
    let cluster = ClusterRedis::start().await;
    let store = node(&cluster).await;
    for number in 0..200 {
        store.create(&sample::family(number)).await.unwrap();
    }
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.list(&FamilyFilter::default(), cursor.as_deref(), 7, sample::START).await.unwrap();
        assert!(page.families.len() <= 7);
        found.extend(page.families.into_iter().map(|family| family.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, (0..200).map(sample::id).collect::<Vec<_>>());
    let ids: Vec<ClientId> = (10..30).map(|number| sample::client_named(&format!("app-{number}"))).collect();
    for id in &ids {
        store.put_client(id, b"{}").await.unwrap();
    }
    assert_eq!(store.clients().await.unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ids);
}

/// R1, G3: while a slot moves, keys are found at whichever server has them; when it has arrived, no claim of before is accepted again, and
/// the epoch is the same on all nodes. The new server had no slots before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_with_its_slot_is_found_throughout() {
    let mut cluster = ClusterRedis::start().await;
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    let to = cluster.add_primary().await;
    let before = a.epoch().unwrap();
    let bucket = 100;
    for number in 0..10 {
        assert_eq!(claim(&a, bucket, number).await, Ok(ClaimAnswer::First));
    }
    let slot = bucket_slot(&cluster, bucket).await;
    let from = cluster.owner(slot).await;
    cluster.begin_move(slot, from, to).await;
    for number in 10..20 {
        assert_eq!(claim(&a, bucket, number).await, Ok(ClaimAnswer::First), "{number}");
    }
    for number in 0..20 {
        assert_eq!(claim(&b, bucket, number).await, Ok(ClaimAnswer::Seen), "{number}");
        assert_eq!(b.recall(&proof(bucket, number, before.id), now()).await, Ok(ClaimAnswer::Seen), "{number}");
    }
    while cluster.move_keys(slot, from, to, 5).await > 0 {
        for number in 0..20 {
            assert_eq!(claim(&b, bucket, number).await, Ok(ClaimAnswer::Seen), "{number}");
        }
    }
    assert_eq!(claim(&b, bucket, 20).await, Ok(ClaimAnswer::First));
    assert_eq!(a.epoch().unwrap(), before, "nothing was forgotten so far");
    // A node that starts in the middle of it.
    let c = node(&cluster).await;
    assert_eq!(c.epoch().unwrap().id, before.id);
    cluster.end_move(slot, from, to).await;
    for number in 0..=20 {
        let again = a.claim(&proof(bucket, number, before.id), now()).await;
        assert!(matches!(again, Err(LedgerError::EpochMoved) | Ok(ClaimAnswer::Seen)), "{number}: {again:?}");
    }
    let after = until(async || a.epoch().unwrap(), |epoch| epoch.id != before.id).await;
    for other in [&b, &c] {
        comes_to(async || other.epoch().unwrap().id, after.id).await;
    }
    for number in 0..=20 {
        assert_eq!(claim(&b, bucket, number).await, Ok(ClaimAnswer::Seen), "what came along is remembered: {number}");
    }
    assert_eq!(claim(&c, bucket, 21).await, Ok(ClaimAnswer::First));

    // A family: it is there at any moment, and one that is made meanwhile as well.
    let [stays, moves, _] = family_of_each(&cluster).await;
    for number in [stays, moves] {
        a.create(&sample::family(number)).await.unwrap();
    }
    let slot = cluster.slot_of(&family_key(moves)).await;
    let from = cluster.owner(slot).await;
    let advance = async |store: &RedisStore, generation: u32| {
        let answer = store.advance(&sample::advance(moves, generation)).await;
        assert!(matches!(&answer, Ok(Advanced::Rotated(family)) if family.generation == Generation(generation + 1)), "{answer:?}");
    };
    cluster.begin_move(slot, from, to).await;
    advance(&a, 0).await;
    while cluster.move_keys(slot, from, to, 1).await > 0 {}
    advance(&b, 1).await;
    cluster.end_move(slot, from, to).await;
    advance(&a, 2).await;
    advance(&b, 3).await;
    assert!(a.read(sample::id(stays), sample::START).await.unwrap().is_some());
}

/// R4, SEC-08: a primary that hangs is an error within a second for what it has, soon at once, and nothing for what others have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_fails_alone_and_soon_at_once() {
    let cluster = ClusterRedis::start().await;
    let store = connect(RedisOptions { cluster: options(&cluster).cluster, ..RedisOptions::new("redis://127.0.0.1:1") }).await.unwrap();
    let families = family_of_each(&cluster).await;
    for number in families {
        store.create(&sample::family(number)).await.unwrap();
    }
    let read = async |number: u64| {
        let watch = Stopwatch::start();
        (store.read(sample::id(number), sample::START).await, watch.elapsed())
    };
    // Without its replica nobody takes over: the breaker alone is looked at.
    cluster.nodes()[4].kill();
    cluster.nodes()[1].freeze(true);
    let (answer, took) = read(families[1]).await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))) && took < Duration::from_secs(1), "{answer:?} after {took:?}");
    let _ = until(async || read(families[1]).await, |(answer, took)| answer.is_err() && *took < Duration::from_millis(20)).await;
    for _ in 0..20 {
        for (of, number) in families.into_iter().enumerate() {
            let (answer, took) = read(number).await;
            assert_eq!(answer.is_err(), of == 1, "{answer:?}");
            assert!(took < Duration::from_millis(if of == 1 { 20 } else { 250 }), "{took:?}");
        }
    }
    assert_eq!(store.check().await, Ok(()), "a node goes on with the other primaries");
    cluster.nodes()[1].freeze(false);
    let _ = until(async || read(families[1]).await, |(answer, _)| matches!(answer, Ok(Some(_)))).await;
}

/// R1, R5: what a failover lost of claims can't be used again, whichever node is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_a_buckets_primary_moves_the_epoch_on_all_nodes() {
    let cluster = ClusterRedis::start().await;
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    let before = a.epoch().unwrap();
    for bucket in [0, 100, 255] {
        assert_eq!(claim(&a, bucket, 1).await, Ok(ClaimAnswer::First));
    }
    let ended = cluster.fail_over(bucket_slot(&cluster, 100).await).await;
    let after = until(async || a.epoch().unwrap(), |epoch| epoch.id != before.id).await;
    assert!(after.since.is_some());
    comes_to(async || b.epoch().unwrap().id, after.id).await;
    for store in [&a, &b] {
        for bucket in [0, 100, 255] {
            let again =
                until(async || store.claim(&proof(bucket, 1, before.id), now()).await, |got| *got != Err(LedgerError::Unavailable)).await;
            assert_eq!(again, Err(LedgerError::EpochMoved));
        }
    }
    let _ = until(async || claim(&b, 100, 2).await, |answer| *answer == Ok(ClaimAnswer::First)).await;
    assert_eq!(claim(&a, 100, 2).await, Ok(ClaimAnswer::Seen));
    // The old primary comes back as a replica: nobody reads from it, and nothing moves.
    let settled = a.epoch().unwrap();
    cluster.heal().await;
    assert_eq!(cluster.nodes()[ended].info("role").await, "slave");
    assert_eq!(claim(&b, 100, 2).await, Ok(ClaimAnswer::Seen));
    assert_eq!(a.epoch().unwrap(), settled);
}

/// G6, R5: in standard mode what a failover of one primary lost is put back on the one that took over: the families that it had, no others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_put_back_where_it_belongs() {
    let cluster = ClusterRedis::start().await;
    let store = node(&cluster).await;
    let families = family_of_each(&cluster).await;
    let lost = families[1];
    let mut ended = lost + 1;
    while cluster.owner(cluster.slot_of(&family_key(ended)).await).await != 1 {
        ended += 1;
    }
    for number in families.into_iter().chain([ended]) {
        store.create(&sample::family(number)).await.unwrap();
    }
    cluster.nodes()[4].until_replicated_from(&cluster.nodes()[1]).await;
    // The replica hears nothing of what follows.
    cluster.nodes()[4].freeze(true);
    cluster.nodes()[1].command(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    assert!(matches!(store.advance(&sample::advance(lost, 0)).await, Ok(Advanced::Rotated(_))));
    assert_eq!(store.revoke(sample::id(ended), RevokeReason::Requested, sample::START).await, Ok(true));
    cluster.nodes()[1].kill();
    cluster.nodes()[4].freeze(false);
    cluster.until_moved_from(cluster.slot_of(&family_key(lost)).await, 1).await;
    let _ = until(async || store.read(sample::id(lost), sample::START).await, Result::is_ok).await;
    // Without what was put back this would be a rotation to a second successor.
    let again = store.advance(&sample::advance(lost, 0)).await.unwrap();
    assert!(matches!(&again, Advanced::Repeated(family) if family.generation == Generation(1)), "{again:?}");
    let ended = until(async || store.read(sample::id(ended), sample::START).await, Result::is_ok).await.unwrap().expect("a family");
    assert_eq!(ended.state, FamilyState::Revoked(RevokeReason::Requested));
}

/// A2: what the documentation asks for is enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_few_rights_is_enough_on_a_cluster() {
    let cluster = ClusterRedis::start().await;
    let rights = "on >pw resetkeys ~rp:* ~f:* ~c:* ~e:* ~kb:* -@all +set +get +del +setrange +pexpire +evalsha +eval +info +time +ping +scan +wait \
                  +cluster|slots +cluster|nodes +asking";
    for server in cluster.nodes() {
        let words: Vec<&str> = ["ACL", "SETUSER", "keybound"].into_iter().chain(rights.split_whitespace()).collect();
        server.command(&words).await.unwrap();
    }
    let cluster_urls = cluster.nodes().iter().take(1).map(|node| Secret::new(format!("redis://keybound:pw@127.0.0.1:{}", node.port())));
    let store = connect(RedisOptions { cluster: cluster_urls.collect(), min_replicas: 1, ..options(&cluster) }).await.unwrap();
    for number in 0..20 {
        assert_eq!(claim(&store, u8::try_from(number * 12).unwrap(), number).await, Ok(ClaimAnswer::First));
        store.create(&sample::family(number)).await.unwrap();
        assert!(matches!(store.advance(&sample::advance(number, 0)).await, Ok(Advanced::Rotated(_))));
    }
    // Strict durability follows a slot, too.
    let slot = cluster.slot_of(&family_key(7)).await;
    let from = cluster.owner(slot).await;
    let to = (from + 1) % 3;
    cluster.begin_move(slot, from, to).await;
    assert!(matches!(store.advance(&sample::advance(7, 1)).await, Ok(Advanced::Rotated(_))));
    while cluster.move_keys(slot, from, to, 1).await > 0 {}
    assert!(matches!(store.advance(&sample::advance(7, 2)).await, Ok(Advanced::Rotated(_))));
    cluster.end_move(slot, from, to).await;
    assert!(matches!(store.advance(&sample::advance(7, 3)).await, Ok(Advanced::Rotated(_))));
}

/// SEC-08: slots that nobody serves are an error for what is in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_some_slots_does_not_start_and_fails_for_these_alone() {
    let cluster = ClusterRedis::start().await;
    let store = node(&cluster).await;
    let families = family_of_each(&cluster).await;
    for number in families {
        store.create(&sample::family(number)).await.unwrap();
    }
    let slot = cluster.slot_of(&family_key(families[2])).await;
    for server in cluster.nodes() {
        server.command(&["CLUSTER", "DELSLOTS", &slot.to_string()]).await.unwrap();
    }
    for (of, number) in families.into_iter().enumerate() {
        let answer = store.read(sample::id(number), sample::START).await;
        assert_eq!(answer.is_err(), of == 2, "{answer:?}");
    }
    assert!(matches!(connect(options(&cluster)).await.map(|_| ()), Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_server_of_its_own_is_no_cluster() {
    let server = RedisServer::start(&[]).await;
    let cluster = vec![Secret::new(server.url())];
    let refused = connect(RedisOptions { cluster, ..patient(server.url()) }).await.map(|_| ());
    assert!(matches!(&refused, Err(StoreError::Unfit(why)) if why.contains("no member of a cluster")), "{refused:?}");
    assert!(connect(patient(server.url())).await.is_ok());
}
