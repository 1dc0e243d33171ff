//! The replay ledger in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Entropy, Epoch, EpochId, Ledger, LedgerError, ReplayKey, UnixTime};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use sha2::{Digest as _, Sha256};

use super::clean_stop::Memory;
use super::shard::{Bucket, Grid, Mixer, Shard};
use crate::store::ReplayLedger;

/// Remembers used proofs in memory: at most 64 bytes for each that could still be accepted.
///
/// A claim is forgotten only when its time is over, never to make room: at capacity new claims are refused (R6). Time is what
/// the callers say it is. Where it goes back to before something that was forgotten, the epoch moves by itself, so that what was
/// forgotten can't be accepted again (R1, R5).
///
/// It does NOT notice a clock that jumps forward: nothing is forgotten early by the clock that judges the proofs, but other
/// clocks may disagree. Whoever watches the clock calls [`EmbeddedLedger::move_epoch`].
pub struct EmbeddedLedger {
    /// Read by every claim for as long as it takes; written to forget, to move the epoch and to stop. So a claim is recorded
    /// in the epoch that it was judged under, or it is refused.
    state: RwLock<State>,
    shards: Box<[Mutex<Shard>]>,
    held: AtomicUsize,
    capacity: usize,
    grid: Grid,
    mixer: Mixer,
}

/// How full the ledger is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerUsage {
    /// Claims that are held.
    pub claims: usize,
    /// Claims that can be held.
    pub capacity: usize,
    /// Bytes that the claims take up.
    pub bytes: usize,
}

struct State {
    epoch: Epoch,
    stopped: bool,
    /// The end of the latest bucket that was forgotten in this epoch. At an earlier instant something may be missing.
    forgotten_until: UnixTime,
    next_sweep: UnixTime,
    /// From which the names of epochs are derived that begin without anybody to bring entropy.
    chain: [u8; 32],
}

impl EmbeddedLedger {
    /// Shards, so that claims rarely wait for each other.
    const SHARDS: usize = 64;

    /// An empty ledger that begins in `epoch`.
    ///
    /// `capacity` is in claims; `max_claim_life` is the longest `ttl` expected: longer ones are honoured, at a cost in memory.
    pub fn new(capacity: usize, max_claim_life: Duration, epoch: Epoch, entropy: &mut dyn Entropy) -> Self {
        let (mut chain, mut secret) = ([0; 32], [[0; 8]; 2]);
        entropy.fill(&mut chain);
        secret.iter_mut().for_each(|half| entropy.fill(half));
        let state = State { epoch, stopped: false, forgotten_until: NEVER, next_sweep: NEVER, chain };
        Self {
            state: RwLock::new(state),
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            held: AtomicUsize::new(0),
            capacity,
            grid: Grid::new(max_claim_life),
            mixer: Mixer::new(secret.map(u64::from_ne_bytes)),
        }
    }

    /// Begins a new epoch: because the clock was stepped, because an operator asks for it, or because claims may have been lost.
    pub fn move_epoch(&self, now: UnixTime, entropy: &mut dyn Entropy) -> Epoch {
        let mut state = self.state.write();
        let id = random_epoch(entropy);
        state.begin(id, now);
        state.next_sweep = self.grid.next_sweep(now);
        state.epoch
    }

    /// How full it is. Looks at every shard: for metrics, not for every request.
    pub fn usage(&self) -> LedgerUsage {
        let bytes = self.shards.iter().map(|shard| shard.lock().bytes()).sum::<usize>() + size_of::<Shard>() * Self::SHARDS;
        LedgerUsage { claims: self.held.load(Ordering::Relaxed), capacity: self.capacity, bytes }
    }

    /// A ledger that goes on where a clean stop left off. What is held may exceed `capacity`: then nothing is added until time
    /// has made room.
    pub(super) fn resume(capacity: usize, max_claim_life: Duration, memory: Memory, entropy: &mut dyn Entropy) -> Self {
        let ledger = Self::new(capacity, max_claim_life, memory.epoch, entropy);
        ledger.state.write().forgotten_until = memory.forgotten_until;
        for (end, keys) in memory.buckets {
            ledger.held.fetch_add(keys.len(), Ordering::Relaxed);
            for key in keys {
                let (shard, _) = ledger.shard_of(&key);
                shard.lock().insert(key, end, &ledger.mixer);
            }
        }
        ledger
    }

    /// Ends it: every later claim is refused. Hands out what it remembers.
    pub(super) fn stop(&self, now: UnixTime) -> Stopped {
        let mut state = self.state.write();
        self.keep_up(&mut state, now);
        state.stopped = true;
        let buckets = self.shards.iter().flat_map(|shard| std::mem::take(&mut shard.lock().buckets)).collect();
        Stopped { epoch: state.epoch, forgotten_until: state.forgotten_until, buckets }
    }

    fn record(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        let state = self.state_at(now);
        state.judged(claim)?;
        let (shard, hash) = self.shard_of(claim.key.as_bytes());
        let mut shard = shard.lock();
        if shard.holds(claim.key.as_bytes(), hash) {
            return Ok(ClaimAnswer::Seen);
        }
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return Err(LedgerError::AtCapacity);
        }
        shard.insert(*claim.key.as_bytes(), self.grid.bucket_end(now.plus(claim.ttl)), &self.mixer);
        Ok(ClaimAnswer::First)
    }

    fn look_up(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        let state = self.state_at(now);
        state.judged(claim)?;
        let (shard, hash) = self.shard_of(claim.key.as_bytes());
        let seen = shard.lock().holds(claim.key.as_bytes(), hash);
        Ok(if seen { ClaimAnswer::Seen } else { ClaimAnswer::First })
    }

    /// The state, after everything that `now` demands was done.
    fn state_at(&self, now: UnixTime) -> RwLockReadGuard<'_, State> {
        let state = self.state.read();
        if !self.is_behind(&state, now) {
            return state;
        }
        drop(state);
        let mut state = self.state.write();
        self.keep_up(&mut state, now);
        RwLockWriteGuard::downgrade(state)
    }

    fn is_behind(&self, state: &State, now: UnixTime) -> bool {
        now < state.forgotten_until
            || now >= state.next_sweep
            // After a step back of the clock the next sweep would be too far away, and the ledger would fill up.
            || now.plus(self.grid.width() * 2).plus(Grid::GRACE) < state.next_sweep
    }

    fn keep_up(&self, state: &mut State, now: UnixTime) {
        if !self.is_behind(state, now) {
            return;
        }
        if now < state.forgotten_until {
            let id = state.derive_epoch();
            state.begin(id, now);
        }
        let horizon = self.grid.horizon(now);
        for shard in &self.shards {
            let (keys, until) = shard.lock().forget(horizon);
            self.held.fetch_sub(keys, Ordering::Relaxed);
            state.forgotten_until = state.forgotten_until.max(until.unwrap_or(NEVER));
        }
        state.next_sweep = self.grid.next_sweep(now);
    }

    fn shard_of(&self, key: &[u8; ReplayKey::LEN]) -> (&Mutex<Shard>, u64) {
        let hash = self.mixer.hash(key);
        // Bits that the table itself looks at last: it takes its place from the lowest and its tag from the highest ones.
        let number = (hash >> 48) as usize % Self::SHARDS;
        (&self.shards[number], hash)
    }
}

impl Ledger for EmbeddedLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        let state = self.state.read();
        if state.stopped { Err(LedgerError::Unavailable) } else { Ok(state.epoch) }
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        // Nothing here waits for anything but a short lock: the answer is there at once.
        Box::pin(std::future::ready(self.record(claim, now)))
    }
}

impl ReplayLedger for EmbeddedLedger {
    fn recall<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(std::future::ready(self.look_up(claim, now)))
    }
}

impl State {
    /// Whether the claim was judged under the epoch in force.
    fn judged(&self, claim: &Claim) -> Result<(), LedgerError> {
        match self.stopped {
            true => Err(LedgerError::Unavailable),
            false if self.epoch.id != claim.epoch => Err(LedgerError::EpochMoved),
            false => Ok(()),
        }
    }

    /// Begins the epoch `id`. Its start never lies before the end of anything that was forgotten, nor before the start of the
    /// epoch before it: a clock that went back can't shorten the time for which nonces are demanded.
    fn begin(&mut self, id: EpochId, now: UnixTime) {
        let since = now.max(self.forgotten_until).max(self.epoch.since.unwrap_or(NEVER));
        self.epoch = Epoch { id, since: Some(since) };
        self.forgotten_until = NEVER;
    }

    fn derive_epoch(&mut self) -> EpochId {
        self.chain = Sha256::new().chain_update(b"keybound embedded epoch").chain_update(self.chain).finalize().into();
        let mut id = [0; EpochId::LEN];
        // The name is a digest of what the next name is derived from, so that it tells nothing about it.
        id.copy_from_slice(&Sha256::digest(self.chain)[..EpochId::LEN]);
        EpochId::from_bytes(id)
    }
}

/// What a ledger remembered when it was stopped.
pub(super) struct Stopped {
    pub(super) epoch: Epoch,
    pub(super) forgotten_until: UnixTime,
    pub(super) buckets: Vec<Bucket>,
}

/// A new name for an epoch.
pub(super) fn random_epoch(entropy: &mut dyn Entropy) -> EpochId {
    let mut id = [0; EpochId::LEN];
    entropy.fill(&mut id);
    EpochId::from_bytes(id)
}

/// Before every instant.
const NEVER: UnixTime = UnixTime::from_millis(i64::MIN);
