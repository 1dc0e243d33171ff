//! The check of one request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{
    Ath, Entropy, Expected, Ledger, LedgerError, NonceRole, NonceRule, Nonces, ProofError, Realm, SpendError, TargetUri, UnixTime,
    UnverifiedProof, VerifiedProof,
};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::authorization::{Credentials, query_holds_token};
use crate::config::{GuardConfig, UnusableConfig};
use crate::keys::{CachedKeys, KeyTimes};
use crate::ledger::ReplayMemory;
use crate::source::{IssuerKeys, KeySource};
use crate::token::{AccessToken, InvalidToken, UnverifiedToken};
use crate::{Caller, Denial, Refusal};

/// A request as it came, before anything is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Unguarded<'a> {
    /// The method, as the client sent it.
    pub method: &'a str,
    /// The path, percent-encodings and all, as the client sent it.
    pub path: &'a str,
    /// The query without its question mark.
    pub query: Option<&'a str>,
    /// The values of all `Authorization` lines.
    pub authorization: &'a [&'a [u8]],
    /// The values of all `DPoP` lines.
    pub dpop: &'a [&'a [u8]],
}

/// Checks requests for one API. Made once; shared by all requests.
pub struct Guard {
    config: GuardConfig,
    keys: Arc<CachedKeys>,
    ledger: Box<dyn Ledger>,
    nonces: Nonces,
    realm: Realm,
    tokens: Cache<[u8; 32], Arc<AccessToken>>,
}

impl Guard {
    /// A guard that fetches the issuer's keys from where the issuer's metadata says.
    ///
    /// # Errors
    /// [`UnusableConfig`]. The issuer need not be there yet.
    pub fn new(config: GuardConfig, memory: ReplayMemory, entropy: &mut dyn Entropy) -> Result<Self, UnusableConfig> {
        let source = IssuerKeys::new(&config.issuer)?;
        Self::with_keys(config, memory, Box::new(source), entropy)
    }

    /// A guard that gets the issuer's keys from `source`.
    ///
    /// # Errors
    /// [`UnusableConfig`].
    pub fn with_keys(
        config: GuardConfig,
        memory: ReplayMemory,
        source: Box<dyn KeySource>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, UnusableConfig> {
        let config = config.settle()?;
        let times = KeyTimes { refresh: config.key_refresh, retry: config.key_retry, stale_limit: config.key_stale_limit };
        let (ledger, nonce_key) = memory.into_parts(entropy);
        Ok(Self {
            keys: CachedKeys::new(source, times),
            ledger,
            // One API's nonces are unknown to another (RFC 9449 section 9).
            nonces: Nonces::new(nonce_key, &config.audience, config.nonce_step),
            realm: Realm::new(config.issuer.clone()),
            tokens: Cache::builder().max_capacity(config.cached_tokens).time_to_live(TOKEN_CACHE_LIFE).build(),
            config,
        })
    }

    /// Checks a request, and uses its proof up.
    ///
    /// `now` is the one clock reading of this request. The order is that of cost: credentials, the proof's form, method, URL, nonce and
    /// time, its signature, the token, its audience, the binding, the scope; and only then the ledger. What is refused before the ledger
    /// leaves no trace.
    ///
    /// # Errors
    /// [`Refusal`], with the answer for the client.
    pub async fn check(&self, request: &Unguarded<'_>, now: UnixTime) -> Result<Caller, Refusal> {
        self.decide(request, now).await.map_err(|denial| self.refuse(denial, now))
    }

    /// Asks for more scope than every request needs.
    ///
    /// # Errors
    /// [`Refusal`] with 403 and the scope that is needed.
    pub fn demand_scope(&self, caller: &Caller, scope: &str) -> Result<(), Refusal> {
        if scope.split(' ').filter(|entry| !entry.is_empty()).all(|entry| caller.has_scope(entry)) {
            return Ok(());
        }
        Err(Refusal::new(Denial::Scope { needed: scope.to_owned() }, &self.config, None))
    }

    async fn decide(&self, request: &Unguarded<'_>, now: UnixTime) -> Result<Caller, Denial> {
        if request.query.is_some_and(query_holds_token) {
            return Err(Denial::Malformed);
        }
        let token = match Credentials::read(request.authorization).map_err(|_| Denial::Malformed)? {
            Credentials::None => return Err(Denial::NoCredentials),
            Credentials::Bearer => return Err(Denial::BearerScheme),
            Credentials::Dpop(token) => token,
        };
        let proof = self.verify_proof(request, token, now)?;
        let token = self.verify_token(token, now).await?;
        if token.jkt != Some(*proof.jkt()) {
            return Err(Denial::OtherKey);
        }
        if !self.config.scopes.iter().all(|needed| token.scope.contains(needed)) {
            return Err(Denial::Scope { needed: self.config.scopes.join(" ") });
        }
        let fresh = proof.spend(&*self.ledger, now).await.map_err(|error| match error {
            SpendError::Replayed => Denial::Replayed,
            // The proof was judged under a memory that is gone. With a nonce of the new one it can be judged again.
            SpendError::Ledger(LedgerError::EpochMoved) => Denial::NonceNeeded,
            SpendError::Ledger(error) => Denial::Ledger(error),
        })?;
        let nonce = if fresh.renew_nonce() { self.mint_nonce(now) } else { None };
        Ok(Caller::new(token, &fresh, nonce))
    }

    fn verify_proof(&self, request: &Unguarded<'_>, token: &str, now: UnixTime) -> Result<VerifiedProof, Denial> {
        let policy = &self.config.policy;
        let denied = |error: ProofError| if error.is_nonce_challenge() { Denial::NonceNeeded } else { Denial::Proof(error) };
        let proof = UnverifiedProof::from_header_values(request.dpop.iter().copied(), policy).map_err(denied)?;
        let epoch = self.ledger.epoch().map_err(Denial::Ledger)?;
        let nonce = NonceRule { nonces: &self.nonces, role: NonceRole::Gateway, epoch, required: self.config.nonces_required };
        let expected = Expected {
            policy,
            method: request.method,
            targets: &self.targets(request.path),
            access_token: Some(&Ath::of_token(token)),
            nonce,
            realm: &self.realm,
        };
        proof.verify(&expected, now).map_err(denied)
    }

    /// The URLs that the client may have called to get here. A path that climbs out of the base URL belongs to another server, and to no
    /// URL of this one.
    fn targets(&self, path: &str) -> Vec<TargetUri> {
        let beneath = |base: &str| {
            let target = TargetUri::parse(&format!("{base}{path}")).ok()?;
            let rest = target.as_str().strip_prefix(base)?;
            rest.starts_with('/').then_some(target)
        };
        if !path.starts_with('/') || path.contains(['?', '#']) {
            return Vec::new();
        }
        self.config.bases.iter().filter_map(|base| beneath(base)).collect()
    }

    /// Signature and claims are checked once for each token; time, audience and whether the issuer still publishes the key, each time.
    async fn verify_token(&self, token: &str, now: UnixTime) -> Result<Arc<AccessToken>, Denial> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.tokens.get(&digest).await {
            let (kid, thumbprint) = &known.signed_by;
            known.usable(&self.config, now).map_err(Denial::Token)?;
            if self.keys.find(kid, now).await?.is_some_and(|key| key.thumbprint() == *thumbprint) {
                return Ok(known);
            }
            self.tokens.invalidate(&digest).await;
        }
        let unverified = UnverifiedToken::read(token, &self.config).map_err(Denial::Token)?;
        let key = self.keys.find(&unverified.kid, now).await?.ok_or(Denial::Token(InvalidToken::Signature))?;
        let verified = Arc::new(unverified.verify(&key, &self.config).map_err(Denial::Token)?);
        verified.usable(&self.config, now).map_err(Denial::Token)?;
        self.tokens.insert(digest, Arc::clone(&verified)).await;
        Ok(verified)
    }

    fn refuse(&self, denial: Denial, now: UnixTime) -> Refusal {
        let demanded = || {
            let window = self.config.policy.replay_window();
            self.config.nonces_required || self.ledger.epoch().is_ok_and(|epoch| epoch.demands_nonce(now, window))
        };
        let nonce = if denial == Denial::NonceNeeded || demanded() { self.mint_nonce(now) } else { None };
        match (&denial, &nonce) {
            // A challenge without a nonce would send the client round in circles (NON-09).
            (Denial::NonceNeeded, None) => Refusal::new(Denial::Ledger(LedgerError::Unavailable), &self.config, None),
            _ => Refusal::new(denial, &self.config, nonce),
        }
    }

    fn mint_nonce(&self, now: UnixTime) -> Option<String> {
        let epoch = self.ledger.epoch().ok()?;
        Some(self.nonces.mint(NonceRole::Gateway, &epoch.id, now))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("config", &self.config).finish_non_exhaustive()
    }
}

/// How long a verified token is remembered at most. It never counts past its `exp`, whatever this is.
const TOKEN_CACHE_LIFE: Duration = Duration::from_secs(3600);

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
