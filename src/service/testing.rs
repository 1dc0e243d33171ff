//! What the tests of this folder share.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::domain::ClientId;
use crate::store::{ClientRecords, StoreError};

/// Client records in memory, which can be told to fail.
#[derive(Default)]
pub(super) struct MemoryRecords {
    records: Mutex<BTreeMap<ClientId, Vec<u8>>>,
    failure: Mutex<Option<StoreError>>,
}

impl MemoryRecords {
    pub(super) fn fail(&self, error: Option<StoreError>) {
        *self.failure.lock().unwrap() = error;
    }

    fn answer<T>(&self, act: impl FnOnce(&mut BTreeMap<ClientId, Vec<u8>>) -> T) -> Result<T, StoreError> {
        match &*self.failure.lock().unwrap() {
            Some(error) => Err(error.clone()),
            None => Ok(act(&mut self.records.lock().unwrap())),
        }
    }
}

#[async_trait]
impl ClientRecords for MemoryRecords {
    async fn put_client(&self, id: &ClientId, record: &[u8]) -> Result<(), StoreError> {
        self.answer(|records| drop(records.insert(id.clone(), record.to_vec())))
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Vec<u8>>, StoreError> {
        self.answer(|records| records.get(id).cloned())
    }

    async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        self.answer(|records| records.remove(id).is_some())
    }

    async fn clients(&self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        self.answer(|records| records.iter().map(|(id, record)| (id.clone(), record.clone())).collect())
    }
}
