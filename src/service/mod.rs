//! Use cases, without HTTP types.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{Epoch, LedgerError, NonceRole, NonceRule, Nonces, ProofPolicy, Realm, UnixTime};

use crate::clock::Clock;
use crate::domain::DetailsTypes;
use crate::domain::guarded::GuardedResources;
use crate::domain::resource::Resources;
use crate::keys::Keys;
use crate::store::{Ephemerals, Families, ReplayLedger, StoreHealth};
use crate::telemetry::{Counters, Events};

pub mod access;
pub mod access_token;
pub mod authorize;
pub mod caller;
mod client_assertion;
pub mod client_auth;
pub mod client_credentials;
pub mod client_documents;
pub mod client_keys;
pub mod clients;
pub mod code;
mod cookie_clients;
pub mod entitlement;
pub mod error;
pub mod explain;
pub mod grants;
pub(crate) mod handle;
pub mod id_token;
pub mod interaction;
pub mod introspect;
pub mod introspectors;
pub mod issuer;
mod jwt;
pub mod key_change;
pub mod par;
mod party_token;
pub mod proof;
pub mod refresh;
pub mod refresh_token;
pub mod registration;
mod request_object;
pub mod revoke;
pub mod token_exchange;
pub mod trusted_issuers;
pub mod upstream;
pub mod userinfo;
pub mod verify;
pub mod verify_token;

pub use error::TokenError;
pub use issuer::Issuer;

use authorize::AuthorizationSettings;
use client_auth::ClientAuthSettings;
use clients::ClientRegistry;
use introspectors::ResourceCredentials;
use refresh_token::RefreshTokens;
use registration::RegistrationSettings;
use trusted_issuers::TrustedIssuers;
use verify::ForeignTokens;
use verify_token::VerifiedTokens;

/// The authorization server: everything a use case needs, wired once.
pub struct AuthorizationServer {
    /// Its name and the URLs of its endpoints.
    pub issuer: Issuer,
    /// What a proof must satisfy.
    pub proof_policy: ProofPolicy,
    /// Makes and checks nonces.
    pub nonces: Nonces,
    /// Whether every proof needs a nonce, not only after an epoch change.
    pub nonce_required: bool,
    /// Whether a public client may move a grant to another key.
    pub key_change: bool,
    /// What a `jti` is unique within.
    pub realm: Realm,
    /// Refresh token families.
    pub families: Arc<dyn Families>,
    /// Remembers used proofs.
    pub ledger: Arc<dyn ReplayLedger>,
    /// Remembers used client assertions; has its own epoch where it is on another server.
    pub assertions: Arc<dyn ReplayLedger>,
    /// Sign-ins under way, codes, pushed requests.
    pub ephemerals: Arc<dyn Ephemerals>,
    /// Tells whether the store works.
    pub health: Arc<dyn StoreHealth>,
    /// Registered clients.
    pub clients: ClientRegistry,
    /// Who may register itself; `None`: nobody.
    pub registration: Option<RegistrationSettings>,
    /// What client assertions are judged by.
    pub client_auth: ClientAuthSettings,
    /// Signing keys.
    pub keys: Keys,
    /// Reads and writes refresh tokens.
    pub refresh_tokens: RefreshTokens,
    /// Registered resources.
    pub resources: Resources,
    /// How authorization requests are handled.
    pub authorization: AuthorizationSettings,
    /// Registered types of authorization details.
    pub details_types: DetailsTypes,
    /// What resource servers authenticate with when they ask about tokens.
    pub resource_credentials: ResourceCredentials,
    /// Issuers whose tokens may be exchanged.
    pub trusted_issuers: TrustedIssuers,
    /// Access tokens whose signature was checked before.
    pub verified_tokens: VerifiedTokens,
    /// Lifetimes of tokens.
    pub lifetimes: Lifetimes,
    /// Whether the FAPI 2.0 profile is in force.
    pub fapi2: bool,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The resources that gateways guard.
    pub guarded: GuardedResources,
    /// Access tokens of others whose signature was checked before.
    pub foreign_tokens: ForeignTokens,
    /// Security events.
    pub events: Events,
    /// Counts.
    pub counters: Counters,
}

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token and an ID token.
    pub access_token: Duration,
    /// A family that nobody uses.
    pub refresh_idle: Duration,
    /// Any family.
    pub refresh_absolute: Duration,
}

impl AuthorizationServer {
    /// A nonce for this authorization server, as it would be demanded now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] where the epoch is not known.
    pub fn fresh_nonce(&self, now: UnixTime) -> Result<String, LedgerError> {
        Ok(self.nonces.mint(NonceRole::AuthorizationServer, &self.ledger.epoch()?.id, now))
    }

    /// Whether a proof without a nonce would be refused now. Where the epoch is not known nothing is accepted anyway.
    pub fn demands_nonce(&self, now: UnixTime) -> bool {
        self.ledger.epoch().is_ok_and(|epoch| self.nonce_rule(epoch).demands_nonce(now, self.proof_policy.replay_window()))
    }

    fn nonce_rule(&self, epoch: Epoch) -> NonceRule<'_> {
        NonceRule { nonces: &self.nonces, role: NonceRole::AuthorizationServer, epoch, required: self.nonce_required }
    }
}

#[cfg(test)]
mod testing;
