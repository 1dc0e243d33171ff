//! A replay ledger that several processes share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Entropy, Epoch, EpochId, Ledger, LedgerError, UnixTime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

/// Remembers used proofs in one Redis, 7.0 or newer, a primary with `maxmemory-policy noeviction`.
///
/// A claim is `SET prefix:rp:<16 bytes> <attempt> NX GET PX <ttl>`, and behind it the epoch record is read: if that is still the one
/// under which the proof was judged, nothing was forgotten. A flush, a restart, a failover to another server: each begins a new epoch, on
/// which all processes agree. A lost answer is asked for once more under the same attempt; after that the answer is unknown, which is an
/// error and never "first".
///
/// It does NOT notice a server that throws keys out, which is why it refuses to use one that may.
pub struct RedisLedger {
    client: Client,
    prefix: String,
    link: Mutex<Option<MultiplexedConnection>>,
    known: RwLock<Record>,
    attempts: AtomicU64,
    seed: [u8; 32],
}

/// The epoch as it stands in Redis: 16 bytes name, 40 bytes run id of the server, 8 bytes ms since 1970.
#[derive(Clone, PartialEq, Eq)]
struct Record(Vec<u8>);

impl RedisLedger {
    /// Connects to `redis://host:port`; every key begins with `prefix`.
    ///
    /// # Errors
    /// [`RedisTrouble`]: a server that can't be reached now, or may not be relied on.
    pub async fn connect(url: &str, prefix: &str, now: UnixTime, entropy: &mut dyn Entropy) -> Result<Self, RedisTrouble> {
        let client = Client::open(url)?;
        let (mut seed, mut first_attempt) = ([0; 32], [0; 8]);
        entropy.fill(&mut seed);
        entropy.fill(&mut first_attempt);
        let ledger = Self {
            client,
            prefix: prefix.to_owned(),
            link: Mutex::new(None),
            known: RwLock::new(Record(Vec::new())),
            attempts: AtomicU64::new(u64::from_be_bytes(first_attempt)),
            seed,
        };
        let link = ledger.open(now).await?;
        *ledger.link.lock().await = Some(link);
        Ok(ledger)
    }

    async fn record(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        match self.attempt(claim, &attempt, now).await {
            Ok(answer) => answer,
            // The same attempt once more, over a new connection: finding it there means that the first try arrived.
            Err(Lost) => self.attempt(claim, &attempt, now).await.unwrap_or(Err(LedgerError::Unavailable)),
        }
    }

    async fn attempt(&self, claim: &Claim, attempt: &[u8; 8], now: UnixTime) -> Result<Result<ClaimAnswer, LedgerError>, Lost> {
        let mut link = self.connection(now).await?;
        let judged = self.known();
        if judged.epoch().is_none_or(|epoch| epoch.id != claim.epoch) {
            return Ok(Err(LedgerError::EpochMoved));
        }
        let mut key = format!("{}:rp:", self.prefix).into_bytes();
        key.extend_from_slice(claim.key.as_bytes());
        let ttl = u64::try_from(claim.ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1);
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("SET").arg(key).arg(&attempt[..]).arg("NX").arg("GET").arg("PX").arg(ttl);
        commands.cmd("GET").arg(self.epoch_key());
        let (before, record) = match link.send_packed_commands(&commands, 0, 2).await.map(<[Value; 2]>::try_from) {
            Ok(Ok([Value::ServerError(error), _])) if error.code() == "OOM" => return Ok(Err(LedgerError::AtCapacity)),
            Ok(Ok([before, record])) => (text(before), text(record)),
            _ => (Err(Lost), Err(Lost)),
        };
        let (Ok(before), Ok(record)) = (before, record) else {
            // No answer, or one that only a server gives that is none of ours any more.
            *self.link.lock().await = None;
            return Err(Lost);
        };
        if record.as_deref() != Some(&judged.0[..]) {
            self.settle(&mut link, now).await.map_err(|_| Lost)?;
            return Ok(Err(LedgerError::EpochMoved));
        }
        let first = before.is_none_or(|before| before == attempt);
        Ok(Ok(if first { ClaimAnswer::First } else { ClaimAnswer::Seen }))
    }

    /// The open connection, or a new one.
    async fn connection(&self, now: UnixTime) -> Result<MultiplexedConnection, Lost> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(link.clone());
        }
        let opened = self.open(now).await.map_err(|error| {
            tracing::warn!(%error, "the ledger of used proofs can't be reached");
            Lost
        })?;
        *link = Some(opened.clone());
        Ok(opened)
    }

    async fn open(&self, now: UnixTime) -> Result<MultiplexedConnection, RedisTrouble> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(ANSWER_TIMEOUT));
        let mut link = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.settle(&mut link, now).await?;
        Ok(link)
    }

    /// Checks the server and agrees on the epoch: the one on record, if this very server has kept it, else a new one.
    async fn settle(&self, link: &mut MultiplexedConnection, now: UnixTime) -> Result<(), RedisTrouble> {
        let info: String = Cmd::new().arg("INFO").arg("everything").query_async(link).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end);
        if field("role") != Some("master") {
            return Err(RedisTrouble::Unfit("it is no primary"));
        }
        if field("maxmemory_policy") != Some("noeviction") {
            return Err(RedisTrouble::Unfit("its maxmemory-policy is not noeviction, so it may forget used proofs"));
        }
        let run_id = field("run_id").filter(|id| id.len() == RUN_ID_LEN).ok_or(RedisTrouble::Unfit("it does not tell its run id"))?;
        let number = self.attempts.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let name = Sha256::new().chain_update(self.seed).chain_update(number).finalize();
        let mut command = Cmd::new();
        command.arg("EVAL").arg(AGREE).arg(1).arg(self.epoch_key()).arg(&name[..EpochId::LEN]).arg(run_id);
        command.arg(&now.as_millis().to_be_bytes()[..]);
        let record = Record(command.query_async(link).await?);
        if record.epoch().is_none() {
            return Err(RedisTrouble::Unfit("its epoch record is not one"));
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = record;
        Ok(())
    }

    fn known(&self) -> Record {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn epoch_key(&self) -> String {
        format!("{}:epoch", self.prefix)
    }
}

impl Ledger for RedisLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        self.known().epoch().ok_or(LedgerError::Unavailable)
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(self.record(claim, now))
    }
}

impl Record {
    fn epoch(&self) -> Option<Epoch> {
        let (id, rest) = self.0.split_first_chunk()?;
        let since = i64::from_be_bytes(rest.get(RUN_ID_LEN..)?.try_into().ok()?);
        Some(Epoch { id: EpochId::from_bytes(*id), since: Some(UnixTime::from_millis(since)) })
    }
}

/// A string, or its absence.
fn text(value: Value) -> Result<Option<Vec<u8>>, Lost> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(Lost),
    }
}

/// What became of a question is not known.
struct Lost;

/// Why a Redis can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisTrouble {
    /// It can't be reached, or does not answer.
    #[error("the Redis of used proofs does not answer: {0}")]
    Connection(#[from] RedisError),
    /// It may not be relied on.
    #[error("the Redis of used proofs can't be used: {0}")]
    Unfit(&'static str),
}

/// The length of a run id, in characters.
const RUN_ID_LEN: usize = 40;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

/// Two tries and a connection between them stay below the second after which a client is told to come again.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// KEYS[1] the epoch record; ARGV[1] a new name, ARGV[2] the server's run id, ARGV[3] the instant. Keeps a record that this server has
/// written itself, and otherwise writes a new one: what another server knew may be lost. Returns the record as it then stands.
const AGREE: &str = "local seen = redis.call('GET', KEYS[1])
if seen and string.len(seen) == 64 and string.sub(seen, 17, 56) == ARGV[2] then return seen end
local record = ARGV[1] .. ARGV[2] .. ARGV[3]
redis.call('SET', KEYS[1], record)
return record";
