//! One shard of the replay ledger: sets of keys, grouped by when they may be forgotten.

use std::time::Duration;

use hashbrown::HashTable;
use keybound_proofs::{ReplayKey, UnixTime};

/// Keys that may all be forgotten at the same instant.
pub(super) struct Bucket {
    /// The instant from which on no key in here is needed.
    pub(super) end: UnixTime,
    /// The keys: 16 bytes each, and one more of the table's own. A table grows at 7/8 load to twice its size, so that a key
    /// costs 39 bytes just after and 19 bytes just before.
    pub(super) keys: HashTable<[u8; ReplayKey::LEN]>,
}

/// The buckets of one shard, a handful: a key is looked for in each of them.
///
/// Aligned so that two shards' locks never share a cache line.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Shard {
    pub(super) buckets: Vec<Bucket>,
}

impl Shard {
    /// Whether `key` is in any bucket.
    pub(super) fn holds(&self, key: &[u8; ReplayKey::LEN], hash: u64) -> bool {
        self.buckets.iter().any(|bucket| bucket.keys.find(hash, |held| held == key).is_some())
    }

    /// Adds `key`, which is in no bucket yet, to the bucket that ends at `end`.
    pub(super) fn insert(&mut self, key: [u8; ReplayKey::LEN], end: UnixTime, mixer: &Mixer) {
        let at = self.buckets.iter().position(|bucket| bucket.end == end).unwrap_or_else(|| {
            self.buckets.push(Bucket { end, keys: HashTable::new() });
            self.buckets.len() - 1
        });
        self.buckets[at].keys.insert_unique(mixer.hash(&key), key, |held| mixer.hash(held));
    }

    /// Forgets all buckets that end at `horizon` or before. Tells how many keys that were, and when the last of them ended.
    pub(super) fn forget(&mut self, horizon: UnixTime) -> (usize, Option<UnixTime>) {
        let (mut keys, mut until) = (0, None);
        self.buckets.retain(|bucket| {
            let over = bucket.end <= horizon;
            if over {
                keys += bucket.keys.len();
                until = until.max(Some(bucket.end));
            }
            !over
        });
        (keys, until)
    }

    /// The bytes that the keys take up, free places included.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.keys.allocation_size() + size_of::<Bucket>()).sum()
    }
}

/// Spreads keys over shards and places, in a way that nobody outside can foresee.
///
/// The keys are digests already, but whoever signs proofs can choose among many: without a secret in the hash they could look
/// for keys that all meet in one place.
#[derive(Clone, Copy)]
pub(super) struct Mixer([u64; 2]);

impl Mixer {
    pub(super) const fn new(secret: [u64; 2]) -> Self {
        Self(secret)
    }

    pub(super) fn hash(&self, key: &[u8; ReplayKey::LEN]) -> u64 {
        let [a, b] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&key[at..at + 8]);
            u64::from_ne_bytes(half)
        });
        let product = u128::from(a ^ self.0[0]) * u128::from(b ^ self.0[1]);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
        let folded = (product as u64) ^ ((product >> 64) as u64);
        folded
    }
}

/// The width of the buckets, and with it when keys are forgotten.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    width_ms: i64,
}

impl Grid {
    /// A key is kept this much longer than it was asked for. Requests read the clock on their own and reach the ledger in any
    /// order, so that `now` trembles; going back by less than this never meets anything that was forgotten.
    pub(super) const GRACE: Duration = Duration::from_secs(2);

    /// Eight buckets per longest life: at most an eighth of what is held is no longer needed.
    pub(super) fn new(max_claim_life: Duration) -> Self {
        Self { width_ms: i64::try_from(max_claim_life.as_millis() / 8).unwrap_or(i64::MAX).max(1_000) }
    }

    /// The end of the bucket for a key that is needed until `expiry`.
    pub(super) fn bucket_end(self, expiry: UnixTime) -> UnixTime {
        self.line(expiry.as_millis().div_euclid(self.width_ms).saturating_add(1))
    }

    /// What may be forgotten at `now`: the buckets that end here or before.
    pub(super) fn horizon(self, now: UnixTime) -> UnixTime {
        self.line(now.minus(Self::GRACE).as_millis().div_euclid(self.width_ms))
    }

    /// When there is more to forget than at `now`.
    pub(super) fn next_sweep(self, now: UnixTime) -> UnixTime {
        self.horizon(now).plus(self.width()).plus(Self::GRACE)
    }

    pub(super) fn width(self) -> Duration {
        Duration::from_millis(self.width_ms.unsigned_abs())
    }

    fn line(self, number: i64) -> UnixTime {
        UnixTime::from_millis(number.saturating_mul(self.width_ms))
    }
}
