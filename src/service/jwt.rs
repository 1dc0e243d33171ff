//! JWTs of others, read but not believed.

use keybound_proofs::UnixTime;
use keybound_proofs::jose::Compact;
use serde_json::{Map, Value};

use crate::domain::Scope;
use crate::domain::client::AssertionAlg;
use crate::domain::strict_json;

/// A compact JWS whose header and claims are strict JSON objects. Nothing it says is proven.
pub(super) struct UnverifiedJwt<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    /// The algorithm in the header.
    pub(super) alg: AssertionAlg,
    /// The name of the key in the header.
    pub(super) kid: Option<String>,
    /// The `typ` in the header.
    pub(super) typ: Option<String>,
    /// The claims.
    pub(super) claims: Map<String, Value>,
}

impl<'a> UnverifiedJwt<'a> {
    /// Reads a token of at most [`UnverifiedJwt::MAX_BYTES`]. An extension that would have to be understood is refused.
    ///
    /// # Errors
    /// [`JwtError`].
    pub(super) fn parse(token: &'a str) -> Result<Self, JwtError> {
        if token.len() > Self::MAX_BYTES {
            return Err(JwtError::TooLarge);
        }
        let jws = Compact::split(token.as_bytes()).map_err(|_| JwtError::NotJws)?;
        let object = |part: Option<Vec<u8>>| part.and_then(|bytes| strict_json::parse_object(&bytes).ok()).ok_or(JwtError::NotJws);
        let (header, claims) = (object(jws.header().ok())?, object(jws.payload().ok())?);
        let signature = jws.signature().map_err(|_| JwtError::NotJws)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwtError::Critical);
        }
        let alg = text(&header, "alg")?.and_then(AssertionAlg::from_name).ok_or(JwtError::Algorithm)?;
        let (kid, typ) = (text(&header, "kid")?.map(str::to_owned), text(&header, "typ")?.map(str::to_owned));
        Ok(Self { signing_input: jws.signing_input(), signature, alg, kid, typ, claims })
    }

    /// The longest token that is looked at.
    pub(super) const MAX_BYTES: usize = 16 * 1024;

    /// What was signed.
    pub(super) const fn signing_input(&self) -> &'a [u8] {
        self.signing_input
    }

    /// The signature.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// A claim that is a string.
    ///
    /// # Errors
    /// [`JwtError::Claim`] where it is something else.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, JwtError> {
        text(&self.claims, name)
    }

    /// A claim that is a `NumericDate`: seconds, possibly with a fraction (RFC 7519 section 2).
    ///
    /// # Errors
    /// [`JwtError::Claim`] where it is something else.
    pub(super) fn time(&self, name: &'static str) -> Result<Option<UnixTime>, JwtError> {
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.abs() <= MAX_NUMERIC_DATE).ok_or(JwtError::Claim(name))?;
        // Exact: within the bound, milliseconds fit into the 53 bits of an f64.
        Ok(Some(UnixTime::from_millis((seconds * 1000.0).round() as i64)))
    }

    /// Whether `aud` is, or holds, this audience.
    pub(super) fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|one| one == audience),
            _ => false,
        }
    }

    /// The scope: `scope` (RFC 8693 section 4.2) or, as some issuers have it, `scp`; a text or a list. `None` where there is neither.
    ///
    /// # Errors
    /// [`JwtError::Claim`] where it can't be read as a scope.
    pub(super) fn scope(&self) -> Result<Option<Scope>, JwtError> {
        for name in ["scope", "scp"] {
            let text = match self.claims.get(name) {
                None => continue,
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(list)) => {
                    let tokens: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                    tokens.ok_or(JwtError::Claim(name))?.join(" ")
                }
                Some(_) => return Err(JwtError::Claim(name)),
            };
            return Scope::parse(&text).map(Some).map_err(|_| JwtError::Claim(name));
        }
        Ok(None)
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JwtError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JwtError::Claim(name)),
    }
}

/// Why a text is no JWT that could be verified here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwtError {
    /// Longer than 16 KiB.
    #[error("it is longer than 16 KiB")]
    TooLarge,
    /// Not a compact JWS of strict JSON objects.
    #[error("it is not a compact JWS of strict JSON objects")]
    NotJws,
    /// `crit` or `b64`.
    #[error("it needs an extension that is not understood")]
    Critical,
    /// No algorithm, or none that is known: among others `none` and those with a shared secret.
    #[error("its alg is not one that is accepted")]
    Algorithm,
    /// A member has another JSON type than it must have.
    #[error("its {0} has the wrong form")]
    Claim(&'static str),
}

const MAX_NUMERIC_DATE: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;
    use keybound_proofs::jose::encode_base64url as b64;
    use serde_json::json;

    fn jwt(header: Value, claims: Value) -> String {
        format!("{}.{}.AAAA", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()))
    }

    /// JOSE-01, JOSE-02, JOSE-17
    #[test]
    fn only_a_signed_compact_jwt_is_read() {
        let read = |header: Value| UnverifiedJwt::parse(&jwt(header, json!({}))).map(|_| ());
        assert_eq!(read(json!({"alg": "ES256", "kid": "a", "typ": "at+jwt"})), Ok(()));
        for (header, error) in [
            (json!({"alg": "none"}), JwtError::Algorithm),
            (json!({"alg": "HS256"}), JwtError::Algorithm),
            (json!({"alg": "es256"}), JwtError::Algorithm),
            (json!({}), JwtError::Algorithm),
            (json!({"alg": "ES256", "crit": []}), JwtError::Critical),
            (json!({"alg": "ES256", "b64": true}), JwtError::Critical),
            (json!({"alg": "ES256", "kid": 1}), JwtError::Claim("kid")),
        ] {
            assert_eq!(read(header.clone()), Err(error), "{header}");
        }
        for text in ["", "a.b", "e30.e30.", "opaque-token", "e30.e30.AA.AA.AA"] {
            assert_eq!(UnverifiedJwt::parse(text).err(), Some(JwtError::NotJws), "{text}");
        }
    }

    #[test]
    fn a_scope_is_read_in_each_of_its_forms() {
        let scope = |claims: Value| UnverifiedJwt::parse(&jwt(json!({"alg": "ES256"}), claims)).unwrap().scope();
        let both = Some(Scope::parse("a b").unwrap());
        for claims in [json!({"scope": "a b"}), json!({"scp": "b a"}), json!({"scp": ["a", "b"]}), json!({"scope": ["a", "b"], "scp": "c"})]
        {
            assert_eq!(scope(claims.clone()), Ok(both.clone()), "{claims}");
        }
        assert_eq!(scope(json!({})), Ok(None));
        assert_eq!(scope(json!({"scope": ""})), Ok(Some(Scope::default())));
        assert_eq!(scope(json!({"scope": 1})), Err(JwtError::Claim("scope")));
        assert_eq!(scope(json!({"scope": "a  b"})), Err(JwtError::Claim("scope")));
    }
}
