//! Verification of the service's own access tokens (RFC 9068 section 4).
//!
//! What a signature says stays true, so it is checked once and remembered; whether the token still counts is asked every time.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::jose::Compact;
use keybound_proofs::{Jkt, UnixTime};
use moka::future::Cache;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::domain::{ClientId, Family, FamilyId, FamilyState, Scope, strict_json};
use crate::service::AuthorizationServer;
use crate::store::{EphemeralKind, EphemeralName, StoreError};

/// What an access token of this service says.
#[derive(Clone, PartialEq, Debug)]
pub struct AccessTokenClaims {
    /// The end user, or the client where there is none.
    pub sub: String,
    /// The client it was issued to.
    pub client_id: ClientId,
    /// The resource servers it is for; at least one.
    pub audience: Vec<String>,
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub jti: String,
    /// When it was issued.
    pub iat: UnixTime,
    /// The first instant at which it is good no more.
    pub exp: UnixTime,
    /// Whose token it is to use.
    pub binding: TokenBinding,
    /// Its authorization details (RFC 9396).
    pub authorization_details: Vec<Map<String, Value>>,
    /// When the end user signed in, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// How the end user signed in.
    pub acr: Option<String>,
    /// The grant it comes from, where that is one that lives on.
    pub grant_id: Option<FamilyId>,
    /// Who acts for the subject (RFC 8693 section 4.1).
    pub act: Option<Map<String, Value>>,
}

/// Who may use an access token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenBinding {
    /// Whoever has it.
    Bearer,
    /// Whoever holds the key with this thumbprint (RFC 9449 section 6.1).
    Key(Jkt),
}

impl TokenBinding {
    /// The `token_type` of the token.
    pub const fn token_type(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Key(_) => "DPoP",
        }
    }
}

/// Claims that this service signed, of a token that has not expired.
///
/// Only [`AuthorizationServer::verify_access_token`] makes one. It says nothing about revocation, the audience, or who presents the token.
#[derive(Clone, PartialEq, Debug)]
pub struct VerifiedAccessToken(AccessTokenClaims);

impl Deref for VerifiedAccessToken {
    type Target = AccessTokenClaims;

    fn deref(&self) -> &AccessTokenClaims {
        &self.0
    }
}

/// A verified access token that nobody has put out of use, as of the instant of the request.
///
/// Only [`AuthorizationServer::live_access_token`] makes one. NOT checked: the audience, the scope, and who presents it.
#[derive(Clone, Debug)]
pub struct LiveAccessToken {
    claims: Arc<VerifiedAccessToken>,
    family: Option<Family>,
}

impl LiveAccessToken {
    /// The grant it comes from, as it is now; `None` for the token of a client on its own behalf.
    pub fn family(&self) -> Option<&Family> {
        self.family.as_ref()
    }
}

impl Deref for LiveAccessToken {
    type Target = AccessTokenClaims;

    fn deref(&self) -> &AccessTokenClaims {
        &self.claims
    }
}

/// Remembers which tokens were verified, by the SHA-256 of the token: a token itself is never kept.
#[derive(Clone)]
pub struct VerifiedTokens(Cache<[u8; 32], Arc<VerifiedAccessToken>>);

impl VerifiedTokens {
    /// The most tokens remembered; one is about a kilobyte.
    pub const CAPACITY: u64 = 20_000;

    /// For tokens that live this long.
    pub fn new(lifetime: Duration) -> Self {
        Self(Cache::builder().max_capacity(Self::CAPACITY).time_to_live(lifetime).build())
    }
}

impl AuthorizationServer {
    /// Verifies an access token as one of this service's own: form, `typ`, `alg` and `kid` of a published key, `iss`, `exp`, every
    /// required claim, and a confirmation that can be read without doubt (CNF-02). Cheap checks come before the signature.
    ///
    /// `exp` has no leeway: it was set by the clock that it is compared with, and a client gets a new token in time.
    ///
    /// # Errors
    /// [`InvalidAccessToken`].
    pub async fn verify_access_token(&self, token: &str, now: UnixTime) -> Result<Arc<VerifiedAccessToken>, InvalidAccessToken> {
        if token.len() > MAX_BYTES {
            return Err(InvalidAccessToken::TooLarge);
        }
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let verified = match self.verified_tokens.0.get(&digest).await {
            Some(verified) => verified,
            None => {
                let verified = Arc::new(VerifiedAccessToken(self.read_access_token(token, now)?));
                self.verified_tokens.0.insert(digest, Arc::clone(&verified)).await;
                verified
            }
        };
        if now >= verified.exp { Err(InvalidAccessToken::Expired) } else { Ok(verified) }
    }

    /// Verifies an access token and asks whether it still counts: its grant is alive, and the token itself was not revoked.
    ///
    /// # Errors
    /// [`AccessTokenError`].
    pub async fn live_access_token(&self, token: &str, now: UnixTime) -> Result<LiveAccessToken, AccessTokenError> {
        let claims = self.verify_access_token(token, now).await?;
        self.still_live(claims, now).await
    }

    /// Asks the store, each time, whether a verified access token still counts: a revocation on any node shows at once.
    ///
    /// # Errors
    /// [`AccessTokenError::Ended`], [`AccessTokenError::Store`].
    pub(super) async fn still_live(&self, claims: Arc<VerifiedAccessToken>, now: UnixTime) -> Result<LiveAccessToken, AccessTokenError> {
        let family = match claims.grant_id {
            None => None,
            Some(id) => {
                let family = self.families.read(id, now).await?.filter(|family| family.state == FamilyState::Live);
                Some(family.ok_or(AccessTokenError::Ended)?)
            }
        };
        // A token of the grant's own client ends with its grant, and in no other way.
        if family.as_ref().is_some_and(|family| family.client_id == claims.client_id) {
            return Ok(LiveAccessToken { claims, family });
        }
        if self.clients.find(&claims.client_id).await?.is_none() || self.ephemerals.peek(&revocation_of(&claims), now).await?.is_some() {
            return Err(AccessTokenError::Ended);
        }
        Ok(LiveAccessToken { claims, family })
    }

    fn read_access_token(&self, token: &str, now: UnixTime) -> Result<AccessTokenClaims, InvalidAccessToken> {
        let jws = Compact::split(token.as_bytes()).map_err(|_| InvalidAccessToken::NotJws)?;
        let object = |bytes: Vec<u8>| strict_json::parse_object(&bytes).map_err(|_| InvalidAccessToken::NotJws);
        let header = object(jws.header().map_err(|_| InvalidAccessToken::NotJws)?)?;
        let payload = object(jws.payload().map_err(|_| InvalidAccessToken::NotJws)?)?;
        let signature = jws.signature().map_err(|_| InvalidAccessToken::NotJws)?;

        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(InvalidAccessToken::Critical);
        }
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        // A media type is compared without regard to case, and may leave out `application/` (RFC 7515 section 4.1.9).
        if !member("typ").is_some_and(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(InvalidAccessToken::Type);
        }
        if payload.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(InvalidAccessToken::Issuer);
        }
        let (Some(alg), Some(kid)) = (member("alg"), member("kid")) else { return Err(InvalidAccessToken::Signature) };
        let claims = AccessTokenClaims::read(&payload)?;
        if now >= claims.exp {
            return Err(InvalidAccessToken::Expired);
        }
        self.keys.verify(alg, kid, jws.signing_input(), &signature).map_err(|_| InvalidAccessToken::Signature)?;
        Ok(claims)
    }
}

/// The name under which the revocation of this one token is kept.
pub(super) fn revocation_of(claims: &AccessTokenClaims) -> EphemeralName {
    EphemeralName::of(EphemeralKind::RevokedAccessToken, &claims.jti)
}

impl AccessTokenClaims {
    /// The private claim of a JWT that was made for a service behind a gateway. Whoever gets it may use it there as a bearer token, and
    /// so nothing here may take it for an access token.
    pub(super) const FOR_UPSTREAM: &'static str = "keybound_upstream";

    /// From the payload of a token, `iss` apart.
    pub(super) fn read(payload: &Map<String, Value>) -> Result<Self, InvalidAccessToken> {
        if payload.contains_key(Self::FOR_UPSTREAM) {
            return Err(InvalidAccessToken::Type);
        }
        let audience = match payload.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) if !many.is_empty() => {
                many.iter().map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or(InvalidAccessToken::Claim("aud"))?
            }
            _ => return Err(InvalidAccessToken::Claim("aud")),
        };
        let scope = match payload.get("scope") {
            None => Scope::default(),
            Some(scope) => scope.as_str().and_then(|text| Scope::parse(text).ok()).ok_or(InvalidAccessToken::Claim("scope"))?,
        };
        let authorization_details = match payload.get("authorization_details") {
            None => Vec::new(),
            Some(Value::Array(details)) => {
                let objects: Option<Vec<_>> = details.iter().map(|one| one.as_object().cloned()).collect();
                objects.ok_or(InvalidAccessToken::Claim("authorization_details"))?
            }
            Some(_) => return Err(InvalidAccessToken::Claim("authorization_details")),
        };
        Ok(Self {
            sub: required(payload, "sub")?.to_owned(),
            client_id: ClientId::new(required(payload, "client_id")?).map_err(|_| InvalidAccessToken::Claim("client_id"))?,
            audience,
            scope,
            jti: required(payload, "jti")?.to_owned(),
            iat: instant(payload, "iat")?,
            exp: instant(payload, "exp")?,
            binding: read_confirmation(payload.get("cnf"))?,
            authorization_details,
            auth_time: optional(payload, "auth_time", Value::as_i64)?,
            acr: optional(payload, "acr", |value| value.as_str().map(str::to_owned))?,
            grant_id: optional(payload, "grant_id", |value| value.as_str().and_then(|text| text.parse().ok()))?,
            act: optional(payload, "act", |value| value.as_object().cloned())?,
        })
    }
}

/// No `cnf` makes a bearer token; one that is anything but `{"jkt": …}` makes no token at all (CNF-02).
fn read_confirmation(cnf: Option<&Value>) -> Result<TokenBinding, InvalidAccessToken> {
    let Some(cnf) = cnf else { return Ok(TokenBinding::Bearer) };
    let members = cnf.as_object().filter(|members| members.len() == 1).ok_or(InvalidAccessToken::Confirmation)?;
    let jkt = members.get("jkt").and_then(Value::as_str).and_then(|text| text.parse().ok());
    jkt.map(TokenBinding::Key).ok_or(InvalidAccessToken::Confirmation)
}

fn required<'a>(payload: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, InvalidAccessToken> {
    payload.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or(InvalidAccessToken::Claim(name))
}

fn instant(payload: &Map<String, Value>, name: &'static str) -> Result<UnixTime, InvalidAccessToken> {
    payload.get(name).and_then(Value::as_i64).map(UnixTime::from_secs).ok_or(InvalidAccessToken::Claim(name))
}

fn optional<T>(
    payload: &Map<String, Value>,
    name: &'static str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Option<T>, InvalidAccessToken> {
    payload.get(name).map(|value| read(value).ok_or(InvalidAccessToken::Claim(name))).transpose()
}

/// Why a text is not an access token of this service that is good now. For the log; a client is told `invalid_token`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidAccessToken {
    /// Longer than 16 KiB.
    #[error("the access token is longer than 16 KiB")]
    TooLarge,
    /// Not a compact JWS of strict JSON objects.
    #[error("the access token is not a compact JWS of strict JSON objects")]
    NotJws,
    /// `crit` or `b64`.
    #[error("the access token needs an extension that is not understood")]
    Critical,
    /// Another kind of JWT.
    #[error("the typ of the access token is not at+jwt")]
    Type,
    /// Another issuer.
    #[error("the access token has another issuer")]
    Issuer,
    /// A claim is missing or malformed.
    #[error("the claim {0} of the access token is missing or malformed")]
    Claim(&'static str),
    /// `cnf` is malformed, or names something other than a key's thumbprint.
    #[error("the confirmation of the access token can't be read")]
    Confirmation,
    /// `exp` has come.
    #[error("the access token has expired")]
    Expired,
    /// No key of this service made the signature.
    #[error("no key of this service made the signature of the access token")]
    Signature,
}

/// Why an access token does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// It is none of ours, or has expired.
    #[error(transparent)]
    Invalid(#[from] InvalidAccessToken),
    /// It, its grant or its client was put out of use.
    #[error("the access token, its grant or its client has ended")]
    Ended,
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

const TYPES: [&str; 2] = ["at+jwt", "application/at+jwt"];

/// As much as a request body may hold by default.
const MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn payload() -> Map<String, Value> {
        let claims = json!({"iss": "https://as.example.com", "sub": "alice", "aud": "urn:api", "client_id": "app", "jti": "1",
            "iat": 1_700_000_000, "exp": 1_700_000_300, "scope": "accounts openid", "cnf": {"jkt": JKT}});
        claims.as_object().expect("an object").clone()
    }

    /// `payload` with one claim replaced, or removed.
    fn read_with(name: &str, value: Option<Value>) -> Result<AccessTokenClaims, InvalidAccessToken> {
        let mut payload = payload();
        match value {
            Some(value) => payload.insert(name.to_owned(), value),
            None => payload.remove(name),
        };
        AccessTokenClaims::read(&payload)
    }

    /// AT-02
    #[test]
    fn every_required_claim_must_be_there() {
        let claims = AccessTokenClaims::read(&payload()).expect("claims");
        assert_eq!(claims.audience, ["urn:api"]);
        assert_eq!(claims.exp, UnixTime::from_secs(1_700_000_300));
        for name in ["sub", "aud", "client_id", "jti", "iat", "exp"] {
            assert_eq!(read_with(name, None), Err(InvalidAccessToken::Claim(name)));
            assert_eq!(read_with(name, Some(json!(null))), Err(InvalidAccessToken::Claim(name)));
            assert_eq!(read_with(name, Some(json!({}))), Err(InvalidAccessToken::Claim(name)));
        }
        assert_eq!(read_with("aud", Some(json!([]))), Err(InvalidAccessToken::Claim("aud")));
        assert_eq!(read_with("aud", Some(json!(["a", 1]))), Err(InvalidAccessToken::Claim("aud")));
        assert_eq!(read_with("aud", Some(json!(["a", "b"]))).expect("claims").audience, ["a", "b"]);
        assert_eq!(read_with("scope", None).expect("claims").scope, Scope::default());
    }

    /// CNF-01, CNF-02, MTLS-02
    #[test]
    fn a_confirmation_that_is_not_understood_is_never_read_as_unbound() {
        assert_eq!(read_with("cnf", None).expect("claims").binding, TokenBinding::Bearer);
        assert_eq!(read_with("cnf", Some(json!({"jkt": JKT}))).expect("claims").binding, TokenBinding::Key(JKT.parse().expect("a jkt")));
        let others = [
            json!(null),
            json!({}),
            json!(JKT),
            json!([{"jkt": JKT}]),
            json!({"jkt": null}),
            json!({"jkt": ""}),
            json!({"jkt": &JKT[1..]}),
            json!({"jkt": format!("{JKT}=")}),
            json!({"x5t#S256": JKT}),
            json!({"jkt": JKT, "x5t#S256": JKT}),
            json!({"jwk": {"kty": "EC"}}),
        ];
        for cnf in others {
            assert_eq!(read_with("cnf", Some(cnf.clone())), Err(InvalidAccessToken::Confirmation), "{cnf}");
        }
    }

    #[test]
    fn optional_claims_of_another_type_are_refused_and_of_their_own_are_not() {
        for (name, good, bad) in [
            ("auth_time", json!(1_700_000_000), json!("1700000000")),
            ("acr", json!("urn:mfa"), json!(2)),
            ("grant_id", json!("AAAAAAAAAAAAAAAAAAAAAA"), json!("short")),
            ("act", json!({"sub": "service"}), json!("service")),
            ("authorization_details", json!([{"type": "account_information"}]), json!(["account_information"])),
            ("scope", json!("accounts"), json!(["accounts"])),
        ] {
            assert!(read_with(name, Some(good)).is_ok(), "{name}");
            assert_eq!(read_with(name, Some(bad)), Err(InvalidAccessToken::Claim(name)));
        }
    }

    #[test]
    fn what_was_made_for_a_service_behind_a_gateway_is_no_access_token_here() {
        for value in [json!(true), json!(false), json!(null)] {
            assert_eq!(read_with(AccessTokenClaims::FOR_UPSTREAM, Some(value)), Err(InvalidAccessToken::Type));
        }
    }
}
