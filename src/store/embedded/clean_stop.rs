//! What a clean stop leaves for the next start: the live claims and the epoch they belong to.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `KBLEDGER` |
//! | 1 | version, 1 |
//! | 16 | the epoch's name |
//! | 1 + 8 | whether the epoch has a start, and the start in ms |
//! | 8 | the end of the latest claim that was forgotten, ms |
//! | 8 | how long after its `iat` a proof was acceptable, ms |
//! | 8 + 8 + n * 16, until the digest | a bucket: its end in ms, n, and n keys |
//! | 32 | SHA-256 of all before |
//!
//! The file is good once: it is deleted, and the deletion made durable, before anything is claimed. It must not be part of a
//! backup: restored later, it would vouch for a memory that misses everything since.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keybound_proofs::{Epoch, EpochId, ReplayKey, UnixTime};
use sha2::{Digest as _, Sha256};

use super::directory;
use super::ledger::Stopped;

/// What the last run remembered.
pub(super) struct Memory {
    pub(super) epoch: Epoch,
    pub(super) forgotten_until: UnixTime,
    pub(super) acceptance_window: Duration,
    pub(super) buckets: Vec<(UnixTime, Vec<[u8; ReplayKey::LEN]>)>,
}

/// What was found in the directory.
pub(super) enum Found {
    /// No file.
    Nothing,
    /// A file that is torn, of another version or not ours.
    Unusable,
    /// The memory of the last run.
    Memory(Memory),
}

/// Takes the file out of `directory`: when this returns, no later start will find it.
///
/// # Errors
/// Where the file can't be read or deleted, or the deletion can't be made durable.
pub(super) fn take(directory: &Path) -> io::Result<Found> {
    let path = path(directory);
    // What a stop left that did not come to its end; nothing depends on it.
    let _ = fs::remove_file(temporary(directory));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    fs::remove_file(&path)?;
    directory::sync(directory)?;
    Ok(parse(&bytes).map_or(Found::Unusable, Found::Memory))
}

/// Leaves the file in `directory`.
///
/// # Errors
/// Where it can't be written or made durable.
pub(super) fn leave(directory: &Path, stopped: &Stopped, acceptance_window: Duration) -> io::Result<()> {
    let temporary = temporary(directory);
    let file = directory::create_file(&temporary)?;
    write(&file, stopped, acceptance_window)?;
    file.sync_all()?;
    fs::rename(&temporary, path(directory))?;
    directory::sync(directory)
}

fn path(directory: &Path) -> PathBuf {
    directory.join("ledger.clean")
}

fn temporary(directory: &Path) -> PathBuf {
    directory.join("ledger.clean.tmp")
}

fn write(file: &File, stopped: &Stopped, acceptance_window: Duration) -> io::Result<()> {
    let mut out = Digesting { inner: BufWriter::new(file), digest: Sha256::new() };
    out.write_all(MAGIC)?;
    out.write_all(stopped.epoch.id.as_bytes())?;
    out.write_all(&[u8::from(stopped.epoch.since.is_some())])?;
    out.write_all(&stopped.epoch.since.unwrap_or_default().as_millis().to_be_bytes())?;
    out.write_all(&stopped.forgotten_until.as_millis().to_be_bytes())?;
    let window = u64::try_from(acceptance_window.as_millis()).unwrap_or(u64::MAX);
    out.write_all(&window.to_be_bytes())?;
    for bucket in &stopped.buckets {
        out.write_all(&bucket.end.as_millis().to_be_bytes())?;
        out.write_all(&(bucket.keys.len() as u64).to_be_bytes())?;
        for key in &bucket.keys {
            out.write_all(key)?;
        }
    }
    let Digesting { mut inner, digest } = out;
    inner.write_all(&digest.finalize())?;
    inner.flush()
}

fn parse(bytes: &[u8]) -> Option<Memory> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST_LEN>()?;
    if Sha256::digest(body).as_slice() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let id = EpochId::from_bytes(take_array(&mut rest)?);
    let has_start = match take_array(&mut rest)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let start = take_instant(&mut rest)?;
    let forgotten_until = take_instant(&mut rest)?;
    let acceptance_window = Duration::from_millis(u64::from_be_bytes(take_array(&mut rest)?));
    let mut buckets = Vec::new();
    while !rest.is_empty() {
        let end = take_instant(&mut rest)?;
        let count = usize::try_from(u64::from_be_bytes(take_array(&mut rest)?)).ok()?;
        let (keys, after) = rest.split_at_checked(count.checked_mul(ReplayKey::LEN)?)?;
        rest = after;
        buckets.push((end, keys.as_chunks().0.to_vec()));
    }
    Some(Memory { epoch: Epoch { id, since: has_start.then_some(start) }, forgotten_until, acceptance_window, buckets })
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*array)
}

fn take_instant(rest: &mut &[u8]) -> Option<UnixTime> {
    take_array(rest).map(|bytes| UnixTime::from_millis(i64::from_be_bytes(bytes)))
}

/// Passes bytes on and keeps their digest.
struct Digesting<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The name of the format and its version.
const MAGIC: &[u8] = b"KBLEDGER\x01";
const DIGEST_LEN: usize = 32;
