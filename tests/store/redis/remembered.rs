//! What a failover or a restart loses of acknowledged writes, and who puts it back.

use std::time::Duration;

use keybound::domain::{Advance, Advanced, Family, FamilyId, FamilyState, Generation, RevokeReason};
use keybound::store::conformance::sample;
use keybound::store::{Families as _, record};
use keybound_proofs::{Ledger as _, UnixTime};
use keybound_testkit::redis::RedisServer;
use redis::Value;

use super::scripts::{Dice, random_family};
use super::{RedisStore, node, now, until};

fn family(number: u64) -> Family {
    let now = now();
    let later = now.plus(Duration::from_secs(1000));
    Family {
        generation: Generation(1),
        created: now,
        last_rotation: now,
        idle_expiry: later,
        absolute_expiry: later,
        ..sample::family(number)
    }
}

/// Presents the token of one generation, by the family's own client and key.
async fn present(store: &RedisStore, family: &Family, generation: u32) -> Advanced {
    let jkt = match family.binding {
        keybound::domain::Binding::Key(jkt) => Some(jkt),
        keybound::domain::Binding::ClientAuthentication => None,
    };
    let request = Advance {
        family: family.id,
        presented: Generation(generation),
        client_id: family.client_id.clone(),
        authenticated: true,
        jkt,
        rebind_to: None,
        rotate: true,
        now: now(),
        idle: Duration::from_secs(1000),
    };
    store.advance(&request).await.expect("the server is there")
}

/// Waits until the store has seen that its server is another one.
async fn settled_anew(store: &RedisStore, before: keybound_proofs::Epoch) {
    let _ = until(async || store.epoch().ok(), |epoch| epoch.is_some_and(|epoch| epoch.id != before.id)).await;
}

/// R5: in standard mode the writes of the last two minutes are put back: nothing forks, nobody loses a session, and a revocation
/// stays one.
#[tokio::test]
async fn what_a_server_lost_of_the_last_minutes_is_put_back() {
    let server = RedisServer::start(&["--save", ""]).await;
    let (a, b) = (node(&server).await, node(&server).await);
    let (refreshed, revoked) = (family(1), family(2));
    a.create(&refreshed).await.unwrap();
    b.create(&revoked).await.unwrap();
    assert!(matches!(present(&a, &refreshed, 1).await, Advanced::Rotated(_)));
    assert!(matches!(present(&b, &refreshed, 2).await, Advanced::Rotated(_)));
    assert!(matches!(present(&b, &refreshed, 3).await, Advanced::Rotated(_)));
    assert_eq!(a.revoke(revoked.id, RevokeReason::Requested, now()).await, Ok(true));

    let before = a.epoch().unwrap();
    server.restart_empty().await;
    settled_anew(&a, before).await;
    settled_anew(&b, before).await;

    // The first node put back generation 2, the second 4, whichever came first.
    let stored = a.read(refreshed.id, now()).await.unwrap().expect("the family is back");
    assert_eq!((stored.generation, stored.state), (Generation(4), FamilyState::Live));
    // The second node created it, and only the first knows that it was revoked.
    let stored = b.read(revoked.id, now()).await.unwrap().expect("the family is back");
    assert_eq!(stored.state, FamilyState::Revoked(RevokeReason::Requested));
    assert!(matches!(present(&b, &revoked, 1).await, Advanced::Refused(_)));
    assert!(matches!(present(&a, &refreshed, 4).await, Advanced::Rotated(_)), "the session goes on");
    assert!(matches!(present(&a, &refreshed, 2).await, Advanced::Reused(_)), "and its old tokens stay old");
}

/// Who flushes a server means it.
#[tokio::test]
async fn a_flush_is_not_undone() {
    let server = RedisServer::start(&["--save", ""]).await;
    let store = node(&server).await;
    let family = family(1);
    store.create(&family).await.unwrap();
    let before = store.epoch().unwrap();
    server.flushall().await;
    settled_anew(&store, before).await;
    assert_eq!(store.read(family.id, now()).await, Ok(None));
}

/// A family that was over by then is left alone.
#[tokio::test]
async fn what_is_expired_does_not_come_back() {
    let server = RedisServer::start(&["--save", ""]).await;
    let store = node(&server).await;
    let over = now().minus(Duration::from_secs(120));
    let family = Family { created: over.minus(Duration::from_secs(1)), idle_expiry: over, absolute_expiry: over, ..family(1) };
    store.create(&family).await.unwrap();
    let before = store.epoch().unwrap();
    server.restart_empty().await;
    settled_anew(&store, before).await;
    assert_eq!(store.read(family.id, UnixTime::from_secs(0)).await, Ok(None));
}

const MERGE: &str = include_str!("../../../src/store/redis/merge.lua");

/// Puts `records` back in this order, each twice in a row; what is stored then.
async fn joined(server: &RedisServer, id: FamilyId, records: &[&[u8]]) -> Family {
    server.flushall().await;
    let key = [b"f:".as_slice(), id.as_bytes()].concat();
    for record in records {
        for _ in 0..2 {
            let words: [&[u8]; 6] = [b"EVAL", MERGE.as_bytes(), b"1", &key, record, b"1000000"];
            server.command(&words).await.expect("the script runs");
        }
    }
    let Ok(Value::BulkString(stored)) = server.command(&[b"GET".as_slice(), &key]).await else { panic!("nothing is stored") };
    record::decode(id, &stored).expect("a record")
}

/// Whoever comes first, and however often: the newest rotation stays, and revoked stays revoked.
#[tokio::test]
async fn records_are_joined_in_any_order() {
    let server = RedisServer::start(&[]).await;
    let mut dice = Dice(0x6a6f_696e);
    let start = now();
    for round in 0..300_u64 {
        let base = random_family(&mut dice, round, start);
        let versions: Vec<Family> = (0..3)
            .map(|_| {
                let other = random_family(&mut dice, round, start);
                let state = match dice.below(4) {
                    0 => FamilyState::Revoked(RevokeReason::Requested),
                    1 => FamilyState::Revoked(RevokeReason::Reuse),
                    _ => FamilyState::Live,
                };
                Family {
                    state,
                    generation: Generation(u32::try_from(dice.below(3)).unwrap()),
                    last_rotation: start.plus(Duration::from_millis(dice.below(3))),
                    idle_expiry: base.absolute_expiry.minus(Duration::from_millis(dice.below(2))),
                    // What a run of late repetitions amounts to follows from the rotations.
                    clone_run: 0,
                    clone_flag: other.clone_flag,
                    ..base.clone()
                }
            })
            .collect();
        let records: Vec<Vec<u8>> = versions.iter().map(record::encode).collect();
        let one = joined(&server, base.id, &[&records[0], &records[1], &records[2]]).await;
        let other = joined(&server, base.id, &[&records[2], &records[0], &records[1]]).await;
        assert_eq!(one, other, "round {round}: {versions:?}");
        let newest = |family: &Family| (family.generation, family.last_rotation, family.idle_expiry);
        assert_eq!(newest(&one), versions.iter().map(newest).max().expect("three"), "round {round}");
        let any_revoked = versions.iter().any(|family| family.state != FamilyState::Live);
        assert_eq!(one.state != FamilyState::Live, any_revoked, "round {round}");
    }
}
