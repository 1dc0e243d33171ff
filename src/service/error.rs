//! Why a token request is refused.

use keybound_proofs::{LedgerError, ProofError};

use crate::domain::authorization_details::MalformedDetails;
use crate::domain::details_types::RefusedDetails;
use crate::service::client_auth::ClientAuthError;
use crate::service::key_change::KeyChangeError;
use crate::service::token_exchange::ExchangeError;
use crate::store::StoreError;

/// Why no token was issued. `http/error.rs` decides what the client sees of it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The proof is missing or breaks a rule of RFC 9449 section 4.3.
    #[error(transparent)]
    Proof(ProofError),
    /// The proof needs a nonce, and this is one. Nothing was touched.
    #[error("the proof needs a nonce of this server")]
    NonceNeeded {
        /// The nonce to use.
        nonce: String,
    },
    /// The grant is not moved to another key.
    #[error(transparent)]
    KeyChange(#[from] KeyChangeError),
    /// The proof was used before.
    #[error("the proof was used before")]
    Replayed,
    /// The client could not be authenticated.
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    /// The client assertion was used before.
    #[error("the client assertion was used before")]
    AssertionReplayed,
    /// The client is not registered for this grant.
    #[error("the client may not use this grant type")]
    UnauthorizedClient,
    /// The refresh token gives nothing to this client with this key, for whatever reason.
    #[error("the refresh token is not valid for this client and key")]
    InvalidGrant,
    /// The code gives nothing to this client with this redirect URI, verifier and key, for whatever reason.
    #[error("the code is not valid for this client, redirect_uri, code_verifier and key")]
    InvalidCode,
    /// The tokens of an exchange are not good.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The scope is malformed or wider than what was granted.
    #[error("the requested scope is malformed or exceeds what was granted")]
    InvalidScope,
    /// The authorization details are malformed.
    #[error(transparent)]
    MalformedDetails(#[from] MalformedDetails),
    /// The authorization details are not what their types want, or not covered by what was granted.
    #[error(transparent)]
    RefusedDetails(#[from] RefusedDetails),
    /// The resource is unknown or not covered by what was granted.
    #[error("the requested resource is unknown or not covered by the grant")]
    InvalidTarget,
    /// The outcome is unknown or nothing could be recorded: try again later.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
    /// A token could not be signed.
    #[error("a token could not be signed")]
    Signing,
}

impl From<StoreError> for TokenError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<LedgerError> for TokenError {
    fn from(error: LedgerError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<crate::domain::resource::InvalidTarget> for TokenError {
    fn from(_: crate::domain::resource::InvalidTarget) -> Self {
        Self::InvalidTarget
    }
}
