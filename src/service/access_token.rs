//! Access tokens: JWTs as RFC 9068 wants them, bound to a key as RFC 9449 section 6.1 wants it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::{Entropy, Jkt, UnixTime};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{ClientId, FamilyId, Scope};
use crate::keys::{SignError, TokenSigner};

/// What one access token says. Nothing is checked here: whoever fills it in has judged the grant.
#[derive(Clone, Copy, Debug)]
pub struct AccessToken<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// The end user; the client itself where there is none.
    pub sub: Option<&'a str>,
    /// The resource servers it is for, at least one; written as a string where there is one.
    pub audience: &'a [String],
    /// The client it is issued to.
    pub client_id: &'a ClientId,
    /// Its scope, after narrowing; left out where empty.
    pub scope: &'a Scope,
    /// The key it is bound to; `None` makes a bearer token.
    pub jkt: Option<Jkt>,
    /// Its authorization details, after narrowing; left out where empty.
    pub authorization_details: &'a [Map<String, Value>],
    /// When the end user signed in, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// How the end user signed in.
    pub acr: Option<&'a str>,
    /// The grant it comes from, where that is one that lives on.
    pub grant_id: Option<FamilyId>,
    /// When it is issued.
    pub now: UnixTime,
    /// How long it lives, in whole seconds.
    pub lifetime: Duration,
}

/// A signed access token.
#[derive(Clone, PartialEq, Eq)]
pub struct MintedAccessToken {
    /// The compact JWT.
    pub token: String,
    /// Its `jti`: 16 random bytes in base64url.
    pub jti: String,
    /// When it expires: `exp`.
    pub expires: UnixTime,
}

impl std::fmt::Debug for MintedAccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedAccessToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl AccessToken<'_> {
    /// The `typ` of its header (RFC 9068 section 2.1).
    pub const TYP: &'static str = "at+jwt";

    /// Signs it under a fresh `jti`.
    ///
    /// # Errors
    /// [`SignError`] where the signer fails.
    pub fn mint(&self, signer: &TokenSigner, entropy: &mut dyn Entropy) -> Result<MintedAccessToken, SignError> {
        let mut jti = [0; 16];
        entropy.fill(&mut jti);
        let jti = URL_SAFE_NO_PAD.encode(jti);
        let iat = self.now.as_secs();
        let exp = iat.saturating_add(i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX));
        let claims = Claims {
            iss: self.issuer,
            sub: self.sub.unwrap_or(self.client_id.as_str()),
            aud: if let [one] = self.audience { Audience::One(one) } else { Audience::Many(self.audience) },
            client_id: self.client_id.as_str(),
            iat,
            exp,
            jti: &jti,
            scope: (!self.scope.is_empty()).then(|| self.scope.to_string()),
            cnf: self.jkt.map(|jkt| Confirmation { jkt: jkt.to_string() }),
            authorization_details: self.authorization_details,
            auth_time: self.auth_time,
            acr: self.acr,
            grant_id: self.grant_id.map(|id| id.to_string()),
        };
        let token = signer.sign(Self::TYP, &claims)?;
        Ok(MintedAccessToken { token, jti, expires: UnixTime::from_secs(exp) })
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Audience<'a>,
    client_id: &'a str,
    iat: i64,
    exp: i64,
    jti: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    authorization_details: &'a [Map<String, Value>],
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant_id: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [String]),
}

#[derive(Serialize)]
struct Confirmation {
    jkt: String,
}
