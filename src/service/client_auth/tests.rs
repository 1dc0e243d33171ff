use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::{ec::EcCurve, ed::EdCurve};
use josekit::jws::{ES256, ES384, EdDSA, HS256, JwsSigner, PS256, RS256};
use serde_json::{Value, json};

use super::*;
use crate::clock::OsEntropy;
use crate::domain::ClientMetadata;
use crate::fetch::{KeySets, Reach};
use crate::service::testing::MemoryRecords;

const ISSUER: &str = "https://as.example";
const TOKEN_URL: &str = "https://as.example/oauth/token";
const NOW: i64 = 1_000_000;
const SECRET: &str = "s3cret with: %+ in it";

/// A client's key and the algorithm it signs with.
#[derive(Clone)]
struct Key {
    jwk: Jwk,
    alg: &'static str,
}

impl Key {
    fn new(alg: &'static str) -> Self {
        let jwk = match alg {
            "ES256" => Jwk::generate_ec_key(EcCurve::P256),
            "ES384" => Jwk::generate_ec_key(EcCurve::P384),
            "EdDSA" | "Ed25519" => Jwk::generate_ed_key(EdCurve::Ed25519),
            _ => Jwk::generate_rsa_key(2048),
        };
        Self { jwk: jwk.unwrap(), alg }
    }

    fn named(mut self, kid: &str) -> Self {
        self.jwk.set_key_id(kid);
        self
    }

    fn public(&self) -> Value {
        let mut public = serde_json::to_value(self.jwk.to_public_key().unwrap()).unwrap();
        if let Some(kid) = self.jwk.key_id() {
            public["kid"] = kid.into();
        }
        public
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signer: Box<dyn JwsSigner> = match self.alg {
            "ES256" => Box::new(ES256.signer_from_jwk(&self.jwk).unwrap()),
            "ES384" => Box::new(ES384.signer_from_jwk(&self.jwk).unwrap()),
            "PS256" => Box::new(PS256.signer_from_jwk(&self.jwk).unwrap()),
            "RS256" => Box::new(RS256.signer_from_jwk(&self.jwk).unwrap()),
            _ => Box::new(EdDSA.signer_from_jwk(&self.jwk).unwrap()),
        };
        signer.sign(message).unwrap()
    }
}

/// An assertion in the making: good unless it is changed.
#[derive(Clone)]
struct Spec {
    header: Value,
    claims: Value,
}

impl Spec {
    fn new(key: &Key) -> Self {
        let claims = json!({"iss": "app", "sub": "app", "aud": ISSUER, "jti": "j-1", "iat": NOW, "exp": NOW + 60});
        Self { header: json!({"alg": key.alg}), claims }
    }

    fn header(mut self, name: &str, value: Value) -> Self {
        self.header[name] = value;
        self
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        self.claims[name] = value;
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    fn sign(&self, key: &Key) -> String {
        sign_text(key, &self.header.to_string(), &self.claims.to_string())
    }
}

fn sign_text(key: &Key, header: &str, claims: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A server that knows the client `app` as the test registers it.
struct Server {
    registry: ClientRegistry,
    settings: ClientAuthSettings,
    epoch: Epoch,
    now: UnixTime,
}

impl Server {
    fn new(mut app: Value) -> Self {
        app["client_id"] = "app".into();
        Self::with(app, false)
    }

    fn with(app: Value, fapi2: bool) -> Self {
        let metadata: ClientMetadata = serde_json::from_value(app).unwrap();
        let client = metadata.validate(fapi2, &mut OsEntropy).unwrap();
        Self {
            registry: ClientRegistry::new([client], Arc::new(MemoryRecords::default()), fapi2).unwrap(),
            settings: ClientAuthSettings {
                issuer: ISSUER.to_owned(),
                endpoint_urls: vec![TOKEN_URL.to_owned()],
                realm: Realm::new(ISSUER),
                keys: ClientKeys::new(KeySets::new(), Reach::Public),
            },
            epoch: Epoch { id: EpochId::from_bytes([1; 16]), since: None },
            now: UnixTime::from_secs(NOW),
        }
    }

    fn with_keys(keys: &[&Key]) -> Self {
        Self::new(json!({"jwks": {"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()}}))
    }

    async fn authenticate(&self, presented: Presented<'_>) -> Result<AuthenticatedClient, ClientAuthError> {
        authenticate(&self.registry, presented, &self.settings, &self.epoch, self.now).await
    }

    async fn reason(&self, presented: Presented<'_>) -> Reason {
        match self.authenticate(presented).await {
            Err(ClientAuthError::Refused { reason, .. }) => reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn assert(&self, assertion: &str) -> Result<AuthenticatedClient, AssertionError> {
        match self.authenticate(asserting(assertion)).await {
            Ok(client) => Ok(client),
            Err(ClientAuthError::Refused { reason: Reason::Assertion(error), used_authorization: false }) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    }

    async fn refusal(&self, assertion: &str) -> AssertionError {
        self.assert(assertion).await.expect_err("an assertion that is refused")
    }
}

fn asserting(assertion: &str) -> Presented<'_> {
    Presented { client_assertion: Some(assertion), client_assertion_type: Some(ASSERTION_TYPE), ..Presented::default() }
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn authorization(value: &str) -> Presented<'_> {
    Presented { authorization: Some(value), ..Presented::default() }
}

#[tokio::test]
async fn a_public_client_is_known_by_its_identifier_alone() {
    let server = Server::new(json!({}));
    let named = Presented { client_id: Some("app"), ..Presented::default() };
    let found = server.authenticate(named).await.unwrap();
    assert!(!found.is_authenticated() && found.assertion.is_none());
    assert_eq!(server.reason(Presented::default()).await, Reason::NoClientId);
    assert_eq!(server.reason(Presented { client_id: Some("other"), ..named }).await, Reason::UnknownClient);
    assert_eq!(server.reason(Presented { client_secret: Some(SECRET), ..named }).await, Reason::OtherMethod);
    assert_eq!(server.reason(authorization(&basic("app", ""))).await, Reason::OtherMethod);
    // TEP-04: an empty value is an absent one.
    assert!(server.authenticate(Presented { client_secret: Some(""), ..named }).await.is_ok());
}

#[tokio::test]
async fn a_confidential_client_must_authenticate() {
    let server = Server::new(json!({"client_secret": SECRET}));
    let named = Presented { client_id: Some("app"), ..Presented::default() };
    assert_eq!(server.reason(named).await, Reason::NotAuthenticated);
    assert!(server.authenticate(authorization(&basic("app", "s3cret+with%3A+%25%2b+in+it"))).await.unwrap().is_authenticated());
}

/// TEP-06
#[tokio::test]
async fn two_mechanisms_in_one_request_are_refused() {
    let server = Server::new(json!({"client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post"}));
    let post = Presented { client_id: Some("app"), client_secret: Some(SECRET), ..Presented::default() };
    assert!(server.authenticate(post).await.is_ok());
    let header = basic("app", "x");
    for both in [
        Presented { authorization: Some(&header), ..post },
        Presented { client_assertion: Some("x"), client_assertion_type: Some(ASSERTION_TYPE), ..post },
        Presented { client_assertion_type: Some(ASSERTION_TYPE), ..post },
        Presented { client_assertion: Some("x"), ..authorization(&header) },
    ] {
        assert_eq!(server.reason(both).await, Reason::Multiple);
    }
    assert!(Reason::Multiple.is_invalid_request());
}

/// TEP-07
#[tokio::test]
async fn both_halves_of_basic_credentials_are_form_decoded() {
    let server = Server::with(json!({"client_id": "a:p_p 1", "client_secret": SECRET}), false);
    for good in [
        basic("a%3Ap%5Fp+1", "s3cret+with%3A+%25%2b+in+it"),
        basic("a%3ap_p 1", "s3cret with: %25%2B in it").replace("Basic", "bASIC"),
        basic("a%3ap_p 1", "s3cret with: %25%2B in it").replace("Basic", "Basic  "),
    ] {
        assert!(server.authenticate(authorization(&good)).await.is_ok(), "{good}");
    }
    assert_eq!(server.reason(authorization(&basic("a%3Ap_p 1", SECRET))).await, Reason::WrongSecret);
    for malformed in ["", "Basic", "Basic ", "Basic !", "DPoP abc", "Basic YXBw", "Basic /w==", &basic("%FF", "x"), &basic("", "x")] {
        assert_eq!(server.reason(authorization(malformed)).await, Reason::MalformedBasic, "{malformed}");
    }
}

/// TEP-08
#[tokio::test]
async fn a_refusal_tells_whether_the_authorization_header_was_used() {
    let server = Server::new(json!({"client_secret": SECRET}));
    let header = basic("app", "wrong");
    let used = |error| matches!(error, ClientAuthError::Refused { used_authorization: true, .. });
    assert!(used(server.authenticate(authorization(&header)).await.unwrap_err()));
    let post = Presented { client_id: Some("app"), client_secret: Some("wrong"), ..Presented::default() };
    assert!(!used(server.authenticate(post).await.unwrap_err()));
}

/// TEP-08: the client can't tell an unknown identifier from a wrong secret.
#[tokio::test]
async fn every_failure_of_credentials_reads_the_same() {
    let server = Server::new(json!({"client_secret": SECRET}));
    let (wrong, unknown) = (basic("app", "wrong"), basic("other", SECRET));
    let (wrong, unknown) = (server.reason(authorization(&wrong)).await, server.reason(authorization(&unknown)).await);
    assert_eq!((wrong, unknown), (Reason::WrongSecret, Reason::UnknownClient));
    assert_eq!(wrong.description(), unknown.description());
    assert_eq!(Reason::Assertion(AssertionError::Signature).description(), wrong.description());
    assert!(!wrong.is_invalid_request() && !unknown.is_invalid_request());
}

/// TEP-09
#[tokio::test]
async fn the_client_id_of_the_body_must_be_the_authenticated_one() {
    let server = Server::new(json!({"client_secret": SECRET}));
    let header = basic("app", "s3cret+with%3A+%25%2b+in+it");
    let with = |client_id| Presented { client_id: Some(client_id), ..authorization(&header) };
    assert!(server.authenticate(with("app")).await.is_ok());
    assert_eq!(server.reason(with("other")).await, Reason::OtherClientId);
}

#[tokio::test]
async fn a_client_uses_the_method_it_is_registered_for() {
    let (basic_app, header) = (Server::new(json!({"client_secret": SECRET})), basic("app", "s3cret+with%3A+%25%2b+in+it"));
    let post = Presented { client_id: Some("app"), client_secret: Some(SECRET), ..Presented::default() };
    assert_eq!(basic_app.reason(post).await, Reason::OtherMethod);
    let post_app = Server::new(json!({"client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post"}));
    assert_eq!(post_app.authenticate(post).await.unwrap().method, AuthMethod::ClientSecretPost);
    assert_eq!(post_app.reason(authorization(&header)).await, Reason::OtherMethod);
    let key = Key::new("ES256");
    assert_eq!(post_app.reason(asserting(&Spec::new(&key).sign(&key))).await, Reason::OtherMethod);
    assert_eq!(Server::with_keys(&[&key]).reason(post).await, Reason::OtherMethod);
}

/// R4
#[tokio::test]
async fn a_failing_store_is_not_an_unknown_client() {
    let records = Arc::new(MemoryRecords::default());
    records.fail(Some(StoreError::Unavailable("test".to_owned())));
    let server = Server { registry: ClientRegistry::new([], records, false).unwrap(), ..Server::new(json!({})) };
    let header = basic("app", SECRET);
    assert!(matches!(server.authenticate(authorization(&header)).await, Err(ClientAuthError::Store(_))));
}

#[tokio::test]
async fn an_assertion_authenticates_and_names_its_use() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let found = server.assert(&Spec::new(&key).sign(&key)).await.unwrap();
    assert_eq!((found.method, found.client.id().as_str()), (AuthMethod::PrivateKeyJwt, "app"));
    let expected = AssertionUse {
        key: ReplayKey::of_client_assertion(&Realm::new(ISSUER), "app", "j-1"),
        // 60 s until `exp`, 10 s of skew, 5 s between nodes, 1 s to be sure.
        ttl: Duration::from_secs(76),
    };
    assert_eq!(found.assertion, Some(expected));
}

/// PKJ-01
#[tokio::test]
async fn iss_and_sub_are_the_client() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let spec = Spec::new(&key);
    assert!(server.assert(&spec.sign(&key)).await.is_ok());
    for bad in [
        spec.clone().without("sub"),
        spec.clone().without("iss"),
        spec.clone().claim("sub", json!("other")),
        spec.clone().claim("iss", json!("other")),
        spec.clone().claim("sub", json!("")).claim("iss", json!("")),
    ] {
        assert_eq!(server.refusal(&bad.sign(&key)).await, AssertionError::Issuer);
    }
    assert_eq!(server.refusal(&spec.claim("sub", json!(["app"])).sign(&key)).await, AssertionError::Member("sub"));
}

/// PKJ-02, FAPI-AS-08
#[tokio::test]
async fn aud_is_the_issuer_alone_unless_the_client_is_registered_as_compat() {
    let key = Key::new("ES256");
    let strict = Server::with_keys(&[&key]);
    let compat = Server::new(json!({"jwks": {"keys": [key.public()]}, "client_assertion_audience": "compat"}));
    let spec = Spec::new(&key);
    let with = |aud: Value| spec.clone().claim("aud", aud).sign(&key);
    assert!(strict.assert(&with(json!(ISSUER))).await.is_ok());
    for old in [json!(TOKEN_URL), json!([ISSUER]), json!([ISSUER, TOKEN_URL])] {
        assert_eq!(strict.refusal(&with(old.clone())).await, AssertionError::Audience, "{old}");
        assert!(compat.assert(&with(old)).await.is_ok());
    }
    let foreign = [
        json!("https://as.example/"),
        json!("https://evil.example"),
        json!([ISSUER, "https://evil.example"]),
        json!([]),
        json!([[ISSUER]]),
        json!(null),
        json!({}),
    ];
    for bad in foreign {
        assert_eq!(strict.refusal(&with(bad.clone())).await, AssertionError::Audience, "{bad}");
        assert_eq!(compat.refusal(&with(bad.clone())).await, AssertionError::Audience, "{bad}");
    }
    assert_eq!(compat.refusal(&spec.without("aud").sign(&key)).await, AssertionError::Audience);
}

/// PKJ-03, JOSE-13, JOSE-22
#[tokio::test]
async fn another_kind_of_jwt_is_no_assertion() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    for good in ["JWT", "jwt", "client-authentication+jwt"] {
        assert!(server.assert(&Spec::new(&key).header("typ", json!(good)).sign(&key)).await.is_ok(), "{good}");
    }
    for bad in ["dpop+jwt", "at+jwt", "oauth-authz-req+jwt", ""] {
        assert_eq!(server.refusal(&Spec::new(&key).header("typ", json!(bad)).sign(&key)).await, AssertionError::Type, "{bad}");
    }
    for (name, value) in [("crit", json!(["exp"])), ("crit", json!([])), ("b64", json!(true))] {
        assert_eq!(server.refusal(&Spec::new(&key).header(name, value).sign(&key)).await, AssertionError::Critical);
    }
    assert!(server.assert(&Spec::new(&key).header("jku", json!("https://evil.example")).sign(&key)).await.is_ok());
}

/// PKJ-04
#[tokio::test]
async fn exp_lies_between_now_and_an_hour_ahead() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let with = |exp: Value| Spec::new(&key).claim("exp", exp).sign(&key);
    for good in [json!(NOW - 9), json!(NOW - 10), json!(NOW + 3599), json!(NOW + 3600), json!(1.0000005e6)] {
        assert!(server.assert(&with(good.clone())).await.is_ok(), "{good}");
    }
    for expired in [json!(NOW - 11), json!(NOW - 300), json!(0), json!(-1.5)] {
        assert_eq!(server.refusal(&with(expired.clone())).await, AssertionError::Expired, "{expired}");
    }
    for far in [json!(NOW + 3601), json!(9e11)] {
        assert_eq!(server.refusal(&with(far.clone())).await, AssertionError::ExpiryTooFar, "{far}");
    }
    for malformed in [json!("1000060"), json!(null), json!(1e300), json!(i64::MIN), json!(u64::MAX)] {
        assert_eq!(server.refusal(&with(malformed.clone())).await, AssertionError::Member("exp"), "{malformed}");
    }
    assert_eq!(server.refusal(&Spec::new(&key).without("exp").sign(&key)).await, AssertionError::NoExpiry);
}

/// PKJ-04: the record of a use outlives every instant at which the assertion is accepted, and is never empty.
#[tokio::test]
async fn the_use_is_recorded_beyond_the_last_acceptable_instant() {
    let key = Key::new("ES256");
    let mut server = Server::with_keys(&[&key]);
    let assertion = Spec::new(&key).sign(&key);
    for offset in 0..=70 {
        server.now = UnixTime::from_secs(NOW + offset);
        let used = server.assert(&assertion).await.unwrap().assertion.unwrap();
        assert!(server.now.plus(used.ttl) > UnixTime::from_secs(NOW + 60 + 10 + 5));
    }
    server.now = UnixTime::from_millis((NOW + 70) * 1000 + 1);
    assert_eq!(server.refusal(&assertion).await, AssertionError::Expired);
}

/// PKJ-04
#[tokio::test]
async fn jti_is_a_string_of_1_to_256_bytes() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let with = |jti: String| Spec::new(&key).claim("jti", json!(jti)).sign(&key);
    for length in [1, 255, 256] {
        assert!(server.assert(&with("j".repeat(length))).await.is_ok());
    }
    for length in [0, 257] {
        assert_eq!(server.refusal(&with("j".repeat(length))).await, AssertionError::Jti);
    }
    assert_eq!(server.refusal(&Spec::new(&key).without("jti").sign(&key)).await, AssertionError::Jti);
    assert_eq!(server.refusal(&Spec::new(&key).claim("jti", json!(7)).sign(&key)).await, AssertionError::Member("jti"));
}

/// PKJ-05, FAPI-AS-13
#[tokio::test]
async fn iat_and_nbf_may_lie_ten_seconds_ahead() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    for name in ["iat", "nbf"] {
        let with = |value: i64| Spec::new(&key).claim(name, json!(value)).sign(&key);
        for good in [NOW - 3600, NOW, NOW + 8, NOW + 9, NOW + 10] {
            assert!(server.assert(&with(good)).await.is_ok(), "{name} {good}");
        }
        for early in [NOW + 11, NOW + 61] {
            assert_eq!(server.refusal(&with(early)).await, AssertionError::NotYetValid, "{name} {early}");
        }
        assert_eq!(server.refusal(&Spec::new(&key).claim(name, json!("0")).sign(&key)).await, AssertionError::Member(name));
    }
    assert!(server.assert(&Spec::new(&key).without("iat").sign(&key)).await.is_ok());
}

/// R5
#[tokio::test]
async fn after_an_epoch_change_an_earlier_assertion_is_refused() {
    let key = Key::new("ES256");
    let mut server = Server::with_keys(&[&key]);
    server.epoch.since = Some(UnixTime::from_secs(NOW - 5));
    let with = |iat: i64| Spec::new(&key).claim("iat", json!(iat)).claim("exp", json!(NOW + 3600)).sign(&key);
    assert!(server.assert(&with(NOW - 5)).await.is_ok());
    assert_eq!(server.refusal(&with(NOW - 6)).await, AssertionError::BeforeEpoch);
    let undated = Spec::new(&key).without("iat").claim("exp", json!(NOW + 3600)).sign(&key);
    assert_eq!(server.refusal(&undated).await, AssertionError::BeforeEpoch);
    // What could have been used before is over by then.
    server.epoch.since = Some(UnixTime::from_secs(NOW - 3611));
    assert!(server.assert(&undated).await.is_ok());
    server.epoch.since = Some(UnixTime::from_secs(NOW - 3610));
    assert_eq!(server.refusal(&undated).await, AssertionError::BeforeEpoch);
}

/// PKJ-06, JOSE-10
#[tokio::test]
async fn every_offered_algorithm_works_and_no_other() {
    for alg in ["ES256", "ES384", "PS256", "EdDSA", "Ed25519"] {
        let key = Key::new(alg);
        let server = Server::with_keys(&[&key]);
        let good = Spec::new(&key).sign(&key);
        assert!(server.assert(&good).await.is_ok(), "{alg}");
        for other in ["none", "None", "HS256", "RS256", "es256", "ES512", ""] {
            assert_eq!(server.refusal(&Spec::new(&key).header("alg", json!(other)).sign(&key)).await, AssertionError::Algorithm);
        }
        let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
        assert_eq!(server.refusal(&unsigned).await, AssertionError::NotJws);
    }
}

/// PKJ-06: the public key is no shared secret.
#[tokio::test]
async fn a_mac_made_with_the_public_key_is_refused() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(json!({"alg": "HS256"}).to_string()),
        URL_SAFE_NO_PAD.encode(Spec::new(&key).claims.to_string())
    );
    let mac = HS256.signer_from_bytes(key.public().to_string()).unwrap().sign(input.as_bytes()).unwrap();
    assert_eq!(server.refusal(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(mac))).await, AssertionError::Algorithm);
}

/// PKJ-06
#[tokio::test]
async fn a_registered_algorithm_is_the_only_one() {
    let key = Key::new("RS256");
    let registered = Server::new(json!({"jwks": {"keys": [key.public()]}, "token_endpoint_auth_signing_alg": "RS256"}));
    assert!(registered.assert(&Spec::new(&key).sign(&key)).await.is_ok());
    assert_eq!(Server::with_keys(&[&key]).refusal(&Spec::new(&key).sign(&key)).await, AssertionError::Algorithm);
    let pss = Key { alg: "PS256", ..key };
    assert_eq!(registered.refusal(&Spec::new(&pss).sign(&pss)).await, AssertionError::Algorithm);
}

/// PKJ-06, FAPI-CR-01
#[tokio::test]
async fn fapi2_takes_its_own_algorithms_only() {
    let (good, other) = (Key::new("ES256"), Key::new("ES384"));
    let server = Server::with(json!({"client_id": "app", "jwks": {"keys": [good.public(), other.public()]}}), true);
    assert!(server.assert(&Spec::new(&good).sign(&good)).await.is_ok());
    assert_eq!(server.refusal(&Spec::new(&other).sign(&other)).await, AssertionError::Algorithm);
}

/// PKJ-06, FAPI-CR-03
#[tokio::test]
async fn a_kid_picks_among_keys_and_doubles_are_told_apart() {
    let (a, b) = (Key::new("ES256").named("one"), Key::new("ES256").named("two"));
    let (twin, foreign) = (Key::new("ES256").named("one"), Key::new("EdDSA").named("one"));
    let server = Server::with_keys(&[&a, &b, &twin, &foreign]);
    let with = |key: &Key, kid: &str| Spec::new(key).header("kid", json!(kid)).sign(key);
    for key in [&a, &b, &twin, &foreign] {
        assert!(server.assert(&with(key, key.jwk.key_id().unwrap())).await.is_ok());
        assert!(server.assert(&Spec::new(key).sign(key)).await.is_ok());
    }
    assert_eq!(server.refusal(&with(&a, "two")).await, AssertionError::Signature);
    assert_eq!(server.refusal(&with(&a, "three")).await, AssertionError::Signature);
    assert_eq!(server.refusal(&Spec::new(&a).header("kid", json!(1)).sign(&a)).await, AssertionError::Member("kid"));
    let nameless = Key::new("ES256");
    assert!(Server::with_keys(&[&nameless]).assert(&with(&nameless, "any")).await.is_ok());
}

/// PKJ-06
#[tokio::test]
async fn a_signature_by_no_registered_key_is_refused() {
    let (key, stranger) = (Key::new("ES256"), Key::new("ES256"));
    let server = Server::with_keys(&[&key]);
    let good = Spec::new(&key).sign(&key);
    assert!(server.assert(&good).await.is_ok());
    assert_eq!(server.refusal(&Spec::new(&stranger).sign(&stranger)).await, AssertionError::Signature);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let changed = Spec::new(&key).claim("jti", json!("j-2")).sign(&key);
    assert_eq!(server.refusal(&format!("{}.{signature}", changed.rsplit_once('.').unwrap().0)).await, AssertionError::Signature);
    for forged in [vec![0; 64], vec![0; 1], vec![0xff; 64]] {
        let forged = URL_SAFE_NO_PAD.encode(forged);
        assert_eq!(server.refusal(&format!("{input}.{forged}")).await, AssertionError::Signature);
    }
}

/// PKJ-07
#[tokio::test]
async fn the_type_of_the_assertion_and_the_client_id_must_fit() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let assertion = Spec::new(&key).sign(&key);
    let good = asserting(&assertion);
    assert!(server.authenticate(Presented { client_id: Some("app"), ..good }).await.is_ok());
    assert_eq!(server.reason(Presented { client_id: Some("other"), ..good }).await, Reason::OtherClientId);
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    for other in [None, Some(""), Some(saml), Some("URN:ietf:params:oauth:client-assertion-type:jwt-bearer")] {
        assert_eq!(server.reason(Presented { client_assertion_type: other, ..good }).await, Reason::AssertionType);
    }
    assert_eq!(server.reason(Presented { client_assertion: None, ..good }).await, Reason::AssertionType);
    let stranger = Spec::new(&key).claim("iss", json!("x")).claim("sub", json!("x")).sign(&key);
    assert_eq!(server.reason(asserting(&stranger)).await, Reason::UnknownClient);
}

/// JOSE-14, JOSE-15, JOSE-17
#[tokio::test]
async fn an_assertion_has_one_spelling() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let spec = Spec::new(&key);
    let good = spec.sign(&key);
    assert!(server.assert(&good).await.is_ok());
    let claims = spec.claims.to_string();
    let twice = claims.replacen('{', r#"{"sub":"other","#, 1);
    let escaped = claims.replacen('{', r#"{"\u0073ub":"other","#, 1);
    let header = spec.header.to_string();
    let bad = [
        sign_text(&key, &header, &twice),
        sign_text(&key, &header, &escaped),
        sign_text(&key, r#"{"alg":"none","alg":"ES256"}"#, &claims),
        sign_text(&key, &header, "[]"),
        sign_text(&key, &header, &format!("{claims}{claims}")),
        format!("{good}="),
        format!("{good}.x"),
        format!(" {good}"),
        good.replace('.', ".."),
        good.rsplit_once('.').unwrap().0.to_owned(),
        "x".to_owned(),
    ];
    for text in bad {
        assert_eq!(server.refusal(&text).await, AssertionError::NotJws, "{text}");
    }
}

#[tokio::test]
async fn an_assertion_has_at_most_8_kib() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let sized = |padding: usize| Spec::new(&key).claim("x", json!("y".repeat(padding))).sign(&key);
    let fits = (0..6000).rev().find(|&padding| sized_len(&key, padding) <= 8192).unwrap();
    assert!(server.assert(&sized(fits)).await.is_ok());
    assert_eq!(server.refusal(&sized(fits + 1)).await, AssertionError::TooLarge);
}

/// The length of an ES256 assertion, without the cost of signing it.
fn sized_len(key: &Key, padding: usize) -> usize {
    let spec = Spec::new(key).claim("x", json!("y".repeat(padding)));
    let encoded = |bytes: usize| (bytes * 8).div_ceil(6);
    encoded(spec.header.to_string().len()) + encoded(spec.claims.to_string().len()) + encoded(64) + 2
}

/// A2
#[tokio::test]
async fn no_error_holds_what_was_presented() {
    let key = Key::new("ES256");
    let server = Server::with_keys(&[&key]);
    let stranger = Key::new("ES256");
    let assertion = Spec::new(&stranger).claim("jti", json!("raw-jti")).sign(&stranger);
    let error = server.authenticate(asserting(&assertion)).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("raw-jti") && !shown.contains("eyJ"));
}
