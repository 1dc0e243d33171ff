//! What happens before a connection is used, and once a second while it is: look at the server, agree on the epoch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keybound_proofs::{EpochId, UnixTime};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Pipeline, RedisError, Value};
use tokio::time::timeout;

use super::epoch::{Agreed, Held, Record};
use super::names::Names;
use super::primary::Address;
use super::script::{self, EPOCH};
use super::server::{self, Facts};
use super::shard::Shard;
use super::wire::{Fault, Lane, Refused, Request, ask, ask_each};
use super::{Shared, bytes, odd_answer, scan};
use crate::store::StoreError;

/// How often a new epoch is tried for while other nodes try as well.
const ROUNDS: usize = 5;

/// How long after all records of a server in a cluster were read its keepers leave them alone, as long as it says the same of itself:
/// so they are read about once a second, not once by each connection.
const RECORDS_FRESH: Duration = Duration::from_millis(900);

/// One look at a server.
struct Look {
    facts: Facts,
    /// By how many ms at most this node's clock is ahead of the server's.
    lead_ms: i64,
    at: UnixTime,
}

/// The epoch record of one bucket.
enum Stored {
    /// As it is stored; empty where there is none.
    Here(Vec<u8>),
    /// The slot is moving, and the record is at the other server already.
    Moving(Address),
    /// Another server has the slot: this node's map is out of date.
    Gone,
}

impl Shared {
    /// Makes a connection and does the handshake on it.
    pub(super) async fn establish(&self, shard: &Shard, seat: usize, first_start: bool) -> Result<Lane, StoreError> {
        let found = shard.primary.find().await?;
        let connection = self.connection(&found.client).await?;
        self.settle_epoch(shard, &connection, first_start).await?;
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

    /// A connection that was not looked at yet.
    pub(super) async fn connection(&self, client: &Client) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.command_timeout));
        self.dial.dial(client, &config).await.map_err(refused_connection)
    }

    /// Looks at the server and makes the epoch that this node knows the one that fits it, beginning a new one where none does.
    ///
    /// # Errors
    /// [`StoreError::Unfit`] where the server may not be used; the others where it can't be told.
    pub(super) async fn settle_epoch(
        &self,
        shard: &Shard,
        connection: &MultiplexedConnection,
        first_start: bool,
    ) -> Result<(), StoreError> {
        let _alone = shard.settling.lock().await;
        self.settle_alone(shard, connection, first_start, false).await
    }

    /// The same after a claim found another record in its bucket than `stale`, or that none was settled with this server: where somebody
    /// else has settled it meanwhile, that is enough.
    pub(super) async fn settle_after(
        &self,
        shard: &Shard,
        connection: &MultiplexedConnection,
        bucket: usize,
        stale: Option<&Held>,
    ) -> Result<(), StoreError> {
        let _alone = shard.settling.lock().await;
        if self.agreed().bucket(bucket).is_some_and(|held| held.shard == shard.number && Some(&held) != stale) {
            return Ok(());
        }
        self.settle_alone(shard, connection, false, true).await
    }

    /// Begins a new epoch on this server although the present one fits.
    pub(super) async fn move_epoch_of(&self, shard: &Shard) -> Result<(), StoreError> {
        let lane = shard.lanes.mine().ok_or_else(|| shard.trouble())?;
        let _alone = shard.settling.lock().await;
        let look = self.look(shard, &lane.connection).await?;
        let buckets = self.buckets_of(shard);
        let mut seen = Vec::with_capacity(buckets.len());
        for (bucket, stored) in self.stored(&lane.connection, &buckets).await? {
            match stored {
                Stored::Here(bytes) => seen.push((bucket, bytes)),
                Stored::Moving(_) | Stored::Gone => return Err(StoreError::Unavailable("redis: slots are being moved".to_owned())),
            }
        }
        let moved = self.replace(&lane.connection, &look.facts, seen, false).await?;
        // Where another node was faster, the epoch has moved all the same.
        let read = |(bucket, bytes): (usize, Vec<u8>)| Some((bucket, Record::read(&bytes)?));
        let records: Vec<_> = moved.into_iter().map(read).collect::<Option<_>>().ok_or_else(odd_answer)?;
        self.adopt(shard, &records, look.lead_ms);
        Ok(())
    }

    /// What this node knows of the epoch, whether or not there is a connection.
    pub(super) fn agreed(&self) -> Arc<Agreed> {
        Arc::clone(&self.agreed.read())
    }

    /// The buckets whose slots this primary has.
    fn buckets_of(&self, shard: &Shard) -> Vec<usize> {
        let has = |bucket: &usize| self.routes.owner(self.names.bucket_slot(*bucket)).is_some_and(|owner| owner.number == shard.number);
        (0..self.names.buckets()).filter(has).collect()
    }

    async fn settle_alone(
        &self,
        shard: &Shard,
        connection: &MultiplexedConnection,
        first_start: bool,
        doubted: bool,
    ) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            let look = self.look(shard, connection).await?;
            let buckets = self.buckets_of(shard);
            if !doubted && self.routes.is_cluster() && self.was_read_lately(shard, &look, &buckets) {
                return Ok(());
            }
            let (mut records, mut misfits) = (Vec::with_capacity(buckets.len()), Vec::new());
            for (bucket, stored) in self.stored(connection, &buckets).await? {
                match stored {
                    Stored::Here(bytes) => match self.fitting(&bytes, &look.facts) {
                        Some(record) => records.push((bucket, record)),
                        None => misfits.push((bucket, bytes)),
                    },
                    Stored::Moving(to) => {
                        // What is at the other server is only read: it is begun anew once the slot has arrived.
                        let bytes = self.read_at(to, bucket).await.unwrap_or_default();
                        records.extend(self.fitting(&bytes, &look.facts).map(|record| (bucket, record)));
                    }
                    Stored::Gone => self.routes.want_map(),
                }
            }
            let all_new = !misfits.is_empty() && misfits.iter().all(|(_, bytes)| bytes.is_empty());
            let nothing_before = first_start && all_new && self.holds_nothing(connection).await?;
            let mut restless = false;
            for (bucket, bytes) in self.replace(connection, &look.facts, misfits, nothing_before).await? {
                match self.fitting(&bytes, &look.facts) {
                    Some(record) => records.push((bucket, record)),
                    None => restless = true,
                }
            }
            if !restless {
                self.put_back(shard, connection, &look.facts).await?;
                self.adopt(shard, &records, look.lead_ms);
                *shard.looked.lock() = Some((look.facts, look.at));
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("redis: the replay epoch does not come to rest; keys are being evicted".to_owned()))
    }

    /// Whether there is nothing new to read: the same server, all its buckets settled with it, not long ago.
    fn was_read_lately(&self, shard: &Shard, look: &Look, buckets: &[usize]) -> bool {
        let agreed = self.agreed();
        let lately = |(facts, at): &(Facts, UnixTime)| {
            *facts == look.facts
                && look.at.as_millis().abs_diff(at.as_millis()) < u64::try_from(RECORDS_FRESH.as_millis()).unwrap_or(u64::MAX)
        };
        shard.looked.lock().as_ref().is_some_and(lately)
            && buckets.iter().all(|bucket| agreed.bucket(*bucket).is_some_and(|held| held.shard == shard.number))
    }

    /// The record in `bytes`, if it is one that fits.
    fn fitting(&self, bytes: &[u8], facts: &Facts) -> Option<Record> {
        Record::read(bytes).filter(|record| record.fits(facts, self.options.acceptance_window))
    }

    async fn look(&self, shard: &Shard, connection: &MultiplexedConnection) -> Result<Look, StoreError> {
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("INFO");
        questions.cmd("TIME");
        let asked = self.clock.now();
        let answers = ask(connection, &Request::Pipeline(&questions)).await.map_err(Fault::into_store_error)?;
        let answered = self.clock.now();
        let [info, time]: [Value; 2] = answers.try_into().map_err(|_| odd_answer())?;
        let info = bytes(info)?.ok_or_else(odd_answer)?;
        let info = String::from_utf8_lossy(&info);
        let mut facts = Facts::read(&info, self.routes.is_cluster())
            .map_err(|refusal| if server::is_replica(&info) { shard.primary.replica(refusal) } else { refusal })?;
        if facts.policy.is_none() {
            facts.policy = policy_from_config(connection).await?;
        }
        server::require_noeviction(facts.policy.as_deref())?;
        let lead_ms = server::clock_lead(instant(time)?, asked, answered)?;
        Ok(Look { facts, lead_ms, at: answered })
    }

    /// The records of these buckets. Only a server that was found fit is asked for keys: the answer of any other would hide the reason.
    async fn stored(&self, connection: &MultiplexedConnection, buckets: &[usize]) -> Result<Vec<(usize, Stored)>, StoreError> {
        let mut questions = Pipeline::with_capacity(buckets.len());
        for bucket in buckets {
            questions.cmd("GET").arg(self.names.epoch(*bucket));
        }
        let answers = ask_each(connection, &questions).await.map_err(Fault::into_store_error)?;
        let read = |(bucket, answer): (&usize, Result<Value, Refused>)| {
            let stored = match answer {
                Ok(value) => Stored::Here(bytes(value)?.unwrap_or_default()),
                Err(Refused::Ask(to)) => Stored::Moving(to),
                Err(Refused::Moved(_)) => Stored::Gone,
                Err(refused) => return Err(Fault::Refused(refused).into_store_error()),
            };
            Ok((*bucket, stored))
        };
        buckets.iter().zip(answers).map(read).collect()
    }

    /// The record of a bucket that is moving to the server at `to`, where that can be asked.
    async fn read_at(&self, to: Address, bucket: usize) -> Option<Vec<u8>> {
        let shard = self.guest(to)?;
        // It may be new to this node, with its first connection on the way.
        timeout(self.options.connect_timeout + self.options.command_timeout, shard.lanes.some()).await.ok()?;
        let lane = shard.lanes.mine()?;
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.names.epoch(bucket));
        let mut answers = shard.lanes.send_over(&lane, &Request::Command(&cmd), true).await.ok()?;
        bytes(answers.pop()?).ok()?
    }

    /// Puts new records in the place of those seen; returns what is stored afterwards.
    async fn replace(
        &self,
        connection: &MultiplexedConnection,
        facts: &Facts,
        seen: Vec<(usize, Vec<u8>)>,
        nothing_before: bool,
    ) -> Result<Vec<(usize, Vec<u8>)>, StoreError> {
        let flag: &[u8] = if nothing_before { b"1" } else { b"0" };
        let mut commands = Pipeline::with_capacity(seen.len());
        for (bucket, seen) in &seen {
            let mut id = [0; EpochId::LEN];
            self.entropy.lock().fill(&mut id);
            // It only ever grows, so that nodes of two configurations don't take turns in replacing each other's record.
            let known = Record::read(seen).map(|record| record.acceptance_window()).unwrap_or_default();
            let window = known.max(self.options.acceptance_window);
            let (head, tail) = (Record::head(&EpochId::from_bytes(id)), Record::tail(facts, window));
            commands.add_command(EPOCH.by_source(&self.names.epoch(*bucket), &[seen, &head, &tail, flag]));
        }
        let mut stored = Vec::with_capacity(seen.len());
        for ((bucket, _), answer) in seen.iter().zip(ask_each(connection, &commands).await.map_err(Fault::into_store_error)?) {
            match answer {
                Ok(value) => stored.push((*bucket, bytes(value)?.ok_or_else(odd_answer)?)),
                // It has begun to move since it was read: the next look follows it.
                Err(Refused::Moved(_) | Refused::Ask(_)) => self.routes.want_map(),
                Err(refused) => return Err(Fault::Refused(refused).into_store_error()),
            }
        }
        Ok(stored)
    }

    fn adopt(&self, shard: &Shard, records: &[(usize, Record)], lead_ms: i64) {
        let mut agreed = self.agreed.write();
        let after = Agreed::clone(&agreed).with(records, lead_ms, shard.number);
        if let (Some(before), Some(after)) = (agreed.epoch(), after.epoch())
            && before.id != after.id
        {
            tracing::warn!("the replay epoch moved: the server may have forgotten used proofs");
        }
        *agreed = Arc::new(after);
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
