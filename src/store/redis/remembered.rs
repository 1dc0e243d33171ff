//! What this node wrote of families lately, and puts back after a failover.
//!
//! A replica that is promoted may lack writes that its predecessor acknowledged: a family, a rotation, a revocation. Records of one
//! family can be joined in any order (`merge.lua`): so each node remembers the records of its own acknowledged writes for a while, and
//! joins them with what is stored wherever the server behind a connection turns out to be another one, or the same after a restart,
//! before it uses that connection. A flush of the same server is not undone.
//!
//! What is *not* promised: a write whose node is gone as well is not put back, nor one older than [`Remembered::AGE`] or than the last
//! [`Remembered::MOST`] of this node; and until the first node is back at the new primary, a lost revocation is not in force.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use keybound_proofs::UnixTime;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};

use super::families::{EXPIRY_GRACE, unreadable};
use super::names::Names;
use super::script::MERGE;
use super::server::{Facts, RUN_ID_LEN};
use super::shard::Shard;
use super::wire::{Fault, Refused, Request, ask, ask_each};
use super::{Shared, odd_answer, ttl_ms};
use crate::domain::FamilyId;
use crate::store::StoreError;
use crate::store::record::{self, Head};

/// The records of the last acknowledged writes. Each server is known to hold those whose slots it has, as long as its memory lasts.
#[derive(Default)]
pub(super) struct Remembered {
    writes: Mutex<Writes>,
}

/// What tells the memory of one server: run id and replication id.
pub(super) type ServerMemory = [[u8; RUN_ID_LEN]; 2];

#[derive(Default)]
struct Writes {
    /// Oldest first. A family that was written again stands here more than once; the last counts.
    order: VecDeque<(UnixTime, FamilyId)>,
    latest: HashMap<FamilyId, (UnixTime, Vec<u8>)>,
}

impl Remembered {
    /// For how long a write is remembered: replication is never this far behind without being noticed.
    const AGE: Duration = Duration::from_secs(120);
    /// How many are remembered at most, about 300 bytes each.
    const MOST: usize = 100_000;
    /// How many are put back in one message.
    const TOGETHER: usize = 200;

    fn note(&self, id: FamilyId, record: Vec<u8>, now: UnixTime) {
        let mut writes = self.writes.lock();
        writes.order.push_back((now, id));
        let record = match writes.latest.remove(&id) {
            Some((_, known)) => joined(known, record),
            None => record,
        };
        writes.latest.insert(id, (now, record));
        writes.forget(now);
    }

    /// The records, oldest write first.
    fn all(&self, now: UnixTime) -> Vec<(FamilyId, Vec<u8>)> {
        let mut writes = self.writes.lock();
        writes.forget(now);
        let newest = |(at, id): &(UnixTime, FamilyId)| {
            writes.latest.get(id).filter(|(written, _)| written == at).map(|(_, record)| (*id, record.clone()))
        };
        writes.order.iter().filter_map(newest).collect()
    }
}

/// What two answers tell of one family: the later of the two records, revoked if either is, as `merge.lua` has it. Answers that come over
/// several connections may come in another order than the writes were made in.
fn joined(known: Vec<u8>, new: Vec<u8>) -> Vec<u8> {
    let revoked = [&known, &new].into_iter().filter_map(|record| record.get(record::AT_STATE).copied()).filter(|state| *state != 0).min();
    let mut later = if age(&known) > age(&new) { known } else { new };
    if let (Some(revoked), Some(state)) = (revoked, later.get_mut(record::AT_STATE)) {
        *state = revoked;
    }
    later
}

/// What tells the later of two records: generation, last rotation, idle expiry, and the mark of a late repetition.
fn age(record: &[u8]) -> Option<(u32, i64, i64, u8)> {
    let instant = |at: usize| Some(i64::from_be_bytes(record.get(at..at + 8)?.try_into().ok()?));
    let generation = u32::from_be_bytes(record.get(record::AT_GENERATION..record::AT_GENERATION + 4)?.try_into().ok()?);
    let late = *record.get(record::AT_CLONE_FLAG)?;
    Some((generation, instant(record::AT_LAST_ROTATION)?, instant(record::AT_IDLE_EXPIRY)?, late))
}

impl Writes {
    fn forget(&mut self, now: UnixTime) {
        let too_old = |at: UnixTime| at.plus(Remembered::AGE) <= now;
        while self.order.len() > Remembered::MOST || self.order.front().is_some_and(|(at, _)| too_old(*at)) {
            let Some((at, id)) = self.order.pop_front() else { return };
            if let Entry::Occupied(known) = self.latest.entry(id)
                && known.get().0 == at
            {
                known.remove();
            }
        }
    }
}

impl Shared {
    /// Notes the record of a family as an acknowledged write left it; where replicas confirmed the write, too: they need not be those that
    /// take over. A primary that comes back while another replica is being promoted still has some that follow it.
    pub(super) fn remember(&self, id: FamilyId, record: Vec<u8>) {
        self.remembered.note(id, record, self.clock.now());
    }

    /// Puts back what this node remembers where the server is not the one that had it, and remembers that this one has it now.
    pub(super) async fn put_back(&self, shard: &Shard, connection: &MultiplexedConnection, facts: &Facts) -> Result<(), StoreError> {
        let memory = [facts.run_id, facts.replication_id];
        if *shard.held_by.lock() == Some(memory) {
            return Ok(());
        }
        let now = self.clock.now();
        let mut put_back = 0_usize;
        let load = MERGE.load();
        let known = match ask(connection, &Request::Command(&load)).await {
            Ok(_) => true,
            Err(Fault::Refused(Refused::Denied)) => false,
            Err(fault) => return Err(fault.into_store_error()),
        };
        let mut all = self.remembered.all(now);
        all.retain(|(id, _)| {
            let slot = self.names.slot(&self.names.key(Names::FAMILY, id.as_bytes()));
            self.routes.owner(slot).is_none_or(|owner| owner.number == shard.number)
        });
        for some in all.chunks(Remembered::TOGETHER) {
            let mut commands = Pipeline::with_capacity(some.len());
            for (id, record) in some {
                let head = Head::of(record)?;
                let ends = head.idle_expiry.min(head.absolute_expiry).plus(EXPIRY_GRACE);
                let left = ttl_ms(ends.as_millis().saturating_sub(now.as_millis())).to_string();
                let (key, args): (_, [&[u8]; 2]) = (self.names.key(Names::FAMILY, id.as_bytes()), [record, left.as_bytes()]);
                commands.add_command(if known { MERGE.by_digest(&key, &args) } else { MERGE.by_source(&key, &args) });
            }
            for answer in ask_each(connection, &commands).await.map_err(Fault::into_store_error)? {
                match answer {
                    // It has left this server, so this server's end can't have cost anything of it.
                    Err(Refused::Moved(_) | Refused::Ask(_)) => {}
                    Err(refused) => return Err(Fault::Refused(refused).into_store_error()),
                    Ok(Value::Array(parts)) => match parts.as_slice() {
                        [Value::Int(0)] => {}
                        [Value::Int(1 | 2)] => put_back += 1,
                        _ => return Err(unreadable()),
                    },
                    Ok(_) => return Err(odd_answer()),
                }
            }
        }
        if put_back > 0 {
            tracing::warn!(families = put_back, "redis had lost acknowledged writes of this node; they are put back");
        }
        *shard.held_by.lock() = Some(memory);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Family, FamilyState, Generation, RevokeReason};
    use crate::store::conformance::sample::family;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_millis(1_800_000_000_000 + seconds * 1000)
    }

    fn id(number: u64) -> FamilyId {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        FamilyId::from_bytes(bytes)
    }

    #[test]
    fn the_newest_record_of_each_family_is_remembered_in_the_order_of_writing() {
        let remembered = Remembered::default();
        remembered.note(id(1), vec![1], at(0));
        remembered.note(id(2), vec![2], at(1));
        remembered.note(id(1), vec![3], at(2));
        assert_eq!(remembered.all(at(3)), vec![(id(2), vec![2]), (id(1), vec![3])]);
    }

    /// G6: found by docs/model (`BUG_LATE_ANSWER_OVERWRITES_REVOCATION`).
    #[test]
    fn a_revocation_is_remembered_although_the_answer_to_an_earlier_rotation_comes_later() {
        let remembered = Remembered::default();
        let rotated = Family { generation: Generation(4), ..family(1) };
        let revoked = Family { state: FamilyState::Revoked(RevokeReason::Requested), ..rotated.clone() };
        let newer = Family { generation: Generation(5), ..family(1) };
        for (first, second, generation, state) in [
            (&revoked, &rotated, 4, revoked.state),
            (&rotated, &revoked, 4, revoked.state),
            (&revoked, &newer, 5, revoked.state),
            (&newer, &rotated, 5, FamilyState::Live),
            (&rotated, &newer, 5, FamilyState::Live),
        ] {
            remembered.note(rotated.id, record::encode(first), at(0));
            remembered.note(rotated.id, record::encode(second), at(1));
            let all = remembered.all(at(2));
            let kept = record::decode(all[0].0, &all[0].1).unwrap();
            assert_eq!((all.len(), kept.generation, kept.state), (1, Generation(generation), state));
            assert!(remembered.all(at(200)).is_empty());
        }
    }

    #[test]
    fn a_write_is_remembered_for_its_time_and_not_longer() {
        let remembered = Remembered::default();
        remembered.note(id(1), vec![1], at(0));
        assert_eq!(remembered.all(at(119)).len(), 1);
        assert_eq!(remembered.all(at(120)).len(), 0);
        remembered.note(id(1), vec![1], at(200));
        remembered.note(id(1), vec![2], at(201));
        assert_eq!(remembered.all(at(320)), vec![(id(1), vec![2])], "written again since");
    }

    #[test]
    fn the_number_of_writes_is_bounded_and_the_oldest_goes() {
        let remembered = Remembered::default();
        let most = u64::try_from(Remembered::MOST).unwrap();
        for number in 0..=most {
            remembered.note(id(number), Vec::new(), at(0));
        }
        let all = remembered.all(at(0));
        assert_eq!((all.len(), all[0].0), (Remembered::MOST, id(1)));
    }
}
