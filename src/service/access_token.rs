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
    /// Who acts for the subject (RFC 8693 section 4.1).
    pub act: Option<&'a Map<String, Value>>,
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
            act: self.act,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<&'a Map<String, Value>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::OsEntropy;
    use crate::keys::{Keys, SigningAlg, tests::verify};
    use serde_json::json;

    struct Fixture {
        keys: Keys,
        client_id: ClientId,
        scope: Scope,
        none: Scope,
        audience: [String; 2],
        details: [Map<String, Value>; 1],
        _home: tempfile::TempDir,
    }

    impl Fixture {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let keys = Keys::load_or_create(&home.path().join("keys"), SigningAlg::Es256, &mut OsEntropy).unwrap().keys;
            let mut entry = Map::new();
            entry.insert("type".to_owned(), json!("account"));
            Self {
                keys,
                client_id: ClientId::new("app").unwrap(),
                scope: Scope::parse("openid accounts").unwrap(),
                none: Scope::default(),
                audience: ["https://a.example".to_owned(), "https://b.example".to_owned()],
                details: [entry],
                _home: home,
            }
        }

        fn full(&self) -> AccessToken<'_> {
            AccessToken {
                issuer: "https://as.example",
                sub: Some("alice"),
                audience: &self.audience[..1],
                client_id: &self.client_id,
                scope: &self.scope,
                jkt: Some(Jkt::from_bytes([1; 32])),
                authorization_details: &self.details,
                auth_time: Some(99),
                acr: Some("urn:acr"),
                grant_id: Some(FamilyId::from_bytes([2; 16])),
                act: None,
                now: UnixTime::from_millis(100_900),
                lifetime: Duration::from_secs(300),
            }
        }

        fn claims(&self, token: &AccessToken<'_>) -> Value {
            let minted = token.mint(self.keys.signer(), &mut OsEntropy).unwrap();
            let (header, mut claims) = verify(&self.keys.jwks(), &minted.token);
            assert_eq!(header["typ"], "at+jwt");
            assert_eq!(minted.expires, UnixTime::from_secs(400));
            assert_eq!(minted.jti.len(), 22);
            assert_eq!(claims.as_object_mut().unwrap().remove("jti"), Some(Value::String(minted.jti)));
            claims
        }
    }

    /// AT-01, AT-02, CNF-01, RAR-08
    #[test]
    fn a_token_of_a_grant_says_everything() {
        let fixture = Fixture::new();
        let expected = json!({
            "iss": "https://as.example", "sub": "alice", "aud": "https://a.example", "client_id": "app", "iat": 100, "exp": 400,
            "scope": "accounts openid", "cnf": {"jkt": Jkt::from_bytes([1; 32]).to_string()}, "authorization_details": [{"type": "account"}],
            "auth_time": 99, "acr": "urn:acr", "grant_id": FamilyId::from_bytes([2; 16]).to_string(),
        });
        assert_eq!(fixture.claims(&fixture.full()), expected);
    }

    /// AT-02: the client is the subject where there is no other.
    #[test]
    fn what_is_not_there_is_left_out() {
        let fixture = Fixture::new();
        let token = AccessToken {
            sub: None,
            audience: &fixture.audience,
            scope: &fixture.none,
            jkt: None,
            authorization_details: &[],
            auth_time: None,
            acr: None,
            grant_id: None,
            ..fixture.full()
        };
        let expected = json!({
            "iss": "https://as.example", "sub": "app", "aud": ["https://a.example", "https://b.example"], "client_id": "app", "iat": 100, "exp": 400,
        });
        assert_eq!(fixture.claims(&token), expected);
    }

    #[test]
    fn every_token_has_a_jti_of_its_own() {
        let fixture = Fixture::new();
        let mint = || fixture.full().mint(fixture.keys.signer(), &mut OsEntropy).unwrap();
        assert_ne!(mint().jti, mint().jti);
        assert!(!format!("{:?}", mint()).contains("eyJ"));
    }
}
