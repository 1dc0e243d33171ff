//! Clean stops, other ends, and what the next start makes of them (R4, R5).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keybound::clock::OsEntropy;
use keybound::domain::{Advanced, Family, RevokeReason};
use keybound::store::conformance::sample::{self, START};
use keybound::store::embedded::{self, Embedded, EmbeddedOptions};
use keybound::store::{ClientRecords as _, Families as _, StoreError, StoreHealth as _};
use keybound_proofs::{Claim, ClaimAnswer, Ledger as _, LedgerError, UnixTime};

use crate::embedded::open;

const MINUTE: Duration = Duration::from_secs(60);

fn open_at(path: &Path, now: UnixTime) -> Embedded {
    embedded::open(path, EmbeddedOptions::default(), now, &mut OsEntropy).expect("the directory can be opened")
}

fn claim(number: u64, opened: &Embedded) -> Claim {
    sample::claim(number, MINUTE, opened.ledger.epoch().expect("an epoch").id)
}

async fn populated(path: &Path) -> Embedded {
    let opened = open(path);
    opened.store.create(&sample::family(1)).await.unwrap();
    opened.store.advance(&sample::advance(1, 0)).await.unwrap();
    opened.store.put_client(&sample::client(), b"{}").await.unwrap();
    for number in 0..1_000 {
        assert_eq!(opened.ledger.claim(&claim(number, &opened), START).await, Ok(ClaimAnswer::First));
    }
    opened
}

async fn assert_kept(opened: &Embedded) {
    assert!(matches!(opened.store.advance(&sample::advance(1, 0)).await, Ok(Advanced::Repeated(_))), "the rotation is kept");
    assert_eq!(opened.store.client(&sample::client()).await, Ok(Some(b"{}".to_vec())));
    assert!(!opened.first_start);
}

/// DESIGN section 4: a first start has nothing to forget.
#[tokio::test]
async fn a_first_start_demands_no_nonces() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(&directory.path().join("made/for/it"));
    let epoch = opened.ledger.epoch().unwrap();
    assert!(opened.first_start);
    assert!(!epoch.demands_nonce(START, MINUTE));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let opened = populated(&directory).await;
    opened.store.close(START).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

/// A clean stop keeps entries and epoch, once.
#[tokio::test]
async fn a_clean_stop_keeps_the_claims_and_the_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let opened = populated(directory.path()).await;
    let epoch = opened.ledger.epoch().unwrap();
    let waiting = claim(7, &opened);
    opened.store.close(START).await.unwrap();
    assert_eq!(opened.ledger.claim(&waiting, START).await, Err(LedgerError::Unavailable), "nothing is claimed after the stop");
    assert_eq!(opened.ledger.epoch(), Err(LedgerError::Unavailable));
    drop(opened);

    let opened = open(directory.path());
    assert_eq!(opened.ledger.epoch(), Ok(epoch));
    assert_kept(&opened).await;
    for number in 0..1_000 {
        assert_eq!(opened.ledger.claim(&claim(number, &opened), START).await, Ok(ClaimAnswer::Seen));
    }
    assert_eq!(opened.ledger.claim(&claim(1_000, &opened), START).await, Ok(ClaimAnswer::First));
    assert!(!directory.path().join("ledger.clean").exists(), "the file is good once");
    drop(opened);

    let opened = open(directory.path());
    assert_ne!(opened.ledger.epoch().unwrap().id, epoch.id, "the second start found no file");
}

#[tokio::test]
async fn claims_kept_over_a_stop_are_forgotten_when_their_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let opened = populated(directory.path()).await;
    opened.store.close(START).await.unwrap();
    drop(opened);
    let opened = open_at(directory.path(), START.plus(MINUTE * 10));
    assert_eq!(opened.ledger.claim(&claim(5_000, &opened), START.plus(MINUTE * 10)).await, Ok(ClaimAnswer::First));
    assert_eq!(opened.ledger.usage().claims, 1);
}

/// R5: an end that nobody announced.
#[tokio::test]
async fn an_unclean_end_changes_the_epoch_and_keeps_the_families() {
    let directory = tempfile::tempdir().unwrap();
    let opened = populated(directory.path()).await;
    let (epoch, old) = (opened.ledger.epoch().unwrap(), claim(7, &opened));
    drop(opened);

    let later = START.plus(Duration::from_secs(5));
    let opened = open_at(directory.path(), later);
    let new = opened.ledger.epoch().unwrap();
    assert_ne!(new.id, epoch.id);
    assert_eq!(new.since, Some(later));
    assert!(new.demands_nonce(later.plus(MINUTE), MINUTE) && !new.demands_nonce(later.plus(MINUTE * 2), MINUTE));
    assert_eq!(opened.ledger.claim(&old, later).await, Err(LedgerError::EpochMoved), "a proof judged before the end");
    assert_kept(&opened).await;
}

/// R5: the clock was ahead before the end and is right afterwards. Proofs of the time ahead must not become acceptable.
#[tokio::test]
async fn a_start_with_an_earlier_clock_begins_where_the_last_run_was() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    opened.store.create(&sample::family(1)).await.unwrap();
    let ahead = START.plus(MINUTE * 10);
    let request = keybound::domain::Advance { now: ahead, ..sample::advance(1, 0) };
    assert!(matches!(opened.store.advance(&request).await, Ok(Advanced::Rotated(_))));
    drop(opened);
    assert_eq!(open(directory.path()).ledger.epoch().unwrap().since, Some(ahead));
}

/// A file that is torn, changed or of another version is as good as none.
#[tokio::test]
async fn a_damaged_ledger_file_is_ignored_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let opened = populated(directory.path()).await;
    let epoch = opened.ledger.epoch().unwrap();
    opened.store.close(START).await.unwrap();
    drop(opened);
    let path = directory.path().join("ledger.clean");
    let good = fs::read(&path).unwrap();

    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let bad = [vec![], good[..40].to_vec(), good[..good.len() - 1].to_vec(), flipped(8), flipped(100), flipped(good.len() - 1)];
    for bytes in bad {
        fs::write(&path, &bytes).unwrap();
        let opened = open(directory.path());
        let new = opened.ledger.epoch().unwrap();
        assert!(new.id != epoch.id && new.since >= Some(START), "{} bytes", bytes.len());
        assert!(!path.exists());
        assert_kept(&opened).await;
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(open(directory.path()).ledger.epoch(), Ok(epoch), "the file itself is good");
}

#[tokio::test]
async fn a_second_process_on_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let opened = populated(directory.path()).await;
    let again = embedded::open(directory.path(), EmbeddedOptions::default(), START, &mut OsEntropy);
    assert!(matches!(&again, Err(StoreError::Unfit(why)) if why.contains("another process")), "{again:?}");
    assert_kept_running(&opened).await;
    drop(opened);
    open(directory.path());
}

async fn assert_kept_running(opened: &Embedded) {
    assert_eq!(opened.store.check().await, Ok(()));
    assert_eq!(opened.ledger.claim(&claim(0, opened), START).await, Ok(ClaimAnswer::Seen));
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    {
        let database = redb::Database::open(directory.path().join("families.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(meta).unwrap().insert("format", 2).unwrap();
        transaction.commit().unwrap();
    }
    let newer = embedded::open(directory.path(), EmbeddedOptions::default(), START, &mut OsEntropy);
    assert!(matches!(&newer, Err(StoreError::Unfit(why)) if why.contains("newer version")), "{newer:?}");
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("families.redb");
    let text = b"not a database at all, but somebody's notes\n".repeat(1_000);
    fs::write(&path, &text).unwrap();
    let refused = embedded::open(directory.path(), EmbeddedOptions::default(), START, &mut OsEntropy);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), text);
}

#[tokio::test]
async fn a_revocation_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let opened = open(directory.path());
    let revoked: Vec<Family> = (0..10).map(sample::family).collect();
    for family in &revoked {
        opened.store.create(family).await.unwrap();
        assert_eq!(opened.store.revoke(family.id, RevokeReason::Reuse, START).await, Ok(true));
    }
    drop(opened);
    let opened = Arc::new(open(directory.path()));
    for family in &revoked {
        assert_eq!(opened.store.revoke(family.id, RevokeReason::Reuse, START).await, Ok(false));
    }
}

/// R1, R5: claims were remembered for as long as proofs were acceptable then. A configuration that accepts them for longer begins anew.
#[tokio::test]
async fn a_clean_start_that_accepts_proofs_for_longer_begins_a_new_epoch_and_an_equal_one_does_not() {
    for (window_s, kept) in [(60, true), (59, true), (61, false)] {
        let directory = tempfile::tempdir().unwrap();
        let opened = populated(directory.path()).await;
        let before = opened.ledger.epoch().unwrap();
        opened.store.close(START).await.unwrap();
        drop(opened);
        let options = EmbeddedOptions { acceptance_window: Duration::from_secs(window_s), ..EmbeddedOptions::default() };
        let opened = embedded::open(directory.path(), options, START, &mut OsEntropy).unwrap();
        assert_eq!(opened.ledger.epoch().unwrap().id == before.id, kept, "{window_s} s");
        assert_eq!(opened.ledger.epoch().unwrap().demands_nonce(START, MINUTE), !kept, "{window_s} s");
    }
}
