//! What the service keeps, as traits; one conformance suite holds every backend to them.

use std::time::Duration;

use async_trait::async_trait;
use keybound_proofs::{Claim, ClaimFuture, Jkt, Ledger, UnixTime};
use sha2::{Digest as _, Sha256};

use crate::domain::{Advance, Advanced, ClientId, Family, FamilyId, RevokeReason};

pub mod conformance;
pub mod embedded;
pub mod record;
pub mod redis;

/// Refresh token families. Every method is one atomic step on one record.
#[async_trait]
pub trait Families: Send + Sync {
    /// Stores a new family. Durable before the answer.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown or nothing was stored.
    async fn create(&self, family: &Family) -> Result<(), StoreError>;

    /// The family as it is now; `None` where there is none or it is expired. Revoked families are returned.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    async fn read(&self, id: FamilyId, now: UnixTime) -> Result<Option<Family>, StoreError>;

    /// Presents a refresh token: [`Family::decide`] in one atomic step, durable before the answer.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown. The client tries again: see the guarantees of the family.
    async fn advance(&self, request: &Advance) -> Result<Advanced, StoreError>;

    /// Ends a family for good. Durable before the answer. Tells whether this call ended it.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    async fn revoke(&self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, StoreError>;

    /// The live families that match, in a stable order, `limit` at most (a page may be shorter than `limit`, even empty, and
    /// still have a `next`).
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    async fn list(&self, filter: &FamilyFilter, cursor: Option<&str>, limit: usize, now: UnixTime) -> Result<Page, StoreError>;
}

/// Which families to list; every member that is set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyFilter {
    /// The end user.
    pub sub: Option<String>,
    /// The client.
    pub client_id: Option<ClientId>,
    /// The key that the family is bound to.
    pub jkt: Option<Jkt>,
}

impl FamilyFilter {
    /// Whether `family` matches.
    pub fn matches(&self, family: &Family) -> bool {
        self.sub.as_ref().is_none_or(|sub| family.grant.sub.as_ref() == Some(sub))
            && self.client_id.as_ref().is_none_or(|id| *id == family.client_id)
            && self.jkt.is_none_or(|jkt| family.binding == crate::domain::Binding::Key(jkt))
    }
}

/// One page of families.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The families.
    pub families: Vec<Family>,
    /// Where the next page begins, if there is one: opaque, visible ASCII.
    pub next: Option<String>,
}

/// Clients registered at run time: each an opaque JSON record under its `client_id`.
#[async_trait]
pub trait ClientRecords: Send + Sync {
    /// Stores or replaces a record. Durable before the answer.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    async fn put_client(&self, id: &ClientId, record: &[u8]) -> Result<(), StoreError>;

    /// The record, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    async fn client(&self, id: &ClientId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes a record; tells whether there was one. Durable before the answer.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError>;

    /// All records, sorted by `client_id`.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    async fn clients(&self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError>;
}

/// Short-lived records that move from state to state, each move at most once: pushed requests, interactions, codes, revoked access
/// tokens. Lost at a restart of the embedded store, which then only costs a sign-in that was under way.
#[async_trait]
pub trait Ephemerals: Send + Sync {
    /// Stores a record under a new name for `ttl`.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown, or the store holds as many records as it may: a live one is never evicted.
    async fn keep(&self, name: &EphemeralName, record: &[u8], ttl: Duration, now: UnixTime) -> Result<(), StoreError>;

    /// The record as it is now, if it is there and not over.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    async fn peek(&self, name: &EphemeralName, now: UnixTime) -> Result<Option<Vec<u8>>, StoreError>;

    /// Replaces `expected` by `next`, which lives for `ttl` from now on: one atomic step. A repetition of the same step after a
    /// lost answer finds `next` and says [`Swapped::Other`]; callers put something unique into `next` to know their own.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    async fn swap(&self, name: &EphemeralName, expected: &[u8], next: &[u8], ttl: Duration, now: UnixTime) -> Result<Swapped, StoreError>;
}

/// What [`Ephemerals::swap`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// What was expected; it is replaced.
    Done,
    /// Another record, left as it is.
    Other(Vec<u8>),
    /// Nothing.
    Gone,
}

/// The name of a short-lived record: a kind, and 16 bytes of the SHA-256 of the handle that its holder knows. The store never sees
/// the handle itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EphemeralName {
    /// What kind of record it is: keeps the kinds apart.
    pub kind: EphemeralKind,
    /// Digest of the handle.
    pub digest: [u8; 16],
}

/// The kinds of short-lived records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EphemeralKind {
    /// A pushed authorization request (RFC 9126).
    PushedRequest,
    /// A sign-in under way.
    Interaction,
    /// An authorization code.
    Code,
    /// The `jti` of an access token that was revoked alone.
    RevokedAccessToken,
}

impl EphemeralKind {
    /// One byte for key names.
    pub const fn tag(self) -> u8 {
        match self {
            Self::PushedRequest => b'p',
            Self::Interaction => b'i',
            Self::Code => b'o',
            Self::RevokedAccessToken => b'x',
        }
    }
}

impl EphemeralName {
    /// The name of the record whose holder knows `handle`.
    pub fn of(kind: EphemeralKind, handle: &str) -> Self {
        let hash = Sha256::digest(handle.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        Self { kind, digest }
    }
}

/// The replay ledger of a service that also answers for others whether a proof was used.
pub trait ReplayLedger: Ledger {
    /// Tells what [`Ledger::claim`] would answer at this moment, and records nothing: an answer of "first" is no permission, since
    /// another may claim the same key in the next moment.
    ///
    /// # Errors
    /// As [`Ledger::claim`], but for a full ledger.
    fn recall<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a>;
}

/// Whether the store can be used, for `/readyz`.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// Asks the backend itself.
    ///
    /// # Errors
    /// [`StoreError`] with what is wrong.
    async fn check(&self) -> Result<(), StoreError>;

    /// A clean stop: everything is written, nothing is accepted any more.
    ///
    /// # Errors
    /// [`StoreError`] where something could not be written.
    async fn close(&self, now: UnixTime) -> Result<(), StoreError>;
}

/// Why a store can't answer. Never shown to a client beyond 503; holds no secret and no key of a record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, did not answer in time or is not ready.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It answered something that this version can't read.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(String),
    /// It can't be used with this configuration.
    #[error("the store can't be used: {0}")]
    Unfit(String),
}
