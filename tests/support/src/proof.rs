//! DPoP proofs, well made or broken on purpose.

use serde_json::{Map, Value, json};

use crate::jose::{Key, b64, random};
use crate::time;

/// A proof before it is signed: a good one at first, any part of which can be replaced, removed or written as raw text.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The members of the JOSE header.
    pub header: Map<String, Value>,
    /// The claims.
    pub claims: Map<String, Value>,
    raw_header: Option<Vec<u8>>,
    raw_claims: Option<Vec<u8>>,
}

impl Proof {
    /// A good proof of `key` for one request: fresh `jti`, `iat` now.
    pub fn new(key: &Key, method: &str, htu: &str) -> Self {
        let header = json!({"typ": "dpop+jwt", "alg": key.alg(), "jwk": key.jwk()});
        let claims = json!({"jti": b64(random::<16>()), "htm": method, "htu": htu, "iat": time::now()});
        let (Value::Object(header), Value::Object(claims)) = (header, claims) else { unreachable!("two objects") };
        Self { header, claims, raw_header: None, raw_claims: None }
    }

    /// Sets a member of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a member of the header.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a member of `jwk`.
    #[must_use]
    pub fn jwk(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header["jwk"][name] = value.into();
        self
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Moves `iat` by some seconds.
    #[must_use]
    pub fn iat_offset(self, seconds: i64) -> Self {
        let iat = time::now() + seconds;
        self.claim("iat", iat)
    }

    /// The nonce to answer a challenge with.
    #[must_use]
    pub fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", nonce)
    }

    /// Writes the header as these bytes.
    #[must_use]
    pub fn raw_header(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.raw_header = Some(bytes.as_ref().to_vec());
        self
    }

    /// Writes the claims as these bytes.
    #[must_use]
    pub fn raw_claims(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.raw_claims = Some(bytes.as_ref().to_vec());
        self
    }

    /// The header as JSON text.
    pub fn header_text(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// The claims as JSON text.
    pub fn claims_text(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// The `jti`.
    pub fn jti(&self) -> String {
        self.claims["jti"].as_str().unwrap_or_default().to_owned()
    }

    /// What is signed.
    pub fn signing_input(&self) -> String {
        let header = self.raw_header.clone().unwrap_or_else(|| self.header_text().into_bytes());
        let claims = self.raw_claims.clone().unwrap_or_else(|| self.claims_text().into_bytes());
        format!("{}.{}", b64(header), b64(claims))
    }

    /// The compact JWS, signed with `key` whatever the header says.
    pub fn sign(&self, key: &Key) -> String {
        let input = self.signing_input();
        let signature = key.sign(input.as_bytes());
        format!("{input}.{}", b64(signature))
    }

    /// The compact JWS with this signature.
    pub fn with_signature(&self, signature: impl AsRef<[u8]>) -> String {
        format!("{}.{}", self.signing_input(), b64(signature))
    }
}
