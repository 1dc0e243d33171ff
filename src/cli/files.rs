//! Files that hold one secret each: keys and tokens.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;

use keybound_proofs::{Alg, ProofKey};
use zeroize::Zeroizing;

use crate::cli::CliError;
use crate::clock::OsEntropy;

/// Reads a file that holds one value, less white space at its ends.
pub(super) fn read_secret(path: &Path, what: &str) -> Result<Zeroizing<String>, CliError> {
    let content = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| unusable(path, what, &error))?);
    let value = Zeroizing::new(content.trim().to_owned());
    if value.is_empty() {
        return Err(CliError::Unusable(format!("{}: the {what} file is empty", path.display())));
    }
    Ok(value)
}

/// Replaces the content of a file in one step: after a crash it holds either the old or the new value. Readable by its owner only.
/// There is no line end, so that `curl --data-urlencode name@file` sends the value itself.
pub(super) fn replace_secret(path: &Path, value: &str, what: &str) -> Result<(), CliError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(value.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename is durable when the directory is.
        std::fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| unusable(path, what, &error))
}

/// Reads a private key: a JWK (RFC 7517), or `-` for standard input.
pub(super) fn read_key(path: &Path) -> Result<ProofKey, CliError> {
    let text = if path == Path::new("-") {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin().read_to_string(&mut text).map_err(|error| unusable(path, "key", &error))?;
        text
    } else {
        if !path.exists() {
            return Err(CliError::Unusable(format!(
                "{}: there is no key file; make one with `keybound proof make --new-key …`",
                path.display()
            )));
        }
        read_secret(path, "key")?
    };
    ProofKey::from_private_jwk(text.trim().as_bytes()).map_err(|error| CliError::Unusable(format!("{}: {error}", path.display())))
}

/// Makes a key and its file, with mode 0600. A file that exists is left alone and is an error.
pub(super) fn create_key(path: &Path, alg: Alg) -> Result<ProofKey, CliError> {
    let key = ProofKey::generate(alg, &mut OsEntropy).map_err(|error| CliError::Unusable(error.to_string()))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(key.to_private_jwk().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|error| unusable(path, "key", &error))?;
    Ok(key)
}

fn unusable(path: &Path, what: &str, error: &std::io::Error) -> CliError {
    CliError::Unusable(format!("{}: the {what} file can't be used: {error}", path.display()))
}
