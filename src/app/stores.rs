//! Opens the stores that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keybound_proofs::{ProofPolicy, UnixTime};

use crate::clock::{Clock, OsEntropy, Stopwatch};
use crate::config::{self, Durability, StoreKind, Topology};
use crate::secret::Secret;
use crate::store::embedded::{self, Embedded, EmbeddedEphemerals, EmbeddedLedger, EmbeddedOptions};
use crate::store::redis::{RedisOptions, RedisStore, SentinelOptions};
use crate::store::{ClientRecords, Ephemerals, Families, ReplayLedger, StoreError, StoreHealth};

/// The open stores, each behind its trait.
pub struct Stores {
    /// Refresh token families.
    pub families: Arc<dyn Families>,
    /// Clients registered at run time.
    pub records: Arc<dyn ClientRecords>,
    /// Sign-ins under way, codes, pushed requests.
    pub ephemerals: Arc<dyn Ephemerals>,
    /// Used proofs.
    pub ledger: Arc<dyn ReplayLedger>,
    /// Used client assertions: with the families, since no nonce ties an assertion to one region.
    pub assertions: Arc<dyn ReplayLedger>,
    /// Whether all of them work.
    pub health: Arc<dyn StoreHealth>,
}

impl Stores {
    /// Everything on one Redis store.
    pub fn on_redis(store: &Arc<RedisStore>) -> Self {
        Self {
            families: store.clone(),
            records: store.clone(),
            ephemerals: store.clone(),
            ledger: store.clone(),
            assertions: store.clone(),
            health: store.clone(),
        }
    }
}

/// The stores, for what only the wiring may do with them.
pub(super) enum Backend {
    Embedded(Arc<EmbeddedLedger>),
    /// The one store, or that of the families and that of the ledger.
    Redis(Vec<Arc<RedisStore>>),
}

impl Backend {
    pub(super) async fn move_epoch(&self, now: UnixTime) -> Result<(), StoreError> {
        match self {
            Self::Embedded(ledger) => {
                ledger.move_epoch(now, &mut OsEntropy);
            }
            Self::Redis(stores) => {
                for store in stores {
                    store.move_epoch().await?;
                }
            }
        }
        Ok(())
    }
}

/// Opens what `config` names. `acceptance_window` is the longest time after its `iat` for which any resource accepts a proof;
/// `first_start` tells that this service never answered before.
pub(super) async fn open(
    config: &config::Store,
    policy: &ProofPolicy,
    acceptance_window: Duration,
    first_start: bool,
    clock: &Arc<dyn Clock>,
) -> Result<(Stores, Backend), StoreError> {
    match config.kind {
        StoreKind::Embedded => {
            let options = EmbeddedOptions {
                ledger_capacity: config.ledger_capacity,
                max_claim_life: acceptance_window + policy.clock_skew + policy.clock_spread,
                acceptance_window,
                ..EmbeddedOptions::default()
            };
            let Embedded { store, ledger, .. } = embedded::open(&config.path, options, clock.now(), &mut OsEntropy)?;
            let stores = Stores {
                families: store.clone(),
                records: store.clone(),
                ephemerals: Arc::new(EmbeddedEphemerals::default()),
                ledger: ledger.clone(),
                assertions: ledger.clone(),
                health: store,
            };
            Ok((stores, Backend::Embedded(ledger)))
        }
        StoreKind::Redis => {
            let min_replicas = if config.durability == Durability::Strict { config.min_replicas } else { 0 };
            let options = RedisOptions {
                key_prefix: config.key_prefix.clone(),
                acceptance_window,
                min_replicas,
                ..servers(&config.urls, config.topology, config.sentinel_master.as_deref())
            };
            let store = connect_patiently(&options, clock, first_start).await?;
            let mut stores = Stores::on_redis(&store);
            let mut all = vec![store];
            if let Some(ledger) = &config.ledger {
                let servers = servers(&ledger.urls, ledger.topology, ledger.sentinel_master.as_deref());
                let options = RedisOptions { key_prefix: ledger.key_prefix.clone(), acceptance_window, ..servers };
                let ledger = connect_patiently(&options, clock, first_start).await?;
                stores.ledger = ledger.clone();
                all.push(ledger);
                stores.health = Arc::new(Together(all.clone()));
            }
            Ok((stores, Backend::Redis(all)))
        }
    }
}

/// Where the servers are. The configuration was checked: there is one, or some members, or the sentinels have a name to ask for.
fn servers(urls: &[Secret<String>], topology: Topology, master: Option<&str>) -> RedisOptions {
    const DEFAULT: &str = "redis://127.0.0.1:6379";
    let sentinel = (topology == Topology::Sentinel).then_some(master).flatten();
    RedisOptions {
        sentinel: sentinel.map(|master| SentinelOptions { urls: urls.to_vec(), master: master.to_owned() }),
        cluster: if topology == Topology::Cluster { urls.to_vec() } else { Vec::new() },
        ..RedisOptions::new(urls.first().map_or(DEFAULT, |url| url.expose().as_str()))
    }
}

/// Waits for a server that is still starting, as after a reboot of both; one that is unfit is refused at once.
async fn connect_patiently(options: &RedisOptions, clock: &Arc<dyn Clock>, first_start: bool) -> Result<Arc<RedisStore>, StoreError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let waiting = Stopwatch::start();
    loop {
        match RedisStore::connect(options.clone(), Arc::clone(clock), first_start, Box::new(OsEntropy)).await {
            Err(StoreError::Unavailable(reason)) if waiting.elapsed() < PATIENCE => {
                tracing::warn!(%reason, "waiting for redis");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Several stores that are of use only together.
struct Together(Vec<Arc<RedisStore>>);

#[async_trait]
impl StoreHealth for Together {
    async fn check(&self) -> Result<(), StoreError> {
        for store in &self.0 {
            store.check().await?;
        }
        Ok(())
    }

    async fn close(&self, now: UnixTime) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        for store in &self.0 {
            outcome = outcome.and(store.close(now).await);
        }
        outcome
    }
}
