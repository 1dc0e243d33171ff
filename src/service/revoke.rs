//! Putting tokens out of use (RFC 7009).

use keybound_proofs::UnixTime;

use crate::domain::{FamilyId, RevokeReason};
use crate::service::client_auth::Presented;
use crate::service::verify_token::{AccessTokenClaims, revocation_of};
use crate::service::{AuthorizationServer, TokenError};
use crate::store::StoreError;
use crate::telemetry::Event;

/// A revocation request. What kind of token it is about is read from the token; a hint is not needed (RFC 7009 section 2.1).
pub struct RevocationRequest<'a> {
    /// Who asks. A public client is named by its `client_id` alone: whoever has the token may put it out of use.
    pub client: Presented<'a>,
    /// The token.
    pub token: &'a str,
}

impl AuthorizationServer {
    /// Ends what a token stands for, before the answer: any refresh token ever given out for a grant, and any access token of it, ends
    /// the grant; an access token without a grant ends alone.
    ///
    /// A token that is unknown, expired or was ended before is success: there is nothing left to do.
    ///
    /// # Errors
    /// [`TokenError::InvalidGrant`] where the token is another client's (RFC 6749 section 5.2, "was issued to another client");
    /// [`TokenError::Client`], [`TokenError::AssertionReplayed`]; [`TokenError::Unavailable`]: the token is still good.
    pub async fn revoke(&self, request: RevocationRequest<'_>, now: UnixTime) -> Result<(), TokenError> {
        let caller = self.authenticate(request.client, now).await?;
        self.spend_assertion_alone(&caller, now).await?;
        if let Ok((family, _)) = self.refresh_tokens.read(request.token) {
            return match self.families.read(family, now).await? {
                Some(family) if family.client_id != *caller.client.id() => Err(TokenError::InvalidGrant),
                Some(_) => self.end_grant(family, now).await,
                None => Ok(()),
            };
        }
        match self.verify_access_token(request.token, now).await {
            Ok(claims) if claims.client_id != *caller.client.id() => Err(TokenError::InvalidGrant),
            Ok(claims) => self.end_access_token(&claims, now).await,
            Err(_) => Ok(()),
        }
    }

    async fn end_access_token(&self, claims: &AccessTokenClaims, now: UnixTime) -> Result<(), TokenError> {
        if let Some(id) = claims.grant_id {
            let owned = self.families.read(id, now).await?.is_some_and(|family| family.client_id == claims.client_id);
            if owned {
                return self.end_grant(id, now).await;
            }
        }
        let name = revocation_of(claims);
        if self.ephemerals.peek(&name, now).await?.is_none() {
            // Remembered until no node takes the token any more, whatever its clock says.
            let ttl = claims.exp.plus(self.proof_policy.clock_spread).since(now);
            self.ephemerals.keep(&name, REVOKED, ttl, now).await?;
            self.events.record(Event::AccessTokenRevoked { client_id: claims.client_id.clone() }, now);
        }
        Ok(())
    }

    async fn end_grant(&self, id: FamilyId, now: UnixTime) -> Result<(), TokenError> {
        let ended: Result<bool, StoreError> = self.revoke_grant(id, RevokeReason::Requested, now).await;
        Ok(ended.map(drop)?)
    }
}

/// That the record is there is all it says.
const REVOKED: &[u8] = b"1";
