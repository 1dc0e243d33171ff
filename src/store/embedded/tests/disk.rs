//! What the disk is asked for, and what happens when it does not do it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use keybound_proofs::{Epoch, EpochId, UnixTime};
use redb::backends::FileBackend;
use redb::{Builder, StorageBackend};

use super::Counting;
use crate::domain::{Advance, Advanced, FamilyState, Generation, RevokeReason};
use crate::store::conformance::sample::{self, START};
use crate::store::embedded::{EmbeddedLedger, EmbeddedStore, directory, tables, writer};
use crate::store::{Families as _, FamilyFilter, StoreError, StoreHealth as _};

/// How the disk behaves, and how often it was asked to make something durable.
#[derive(Debug, Default)]
struct Disk {
    full: AtomicBool,
    broken: AtomicBool,
    syncs: AtomicUsize,
}

impl Disk {
    fn works(&self) -> io::Result<()> {
        match (self.broken.load(Ordering::SeqCst), self.full.load(Ordering::SeqCst)) {
            (true, _) => Err(io::Error::other("a broken disk")),
            (_, true) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }
}

/// The file of a database on such a disk.
#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.works().and_then(|()| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::SeqCst);
        self.disk.works().and_then(|()| self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.works().and_then(|()| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    disk: Arc<Disk>,
    store: EmbeddedStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::<Disk>::default();
        let store = start(directory.path(), &disk);
        Self { directory, disk, store }
    }

    async fn created(&self, number: u64) {
        self.store.create(&sample::family(number)).await.unwrap();
    }
}

fn start(directory: &Path, disk: &Arc<Disk>) -> EmbeddedStore {
    let (file, disk): (PathBuf, _) = (directory.join("families.redb"), disk.clone());
    let open: writer::Open = Box::new(move || {
        let file = FileBackend::new(directory::ensure_file(&file)?)?;
        Ok(Builder::new().create_with_backend(OnDisk { file, disk: disk.clone() })?)
    });
    let database = open().unwrap();
    let opened = tables::prepare(&database).map_err(StoreError::from).unwrap();
    let epoch = Epoch { id: EpochId::from_bytes([1; 16]), since: None };
    let ledger = Arc::new(EmbeddedLedger::new(10, Duration::from_secs(80), epoch, &mut Counting(0)));
    EmbeddedStore::start(database, open, directory, ledger, opened.high_water, Duration::from_secs(60)).unwrap()
}

/// DESIGN section 11: what is answered is durable.
#[tokio::test]
async fn every_change_is_synced_before_its_answer() {
    let fixture = Fixture::new();
    let mut before = fixture.disk.syncs();
    let mut synced = |what: &str| {
        let now = fixture.disk.syncs();
        assert!(std::mem::replace(&mut before, now) < now, "{what} was answered without a sync");
    };
    fixture.created(1).await;
    synced("create");
    fixture.store.advance(&sample::advance(1, 0)).await.unwrap();
    synced("advance");
    assert_eq!(fixture.store.revoke(sample::id(1), RevokeReason::Requested, START).await, Ok(true));
    synced("revoke");
}

#[tokio::test]
async fn what_changes_nothing_is_not_synced() {
    let fixture = Fixture::new();
    fixture.created(1).await;
    fixture.created(2).await;
    fixture.store.advance(&sample::advance(1, 0)).await.unwrap();
    fixture.store.revoke(sample::id(2), RevokeReason::Requested, START).await.unwrap();
    let before = fixture.disk.syncs();
    assert!(matches!(fixture.store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Repeated(_))));
    assert!(matches!(fixture.store.advance(&sample::advance(2, 0)).await, Ok(Advanced::Refused(_))));
    assert!(matches!(fixture.store.advance(&sample::advance(3, 0)).await, Ok(Advanced::Refused(_))));
    assert_eq!(fixture.store.revoke(sample::id(2), RevokeReason::Requested, START).await, Ok(false));
    fixture.store.list(&FamilyFilter::default(), None, 10, START).await.unwrap();
    fixture.store.check().await.unwrap();
    assert_eq!(fixture.disk.syncs(), before);
}

#[tokio::test]
async fn changes_that_wait_together_share_their_syncs() {
    let fixture = Fixture::new();
    let alone = {
        let before = fixture.disk.syncs();
        fixture.created(1_000).await;
        fixture.disk.syncs() - before
    };
    let before = fixture.disk.syncs();
    // All are handed over before the first is awaited: at most one batch is on its way while the others gather.
    join_all((0..500).map(|number| fixture.created(number))).await;
    let together = fixture.disk.syncs() - before;
    println!("{alone} syncs for one change, {together} for 500");
    assert!(together <= alone * 100, "{together} syncs for 500 changes");
}

/// R4: a full disk is an error to everybody who waits, changes nothing, and passes.
#[tokio::test]
async fn a_full_disk_refuses_everybody_and_recovers_by_itself() {
    let fixture = Fixture::new();
    fixture.created(1).await;
    fixture.disk.full.store(true, Ordering::SeqCst);
    let requests: Vec<_> = (0..20).map(|_| sample::advance(1, 0)).collect();
    for answer in join_all(requests.iter().map(|request| fixture.store.advance(request))).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    for _ in 0..3 {
        assert!(matches!(fixture.store.check().await, Err(StoreError::Unavailable(_))));
    }
    assert!(matches!(fixture.store.read(sample::id(1), START).await, Err(StoreError::Unavailable(_))));

    fixture.disk.full.store(false, Ordering::SeqCst);
    assert_eq!(fixture.store.check().await, Ok(()));
    assert_eq!(fixture.store.read(sample::id(1), START).await, Ok(Some(sample::family(1))));
    assert!(matches!(fixture.store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Rotated(_))));
}

/// R4: after any other failure nobody knows what the disk holds until it is read anew.
#[tokio::test]
async fn a_broken_disk_stays_unavailable_until_a_new_start() {
    let fixture = Fixture::new();
    fixture.created(1).await;
    fixture.store.advance(&sample::advance(1, 0)).await.unwrap();
    fixture.disk.broken.store(true, Ordering::SeqCst);
    assert!(matches!(fixture.store.create(&sample::family(2)).await, Err(StoreError::Unavailable(_))));
    fixture.disk.broken.store(false, Ordering::SeqCst);
    assert!(matches!(fixture.store.check().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(fixture.store.advance(&sample::advance(1, 0)).await, Err(StoreError::Unavailable(_))));
    assert!(fixture.store.close(START).await.is_err(), "what failed does not stop cleanly");
    assert!(!fixture.directory.path().join("ledger.clean").exists());

    let Fixture { directory, disk, store } = fixture;
    drop(store);
    let store = start(directory.path(), &disk);
    assert_eq!(store.check().await, Ok(()));
    assert!(matches!(store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Repeated(_))), "what was acknowledged is kept");
}

#[tokio::test]
async fn a_stopped_store_refuses_and_stops_once() {
    let fixture = Fixture::new();
    fixture.created(1).await;
    assert_eq!(fixture.store.close(START).await, Ok(()));
    assert_eq!(fixture.store.close(START).await, Ok(()));
    for answer in [fixture.store.check().await, fixture.store.create(&sample::family(2)).await] {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(matches!(fixture.store.read(sample::id(1), START).await, Err(StoreError::Unavailable(_))));
}

/// A caller that is gone when its answer comes harms nobody, and what it asked for has happened.
#[tokio::test]
async fn a_caller_that_goes_away_hurts_nobody() {
    let fixture = Fixture::new();
    fixture.created(1).await;
    for _ in 0..20 {
        let request = sample::advance(1, 0);
        // Handed over by the first poll, and dropped before the answer.
        let _ = fixture.store.advance(&request).now_or_never();
    }
    let Ok(Advanced::Repeated(family)) = fixture.store.advance(&sample::advance(1, 0)).await else { panic!("it was rotated before") };
    assert_eq!(family.generation, Generation(1));
}

/// Families that are over are removed in the end, a bounded number at a time, and no others.
#[tokio::test]
async fn families_that_are_over_are_swept_a_day_later() {
    let fixture = Fixture::new();
    join_all((0..300).map(|number| fixture.created(number))).await;
    let far = START.plus(Duration::from_secs(365 * 24 * 3_600));
    let mut alive = sample::family(1_000);
    (alive.idle_expiry, alive.absolute_expiry) = (far, far);
    fixture.store.create(&alive).await.unwrap();
    let mut generation = 0;
    let mut use_it = async |now: UnixTime| {
        let request = Advance { now, idle: Duration::from_secs(365 * 24 * 3_600), ..sample::advance(1_000, generation) };
        assert!(matches!(fixture.store.advance(&request).await, Ok(Advanced::Rotated(_))));
        generation += 1;
    };
    let read_early = |number| fixture.store.read(sample::id(number), START);

    let over = START.plus(sample::IDLE);
    for second in 0..10 {
        use_it(over.plus(Duration::from_secs(second * 2))).await;
    }
    assert!(read_early(0).await.unwrap().is_some(), "a clock that comes back finds them");

    let a_day_later = over.plus(Duration::from_secs(24 * 3_600));
    use_it(a_day_later).await;
    let left = (0..300).map(read_early);
    let left = join_all(left).await.into_iter().filter(|read| matches!(read, Ok(Some(_)))).count();
    assert_eq!(left, 300 - 128, "one step");
    for second in 1..10 {
        use_it(a_day_later.plus(Duration::from_secs(second * 2))).await;
    }
    let left = join_all((0..300).map(read_early)).await.into_iter().filter(|read| matches!(read, Ok(Some(_)))).count();
    assert_eq!(left, 0);
    let kept = fixture.store.read(sample::id(1_000), a_day_later).await.unwrap().unwrap();
    assert_eq!(kept.state, FamilyState::Live);
}
