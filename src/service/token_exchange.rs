//! One token for another (RFC 8693).

use std::sync::Arc;

use keybound_proofs::{Ath, UnixTime, UnverifiedProof, VerifiedProof};
use serde_json::{Map, Value};

use crate::domain::client::{Client, GrantType};
use crate::domain::{AuthorizationDetails, Scope};
use crate::service::client_auth::Presented;
use crate::service::entitlement::{Entitlement, Exchanged, Narrowed, TokenResponse};
use crate::service::jwt::UnverifiedJwt;
use crate::service::party_token::{Actor, PartyBinding, PartyToken};
use crate::service::proof::PresentedProof;
use crate::service::refresh::Narrowing;
use crate::service::trusted_issuers::ForeignTokenError;
use crate::service::verify_token::{AccessTokenError, InvalidAccessToken, LiveAccessToken, TokenBinding};
use crate::service::{AuthorizationServer, TokenError};
use crate::telemetry::Event;

/// A token exchange request whose parameters are present but not yet judged.
pub struct TokenExchangeRequest<'a> {
    /// The proof: by the key of the subject token and with its `ath` where that is bound, else by the key that the new token will
    /// be bound to.
    pub proof: PresentedProof<'a>,
    /// Who asks.
    pub client: Presented<'a>,
    /// The token to exchange.
    pub subject: PresentedToken<'a>,
    /// The token of whoever acts for the subject.
    pub actor: Option<PresentedToken<'a>>,
    /// `requested_token_type`, where there is one.
    pub requested_token_type: Option<&'a str>,
    /// What is asked for; `resource` holds the `audience` parameters too. All absent: as much as the subject token gives.
    pub asked: Narrowing<'a>,
}

/// A token and what it is said to be.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    /// The token.
    pub token: &'a str,
    /// Its type, one of the URIs of RFC 8693 section 3.
    pub token_type: &'a str,
}

/// The type of an access token (RFC 8693 section 3): the only one that is issued.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The type of a JWT (RFC 8693 section 3).
const JWT_TYPE: &str = "urn:ietf:params:oauth:token-type:jwt";

impl AuthorizationServer {
    /// Exchanges a subject token, of this service or of a trusted issuer, for an access token of this service.
    ///
    /// The new token is never wider than the subject token: not in scope, audience, authorization details or lifetime. It ends with the
    /// grant of the subject token, where that has one here. It is bound to the key of the proof whenever there is one; for a bound
    /// subject token there must be one, and by that very key, unless the policy of the client or of the issuer says otherwise.
    ///
    /// Until the proof is spent, at the very end, nothing leaves a trace.
    ///
    /// # Errors
    /// [`TokenError`]; [`TokenError::Exchange`] for what is wrong with the tokens.
    pub async fn exchange_token(&self, request: TokenExchangeRequest<'_>, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let (proof, has_ath) = self.verify_exchange_proof(&request.proof, request.subject.token, now)?;
        let caller = self.authenticate(request.client, now).await?;
        let client = Arc::clone(&caller.client);
        self.require_proof(proof.as_ref(), client.is_public() || client.dpop_bound_access_tokens())?;
        if !client.allows_grant(GrantType::TokenExchange) {
            return Err(TokenError::UnauthorizedClient);
        }
        if request.requested_token_type.is_some_and(|wanted| wanted != ACCESS_TOKEN_TYPE) {
            return Err(ExchangeError::RequestedType.into());
        }
        let subject = self.verify_party(request.subject, &client, Party::Subject, now).await?;
        judge_subject_key(&subject, &client, proof.as_ref(), has_ath)?;
        let actor = match request.actor {
            None => acting_client(&subject, &client),
            Some(token) => Some(self.verify_actor(token, &client, proof.as_ref(), now).await?),
        };
        let act = self.judge_actor(&subject, actor.as_ref())?;
        let narrowed = self.narrow_subject(&subject, &client, &request.asked)?;
        let exchanged = Exchanged { ends: subject.expires, grant_id: subject.grant_id, act };
        let nothing_more = async { Ok::<(), TokenError>(()) };
        let (fresh, ()) = self.spend_with(proof, &caller, nothing_more, now).await?;
        let response = self.mint(Entitlement::from_exchange(Arc::clone(&client), fresh, subject.into_grant(), narrowed, exchanged), now)?;
        self.events.record(Event::TokenExchanged { client_id: client.id().clone(), bound: response.dpop_access_token_bound }, now);
        Ok(response)
    }

    /// A proof with `ath` is one for the use of the subject token, and must name that (the exception to DPOP-4.3-15).
    fn verify_exchange_proof(
        &self,
        presented: &PresentedProof<'_>,
        subject_token: &str,
        now: UnixTime,
    ) -> Result<(Option<VerifiedProof>, bool), TokenError> {
        let read = UnverifiedProof::from_header_values(presented.header_values.iter().copied(), &self.proof_policy);
        if read.is_ok_and(|proof| proof.unverified_claims().has_ath()) {
            let proof = self.verify_proof_of_use(presented, &Ath::of_token(subject_token), now)?;
            return Ok((proof, true));
        }
        Ok((self.verify_proof(presented, now)?, false))
    }

    async fn verify_party(
        &self,
        presented: PresentedToken<'_>,
        client: &Client,
        party: Party,
        now: UnixTime,
    ) -> Result<PartyToken, TokenError> {
        if ![ACCESS_TOKEN_TYPE, JWT_TYPE].contains(&presented.token_type) {
            return Err(ExchangeError::TokenType(party).into());
        }
        let jwt = UnverifiedJwt::parse(presented.token).map_err(|error| refused(party, &error))?;
        let token = if jwt.claims.get("iss").is_some_and(|issuer| *issuer == self.issuer.as_str()) {
            let token = self.live_access_token(presented.token, now).await;
            own_token(&token.map_err(|error| match error {
                AccessTokenError::Store(error) => error.into(),
                error => refused(party, &error),
            })?)
        } else {
            self.trusted_issuers.verify(presented.token, client.id(), now).await.map_err(|error| match error {
                ForeignTokenError::Keys(error) => TokenError::Unavailable(format!("the keys of a trusted issuer: {error}")),
                error => refused(party, &error),
            })?
        };
        // Less than a second can't be given out.
        if token.expires.as_secs() <= now.as_secs() {
            return Err(refused(party, &InvalidAccessToken::Expired));
        }
        // A public client proves nothing about itself: what was issued to another is not its to exchange.
        let of_another = token.issuer.is_none() && token.client_id.as_deref() != Some(client.id().as_str());
        if client.is_public() && of_another {
            return Err(ExchangeError::OtherClient(party).into());
        }
        Ok(token)
    }

    /// One request carries one proof: a bound actor token must be bound to its key.
    async fn verify_actor(
        &self,
        presented: PresentedToken<'_>,
        client: &Client,
        proof: Option<&VerifiedProof>,
        now: UnixTime,
    ) -> Result<Actor, TokenError> {
        let token = self.verify_party(presented, client, Party::Actor, now).await?;
        match token.binding {
            PartyBinding::Bearer => {}
            PartyBinding::Key(jkt) if proof.is_some_and(|proof| *proof.jkt() == jkt) => {}
            PartyBinding::Key(_) | PartyBinding::Other => return Err(ExchangeError::ActorKey.into()),
        }
        Ok(Actor { sub: token.sub, issuer: token.issuer })
    }

    fn judge_actor(&self, subject: &PartyToken, actor: Option<&Actor>) -> Result<Option<Map<String, Value>>, ExchangeError> {
        let Some(actor) = actor else { return Ok(subject.act.clone()) };
        if subject.may_act.as_ref().is_some_and(|may_act| !actor.is_meant_by(may_act, self.issuer.as_str())) {
            return Err(ExchangeError::MayNotAct);
        }
        actor.claim(subject.act.as_ref()).map(Some).map_err(|_| ExchangeError::ChainTooLong)
    }

    fn narrow_subject(&self, subject: &PartyToken, client: &Client, asked: &Narrowing<'_>) -> Result<Narrowed, TokenError> {
        let scope = match asked.scope {
            None => subject.scope.iter().filter(|token| client.scope().contains(token)).collect(),
            Some(text) => {
                let scope = Scope::parse(text).ok();
                scope.filter(|scope| scope.is_subset(&subject.scope) && scope.is_subset(client.scope())).ok_or(TokenError::InvalidScope)?
            }
        };
        let authorization_details = self.narrow_subject_details(subject, client, asked)?;
        let (scope, audience) = match &subject.audience {
            // Another issuer's token was for this service, and so for any of its resources.
            None => {
                let target = self.resources.target(&asked.resource, &[], &scope)?;
                (target.scope, target.audience)
            }
            Some(audience) if asked.resource.is_empty() => {
                // No wider than what is left of the scope needs.
                let mut needed = self.resources.target(&[], &[], &scope)?.audience;
                needed.retain(|one| audience.contains(one));
                (scope, if needed.is_empty() { audience.clone() } else { needed })
            }
            Some(audience) => {
                let target = self.resources.target(&asked.resource, &[], &scope)?;
                if target.audience.iter().any(|one| !audience.contains(one)) {
                    return Err(TokenError::InvalidTarget);
                }
                (target.scope, target.audience)
            }
        };
        Ok(Narrowed { scope, audience, authorization_details })
    }

    /// What of the subject's details goes on. It is judged as if the client had asked for it: another issuer may know the types by
    /// other rules.
    fn narrow_subject_details(
        &self,
        subject: &PartyToken,
        client: &Client,
        asked: &Narrowing<'_>,
    ) -> Result<Vec<Map<String, Value>>, TokenError> {
        let effective = match asked.authorization_details {
            None => {
                let is_the_clients = |name: &str| client.allows_details_type(name);
                let mut details = subject.authorization_details.clone();
                details.retain(|entry| entry.get("type").and_then(Value::as_str).is_some_and(is_the_clients));
                details
            }
            Some(text) => self.details_types.narrow(&AuthorizationDetails::parse(text)?, &subject.authorization_details)?,
        };
        let effective = AuthorizationDetails::from_value(effective.into_iter().map(Value::Object).collect())?;
        self.details_types.judge(&effective, client)?;
        Ok(effective.into_inner())
    }
}

/// What a live token of this service says.
fn own_token(token: &LiveAccessToken) -> PartyToken {
    PartyToken {
        issuer: None,
        sub: token.sub.clone(),
        client_id: Some(token.client_id.to_string()),
        audience: Some(token.audience.clone()),
        scope: token.scope.clone(),
        expires: token.exp,
        binding: match token.binding {
            TokenBinding::Bearer => PartyBinding::Bearer,
            TokenBinding::Key(jkt) => PartyBinding::Key(jkt),
        },
        bound_without_proof: false,
        authorization_details: token.authorization_details.clone(),
        auth_time: token.auth_time,
        acr: token.acr.clone(),
        grant_id: token.grant_id,
        act: token.act.clone(),
        may_act: None,
    }
}

/// A bound subject token needs the proof of its key for this very token; where the policy does without, still a proof, so that what
/// comes out is bound (TX-03).
fn judge_subject_key(subject: &PartyToken, client: &Client, proof: Option<&VerifiedProof>, has_ath: bool) -> Result<(), ExchangeError> {
    let bound_to = match subject.binding {
        PartyBinding::Bearer => return Ok(()),
        PartyBinding::Key(jkt) => Some(jkt),
        PartyBinding::Other => None,
    };
    let Some(proof) = proof else { return Err(ExchangeError::SubjectKey) };
    let proven = has_ath && bound_to.is_some_and(|jkt| jkt == *proof.jkt());
    // The issuer's policy speaks for its tokens, the client's for ours.
    let excused = match subject.issuer {
        Some(_) => subject.bound_without_proof,
        None => client.exchanges_bound_subject_without_proof(),
    };
    if proven || excused { Ok(()) } else { Err(ExchangeError::SubjectKey) }
}

/// The client acts for the subject, unless the token was its own already.
fn acting_client(subject: &PartyToken, client: &Client) -> Option<Actor> {
    let same = subject.client_id.as_deref() == Some(client.id().as_str());
    (!same).then(|| Actor { sub: client.id().to_string(), issuer: None })
}

fn refused(party: Party, reason: &dyn std::fmt::Display) -> TokenError {
    tracing::debug!(%reason, ?party, "a token was not exchanged");
    ExchangeError::Token(party).into()
}

/// Whose token is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The one that is exchanged.
    Subject,
    /// The one of whoever acts.
    Actor,
}

/// What is wrong with the tokens of an exchange: `invalid_request` (RFC 8693 section 2.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Another kind of token is wanted.
    #[error("requested_token_type must be urn:ietf:params:oauth:token-type:access_token")]
    RequestedType,
    /// Another kind of token is presented.
    #[error(
        "subject_token_type and actor_token_type must be urn:ietf:params:oauth:token-type:access_token or urn:ietf:params:oauth:token-type:jwt"
    )]
    TokenType(Party),
    /// The token is not good, for whatever reason.
    #[error("{} is malformed, expired, revoked, or of an issuer whose tokens this client may not exchange", .0.parameter())]
    Token(Party),
    /// The token was issued to another client than the public one that presents it.
    #[error("{} was issued to another client", .0.parameter())]
    OtherClient(Party),
    /// The proof is not that of the subject token's key.
    #[error("subject_token is bound to a key: send a proof made with that key, with the ath of the token")]
    SubjectKey,
    /// The proof is not that of the actor token's key.
    #[error("actor_token is bound to another key than that of the proof")]
    ActorKey,
    /// The subject token names others who may act.
    #[error("the may_act claim of subject_token names another party")]
    MayNotAct,
    /// Too many acted already.
    #[error("too many parties acted for each other already")]
    ChainTooLong,
}

impl Party {
    /// The parameter that carries the token.
    pub const fn parameter(self) -> &'static str {
        match self {
            Self::Subject => "subject_token",
            Self::Actor => "actor_token",
        }
    }
}
