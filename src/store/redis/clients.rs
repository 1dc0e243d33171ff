//! Client records: opaque strings under their `client_id`.

use async_trait::async_trait;
use redis::Value;

use super::scan;
use super::wire::Request;
use super::{Names, RedisStore, bytes, odd_answer};
use crate::domain::ClientId;
use crate::store::{ClientRecords, StoreError};

#[async_trait]
impl ClientRecords for RedisStore {
    async fn put_client(&self, id: &ClientId, record: &[u8]) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("SET");
        cmd.arg(self.client_key(id)).arg(record);
        self.durable_value(Request::Command(&cmd)).await.map(|_| ())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.client_key(id));
        bytes(self.value(Request::Command(&cmd)).await?.0)
    }

    /// After a lost answer a record that is gone counts as removed by this call.
    async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(self.client_key(id));
        match self.durable_value(Request::Command(&cmd)).await? {
            (Value::Int(removed), again) => Ok(removed > 0 || again),
            _ => Err(odd_answer()),
        }
    }

    async fn clients(&self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        let names = &self.shared.names;
        let mut all = Vec::new();
        let mut cursor = 0;
        loop {
            let cmd = scan::step(cursor, &names.pattern(Names::CLIENT), scan::STEP);
            let (next, keys) = scan::found(self.value(Request::Command(&cmd)).await?.0)?;
            let records = self.records(&keys).await?;
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
