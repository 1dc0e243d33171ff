//! Claims, families and client records on one Redis or Valkey server, or on the servers of a cluster, shared by any number of nodes.
//!
//! Keys, each behind the configured prefix; none holds a secret, a token or a raw `jti`:
//!
//! | key | value | lives |
//! |---|---|---|
//! | `rp:` + 16 bytes | the attempt that recorded the claim, 8 bytes | as long as the proof could be accepted |
//! | `f:` + 16 bytes | a family, in the layout of [`record`](crate::store::record) | until it expires, and a minute |
//! | `c:` + `client_id` | a client record | until it is removed |
//! | `e:` + kind + 16 bytes | a sign-in under way, a code, a pushed request | minutes |
//! | `kb:epoch` | the replay epoch of this server's memory | for ever |
//! | `kb:mark` | nothing: written behind a write that waits for replicas | a minute |
//!
//! In a cluster every operation still has one key. Families, clients and short-lived records are where their names put them; claims are
//! spread over 256 buckets by their first byte, and a bucket's claims (`rp:{tag}` + 16 bytes) and its epoch record (`kb:epoch:{tag}`)
//! share a hash tag: see [`names`] and [`epoch`]. Marks are in the slot of the write that they follow (`kb:mark:{tag}`).
//!
//! What is *not* promised: a write that the server acknowledged survives what the server's own persistence survives
//! (`appendfsync everysec`: up to a second is lost with the power). Families heal such a loss by rolling forward and by what each node
//! [remembers](remembered); claims by the epoch, which moves at every restart and failover. Replicas are never read. With `min_replicas` a write of a family, a client or a
//! short-lived record is acknowledged only when as many replicas have it: see [`strict`].
//!
//! The user of the server needs `~rp:* ~f:* ~c:* ~e:* ~kb:*` (each behind the prefix) and `+get +set +mget +del +setrange +pexpire
//! +eval +evalsha +script|load +scan +info +time +ping`, and `+wait` for that, and in a cluster `+cluster|slots +cluster|nodes +asking`; without `script|load` scripts are sent in full when first needed.
//!
//! # The longest time in which an eviction goes unnoticed
//! A flush is noticed by the next claim; a restart or failover by the next connection. An eviction, which `noeviction` rules out,
//! can only happen after somebody changed the policy of the running server; the watch asks once a second.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use keybound_proofs::{Entropy, Epoch, UnixTime};
use parking_lot::{Mutex, RwLock};
use redis::Value;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::secret::Secret;
use crate::store::{StoreError, StoreHealth};
pub use dial::{Dial, Network};
use epoch::Agreed;
use names::Names;
use primary::{Members, Primary};
use remembered::Remembered;
use routes::Routes;
use send::Way;
use shard::Shard;
use wire::Request;

mod clients;
mod dial;
mod ephemerals;
mod epoch;
mod families;
mod handshake;
mod keeper;
mod ledger;
mod map;
mod names;
mod primary;
mod remembered;
mod routes;
mod scan;
mod script;
mod send;
mod server;
mod shard;
mod slot;
mod strict;
mod wire;

/// Where the server is and how long to wait for it. The sum of the waits keeps a refusal within one second.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, or `unix:///path`. Not used where there are sentinels.
    pub url: Secret<String>,
    /// The sentinels that name the primary. Default none.
    pub sentinel: Option<SentinelOptions>,
    /// Members of a cluster, as `redis://[user[:password]@]host[:port]`; the others are found through them, and credentials of the last
    /// one go for all. Default none: no cluster. Else `url` is not used, and there are no sentinels.
    pub cluster: Vec<Secret<String>>,
    /// How many replicas must have a write before it is acknowledged; 0, the default, asks for none. Claims are not waited for: what a
    /// failover loses of them the epoch makes good.
    pub min_replicas: u32,
    /// Put before every key, so that several issuers can share one database. 0 to 32 characters of `A-Z a-z 0-9 . _ : -`.
    pub key_prefix: String,
    /// How long after its `iat` a proof may be accepted ([`ProofPolicy::acceptance_window`](keybound_proofs::ProofPolicy::acceptance_window)).
    /// Default 60 s. A node for which it is longer than for any before it begins a new epoch.
    pub acceptance_window: Duration,
    /// Connections of this node, 1 to 64. Default 2: one for every few worker threads is enough, and a second one is at hand when
    /// the first breaks.
    pub connections: usize,
    /// For making a connection. Default 300 ms.
    pub connect_timeout: Duration,
    /// For one answer. Default 250 ms.
    pub command_timeout: Duration,
    /// For a whole operation with its one repetition. Default 800 ms.
    pub operation_timeout: Duration,
}

/// Sentinels and what they watch.
#[derive(Clone, Debug)]
pub struct SentinelOptions {
    /// The sentinels, as `redis://[user[:password]@]host[:port][/database]`. Credentials and database of the last one are those of the
    /// servers; a sentinel gets the credentials only where it asks for some.
    pub urls: Vec<Secret<String>>,
    /// The name under which they watch the primary.
    pub master: String,
}

impl RedisOptions {
    /// The most characters of a key prefix.
    pub const MAX_PREFIX: usize = 32;

    /// The defaults, for the server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            sentinel: None,
            cluster: Vec::new(),
            min_replicas: 0,
            key_prefix: String::new(),
            acceptance_window: Duration::from_secs(60),
            connections: 2,
            connect_timeout: Duration::from_millis(300),
            command_timeout: Duration::from_millis(250),
            operation_timeout: Duration::from_millis(800),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if self.key_prefix.len() > Self::MAX_PREFIX || !self.key_prefix.bytes().all(plain) {
            return Err(StoreError::Unfit("redis: a key prefix is up to 32 characters of A-Z a-z 0-9 . _ : -".to_owned()));
        }
        if !(1..=64).contains(&self.connections) {
            return Err(StoreError::Unfit("redis: the number of connections is 1 to 64".to_owned()));
        }
        Ok(())
    }
}

/// The store. Make one per process; it keeps its connections by itself until it is closed or dropped.
pub struct RedisStore {
    shared: Arc<Shared>,
    map_keeper: Option<JoinHandle<()>>,
}

/// What the keepers of the connections and the callers of the store have in common.
struct Shared {
    me: Weak<Shared>,
    /// Makes connections.
    dial: Arc<dyn Dial>,
    routes: Routes,
    options: RedisOptions,
    names: Names,
    clock: Arc<dyn Clock>,
    entropy: Mutex<Box<dyn Entropy + Send>>,
    /// What this node wrote lately.
    remembered: Remembered,
    agreed: RwLock<Arc<Agreed>>,
    /// An attempt's number must differ from that of any other attempt on the same key, and need not be secret: it begins at random.
    next_attempt: AtomicU64,
    next_serial: AtomicU64,
    closed: AtomicBool,
}

impl RedisStore {
    /// Connects, looks at the servers, agrees on the replay epoch, and keeps doing so in the background of the calling Tokio runtime.
    /// All primaries of a cluster must be there.
    ///
    /// `first_start` states that this service never answered a request before: only then, and only if the database holds no claim
    /// and no family under the prefix, the epoch begins without a past, and no nonce is demanded. Say `true` only where it is
    /// known from elsewhere (say, because the signing keys were just made): an empty database alone may have been flushed.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] with what to change: address, version (Redis 7.0 or later, Valkey), role, `maxmemory-policy`,
    /// permissions, clock. [`StoreError::Unavailable`] where a server can't be reached or is still loading.
    pub async fn connect(
        options: RedisOptions,
        clock: Arc<dyn Clock>,
        first_start: bool,
        entropy: Box<dyn Entropy + Send>,
    ) -> Result<Arc<Self>, StoreError> {
        Self::connect_through(Arc::new(Network), options, clock, first_start, entropy).await
    }

    /// The same over connections that `dial` makes.
    ///
    /// # Errors
    /// As [`RedisStore::connect`].
    pub async fn connect_through(
        dial: Arc<dyn Dial>,
        options: RedisOptions,
        clock: Arc<dyn Clock>,
        first_start: bool,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Result<Arc<Self>, StoreError> {
        options.check()?;
        let members = if options.cluster.is_empty() { None } else { Some(Members::of(&options.cluster)?) };
        let only = if members.is_none() { Some(Primary::of(&options, &dial)?) } else { None };
        let names = if members.is_some() { Names::in_cluster(&options.key_prefix) } else { Names::new(&options.key_prefix) };
        let mut start = [0; 8];
        entropy.fill(&mut start);
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            dial,
            routes: Routes::new(members),
            agreed: RwLock::new(Arc::new(Agreed::new(names.buckets()))),
            names,
            remembered: Remembered::default(),
            clock,
            entropy: Mutex::new(entropy),
            options,
            next_attempt: AtomicU64::new(u64::from_be_bytes(start)),
            next_serial: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        match only {
            Some(primary) => shared.routes.only(Arc::new(Shard::new(shared.routes.next_number(), primary, None, &shared.options))),
            None => shared.first_map().await?,
        }
        let shards = shared.routes.shards();
        for shard in &shards {
            for seat in 0..shard.lanes.seats() {
                let lane = shared.establish(shard, seat, first_start).await?;
                shard.lanes.publish(lane);
            }
            if let Some(strict) = &shard.strict {
                strict.lanes.publish(shared.establish(shard, 0, false).await?);
            }
        }
        if shared.agreed().epoch().is_none() {
            return Err(StoreError::Unavailable("redis: slots of the cluster are being moved".to_owned()));
        }
        shards.iter().for_each(|shard| shard.keep(&shared));
        let map_keeper = shared.routes.is_cluster().then(|| tokio::spawn(Arc::clone(&shared).keep_map()));
        Ok(Arc::new(Self { shared, map_keeper }))
    }

    /// Begins a new replay epoch on all nodes: for operators, and where a clock was found to have stepped.
    ///
    /// # Errors
    /// [`StoreError`] where it is not known to have begun.
    pub async fn move_epoch(&self) -> Result<Epoch, StoreError> {
        for shard in self.shared.routes.shards() {
            self.shared.move_epoch_of(&shard).await?;
        }
        self.shared.agreed().epoch().ok_or_else(|| StoreError::Unavailable("redis: slots are being moved".to_owned()))
    }
}

#[async_trait]
impl StoreHealth for RedisStore {
    /// Sends `PING` over one of the connections; each of them was found fit within the last second or so. Where writes wait for replicas,
    /// another one waits for them too. In a cluster, more than half of the primaries must answer: where one is away the others go on.
    async fn check(&self) -> Result<(), StoreError> {
        let shards = self.shared.routes.shards();
        let mut trouble = Vec::new();
        for outcome in join_all(shards.iter().map(|shard| self.shared.check(shard))).await {
            trouble.extend(outcome.err());
        }
        match trouble.pop() {
            Some(reason) if (trouble.len() + 1) * 2 >= shards.len() => Err(reason),
            _ if shards.is_empty() => Err(wire::Fault::NoLane.into_store_error()),
            _ => Ok(()),
        }
    }

    /// Nothing is held back in memory, so there is nothing to write. The epoch stays: the claims are on the server.
    async fn close(&self, _now: UnixTime) -> Result<(), StoreError> {
        self.end();
        Ok(())
    }
}

impl RedisStore {
    fn end(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.map_keeper.iter().for_each(JoinHandle::abort);
        self.shared.routes.retire_all(&StoreError::Unavailable("the store was closed".to_owned()));
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// Asks one server, and its replicas where writes wait for them.
    async fn check(&self, shard: &Arc<Shard>) -> Result<(), StoreError> {
        let ping = redis::cmd("PING");
        self.deliver_to(shard, Way::Plain, &Request::Command(&ping)).await?;
        let Some(slot) = self.routes.some_slot_of(shard).filter(|_| shard.strict.is_some()) else { return Ok(()) };
        let mark = self.names.mark(slot);
        self.deliver_to(shard, Way::Durable { mark: &mark }, &Request::Command(&ping)).await.map(|_| ())
    }

    /// A number that no other attempt of this node has.
    fn next_attempt(&self) -> u64 {
        self.next_attempt.fetch_add(1, Ordering::Relaxed)
    }
}

/// The longest lifetime of a key, about 100 years: what is longer would overflow the server's arithmetic.
const LONGEST_TTL_MS: i64 = 100 * 366 * 86_400_000;

/// The server refuses a lifetime of zero, and takes one that is too long for an error.
fn ttl_ms(ms: i64) -> i64 {
    ms.clamp(1, LONGEST_TTL_MS)
}

fn odd_answer() -> StoreError {
    StoreError::Unreadable("redis gave an answer of an unexpected form".to_owned())
}

/// The bytes of a string; `None` for nil.
fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        _ => Err(odd_answer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_prefix_is_taken_and_one_with_pattern_characters_is_refused() {
        for (prefix, good) in [("", true), ("a.b_c:d-9:", true), ("a*", false), ("a b", false), ("[", false)] {
            let options = RedisOptions { key_prefix: prefix.to_owned(), ..RedisOptions::new("redis://127.0.0.1/") };
            assert_eq!(options.check().is_ok(), good, "{prefix}");
        }
        for (length, good) in [(31, true), (32, true), (33, false)] {
            let options = RedisOptions { key_prefix: "p".repeat(length), ..RedisOptions::new("redis://127.0.0.1/") };
            assert_eq!(options.check().is_ok(), good, "{length}");
        }
    }

    #[test]
    fn the_number_of_connections_has_bounds() {
        for (connections, good) in [(0, false), (1, true), (64, true), (65, false)] {
            let options = RedisOptions { connections, ..RedisOptions::new("redis://127.0.0.1/") };
            assert_eq!(options.check().is_ok(), good, "{connections}");
        }
    }

    fn network() -> Arc<dyn Dial> {
        Arc::new(Network)
    }

    /// A2: the url may hold a password.
    #[test]
    fn the_url_is_not_printed() {
        let options = RedisOptions::new("redis://user:hunter2@127.0.0.1:6379/0");
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(Primary::of(&options, &network()).is_ok());
        let broken = Primary::of(&RedisOptions::new("postgres://user:hunter2@127.0.0.1"), &network()).err().expect("refused");
        assert!(!broken.to_string().contains("hunter2"));
    }

    #[test]
    fn lifetimes_stay_within_what_the_server_takes() {
        for (ms, kept) in [(i64::MIN, 1), (0, 1), (1, 1), (2, 2), (LONGEST_TTL_MS + 1, LONGEST_TTL_MS), (i64::MAX, LONGEST_TTL_MS)] {
            assert_eq!(ttl_ms(ms), kept);
        }
    }
}
