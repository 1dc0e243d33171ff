//! Servers that go away and networks that lose what they carry.

use std::time::Duration;

use keybound::clock::Stopwatch;
use keybound::domain::{Advanced, Generation, Refusal, RevokeReason};
use keybound::store::conformance::sample;
use keybound::store::redis::RedisOptions;
use keybound::store::{ClientRecords as _, Families as _, StoreError, StoreHealth as _};
use keybound_proofs::{Claim, ClaimAnswer, Ledger as _, LedgerError};
use keybound_testkit::redis::RedisServer;
use keybound_testkit::relay::Relay;

use super::{claim, claim_in, comes_to, connect, node, now, patient, proof, until};

const REFUSAL: Duration = Duration::from_secs(1);

fn through(relay: &Relay) -> RedisOptions {
    patient(format!("redis://127.0.0.1:{}", relay.port()))
}

/// R4: a server that is gone is an error within a second, at once after that, and everything is there when it is back.
#[tokio::test]
async fn a_stopped_server_is_unavailable_within_a_second_and_keeps_its_families() {
    let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = connect(RedisOptions::new(server.url())).await.unwrap();
    for number in 0..20 {
        store.create(&sample::family(number)).await.unwrap();
    }
    assert!(matches!(store.advance(&sample::advance(7, 0)).await, Ok(Advanced::Rotated(_))));
    let epoch = store.epoch().unwrap().id;
    server.stop().await;
    for _ in 0..3 {
        let watch = Stopwatch::start();
        let (claim, advance) = (claim_in(1, epoch), sample::advance(7, 1));
        let (claimed, advanced) = tokio::join!(store.claim(&claim, now()), store.advance(&advance));
        assert!(watch.elapsed() < REFUSAL, "{:?}", watch.elapsed());
        assert_eq!(claimed, Err(LedgerError::Unavailable));
        assert!(matches!(advanced, Err(StoreError::Unavailable(_))), "{advanced:?}");
    }
    assert_eq!(store.epoch(), Err(LedgerError::Unavailable));
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
    server.restart().await;
    comes_to(async || store.check().await, Ok(())).await;
    for number in 0..20 {
        assert!(store.read(sample::id(number), sample::START).await.unwrap().is_some(), "{number}");
    }
    // G4: the answers lost meanwhile cost nothing.
    let again = store.advance(&sample::advance(7, 0)).await.unwrap();
    assert!(matches!(&again, Advanced::Repeated(family) if family.generation == Generation(1)), "{again:?}");
    assert_eq!(until(async || claim(&store, 2).await, Result::is_ok).await, Ok(ClaimAnswer::First));
}

/// R4: a partition looks like silence. It is an error within a second, too, and heals.
#[tokio::test]
async fn a_silent_network_is_unavailable_within_a_second_and_heals() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(RedisOptions::new(through(&relay).url.expose().clone())).await.unwrap();
    let epoch = store.epoch().unwrap().id;
    relay.hold(true);
    for _ in 0..3 {
        let watch = Stopwatch::start();
        assert_eq!(store.claim(&claim_in(1, epoch), now()).await, Err(LedgerError::Unavailable));
        assert!(watch.elapsed() < REFUSAL, "{:?}", watch.elapsed());
    }
    relay.hold(false);
    // The claim that nobody got an answer to may have been recorded; another proof is accepted.
    assert_eq!(until(async || claim(&store, 2).await, Result::is_ok).await, Ok(ClaimAnswer::First));
}

/// R1, R4: the attempt's number tells our own claim from a replay when the answer was lost.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_first_and_its_replay_is_seen() {
    for connections in [1, 2] {
        let server = RedisServer::start(&[]).await;
        let relay = Relay::to(server.port()).await;
        let store = connect(RedisOptions { connections, ..through(&relay) }).await.unwrap();
        for round in 0..20 {
            relay.lose_answer_to("rp:");
            assert_eq!(claim(&store, round).await, Ok(ClaimAnswer::First), "round {round}, {connections} connections");
            assert_eq!(relay.lost(), usize::try_from(round).unwrap() + 1);
            assert_eq!(claim(&store, round).await, Ok(ClaimAnswer::Seen));
            comes_to(async || store.check().await, Ok(())).await;
        }
    }
}

/// R1: a replay is not taken for our own lost claim: it never overwrites the number of the attempt that came first (`NX`), nor the
/// lifetime that it was given.
#[tokio::test]
async fn a_replay_whose_answer_was_lost_is_seen_and_changes_nothing() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    for round in 0..20 {
        assert_eq!(claim(&store, round).await, Ok(ClaimAnswer::First));
        let name = [b"rp:".as_slice(), proof(round).as_bytes()].concat();
        let entry = server.command(&[b"GET".as_slice(), &name]).await.unwrap();
        relay.lose_answer_to("rp:");
        let brief = Claim { ttl: Duration::from_millis(1), ..claim_in(round, store.epoch().unwrap().id) };
        assert_eq!(store.claim(&brief, now()).await, Ok(ClaimAnswer::Seen), "round {round}");
        assert_eq!(server.command(&[b"GET".as_slice(), &name]).await.unwrap(), entry);
        comes_to(async || store.check().await, Ok(())).await;
    }
    assert_eq!(relay.lost(), 20);
}

/// G2, G4: the second run of the script finds what the first one did, and gives out the same successor.
#[tokio::test]
async fn an_advance_whose_answer_was_lost_gives_the_same_successor() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    store.create(&sample::family(1)).await.unwrap();
    for generation in 0..20 {
        relay.lose_answer_to("EVALSHA");
        let answer = store.advance(&sample::advance(1, generation)).await.unwrap();
        assert!(matches!(&answer, Advanced::Repeated(family) if family.generation == Generation(generation + 1)), "{answer:?}");
        comes_to(async || store.check().await, Ok(())).await;
    }
    assert_eq!(relay.lost(), 20);
}

#[tokio::test]
async fn what_was_done_before_its_answer_was_lost_is_reported_as_done() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    let settled = async || comes_to(async || store.check().await, Ok(())).await;
    relay.lose_answer_to("NX");
    assert_eq!(store.create(&sample::family(1)).await, Ok(()));
    settled().await;
    relay.lose_answer_to("EVALSHA");
    assert_eq!(store.revoke(sample::id(1), RevokeReason::Requested, sample::START).await, Ok(true));
    settled().await;
    assert_eq!(store.revoke(sample::id(1), RevokeReason::Requested, sample::START).await, Ok(false), "the twin without a loss");
    store.put_client(&sample::client(), b"{}").await.unwrap();
    relay.lose_answer_to("DEL");
    assert_eq!(store.delete_client(&sample::client()).await, Ok(true));
    settled().await;
    assert_eq!(store.delete_client(&sample::client()).await, Ok(false));
    assert_eq!(relay.lost(), 3);
}

#[tokio::test]
async fn a_second_family_of_the_same_name_is_refused_and_the_same_family_again_is_not() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    store.create(&sample::family(1)).await.unwrap();
    store.create(&sample::family(1)).await.unwrap();
    let other = keybound::domain::Family { generation: Generation(5), ..sample::family(1) };
    assert!(store.create(&other).await.is_err());
    assert_eq!(store.read(other.id, sample::START).await.unwrap(), Some(sample::family(1)));
}

/// The usual refresh costs one round trip: claim and advance leave in one packet, in this order.
#[tokio::test]
async fn claim_and_advance_leave_together() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    store.create(&sample::family(1)).await.unwrap();
    for round in 0..10 {
        let (claim, advance) = (claim_in(u64::from(round), store.epoch().unwrap().id), sample::advance(1, round));
        relay.take_requests();
        let (claimed, advanced) = tokio::join!(store.claim(&claim, now()), store.advance(&advance));
        assert_eq!(claimed, Ok(ClaimAnswer::First));
        assert!(matches!(advanced, Ok(Advanced::Rotated(_))));
        let packets = relay.take_requests();
        let holds = |packet: &[u8], what: &str| packet.windows(what.len()).position(|window| window == what.as_bytes());
        let ours: Vec<_> = packets.iter().filter(|packet| holds(packet, "rp:").is_some() || holds(packet, "EVALSHA").is_some()).collect();
        assert_eq!(ours.len(), 1, "round {round}: {} packets", ours.len());
        assert!(holds(ours[0], "rp:") < holds(ours[0], "kb:epoch") && holds(ours[0], "kb:epoch") < holds(ours[0], "EVALSHA"));
    }
}

/// The same, by the clock: over a line of 2 x 200 ms, both are answered in clearly less than two round trips.
#[tokio::test]
async fn claim_and_advance_take_one_round_trip() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    store.create(&sample::family(1)).await.unwrap();
    let (claim, advance) = (claim_in(1, store.epoch().unwrap().id), sample::advance(1, 0));
    relay.delay(Duration::from_millis(200));
    let watch = Stopwatch::start();
    let (claimed, advanced) = tokio::join!(store.claim(&claim, now()), store.advance(&advance));
    let took = watch.elapsed();
    assert!(claimed.is_ok() && advanced.is_ok());
    assert!((Duration::from_millis(400)..Duration::from_millis(780)).contains(&took), "{took:?}");
}

/// R6: a full server refuses; what it holds it keeps; and it accepts again when there is room.
#[tokio::test]
async fn a_full_server_is_at_capacity_and_forgets_nothing() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    store.create(&sample::family(1)).await.unwrap();
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
    server.config_set("maxmemory", "1").await;
    assert_eq!(claim(&store, 2).await, Err(LedgerError::AtCapacity));
    assert!(matches!(store.create(&sample::family(2)).await, Err(StoreError::Unavailable(why)) if why.contains("maxmemory")));
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Err(StoreError::Unavailable(_))));
    server.config_set("maxmemory", "0").await;
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::Seen));
    assert_eq!(claim(&store, 2).await, Ok(ClaimAnswer::First));
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Rotated(_))));
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    store.create(&sample::family(1)).await.unwrap();
    for generation in 0..5 {
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        assert!(matches!(store.advance(&sample::advance(1, generation)).await, Ok(Advanced::Rotated(_))));
    }
    server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(store.revoke(sample::id(1), RevokeReason::Requested, sample::START).await, Ok(true));
}

/// R4: what a script that never ends, another type or other bytes under our keys bring about is an error, and typed.
#[tokio::test]
async fn foreign_values_under_our_keys_are_unreadable() {
    let server = RedisServer::start(&[]).await;
    let store = node(&server).await;
    let key = [b"f:".as_slice(), sample::id(1).as_bytes()].concat();
    for value in [b"".as_slice(), b"\x01short", &[9; 200]] {
        server.command(&[b"SET".as_slice(), &key, value]).await.unwrap();
        assert!(matches!(store.read(sample::id(1), sample::START).await, Err(StoreError::Unreadable(_))));
        assert!(matches!(store.advance(&sample::advance(1, 0)).await, Err(StoreError::Unreadable(_))));
        assert!(store.revoke(sample::id(1), RevokeReason::Requested, sample::START).await.is_err());
    }
    server.command(&[b"DEL".as_slice(), &key]).await.unwrap();
    server.command(&[b"LPUSH".as_slice(), &key, b"x"]).await.unwrap();
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Err(StoreError::Unreadable(_))));
    server.command(&[b"DEL".as_slice(), &key]).await.unwrap();
    assert_eq!(store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Refused(Refusal::Unknown)));
    // An epoch record that is none is replaced.
    let before = store.epoch().unwrap();
    server.command(&["SET", "kb:epoch", "nonsense"]).await.unwrap();
    assert_eq!(store.claim(&claim_in(1, before.id), now()).await, Err(LedgerError::EpochMoved));
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));
}

/// L1: connections that break again and again cost single answers, not the store.
#[tokio::test]
async fn connections_that_break_are_made_anew() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    for round in 0..10 {
        relay.cut();
        let _ = until(async || claim(&store, 100 + round).await, Result::is_ok).await;
        assert_eq!(claim(&store, 100 + round).await, Ok(ClaimAnswer::Seen), "R1, round {round}");
    }
}

/// SEC-08, R4: whatever a server says instead of doing it is an error, never a success, and the same request works when it does it again.
#[tokio::test]
async fn every_refusal_of_a_server_is_an_error_and_passes() {
    let server = RedisServer::start(&[]).await;
    let relay = Relay::to(server.port()).await;
    let store = connect(through(&relay)).await.unwrap();
    store.create(&sample::family(1)).await.unwrap();
    for (round, (line, claimed)) in [
        ("OOM command not allowed when used memory > 'maxmemory'.", LedgerError::AtCapacity),
        ("READONLY You can't write against a read only replica.", LedgerError::Unavailable),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", LedgerError::Unavailable),
        ("LOADING Redis is loading the dataset in memory", LedgerError::Unavailable),
        ("BUSY Redis is busy running a script.", LedgerError::Unavailable),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", LedgerError::Unavailable),
        ("NOREPLICAS Not enough good replicas to write.", LedgerError::Unavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", LedgerError::Unavailable),
        ("CLUSTERDOWN The cluster is down", LedgerError::Unavailable),
        ("MOVED 3999 127.0.0.1:1", LedgerError::Unavailable),
        ("ASK 3999 127.0.0.1:1", LedgerError::Unavailable),
        ("NOPERM this user has no permissions", LedgerError::Unavailable),
        ("ERR something else", LedgerError::Unavailable),
    ]
    .into_iter()
    .enumerate()
    {
        let (number, generation) = (round as u64, u32::try_from(round).unwrap());
        let _ = until(async || claim(&store, 1000 + number).await, Result::is_ok).await;
        let watch = Stopwatch::start();
        relay.answer("rp:", format!("-{line}\r\n-{line}\r\n"));
        assert_eq!(claim(&store, number).await, Err(claimed), "{line}");
        let _ = until(async || claim(&store, 2000 + number).await, Result::is_ok).await;
        assert_eq!(claim(&store, number).await, Ok(ClaimAnswer::First), "{line}");
        relay.answer("EVALSHA", format!("-{line}\r\n"));
        assert!(store.advance(&sample::advance(1, generation)).await.is_err(), "{line}");
        let _ = until(async || claim(&store, 3000 + number).await, Result::is_ok).await;
        assert!(matches!(store.advance(&sample::advance(1, generation)).await, Ok(Advanced::Rotated(_))), "{line}");
        assert!(watch.elapsed() < Duration::from_secs(5), "{line}: {:?}", watch.elapsed());
    }
    // `NOSCRIPT` alone is no refusal: the script is sent in full.
    relay.answer("EVALSHA", "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    assert!(matches!(store.advance(&sample::advance(1, 13)).await, Ok(Advanced::Rotated(_))));
}

/// SEC-08: the same refusals as a real server makes them.
#[tokio::test]
async fn a_server_that_is_busy_or_misses_its_replicas_is_unavailable_until_it_is_not() {
    let server = RedisServer::start(&["--busy-reply-threshold", "10"]).await;
    let store = node(&server).await;
    store.create(&sample::family(1)).await.unwrap();
    server.config_set("min-replicas-to-write", "1").await;
    assert_eq!(claim(&store, 1).await, Err(LedgerError::Unavailable));
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Err(StoreError::Unavailable(why)) if why.contains("too few replicas")));
    server.config_set("min-replicas-to-write", "0").await;
    assert_eq!(claim(&store, 1).await, Ok(ClaimAnswer::First));

    let endless = server.command(&["EVAL", "while true do end", "0"]);
    let refused = async {
        let answer = until(async || store.advance(&sample::advance(1, 0)).await, Result::is_err).await;
        server.command(&["SCRIPT", "KILL"]).await.expect("a script to end");
        answer
    };
    let (ended, refused) = tokio::join!(endless, refused);
    assert!(ended.is_err() && matches!(&refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let _ = until(async || store.advance(&sample::advance(1, 0)).await, Result::is_ok).await;
}
