//! Client assertions: `private_key_jwt` (RFC 7523 sections 2.2 and 3, OpenID Connect Core section 9).

use std::time::Duration;

use keybound_proofs::jose::{Compact, NotBase64Url};
use keybound_proofs::{Epoch, ReplayKey, UnixTime};
use serde_json::{Map, Value};

use crate::domain::client::{AssertionAlg, ClientAssertionAudience, ClientKey};
use crate::domain::{Client, ClientId, strict_json};
use crate::service::client_auth::{AssertionUse, ClientAuthSettings};

/// A well-formed assertion. Nothing it says is believed until [`Assertion::verify`].
pub(super) struct Assertion<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    alg: AssertionAlg,
    kid: Option<String>,
    client_id: ClientId,
    jti: String,
    exp: UnixTime,
    iat: Option<UnixTime>,
    nbf: Option<UnixTime>,
    claims: Map<String, Value>,
}

impl<'a> Assertion<'a> {
    /// Reads an assertion: a compact JWS in canonical base64url, header and claims in strict JSON, every member of the right
    /// type.
    pub(super) fn parse(text: &'a str) -> Result<Self, AssertionError> {
        if text.len() > MAX_BYTES {
            return Err(AssertionError::TooLarge);
        }
        let jws = Compact::split(text.as_bytes()).map_err(|_| AssertionError::NotJws)?;
        let signature = jws.signature().map_err(|_| AssertionError::NotJws)?;
        let object = |part: Result<Vec<u8>, NotBase64Url>| {
            strict_json::parse_object(&part.map_err(|_| AssertionError::NotJws)?).map_err(|_| AssertionError::NotJws)
        };
        let (header, claims) = (object(jws.header())?, object(jws.payload())?);
        let (alg, kid) = read_header(&header)?;
        let iss = string(&claims, "iss")?.ok_or(AssertionError::Issuer)?;
        if string(&claims, "sub")? != Some(iss) {
            return Err(AssertionError::Issuer);
        }
        let client_id = ClientId::new(iss).map_err(|_| AssertionError::Issuer)?;
        let jti = string(&claims, "jti")?.filter(|jti| (1..=MAX_JTI_BYTES).contains(&jti.len())).ok_or(AssertionError::Jti)?.to_owned();
        let exp = time(&claims, "exp")?.ok_or(AssertionError::NoExpiry)?;
        let (iat, nbf) = (time(&claims, "iat")?, time(&claims, "nbf")?);
        Ok(Self { signing_input: jws.signing_input(), signature, alg, kid, client_id, jti, exp, iat, nbf, claims })
    }

    /// The client it claims to be from: `iss` and `sub`, which are equal.
    pub(super) fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// The algorithm of its signature.
    pub(super) fn alg(&self) -> AssertionAlg {
        self.alg
    }

    /// The name of the key it was signed with, where it says one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Judges all but the signature, as of an assertion of `client`: what costs next to nothing, before keys are looked for.
    pub(super) fn check(&self, client: &Client, settings: &ClientAuthSettings, now: UnixTime) -> Result<(), AssertionError> {
        self.check_audience(client.assertion_audience(), settings)?;
        self.check_times(now)?;
        let has_key = client.jwks_uri().is_some() || client.keys().iter().any(|key| key.alg() == self.alg);
        if has_key && client.allows_assertion_alg(self.alg) { Ok(()) } else { Err(AssertionError::Algorithm) }
    }

    /// Verifies the signature and tells what has to be recorded. Several keys may answer to one `kid`, or to none.
    pub(super) fn verify(
        &self,
        candidates: &[ClientKey],
        settings: &ClientAuthSettings,
        epoch: &Epoch,
        now: UnixTime,
    ) -> Result<AssertionUse, AssertionError> {
        if !candidates.iter().any(|key| key.verify(self.signing_input, &self.signature).is_ok()) {
            return Err(AssertionError::Signature);
        }
        self.check_memory(epoch, now)?;
        let last = self.exp.plus(CLOCK_SKEW);
        Ok(AssertionUse {
            key: ReplayKey::of_client_assertion(&settings.realm, self.client_id.as_str(), &self.jti),
            ttl: last.since(now) + CLOCK_SPREAD + Duration::from_secs(1),
        })
    }

    fn check_audience(&self, rule: ClientAssertionAudience, settings: &ClientAuthSettings) -> Result<(), AssertionError> {
        let good = |value: &Value| match (value.as_str(), rule) {
            (Some(text), ClientAssertionAudience::Strict) => text == settings.issuer,
            (Some(text), ClientAssertionAudience::Compat) => {
                text == settings.issuer || settings.endpoint_urls.iter().any(|url| url == text)
            }
            (None, _) => false,
        };
        let accepted = match (self.claims.get("aud"), rule) {
            (Some(Value::Array(list)), ClientAssertionAudience::Compat) => !list.is_empty() && list.iter().all(good),
            (Some(value), _) => good(value),
            (None, _) => false,
        };
        if accepted { Ok(()) } else { Err(AssertionError::Audience) }
    }

    fn check_times(&self, now: UnixTime) -> Result<(), AssertionError> {
        if now > self.exp.plus(CLOCK_SKEW) {
            return Err(AssertionError::Expired);
        }
        if self.exp > now.plus(MAX_LIFETIME) {
            return Err(AssertionError::ExpiryTooFar);
        }
        let too_early = |time: Option<UnixTime>| time.is_some_and(|time| time > now.plus(CLOCK_SKEW));
        if too_early(self.iat) || too_early(self.nbf) {
            return Err(AssertionError::NotYetValid);
        }
        Ok(())
    }

    /// Whether the ledger would remember an earlier use. `iat` counts whole seconds, so what was made in the second in which the epoch
    /// began counts as made before.
    fn check_memory(&self, epoch: &Epoch, now: UnixTime) -> Result<(), AssertionError> {
        let may_be_forgotten = epoch.demands_nonce(now, MAX_LIFETIME + CLOCK_SKEW);
        if may_be_forgotten && self.iat.is_none_or(|iat| epoch.since.is_some_and(|since| iat < since)) {
            return Err(AssertionError::BeforeEpoch);
        }
        Ok(())
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(AssertionAlg, Option<String>), AssertionError> {
    // No extension is understood here, and `b64` changes what is signed (RFC 7797).
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(AssertionError::Critical);
    }
    // Media types are compared without regard to case (RFC 7515 section 4.1.9).
    if string(header, "typ")?.is_some_and(|typ| !TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
        return Err(AssertionError::Type);
    }
    let alg = string(header, "alg")?.and_then(AssertionAlg::from_name).ok_or(AssertionError::Algorithm)?;
    Ok((alg, string(header, "kid")?.map(str::to_owned)))
}

fn string<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, AssertionError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(AssertionError::Member(name)),
    }
}

/// A `NumericDate`: seconds, possibly with a fraction (RFC 7519 section 2).
fn time(members: &Map<String, Value>, name: &'static str) -> Result<Option<UnixTime>, AssertionError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let secs = value.as_f64().filter(|secs| secs.abs() <= MAX_NUMERIC_DATE).ok_or(AssertionError::Member(name))?;
    // Exact: within the bound, milliseconds fit into the 53 bits of an f64.
    Ok(Some(UnixTime::from_millis((secs * 1000.0).round() as i64)))
}

/// What is wrong with a client assertion. For the log only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AssertionError {
    /// Longer than 8 KiB.
    #[error("longer than 8 KiB")]
    TooLarge,
    /// Not a compact JWS of strict JSON objects.
    #[error("not a compact JWS in canonical base64url with strict JSON objects")]
    NotJws,
    /// A member has another JSON type than it must have.
    #[error("member {0} has the wrong JSON type")]
    Member(&'static str),
    /// `crit` or `b64`.
    #[error("needs an extension that is not understood")]
    Critical,
    /// Another kind of JWT.
    #[error("typ is that of another kind of JWT")]
    Type,
    /// `alg` is unknown, not allowed, or none the client has a key for.
    #[error("alg is not one the client is registered for")]
    Algorithm,
    /// `iss` and `sub` are not the client.
    #[error("iss and sub are not both the client_id")]
    Issuer,
    /// `jti` is missing or not 1 to 256 bytes.
    #[error("jti is not a string of 1 to 256 bytes")]
    Jti,
    /// `exp` is missing.
    #[error("exp is missing")]
    NoExpiry,
    /// `aud` is not this server alone.
    #[error("aud is not the issuer")]
    Audience,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `exp` is more than an hour ahead.
    #[error("exp is more than an hour ahead")]
    ExpiryTooFar,
    /// `iat` or `nbf` lies in the future.
    #[error("iat or nbf lies in the future")]
    NotYetValid,
    /// It is genuine, but may have been used before the ledger lost its memory: nobody can tell. The client is asked to come again.
    #[error("made before the replay epoch began, so that an earlier use may be forgotten")]
    BeforeEpoch,
    /// No key of the client verifies it.
    #[error("no registered key verifies the signature")]
    Signature,
}

/// RFC 7523 knows no type; the update of it recommends its own. An explicit type of any other kind marks another kind of JWT.
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];

/// `iat` and `nbf` may lie so far ahead, and `exp` behind (FAPI 2.0 section 5.3.2.1: up to 10 s must be, more than 60 s must not).
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// The clocks of two nodes may differ by this much; see the lifetime of a proof's claim.
const CLOCK_SPREAD: Duration = Duration::from_secs(5);

/// How far `exp` may lie ahead: what the ledger has to remember at most.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

const MAX_BYTES: usize = 8 * 1024;
const MAX_JTI_BYTES: usize = 256;
const MAX_NUMERIC_DATE: f64 = 1e12;
