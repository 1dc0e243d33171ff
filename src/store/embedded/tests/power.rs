//! The power fails: what was made durable is kept, of everything else any part may be missing or half written (R4, G1, G6).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{Epoch, EpochId};
use parking_lot::Mutex;
use redb::{Builder, StorageBackend};
use tokio::task::JoinSet;

use super::Counting;
use crate::domain::{Advance, Advanced, Family, FamilyState, RevokeReason};
use crate::store::conformance::differential::Random;
use crate::store::conformance::invariants::r4_acknowledged_is_kept;
use crate::store::conformance::sample::{self, START};
use crate::store::embedded::{EmbeddedLedger, EmbeddedStore, tables, writer};
use crate::store::{Families, StoreError};

const WRITERS: u64 = 8;
/// Families that each writer takes from creation to end.
const FAMILIES: u64 = 8;
/// The most failures that are played.
const FAILURES: usize = 60;
const SECTOR: usize = 512;

/// What a disk holds: for certain, and as the system sees it while the power is on.
#[derive(Debug, Default)]
struct Image {
    durable: Vec<u8>,
    seen: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

/// One instant at which the power may have failed.
#[derive(Debug)]
struct Failure {
    durable: Vec<u8>,
    seen_len: usize,
    pending: Vec<(usize, Vec<u8>)>,
    /// How many answers had been given.
    acknowledged: usize,
}

impl Failure {
    /// The disk afterwards: of the writes that were not made durable each sector arrived or did not.
    fn disk(&self, random: &mut Random) -> Disk {
        let mut disk = self.durable.clone();
        // A longer file may have become durable with the length alone.
        if random.below(2) == 0 && self.seen_len > disk.len() {
            disk.resize(self.seen_len, 0);
        }
        let kept_in_64 = [0, 1, 32, 63, 64][usize::try_from(random.below(5)).unwrap()];
        for (offset, data) in &self.pending {
            for (sector, bytes) in data.chunks(SECTOR).enumerate() {
                let at = offset + sector * SECTOR;
                if random.below(64) < kept_in_64 && at + bytes.len() <= disk.len() {
                    disk[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        let image = Image { seen: disk.clone(), durable: disk, pending: vec![] };
        Disk { image: Arc::new(Mutex::new(image)), ..Disk::default() }
    }
}

#[derive(Debug, Clone, Default)]
struct Disk {
    image: Arc<Mutex<Image>>,
    acknowledged: Arc<Mutex<Vec<Family>>>,
    /// Drawn from before each write and each sync, once it is set.
    failing: Arc<Mutex<Option<Random>>>,
    failures: Arc<Mutex<Vec<Failure>>>,
    /// Says that it made something durable, and did not: what a store that answers before it syncs would amount to.
    lies: bool,
}

impl Disk {
    fn maybe_fail(&self) {
        let due = self.failing.lock().as_mut().is_some_and(|random| random.below(8) == 0);
        let mut failures = self.failures.lock();
        if due && failures.len() < FAILURES {
            // First what was answered, then what is on the disk: an answer in between only makes the disk know more.
            let acknowledged = self.acknowledged.lock().len();
            let image = self.image.lock();
            failures.push(Failure {
                durable: image.durable.clone(),
                seen_len: image.seen.len(),
                pending: image.pending.clone(),
                acknowledged,
            });
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(self.image.lock().seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.image.lock().seen.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.maybe_fail();
        if self.lies && self.failing.lock().is_some() {
            return Ok(());
        }
        let image = &mut *self.image.lock();
        image.durable.resize(image.seen.len(), 0);
        for (at, data) in image.pending.drain(..) {
            if let Some(place) = image.durable.get_mut(at..at + data.len()) {
                place.copy_from_slice(&data);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.maybe_fail();
        let at = usize::try_from(offset).unwrap();
        let image = &mut *self.image.lock();
        image.seen.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        image.pending.push((at, data.to_vec()));
        Ok(())
    }
}

fn start(disk: Disk) -> Result<EmbeddedStore, StoreError> {
    let open: writer::Open = Box::new(move || Ok(Builder::new().create_with_backend(disk.clone())?));
    let database = open().map_err(tables::Fault::Storage)?;
    tables::prepare(&database)?;
    let epoch = Epoch { id: EpochId::from_bytes([1; 16]), since: None };
    let ledger = Arc::new(EmbeddedLedger::new(10, Duration::from_secs(80), epoch, &mut Counting(0)));
    EmbeddedStore::start(database, open, "nowhere".as_ref(), ledger, START, Duration::from_secs(60))
}

/// Rounds, each with [`FAILURES`] failures and four outcomes of each: `KEYBOUND_ROUNDS` of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_failure() {
    let rounds: u64 = std::env::var("KEYBOUND_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut losses, mut checked) = (0, 0);
    for round in 1..=rounds {
        let (more, found) = play(round, false).await.unwrap_or_else(|violation| panic!("round {round}: {violation}"));
        (losses, checked) = (losses + more, checked + found);
    }
    println!("{losses} power losses, {checked} acknowledgements found again");
    assert!(checked > 1_000);
}

/// A check that never failed proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_before_it_syncs_is_found() {
    let violation = play(1, true).await.expect_err("what was not made durable is lost");
    assert!(violation.contains("R4") || violation.contains("unreadable"), "{violation}");
}

/// Plays one round; tells how many power losses there were and how many acknowledgements were looked for, or what was lost.
async fn play(seed: u64, lies: bool) -> Result<(usize, usize), String> {
    let disk = Disk { lies, ..Disk::default() };
    let store = Arc::new(start(disk.clone()).unwrap());
    *disk.failing.lock() = Some(Random::new(seed));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, acknowledged) = (store.clone(), disk.acknowledged.clone());
        writers.spawn(async move {
            for number in (0..FAMILIES).map(|number| (writer << 32) + number) {
                live(&*store, number, &acknowledged).await;
            }
        });
    }
    writers.join_all().await;
    drop(store);

    let (mut random, mut losses, mut checked) = (Random::new(seed + 1), 0, 0);
    let (failures, acknowledged) = (std::mem::take(&mut *disk.failures.lock()), disk.acknowledged.lock().clone());
    assert_eq!(failures.len(), FAILURES);
    for (number, failure) in failures.iter().enumerate() {
        for _ in 0..4 {
            let after = start(failure.disk(&mut random)).map_err(|error| format!("failure {number}: {error}"))?;
            let expected = &acknowledged[..failure.acknowledged];
            let mut kept = HashMap::new();
            for family in expected {
                if let Some(read) = after.read(family.id, START).await.map_err(|error| format!("failure {number}: {error}"))? {
                    kept.insert(family.id, read);
                }
            }
            r4_acknowledged_is_kept(expected, &kept).map_err(|violation| format!("failure {number}: {violation}"))?;
            losses += 1;
            checked += expected.len();
        }
    }
    Ok((losses, checked))
}

/// One family from its creation to its end.
async fn live(families: &dyn Families, number: u64, acknowledged: &Mutex<Vec<Family>>) {
    let mut family = sample::family(number);
    families.create(&family).await.unwrap();
    acknowledged.lock().push(family.clone());
    for generation in 0..4 {
        let request = Advance { now: START, ..sample::advance(number, generation) };
        let Ok(Advanced::Rotated(rotated)) = families.advance(&request).await else { panic!("the newest token rotates") };
        family = rotated;
        acknowledged.lock().push(family.clone());
    }
    assert_eq!(families.revoke(family.id, RevokeReason::Requested, START).await, Ok(true));
    acknowledged.lock().push(Family { state: FamilyState::Revoked(RevokeReason::Requested), ..family });
}
