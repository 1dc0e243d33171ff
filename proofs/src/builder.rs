//! Making one proof.

use crate::jose;
use crate::key::{ProofKey, SignError};
use crate::{Ath, Entropy, UnixTime};

/// A proof in the making (RFC 9449 section 4.2). Every request needs its own, retries included.
#[derive(Clone, Copy, Debug)]
#[must_use = "a proof is made by `sign`"]
pub struct ProofBuilder<'a> {
    key: &'a ProofKey,
    method: &'a str,
    htu: &'a str,
    access_token: Option<&'a str>,
    nonce: Option<&'a str>,
    jti: Option<&'a str>,
    iat: Option<UnixTime>,
}

impl<'a> ProofBuilder<'a> {
    pub(crate) const fn new(key: &'a ProofKey, method: &'a str, htu: &'a str) -> Self {
        Self { key, method, htu, access_token: None, nonce: None, jti: None, iat: None }
    }

    /// Ties the proof to the access token that the request presents.
    pub const fn access_token(mut self, token: &'a str) -> Self {
        self.access_token = Some(token);
        self
    }

    /// Answers a `DPoP-Nonce` of the server.
    pub const fn nonce(mut self, nonce: &'a str) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// Sets the identifier instead of drawing one. Each may be used once.
    pub const fn jti(mut self, jti: &'a str) -> Self {
        self.jti = Some(jti);
        self
    }

    /// Sets the time of making instead of taking the whole second of `now`.
    pub const fn iat(mut self, iat: UnixTime) -> Self {
        self.iat = Some(iat);
        self
    }

    /// Signs the proof. The result is the value of the `DPoP` field. A drawn `jti` has 128 random bits.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign(self, now: UnixTime, entropy: &mut impl Entropy) -> Result<String, SignError> {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"{}","jwk":{}}}"#, self.key.alg(), self.key.public_jwk().required_members());
        let mut proof = jose::encode_base64url(header.as_bytes());
        proof.push('.');
        proof.push_str(&jose::encode_base64url(self.claims(now, entropy).as_bytes()));
        let signature = self.key.sign(proof.as_bytes())?;
        proof.push('.');
        proof.push_str(&jose::encode_base64url(&signature));
        Ok(proof)
    }

    fn claims(&self, now: UnixTime, entropy: &mut impl Entropy) -> String {
        let mut drawn = [0; 16];
        let jti = self.jti.map_or_else(
            || {
                entropy.fill(&mut drawn);
                jose::encode_base64url(&drawn)
            },
            ToOwned::to_owned,
        );
        let htu = &self.htu[..self.htu.find(['?', '#']).unwrap_or(self.htu.len())];
        let mut claims = serde_json::json!({ "jti": jti, "htm": self.method, "htu": htu, "iat": numeric_date(self.iat, now) });
        if let Some(token) = self.access_token {
            claims["ath"] = Ath::of_token(token).to_string().into();
        }
        if let Some(nonce) = self.nonce {
            claims["nonce"] = nonce.into();
        }
        claims.to_string()
    }
}

/// A fraction is written only where one was asked for.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of any year that has four digits fit")]
fn numeric_date(iat: Option<UnixTime>, now: UnixTime) -> serde_json::Value {
    match iat {
        Some(iat) if iat.as_millis() % 1000 != 0 => (iat.as_millis() as f64 / 1000.0).into(),
        iat => iat.unwrap_or(now).as_secs().into(),
    }
}
