//! The service's own keys: what signs tokens, and what the MACs of refresh tokens and nonces are made with.
//!
//! They live in one directory that all nodes of a service share: `root.key`, 32 random bytes from which every symmetric key
//! is derived, and one `signing-<kid>.json` for each signing key.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::Entropy;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::service::refresh_token::RefreshTokens;

mod files;
mod private_jwk;
mod purpose;
mod signer;

pub use signer::{SignError, SigningAlg, TokenSigner};

use purpose::Purpose;

/// The keys of one service.
pub struct Keys {
    root: Zeroizing<[u8; ROOT_LEN]>,
    active: Arc<TokenSigner>,
    /// Keys for other algorithms than the configured one: published, so that what they signed stays verifiable.
    others: Vec<TokenSigner>,
}

/// What [`Keys::load_or_create`] found or made.
#[derive(Debug)]
pub struct Loaded {
    /// The keys.
    pub keys: Keys,
    /// Whether this call made any of them.
    pub created: bool,
}

impl Keys {
    /// Loads the keys in `dir`, and makes what is missing: the directory (mode 0700), the root key and a signing key for `alg`
    /// (mode 0600 each).
    ///
    /// Files appear whole or not at all and are never overwritten. Processes that start together on an empty directory end
    /// with the same keys: making keys happens under a lock on `dir/.lock`. A directory that holds everything is only read.
    /// Each signing key must sign and verify before it is used.
    ///
    /// Blocks on the file system and, for PS256, on finding primes.
    ///
    /// # Errors
    /// [`KeyError`], with the path: above all where others than the owner may read.
    pub fn load_or_create(dir: &Path, alg: SigningAlg, entropy: &mut dyn Entropy) -> Result<Loaded, KeyError> {
        files::open_directory(dir)?;
        if let (Some(root), Some(signers)) = (load_root(dir)?, load_signers(dir, alg)?) {
            return Ok(Loaded { keys: Self::new(root, signers), created: false });
        }
        let _lock = files::lock(dir)?;
        let mut created = false;
        if load_root(dir)?.is_none() {
            let mut root = Zeroizing::new([0; ROOT_LEN]);
            entropy.fill(root.as_mut());
            let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(root.as_ref()) + "\n");
            created |= files::create(&dir.join(ROOT_FILE), &text, entropy)?;
        }
        if load_signers(dir, alg)?.is_none() {
            let jwk = private_jwk::generate(alg, entropy).ok_or(KeyError::Generate)?;
            let parsed = private_jwk::parse(&jwk).map_err(|_| KeyError::Generate)?;
            created |= files::create(&dir.join(format!("{SIGNING_PREFIX}{}{SIGNING_SUFFIX}", parsed.kid)), &jwk, entropy)?;
        }
        match (load_root(dir)?, load_signers(dir, alg)?) {
            (Some(root), Some(signers)) => Ok(Loaded { keys: Self::new(root, signers), created }),
            _ => Err(KeyError::io(dir, io::Error::from(io::ErrorKind::NotFound))),
        }
    }

    /// What signs tokens.
    pub fn signer(&self) -> &Arc<TokenSigner> {
        &self.active
    }

    /// The JWK Set that is published: public keys only, each with `use`, `alg` and `kid`; the one in use comes first.
    pub fn jwks(&self) -> Value {
        let keys: Vec<Map<String, Value>> = std::iter::once(&*self.active).chain(&self.others).map(TokenSigner::public_jwk).collect();
        json!({ "keys": keys })
    }

    /// Verifies a signature that a key of this directory made, under the name and the algorithm it is published with.
    ///
    /// # Errors
    /// [`NotOurs`] for another key, another algorithm and another signature.
    pub fn verify(&self, alg: &str, kid: &str, message: &[u8], signature: &[u8]) -> Result<(), NotOurs> {
        let mut signers = std::iter::once(&*self.active).chain(&self.others);
        let signer = signers.find(|signer| signer.kid() == kid && signer.alg().name() == alg).ok_or(NotOurs)?;
        signer.verify(message, signature).map_err(|_| NotOurs)
    }

    /// The key of the MAC in DPoP nonces, the same on every node that shares the directory.
    pub fn nonce_key(&self) -> [u8; 32] {
        *purpose::derive(&self.root, Purpose::Nonces)
    }

    /// Makes and reads the refresh tokens of `issuer`.
    pub fn refresh_tokens(&self, issuer: &str) -> RefreshTokens {
        RefreshTokens::new(&purpose::derive(&self.root, Purpose::RefreshTokens), issuer)
    }

    fn new(root: Zeroizing<[u8; ROOT_LEN]>, (active, others): (TokenSigner, Vec<TokenSigner>)) -> Self {
        Self { root, active: Arc::new(active), others }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("active", &self.active).field("others", &self.others).finish_non_exhaustive()
    }
}

/// No key of this service made the signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no key of this service made the signature")]
pub struct NotOurs;

/// Why the keys can't be used. Holds paths, never a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Others than the owner have access.
    #[error(
        "{} has mode {mode:04o}: others than its owner have access, so its keys may be known to them. \
         If you are sure they are not, give it mode {wanted}", path.display()
    )]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have.
        wanted: &'static str,
    },
    /// A file doesn't hold what its name says.
    #[error("{} {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two keys could sign.
    #[error("{} holds more than one signing key for {}: leave one", path.display(), alg.name())]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// The algorithm.
        alg: SigningAlg,
    },
    /// A key could not be made.
    #[error("no signing key could be made")]
    Generate,
}

impl KeyError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    fn malformed(path: &Path, problem: &'static str) -> Self {
        Self::Malformed { path: path.to_owned(), problem }
    }
}

fn load_root(dir: &Path) -> Result<Option<Zeroizing<[u8; ROOT_LEN]>>, KeyError> {
    let path = dir.join(ROOT_FILE);
    let Some(text) = files::read(&path)? else { return Ok(None) };
    let mut root = Zeroizing::new([0; ROOT_LEN]);
    match URL_SAFE_NO_PAD.decode_slice(text.trim_end_matches('\n'), root.as_mut()) {
        Ok(ROOT_LEN) => Ok(Some(root)),
        _ => Err(KeyError::malformed(&path, "is not 32 bytes in base64url")),
    }
}

/// The signer for `alg` and the others; `None` where there is none for `alg`.
fn load_signers(dir: &Path, alg: SigningAlg) -> Result<Option<(TokenSigner, Vec<TokenSigner>)>, KeyError> {
    let mut active = None;
    let mut others = Vec::new();
    for path in signing_files(dir)? {
        let Some(text) = files::read(&path)? else { continue };
        let parsed = private_jwk::parse(&text).map_err(|problem| KeyError::malformed(&path, problem))?;
        let signer = TokenSigner::new(parsed).map_err(|_| KeyError::malformed(&path, "holds a key that fails its self-test"))?;
        if signer.alg() != alg {
            others.push(signer);
        } else if active.replace(signer).is_some() {
            return Err(KeyError::Ambiguous { path: dir.to_owned(), alg });
        }
    }
    Ok(active.map(|active| (active, others)))
}

fn signing_files(dir: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| KeyError::io(dir, error))? {
        let entry = entry.map_err(|error| KeyError::io(dir, error))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(SIGNING_PREFIX) && name.ends_with(SIGNING_SUFFIX)) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

const ROOT_LEN: usize = 32;
const ROOT_FILE: &str = "root.key";
const SIGNING_PREFIX: &str = "signing-";
const SIGNING_SUFFIX: &str = ".json";

#[cfg(test)]
pub(crate) mod tests;
