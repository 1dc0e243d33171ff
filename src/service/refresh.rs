//! The refresh: a proof, a refresh token, and what they give.

use std::sync::Arc;

use keybound_proofs::{FreshProof, UnixTime};

use crate::domain::authorization_details::AuthorizationDetails;
use crate::domain::client::{Client, GrantType, RefreshReuse};
use crate::domain::{Advance, Advanced, Family, FamilyState, Refusal, RevokeReason, Scope};
use crate::service::client_auth::Presented;
use crate::service::entitlement::{Entitlement, Narrowed, TokenResponse};
use crate::service::key_change::KeyChangeError;
use crate::service::proof::PresentedProof;
use crate::service::{AuthorizationServer, TokenError};
use crate::telemetry::Event;

/// A refresh request whose parameters are present but not yet judged.
pub struct RefreshRequest<'a> {
    /// The proof.
    pub proof: PresentedProof<'a>,
    /// Who asks.
    pub client: Presented<'a>,
    /// The refresh token.
    pub refresh_token: &'a str,
    /// A second proof, by the key that the grant is to be moved to: see `key_change`.
    pub new_key_proof: Option<&'a str>,
    /// What is asked for, if less than was granted.
    pub narrowing: Narrowing<'a>,
}

/// What a request asks for (RFC 6749 section 6, RFC 8707, RFC 9396). All absent: everything that was granted.
#[derive(Clone, Debug, Default)]
pub struct Narrowing<'a> {
    /// The `scope` parameter.
    pub scope: Option<&'a str>,
    /// The `resource` parameters.
    pub resource: Vec<String>,
    /// The `authorization_details` parameter: the text of a JSON array.
    pub authorization_details: Option<&'a str>,
}

impl Narrowing<'_> {
    fn is_empty(&self) -> bool {
        self.scope.is_none() && self.resource.is_empty() && self.authorization_details.is_none()
    }
}

impl AuthorizationServer {
    /// Uses a refresh token.
    ///
    /// Until proof and token are spent, at the very end and together, nothing leaves a trace: whatever is refused before can be
    /// sent again as it is. A request that narrows nothing costs one round trip to the store.
    ///
    /// # Errors
    /// [`TokenError`]; `InvalidGrant` covers every reason why this token gives this caller nothing.
    pub async fn refresh(&self, request: RefreshRequest<'_>, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let proof = self.verify_proof(&request.proof, now)?;
        let new_key = self.verify_new_key_proof(&request, proof.as_ref(), now)?;
        let caller = self.authenticate(request.client, now).await?;
        let client = Arc::clone(&caller.client);
        if new_key.is_some() && !client.is_public() {
            return Err(KeyChangeError::NotPublic.into());
        }
        self.require_proof(proof.as_ref(), client.is_public() || client.dpop_bound_access_tokens())?;
        if !client.allows_grant(GrantType::RefreshToken) {
            return Err(TokenError::UnauthorizedClient);
        }
        // A forged token ends here: no I/O, no trace.
        let (family, presented) = self.refresh_tokens.read(request.refresh_token).map_err(|_| TokenError::InvalidGrant)?;
        let advance = Advance {
            family,
            presented,
            client_id: client.id().clone(),
            authenticated: caller.is_authenticated(),
            jkt: proof.as_ref().map(|proof| *proof.jkt()),
            rebind_to: new_key.as_ref().map(|proof| *proof.jkt()),
            rotate: client.rotates_refresh_tokens(),
            now,
            idle: self.lifetimes.refresh_idle,
        };
        if !request.narrowing.is_empty() {
            self.judge_narrowing(&advance, &request.narrowing).await?;
        }
        let (fresh, advanced) = match new_key {
            None => self.spend_with(proof, &caller, self.advance(&advance), now).await?,
            Some(new_key) => {
                // Not beside each other: a replayed proof must not move a grant to another key.
                let (_, fresh) = self.spend_with(proof, &caller, self.spend(new_key, now), now).await?;
                (Some(fresh), self.advance(&advance).await?)
            }
        };
        let family = self.live_family(advanced, &advance, &client, fresh.as_ref()).await?;
        let narrowed = self.narrow(&family, &request.narrowing)?;
        self.mint(Entitlement::from_family(client, fresh, family, narrowed), now)
    }

    /// Moves the family and records that it moved, whatever becomes of the proof that is spent beside it.
    async fn advance(&self, request: &Advance) -> Result<Advanced, TokenError> {
        let advanced = self.families.advance(request).await?;
        let named = || (request.family.to_string(), request.client_id.clone());
        match &advanced {
            Advanced::Rotated(Family { generation, .. }) => {
                let (grant_id, client_id) = named();
                self.events.record(Event::RefreshRotated { grant_id, client_id, generation: generation.0 }, request.now);
            }
            Advanced::RolledForward(Family { generation, .. }) => {
                let (grant_id, client_id) = named();
                self.events.record(Event::StoreRegression { grant_id, client_id, generation: generation.0 }, request.now);
            }
            Advanced::Rebound(family) => self.events.record(Event::key_changed(family, request.jkt), request.now),
            Advanced::Repeated(_) | Advanced::Kept(_) | Advanced::Reused(_) | Advanced::CloneSuspected(_) | Advanced::Refused(_) => {}
        }
        Ok(advanced)
    }

    /// Judges a narrowing request on the record as it is now, before anything is spent (REF-05). A token that will be refused
    /// anyway is not judged here, so that its scope stays unknown to whoever can't use it.
    async fn judge_narrowing(&self, advance: &Advance, narrowing: &Narrowing<'_>) -> Result<(), TokenError> {
        let Some(family) = self.families.read(advance.family, advance.now).await? else { return Ok(()) };
        match family.decide(advance) {
            Advanced::Rotated(family)
            | Advanced::Repeated(family)
            | Advanced::RolledForward(family)
            | Advanced::Kept(family)
            | Advanced::Rebound(family) => self.narrow(&family, narrowing).map(drop),
            Advanced::Reused(_) | Advanced::CloneSuspected(_) | Advanced::Refused(_) => Ok(()),
        }
    }

    /// What of the grant the access token carries.
    pub(super) fn narrow(&self, family: &Family, narrowing: &Narrowing<'_>) -> Result<Narrowed, TokenError> {
        let granted = &family.grant;
        let scope = match narrowing.scope {
            None => granted.scope.clone(),
            Some(text) => Scope::parse(text).ok().filter(|asked| asked.is_subset(&granted.scope)).ok_or(TokenError::InvalidScope)?,
        };
        let authorization_details = match narrowing.authorization_details {
            None => granted.authorization_details.clone(),
            Some(text) => self.details_types.narrow(&AuthorizationDetails::parse(text)?, &granted.authorization_details)?,
        };
        let target = self.resources.target(&narrowing.resource, &granted.resource, &scope)?;
        Ok(Narrowed { scope: target.scope, audience: target.audience, authorization_details })
    }

    /// Turns the store's outcome into a usable family, or into the one answer that tells nothing.
    async fn live_family(
        &self,
        advanced: Advanced,
        request: &Advance,
        client: &Client,
        fresh: Option<&FreshProof>,
    ) -> Result<Family, TokenError> {
        let now = request.now;
        let named = || (request.family.to_string(), request.client_id.clone());
        match advanced {
            Advanced::Rotated(family)
            | Advanced::RolledForward(family)
            | Advanced::Repeated(family)
            | Advanced::Kept(family)
            | Advanced::Rebound(family) => Ok(family),
            Advanced::Reused(family) => {
                if client.refresh_reuse() == RefreshReuse::Revoke && made_after_rotation(fresh, &family) {
                    self.revoke_family(&family, RevokeReason::Reuse, now).await?;
                } else {
                    let (grant_id, client_id) = named();
                    self.events.record(Event::ReuseRefused { grant_id, client_id }, now);
                }
                Err(TokenError::InvalidGrant)
            }
            Advanced::CloneSuspected(family) => {
                self.revoke_family(&family, RevokeReason::ClonedKey, now).await?;
                Err(TokenError::InvalidGrant)
            }
            Advanced::Refused(refusal) => {
                if refusal == Refusal::OtherKey {
                    let (grant_id, client_id) = named();
                    let jkt = request.jkt.map(|jkt| jkt.to_string());
                    self.events.record(Event::RefreshKeyMismatch { grant_id, client_id, jkt }, now);
                }
                Err(TokenError::InvalidGrant)
            }
        }
    }

    async fn revoke_family(&self, family: &Family, reason: RevokeReason, now: UnixTime) -> Result<(), TokenError> {
        if family.state == FamilyState::Live && self.families.revoke(family.id, reason, now).await? {
            self.events.record(Event::GrantRevoked { grant_id: family.id.to_string(), reason }, now);
        }
        Ok(())
    }
}

/// A proof made before the family last moved is a delayed original: it proves nothing about a thief. `iat` counts whole seconds,
/// so the second of the rotation itself counts as after. A confidential client without a proof authenticated just now.
fn made_after_rotation(fresh: Option<&FreshProof>, family: &Family) -> bool {
    fresh.is_none_or(|proof| proof.iat().as_secs() >= family.last_rotation.as_secs())
}
