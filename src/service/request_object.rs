//! Signed request objects (RFC 9101, FAPI 2.0 Message Signing section 5.3.1).

use std::time::Duration;

use keybound_proofs::UnixTime;
use keybound_proofs::jose::Compact;
use serde_json::{Map, Value};

use crate::domain::authorization::{Refusal, RefusalCode, RequestParameters};
use crate::domain::client::AssertionAlg;
use crate::domain::{Client, strict_json};
use crate::service::client_keys::ClientKeys;

/// The parameters inside a request object of `client`.
///
/// It must be signed with a registered key of the client (never RS256, never unsigned), name the client as `iss` and `client_id` and
/// the issuer among its `aud`, have begun at most an hour ago (`nbf`) and last at most an hour (`exp`). It is not recorded: whoever
/// sends it again asks the same question again.
///
/// # Errors
/// [`Refusal`] with [`RefusalCode::InvalidRequestObject`].
pub(super) async fn read(
    text: &str,
    client: &Client,
    issuer: &str,
    keys: &ClientKeys,
    now: UnixTime,
) -> Result<RequestParameters, Refusal> {
    let jws = Compact::split(text.as_bytes()).map_err(|_| refuse(NOT_JWS))?;
    let part = |decoded: Option<Vec<u8>>| {
        let bytes = decoded.ok_or_else(|| refuse(NOT_JWS))?;
        strict_json::parse_object(&bytes).map_err(|_| refuse(NOT_JWS))
    };
    let header = part(jws.header().ok())?;
    let alg = algorithm(&header)?;
    let signature = jws.signature().map_err(|_| refuse(NOT_JWS))?;
    let kid = header.get("kid").and_then(Value::as_str);
    let claims = part(jws.payload().ok())?;
    // Before the keys, which may have to be fetched.
    judge_claims(&claims, client, issuer, now)?;
    let keys = keys.candidates(client, alg, kid, now).await;
    let keys = keys.map_err(|_| refuse("the keys at the jwks_uri of the client could not be fetched"))?;
    if !keys.iter().any(|key| key.verify(jws.signing_input(), &signature).is_ok()) {
        return Err(refuse("no registered key of the client verifies the request object"));
    }
    RequestParameters::from_claims(&claims)
}

fn algorithm(header: &Map<String, Value>) -> Result<AssertionAlg, Refusal> {
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(refuse("the request object needs an extension that is not understood"));
    }
    let typ_is_good =
        header.get("typ").is_none_or(|typ| typ.as_str().is_some_and(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))));
    if !typ_is_good {
        return Err(refuse("the typ of the request object is that of another kind of JWT"));
    }
    let alg = header.get("alg").and_then(Value::as_str).and_then(AssertionAlg::from_name);
    alg.filter(|alg| *alg != AssertionAlg::Rs256).ok_or_else(|| refuse("the alg of the request object is not one that is accepted"))
}

fn judge_claims(claims: &Map<String, Value>, client: &Client, issuer: &str, now: UnixTime) -> Result<(), Refusal> {
    let is_client = |name: &str| claims.get(name).and_then(Value::as_str) == Some(client.id().as_str());
    if !is_client("iss") || !is_client("client_id") {
        return Err(refuse("iss and client_id of the request object must both be the client_id"));
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => one == issuer,
        Some(Value::Array(many)) => many.iter().any(|one| one == issuer),
        _ => false,
    };
    if !for_us {
        return Err(refuse("aud of the request object must hold the issuer"));
    }
    if claims.contains_key("request") || claims.contains_key("request_uri") {
        return Err(refuse("a request object holds no other one"));
    }
    let nbf = time(claims, "nbf")?.ok_or_else(|| refuse("the request object has no nbf"))?;
    let exp = time(claims, "exp")?.ok_or_else(|| refuse("the request object has no exp"))?;
    let iat = time(claims, "iat")?;
    if now > exp.plus(CLOCK_SKEW) {
        return Err(refuse("the request object is expired"));
    }
    if [Some(nbf), iat].into_iter().flatten().any(|time| time > now.plus(CLOCK_SKEW)) {
        return Err(refuse("nbf or iat of the request object lies in the future"));
    }
    if nbf.plus(MAX_LIFETIME) < now {
        return Err(refuse("nbf of the request object lies more than an hour back"));
    }
    if exp > nbf.plus(MAX_LIFETIME) {
        return Err(refuse("exp of the request object lies more than an hour after nbf"));
    }
    Ok(())
}

/// A `NumericDate`: seconds, possibly with a fraction (RFC 7519 section 2).
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let secs = value.as_f64().filter(|secs| secs.abs() <= 1e12);
    // Exact: within the bound, milliseconds fit into the 53 bits of an f64.
    secs.map(|secs| Some(UnixTime::from_millis((secs * 1000.0).round() as i64)))
        .ok_or_else(|| refuse("nbf, exp and iat of the request object must be numbers of seconds"))
}

fn refuse(why: &'static str) -> Refusal {
    Refusal::new(RefusalCode::InvalidRequestObject, why)
}

/// RFC 9101 section 10.8 recommends its own type; an explicit type of any other kind marks another kind of JWT.
const TYPES: [&str; 3] = ["oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT"];
/// As for client assertions: 10 s ahead must be accepted, more than 60 s must not (FAPI 2.0 section 5.3.2.1).
const CLOCK_SKEW: Duration = Duration::from_secs(10);
/// FAPI 2.0 Message Signing section 5.3.1.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);
const NOT_JWS: &str = "the request object is not a compact JWS of strict JSON objects";
