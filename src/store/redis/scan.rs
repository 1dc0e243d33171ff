//! Walking over the keys of a database that may be large and is in use.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

use super::wire::{Fault, Request, ask};
use super::{bytes, odd_answer};
use crate::store::StoreError;

/// Keys looked at in one step: about a millisecond of the server's time, which everybody else waits for.
pub(super) const STEP: usize = 1000;

/// Steps after which a database counts as not empty.
const PATIENCE: usize = 500;

/// One step over the keys that match `pattern`, looking at about `count` keys.
pub(super) fn step(cursor: u64, pattern: &[u8], count: usize) -> Cmd {
    let mut cmd = redis::cmd("SCAN");
    cmd.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(count);
    cmd
}

/// The answer to a step: where the next one begins (0: this was the last) and the keys found.
pub(super) fn found(value: Value) -> Result<(u64, Vec<Vec<u8>>), StoreError> {
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
