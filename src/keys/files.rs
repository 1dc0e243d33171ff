//! The key directory: files that only their owner can read, and that appear complete or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::Entropy;
use zeroize::Zeroizing;

use super::KeyError;

/// Creates the directory with mode 0700 where it is not there, and refuses one that others can enter.
pub(super) fn open_directory(dir: &Path) -> Result<(), KeyError> {
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| KeyError::io(dir, error))?;
    }
    let metadata = fs::metadata(dir).map_err(|error| KeyError::io(dir, error))?;
    if !metadata.is_dir() {
        return Err(KeyError::io(dir, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    check_mode(dir, metadata.permissions().mode(), "0700")
}

/// Keeps other processes out of the directory for as long as the returned file lives.
pub(super) fn lock(dir: &Path) -> Result<File, KeyError> {
    let path = dir.join(".lock");
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(|error| KeyError::io(&path, error))?;
    file.lock().map_err(|error| KeyError::io(&path, error))?;
    Ok(file)
}

/// The text of a secret file; `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KeyError::io(path, error)),
    };
    let metadata = file.metadata().map_err(|error| KeyError::io(path, error))?;
    check_mode(path, metadata.permissions().mode(), "0600")?;
    // The capacity is given at once, so that no half-grown copy is left behind unwiped.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES));
    let read = file.take(MAX_FILE_BYTES as u64).read_to_string(&mut text).map_err(|error| KeyError::io(path, error))?;
    if read == MAX_FILE_BYTES {
        return Err(KeyError::malformed(path, "is too long"));
    }
    Ok(Some(text))
}

/// Writes a secret file that was not there before: it appears whole, durably and with mode 0600, or not at all.
///
/// Tells whether this call created it; an existing file is left as it is.
pub(super) fn create(path: &Path, text: &str, entropy: &mut dyn Entropy) -> Result<bool, KeyError> {
    let mut suffix = [0; 9];
    entropy.fill(&mut suffix);
    let draft = path.with_extension(format!("{}.tmp", URL_SAFE_NO_PAD.encode(suffix)));
    let created = write_draft(&draft, text).and_then(|()| link(&draft, path));
    // The draft is the same file as the finished one by now, or of no use.
    let removed = fs::remove_file(&draft);
    let created = created.map_err(|error| KeyError::io(path, error))?;
    removed.and_then(|()| sync_parent(path)).map_err(|error| KeyError::io(path, error))?;
    Ok(created)
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn link(draft: &Path, path: &Path) -> io::Result<bool> {
    match fs::hard_link(draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn check_mode(path: &Path, mode: u32, wanted: &'static str) -> Result<(), KeyError> {
    if mode & 0o077 == 0 { Ok(()) } else { Err(KeyError::Exposed { path: path.to_owned(), mode: mode & 0o777, wanted }) }
}

/// A private RSA key of 4096 bits is about 3 KiB as a JWK.
const MAX_FILE_BYTES: usize = 16 * 1024;
