//! The tables of the file, and what each change does to them.

use std::path::Path;

use keybound_proofs::UnixTime;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, TableError, WriteTransaction};

use crate::domain::{Advance, Advanced, Family, FamilyId, FamilyState, Refusal, RevokeReason};
use crate::store::{StoreError, record};

/// `grant_id` to record.
pub(super) const FAMILIES: TableDefinition<'_, &[u8; FamilyId::LEN], &[u8]> = TableDefinition::new("families");
/// `client_id` to JSON.
pub(super) const CLIENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("clients");
/// Names to numbers: the format of the file, and the latest instant it has seen.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The format that this version writes, and the only one that it reads.
const FORMAT: u64 = 1;
const FORMAT_KEY: &str = "format";
const HIGH_WATER_KEY: &str = "high_water_ms";

/// Opens the file of the database, which exists and may be empty.
pub(super) fn open_file(file: &Path, cache_bytes: usize) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_cache_size(cache_bytes).create(file)?)
}

/// What the file told when it was opened.
pub(super) struct Opened {
    /// Nothing was ever stored in it.
    pub(super) is_new: bool,
    /// The latest instant that it has seen.
    pub(super) high_water: UnixTime,
}

/// Checks the format of the file, or gives it one.
pub(super) fn prepare(database: &Database) -> Result<Opened, Fault> {
    if let Some(opened) = inspect(database)? {
        return Ok(opened);
    }
    let transaction = begin(database)?;
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.open_table(FAMILIES)?;
    transaction.open_table(CLIENTS)?;
    transaction.commit()?;
    Ok(Opened { is_new: true, high_water: UnixTime::from_millis(i64::MIN) })
}

fn inspect(database: &Database) -> Result<Option<Opened>, Fault> {
    let meta = match database.begin_read()?.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match meta.get(FORMAT_KEY)?.map(|format| format.value()) {
        Some(FORMAT) => {}
        Some(format) if format > FORMAT => {
            return Err(Fault::Record(StoreError::Unfit(format!(
                "it was written by a newer version of Keybound: format {format}, and this version reads {FORMAT}"
            ))));
        }
        _ => return Err(Fault::Record(StoreError::Unreadable("it does not name its format".to_owned()))),
    }
    let high_water = meta.get(HIGH_WATER_KEY)?.map_or(0, |millis| millis.value());
    Ok(Some(Opened { is_new: false, high_water: UnixTime::from_millis(i64::try_from(high_water).unwrap_or(i64::MAX)) }))
}

/// A write transaction that is durable when its commit returns.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    // The state of the allocator is written with each commit, which costs a second sync. Without it a start after a kill reads the
    // whole file first: a second for a million families, instead of some milliseconds.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Writes down the latest instant seen.
pub(super) fn mark(transaction: &WriteTransaction, high_water: UnixTime) -> Result<(), redb::Error> {
    let millis = u64::try_from(high_water.as_millis()).unwrap_or(0);
    transaction.open_table(META)?.insert(HIGH_WATER_KEY, millis)?;
    Ok(())
}

/// The tables within one write transaction, and what happened to them so far.
pub(super) struct Tables<'txn> {
    transaction: &'txn WriteTransaction,
    families: Table<'txn, &'static [u8; FamilyId::LEN], &'static [u8]>,
    /// Whether there is something to commit.
    pub(super) changed: bool,
    /// The latest instant that a request named.
    pub(super) now: UnixTime,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        let families = transaction.open_table(FAMILIES)?;
        Ok(Self { transaction, families, changed: false, now: UnixTime::from_millis(i64::MIN) })
    }

    /// Adds a family. The same record again is fine: a caller that lost the answer asks twice. Another record under the same
    /// name never replaces the first.
    pub(super) fn create(&mut self, id: FamilyId, record: &[u8]) -> Result<(), Fault> {
        if let Some(held) = self.families.get(id.as_bytes())? {
            return if held.value() == record {
                Ok(())
            } else {
                Err(Fault::Record(StoreError::Unfit("a grant_id was used twice".to_owned())))
            };
        }
        self.families.insert(id.as_bytes(), record)?;
        self.changed = true;
        Ok(())
    }

    /// [`Family::decide`] on the record.
    pub(super) fn advance(&mut self, request: &Advance) -> Result<Advanced, Fault> {
        self.now = self.now.max(request.now);
        let Some(mut record) = self.record(request.family)? else {
            return Ok(Advanced::Refused(Refusal::Unknown));
        };
        let advanced = record::decode(request.family, &record)?.decide(request);
        match &advanced {
            Advanced::Rotated(family)
            | Advanced::Repeated(family)
            | Advanced::RolledForward(family)
            | Advanced::Kept(family)
            | Advanced::Rebound(family) => {
                self.patch(&mut record, family)?;
            }
            Advanced::Reused(_) | Advanced::CloneSuspected(_) | Advanced::Refused(_) => {}
        }
        Ok(advanced)
    }

    /// Ends a family; tells whether it was live until now.
    pub(super) fn revoke(&mut self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, Fault> {
        self.now = self.now.max(now);
        let Some(mut record) = self.record(id)? else { return Ok(false) };
        let family = record::decode(id, &record)?;
        if family.state != FamilyState::Live || family.is_expired(now) {
            return Ok(false);
        }
        self.patch(&mut record, &Family { state: FamilyState::Revoked(reason), ..family })?;
        Ok(true)
    }

    /// Stores or replaces a client.
    pub(super) fn put_client(&mut self, id: &str, record: &[u8]) -> Result<(), Fault> {
        let mut clients = self.transaction.open_table(CLIENTS)?;
        let known = clients.get(id)?.is_some_and(|held| held.value() == record);
        if !known {
            clients.insert(id, record)?;
            self.changed = true;
        }
        Ok(())
    }

    /// Removes a client; tells whether there was one.
    pub(super) fn delete_client(&mut self, id: &str) -> Result<bool, Fault> {
        let removed = self.transaction.open_table(CLIENTS)?.remove(id)?.is_some();
        self.changed |= removed;
        Ok(removed)
    }

    /// Looks at `limit` families from `from` on and removes those that were over at `horizon`. Tells where to go on, `None` at the
    /// end of the table.
    pub(super) fn sweep(&mut self, from: FamilyId, limit: usize, horizon: UnixTime) -> Result<Option<FamilyId>, Fault> {
        let (mut over, mut next) = (Vec::new(), None);
        for (position, entry) in self.families.range::<&[u8; FamilyId::LEN]>(from.as_bytes()..)?.enumerate() {
            let (id, record) = entry?;
            if position == limit {
                next = Some(FamilyId::from_bytes(*id.value()));
                break;
            }
            // What can't be read is left for a version that can.
            if record::Head::of(record.value()).is_ok_and(|head| head.is_expired(horizon)) {
                over.push(*id.value());
            }
        }
        for id in over {
            self.families.remove(&id)?;
            self.changed = true;
        }
        Ok(next)
    }

    fn record(&self, id: FamilyId) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.families.get(id.as_bytes())?.map(|record| record.value().to_vec()))
    }

    /// Writes the family into its record, if that changes anything.
    fn patch(&mut self, record: &mut [u8], family: &Family) -> Result<(), Fault> {
        let mut head = [0; record::FIXED_LEN];
        head.copy_from_slice(&record[..record::FIXED_LEN]);
        record::patch(record, family);
        if record[..record::FIXED_LEN] != head {
            self.families.insert(family.id.as_bytes(), &*record)?;
            self.changed = true;
        }
        Ok(())
    }
}

/// Why a change did not happen.
pub(super) enum Fault {
    /// This one record or request is at fault; the others of the transaction are not.
    Record(StoreError),
    /// The file is at fault, and with it the whole transaction.
    Storage(redb::Error),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Record(error)
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Record(error) => error,
            Fault::Storage(error) => storage_error(&error),
        }
    }
}

/// What a failure of the file means to callers.
pub(super) fn storage_error(error: &redb::Error) -> StoreError {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            StoreError::Unfit("another process is using its directory; each embedded store serves one process".to_owned())
        }
        redb::Error::UpgradeRequired(_) => StoreError::Unfit("its file is of an older kind".to_owned()),
        redb::Error::Corrupted(_) => StoreError::Unreadable("its file is damaged".to_owned()),
        error => StoreError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an operator must change is told from what may pass by itself, and from a file that is damaged.
    #[test]
    fn every_failure_of_the_file_says_what_it_means() {
        assert!(matches!(storage_error(&redb::Error::DatabaseAlreadyOpen), StoreError::Unfit(_)));
        assert!(matches!(storage_error(&redb::Error::UpgradeRequired(1)), StoreError::Unfit(_)));
        assert!(matches!(storage_error(&redb::Error::Corrupted("page".to_owned())), StoreError::Unreadable(_)));
        let full = redb::Error::Io(std::io::ErrorKind::StorageFull.into());
        assert!(matches!(Fault::from(full).into(), StoreError::Unavailable(_)));
        let record = StoreError::Unreadable("a record".to_owned());
        assert_eq!(StoreError::from(Fault::from(record.clone())), record);
    }
}
