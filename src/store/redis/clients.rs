//! Client records: opaque strings under their `client_id`.

use async_trait::async_trait;
use redis::Value;

use super::names::Names;
use super::scan;
use super::wire::Request;
use super::{RedisStore, odd_answer};
use crate::domain::ClientId;
use crate::store::{ClientRecords, StoreError};

#[async_trait]
impl ClientRecords for RedisStore {
    async fn put_client(&self, id: &ClientId, record: &[u8]) -> Result<(), StoreError> {
        let key = self.client_key(id);
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(record);
        self.shared.durable_value(&key, Request::Command(&cmd)).await.map(|_| ())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.get(&self.client_key(id)).await
    }

    /// After a lost answer a record that is gone counts as removed by this call.
    async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let key = self.client_key(id);
        let mut cmd = redis::cmd("DEL");
        cmd.arg(&key);
        match self.shared.durable_value(&key, Request::Command(&cmd)).await? {
            (Value::Int(removed), again) => Ok(removed > 0 || again),
            _ => Err(odd_answer()),
        }
    }

    async fn clients(&self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        let names = &self.shared.names;
        let mut all = Vec::new();
        for shard in self.shared.routes.shards() {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.shared.scan(&shard, cursor, &names.pattern(Names::CLIENT), scan::STEP).await?;
                let records = self.shared.records(&shard, &keys).await?;
                for (key, record) in keys.iter().zip(records) {
                    let id = names.name_in(Names::CLIENT, key).and_then(|id| ClientId::new(std::str::from_utf8(id).ok()?).ok());
                    if let (Some(id), Some(record)) = (id, record) {
                        all.push((id, record));
                    }
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        all.sort();
        all.dedup_by(|a, b| a.0 == b.0);
        Ok(all)
    }
}

impl RedisStore {
    fn client_key(&self, id: &ClientId) -> Vec<u8> {
        self.shared.names.key(Names::CLIENT, id.as_str().as_bytes())
    }
}
