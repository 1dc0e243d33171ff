//! Walking over the keys of a database that may be large and is in use.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use super::send::Way;
use super::shard::Shard;
use super::wire::{Fault, Request, ask, ask_each};
use super::{Shared, bytes, odd_answer};
use crate::store::StoreError;

/// Keys looked at in one step: about a millisecond of the server's time, which everybody else waits for.
pub(super) const STEP: usize = 1000;

/// Steps after which a database counts as not empty.
const PATIENCE: usize = 500;

impl Shared {
    /// One step over the keys of one server that match `pattern`: where the next one begins (0: this was the last) and the keys found.
    pub(super) async fn scan(
        &self,
        shard: &Arc<Shard>,
        cursor: u64,
        pattern: &[u8],
        count: usize,
    ) -> Result<(u64, Vec<Vec<u8>>), StoreError> {
        let cmd = step(cursor, pattern, count);
        let mut answer = self.deliver_to(shard, Way::Plain, &Request::Command(&cmd)).await?;
        found(answer.values.pop().ok_or_else(odd_answer)?)
    }

    /// The value of `key`.
    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(key);
        bytes(self.value(key, Request::Command(&cmd)).await?.0)
    }

    /// The values of `keys`, which were found on this server, in their order. In a cluster one that has moved since is asked for where
    /// it is.
    pub(super) async fn records(&self, shard: &Arc<Shard>, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if !self.routes.is_cluster() {
            let mut cmd = redis::cmd("MGET");
            cmd.arg(keys);
            let mut answer = self.deliver_to(shard, Way::Plain, &Request::Command(&cmd)).await?;
            let Some(Value::Array(values)) = answer.values.pop() else { return Err(odd_answer()) };
            let values = values.into_iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
            return if values.len() == keys.len() { Ok(values) } else { Err(odd_answer()) };
        }
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            commands.cmd("GET").arg(key);
        }
        let lane = shard.lanes.mine().ok_or_else(|| shard.trouble())?;
        let answers = ask_each(&lane.connection, &commands).await.map_err(Fault::into_store_error)?;
        let mut values = Vec::with_capacity(keys.len());
        for (key, answer) in keys.iter().zip(answers) {
            values.push(match answer {
                Ok(value) => bytes(value)?,
                Err(_) => self.get(key).await?,
            });
        }
        Ok(values)
    }
}

/// One step over the keys that match `pattern`, looking at about `count` keys.
fn step(cursor: u64, pattern: &[u8], count: usize) -> Cmd {
    let mut cmd = redis::cmd("SCAN");
    cmd.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
    cmd
}

/// The answer to a step: where the next one begins (0: this was the last) and the keys found.
fn found(value: Value) -> Result<(u64, Vec<Vec<u8>>), StoreError> {
    let Value::Array(parts) = value else { return Err(odd_answer()) };
    let [cursor, keys]: [Value; 2] = parts.try_into().map_err(|_| odd_answer())?;
    let cursor = bytes(cursor)?.ok_or_else(odd_answer)?;
    let cursor = std::str::from_utf8(&cursor).ok().and_then(|text| text.parse().ok()).ok_or_else(odd_answer)?;
    let Value::Array(keys) = keys else { return Err(odd_answer()) };
    let keys = keys.into_iter().map(|key| bytes(key)?.ok_or_else(odd_answer)).collect::<Result<_, _>>()?;
    Ok((cursor, keys))
}

/// Whether no key matches `pattern`; `false` as well where that would take long to find out.
pub(super) async fn finds_none(connection: &MultiplexedConnection, pattern: &[u8]) -> Result<bool, StoreError> {
    let mut cursor = 0;
    for _ in 0..PATIENCE {
        let mut answers = ask(connection, &Request::Command(&step(cursor, pattern, STEP))).await.map_err(Fault::into_store_error)?;
        let (next, keys) = found(answers.pop().unwrap_or_default())?;
        if !keys.is_empty() {
            return Ok(false);
        }
        if next == 0 {
            return Ok(true);
        }
        cursor = next;
    }
    Ok(false)
}
