//! The store's traits, on the writer and on read transactions.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use keybound_proofs::UnixTime;
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
use tokio::sync::{mpsc, oneshot};

use super::ledger::EmbeddedLedger;
use super::tables::{CLIENTS, FAMILIES, Fault, Tables};
use super::writer::{Condition, Message, Open, Operation, Shared, Writer, io_error, stopped};
use crate::domain::{Advance, Advanced, ClientId, Family, FamilyId, FamilyState, RevokeReason};
use crate::store::{ClientRecords, Families, FamilyFilter, Page, StoreError, StoreHealth, record};

/// Families and clients in one crash-safe file.
///
/// Whatever was answered is on disk. Reads run where they are called, without a thread of their own: each touches a few pages,
/// nearly always in memory, which costs less than handing it over would; `list` is bounded for the same reason.
pub struct EmbeddedStore {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    /// Dropped after `messages`, which is what ends the thread.
    _writer: JoinOnDrop,
}

impl EmbeddedStore {
    pub(super) fn start(
        database: Database,
        open: Open,
        directory: &Path,
        ledger: Arc<EmbeddedLedger>,
        high_water: UnixTime,
        acceptance_window: Duration,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared { database: RwLock::new(Some(database)), condition: Mutex::new(Condition::Ready) });
        let (messages, receiver) = mpsc::channel(WAITING);
        let writer = Writer {
            shared: shared.clone(),
            ledger,
            directory: PathBuf::from(directory),
            open,
            high_water,
            acceptance_window,
            sweep_from: FamilyId::from_bytes([0; FamilyId::LEN]),
        };
        let thread = std::thread::Builder::new()
            .name("keybound-store".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| io_error("its thread could not be started", &error))?;
        Ok(Self { messages, shared, _writer: JoinOnDrop(Some(thread)) })
    }

    async fn write<T: Send + 'static>(
        &self,
        apply: impl FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (operation, answer) = Operation::new(apply);
        self.messages.send(Message::Change(Box::new(operation))).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    fn look<T>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, Fault>) -> Result<T, StoreError> {
        self.shared.ready()?;
        let database = self.shared.database.read();
        let transaction = database.as_ref().ok_or_else(stopped)?.begin_read().map_err(Fault::from)?;
        Ok(look(&transaction)?)
    }
}

#[async_trait]
impl Families for EmbeddedStore {
    async fn create(&self, family: &Family) -> Result<(), StoreError> {
        let (id, record) = (family.id, record::encode(family));
        self.write(move |tables| tables.create(id, &record)).await
    }

    async fn read(&self, id: FamilyId, now: UnixTime) -> Result<Option<Family>, StoreError> {
        self.look(|transaction| {
            let families = transaction.open_table(FAMILIES)?;
            let Some(record) = families.get(id.as_bytes())? else { return Ok(None) };
            let family = record::decode(id, record.value())?;
            Ok((!family.is_expired(now)).then_some(family))
        })
    }

    async fn advance(&self, request: &Advance) -> Result<Advanced, StoreError> {
        let request = request.clone();
        self.write(move |tables| tables.advance(&request)).await
    }

    async fn revoke(&self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, StoreError> {
        self.write(move |tables| tables.revoke(id, reason, now)).await
    }

    async fn list(&self, filter: &FamilyFilter, cursor: Option<&str>, limit: usize, now: UnixTime) -> Result<Page, StoreError> {
        let after: Option<FamilyId> = match cursor {
            Some(text) => Some(text.parse().map_err(|_| StoreError::Unfit("the cursor is not one it gave out".to_owned()))?),
            None => None,
        };
        let limit = limit.max(1);
        self.look(|transaction| {
            let families = transaction.open_table(FAMILIES)?;
            let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
            let mut page = Page::default();
            let mut last = None;
            for (position, entry) in families.range::<&[u8; FamilyId::LEN]>((from, Bound::Unbounded))?.enumerate() {
                if position == LIST_STEP || page.families.len() == limit {
                    page.next = last.map(|id: FamilyId| id.to_string());
                    break;
                }
                let (id, record) = entry?;
                let id = FamilyId::from_bytes(*id.value());
                last = Some(id);
                let head = record::Head::of(record.value())?;
                if head.state == FamilyState::Live && !head.is_expired(now) {
                    let family = record::decode(id, record.value())?;
                    if filter.matches(&family) {
                        page.families.push(family);
                    }
                }
            }
            Ok(page)
        })
    }
}

#[async_trait]
impl ClientRecords for EmbeddedStore {
    async fn put_client(&self, id: &ClientId, record: &[u8]) -> Result<(), StoreError> {
        let (id, record) = (id.clone(), record.to_vec());
        self.write(move |tables| tables.put_client(id.as_str(), &record)).await
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Vec<u8>>, StoreError> {
        self.look(|transaction| Ok(transaction.open_table(CLIENTS)?.get(id.as_str())?.map(|record| record.value().to_vec())))
    }

    async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let id = id.clone();
        self.write(move |tables| tables.delete_client(id.as_str())).await
    }

    async fn clients(&self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        self.look(|transaction| {
            let mut all = Vec::new();
            for entry in transaction.open_table(CLIENTS)?.range::<&str>(..)? {
                let (id, record) = entry?;
                let id = ClientId::new(id.value()).map_err(|_| StoreError::Unreadable("a client_id is malformed".to_owned()))?;
                all.push((id, record.value().to_vec()));
            }
            Ok(all)
        })
    }
}

#[async_trait]
impl StoreHealth for EmbeddedStore {
    /// Goes through the writer: after a full disk this is also what finds out that there is room again.
    async fn check(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(())).await
    }

    async fn close(&self, now: UnixTime) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.messages.send(Message::Stop { now, reply }).await.is_err() {
            return Ok(());
        }
        answer.await.map_err(|_| stopped())?
    }
}

struct JoinOnDrop(Option<JoinHandle<()>>);

impl Drop for JoinOnDrop {
    /// When a store is gone, so is its hold on the directory.
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // It can have panicked only after it refused everything that waited.
            let _ = thread.join();
        }
    }
}

/// How many changes may wait for the writer before callers wait to hand theirs over.
const WAITING: usize = 1024;
/// The most families one page of a list looks at, matching or not: some milliseconds.
const LIST_STEP: usize = 2_000;
