//! Pushed authorization requests (RFC 9126).

use std::time::Duration;

use keybound_proofs::{Jkt, UnixTime};
use serde::{Deserialize, Serialize};

use crate::clock::OsEntropy;
use crate::domain::authorization::{AuthorizationRequest, Refusal, RefusalCode, RequestParameters};
use crate::domain::{Client, ClientId};
use crate::service::client_auth::Presented;
use crate::service::handle::{new_handle, to_bytes};
use crate::service::proof::PresentedProof;
use crate::service::{AuthorizationServer, TokenError, request_object};
use crate::store::{EphemeralKind, EphemeralName, StoreError, Swapped};

/// A request to keep an authorization request.
pub struct PushRequest<'a> {
    /// The proof, if there is one: the code is then bound to its key.
    pub proof: PresentedProof<'a>,
    /// Who asks.
    pub client: Presented<'a>,
    /// What is asked.
    pub parameters: RequestParameters,
}

/// A request that is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// Its name.
    pub request_uri: String,
    /// For how long it can be used, in seconds.
    pub expires_in: u64,
    /// A nonce to use from now on, sent only when the one in use is about to change. Travels in a header.
    #[serde(skip)]
    pub dpop_nonce: Option<String>,
}

/// Why a request is not kept.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The proof, the client or the store.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The authorization request itself.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A pushed request as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PushedRecord {
    pub(super) request: AuthorizationRequest,
    /// When its name stops being accepted. The record itself may live longer, for the sign-ins that it began.
    pub(super) expires_ms: i64,
    /// The sign-in that used it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used_by: Option<String>,
}

impl AuthorizationServer {
    /// What every name of a pushed request begins with.
    pub const REQUEST_URI_PREFIX: &'static str = "urn:ietf:params:oauth:request_uri:";

    /// Keeps an authorization request for a short time, after judging all of it.
    ///
    /// The thumbprint of a proof that comes along becomes the request's `dpop_jkt` (RFC 9449 section 10.1). Proof and client
    /// assertion are spent last, together with the write: whatever is refused before can be sent again as it is.
    ///
    /// # Errors
    /// [`PushError`].
    pub async fn push(&self, push: PushRequest<'_>, now: UnixTime) -> Result<Pushed, PushError> {
        let proof = self.verify_proof(&push.proof, now)?;
        let caller = self.authenticate(push.client, now).await?;
        if push.parameters.request_uri.is_some() {
            return Err(Refusal::new(RefusalCode::InvalidRequest, "request_uri can not be pushed").into());
        }
        let parameters = self.unfold(push.parameters, &caller.client, now).await?;
        let target = parameters.redirect_target(&caller.client, self.fapi2)?;
        let mut request = parameters.judge(&caller.client, target, &self.resources, &self.details_types)?;
        request.dpop_jkt = one_key(request.dpop_jkt, proof.as_ref().map(|proof| *proof.jkt()))?;

        let handle = new_handle(&mut OsEntropy);
        let lifetime = self.authorization.request_uri_lifetime;
        let record = PushedRecord { request, expires_ms: now.plus(lifetime).as_millis(), used_by: None };
        let (name, record) = (EphemeralName::of(EphemeralKind::PushedRequest, &handle), to_bytes(&record));
        let keep = self.ephemerals.keep(&name, &record, lifetime, now);
        let (fresh, ()) = self.spend_with(proof, &caller, keep, now).await?;
        let renew = fresh.is_some_and(|proof| proof.renew_nonce());
        Ok(Pushed {
            request_uri: format!("{}{handle}", Self::REQUEST_URI_PREFIX),
            expires_in: lifetime.as_secs(),
            dpop_nonce: if renew { self.fresh_nonce(now).ok() } else { None },
        })
    }

    /// Takes the parameters out of a request object, where they are in one: then only those count (RFC 9101 section 6.3).
    pub(super) async fn unfold(&self, parameters: RequestParameters, client: &Client, now: UnixTime) -> Result<RequestParameters, Refusal> {
        match &parameters.request {
            Some(text) => request_object::read(text, client, self.issuer.as_str(), &self.client_auth.keys, now).await,
            None => Ok(parameters),
        }
    }

    /// The pushed request of this name, if this client may still use it.
    ///
    /// Its record then lives for as long as a sign-in that begins now may take.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell.
    pub(super) async fn pushed(
        &self,
        request_uri: &str,
        client_id: &ClientId,
        now: UnixTime,
    ) -> Result<Option<(EphemeralName, AuthorizationRequest)>, StoreError> {
        let Some(handle) = request_uri.strip_prefix(Self::REQUEST_URI_PREFIX) else { return Ok(None) };
        let Some(kept) = self.peek::<PushedRecord>(EphemeralKind::PushedRequest, handle, now).await? else { return Ok(None) };
        let PushedRecord { request, expires_ms, used_by } = &kept.record;
        if now.as_millis() >= *expires_ms || used_by.is_some() || request.client_id != *client_id {
            return Ok(None);
        }
        let kept_alive = self.move_on(&kept, &kept.bytes, Self::INTERACTION_LIFETIME + GRACE, now).await?;
        let live = kept_alive == Swapped::Done;
        Ok(live.then_some((kept.name, kept.record.request)))
    }

    /// Uses a pushed request up in the name of one sign-in; tells whether it is that sign-in's.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown; the same sign-in may try again.
    pub(super) async fn use_up(&self, pushed: EphemeralName, interaction: &str, now: UnixTime) -> Result<bool, StoreError> {
        let Some(kept) = self.peek_at::<PushedRecord>(pushed, now).await? else { return Ok(false) };
        if let Some(used_by) = &kept.record.used_by {
            return Ok(used_by == interaction);
        }
        let used = to_bytes(&PushedRecord { used_by: Some(interaction.to_owned()), ..kept.record.clone() });
        Ok(self.move_on(&kept, &used, Self::INTERACTION_LIFETIME + GRACE, now).await? == Swapped::Done)
    }
}

/// The key that the code is bound to: what the proof says, what the request says, or what both say (RFC 9449 section 10.1).
fn one_key(named: Option<Jkt>, proved: Option<Jkt>) -> Result<Option<Jkt>, Refusal> {
    match (named, proved) {
        (Some(named), Some(proved)) if named != proved => {
            Err(Refusal::new(RefusalCode::InvalidRequest, "dpop_jkt is not the thumbprint of the key that signed the DPoP proof"))
        }
        (named, proved) => Ok(proved.or(named)),
    }
}

/// A record outlives the sign-in that needs it.
const GRACE: Duration = Duration::from_secs(60);
