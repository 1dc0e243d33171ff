//! The replay ledger: one atomic verb, and the epoch that tells when it may have forgotten.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::{Jkt, UnixTime};

/// Remembers which proofs were used.
///
/// A false "seen" costs an honest client one more request. A false "first" lets a replay in, which is the one thing this
/// crate exists to prevent: an implementation that can't tell must answer an error, and one that is full must refuse.
pub trait Ledger: Send + Sync {
    /// The epoch in force, as far as this node knows at this moment.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] where no epoch is known, because the backend can't be reached.
    fn epoch(&self) -> Result<Epoch, LedgerError>;

    /// Records `claim.key` for at least `claim.ttl` from `now` on and tells whether it was there already: one atomic step.
    ///
    /// # Errors
    /// [`LedgerError::EpochMoved`] where the epoch in force is no longer `claim.epoch`; the claim must then not be relied on.
    /// The other variants where the outcome is unknown or the claim could not be recorded.
    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a>;
}

/// What [`Ledger::claim`] returns.
pub type ClaimFuture<'a> = Pin<Box<dyn Future<Output = Result<ClaimAnswer, LedgerError>> + Send + 'a>>;

/// One use of one proof, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is recorded.
    pub key: ReplayKey,
    /// For how long from now the proof could still be accepted, clock spread included. Never zero.
    pub ttl: Duration,
    /// The epoch under which the proof was judged.
    pub epoch: EpochId,
}

/// Whether a claim was the first one of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimAnswer {
    /// Nobody claimed this key before: it is recorded now.
    First,
    /// The key was claimed before.
    Seen,
}

/// Why the ledger can't tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The backend can't be reached, did not answer in time, or can't be trusted.
    #[error("the replay ledger is not available")]
    Unavailable,
    /// The ledger holds as many live claims as it may.
    #[error("the replay ledger is full")]
    AtCapacity,
    /// Claims may have been forgotten since the proof was judged.
    #[error("the replay epoch has moved")]
    EpochMoved,
}

/// What a `jti` must be unique within: the issuer identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(String);

impl Realm {
    /// The realm of one issuer.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self(issuer.into())
    }

    /// The issuer identifier.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name under which one use is recorded: the first 16 bytes of a SHA-256 digest.
///
/// It is made of what the key holder signed, never of the bytes of the JWT: an ECDSA signature can be re-spelled by anyone
/// (RFC 9449 section 11.1; see `s -> n - s`). It holds the key's thumbprint, so that nobody can burn another key's `jti`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayKey([u8; Self::LEN]);

impl ReplayKey {
    /// Bytes in a replay key.
    pub const LEN: usize = 16;

    /// The key of a DPoP proof: `jti`, used by the key `jkt`, in `realm`.
    pub fn of_proof(realm: &Realm, jkt: &Jkt, jti: &str) -> Self {
        Self::digest(b"v1", &[realm.0.as_bytes(), jkt.as_bytes(), jti.as_bytes()])
    }

    /// The key of a client assertion (RFC 7523): `jti`, used by the client `client_id`, in `realm`.
    pub fn of_client_assertion(realm: &Realm, client_id: &str, jti: &str) -> Self {
        Self::digest(b"v1-client-assertion", &[realm.0.as_bytes(), client_id.as_bytes(), jti.as_bytes()])
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Every part is preceded by its length, so that no two lists of parts share a digest input.
    fn digest(tag: &[u8], parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&tag).chain(parts) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; Self::LEN];
        key.copy_from_slice(&hash.finalize()[..Self::LEN]);
        Self(key)
    }
}

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Names one unbroken memory of the ledger: 16 bytes that change whenever claims may have been forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EpochId([u8; Self::LEN]);

impl EpochId {
    /// Bytes in an epoch's name.
    pub const LEN: usize = 16;

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// The ledger's memory: which one, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// Its name.
    pub id: EpochId,
    /// When it began, if anything came before it that may have been forgotten.
    pub since: Option<UnixTime>,
}

impl Epoch {
    /// Whether a proof made before this epoch could still be acceptable at `now`, when proofs live for `window` at most.
    ///
    /// While that is so, every proof needs a nonce of this epoch.
    pub fn demands_nonce(&self, now: UnixTime, window: Duration) -> bool {
        self.since.is_some_and(|since| now <= since.plus(window))
    }
}
