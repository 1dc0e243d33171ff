//! ID tokens (OpenID Connect Core section 2).

use std::time::Duration;

use keybound_proofs::UnixTime;
use serde_json::{Map, Value};

use crate::domain::{ClientId, Grant};
use crate::keys::{SignError, TokenSigner};

/// What one ID token says. Whether the scope holds `openid` is the caller's to judge.
#[derive(Clone, Copy, Debug)]
pub struct IdToken<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// The client it is for.
    pub client_id: &'a ClientId,
    /// Who signed in, when, how, and what is said about them.
    pub grant: &'a Grant,
    /// The access token of the same answer, for `at_hash`.
    pub access_token: &'a str,
    /// Whether this is the first one of the grant. Only that one repeats the `nonce` of the authorization request: at a refresh
    /// it should not be there (section 12.2).
    pub first: bool,
    /// When it is issued.
    pub now: UnixTime,
    /// How long it lives, in whole seconds.
    pub lifetime: Duration,
}

impl IdToken<'_> {
    /// The `typ` of its header.
    pub const TYP: &'static str = "JWT";

    /// Signs it. The grant's own claims come along, except those that the protocol gives a meaning to.
    ///
    /// # Errors
    /// [`IdTokenError::NoSubject`] where the grant has no end user; else what the signer says.
    pub fn mint(&self, signer: &TokenSigner) -> Result<String, IdTokenError> {
        let sub = self.grant.sub.as_deref().ok_or(IdTokenError::NoSubject)?;
        let iat = self.now.as_secs();
        let exp = iat.saturating_add(i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX));
        let own = self.grant.claims.iter().filter(|(name, _)| !PROTOCOL_CLAIMS.contains(&name.as_str()));
        let mut claims: Map<String, Value> = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iss", self.issuer.into());
        set("sub", sub.into());
        set("aud", self.client_id.as_str().into());
        set("iat", iat.into());
        set("exp", exp.into());
        set("at_hash", signer.alg().half_hash(self.access_token).into());
        if let Some(auth_time) = self.grant.auth_time {
            set("auth_time", auth_time.into());
        }
        if let Some(acr) = &self.grant.acr {
            set("acr", acr.as_str().into());
        }
        if let (true, Some(nonce)) = (self.first, &self.grant.nonce) {
            set("nonce", nonce.as_str().into());
        }
        Ok(signer.sign(Self::TYP, &claims)?)
    }
}

/// Why there is no ID token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdTokenError {
    /// The grant has no end user.
    #[error("an ID token needs an end user")]
    NoSubject,
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Claims that say something about the token, the key or the grant: never taken from what a login application sent.
pub(super) const PROTOCOL_CLAIMS: [&str; 19] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "auth_time",
    "acr",
    "nonce",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "cnf",
    "client_id",
    "scope",
    "authorization_details",
    "grant_id",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsEntropy;
    use crate::keys::{Keys, SigningAlg, tests::verify};
    use serde_json::json;

    fn grant() -> Grant {
        let claims =
            json!({"name": "Alice", "amr": ["pwd"], "iss": "https://evil.example", "aud": "other", "exp": 1, "nonce": "own", "cnf": {}});
        Grant {
            sub: Some("alice".to_owned()),
            claims: claims.as_object().unwrap().clone(),
            auth_time: Some(99),
            acr: Some("urn:acr".to_owned()),
            nonce: Some("n-1".to_owned()),
            ..Grant::default()
        }
    }

    fn mint(grant: &Grant, first: bool) -> Result<Value, IdTokenError> {
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_create(&home.path().join("keys"), SigningAlg::Es256, &mut OsEntropy).unwrap().keys;
        let client_id = ClientId::new("app").unwrap();
        // OpenID Connect Core appendix A.3 hashes this access token to this at_hash.
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        let (now, lifetime) = (UnixTime::from_millis(100_900), Duration::from_secs(300));
        let token = IdToken { issuer: "https://as.example", client_id: &client_id, grant, access_token, first, now, lifetime };
        let (header, claims) = verify(&keys.jwks(), &token.mint(keys.signer())?);
        assert_eq!(header["typ"], "JWT");
        Ok(claims)
    }

    #[test]
    fn claims_of_the_grant_never_replace_those_of_the_protocol() {
        let expected = json!({
            "iss": "https://as.example", "sub": "alice", "aud": "app", "iat": 100, "exp": 400, "auth_time": 99, "acr": "urn:acr",
            "nonce": "n-1", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "name": "Alice", "amr": ["pwd"],
        });
        assert_eq!(mint(&grant(), true).unwrap(), expected);
    }

    /// OpenID Connect Core section 12.2
    #[test]
    fn a_refreshed_id_token_keeps_auth_time_and_has_no_nonce() {
        let claims = mint(&grant(), false).unwrap();
        assert_eq!(claims["auth_time"], 99);
        assert!(claims.get("nonce").is_none());
    }

    #[test]
    fn a_grant_without_end_user_has_no_id_token() {
        assert_eq!(mint(&Grant::default(), true), Err(IdTokenError::NoSubject));
        assert!(mint(&Grant { sub: Some("bob".to_owned()), ..Grant::default() }, true).is_ok());
    }

    #[test]
    fn the_hash_goes_with_the_algorithm() {
        let lengths = [SigningAlg::Es256, SigningAlg::Ps256, SigningAlg::Es384, SigningAlg::EdDsa].map(|alg| alg.half_hash("x").len());
        assert_eq!(lengths, [22, 22, 32, 43]);
    }
}
