//! What every store must do, as one suite that each backend's tests call.
//!
//! A backend's tests hand [`run`] a function that makes an empty [`Backend`], and run it on a multi-threaded runtime. The parts can
//! also be called one by one: a failure names the row, the seed or the invariant.

pub mod ephemerals;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::Ledger;

use crate::store::{ClientRecords, Families, ReplayLedger};

pub mod claims;
pub mod clients;
pub mod differential;
pub mod invariants;
pub mod races;
pub mod sample;
pub mod table;

/// One empty backend to test.
#[derive(Clone)]
pub struct Backend {
    /// Its families.
    pub families: Arc<dyn Families>,
    /// Its clients.
    pub clients: Arc<dyn ClientRecords>,
    /// Its ledger.
    pub ledger: Arc<dyn ReplayLedger>,
    /// Whose time the ledger goes by.
    pub ledger_time: LedgerTime,
}

impl Backend {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::<dyn ReplayLedger>::clone(&self.ledger)
    }
}

/// By which clock claims are forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LedgerTime {
    /// By the `now` of the claims; the ledger was made for lifetimes of up to `longest`.
    Injected {
        /// The longest lifetime.
        longest: Duration,
    },
    /// By a clock of the backend's own.
    Its,
}

/// Rounds of each race.
pub const ROUNDS: u64 = 200;
/// Sequences of the differential test.
pub const SEQUENCES: u64 = 40;

/// Everything. `make` is called for each part and gives an empty backend each time.
///
/// # Panics
/// Where the backend does not conform.
pub async fn run(make: impl AsyncFn() -> Backend) {
    table::run(&*make().await.families).await;
    table::lists(&*make().await.families).await;
    clients::run(&*make().await.clients).await;

    let backend = make().await;
    claims::run(&backend.ledger()).await;
    claims::recall(&*make().await.ledger).await;
    if let LedgerTime::Injected { longest } = backend.ledger_time {
        claims::run_with_injected_time(&make().await.ledger(), longest).await;
    }
    differential::run(&*make().await.families, SEQUENCES, 1).await;
    races(&make().await, ROUNDS).await;
}

/// The races, `rounds` of each.
///
/// # Panics
/// Where an invariant is broken.
pub async fn races(backend: &Backend, rounds: u64) {
    for round in 0..rounds {
        let held = async {
            races::one_proof_used_by_many(&backend.ledger(), round).await?;
            let family = round * 8;
            races::one_token_presented_by_many(&backend.families, family).await?;
            races::answers_lost_many_times(&backend.families, family + 1, 3).await?;
            races::many_without_the_key(&backend.families, family + 2).await?;
            races::revoked_while_many_refresh(&backend.families, family + 3).await?;
            races::many_changes_of_keys(&backend.families, family + 4).await
        };
        if let Err(violation) = held.await {
            panic!("round {round}: {violation}");
        }
    }
}
