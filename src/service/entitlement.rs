//! From evidence to tokens: what a request earned, and the only function that mints.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{Alg, FreshProof, Jkt, UnixTime};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::OsEntropy;
use crate::domain::{Client, Family, FamilyId, Generation, Grant, Scope};
use crate::service::access_token::AccessToken;
use crate::service::id_token::IdToken;
use crate::service::token_exchange::ACCESS_TOKEN_TYPE;
use crate::service::{AuthorizationServer, TokenError};

/// The key that the tokens will be bound to: taken from a spent proof, from nowhere else.
#[derive(Clone, Copy, Debug)]
struct BoundKey {
    jkt: Jkt,
    alg: Alg,
    renew_nonce: bool,
}

impl BoundKey {
    fn of(proof: FreshProof) -> Self {
        Self { jkt: *proof.jkt(), alg: proof.alg(), renew_nonce: proof.renew_nonce() }
    }
}

/// What one request earned. Only the use cases of this module's siblings make one, after the proof was spent and the grant judged.
#[derive(Debug)]
pub struct Entitlement {
    client: Arc<Client>,
    grant: Grant,
    key: Option<BoundKey>,
    family: Option<(FamilyId, Generation)>,
    refreshes: bool,
    first: bool,
    expires: Option<UnixTime>,
    scope: Scope,
    audience: Vec<String>,
    authorization_details: Vec<Map<String, Value>>,
    exchanged: Option<Exchanged>,
}

/// What a token that was exchanged hands on to the new one (RFC 8693).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exchanged {
    /// When it ends, and the new one with it.
    pub(crate) ends: UnixTime,
    /// The grant that it, and the new one with it, ends with.
    pub(crate) grant_id: Option<FamilyId>,
    /// Who acts for the subject.
    pub(crate) act: Option<Map<String, Value>>,
}

impl Exchanged {
    /// Whole seconds from the second of `now` to that of the end.
    fn remaining(&self, now: UnixTime) -> Duration {
        Duration::from_secs(u64::try_from(self.ends.as_secs() - now.as_secs()).unwrap_or(0))
    }
}

/// What of the grant this one access token carries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Narrowed {
    /// Its scope.
    pub(crate) scope: Scope,
    /// Its audience.
    pub(crate) audience: Vec<String>,
    /// Its authorization details.
    pub(crate) authorization_details: Vec<Map<String, Value>>,
}

impl Entitlement {
    /// For the use of a refresh token.
    pub(super) fn from_family(client: Arc<Client>, fresh: Option<FreshProof>, family: Family, narrowed: Narrowed) -> Self {
        Self {
            family: Some((family.id, family.generation)),
            expires: Some(family.absolute_expiry),
            refreshes: true,
            ..Self::new(client, fresh, family.grant, narrowed)
        }
    }

    /// For the use of a code: the first tokens of a family, with a refresh token where the client may use one.
    pub(super) fn from_code(client: Arc<Client>, fresh: Option<FreshProof>, family: Family, narrowed: Narrowed, refreshes: bool) -> Self {
        Self { refreshes, first: true, ..Self::from_family(client, fresh, family, narrowed) }
    }

    /// For a client on its own behalf.
    pub(super) fn from_client(client: Arc<Client>, fresh: Option<FreshProof>, narrowed: Narrowed) -> Self {
        let grant = Grant { scope: narrowed.scope.clone(), ..Grant::default() };
        Self::new(client, fresh, grant, narrowed)
    }

    /// For an exchange of tokens: bound to the key of the proof, whenever there is one, whatever the client is registered for.
    pub(super) fn from_exchange(
        client: Arc<Client>,
        fresh: Option<FreshProof>,
        grant: Grant,
        narrowed: Narrowed,
        exchanged: Exchanged,
    ) -> Self {
        let key = fresh.map(BoundKey::of);
        Self { key, exchanged: Some(exchanged), ..Self::new(client, None, grant, narrowed) }
    }

    /// A public client that is registered for bearer access tokens has only its refresh token bound (RFC 9449 section 5);
    /// whoever else sends a proof gets a bound token.
    fn new(client: Arc<Client>, fresh: Option<FreshProof>, grant: Grant, narrowed: Narrowed) -> Self {
        let bearer = client.is_public() && !client.dpop_bound_access_tokens();
        let key = fresh.filter(|_| !bearer).map(BoundKey::of);
        let Narrowed { scope, audience, authorization_details } = narrowed;
        Self {
            client,
            grant,
            key,
            family: None,
            expires: None,
            refreshes: false,
            first: false,
            scope,
            audience,
            authorization_details,
            exchanged: None,
        }
    }
}

/// The answer to a token request (RFC 6749 section 5.1): flat JSON.
#[derive(Clone, Debug, Serialize)]
pub struct TokenResponse {
    /// The access token, a JWT (RFC 9068).
    pub access_token: String,
    /// `DPoP` iff bound, else `Bearer`.
    pub token_type: &'static str,
    /// After an exchange: what kind of token `access_token` is (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'static str>,
    /// Seconds.
    pub expires_in: u64,
    /// The refresh token to use next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// When the grant ends whatever happens, where there is a refresh token. Travels with a cookie.
    #[serde(skip)]
    pub refresh_expires: Option<UnixTime>,
    /// What the access token carries.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
    /// With scope `openid` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
    /// What was granted (RFC 9396 section 7). The access token may carry less: see [`DetailsTypes::for_audience`].
    ///
    /// [`DetailsTypes::for_audience`]: crate::domain::DetailsTypes::for_audience
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Map<String, Value>>,
    /// The end user, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Whether the access token works only with the key of the proof.
    pub dpop_access_token_bound: bool,
    /// The `alg` of the proof, iff bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg: Option<Alg>,
    /// A nonce to use from now on, sent only when the one in use is about to change. Travels in a header.
    #[serde(skip)]
    pub dpop_nonce: Option<String>,
}

impl AuthorizationServer {
    /// Signs the tokens that were earned.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub(super) fn mint(&self, earned: Entitlement, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let (issuer, client_id) = (self.issuer.as_str(), earned.client.id());
        let exchanged = earned.exchanged.as_ref();
        let lifetime = exchanged.map_or(self.lifetimes.access_token, |from| from.remaining(now).min(self.lifetimes.access_token));
        let for_audience = self.details_types.for_audience(&earned.authorization_details, &earned.audience, &self.resources);
        let access_token = AccessToken {
            issuer,
            sub: earned.grant.sub.as_deref(),
            audience: &earned.audience,
            client_id,
            scope: &earned.scope,
            jkt: earned.key.map(|key| key.jkt),
            authorization_details: &for_audience,
            auth_time: earned.grant.auth_time,
            acr: earned.grant.acr.as_deref(),
            grant_id: earned.family.map(|(id, _)| id).or(exchanged.and_then(|from| from.grant_id)),
            act: exchanged.and_then(|from| from.act.as_ref()),
            now,
            lifetime,
        };
        let access_token = access_token.mint(self.keys.signer(), &mut OsEntropy).map_err(|_| TokenError::Signing)?.token;
        // Nobody signed in for an exchange.
        let id_token = if exchanged.is_none() && earned.grant.sub.is_some() && earned.scope.contains("openid") {
            let id_token =
                IdToken { issuer, client_id, grant: &earned.grant, access_token: &access_token, first: earned.first, now, lifetime };
            Some(id_token.mint(self.keys.signer()).map_err(|_| TokenError::Signing)?)
        } else {
            None
        };
        let renew = earned.key.is_some_and(|key| key.renew_nonce);
        Ok(TokenResponse {
            access_token,
            token_type: if earned.key.is_some() { "DPoP" } else { "Bearer" },
            issued_token_type: exchanged.map(|_| ACCESS_TOKEN_TYPE),
            expires_in: lifetime.as_secs(),
            refresh_token: earned.family.filter(|_| earned.refreshes).map(|(id, generation)| self.refresh_tokens.issue(id, generation)),
            refresh_expires: earned.expires,
            scope: earned.scope,
            id_token,
            authorization_details: earned.authorization_details,
            sub: earned.grant.sub,
            dpop_access_token_bound: earned.key.is_some(),
            dpop_signing_alg: earned.key.map(|key| key.alg),
            // Without an epoch there is nothing to renew with; the tokens are good all the same.
            dpop_nonce: if renew { self.fresh_nonce(now).ok() } else { None },
        })
    }
}
