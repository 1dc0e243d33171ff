//! A client on its own behalf (RFC 6749 section 4.4).

use std::sync::Arc;

use keybound_proofs::UnixTime;

use crate::domain::Scope;
use crate::domain::authorization_details::AuthorizationDetails;
use crate::domain::client::{Client, GrantType};
use crate::service::client_auth::Presented;
use crate::service::entitlement::{Entitlement, Narrowed, TokenResponse};
use crate::service::proof::PresentedProof;
use crate::service::refresh::Narrowing;
use crate::service::{AuthorizationServer, TokenError};

/// A client credentials request.
pub struct ClientCredentialsRequest<'a> {
    /// The proof.
    pub proof: PresentedProof<'a>,
    /// Who asks.
    pub client: Presented<'a>,
    /// What is asked for; no scope means all that the client is registered for.
    pub asked: Narrowing<'a>,
}

impl AuthorizationServer {
    /// Issues an access token to an authenticated client. There is no refresh token: the client can always ask again.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn client_credentials(&self, request: ClientCredentialsRequest<'_>, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let proof = self.verify_proof(&request.proof, now)?;
        let caller = self.authenticate(request.client, now).await?;
        let client = Arc::clone(&caller.client);
        self.require_proof(proof.as_ref(), client.dpop_bound_access_tokens())?;
        if client.is_public() || !client.allows_grant(GrantType::ClientCredentials) {
            return Err(TokenError::UnauthorizedClient);
        }
        let narrowed = self.judge_own_request(&client, &request.asked)?;
        let nothing_more = async { Ok::<(), TokenError>(()) };
        let (fresh, ()) = self.spend_with(proof, &caller, nothing_more, now).await?;
        self.mint(Entitlement::from_client(client, fresh, narrowed), now)
    }

    fn judge_own_request(&self, client: &Client, asked: &Narrowing<'_>) -> Result<Narrowed, TokenError> {
        let scope = match asked.scope {
            None => client.scope().clone(),
            Some(text) => Scope::parse(text).ok().filter(|scope| scope.is_subset(client.scope())).ok_or(TokenError::InvalidScope)?,
        };
        let authorization_details = match asked.authorization_details {
            None => AuthorizationDetails::default(),
            Some(text) => AuthorizationDetails::parse(text)?,
        };
        self.details_types.judge(&authorization_details, client)?;
        let target = self.resources.target(&asked.resource, &[], &scope)?;
        Ok(Narrowed { scope: target.scope, audience: target.audience, authorization_details: authorization_details.into_inner() })
    }
}
