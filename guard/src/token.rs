//! JWT access tokens (RFC 9068) of the one issuer.

use std::borrow::Cow;

use keybound_proofs::backend::{AwsLc, Verifier as _};
use keybound_proofs::jose::{self, Compact, Json};
use keybound_proofs::{Alg, Jkt, PublicJwk, UnixTime};
use serde_json::Value;

use crate::config::GuardConfig;

/// The longest access token that is looked at, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token that was read but not verified.
pub(crate) struct UnverifiedToken<'a> {
    jws: Compact<'a>,
    alg: Alg,
    /// Names the key that is said to have signed it.
    pub(crate) kid: String,
}

/// Claims that the issuer signed.
#[derive(Clone, Debug)]
pub(crate) struct AccessToken {
    pub(crate) sub: String,
    pub(crate) client_id: String,
    pub(crate) scope: Vec<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) jti: String,
    pub(crate) exp: UnixTime,
    not_before: Option<UnixTime>,
    pub(crate) grant_id: Option<String>,
    pub(crate) authorization_details: Vec<Value>,
    /// The key it is bound to; `None` for a bearer token.
    pub(crate) jkt: Option<Jkt>,
    /// The issuer's key that signed it.
    pub(crate) signed_by: (String, Jkt),
}

impl<'a> UnverifiedToken<'a> {
    /// Reads the header: a strict compact JWS of type `at+jwt`, signed with an allowed algorithm by a named key, without critical
    /// extensions.
    pub(crate) fn read(token: &'a str, config: &GuardConfig) -> Result<Self, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLarge);
        }
        let jws = Compact::split(token.as_bytes()).map_err(|_| InvalidToken::NotJwt)?;
        let header = jws.header().map_err(|_| InvalidToken::NotJwt)?;
        let [typ, alg, kid, crit, b64] = jose::members(&header, ["typ", "alg", "kid", "crit", "b64"]).map_err(|_| InvalidToken::NotJwt)?;
        if crit.is_some() || b64.is_some() {
            return Err(InvalidToken::Critical);
        }
        let typ = text(typ).ok_or(InvalidToken::Type)?;
        // A media type has no case and may leave out `application/` (RFC 7515 section 4.1.9).
        if !["at+jwt", "application/at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known)) {
            return Err(InvalidToken::Type);
        }
        let alg = text(alg).and_then(|name| Alg::from_name(&name)).filter(|alg| config.token_algs.contains(*alg));
        let kid = text(kid).filter(|kid| !kid.is_empty()).ok_or(InvalidToken::Signature)?;
        Ok(Self { jws, alg: alg.ok_or(InvalidToken::Signature)?, kid: kid.into_owned() })
    }

    /// Verifies the signature with the issuer's key of this name, and then reads the claims.
    ///
    /// NOT checked: times and audience, which [`AccessToken::usable`] compares with each request.
    pub(crate) fn verify(self, key: &PublicJwk, config: &GuardConfig) -> Result<AccessToken, InvalidToken> {
        let signature = self.jws.signature().map_err(|_| InvalidToken::NotJwt)?;
        if !key.supports(self.alg) || AwsLc.verify(self.alg, key, self.jws.signing_input(), &signature).is_err() {
            return Err(InvalidToken::Signature);
        }
        let payload = self.jws.payload().map_err(|_| InvalidToken::NotJwt)?;
        AccessToken::read(&payload, &config.issuer, (self.kid, key.thumbprint()))
    }
}

impl AccessToken {
    fn read(payload: &[u8], issuer: &str, signed_by: (String, Jkt)) -> Result<Self, InvalidToken> {
        let names = ["iss", "sub", "aud", "client_id", "jti", "iat", "exp", "nbf", "scope", "cnf", "grant_id", "authorization_details"];
        let [iss, sub, aud, client_id, jti, iat, exp, nbf, scope, cnf, grant_id, details] =
            jose::members(payload, names).map_err(|_| InvalidToken::NotJwt)?;
        if text(iss).as_deref() != Some(issuer) {
            return Err(InvalidToken::Issuer);
        }
        let required = |value, name| match text(value).filter(|text| !text.is_empty()) {
            Some(text) => Ok(text.into_owned()),
            None => Err(InvalidToken::Claim(name)),
        };
        instant(iat, "iat")?;
        Ok(Self {
            sub: required(sub, "sub")?,
            client_id: required(client_id, "client_id")?,
            jti: required(jti, "jti")?,
            audience: audience(aud).ok_or(InvalidToken::Claim("aud"))?,
            exp: instant(exp, "exp")?,
            not_before: nbf.map(|nbf| instant(Some(nbf), "nbf")).transpose()?,
            scope: match scope {
                None => Vec::new(),
                Some(Json::Text(scope)) => scope.split(' ').filter(|entry| !entry.is_empty()).map(str::to_owned).collect(),
                Some(_) => return Err(InvalidToken::Claim("scope")),
            },
            jkt: cnf.map(confirmation).transpose()?,
            grant_id: grant_id.map(|id| required(Some(id), "grant_id")).transpose()?,
            authorization_details: match details {
                None => Vec::new(),
                Some(Json::Array(array)) => serde_json::from_str(array).map_err(|_| InvalidToken::Claim("authorization_details"))?,
                Some(_) => return Err(InvalidToken::Claim("authorization_details")),
            },
            signed_by,
        })
    }

    /// Whether the token counts now, for this API.
    ///
    /// `exp` has no leeway; `nbf` has the one that proofs have (AT-02).
    pub(crate) fn usable(&self, config: &GuardConfig, now: UnixTime) -> Result<(), InvalidToken> {
        if now >= self.exp {
            return Err(InvalidToken::Expired);
        }
        if self.not_before.is_some_and(|begin| now.plus(config.policy.clock_skew) < begin) {
            return Err(InvalidToken::NotYetValid);
        }
        if !self.audience.contains(&config.audience) {
            return Err(InvalidToken::Audience);
        }
        Ok(())
    }
}

fn text(value: Option<Json<'_>>) -> Option<Cow<'_, str>> {
    match value {
        Some(Json::Text(text)) => Some(text),
        _ => None,
    }
}

fn instant(value: Option<Json<'_>>, name: &'static str) -> Result<UnixTime, InvalidToken> {
    match value {
        Some(Json::Number(date)) => Ok(date.time()),
        _ => Err(InvalidToken::Claim(name)),
    }
}

fn audience(value: Option<Json<'_>>) -> Option<Vec<String>> {
    match value? {
        Json::Text(one) => Some(vec![one.into_owned()]),
        Json::Array(array) => {
            let mut many = Some(Vec::new());
            jose::array(array, |one| match (one, &mut many) {
                (Json::Text(one), Some(list)) => list.push(one.into_owned()),
                _ => many = None,
            })
            .ok()?;
            many.filter(|many| !many.is_empty())
        }
        _ => None,
    }
}

/// Anything but `{"jkt": …}` makes no token at all: what is not understood must never be read as unbound (CNF-02).
fn confirmation(cnf: Json<'_>) -> Result<Jkt, InvalidToken> {
    let Json::Object(members) = cnf else { return Err(InvalidToken::Confirmation) };
    let (mut jkt, mut count) = (None, 0);
    let read = jose::object(members.as_bytes(), |name, value| {
        count += 1;
        if let ("jkt", Json::Text(text)) = (name.as_ref(), value) {
            jkt = text.parse().ok();
        }
    });
    if read.is_err() || count != 1 { Err(InvalidToken::Confirmation) } else { jkt.ok_or(InvalidToken::Confirmation) }
}

/// Why a token does not count. For the log; a client is told `invalid_token`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidToken {
    /// Longer than 16 KiB.
    #[error("the access token is longer than 16 KiB")]
    TooLarge,
    /// Not a compact JWS of strict JSON objects.
    #[error("the access token is not a compact JWS of strict JSON objects")]
    NotJwt,
    /// `crit` or `b64`.
    #[error("the access token needs an extension that is not understood")]
    Critical,
    /// Another kind of JWT.
    #[error("the typ of the access token is not at+jwt")]
    Type,
    /// No published key of the issuer made the signature, or not with an allowed algorithm.
    #[error("no key of the issuer made the signature of the access token")]
    Signature,
    /// Another issuer.
    #[error("the access token has another issuer")]
    Issuer,
    /// A claim is missing or malformed.
    #[error("the claim {0} of the access token is missing or malformed")]
    Claim(&'static str),
    /// `cnf` is malformed, or names something else than a key's thumbprint.
    #[error("the confirmation of the access token can't be read")]
    Confirmation,
    /// `exp` has come.
    #[error("the access token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Meant for another API.
    #[error("the access token is for another audience")]
    Audience,
}

impl InvalidToken {
    /// For the client.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Expired => "the access token has expired",
            Self::NotYetValid => "the access token is not valid yet",
            Self::Audience => "the access token is for another audience",
            _ => "the access token is malformed or not of the issuer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn read_with(name: &str, value: Option<Value>) -> Result<AccessToken, InvalidToken> {
        let mut claims = json!({"iss": "https://as.example.com", "sub": "alice", "aud": "urn:api", "client_id": "app", "jti": "1",
            "iat": 1_700_000_000, "exp": 1_700_000_300, "scope": "accounts openid", "cnf": {"jkt": JKT}});
        match value {
            Some(value) => claims[name] = value,
            None => drop(claims.as_object_mut().and_then(|claims| claims.remove(name))),
        }
        AccessToken::read(claims.to_string().as_bytes(), "https://as.example.com", ("k".into(), Jkt::from_bytes([0; 32])))
    }

    /// AT-02
    #[test]
    fn every_required_claim_must_be_there() {
        for name in ["sub", "aud", "client_id", "jti", "iat", "exp"] {
            assert_eq!(read_with(name, None).err(), Some(InvalidToken::Claim(name)));
            assert_eq!(read_with(name, Some(json!(null))).err(), Some(InvalidToken::Claim(name)));
        }
        for iss in [None, Some(json!("https://as.example.com/")), Some(json!(["https://as.example.com"]))] {
            assert_eq!(read_with("iss", iss).err(), Some(InvalidToken::Issuer));
        }
        assert!(read_with("extra", Some(json!({"a": [1]}))).is_ok());
    }

    /// AT-03
    #[test]
    fn the_audience_is_one_text_or_a_list_of_texts() {
        assert_eq!(read_with("aud", Some(json!(["a", "b"]))).map(|token| token.audience).ok(), Some(vec!["a".into(), "b".into()]));
        for bad in [json!([]), json!(["a", 1]), json!([1, "a"]), json!({"a": 1}), json!([["a"]])] {
            assert_eq!(read_with("aud", Some(bad.clone())).err(), Some(InvalidToken::Claim("aud")), "{bad}");
        }
    }

    /// CNF-02, MTLS-02
    #[test]
    fn a_confirmation_that_is_not_understood_is_never_read_as_unbound() {
        assert!(read_with("cnf", None).is_ok_and(|token| token.jkt.is_none()));
        assert!(read_with("cnf", Some(json!({"jkt": JKT}))).is_ok_and(|token| token.jkt.is_some()));
        let with_both = json!({"jkt": JKT, "x5t#S256": JKT});
        for bad in [
            json!(null),
            json!({}),
            json!(JKT),
            json!([JKT]),
            json!({"jkt": 1}),
            json!({"jkt": "short"}),
            json!({"x5t#S256": JKT}),
            with_both,
        ] {
            assert_eq!(read_with("cnf", Some(bad.clone())).err(), Some(InvalidToken::Confirmation), "{bad}");
        }
    }

    /// AT-02
    #[test]
    fn expiry_has_no_leeway_and_the_begin_has_that_of_proofs() {
        let config = GuardConfig::new("https://as.example.com", "https://api.example.com").audience("urn:api");
        let token = read_with("nbf", Some(json!(1_700_000_100))).expect("a token");
        for (at, verdict) in [
            (1_700_000_089, Err(InvalidToken::NotYetValid)),
            (1_700_000_090, Ok(())),
            (1_700_000_299, Ok(())),
            (1_700_000_300, Err(InvalidToken::Expired)),
        ] {
            assert_eq!(token.usable(&config, UnixTime::from_secs(at)), verdict, "{at}");
        }
        assert_eq!(token.usable(&config.audience("urn:other"), UnixTime::from_secs(1_700_000_200)), Err(InvalidToken::Audience));
    }
}
