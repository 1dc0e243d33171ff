//! Claims: `SET NX GET` with the number of the attempt, and the epoch record of its bucket read right behind it.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Epoch, Ledger, LedgerError, UnixTime};
use redis::{Cmd, Pipeline, Value};

use super::epoch::Held;
use super::script::UNCLAIM;
use super::send::{Answer, Way};
use super::shard::Shard;
use super::wire::{Fault, Lane, Refused, Request};
use super::{RedisStore, Shared, bytes, ttl_ms};
use crate::store::ReplayLedger;

impl Ledger for RedisStore {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        if !self.shared.routes.any() {
            return Err(LedgerError::Unavailable);
        }
        self.shared.agreed().epoch().ok_or(LedgerError::Unavailable)
    }

    /// The lifetime is given to the server as a duration, so that its clock does not matter; `now` is not needed.
    fn claim<'a>(&'a self, claim: &'a Claim, _now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(self.shared.claim(claim))
    }
}

impl ReplayLedger for RedisStore {
    fn recall<'a>(&'a self, claim: &'a Claim, _now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(self.shared.recall(claim))
    }
}

/// What two commands in one slot answered.
struct Pair {
    first: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
    shard: Arc<Shard>,
    lane: Lane,
    /// While the slot is moving, the answers come from two servers: the one that has the slot, and the one that it is moving to.
    moving: bool,
}

impl Shared {
    /// Records the claim and reads the epoch record behind it, in this order and over one connection: if the record is still the
    /// one under which the proof was judged, nothing was forgotten up to the moment at which the claim was recorded.
    ///
    /// A lost answer is asked for again under the same attempt number: finding that number means that the first try arrived.
    ///
    /// What is *not* noticed: while a slot moves between two servers of a cluster, the record tells of the one that it leaves. Claims that
    /// the other has taken since are forgotten unnoticed if that one is flushed, or dies, before the slot has arrived.
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, LedgerError> {
        let bucket = self.names.bucket_of(&claim.key);
        let judged = self.judged(claim, bucket).await?;
        let attempt = self.next_attempt().to_be_bytes();
        let key = self.names.claim(bucket, &claim.key);
        let set = || {
            let mut cmd = redis::cmd("SET");
            cmd.arg(&key).arg(&attempt[..]).arg("NX").arg("GET").arg("PX").arg(ttl_ms(whole_ms(claim.ttl)));
            cmd
        };
        let pair = self.pair(bucket, set).await?;
        let ours = pair.first.as_deref().is_none_or(|before| before == attempt);
        if self.holds(&judged, bucket, &pair).await? {
            return Ok(if ours { ClaimAnswer::First } else { ClaimAnswer::Seen });
        }
        if ours && !pair.moving {
            // A courtesy: the same proof may come again with a nonce of the new epoch. Nobody relied on this claim.
            let take_back = Request::Script { script: &UNCLAIM, key: &key, args: &[&attempt] };
            let _ = pair.shard.lanes.send_over(&pair.lane, &take_back, false).await;
        }
        Err(self.epoch_moved(&pair.shard, &pair.lane, bucket, &judged).await)
    }

    /// Reads the claim and, behind it, the epoch record: a claim that was recorded under the epoch in force is found.
    async fn recall(&self, claim: &Claim) -> Result<ClaimAnswer, LedgerError> {
        let bucket = self.names.bucket_of(&claim.key);
        let judged = self.judged(claim, bucket).await?;
        let pair = self.pair(bucket, || get(&self.names.claim(bucket, &claim.key))).await?;
        if self.holds(&judged, bucket, &pair).await? {
            return Ok(if pair.first.is_some() { ClaimAnswer::Seen } else { ClaimAnswer::First });
        }
        Err(self.epoch_moved(&pair.shard, &pair.lane, bucket, &judged).await)
    }

    /// What is known of the claim's bucket, if the epoch is still the one under which its proof was judged. The server that has the
    /// bucket was found to be the one that its record names.
    async fn judged(&self, claim: &Claim, bucket: usize) -> Result<Held, LedgerError> {
        let slot = self.names.bucket_slot(bucket);
        for tried in [false, true] {
            let agreed = self.agreed();
            if agreed.epoch().ok_or(LedgerError::Unavailable)?.id != claim.epoch {
                return Err(LedgerError::EpochMoved);
            }
            let held = agreed.bucket(bucket).ok_or(LedgerError::Unavailable)?;
            let owner = self.routes.owner(slot).ok_or(LedgerError::Unavailable)?;
            if held.shard == owner.number {
                return Ok(held);
            }
            let lane = owner.lanes.mine().filter(|_| !tried).ok_or(LedgerError::Unavailable)?;
            self.settle_after(&owner, &lane.connection, bucket, None).await.map_err(|_| LedgerError::Unavailable)?;
        }
        Err(LedgerError::Unavailable)
    }

    /// Whether `pair` was answered by the memory that `judged` names.
    async fn holds(&self, judged: &Held, bucket: usize, pair: &Pair) -> Result<bool, LedgerError> {
        if pair.record.as_deref() != Some(judged.known.record.as_bytes()) {
            return Ok(false);
        }
        if pair.shard.number == judged.shard {
            return Ok(true);
        }
        // The slot has gone to another server meanwhile: the record counts if it names that one.
        self.settle_after(&pair.shard, &pair.lane.connection, bucket, None).await.map_err(|_| LedgerError::Unavailable)?;
        let settled = self.agreed().bucket(bucket);
        Ok(settled.is_some_and(|held| held.shard == pair.shard.number && held.known.record == judged.known.record))
    }

    /// Sends what `cmd` makes and, behind it, reads the epoch record of the bucket.
    async fn pair(&self, bucket: usize, cmd: impl Fn() -> Cmd) -> Result<Pair, LedgerError> {
        let slot = self.names.bucket_slot(bucket);
        let read = || get(&self.names.epoch(bucket));
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(cmd()).add_command(read());
        match self.deliver(Way::Plain, slot, &Request::Pipeline(&commands)).await {
            Ok(Answer { values, shard, lane, .. }) => {
                let [first, second]: [Value; 2] = values.try_into().map_err(|_| LedgerError::Unavailable)?;
                Ok(Pair { first: string(first)?, record: string(second)?, shard, lane, moving: false })
            }
            // The slot is moving: each of the two keys is at either server. One after the other, since the record must be read last.
            Err((Fault::Refused(Refused::Ask(_)), Some(from))) if self.routes.is_cluster() => {
                let (first, _) = self.each(slot, &cmd()).await?;
                let (record, answer) = self.each(slot, &read()).await?;
                // Whoever still has the slot is the one that the record tells of.
                let owner = self.routes.owner(slot).filter(|owner| owner.number == from.number);
                let shard = owner.unwrap_or(answer.shard);
                let lane = shard.lanes.mine().ok_or(LedgerError::Unavailable)?;
                Ok(Pair { first, record, shard, lane, moving: true })
            }
            Err((fault, _)) => Err(refusal(fault)),
        }
    }

    async fn each(&self, slot: u16, cmd: &Cmd) -> Result<(Option<Vec<u8>>, Answer), LedgerError> {
        let mut answer = self.deliver(Way::Plain, slot, &Request::Command(cmd)).await.map_err(|(fault, _)| refusal(fault))?;
        let value = answer.values.pop().ok_or(LedgerError::Unavailable)?;
        Ok((string(value)?, answer))
    }

    /// Agrees on the epoch that is in force instead of the one under which a proof was judged.
    async fn epoch_moved(&self, shard: &Shard, lane: &Lane, bucket: usize, judged: &Held) -> LedgerError {
        match self.settle_after(shard, &lane.connection, bucket, Some(judged)).await {
            // Where nothing fits yet, say while the slot is moving, a nonce of the same epoch would not help.
            Ok(()) if self.agreed().bucket(bucket) == Some(*judged) => LedgerError::Unavailable,
            Ok(()) => LedgerError::EpochMoved,
            Err(trouble) => {
                tracing::warn!(reason = %trouble, "the replay epoch is gone and no new one could be agreed on");
                shard.lanes.retire(lane);
                LedgerError::Unavailable
            }
        }
    }
}

fn get(key: &[u8]) -> Cmd {
    let mut cmd = redis::cmd("GET");
    cmd.arg(key);
    cmd
}

/// A string, or its absence.
fn string(value: Value) -> Result<Option<Vec<u8>>, LedgerError> {
    bytes(value).map_err(|_| LedgerError::Unavailable)
}

fn refusal(fault: Fault) -> LedgerError {
    match fault {
        Fault::Refused(Refused::OutOfMemory) => LedgerError::AtCapacity,
        Fault::NoLane | Fault::Lost | Fault::Unconfirmed | Fault::Refused(_) => LedgerError::Unavailable,
    }
}

/// Whole milliseconds, rounded up: a claim never lives shorter than asked for.
fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_rounded_up_to_whole_milliseconds() {
        for (nanos, ms) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            assert_eq!(whole_ms(Duration::from_nanos(nanos)), ms);
        }
        assert_eq!(whole_ms(Duration::MAX), i64::MAX);
    }

    /// R6: a full server is told from one that can't be reached; neither is an acceptance.
    #[test]
    fn every_fault_is_an_error() {
        assert_eq!(refusal(Fault::Refused(Refused::OutOfMemory)), LedgerError::AtCapacity);
        for fault in [
            Fault::NoLane,
            Fault::Lost,
            Fault::Refused(Refused::NotPrimary),
            Fault::Refused(Refused::ClusterDown),
            Fault::Refused(Refused::Other),
        ] {
            assert_eq!(refusal(fault), LedgerError::Unavailable);
        }
    }
}
