//! What the store's scripts do, said once more: each is told by its text.

use std::time::Duration;

use keybound::domain::{Advance, Advanced, ClientId, FamilyId, FamilyState, Generation, Refusal, RevokeReason};
use keybound::store::record;
use keybound_proofs::{Jkt, UnixTime};

use super::resp::Reply;
use super::server::Server;

const ADVANCE: &str = include_str!("../../../src/store/redis/advance.lua");
const REVOKE: &str = include_str!("../../../src/store/redis/revoke.lua");
const MERGE: &str = include_str!("../../../src/store/redis/merge.lua");
const EPOCH: &str = include_str!("../../../src/store/redis/epoch.lua");
const UNCLAIM: &str = include_str!("../../../src/store/redis/unclaim.lua");
const SWAP: &str = include_str!("../../../src/store/redis/swap.lua");

/// The text of the script with this digest.
pub(super) fn with_digest(digest: &str) -> Option<&'static str> {
    [ADVANCE, REVOKE, MERGE, EPOCH, UNCLAIM, SWAP].into_iter().find(|text| redis::Script::new(text).get_hash() == digest)
}

/// Runs it.
///
/// # Panics
/// For a script that the store does not have.
pub(super) fn run(server: &mut Server, text: &str, key: &[u8], args: &[Vec<u8>], now_ms: i64) -> Reply {
    match text {
        ADVANCE => advance(server, key, args, now_ms),
        REVOKE => revoke(server, key, args, now_ms),
        MERGE => merge(server, key, args, now_ms),
        EPOCH => epoch(server, key, args, now_ms),
        UNCLAIM => match server.get(key, now_ms) {
            Some(present) if present == args[0] => {
                server.remove(key);
                Reply::Int(1)
            }
            _ => Reply::Int(0),
        },
        SWAP => match server.get(key, now_ms) {
            None => Reply::List(vec![bytes(b"gone")]),
            Some(found) if found != args[0] => Reply::List(vec![bytes(b"other"), Reply::Bytes(found)]),
            Some(_) => {
                server.put(key, args[1].clone(), Some(now_ms + decimal(&args[2])));
                Reply::List(vec![bytes(b"done")])
            }
        },
        _ => panic!("the store has no such script"),
    }
}

fn advance(server: &mut Server, key: &[u8], args: &[Vec<u8>], now_ms: i64) -> Reply {
    let Some(mut stored) = server.get(key, now_ms) else { return Reply::List(vec![Reply::Int(-1)]) };
    let Ok(family) = record::decode(FamilyId::from_bytes([0; 16]), &stored) else { return Reply::List(vec![Reply::Int(0)]) };
    let now = UnixTime::from_millis(big_endian(&args[5]));
    let deadline = UnixTime::from_millis(big_endian(&args[6]));
    let key_of = |bytes: &[u8]| Some(Jkt::from_bytes(bytes.try_into().ok()?));
    let presented = u32::from_be_bytes(args[0][..].try_into().expect("4 bytes"));
    let request = Advance {
        family: family.id,
        presented: Generation(presented),
        client_id: ClientId::new(String::from_utf8_lossy(&args[1]).into_owned()).expect("the store sends names that it read"),
        authenticated: args[2] == b"1",
        jkt: key_of(&args[3]),
        rebind_to: key_of(&args[9]),
        rotate: args[4] == b"1",
        now,
        idle: Duration::from_millis(deadline.as_millis().saturating_sub(now.as_millis()).try_into().unwrap_or(0)),
    };
    let lives_on = presented >= family.generation.0;
    let (outcome, family) = match family.decide(&request) {
        Advanced::Rotated(family) => (1, family),
        Advanced::Repeated(family) => (2, family),
        Advanced::RolledForward(family) => (3, family),
        Advanced::Kept(family) => (4, family),
        Advanced::Rebound(family) => (7, family),
        Advanced::Reused(_) => return Reply::List(vec![Reply::Int(5), Reply::Bytes(stored)]),
        Advanced::CloneSuspected(_) => return Reply::List(vec![Reply::Int(6), Reply::Bytes(stored)]),
        Advanced::Refused(refusal) => {
            let number = match refusal {
                Refusal::Unknown => -1,
                Refusal::Revoked => -2,
                Refusal::Expired => -3,
                Refusal::OtherClient => -4,
                Refusal::OtherKey => -5,
                Refusal::NotAuthenticated => -6,
            };
            return Reply::List(vec![Reply::Int(number)]);
        }
    };
    let before = stored.clone();
    record::patch(&mut stored, &family);
    let ends = family.idle_expiry.min(family.absolute_expiry);
    let left = (ends.as_millis() - now.as_millis() + decimal(&args[7])).clamp(1, decimal(&args[8]).max(1));
    if lives_on {
        server.put(key, stored.clone(), Some(now_ms + left));
    } else if stored != before {
        server.put_keeping_life(key, stored.clone());
    }
    Reply::List(vec![Reply::Int(outcome), Reply::Bytes(stored)])
}

fn revoke(server: &mut Server, key: &[u8], args: &[Vec<u8>], now_ms: i64) -> Reply {
    let Some(mut stored) = server.get(key, now_ms) else { return Reply::List(vec![Reply::Int(0)]) };
    let Ok(family) = record::decode(FamilyId::from_bytes([0; 16]), &stored) else { return Reply::List(vec![Reply::Int(-1)]) };
    if family.state != FamilyState::Live {
        return Reply::List(vec![Reply::Int(2), Reply::Bytes(stored)]);
    }
    if family.is_expired(UnixTime::from_millis(big_endian(&args[1]))) {
        return Reply::List(vec![Reply::Int(0)]);
    }
    let reason = RevokeReason::from_u8(args[0][0]).expect("the store sends reasons");
    record::patch(&mut stored, &keybound::domain::Family { state: FamilyState::Revoked(reason), ..family });
    server.put_keeping_life(key, stored.clone());
    Reply::List(vec![Reply::Int(1), Reply::Bytes(stored)])
}

fn merge(server: &mut Server, key: &[u8], args: &[Vec<u8>], now_ms: i64) -> Reply {
    let read = |bytes: &[u8]| record::decode(FamilyId::from_bytes([0; 16]), bytes);
    let ends = Some(now_ms + decimal(&args[1]));
    let Some(mut stored) = server.get(key, now_ms) else {
        server.put(key, args[0].clone(), ends);
        return Reply::List(vec![Reply::Int(1)]);
    };
    let Ok(theirs) = read(&stored) else { return Reply::List(vec![Reply::Int(-1)]) };
    let ours = read(&args[0]).expect("the store sends records that it read");
    let age = |family: &keybound::domain::Family| (family.generation, family.last_rotation, family.idle_expiry, family.clone_flag);
    let state = match (theirs.state, ours.state) {
        (FamilyState::Revoked(a), FamilyState::Revoked(b)) => FamilyState::Revoked(if (a as u8) < b as u8 { a } else { b }),
        (FamilyState::Live, other) | (other, FamilyState::Live) => other,
    };
    if age(&ours) > age(&theirs) {
        // All that is fixed in place, as one piece.
        stored[record::AT_STATE..record::AT_CLIENT_ID_LEN].copy_from_slice(&args[0][record::AT_STATE..record::AT_CLIENT_ID_LEN]);
        record::patch(&mut stored, &keybound::domain::Family { state, ..ours });
        server.put(key, stored, ends);
        return Reply::List(vec![Reply::Int(2)]);
    }
    if state != theirs.state {
        record::patch(&mut stored, &keybound::domain::Family { state, ..theirs });
        server.put_keeping_life(key, stored);
        return Reply::List(vec![Reply::Int(2)]);
    }
    Reply::List(vec![Reply::Int(0)])
}

fn epoch(server: &mut Server, key: &[u8], args: &[Vec<u8>], now_ms: i64) -> Reply {
    let seen = server.get(key, now_ms).unwrap_or_default();
    if seen != args[0] {
        return Reply::Bytes(seen);
    }
    let since = if args[3] == b"1" { -1 } else { now_ms };
    let record = [&args[1][..], &since.to_be_bytes(), &args[2]].concat();
    server.put(key, record.clone(), None);
    Reply::Bytes(record)
}

fn bytes(text: &[u8]) -> Reply {
    Reply::Bytes(text.to_vec())
}

fn big_endian(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().expect("8 bytes"))
}

pub(super) fn decimal(bytes: &[u8]) -> i64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).expect("a number")
}
