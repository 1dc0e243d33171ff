//! Authorization codes (RFC 6749 section 4.1.3): kept for a minute, used once, never without what they are bound to.

use std::sync::Arc;

use keybound_proofs::{Jkt, UnixTime};
use serde::{Deserialize, Serialize};

use crate::clock::OsEntropy;
use crate::domain::authorization::{AuthorizationRequest, jkt_text};
use crate::domain::client::GrantType;
use crate::domain::pkce::CodeChallenge;
use crate::domain::{Binding, Client, ClientId, Family, FamilyId, Grant, RevokeReason};
use crate::service::client_auth::Presented;
use crate::service::entitlement::{Entitlement, TokenResponse};
use crate::service::handle::{Kept, from_bytes, new_handle, to_bytes};
use crate::service::proof::PresentedProof;
use crate::service::refresh::Narrowing;
use crate::service::{AuthorizationServer, TokenError};
use crate::store::{EphemeralKind, EphemeralName, StoreError, Swapped};
use crate::telemetry::Event;

/// A token request with a code.
pub struct CodeRequest<'a> {
    /// The proof.
    pub proof: PresentedProof<'a>,
    /// Who asks.
    pub client: Presented<'a>,
    /// The code.
    pub code: &'a str,
    /// The redirect URI, which must be the one of the authorization request where that named one.
    pub redirect_uri: Option<&'a str>,
    /// The PKCE verifier.
    pub code_verifier: Option<&'a str>,
    /// What is asked for, if less than was granted.
    pub narrowing: Narrowing<'a>,
}

/// A code as the store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CodeRecord {
    client_id: ClientId,
    redirect_uri: String,
    redirect_uri_named: bool,
    code_challenge: CodeChallenge,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "jkt_text")]
    dpop_jkt: Option<Jkt>,
    grant: Grant,
    expires_ms: i64,
    /// The family that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_for: Option<String>,
    /// Somebody used it again: the family must not live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
}

impl AuthorizationServer {
    /// Keeps a code for what the resource owner agreed to.
    pub(super) async fn keep_code(&self, request: &AuthorizationRequest, grant: Grant, now: UnixTime) -> Result<String, StoreError> {
        let handle = new_handle(&mut OsEntropy);
        let record = CodeRecord {
            client_id: request.client_id.clone(),
            redirect_uri: request.redirect_uri.clone(),
            redirect_uri_named: request.redirect_uri_named,
            code_challenge: request.code_challenge,
            dpop_jkt: request.dpop_jkt,
            grant,
            expires_ms: now.plus(self.authorization.code_lifetime).as_millis(),
            used_for: None,
            reused: false,
        };
        let name = EphemeralName::of(EphemeralKind::Code, &handle);
        self.ephemerals.keep(&name, &to_bytes(&record), self.authorization.code_lifetime, now).await?;
        Ok(format!("{CODE_PREFIX}{handle}"))
    }

    /// Exchanges a code for tokens.
    ///
    /// Everything is judged before anything is spent, so that a wrong verifier, key or client leaves the code usable. Proof, client
    /// assertion and code are then spent together. A second use by whoever could have made the first ends the grant that came of it
    /// (RFC 6749 section 4.1.2); whoever lacks the verifier, the key or the client's credentials can't.
    ///
    /// # Errors
    /// [`TokenError`]; `InvalidCode` covers every reason why this code gives this caller nothing.
    pub async fn redeem(&self, request: CodeRequest<'_>, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let proof = self.verify_proof(&request.proof, now)?;
        let caller = self.authenticate(request.client, now).await?;
        let client = Arc::clone(&caller.client);
        let refreshes = client.allows_grant(GrantType::RefreshToken);
        self.require_proof(proof.as_ref(), client.dpop_bound_access_tokens() || (client.is_public() && refreshes))?;
        if !client.allows_grant(GrantType::AuthorizationCode) {
            return Err(TokenError::UnauthorizedClient);
        }
        let jkt = proof.as_ref().map(|proof| *proof.jkt());
        let handle = request.code.strip_prefix(CODE_PREFIX).ok_or(TokenError::InvalidCode)?;
        let kept = self.peek::<CodeRecord>(EphemeralKind::Code, handle, now).await?.ok_or(TokenError::InvalidCode)?;
        judge(&kept.record, &client, &request, jkt, now)?;
        if kept.record.used_for.is_some() {
            let nothing_more = async { Ok::<(), TokenError>(()) };
            self.spend_with(proof, &caller, nothing_more, now).await?;
            return self.end_reused(kept, now).await;
        }
        let family = self.family_of(&kept.record, &client, jkt, now);
        let narrowed = self.narrow(&family, &request.narrowing)?;
        let used = to_bytes(&CodeRecord { grant: Grant::default(), used_for: Some(family.id.to_string()), ..kept.record.clone() });
        let swap = self.move_on(&kept, &used, AuthorizationServer::USED_CODE_LIFETIME, now);
        let (fresh, swapped) = self.spend_with(proof, &caller, swap, now).await?;
        match swapped {
            Swapped::Done => {}
            Swapped::Other(bytes) => {
                let record = from_bytes(&bytes)?;
                return self.end_reused(Kept { name: kept.name, bytes, record }, now).await;
            }
            Swapped::Gone => return Err(TokenError::InvalidCode),
        }
        self.families.create(&family).await?;
        self.events.record(Event::created(family.id, &family.client_id), now);
        self.end_if_reused(&kept.name, family.id, now).await?;
        self.mint(Entitlement::from_code(client, fresh, family, narrowed, refreshes), now)
    }

    /// For how long a second use is noticed.
    const USED_CODE_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

    /// The family of a code. A client that may not refresh has one too, for as long as its access token lives: what the code gave can
    /// then be revoked.
    fn family_of(&self, code: &CodeRecord, client: &Client, jkt: Option<Jkt>, now: UnixTime) -> Family {
        let binding = match jkt {
            Some(jkt) if client.is_public() => Binding::Key(jkt),
            // For a public client without a proof, which gets no refresh token, this is a binding that nobody can use.
            _ => Binding::ClientAuthentication,
        };
        let mut family = self.new_family(code.client_id.clone(), binding, code.grant.clone(), now);
        if !client.allows_grant(GrantType::RefreshToken) {
            let last = now.plus(self.lifetimes.access_token + GRACE);
            family.absolute_expiry = family.absolute_expiry.min(last);
            family.idle_expiry = family.idle_expiry.min(last);
        }
        family
    }

    /// Marks the code, then ends its family. The mark is for the first use, which may not have stored the family yet.
    async fn end_reused(&self, kept: Kept<CodeRecord>, now: UnixTime) -> Result<TokenResponse, TokenError> {
        let marked = to_bytes(&CodeRecord { reused: true, ..kept.record.clone() });
        // Whoever comes second here finds the mark already set.
        self.move_on(&kept, &marked, AuthorizationServer::USED_CODE_LIFETIME, now).await?;
        if let Some(family) = kept.record.used_for.as_deref().and_then(|text| text.parse().ok()) {
            self.revoke_grant(family, RevokeReason::CodeReuse, now).await?;
        }
        Err(TokenError::InvalidCode)
    }

    async fn end_if_reused(&self, name: &EphemeralName, family: FamilyId, now: UnixTime) -> Result<(), TokenError> {
        let record = self.ephemerals.peek(name, now).await?.map(|bytes| from_bytes::<CodeRecord>(&bytes)).transpose()?;
        if record.is_some_and(|record| record.reused) {
            self.revoke_grant(family, RevokeReason::CodeReuse, now).await?;
        }
        Ok(())
    }
}

/// Whether this caller may use this code, but for whether it was used before.
fn judge(code: &CodeRecord, client: &Client, request: &CodeRequest<'_>, jkt: Option<Jkt>, now: UnixTime) -> Result<(), TokenError> {
    let redirect_uri_fits = match request.redirect_uri {
        Some(uri) => uri == code.redirect_uri,
        None => !code.redirect_uri_named,
    };
    let key_fits = code.dpop_jkt.is_none_or(|bound| jkt == Some(bound));
    let over = code.used_for.is_none() && now.as_millis() >= code.expires_ms;
    if code.client_id != *client.id() || !redirect_uri_fits || !key_fits || over {
        return Err(TokenError::InvalidCode);
    }
    let verifier = request.code_verifier.ok_or(TokenError::InvalidCode)?;
    code.code_challenge.verify(verifier).map(drop).map_err(|_| TokenError::InvalidCode)
}

const CODE_PREFIX: &str = "kbc_";
/// A family without refresh tokens outlives its access token, whose end is rounded to seconds.
const GRACE: std::time::Duration = std::time::Duration::from_secs(60);
