//! The one thread that writes: all changes that wait become one transaction and share one fsync.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::UnixTime;
use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::clean_stop;
use super::ledger::EmbeddedLedger;
use super::tables::{self, Fault, Tables};
use crate::domain::FamilyId;
use crate::store::StoreError;

/// What the writer is asked for.
pub(super) enum Message {
    /// To change something, or to show that it could.
    Change(Box<dyn Change>),
    /// To stop cleanly.
    Stop { now: UnixTime, reply: oneshot::Sender<Result<(), StoreError>> },
}

/// One change with its answer. It is applied first and answered when everything applied with it is durable.
pub(super) trait Change: Send {
    /// Changes the tables and keeps the outcome.
    ///
    /// # Errors
    /// Where the file fails, and with it the whole transaction.
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error>;

    /// Answers with the outcome, or with the error that kept it from becoming durable. Nobody may be listening any more.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A change made of a closure.
pub(super) struct Operation<F, T> {
    apply: F,
    outcome: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Operation<F, T>
where
    F: FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    pub(super) fn new(apply: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { apply, outcome: Err(stopped()), reply }, answer)
    }
}

impl<F, T> Change for Operation<F, T>
where
    F: FnMut(&mut Tables<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        self.outcome = match (self.apply)(tables) {
            Ok(outcome) => Ok(outcome),
            Err(Fault::Record(error)) => Err(error),
            Err(Fault::Storage(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        // A caller that went away has dropped its end; what it asked for has happened all the same.
        let _ = self.reply.send(committed.and(self.outcome));
    }
}

/// What the writer and the readers share.
pub(super) struct Shared {
    /// Locked for writing only to stop and to open the file anew.
    pub(super) database: RwLock<Option<Database>>,
    pub(super) condition: Mutex<Condition>,
}

/// Whether the store can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It can.
    Ready,
    /// The file failed. `curable` where that may pass, as for a full disk.
    Failed { why: StoreError, curable: bool },
    /// It was stopped.
    Stopped,
}

impl Shared {
    /// Whether the store can be used, as evidence or as an error.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        match &*self.condition.lock() {
            Condition::Ready => Ok(()),
            Condition::Failed { why, .. } => Err(why.clone()),
            Condition::Stopped => Err(stopped()),
        }
    }
}

/// Opens the file; called at the start and again after it failed.
pub(super) type Open = Box<dyn Fn() -> Result<Database, redb::Error> + Send>;

/// The state of the thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Arc<EmbeddedLedger>,
    pub(super) directory: PathBuf,
    pub(super) open: Open,
    /// The latest instant that a request named.
    pub(super) high_water: UnixTime,
    /// Left with the claims: see `EmbeddedOptions::acceptance_window`.
    pub(super) acceptance_window: Duration,
    /// Where the next sweep goes on.
    pub(super) sweep_from: FamilyId,
}

impl Writer {
    /// Serves until it is told to stop or nobody can send any more.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while messages.blocking_recv_many(&mut waiting, BATCH) > 0 {
            let mut changes = Vec::with_capacity(waiting.len());
            let mut stop = None;
            for message in waiting.drain(..) {
                match message {
                    Message::Change(change) if stop.is_none() => changes.push(change),
                    Message::Change(change) => change.answer(Err(stopped())),
                    Message::Stop { now, reply } => stop = Some((now, reply)),
                }
            }
            self.serve(changes);
            if let Some((now, reply)) = stop {
                let _ = reply.send(self.stop(now));
                break;
            }
        }
        messages.close();
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Change(change) => change.answer(Err(stopped())),
                Message::Stop { reply, .. } => drop(reply.send(Ok(()))),
            }
        }
    }

    fn serve(&mut self, mut changes: Vec<Box<dyn Change>>) {
        let committed = self.recover().and_then(|()| self.commit(&mut changes).map_err(|error| self.fail(&error)));
        for change in changes {
            change.answer(committed.clone());
        }
    }

    /// Applies the changes and makes them durable, all or none.
    fn commit(&mut self, changes: &mut [Box<dyn Change>]) -> Result<(), redb::Error> {
        let database = self.shared.database.read();
        let Some(database) = database.as_ref() else { return Err(redb::Error::DatabaseClosed) };
        let transaction = tables::begin(database)?;
        let mut open = Tables::open(&transaction)?;
        for change in changes {
            change.apply(&mut open)?;
        }
        if !open.changed {
            // Repetitions and refusals: nothing to write, nothing to wait for.
            drop(open);
            return Ok(transaction.abort()?);
        }
        let due = open.now > self.high_water.plus(UPKEEP_INTERVAL);
        if due {
            let horizon = open.now.minus(KEPT_AFTER_EXPIRY);
            let next = open.sweep(self.sweep_from, SWEEP_STEP, horizon).map_err(Fault::into_storage)?;
            self.sweep_from = next.unwrap_or(FamilyId::from_bytes([0; FamilyId::LEN]));
            self.high_water = open.now;
        }
        drop(open);
        if due {
            tables::mark(&transaction, self.high_water)?;
        }
        Ok(transaction.commit()?)
    }

    /// Opens the file anew where it failed in a way that may have passed. A write shows that it has.
    fn recover(&mut self) -> Result<(), StoreError> {
        let why = match &*self.shared.condition.lock() {
            Condition::Ready => return Ok(()),
            Condition::Failed { curable: true, .. } => None,
            Condition::Failed { why, curable: false } => Some(why.clone()),
            Condition::Stopped => Some(stopped()),
        };
        if let Some(why) = why {
            return Err(why);
        }
        let mut slot = self.shared.database.write();
        // The old handle holds the lock of the file.
        drop(slot.take());
        let opened = (self.open)().and_then(|database| {
            let transaction = tables::begin(&database)?;
            tables::mark(&transaction, self.high_water)?;
            transaction.commit()?;
            Ok(database)
        });
        match opened {
            Ok(database) => {
                *slot = Some(database);
                *self.shared.condition.lock() = Condition::Ready;
                Ok(())
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn fail(&self, error: &redb::Error) -> StoreError {
        let why = tables::storage_error(error);
        let curable = match error {
            redb::Error::Io(error) => is_curable(error),
            // The file was not opened after a failure that may pass.
            redb::Error::DatabaseClosed => true,
            _ => false,
        };
        *self.shared.condition.lock() = Condition::Failed { why: why.clone(), curable };
        why
    }

    /// Leaves everything for the next start. The ledger's file is written while the store is still locked, so that no other
    /// process can start in between and find it later.
    fn stop(&mut self, now: UnixTime) -> Result<(), StoreError> {
        let stopped = self.ledger.stop(now);
        let failed = self.shared.ready().err();
        *self.shared.condition.lock() = Condition::Stopped;
        let database = self.shared.database.write().take();
        if let Some(why) = failed {
            return Err(why);
        }
        clean_stop::leave(&self.directory, &stopped, self.acceptance_window)
            .map_err(|error| io_error("the ledger could not be written", &error))?;
        match database {
            Some(database) => database.close().map_err(|error| storage_error(error.into())),
            None => Ok(()),
        }
    }
}

impl Fault {
    fn into_storage(self) -> redb::Error {
        match self {
            Self::Storage(error) => error,
            Self::Record(error) => redb::Error::Corrupted(error.to_string()),
        }
    }
}

/// Whether the disk may take writes again later. After other failures the system may have dropped what it could not write, and
/// only a new start, which reads everything back, can tell.
fn is_curable(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, Interrupted, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | Interrupted)
}

fn storage_error(error: redb::Error) -> StoreError {
    tables::storage_error(&error)
}

pub(super) fn io_error(what: &str, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what}: {error}"))
}

pub(super) fn stopped() -> StoreError {
    StoreError::Unavailable("it was stopped".to_owned())
}

/// The most changes in one transaction.
const BATCH: usize = 512;
/// How often, by the clock of the requests, the writer looks for families that are over and writes down the time.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How many families one sweep looks at.
const SWEEP_STEP: usize = 128;
/// How long a family is kept after it is over: a clock that is wrong for a while must not cost anybody a session for good.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// R4: after a failure of the disk that may have lost what was written, nothing is written any more; after one that can pass, it is.
    #[test]
    fn a_full_disk_may_be_cured_and_a_broken_one_may_not() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge, io::ErrorKind::Interrupted] {
            assert!(is_curable(&kind.into()), "{kind}");
        }
        for kind in [io::ErrorKind::Other, io::ErrorKind::PermissionDenied, io::ErrorKind::UnexpectedEof] {
            assert!(!is_curable(&kind.into()), "{kind}");
        }
    }

    #[test]
    fn a_record_that_nobody_can_read_counts_as_damage_where_the_file_itself_is_judged() {
        let damaged = Fault::from(StoreError::Unreadable("a record".to_owned())).into_storage();
        assert!(matches!(damaged, redb::Error::Corrupted(_)));
        let full = Fault::from(redb::Error::Io(io::ErrorKind::StorageFull.into())).into_storage();
        assert!(matches!(full, redb::Error::Io(_)));
    }
}
