//! Claims: `SET NX GET` with the number of the attempt, and the epoch record read right behind it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Epoch, Ledger, LedgerError, UnixTime};
use redis::{Pipeline, Value};

use super::epoch::Known;
use super::script::UNCLAIM;
use super::wire::{Answer, Fault, Lane, Refused, Request};
use super::{Names, RedisStore, Shared, bytes, ttl_ms};
use crate::store::ReplayLedger;

impl Ledger for RedisStore {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        if !self.shared.lanes.any() {
            return Err(LedgerError::Unavailable);
        }
        self.shared.known().map(|known| known.epoch).ok_or(LedgerError::Unavailable)
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

impl Shared {
    /// Records the claim and reads the epoch record behind it, in this order and over one connection: if the record is still the
    /// one under which the proof was judged, nothing was forgotten up to the moment at which the claim was recorded.
    ///
    /// A lost answer is asked for again under the same attempt number: finding that number means that the first try arrived.
    async fn claim(&self, claim: &Claim) -> Result<ClaimAnswer, LedgerError> {
        let judged = self.known().ok_or(LedgerError::Unavailable)?;
        if judged.epoch.id != claim.epoch {
            return Err(LedgerError::EpochMoved);
        }
        let attempt = self.next_attempt.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let key = self.names.key(Names::CLAIM, claim.key.as_bytes());
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("SET").arg(&key).arg(&attempt[..]).arg("NX").arg("GET").arg("PX").arg(ttl_ms(whole_ms(claim.ttl)));
        commands.cmd("GET").arg(self.names.key(Names::EPOCH, b""));
        let (before, record, lane) = self.pair(&commands).await?;
        let ours = before.as_deref().is_none_or(|before| before == attempt);
        if record.as_deref() == Some(judged.record.as_bytes()) {
            return Ok(if ours { ClaimAnswer::First } else { ClaimAnswer::Seen });
        }
        if ours {
            // A courtesy: the same proof may come again with a nonce of the new epoch. Nobody relied on this claim.
            let take_back = Request::Script { script: &UNCLAIM, key: &key, args: &[&attempt] };
            let _ = self.lanes.send_over(&lane, &take_back).await;
        }
        Err(self.epoch_moved(&lane, &judged).await)
    }

    /// Reads the claim and, behind it, the epoch record: a claim that was recorded under the epoch in force is found.
    async fn recall(&self, claim: &Claim) -> Result<ClaimAnswer, LedgerError> {
        let judged = self.known().ok_or(LedgerError::Unavailable)?;
        if judged.epoch.id != claim.epoch {
            return Err(LedgerError::EpochMoved);
        }
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("GET").arg(self.names.key(Names::CLAIM, claim.key.as_bytes()));
        commands.cmd("GET").arg(self.names.key(Names::EPOCH, b""));
        let (claimed, record, lane) = self.pair(&commands).await?;
        if record.as_deref() != Some(judged.record.as_bytes()) {
            return Err(self.epoch_moved(&lane, &judged).await);
        }
        Ok(if claimed.is_some() { ClaimAnswer::Seen } else { ClaimAnswer::First })
    }

    /// The two strings that two commands answer.
    async fn pair(&self, commands: &Pipeline) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>, Lane), LedgerError> {
        let Answer { values, lane, .. } = self.lanes.send(Request::Pipeline(commands)).await.map_err(refusal)?;
        let [first, second]: [Value; 2] = values.try_into().map_err(|_| LedgerError::Unavailable)?;
        Ok((string(first)?, string(second)?, lane))
    }

    /// Agrees on the epoch that is in force instead of the one under which a proof was judged.
    async fn epoch_moved(&self, lane: &Lane, judged: &Known) -> LedgerError {
        match self.settle_after(&lane.connection, &judged.record).await {
            Ok(()) => LedgerError::EpochMoved,
            Err(trouble) => {
                tracing::warn!(reason = %trouble, "the replay epoch is gone and no new one could be agreed on");
                self.lanes.retire(lane);
                LedgerError::Unavailable
            }
        }
    }
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
        for fault in [Fault::NoLane, Fault::Lost, Fault::Refused(Refused::NotPrimary), Fault::Refused(Refused::Other)] {
            assert_eq!(refusal(fault), LedgerError::Unavailable);
        }
    }
}
