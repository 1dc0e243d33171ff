//! Short-lived records: opaque strings that end by themselves.

use std::time::Duration;

use async_trait::async_trait;
use keybound_proofs::UnixTime;
use redis::Value;

use super::names::Names;
use super::script::SWAP;
use super::wire::Request;
use super::{RedisStore, bytes, odd_answer, ttl_ms};
use crate::store::{EphemeralName, Ephemerals, StoreError, Swapped};

#[async_trait]
impl Ephemerals for RedisStore {
    async fn keep(&self, name: &EphemeralName, record: &[u8], ttl: Duration, _now: UnixTime) -> Result<(), StoreError> {
        let key = self.ephemeral_key(name);
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(record).arg("PX").arg(ttl_millis(ttl));
        self.shared.durable_value(&key, Request::Command(&cmd)).await.map(|_| ())
    }

    async fn peek(&self, name: &EphemeralName, _now: UnixTime) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.get(&self.ephemeral_key(name)).await
    }

    /// After a lost answer, finding `next` there means that the first try was carried out.
    async fn swap(&self, name: &EphemeralName, expected: &[u8], next: &[u8], ttl: Duration, _now: UnixTime) -> Result<Swapped, StoreError> {
        let (key, ttl) = (self.ephemeral_key(name), ttl_millis(ttl).to_string());
        let request = Request::Script { script: &SWAP, key: &key, args: &[expected, next, ttl.as_bytes()] };
        let (answer, again) = self.shared.durable_value(&key, request).await?;
        let Value::Array(parts) = answer else { return Err(odd_answer()) };
        let mut parts = parts.into_iter();
        let outcome = parts.next().and_then(|part| bytes(part).ok().flatten()).ok_or_else(odd_answer)?;
        match (outcome.as_slice(), parts.next()) {
            (b"done", None) => Ok(Swapped::Done),
            (b"gone", None) => Ok(Swapped::Gone),
            (b"other", Some(found)) => match bytes(found)? {
                Some(found) if again && found == next => Ok(Swapped::Done),
                Some(found) => Ok(Swapped::Other(found)),
                None => Err(odd_answer()),
            },
            _ => Err(odd_answer()),
        }
    }
}

impl RedisStore {
    fn ephemeral_key(&self, name: &EphemeralName) -> Vec<u8> {
        let mut own = Vec::with_capacity(name.digest.len() + 1);
        own.push(name.kind.tag());
        own.extend_from_slice(&name.digest);
        self.shared.names.key(Names::EPHEMERAL, &own)
    }
}

fn ttl_millis(ttl: Duration) -> i64 {
    ttl_ms(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}
