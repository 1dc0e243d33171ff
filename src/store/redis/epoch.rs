//! The replay epoch of a Redis server: one record beside the claims, which vanishes and dies with them.
//!
//! The record names the server's memory by everything that changes when it may have forgotten something: run id (restart),
//! replication id (failover) and the number of evicted keys. A record that does not match the server is replaced, by
//! compare-and-set, so that all nodes converge on one successor. A flush removes the record, and every claim reads the record
//! behind itself: so no claim can be relied on that a flush may have preceded unnoticed.
//!
//! In a cluster each bucket of claims has a record beside it, in the same slot, which names the memory of the server that has the slot:
//! a failover and a move of the slot both end it. What the service calls the epoch is made of all of them, so that every node gives out
//! and takes the same nonces; a claim is judged under the whole and compared with the record of its bucket.

use std::time::Duration;

use keybound_proofs::{Epoch, EpochId, UnixTime};
use sha2::{Digest as _, Sha256};

use super::server::{Facts, RUN_ID_LEN};

/// The record, as it is stored.
///
/// | offset | bytes | what |
/// |---|---|---|
/// | 0 | 1 | version |
/// | 1 | 16 | identifier |
/// | 17 | 8 | begin, ms since 1970 by the server's clock, signed; -1 where nothing came before |
/// | 25 | 8 | evicted keys at the begin |
/// | 33 | 40 | run id |
/// | 73 | 40 | replication id |
/// | 113 | 8 | the longest time after its `iat` for which any node accepts a proof, ms |
///
/// All numbers are big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record([u8; Record::LEN]);

impl Record {
    const LEN: usize = Self::WINDOW + 8;
    const WINDOW: usize = 33 + 2 * RUN_ID_LEN;
    const VERSION: u8 = 1;
    const NOTHING_BEFORE: i64 = -1;

    /// What a new record begins with: the script adds the instant.
    pub(super) fn head(id: &EpochId) -> [u8; 1 + EpochId::LEN] {
        let mut head = [Self::VERSION; 1 + EpochId::LEN];
        head[1..].copy_from_slice(id.as_bytes());
        head
    }

    /// What follows the instant in a new record.
    pub(super) fn tail(facts: &Facts, acceptance_window: Duration) -> [u8; 16 + 2 * RUN_ID_LEN] {
        let mut tail = [0; 16 + 2 * RUN_ID_LEN];
        tail[..8].copy_from_slice(&facts.evicted_keys.to_be_bytes());
        tail[8..8 + RUN_ID_LEN].copy_from_slice(&facts.run_id);
        tail[8 + RUN_ID_LEN..8 + 2 * RUN_ID_LEN].copy_from_slice(&facts.replication_id);
        let window = u64::try_from(acceptance_window.as_millis()).unwrap_or(u64::MAX);
        tail[8 + 2 * RUN_ID_LEN..].copy_from_slice(&window.to_be_bytes());
        tail
    }

    /// From the stored bytes; `None` for anything that this version does not write.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let record = Self(bytes.try_into().ok()?);
        (record.0[0] == Self::VERSION).then_some(record)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the server's memory is unbroken since this record was made, and long enough for a node that accepts a proof for
    /// `acceptance_window` after its `iat`: claims of other nodes may be remembered for less.
    pub(super) fn fits(&self, facts: &Facts, acceptance_window: Duration) -> bool {
        let own = self.acceptance_window();
        own >= acceptance_window && self.0[25..] == Self::tail(facts, own)
    }

    /// The longest time after its `iat` for which any node accepted a proof when this record was made.
    pub(super) fn acceptance_window(&self) -> Duration {
        let mut window = [0; 8];
        window.copy_from_slice(&self.0[Self::WINDOW..]);
        Duration::from_millis(u64::from_be_bytes(window))
    }

    pub(super) fn id(&self) -> EpochId {
        let mut id = [0; EpochId::LEN];
        id.copy_from_slice(&self.0[1..17]);
        EpochId::from_bytes(id)
    }

    /// The epoch, its begin told by the clock of a node that is `lead_ms` ahead of the server.
    pub(super) fn epoch(&self, lead_ms: i64) -> Epoch {
        let mut since = [0; 8];
        since.copy_from_slice(&self.0[17..25]);
        let since = i64::from_be_bytes(since);
        let since = (since != Self::NOTHING_BEFORE).then(|| UnixTime::from_millis(since.saturating_add(lead_ms)));
        Epoch { id: self.id(), since }
    }
}

/// The epoch as this node knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) record: Record,
    pub(super) epoch: Epoch,
    lead_ms: i64,
}

impl Known {
    /// The begin is told anew only where the clocks moved against each other by more than this: it should not flutter.
    const LEAD_STEP_MS: u64 = 1000;

    /// What is known after `record` was read by a node that is `lead_ms` ahead of the server.
    pub(super) fn after(before: Option<&Self>, record: Record, lead_ms: i64) -> Self {
        match before {
            Some(before) if before.record == record && before.lead_ms.abs_diff(lead_ms) <= Self::LEAD_STEP_MS => *before,
            _ => Self { record, epoch: record.epoch(lead_ms), lead_ms },
        }
    }
}

/// What this node knows of the records of all buckets.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    buckets: Vec<Option<Held>>,
    epoch: Option<Epoch>,
}

/// What is known of one bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) known: Known,
    /// The number of the primary that the record was found to fit.
    pub(super) shard: u64,
}

impl Agreed {
    /// Nothing is known of any bucket.
    pub(super) fn new(buckets: usize) -> Self {
        Self { buckets: vec![None; buckets], epoch: None }
    }

    pub(super) fn bucket(&self, bucket: usize) -> Option<Held> {
        self.buckets.get(bucket).copied().flatten()
    }

    /// The epoch of the whole; `None` until every bucket is known.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// The same after these records were found to fit the server of `shard`, read by a node that is `lead_ms` ahead of it.
    pub(super) fn with(mut self, records: &[(usize, Record)], lead_ms: i64, shard: u64) -> Self {
        for (bucket, record) in records {
            let before = self.buckets[*bucket].map(|held| held.known);
            self.buckets[*bucket] = Some(Held { known: Known::after(before.as_ref(), *record, lead_ms), shard });
        }
        self.epoch = self.whole();
        self
    }

    /// That of the one bucket; of several, a digest of all, which began when the last of them did.
    fn whole(&self) -> Option<Epoch> {
        let all: Vec<Epoch> = self.buckets.iter().map(|held| held.map(|held| held.known.epoch)).collect::<Option<_>>()?;
        if let [one] = all.as_slice() {
            return Some(*one);
        }
        let mut digest = Sha256::new();
        all.iter().for_each(|epoch| digest.update(epoch.id.as_bytes()));
        let mut id = [0; EpochId::LEN];
        id.copy_from_slice(&digest.finalize()[..EpochId::LEN]);
        Some(Epoch { id: EpochId::from_bytes(id), since: all.iter().filter_map(|epoch| epoch.since).max() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn facts(run: u8, replication: u8, evicted_keys: u64) -> Facts {
        Facts { run_id: [run; RUN_ID_LEN], replication_id: [replication; RUN_ID_LEN], evicted_keys, policy: None }
    }

    fn record(since: i64) -> Record {
        let mut bytes = Record::head(&EpochId::from_bytes([7; 16])).to_vec();
        bytes.extend(since.to_be_bytes());
        bytes.extend(Record::tail(&facts(b'a', b'b', 3), WINDOW));
        Record::read(&bytes).unwrap()
    }

    #[test]
    fn a_record_fits_the_server_it_was_made_on_and_no_other() {
        let record = record(1);
        assert!(record.fits(&facts(b'a', b'b', 3), WINDOW));
        for other in [facts(b'x', b'b', 3), facts(b'a', b'x', 3), facts(b'a', b'b', 4), facts(b'a', b'b', 2)] {
            assert!(!record.fits(&other, WINDOW));
        }
    }

    #[test]
    fn a_record_does_not_fit_a_node_that_accepts_proofs_for_longer() {
        let facts = facts(b'a', b'b', 3);
        assert!(record(1).fits(&facts, WINDOW - Duration::from_millis(1)));
        assert!(!record(1).fits(&facts, WINDOW + Duration::from_millis(1)));
    }

    #[test]
    fn the_begin_is_told_by_the_clock_of_the_node() {
        assert_eq!(record(1000).epoch(250).since, Some(UnixTime::from_millis(1250)));
        assert_eq!(record(1000).epoch(-250).since, Some(UnixTime::from_millis(750)));
        assert_eq!(record(-1).epoch(250).since, None);
        assert_eq!(record(1000).epoch(0).id, EpochId::from_bytes([7; 16]));
    }

    #[test]
    fn the_begin_does_not_flutter_and_follows_a_step_of_a_clock() {
        let first = Known::after(None, record(1000), 0);
        assert_eq!(Known::after(Some(&first), record(1000), 1000).epoch, first.epoch);
        assert_eq!(Known::after(Some(&first), record(1000), 1001).epoch.since, Some(UnixTime::from_millis(2001)));
        assert_eq!(Known::after(Some(&first), record(2000), 1).epoch.since, Some(UnixTime::from_millis(2001)));
    }

    #[test]
    fn other_bytes_are_no_record_and_the_right_ones_are() {
        let good = record(1);
        assert_eq!(Record::read(good.as_bytes()), Some(good));
        let mut newer = good.0;
        newer[0] = 2;
        assert_eq!(Record::read(&newer), None);
        assert_eq!(Record::read(&good.0[1..]), None);
        assert_eq!(Record::read(b""), None);
    }

    fn named(id: u8, since: i64) -> Record {
        let mut bytes = Record::head(&EpochId::from_bytes([id; 16])).to_vec();
        bytes.extend(since.to_be_bytes());
        bytes.extend(Record::tail(&facts(b'a', b'b', 3), WINDOW));
        Record::read(&bytes).unwrap()
    }

    #[test]
    fn the_one_bucket_of_a_single_server_is_the_epoch() {
        assert_eq!(Agreed::new(1).epoch(), None);
        assert_eq!(Agreed::new(1).with(&[(0, named(7, 1000))], 0, 0).epoch(), Some(named(7, 1000).epoch(0)));
    }

    /// R5: any bucket's new record is a new epoch of the whole, which began no earlier than any of them.
    #[test]
    fn the_epoch_of_a_cluster_is_made_of_all_buckets() {
        let partly = Agreed::new(3).with(&[(0, named(1, -1)), (2, named(3, 3000))], 0, 0);
        assert_eq!(partly.epoch(), None, "one bucket is not known");
        let first = partly.clone().with(&[(1, named(2, 2000))], 0, 1);
        let other_node = Agreed::new(3).with(&[(1, named(2, 2000))], 0, 9).with(&[(0, named(1, -1)), (2, named(3, 3000))], 0, 8);
        assert_eq!(first.epoch(), other_node.epoch(), "whatever the order in which they were read");
        assert_eq!(first.epoch().unwrap().since, Some(UnixTime::from_millis(3000)));
        for bucket in 0..3 {
            let moved = first.clone().with(&[(bucket, named(9, 1500))], 0, 0).epoch().unwrap();
            assert_ne!(moved.id, first.epoch().unwrap().id);
        }
        let none = Agreed::new(2).with(&[(0, named(1, -1)), (1, named(2, -1))], 0, 0);
        assert_eq!(none.epoch().unwrap().since, None, "nothing came before any of them");
    }
}
