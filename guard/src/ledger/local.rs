//! A replay ledger in the memory of one process.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Entropy, Epoch, EpochId, Ledger, LedgerError, ReplayKey, UnixTime};
use sha2::{Digest as _, Sha256};

/// Remembers used proofs in memory, each for as long as it could still be accepted and never shorter. 40 to 80 bytes each.
///
/// At capacity it refuses: it never forgets one proof to make room for another. Where the clock goes back to before something that was
/// forgotten, the epoch moves, and every proof needs a nonce for a while (R5).
pub struct LocalLedger {
    state: Mutex<State>,
    capacity: usize,
}

struct State {
    epoch: Epoch,
    /// From which the names of later epochs are made.
    seed: [u8; 32],
    held: HashSet<ReplayKey>,
    /// What may be forgotten when, in whole seconds since 1970, rounded up.
    ends: BTreeMap<i64, Vec<ReplayKey>>,
    /// The end of the latest claim that was forgotten in this epoch.
    forgotten_until: UnixTime,
}

impl LocalLedger {
    /// An empty ledger for at most `capacity` live proofs: calls per second times 76, and room to spare.
    ///
    /// What an earlier process has seen is not known here, so an epoch begins at `now`: proofs from before need a nonce of this process.
    pub fn new(capacity: usize, now: UnixTime, entropy: &mut dyn Entropy) -> Self {
        Self::begin(capacity, Some(now), entropy)
    }

    /// The same, where no earlier process ever accepted proofs for this API: no nonces are needed at first. For tests.
    pub fn without_a_past(capacity: usize, entropy: &mut dyn Entropy) -> Self {
        Self::begin(capacity, None, entropy)
    }

    fn begin(capacity: usize, since: Option<UnixTime>, entropy: &mut dyn Entropy) -> Self {
        let mut seed = [0; 32];
        entropy.fill(&mut seed);
        let mut state = State {
            epoch: Epoch { id: EpochId::from_bytes([0; EpochId::LEN]), since },
            seed,
            held: HashSet::new(),
            ends: BTreeMap::new(),
            forgotten_until: UnixTime::from_millis(i64::MIN),
        };
        state.rename();
        Self { state: Mutex::new(state), capacity }
    }

    /// How many live proofs are held.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] after a panic in this ledger.
    pub fn held(&self) -> Result<usize, LedgerError> {
        Ok(self.state()?.held.len())
    }

    fn record(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        let mut state = self.state()?;
        if now < state.forgotten_until {
            state.epoch.since = Some(state.forgotten_until);
            state.forgotten_until = UnixTime::from_millis(i64::MIN);
            state.rename();
        }
        if state.epoch.id != claim.epoch {
            return Err(LedgerError::EpochMoved);
        }
        state.forget(now);
        if state.held.contains(&claim.key) {
            return Ok(ClaimAnswer::Seen);
        }
        if state.held.len() >= self.capacity {
            return Err(LedgerError::AtCapacity);
        }
        state.held.insert(claim.key);
        let end = now.plus(claim.ttl).as_secs().saturating_add(1);
        state.ends.entry(end).or_default().push(claim.key);
        Ok(ClaimAnswer::First)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, LedgerError> {
        self.state.lock().map_err(|_| LedgerError::Unavailable)
    }
}

impl Ledger for LocalLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        Ok(self.state()?.epoch)
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(std::future::ready(self.record(claim, now)))
    }
}

impl State {
    fn forget(&mut self, now: UnixTime) {
        while let Some(bucket) = self.ends.first_entry().filter(|bucket| UnixTime::from_secs(*bucket.key()) <= now) {
            self.forgotten_until = self.forgotten_until.max(UnixTime::from_secs(*bucket.key()));
            for key in bucket.remove() {
                self.held.remove(&key);
            }
        }
    }

    fn rename(&mut self) {
        self.seed = Sha256::digest(self.seed).into();
        let digest: [u8; 32] = Sha256::new().chain_update(b"epoch").chain_update(self.seed).finalize().into();
        let mut id = [0; EpochId::LEN];
        id.copy_from_slice(&digest[..EpochId::LEN]);
        self.epoch.id = EpochId::from_bytes(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testkit::Counting;

    fn at(millis: i64) -> UnixTime {
        UnixTime::from_millis(1_700_000_000_000 + millis)
    }

    fn claim(ledger: &LocalLedger, name: u8, ttl_ms: u64) -> Claim {
        let epoch = ledger.epoch().expect("an epoch").id;
        Claim { key: ReplayKey::from_bytes([name; 16]), ttl: Duration::from_millis(ttl_ms), epoch }
    }

    /// R1, REP-01
    #[test]
    fn a_claim_is_first_once_and_seen_until_its_time_is_over() {
        let ledger = LocalLedger::without_a_past(10, &mut Counting::default());
        let proof = claim(&ledger, 1, 10_000);
        assert_eq!(ledger.record(&proof, at(0)), Ok(ClaimAnswer::First));
        for millis in [0, 1, 9_999, 10_000] {
            assert_eq!(ledger.record(&proof, at(millis)), Ok(ClaimAnswer::Seen), "{millis}");
        }
        assert_eq!(ledger.record(&claim(&ledger, 2, 10_000), at(0)), Ok(ClaimAnswer::First));
        assert_eq!(ledger.record(&proof, at(12_000)), Ok(ClaimAnswer::First), "nobody accepts it any more");
    }

    /// R6
    #[test]
    fn at_capacity_it_refuses_and_forgets_nothing() {
        let ledger = LocalLedger::without_a_past(2, &mut Counting::default());
        let [a, b, c] = [1, 2, 3].map(|name| claim(&ledger, name, 10_000));
        assert_eq!(ledger.record(&a, at(0)), Ok(ClaimAnswer::First));
        assert_eq!(ledger.record(&b, at(0)), Ok(ClaimAnswer::First));
        assert_eq!(ledger.record(&c, at(0)), Err(LedgerError::AtCapacity));
        assert_eq!(ledger.record(&a, at(1)), Ok(ClaimAnswer::Seen));
        assert_eq!(ledger.record(&c, at(12_000)), Ok(ClaimAnswer::First), "time has made room");
        assert_eq!(ledger.held(), Ok(1));
    }

    /// R5
    #[test]
    fn a_clock_that_goes_back_past_what_was_forgotten_begins_a_new_epoch() {
        let ledger = LocalLedger::without_a_past(10, &mut Counting::default());
        let old = claim(&ledger, 1, 10_000);
        assert_eq!(ledger.record(&old, at(0)), Ok(ClaimAnswer::First));
        assert_eq!(ledger.record(&claim(&ledger, 2, 10_000), at(12_000)), Ok(ClaimAnswer::First));
        assert_eq!(ledger.record(&old, at(5_000)), Err(LedgerError::EpochMoved));
        let epoch = ledger.epoch().expect("an epoch");
        assert!(epoch.id != old.epoch && epoch.demands_nonce(at(5_000), Duration::from_secs(75)));
        assert_eq!(ledger.record(&claim(&ledger, 3, 10_000), at(5_000)), Ok(ClaimAnswer::First));
    }

    /// R5
    #[test]
    fn a_ledger_with_a_past_demands_nonces_at_first() {
        let window = Duration::from_secs(75);
        let epoch = LocalLedger::new(10, at(0), &mut Counting::default()).epoch().expect("an epoch");
        assert!(epoch.demands_nonce(at(75_000), window) && !epoch.demands_nonce(at(75_001), window));
        let epoch = LocalLedger::without_a_past(10, &mut Counting::default()).epoch().expect("an epoch");
        assert!(!epoch.demands_nonce(at(0), window));
    }
}
