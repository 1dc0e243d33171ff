//! Key sets of others (RFC 7517 section 5), kept and refreshed.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::UnixTime;
use moka::future::Cache;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::domain::FetchUrl;
use crate::domain::client::{AssertionAlg, ClientKey, parse_key_set};
use crate::fetch::{FetchError, Fetcher, Reach};

/// Where the keys of someone are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Known from the beginning.
    Inline(Arc<[ClientKey]>),
    /// Published at a URL.
    Published {
        /// The URL.
        url: FetchUrl,
        /// Who wrote it: the operator, or a stranger.
        reach: Reach,
    },
}

/// Fetches key sets and remembers them.
///
/// A set is fresh for as long as its sender says, between [`KeySets::MIN_FRESH`] and [`KeySets::MAX_FRESH`]. A key that is not in a fresh
/// set may have been published since, so it is asked for again, but at most once in [`KeySets::COOLDOWN`] for each URL: a flood of invented
/// `kid`s costs one request, and never the keys that are known. A set that can't be fetched again goes on to be used.
#[derive(Clone)]
pub struct KeySets {
    fetchers: Arc<Fetchers>,
    entries: Cache<(FetchUrl, Reach), Arc<Entry>>,
}

/// Strangers and the operator don't wait for each other.
struct Fetchers {
    strangers: Fetcher,
    local_strangers: Fetcher,
    operator: Fetcher,
}

#[derive(Default)]
struct Entry {
    state: Mutex<State>,
    /// Held by the one task that fetches.
    fetching: AsyncMutex<()>,
}

#[derive(Clone, Debug)]
struct Wanted {
    alg: AssertionAlg,
    kid: Option<String>,
}

impl Wanted {
    fn is(&self, key: &ClientKey) -> bool {
        key.alg() == self.alg && key.answers_to(self.kid.as_deref())
    }
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<[ClientKey]>>,
    fresh_until: Option<UnixTime>,
    last_attempt: Option<UnixTime>,
}

enum Decision {
    Use(Arc<[ClientKey]>),
    Refuse,
    Fetch,
}

impl KeySets {
    /// The shortest time for which a set is fresh.
    pub const MIN_FRESH: Duration = Duration::from_secs(60);

    /// The longest time for which a set is fresh, and the time where its sender says nothing.
    pub const MAX_FRESH: Duration = Duration::from_secs(3600);

    /// The shortest time between two fetches of one set.
    pub const COOLDOWN: Duration = Duration::from_secs(30);

    /// The same, while no set is known at all: a client that starts together with us is not locked out for long.
    pub const COOLDOWN_WHILE_UNKNOWN: Duration = Duration::from_secs(5);

    /// The largest set, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The most keys in one set.
    pub const MAX_KEYS: usize = 64;

    /// How many sets are remembered.
    pub const CAPACITY: u64 = 1000;

    /// Remembers nothing yet.
    pub fn new() -> Self {
        let fetchers = Fetchers {
            strangers: Fetcher::new(Reach::Public),
            local_strangers: Fetcher::new(Reach::PublicOrLoopback),
            operator: Fetcher::new(Reach::Operator),
        };
        let entries = Cache::builder().max_capacity(Self::CAPACITY).time_to_idle(Duration::from_secs(24 * 3600)).build();
        Self { fetchers: Arc::new(fetchers), entries }
    }

    /// The keys of `source` that may have made a signature with `alg` under the name `kid`; none is an answer too.
    ///
    /// # Errors
    /// [`FetchError`] where no set is known and none can be fetched.
    pub async fn candidates(
        &self,
        source: &KeySource,
        alg: AssertionAlg,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<Vec<ClientKey>, FetchError> {
        let wanted = Wanted { alg, kid: kid.map(str::to_owned) };
        let keys = match source {
            KeySource::Inline(keys) => Arc::clone(keys),
            KeySource::Published { url, reach } => self.published(url, *reach, wanted.clone(), now).await?,
        };
        Ok(keys.iter().filter(|key| wanted.is(key)).cloned().collect())
    }

    async fn published(&self, url: &FetchUrl, reach: Reach, wanted: Wanted, now: UnixTime) -> Result<Arc<[ClientKey]>, FetchError> {
        let entry = self.entries.get_with((url.clone(), reach), async { Arc::default() }).await;
        match entry.decide(&wanted, now) {
            Decision::Use(keys) => Ok(keys),
            Decision::Refuse => Err(FetchError::TooSoon),
            Decision::Fetch => {
                // A task of its own: whoever asks and hangs up must not keep the keys from everyone else.
                let fetchers = Arc::clone(&self.fetchers);
                let url = url.clone();
                let task = tokio::spawn(async move { fetchers.refresh(&entry, &url, reach, &wanted, now).await });
                task.await.unwrap_or(Err(FetchError::Unreachable))
            }
        }
    }
}

impl Fetchers {
    async fn refresh(
        &self,
        entry: &Entry,
        url: &FetchUrl,
        reach: Reach,
        wanted: &Wanted,
        now: UnixTime,
    ) -> Result<Arc<[ClientKey]>, FetchError> {
        let _turn = entry.fetching.lock().await;
        // Whoever had the turn before may have fetched what is wanted.
        match entry.decide(wanted, now) {
            Decision::Use(keys) => return Ok(keys),
            Decision::Refuse => return Err(FetchError::TooSoon),
            Decision::Fetch => {}
        }
        entry.state.lock().last_attempt = Some(now);
        let fetched = self.fetch(url, reach).await;
        let known = entry.state.lock().keys.clone();
        match (fetched, known) {
            (Ok((keys, fresh)), _) => {
                *entry.state.lock() = State { keys: Some(Arc::clone(&keys)), fresh_until: Some(now.plus(fresh)), last_attempt: Some(now) };
                Ok(keys)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(%error, url = url.as_str(), "a key set could not be fetched again; the known one is used");
                Ok(known)
            }
            (Err(error), None) => {
                tracing::warn!(%error, url = url.as_str(), "a key set could not be fetched");
                Err(error)
            }
        }
    }

    async fn fetch(&self, url: &FetchUrl, reach: Reach) -> Result<(Arc<[ClientKey]>, Duration), FetchError> {
        let fetcher = match reach {
            Reach::Public => &self.strangers,
            Reach::PublicOrLoopback => &self.local_strangers,
            Reach::Operator => &self.operator,
        };
        let document = fetcher.document(url, KeySets::MAX_BYTES).await?;
        let keys = parse_key_set(&document.members, KeySets::MAX_KEYS).map_err(FetchError::Content)?;
        let fresh = document.max_age.unwrap_or(KeySets::MAX_FRESH).clamp(KeySets::MIN_FRESH, KeySets::MAX_FRESH);
        Ok((keys.into(), fresh))
    }
}

impl Default for KeySets {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for KeySets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySets").field("known", &self.entries.entry_count()).finish_non_exhaustive()
    }
}

impl Entry {
    fn decide(&self, wanted: &Wanted, now: UnixTime) -> Decision {
        let state = self.state.lock();
        let Some(keys) = &state.keys else {
            return if state.is_cooling(KeySets::COOLDOWN_WHILE_UNKNOWN, now) { Decision::Refuse } else { Decision::Fetch };
        };
        let fresh = state.fresh_until.is_some_and(|until| now < until);
        if (fresh && keys.iter().any(|key| wanted.is(key))) || state.is_cooling(KeySets::COOLDOWN, now) {
            Decision::Use(Arc::clone(keys))
        } else {
            Decision::Fetch
        }
    }
}

impl State {
    fn is_cooling(&self, cooldown: Duration, now: UnixTime) -> bool {
        self.last_attempt.is_some_and(|last| now < last.plus(cooldown))
    }
}
