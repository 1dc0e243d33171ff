//! What a gateway sends on in `Authorization`, to the service behind it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::{Entropy as _, UnixTime};
use serde_json::{Map, Value};

use crate::clock::OsEntropy;
use crate::domain::UpstreamAuthorization;
use crate::domain::guarded::Guarded;
use crate::service::AuthorizationServer;
use crate::service::access_token::AccessToken;
use crate::service::verify::Denial;
use crate::service::verify_token::AccessTokenClaims;

impl AuthorizationServer {
    /// The new value of `Authorization`; `None` where the client's stays.
    ///
    /// # Errors
    /// [`Denial::Unavailable`] where the signer fails.
    pub(super) fn upstream_authorization(
        &self,
        guarded: &Guarded,
        token: &str,
        claims: &AccessTokenClaims,
        now: UnixTime,
    ) -> Result<Option<String>, Denial> {
        match guarded.upstream_authorization {
            UpstreamAuthorization::Keep => Ok(None),
            UpstreamAuthorization::Bearer => Ok(Some(format!("Bearer {token}"))),
            UpstreamAuthorization::Jwt => self.upstream_jwt(guarded, claims, now).map(|jwt| Some(format!("Bearer {jwt}"))),
        }
    }

    /// A JWT for the resource alone: its audience, of scope and details what concerns it, good for [`UPSTREAM_LIFETIME`] at most.
    ///
    /// It is bound to no key, since the service behind the gateway gets no proof; nothing here takes it for an access token.
    fn upstream_jwt(&self, guarded: &Guarded, claims: &AccessTokenClaims, now: UnixTime) -> Result<String, Denial> {
        let mut jti = [0; 16];
        OsEntropy.fill(&mut jti);
        let resource = &guarded.resource;
        let audience = std::slice::from_ref(&resource.audience);
        let details = self.details_types.for_audience(&claims.authorization_details, audience, &self.resources);
        let scope = self.resources.concerning(resource, &claims.scope);
        let members = [
            ("iss", Some(Value::from(self.issuer.as_str()))),
            ("sub", Some(claims.sub.as_str().into())),
            ("aud", Some(resource.audience.as_str().into())),
            ("client_id", Some(claims.client_id.as_str().into())),
            ("iat", Some(now.as_secs().into())),
            ("exp", Some(claims.exp.min(now.plus(UPSTREAM_LIFETIME)).as_secs().into())),
            ("jti", Some(URL_SAFE_NO_PAD.encode(jti).into())),
            ("scope", (!scope.is_empty()).then(|| scope.to_string().into())),
            ("authorization_details", (!details.is_empty()).then(|| details.iter().cloned().collect())),
            ("auth_time", claims.auth_time.map(Value::from)),
            ("acr", claims.acr.as_deref().map(Value::from)),
            ("act", claims.act.clone().map(Value::from)),
            (AccessTokenClaims::FOR_UPSTREAM, Some(true.into())),
        ];
        let claims: Map<String, Value> =
            members.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect();
        self.keys.signer().sign(AccessToken::TYP, &claims).map_err(|error| Denial::Unavailable(error.to_string()))
    }
}

/// Long enough for one call and a clock that is off, too short to be worth keeping.
const UPSTREAM_LIFETIME: Duration = Duration::from_secs(60);
