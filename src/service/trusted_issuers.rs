//! Issuers whose tokens may be exchanged (RFC 8693).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use keybound_proofs::UnixTime;
use serde_json::{Map, Value};

use crate::domain::{AuthorizationDetails, ClientId, Scope};
use crate::fetch::{FetchError, KeySets, KeySource};
use crate::service::jwt::{JwtError, UnverifiedJwt};
use crate::service::party_token::{PartyBinding, PartyToken};
use crate::service::verify_token::{AccessTokenClaims, InvalidAccessToken};

/// One trusted issuer, as the operator described it.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Its keys.
    pub keys: KeySource,
    /// The `aud` that its tokens must have.
    pub audience: String,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// The clients that may exchange its tokens.
    pub clients: BTreeSet<ClientId>,
    /// The scope of a token that has no scope claim.
    pub default_scope: Scope,
    /// Whether a bound token may be exchanged without a proof of its key.
    pub bound_subject_without_proof: bool,
}

/// Every trusted issuer, by its name.
pub struct TrustedIssuers {
    by_name: HashMap<String, TrustedIssuer>,
    key_sets: KeySets,
    fapi2: bool,
}

impl TrustedIssuers {
    /// The registry; keys that are published are fetched through `key_sets`.
    pub fn new(issuers: impl IntoIterator<Item = TrustedIssuer>, key_sets: KeySets, fapi2: bool) -> Self {
        let by_name = issuers.into_iter().map(|one| (one.issuer.clone(), one)).collect();
        Self { by_name, key_sets, fapi2 }
    }

    /// Verifies a token of a trusted issuer that `client` wants to exchange: issuer, client, type, audience, times, and last the
    /// signature, for which keys may have to be fetched. They are never fetched for an issuer that is not trusted, nor for a client that
    /// is not allowed.
    ///
    /// NOT checked: whether the issuer has revoked it, and who presents it.
    ///
    /// # Errors
    /// [`ForeignTokenError`].
    pub(super) async fn verify(&self, token: &str, client: &ClientId, now: UnixTime) -> Result<PartyToken, ForeignTokenError> {
        let jwt = UnverifiedJwt::parse(token)?;
        let trusted = jwt.text("iss")?.and_then(|issuer| self.by_name.get(issuer)).ok_or(ForeignTokenError::Issuer)?;
        if !trusted.clients.contains(client) {
            return Err(ForeignTokenError::Client);
        }
        if self.fapi2 && !jwt.alg.is_fapi2() {
            return Err(JwtError::Algorithm.into());
        }
        let read = trusted.read(&jwt, now)?;
        self.verify_signature(trusted, &jwt, now).await?;
        Ok(read)
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Verifies an access token of a trusted issuer that is presented to one of our resources: an RFC 9068 token, with every claim that
    /// it must have. A `grant_id` in it means nothing here.
    ///
    /// NOT checked: the audience, whether the issuer has revoked it, and who presents it.
    ///
    /// # Errors
    /// [`ForeignTokenError`].
    pub(super) async fn verify_access_token(&self, token: &str, now: UnixTime) -> Result<ForeignAccessToken, ForeignTokenError> {
        let jwt = UnverifiedJwt::parse(token)?;
        let trusted = jwt.text("iss")?.and_then(|issuer| self.by_name.get(issuer)).ok_or(ForeignTokenError::Issuer)?;
        if self.fapi2 && !jwt.alg.is_fapi2() {
            return Err(JwtError::Algorithm.into());
        }
        if !jwt.typ.as_deref().is_some_and(|typ| TYPES[..2].iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(ForeignTokenError::Type);
        }
        let claims = trusted.read_access_token(&jwt, now)?;
        self.verify_signature(trusted, &jwt, now).await?;
        Ok(ForeignAccessToken { issuer: trusted.issuer.clone(), claims })
    }

    async fn verify_signature(&self, trusted: &TrustedIssuer, jwt: &UnverifiedJwt<'_>, now: UnixTime) -> Result<(), ForeignTokenError> {
        let candidates = self.key_sets.candidates(&trusted.keys, jwt.alg, jwt.kid.as_deref(), now).await?;
        let genuine = candidates.iter().any(|key| key.verify(jwt.signing_input(), jwt.signature()).is_ok());
        if genuine { Ok(()) } else { Err(ForeignTokenError::Signature) }
    }
}

/// What an access token of a trusted issuer says. Only [`TrustedIssuers::verify_access_token`] makes one.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct ForeignAccessToken {
    issuer: String,
    claims: AccessTokenClaims,
}

impl ForeignAccessToken {
    /// Who issued it.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it says.
    pub(super) const fn claims(&self) -> &AccessTokenClaims {
        &self.claims
    }
}

impl std::fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrustedIssuers").field("names", &self.by_name.keys()).finish_non_exhaustive()
    }
}

impl TrustedIssuer {
    /// What a token says, its signature apart.
    fn read(&self, jwt: &UnverifiedJwt<'_>, now: UnixTime) -> Result<PartyToken, ForeignTokenError> {
        // An explicit type of another kind marks a JWT that was made for something else (RFC 8725 section 3.11).
        if jwt.typ.as_deref().is_some_and(|typ| !TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known))) {
            return Err(ForeignTokenError::Type);
        }
        if !jwt.is_for(&self.audience) {
            return Err(ForeignTokenError::Audience);
        }
        let expires = jwt.time("exp")?.ok_or(JwtError::Claim("exp"))?;
        if now >= expires {
            return Err(ForeignTokenError::Expired);
        }
        if [jwt.time("nbf")?, jwt.time("iat")?].into_iter().flatten().any(|time| time > now.plus(CLOCK_SKEW)) {
            return Err(ForeignTokenError::NotYetValid);
        }
        let sub = jwt.claims.get(&self.subject_claim).and_then(Value::as_str);
        let sub = sub.filter(|sub| (1..=MAX_SUBJECT_BYTES).contains(&sub.len())).ok_or(ForeignTokenError::Subject)?;
        let authorization_details = match jwt.claims.get("authorization_details") {
            None => Vec::new(),
            Some(value @ Value::Array(_)) => {
                let details = AuthorizationDetails::from_value(value.clone()).map_err(|_| JwtError::Claim("authorization_details"))?;
                details.into_inner()
            }
            Some(_) => return Err(JwtError::Claim("authorization_details").into()),
        };
        Ok(PartyToken {
            issuer: Some(self.issuer.clone()),
            sub: sub.to_owned(),
            client_id: jwt.text("client_id")?.or(jwt.text("azp")?).map(str::to_owned),
            audience: None,
            scope: jwt.scope()?.unwrap_or_else(|| self.default_scope.clone()),
            expires,
            binding: read_confirmation(jwt.claims.get("cnf"))?,
            bound_without_proof: self.bound_subject_without_proof,
            authorization_details,
            auth_time: jwt.claims.get("auth_time").and_then(Value::as_i64),
            acr: jwt.claims.get("acr").and_then(Value::as_str).map(str::to_owned),
            grant_id: None,
            act: object(jwt, "act")?,
            may_act: object(jwt, "may_act")?,
        })
    }
}

impl TrustedIssuer {
    /// An access token for a resource, its signature apart.
    fn read_access_token(&self, jwt: &UnverifiedJwt<'_>, now: UnixTime) -> Result<AccessTokenClaims, ForeignTokenError> {
        if jwt.time("exp")?.is_some_and(|expires| now >= expires) {
            return Err(ForeignTokenError::Expired);
        }
        if [jwt.time("nbf")?, jwt.time("iat")?].into_iter().flatten().any(|time| time > now.plus(CLOCK_SKEW)) {
            return Err(ForeignTokenError::NotYetValid);
        }
        let mut payload = jwt.claims.clone();
        // A time may have a fraction; a token is then good for less than a second less.
        for name in ["exp", "iat", "auth_time"] {
            if let Some(time) = jwt.time(name)? {
                payload.insert(name.to_owned(), Value::from(time.as_secs()));
            }
        }
        let sub = payload.get(&self.subject_claim).and_then(Value::as_str).filter(|sub| (1..=MAX_SUBJECT_BYTES).contains(&sub.len()));
        let sub = sub.ok_or(ForeignTokenError::Subject)?.to_owned();
        payload.insert("sub".to_owned(), Value::from(sub));
        let scope = jwt.scope()?.unwrap_or_else(|| self.default_scope.clone());
        payload.insert("scope".to_owned(), Value::from(scope.to_string()));
        payload.remove("grant_id");
        AccessTokenClaims::read(&payload).map_err(ForeignTokenError::Claims)
    }
}

fn object(jwt: &UnverifiedJwt<'_>, name: &'static str) -> Result<Option<Map<String, Value>>, JwtError> {
    match jwt.claims.get(name) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members.clone())),
        Some(_) => Err(JwtError::Claim(name)),
    }
}

/// A confirmation that is more than `jkt` needs a proof that can't be given here, and is never taken for none.
fn read_confirmation(cnf: Option<&Value>) -> Result<PartyBinding, JwtError> {
    let Some(cnf) = cnf else { return Ok(PartyBinding::Bearer) };
    let members = cnf.as_object().filter(|members| !members.is_empty()).ok_or(JwtError::Claim("cnf"))?;
    match members.get("jkt") {
        Some(jkt) if members.len() == 1 => {
            let jkt = jkt.as_str().and_then(|text| text.parse().ok());
            jkt.map(PartyBinding::Key).ok_or(JwtError::Claim("cnf"))
        }
        _ => Ok(PartyBinding::Other),
    }
}

/// Why a token of another issuer is not exchanged. For the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ForeignTokenError {
    /// It can't be read.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Its issuer is not trusted.
    #[error("its issuer is not a trusted one")]
    Issuer,
    /// The client may not exchange tokens of this issuer.
    #[error("the client is not among those that may exchange tokens of its issuer")]
    Client,
    /// It is another kind of JWT.
    #[error("its typ is that of another kind of JWT")]
    Type,
    /// It is for someone else.
    #[error("its aud is not the configured audience")]
    Audience,
    /// It has expired.
    #[error("it has expired")]
    Expired,
    /// It is from the future.
    #[error("its iat or nbf lies in the future")]
    NotYetValid,
    /// It names no subject.
    #[error("its subject claim is not a string of 1 to 256 bytes")]
    Subject,
    /// It is no access token of RFC 9068.
    #[error(transparent)]
    Claims(InvalidAccessToken),
    /// No key of the issuer verifies it.
    #[error("no key of its issuer verifies the signature")]
    Signature,
    /// The issuer's keys can't be had.
    #[error("the keys of its issuer: {0}")]
    Keys(#[from] FetchError),
}

/// RFC 9068 first, and what issuers wrote before it.
const TYPES: [&str; 4] = ["at+jwt", "application/at+jwt", "JWT", "application/jwt"];

/// As for client assertions.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

const MAX_SUBJECT_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use josekit::jwk::Jwk;
    use josekit::jwk::alg::ec::EcCurve;
    use josekit::jws::{ES256, JwsSigner as _};
    use keybound_proofs::jose::encode_base64url as b64;
    use serde_json::json;

    use super::*;
    use crate::domain::client::parse_key_set;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const ISSUER: &str = "https://idp.example";

    struct Fixture {
        key: Jwk,
        issuers: TrustedIssuers,
    }

    impl Fixture {
        fn new() -> Self {
            let key = Jwk::generate_ec_key(EcCurve::P256).unwrap();
            let jwks = json!({"keys": [key.to_public_key().unwrap()]});
            let keys = parse_key_set(jwks.as_object().unwrap(), 1).unwrap();
            let trusted = TrustedIssuer {
                issuer: ISSUER.to_owned(),
                keys: KeySource::Inline(Arc::from(keys)),
                audience: "https://as.example".to_owned(),
                subject_claim: "sub".to_owned(),
                clients: [ClientId::new("web").unwrap()].into(),
                default_scope: Scope::parse("legacy").unwrap(),
                bound_subject_without_proof: false,
            };
            Self { key, issuers: TrustedIssuers::new([trusted], KeySets::new(), false) }
        }

        fn token(&self, header: Value, claims: Value) -> String {
            let input = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
            let signature = ES256.signer_from_jwk(&self.key).unwrap().sign(input.as_bytes()).unwrap();
            format!("{input}.{}", b64(&signature))
        }

        async fn verify(&self, header: Value, claims: Value) -> Result<PartyToken, ForeignTokenError> {
            self.issuers.verify(&self.token(header, claims), &ClientId::new("web").unwrap(), NOW).await
        }

        async fn with(&self, name: &str, value: Value) -> Result<PartyToken, ForeignTokenError> {
            let mut claims = claims();
            claims[name] = value;
            self.verify(header(), claims).await
        }
    }

    fn header() -> Value {
        json!({"alg": "ES256", "typ": "JWT"})
    }

    fn claims() -> Value {
        json!({"iss": ISSUER, "sub": "alice", "aud": ["https://as.example", "other"], "exp": 1_700_000_100, "iat": 1_699_999_999, "scope": "a b"})
    }

    #[tokio::test]
    async fn a_token_of_a_trusted_issuer_is_read() {
        let fixture = Fixture::new();
        let token = fixture.verify(header(), claims()).await.unwrap();
        assert_eq!((token.sub.as_str(), token.scope.to_string().as_str(), token.binding), ("alice", "a b", PartyBinding::Bearer));
        assert_eq!(token.expires, UnixTime::from_secs(1_700_000_100));
        let mut silent = claims();
        silent.as_object_mut().unwrap().remove("scope");
        assert_eq!(fixture.verify(header(), silent).await.unwrap().scope.to_string(), "legacy");
        let jkt = json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"});
        assert!(matches!(fixture.with("cnf", jkt).await.unwrap().binding, PartyBinding::Key(_)));
        assert_eq!(fixture.with("cnf", json!({"x5t#S256": "x"})).await.unwrap().binding, PartyBinding::Other);
    }

    /// TX-02, CNF-02
    #[tokio::test]
    async fn whatever_is_wrong_with_a_token_it_is_not_exchanged() {
        let fixture = Fixture::new();
        for (name, value, error) in [
            ("iss", json!("https://other.example"), ForeignTokenError::Issuer),
            ("iss", json!(null), ForeignTokenError::Jwt(JwtError::Claim("iss"))),
            ("aud", json!("https://as.example/"), ForeignTokenError::Audience),
            ("aud", json!([]), ForeignTokenError::Audience),
            ("exp", json!(1_700_000_000), ForeignTokenError::Expired),
            ("exp", json!("soon"), ForeignTokenError::Jwt(JwtError::Claim("exp"))),
            ("nbf", json!(1_700_000_011), ForeignTokenError::NotYetValid),
            ("iat", json!(1_700_000_011), ForeignTokenError::NotYetValid),
            ("sub", json!(""), ForeignTokenError::Subject),
            ("sub", json!("x".repeat(257)), ForeignTokenError::Subject),
            ("cnf", json!({}), ForeignTokenError::Jwt(JwtError::Claim("cnf"))),
            ("cnf", json!("x"), ForeignTokenError::Jwt(JwtError::Claim("cnf"))),
            ("cnf", json!({"jkt": 1}), ForeignTokenError::Jwt(JwtError::Claim("cnf"))),
            ("act", json!("bob"), ForeignTokenError::Jwt(JwtError::Claim("act"))),
            ("authorization_details", json!({}), ForeignTokenError::Jwt(JwtError::Claim("authorization_details"))),
        ] {
            assert_eq!(fixture.with(name, value.clone()).await.unwrap_err(), error, "{name} {value}");
        }
        for (name, value) in [("exp", json!(1_700_000_001)), ("nbf", json!(1_700_000_010)), ("sub", json!("x".repeat(256)))] {
            assert!(fixture.with(name, value.clone()).await.is_ok(), "{name} {value}");
        }
    }

    /// AT-01, AT-02, CNF-02
    #[tokio::test]
    async fn at_a_resource_only_a_whole_access_token_counts() {
        let fixture = Fixture::new();
        let at = json!({"alg": "ES256", "typ": "at+jwt"});
        let mut whole = claims();
        for (name, value) in [("client_id", json!("app")), ("jti", json!("1")), ("iat", json!(1_699_999_999.5)), ("grant_id", json!("x"))] {
            whole[name] = value;
        }
        let verify = async |header: &Value, claims: &Value| {
            fixture.issuers.verify_access_token(&fixture.token(header.clone(), claims.clone()), NOW).await
        };
        let read = verify(&at, &whole).await.unwrap();
        assert_eq!((read.issuer(), read.claims().sub.as_str(), read.claims().grant_id), (ISSUER, "alice", None));
        assert_eq!(read.claims().iat, UnixTime::from_secs(1_699_999_999));
        for typ in ["JWT", "application/jwt", "dpop+jwt", "id_token"] {
            assert_eq!(verify(&json!({"alg": "ES256", "typ": typ}), &whole).await, Err(ForeignTokenError::Type), "{typ}");
        }
        assert_eq!(verify(&json!({"alg": "ES256"}), &whole).await, Err(ForeignTokenError::Type));
        for name in ["iss", "exp", "aud", "sub", "client_id", "jti", "iat"] {
            let mut part = whole.clone();
            part.as_object_mut().unwrap().remove(name);
            assert!(verify(&at, &part).await.is_err(), "{name}");
        }
        let edited = |name: &str, value: Value| {
            let mut edited = whole.clone();
            edited[name] = value;
            edited
        };
        assert_eq!(verify(&at, &edited("exp", json!(1_700_000_000))).await, Err(ForeignTokenError::Expired));
        assert!(verify(&at, &edited("exp", json!(1_700_000_001))).await.is_ok());
        assert_eq!(verify(&at, &edited("nbf", json!(1_700_000_011))).await, Err(ForeignTokenError::NotYetValid));
        assert!(verify(&at, &edited("cnf", json!({"x5t#S256": "x"}))).await.is_err());
        assert_eq!(Fixture::new().issuers.verify_access_token(&fixture.token(at, whole), NOW).await, Err(ForeignTokenError::Signature));
    }

    #[tokio::test]
    async fn a_jwt_of_another_kind_or_another_key_is_refused() {
        let fixture = Fixture::new();
        for typ in ["dpop+jwt", "logout+jwt", "client-authentication+jwt", ""] {
            assert_eq!(fixture.verify(json!({"alg": "ES256", "typ": typ}), claims()).await.unwrap_err(), ForeignTokenError::Type, "{typ}");
        }
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
            assert!(fixture.verify(json!({"alg": "ES256", "typ": typ}), claims()).await.is_ok(), "{typ}");
        }
        let other = Fixture::new();
        let token = other.token(header(), claims());
        let web = ClientId::new("web").unwrap();
        assert_eq!(fixture.issuers.verify(&token, &web, NOW).await.unwrap_err(), ForeignTokenError::Signature);
        assert!(other.issuers.verify(&token, &web, NOW).await.is_ok());
        let stranger = ClientId::new("stranger").unwrap();
        assert_eq!(other.issuers.verify(&token, &stranger, NOW).await.unwrap_err(), ForeignTokenError::Client);
    }
}
