//! The directory of the store: readable by its owner alone, and changed durably.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

/// Creates the directory, and those above it, where it is missing.
///
/// # Errors
/// Where it can't be created.
pub(super) fn ensure(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
        _ => sync(Path::new(".")),
    }
}

/// Creates the file, empty, or empties it where it exists.
///
/// # Errors
/// Where it can't be created.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    private().write(true).create(true).truncate(true).open(path)
}

/// Creates the file where it is missing; leaves it alone where it exists.
///
/// # Errors
/// Where it can't be created.
pub(super) fn ensure_file(path: &Path) -> io::Result<File> {
    private().read(true).write(true).create(true).truncate(false).open(path)
}

/// Makes the names in the directory durable.
///
/// # Errors
/// Where the system can't.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    // Elsewhere a directory can't be opened, and a rename is as durable as it gets.
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Options that give a new file to its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
