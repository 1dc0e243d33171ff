//! The embedded store: one directory, one process, nothing else to run.
//!
//! Families and clients live in `families.redb`, a crash-safe file with a version: what was answered survives `kill -9` and
//! power loss. The replay ledger lives in memory: after a restart it has forgotten everything, so each start begins a new epoch
//! and demands nonces for a while. A first start has nothing to forget. A clean stop leaves the ledger in `ledger.clean` for the
//! next start to load and delete; leave that file out of backups.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{Entropy, Epoch, UnixTime};

use crate::store::StoreError;

mod clean_stop;
mod directory;
mod ephemerals;
mod ledger;
mod shard;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod writer;

pub use ephemerals::EmbeddedEphemerals;
pub use ledger::{EmbeddedLedger, LedgerUsage};
pub use store::EmbeddedStore;

/// How the embedded store uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// The most claims that the replay ledger holds, 4 million by default: beyond it new proofs are refused, and none is forgotten.
    /// That is 256 MB at most, and at 60,000 proofs a second it takes a minute to fill.
    pub ledger_capacity: usize,
    /// The longest that a claim is asked to be remembered; 120 s by default. With longer ones the ledger works as well, but it
    /// keeps them no more tightly than an eighth of this.
    pub max_claim_life: Duration,
    /// How long after its `iat` a proof may be accepted ([`ProofPolicy::acceptance_window`](keybound_proofs::ProofPolicy::acceptance_window));
    /// 60 s by default. Where it has grown since the last run, a new epoch begins: claims were remembered for less.
    pub acceptance_window: Duration,
    /// Memory for pages of the file, in bytes; 32 MiB by default.
    pub cache_bytes: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            ledger_capacity: 4_000_000,
            max_claim_life: Duration::from_secs(120),
            acceptance_window: Duration::from_secs(60),
            cache_bytes: 32 << 20,
        }
    }
}

/// An opened embedded store.
pub struct Embedded {
    /// Families, clients and health.
    pub store: Arc<EmbeddedStore>,
    /// The replay ledger.
    pub ledger: Arc<EmbeddedLedger>,
    /// The directory held no store before.
    pub first_start: bool,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("first_start", &self.first_start).finish_non_exhaustive()
    }
}

/// Opens the store in the directory `path`, which is created with mode 0700 where it is missing.
///
/// # Errors
/// [`StoreError::Unfit`] where another process has it open or a newer version wrote it, [`StoreError::Unreadable`] where its file
/// is damaged, [`StoreError::Unavailable`] where the directory can't be used.
pub fn open(path: &Path, options: EmbeddedOptions, now: UnixTime, entropy: &mut dyn Entropy) -> Result<Embedded, StoreError> {
    let unusable = |error| writer::io_error("its directory can't be used", &error);
    directory::ensure(path).map_err(unusable)?;
    let file = path.join("families.redb");
    drop(directory::ensure_file(&file).map_err(unusable)?);
    directory::sync(path).map_err(unusable)?;

    let reopen: writer::Open = Box::new(move || tables::open_file(&file, options.cache_bytes));
    // From here on the directory is locked.
    let database = reopen().map_err(tables::Fault::Storage)?;
    let tables::Opened { is_new, high_water } = tables::prepare(&database)?;

    let found = clean_stop::take(path).map_err(unusable)?;
    let (first_start, start) = match found {
        clean_stop::Found::Nothing if is_new => (true, Start::Fresh { since: None }),
        clean_stop::Found::Memory(memory) if memory.acceptance_window >= options.acceptance_window => (is_new, Start::Resumed(memory)),
        // What earlier clocks said counts as well: a proof of then must not become acceptable again.
        clean_stop::Found::Nothing | clean_stop::Found::Unusable | clean_stop::Found::Memory(_) => {
            (is_new, Start::Fresh { since: Some(now.max(high_water)) })
        }
    };
    let ledger = Arc::new(match start {
        Start::Fresh { since } => {
            let epoch = Epoch { id: ledger::random_epoch(entropy), since };
            EmbeddedLedger::new(options.ledger_capacity, options.max_claim_life, epoch, entropy)
        }
        Start::Resumed(memory) => EmbeddedLedger::resume(options.ledger_capacity, options.max_claim_life, memory, entropy),
    });
    let store = EmbeddedStore::start(database, reopen, path, ledger.clone(), high_water, options.acceptance_window)?;
    Ok(Embedded { store: Arc::new(store), ledger, first_start })
}

/// How the ledger begins.
enum Start {
    Fresh { since: Option<UnixTime> },
    Resumed(clean_stop::Memory),
}
