//! May this call pass? The answer to an API gateway (RFC 9449 section 7).

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{
    Ath, ClaimAnswer, Expected, Jkt, LedgerError, NonceRole, NonceRule, ProofError, ProofPolicy, SpendError, TargetUri, UnixTime,
    UnverifiedProof, VerifiedProof,
};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};

use crate::domain::Scope;
use crate::domain::guarded::{Guarded, RequestUrl};
use crate::service::AuthorizationServer;
use crate::service::access::{Scheme, read_authorization};
use crate::service::explain::{Explanation, Trace};
use crate::service::trusted_issuers::{ForeignAccessToken, ForeignTokenError};
use crate::service::verify_token::{AccessTokenClaims, AccessTokenError, InvalidAccessToken, TokenBinding, VerifiedAccessToken};
use crate::telemetry::Event;

/// A call to a protected resource, as its gateway reports it.
#[derive(Clone, Copy, Debug)]
pub struct GatewayCall<'a> {
    /// The method that the client used.
    pub method: &'a str,
    /// Where the client sent it.
    pub url: &'a RequestUrl<'a>,
    /// Every value of every `Authorization` line.
    pub authorization: &'a [&'a [u8]],
    /// Every value of every `DPoP` line.
    pub proofs: &'a [&'a [u8]],
    /// What the call needs beside what the resource asks of every call.
    pub scope: Option<&'a Scope>,
    /// The `id` of the resource that the gateway believes the call is for.
    pub resource: Option<&'a str>,
    /// Who answers for replays.
    pub replay: Replay,
    /// Whether to tell how each check went.
    pub explain: bool,
}

impl<'a> GatewayCall<'a> {
    /// A call of which nothing more is said: judged by what its resource asks of every call, its proof used up.
    pub const fn plain(method: &'a str, url: &'a RequestUrl<'a>, authorization: &'a [&'a [u8]], proofs: &'a [&'a [u8]]) -> Self {
        Self { method, url, authorization, proofs, scope: None, resource: None, replay: Replay::Consume, explain: false }
    }
}

/// Who answers for replays, where a gateway and a service behind it both have a call judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replay {
    /// This judgement: the proof is used up.
    #[default]
    Consume,
    /// A later one: what was used before is refused, and nothing is recorded.
    Check,
    /// Another one altogether.
    None,
}

/// What is to become of a call.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The resource it is for; `None` where there is no such resource.
    pub guarded: Option<&'a Guarded>,
    /// Whether it may pass.
    pub outcome: Result<Allowed, Denial>,
    /// A nonce for the client, where one is due.
    pub dpop_nonce: Option<String>,
    /// How each check went, where that was asked.
    pub explanation: Option<Explanation>,
}

/// Evidence that a call may pass: whoever holds the key of a good token makes it.
///
/// Only [`AuthorizationServer::judge_call`] makes one.
#[derive(Debug)]
pub struct Allowed {
    token: GatewayToken,
    jkt: Jkt,
    /// What goes on in `Authorization`, where that is not what the client sent.
    pub upstream_authorization: Option<String>,
}

impl Allowed {
    /// What the token says.
    pub fn claims(&self) -> &AccessTokenClaims {
        self.token.claims()
    }

    /// The trusted issuer of the token; `None`: this service.
    pub fn foreign_issuer(&self) -> Option<&str> {
        match &self.token {
            GatewayToken::Own(_) => None,
            GatewayToken::Foreign(token) => Some(token.issuer()),
        }
    }

    /// The key that the token is bound to.
    pub const fn jkt(&self) -> &Jkt {
        &self.jkt
    }
}

#[derive(Debug)]
enum GatewayToken {
    Own(Arc<VerifiedAccessToken>),
    Foreign(Arc<ForeignAccessToken>),
}

impl GatewayToken {
    fn claims(&self) -> &AccessTokenClaims {
        match self {
            Self::Own(token) => token,
            Self::Foreign(token) => token.claims(),
        }
    }
}

/// Remembers which tokens of trusted issuers were verified, by the SHA-256 of the token.
///
/// A key that its issuer withdraws goes on to count for [`ForeignTokens::LIFETIME`] at most.
#[derive(Clone)]
pub struct ForeignTokens(Cache<[u8; 32], Arc<ForeignAccessToken>>);

impl ForeignTokens {
    /// The most tokens remembered.
    pub const CAPACITY: u64 = 20_000;

    /// The longest time for which one is remembered.
    pub const LIFETIME: Duration = Duration::from_secs(60);
}

impl Default for ForeignTokens {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(Self::CAPACITY).time_to_live(Self::LIFETIME).build())
    }
}

impl AuthorizationServer {
    /// Judges one call at one instant: resource, credentials, the twelve checks of RFC 9449 section 4.3, the token with its audience and
    /// scope, and last, together in one round trip, whether the token still counts and the proof is fresh.
    ///
    /// A call that is refused before that last step leaves no trace.
    pub async fn judge_call(&self, call: &GatewayCall<'_>, now: UnixTime) -> Verdict<'_> {
        let mut trace = Trace::default();
        let found = self.guarded.find(call.url);
        let guarded = found.as_ref().map(|(guarded, _)| *guarded);
        let judged = match found {
            None => Err(Denial::UnknownResource),
            Some((guarded, _)) if call.resource.is_some_and(|id| id != guarded.resource.id) => Err(Denial::OtherResource),
            Some((guarded, target)) => self.judge_at(guarded, target, call, &mut trace, now).await,
        };
        let explanation = call.explain.then(|| trace.explain(call, judged.as_ref().err()));
        let due = match (&judged, guarded) {
            (Ok(judged), _) => judged.renew_nonce,
            (Err(Denial::NonceNeeded), _) => true,
            (Err(denial), Some(guarded)) => denial.is_unauthorized() && self.gateway_demands_nonce(guarded, now),
            (Err(_), None) => false,
        };
        let nonce = if due { self.gateway_nonce(now).map(Some) } else { Ok(None) };
        let outcome = match (judged, &nonce) {
            (Err(Denial::NonceNeeded), Err(error)) => Err(Denial::Unavailable(error.to_string())),
            (judged, _) => judged.map(|judged| judged.allowed),
        };
        self.counters.count(outcome.as_ref().map_or_else(Denial::reason, |_| "allowed"));
        // Without an epoch there is nothing to renew with; the answer holds all the same.
        Verdict { guarded, outcome, dpop_nonce: nonce.unwrap_or(None), explanation }
    }

    async fn judge_at(
        &self,
        guarded: &Guarded,
        target: TargetUri,
        call: &GatewayCall<'_>,
        trace: &mut Trace,
        now: UnixTime,
    ) -> Result<Judged, Denial> {
        let credentials = read_authorization(call.authorization).map_err(|_| Denial::MalformedCredentials)?;
        let (scheme, token) = credentials.ok_or(Denial::NoCredentials)?;
        if call.url.holds_token() {
            return Err(Denial::MalformedCredentials);
        }
        if scheme == Scheme::Bearer {
            return Err(Denial::BearerScheme);
        }
        let proof = self.verify_gateway_proof(guarded, target, call, token, trace, now)?;
        let jkt = *proof.jkt();
        let verified = self.gateway_token(token, now).await?;
        let claims = verified.claims();
        match claims.binding {
            TokenBinding::Key(bound) if bound == jkt => trace.bound(),
            TokenBinding::Key(_) => return Err(Denial::OtherKey),
            TokenBinding::Bearer => return Err(Denial::Unbound),
        }
        if !claims.audience.contains(&guarded.resource.audience) {
            return Err(Denial::Audience);
        }
        self.check_scope(guarded, claims, call.scope)?;

        let renew_nonce = proof.renew_nonce();
        let (alive, unused) = tokio::join!(self.is_alive(&verified, now), self.is_unused(proof, call.replay, &guarded.proof_policy, now));
        // What is certain comes before what is not.
        match (alive, unused) {
            (Err(Denial::Ended), _) => return Err(Denial::Ended),
            (_, Err(Denial::Replayed)) => {
                self.events.record(Event::replay(&jkt), now);
                return Err(Denial::Replayed);
            }
            (Err(denial), _) | (Ok(()), Err(denial)) => return Err(denial),
            (Ok(()), Ok(())) => {}
        }
        let upstream_authorization = self.upstream_authorization(guarded, token, verified.claims(), now)?;
        Ok(Judged { allowed: Allowed { token: verified, jkt, upstream_authorization }, renew_nonce })
    }

    fn verify_gateway_proof(
        &self,
        guarded: &Guarded,
        target: TargetUri,
        call: &GatewayCall<'_>,
        token: &str,
        trace: &mut Trace,
        now: UnixTime,
    ) -> Result<VerifiedProof, Denial> {
        let policy = &guarded.proof_policy;
        let unverified = UnverifiedProof::from_header_values(call.proofs.iter().copied(), policy).map_err(Denial::Proof)?;
        if call.explain {
            trace.parsed(&unverified, target.as_str());
        }
        let epoch = self.ledger.epoch().map_err(Denial::unavailable)?;
        let expected = Expected {
            policy,
            method: call.method,
            targets: std::slice::from_ref(&target),
            access_token: Some(&Ath::of_token(token)),
            nonce: NonceRule { nonces: &self.nonces, role: NonceRole::Gateway, epoch, required: guarded.nonce_required },
            realm: &self.realm,
        };
        match unverified.verify(&expected, now) {
            Ok(proof) => {
                trace.verified();
                Ok(proof)
            }
            Err(error) if error.is_nonce_challenge() => Err(Denial::NonceNeeded),
            Err(error) => Err(Denial::Proof(error)),
        }
    }

    /// Verifies a token as one of ours, or as one of a trusted issuer.
    async fn gateway_token(&self, token: &str, now: UnixTime) -> Result<GatewayToken, Denial> {
        let reason: &dyn std::error::Error = match self.verify_access_token(token, now).await {
            Ok(verified) => return Ok(GatewayToken::Own(verified)),
            Err(InvalidAccessToken::Expired) => return Err(Denial::Expired),
            Err(InvalidAccessToken::Issuer) if !self.trusted_issuers.is_empty() => match self.foreign_token(token, now).await {
                Ok(verified) => return Ok(GatewayToken::Foreign(verified)),
                Err(ForeignTokenError::Expired) => return Err(Denial::Expired),
                Err(ForeignTokenError::Keys(error)) => return Err(Denial::unavailable(error)),
                Err(error) => &error.clone(),
            },
            Err(error) => &error.clone(),
        };
        tracing::debug!(%reason, "an access token was refused at the gateway");
        Err(Denial::InvalidToken)
    }

    async fn foreign_token(&self, token: &str, now: UnixTime) -> Result<Arc<ForeignAccessToken>, ForeignTokenError> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let verified = match self.foreign_tokens.0.get(&digest).await {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(self.trusted_issuers.verify_access_token(token, now).await?);
                self.foreign_tokens.0.insert(digest, Arc::clone(&verified)).await;
                verified
            }
        };
        if now >= verified.claims().exp { Err(ForeignTokenError::Expired) } else { Ok(verified) }
    }

    /// A token needs one of the scopes that the resource owns, and all that the gateway asks for.
    fn check_scope(&self, guarded: &Guarded, claims: &AccessTokenClaims, asked: Option<&Scope>) -> Result<(), Denial> {
        let owned = &guarded.resource.scopes;
        if !owned.is_empty() && !owned.iter().any(|token| claims.scope.contains(token)) {
            return Err(Denial::Scope { needed: owned.to_string() });
        }
        match asked {
            Some(asked) if !asked.is_subset(&claims.scope) => Err(Denial::Scope { needed: asked.to_string() }),
            _ => Ok(()),
        }
    }

    /// Whether a verified token still counts. What other issuers revoke they don't tell us.
    async fn is_alive(&self, token: &GatewayToken, now: UnixTime) -> Result<(), Denial> {
        let GatewayToken::Own(token) = token else { return Ok(()) };
        match self.still_live(Arc::clone(token), now).await {
            Ok(_) => Ok(()),
            Err(AccessTokenError::Ended | AccessTokenError::Invalid(_)) => Err(Denial::Ended),
            Err(AccessTokenError::Store(error)) => Err(Denial::unavailable(error)),
        }
    }

    async fn is_unused(&self, proof: VerifiedProof, replay: Replay, policy: &ProofPolicy, now: UnixTime) -> Result<(), Denial> {
        let answer = match replay {
            Replay::Consume => {
                let remembered = proof.claim().ttl;
                match proof.spend(&*self.ledger, now).await {
                    Ok(_) => self.in_time(remembered, policy, now).map_err(SpendError::from),
                    Err(error) => Err(error),
                }
            }
            Replay::Check => match self.ledger.recall(proof.claim(), now).await {
                Ok(ClaimAnswer::First) => Ok(()),
                Ok(ClaimAnswer::Seen) => Err(SpendError::Replayed),
                Err(error) => Err(error.into()),
            },
            Replay::None => Ok(()),
        };
        answer.map_err(|error| match error {
            SpendError::Replayed => Denial::Replayed,
            SpendError::Ledger(LedgerError::EpochMoved) => Denial::NonceNeeded,
            SpendError::Ledger(error) => Denial::unavailable(error),
        })
    }

    fn gateway_nonce(&self, now: UnixTime) -> Result<String, LedgerError> {
        Ok(self.nonces.mint(NonceRole::Gateway, &self.ledger.epoch()?.id, now))
    }

    fn gateway_demands_nonce(&self, guarded: &Guarded, now: UnixTime) -> bool {
        let young = |epoch: keybound_proofs::Epoch| epoch.demands_nonce(now, guarded.proof_policy.replay_window());
        guarded.nonce_required || self.ledger.epoch().is_ok_and(young)
    }
}

struct Judged {
    allowed: Allowed,
    renew_nonce: bool,
}

/// Why a call may not pass. `http/gateway/answer.rs` decides what the client sees of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
    /// No registered resource lies at this URL.
    #[error("no resource is registered at this URL")]
    UnknownResource,
    /// The URL belongs to another resource than the gateway says.
    #[error("the URL belongs to another resource")]
    OtherResource,
    /// No access token was presented.
    #[error("no access token was presented")]
    NoCredentials,
    /// More than one token, or no token after the scheme.
    #[error("send one access token, in one Authorization header and nowhere else")]
    MalformedCredentials,
    /// A token came as a bearer token.
    #[error("access tokens are bound to a key here: use the DPoP scheme, with a proof")]
    BearerScheme,
    /// The proof is missing or breaks a rule of RFC 9449 section 4.3.
    #[error(transparent)]
    Proof(ProofError),
    /// The proof needs a nonce. Nothing was touched.
    #[error("the proof needs the nonce of the DPoP-Nonce header")]
    NonceNeeded,
    /// The proof was used before.
    #[error("this proof was used before; sign a new one for each request")]
    Replayed,
    /// No access token of an issuer that counts here.
    #[error("the access token is malformed, or not of an issuer that counts here")]
    InvalidToken,
    /// It was one.
    #[error("the access token has expired")]
    Expired,
    /// It, its grant or its client was put out of use.
    #[error("the access token was revoked")]
    Ended,
    /// It is for other resources.
    #[error("the access token is not for this resource")]
    Audience,
    /// It is bound to no key.
    #[error("the access token is not bound to the key of the proof")]
    Unbound,
    /// It is bound to another key than the proof's.
    #[error("the access token is bound to another key")]
    OtherKey,
    /// Its scope does not reach.
    #[error("the access token lacks the scope {needed}")]
    Scope {
        /// What would reach.
        needed: String,
    },
    /// The outcome is unknown: try again later.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
}

impl Denial {
    fn unavailable(error: impl std::fmt::Display) -> Self {
        Self::Unavailable(error.to_string())
    }

    /// Whether other credentials would help, so that a client may need a nonce for its next try.
    const fn is_unauthorized(&self) -> bool {
        !matches!(self, Self::UnknownResource | Self::OtherResource | Self::Scope { .. } | Self::Unavailable(_))
    }

    /// A stable name in snake_case, for counts.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownResource => "unknown_resource",
            Self::OtherResource => "other_resource",
            Self::NoCredentials => "no_credentials",
            Self::MalformedCredentials => "malformed_credentials",
            Self::BearerScheme => "bearer_scheme",
            Self::Proof(error) => error.code(),
            Self::NonceNeeded => ProofError::UseNonce.code(),
            Self::Replayed => "replayed",
            Self::InvalidToken => "token_invalid",
            Self::Expired => "token_expired",
            Self::Ended => "token_ended",
            Self::Audience => "token_audience",
            Self::Unbound => "token_unbound",
            Self::OtherKey => "token_other_key",
            Self::Scope { .. } => "scope",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
