//! What happens before a connection is used, and once a second while it is: look at the server, agree on the epoch.

use std::sync::atomic::Ordering;

use keybound_proofs::{Epoch, EpochId, UnixTime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisError, Value};

use super::epoch::{Known, Record};
use super::script::{self, EPOCH};
use super::server::{self, Facts};
use super::wire::{Fault, Lane, Refused, Request, ask};
use super::{Names, Shared, bytes, odd_answer, scan};
use crate::store::StoreError;

/// How often a new epoch is tried for while other nodes try as well.
const ROUNDS: usize = 5;

/// One look at a server.
struct Look {
    facts: Facts,
    /// By how many ms at most this node's clock is ahead of the server's.
    lead_ms: i64,
    /// The epoch record as it is stored; empty where there is none.
    record: Vec<u8>,
}

impl Shared {
    /// Makes a connection and does the handshake on it.
    pub(super) async fn establish(&self, seat: usize, first_start: bool) -> Result<Lane, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.command_timeout));
        let found = self.primary.find().await?;
        let connection = self.primary.connect(&found, &config).await.map_err(refused_connection)?;
        self.settle_epoch(&connection, first_start).await?;
        let mut scripts = Pipeline::new();
        for script in script::ALL {
            scripts.add_command(script.load());
        }
        match ask(&connection, &Request::Pipeline(&scripts)).await {
            // Without the permission to load scripts they are sent in full when they are first needed.
            Ok(_) | Err(Fault::Refused(Refused::Denied)) => {}
            Err(fault) => return Err(fault.into_store_error()),
        }
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        Ok(Lane { seat, serial, connection, address: found.address })
    }

    /// Looks at the server and makes the epoch that this node knows the one that fits it, beginning a new one where none does.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where the server may not be used; the others where it can't be told.
    pub(super) async fn settle_epoch(&self, connection: &MultiplexedConnection, first_start: bool) -> Result<(), StoreError> {
        let _alone = self.settling.lock().await;
        self.settle_alone(connection, first_start).await
    }

    /// The same after a claim found another record than `stale`: where somebody else has settled it meanwhile, that is enough.
    pub(super) async fn settle_after(&self, connection: &MultiplexedConnection, stale: &Record) -> Result<(), StoreError> {
        let _alone = self.settling.lock().await;
        if self.known().is_some_and(|known| known.record != *stale) {
            return Ok(());
        }
        self.settle_alone(connection, false).await
    }

    /// Begins a new epoch although the present one fits.
    pub(super) async fn move_epoch(&self, connection: &MultiplexedConnection) -> Result<Epoch, StoreError> {
        let _alone = self.settling.lock().await;
        let before = self.look(connection).await?;
        let moved = self.replace_epoch(connection, &before, false).await?;
        // Where another node was faster, the epoch has moved all the same.
        let record = Record::read(&moved).ok_or_else(odd_answer)?;
        Ok(self.adopt(record, before.lead_ms).epoch)
    }

    /// The epoch that this node knows, whether or not there is a connection.
    pub(super) fn known(&self) -> Option<Known> {
        *self.epoch.read()
    }

    async fn settle_alone(&self, connection: &MultiplexedConnection, first_start: bool) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            let look = self.look(connection).await?;
            if let Some(record) = Record::read(&look.record).filter(|record| record.fits(&look.facts, self.options.acceptance_window)) {
                self.put_back(connection, &look.facts).await?;
                self.adopt(record, look.lead_ms);
                return Ok(());
            }
            let nothing_before = first_start && look.record.is_empty() && self.holds_nothing(connection).await?;
            let stored = self.replace_epoch(connection, &look, nothing_before).await?;
            if let Some(record) = Record::read(&stored).filter(|record| record.fits(&look.facts, self.options.acceptance_window)) {
                self.put_back(connection, &look.facts).await?;
                self.adopt(record, look.lead_ms);
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("redis: the replay epoch does not come to rest; keys are being evicted".to_owned()))
    }

    async fn look(&self, connection: &MultiplexedConnection) -> Result<Look, StoreError> {
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("INFO");
        questions.cmd("TIME");
        let asked = self.clock.now();
        let answers = ask(connection, &Request::Pipeline(&questions)).await.map_err(Fault::into_store_error)?;
        let answered = self.clock.now();
        let [info, time]: [Value; 2] = answers.try_into().map_err(|_| odd_answer())?;
        let info = bytes(info)?.ok_or_else(odd_answer)?;
        let info = String::from_utf8_lossy(&info);
        let mut facts =
            Facts::read(&info).map_err(|refusal| if server::is_replica(&info) { self.primary.replica(refusal) } else { refusal })?;
        if facts.policy.is_none() {
            facts.policy = policy_from_config(connection).await?;
        }
        server::require_noeviction(facts.policy.as_deref())?;
        let lead_ms = server::clock_lead(instant(time)?, asked, answered)?;
        // Only a server that was found fit is asked for keys: the answer of any other would hide the reason.
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.names.key(Names::EPOCH, b""));
        let mut answers = ask(connection, &Request::Command(&cmd)).await.map_err(Fault::into_store_error)?;
        let record = answers.pop().map_or(Ok(None), bytes)?.unwrap_or_default();
        Ok(Look { facts, lead_ms, record })
    }

    /// Puts a new record in the place of the one seen; returns what is stored afterwards.
    async fn replace_epoch(&self, connection: &MultiplexedConnection, seen: &Look, nothing_before: bool) -> Result<Vec<u8>, StoreError> {
        let mut id = [0; EpochId::LEN];
        self.entropy.lock().fill(&mut id);
        // It only ever grows, so that nodes of two configurations don't take turns in replacing each other's record.
        let known = Record::read(&seen.record).map(|record| record.acceptance_window()).unwrap_or_default();
        let window = known.max(self.options.acceptance_window);
        let (head, tail) = (Record::head(&EpochId::from_bytes(id)), Record::tail(&seen.facts, window));
        let flag: &[u8] = if nothing_before { b"1" } else { b"0" };
        let request =
            Request::Script { script: &EPOCH, key: &self.names.key(Names::EPOCH, b""), args: &[&seen.record, &head, &tail, flag] };
        let mut answers = ask(connection, &request).await.map_err(Fault::into_store_error)?;
        answers.pop().map_or(Ok(None), bytes)?.ok_or_else(odd_answer)
    }

    fn adopt(&self, record: Record, lead_ms: i64) -> Known {
        let mut epoch = self.epoch.write();
        let known = Known::after(epoch.as_ref(), record, lead_ms);
        if epoch.is_some_and(|before| before.epoch.id != known.epoch.id) {
            tracing::warn!("the replay epoch moved: the server may have forgotten used proofs");
        }
        *epoch = Some(known);
        known
    }

    /// Whether the database holds no claim and no family under the prefix. A database too big to tell soon counts as not empty.
    async fn holds_nothing(&self, connection: &MultiplexedConnection) -> Result<bool, StoreError> {
        for kind in [Names::CLAIM, Names::FAMILY] {
            if !scan::finds_none(connection, &self.names.pattern(kind)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// For servers whose `INFO` does not tell the policy.
async fn policy_from_config(connection: &MultiplexedConnection) -> Result<Option<String>, StoreError> {
    let mut cmd = redis::cmd("CONFIG");
    cmd.arg("GET").arg("maxmemory-policy");
    match ask(connection, &Request::Command(&cmd)).await {
        Ok(mut answers) => match answers.pop() {
            Some(Value::Array(mut pair)) => Ok(pair.pop().map_or(Ok(None), bytes)?.map(|text| String::from_utf8_lossy(&text).into_owned())),
            _ => Err(odd_answer()),
        },
        Err(Fault::Refused(_)) => Ok(None),
        Err(fault) => Err(fault.into_store_error()),
    }
}

/// The answer to `TIME`: seconds and microseconds.
fn instant(value: Value) -> Result<UnixTime, StoreError> {
    let number = |value: Value| -> Result<i64, StoreError> {
        let text = bytes(value)?.ok_or_else(odd_answer)?;
        std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or_else(odd_answer)
    };
    let Value::Array(parts) = value else { return Err(odd_answer()) };
    let [seconds, micros]: [Value; 2] = parts.try_into().map_err(|_| odd_answer())?;
    let (seconds, micros) = (number(seconds)?, number(micros)?);
    Ok(UnixTime::from_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
}

/// A connection that could not be made. Names neither the address nor the user.
fn refused_connection(error: RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::AuthenticationFailed => StoreError::Unfit("redis: it refused the user or the password".to_owned()),
        ErrorKind::InvalidClientConfig => StoreError::Unfit("redis: the url can't be used".to_owned()),
        _ if error.is_timeout() => StoreError::Unavailable("redis can't be reached: no connection in time".to_owned()),
        _ if error.is_connection_refusal() => StoreError::Unavailable("redis can't be reached: the connection was refused".to_owned()),
        kind => StoreError::Unavailable(format!("redis can't be reached: {kind:?}")),
    }
}
