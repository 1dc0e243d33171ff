//! Who makes a request, as far as the guard can tell.

use std::fmt;
use std::sync::Arc;

use keybound_proofs::{FreshProof, Jkt, UnixTime};
use serde_json::Value;

use crate::token::AccessToken;

/// The verified sender of one request: it holds an access token for this API and the key that the token is bound to, and its proof was
/// used for the first time.
///
/// Only [`Guard::check`](crate::Guard::check) makes one.
#[derive(Clone)]
pub struct Caller {
    token: Arc<AccessToken>,
    jkt: Jkt,
    nonce: Option<String>,
}

impl Caller {
    pub(crate) fn new(token: Arc<AccessToken>, proof: &FreshProof, nonce: Option<String>) -> Self {
        Self { token, jkt: *proof.jkt(), nonce }
    }

    /// The user, or the client itself where it acts on its own behalf (`sub`).
    pub fn subject(&self) -> &str {
        &self.token.sub
    }

    /// The client (`client_id`).
    pub fn client_id(&self) -> &str {
        &self.token.client_id
    }

    /// The granted scope, one entry each.
    pub fn scope(&self) -> impl Iterator<Item = &str> {
        self.token.scope.iter().map(String::as_str)
    }

    /// Whether the scope holds this entry.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.token.scope.iter().any(|granted| granted == scope)
    }

    /// The thumbprint of the caller's key.
    pub const fn jkt(&self) -> &Jkt {
        &self.jkt
    }

    /// The name of the access token (`jti`).
    pub fn token_id(&self) -> &str {
        &self.token.jti
    }

    /// When the access token expires.
    pub fn expires(&self) -> UnixTime {
        self.token.exp
    }

    /// The grant that the token comes from, where the issuer says so (`grant_id`).
    pub fn grant_id(&self) -> Option<&str> {
        self.token.grant_id.as_deref()
    }

    /// What exactly was authorized (RFC 9396); an empty list where the token says nothing.
    pub fn authorization_details(&self) -> &[Value] {
        &self.token.authorization_details
    }

    /// A nonce for the `DPoP-Nonce` field of the answer, where the one in use is about to change (RFC 9449 section 8.2). Such an answer
    /// is `no-store`.
    pub fn dpop_nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("subject", &self.subject()).field("client_id", &self.client_id()).finish_non_exhaustive()
    }
}
