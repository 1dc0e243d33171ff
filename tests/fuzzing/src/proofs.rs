//! Targets of `keybound-proofs`.

use std::time::Duration;

use keybound_proofs::backend::{AwsLc, InvalidSignature, Portable, Verifier};
use keybound_proofs::jose::{self, Compact, Json};
use keybound_proofs::{
    Alg, AlgSet, Epoch, EpochId, Expected, NonceRole, NonceRule, Nonces, ProofPolicy, PublicJwk, Realm, TargetUri, UnixTime,
    UnverifiedProof,
};
use serde_json::Value;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_100);
const URL: &str = "https://as.example.com/oauth/refresh";
const EPOCH: EpochId = EpochId::from_bytes([1; 16]);

/// Takes every signature for good, so that what comes behind the signature is reached.
struct Credulous;

impl Verifier for Credulous {
    fn algs(&self) -> AlgSet {
        AlgSet::all()
    }

    fn verify(&self, _: Alg, _: &PublicJwk, _: &[u8], _: &[u8]) -> Result<(), InvalidSignature> {
        Ok(())
    }
}

fn nonces() -> Nonces {
    Nonces::new([7; 32], "https://as.example.com", Duration::from_secs(300))
}

/// What another parser reads; `None` for numbers that are JSON and that it has no room for, as in `{"iat":1e999}`.
fn second_reading(bytes: &[u8]) -> Option<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) => panic!("strict JSON is JSON: {error}"),
    }
}

/// Whatever the header holds, it is a proof or it is not; what was read is printed without its secrets.
pub(crate) fn proof(bytes: &[u8]) {
    let policy = ProofPolicy::default();
    let lines = bytes.split(|byte| *byte == b'\n');
    if let Ok(read) = UnverifiedProof::from_header_values(lines, &policy) {
        assert!(policy.algs.contains(read.unverified_alg()));
        assert!(read.unverified_jwk().supports(read.unverified_alg()));
        let again = serde_json::to_vec(&read.unverified_jwk().to_json_value()).expect("a map of strings");
        let again = PublicJwk::from_json(&again).expect("a key that was read is written as one");
        assert_eq!(again.thumbprint(), read.unverified_jkt());
        let _ = format!("{:?}", read.unverified_claims());
    }
}

/// A proof that is accepted satisfies the rules of RFC 9449 section 4.3, read by a parser that shares nothing with ours. The signature is
/// not one of them here: every one is taken for good.
pub(crate) fn verify(bytes: &[u8]) {
    let policy = ProofPolicy::default();
    let Ok(read) = UnverifiedProof::from_header_values([bytes], &policy) else { return };
    let (nonces, realm) = (nonces(), Realm::new("https://as.example.com"));
    let targets = [TargetUri::parse(URL).expect("a URL")];
    let expected = Expected {
        policy: &policy,
        method: "POST",
        targets: &targets,
        access_token: None,
        nonce: NonceRule {
            nonces: &nonces,
            role: NonceRole::AuthorizationServer,
            epoch: Epoch { id: EPOCH, since: None },
            required: false,
        },
        realm: &realm,
    };
    let Ok(accepted) = read.verify_with(&Credulous, &expected, NOW) else { return };

    let text = std::str::from_utf8(bytes).expect("a proof is ASCII");
    let parts: Vec<&str> = text.trim_matches([' ', '\t']).split('.').collect();
    assert_eq!(parts.len(), 3);
    let read = |part: &str| second_reading(&jose::decode_base64url(part).expect("base64url"));
    let (Some(header), Some(claims)) = (read(parts[0]), read(parts[1])) else { return };
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["alg"], accepted.alg().to_string());
    assert!(
        header["jwk"].is_object() && ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().all(|name| header["jwk"].get(name).is_none())
    );
    assert!(header.get("crit").is_none());
    assert_eq!(claims["htm"], "POST");
    let htu = TargetUri::parse(claims["htu"].as_str().expect("a string")).expect("a URI");
    assert_eq!(htu.as_str(), URL);
    let jti = claims["jti"].as_str().expect("a string");
    assert!((1..=256).contains(&jti.len()));
    let iat = claims["iat"].as_f64().expect("a number");
    let age = 1_700_000_100.0 - iat;
    assert!((-11.0..=61.0).contains(&age), "{age}");
    assert!(claims.get("ath").is_none());
    assert!(accepted.claim().ttl > policy.clock_spread && accepted.claim().ttl <= Duration::from_secs(77));
}

/// Two libraries, one verdict. The bytes are a JWK, a line end, 64 bytes or more of signature, and the message.
pub(crate) fn backends(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(key) = PublicJwk::from_json(&bytes[..end]) else { return };
    let rest = &bytes[end + 1..];
    for (alg, length) in [(Alg::Es256, 64), (Alg::Es384, 96), (Alg::Ed25519, 64)] {
        if key.supports(alg) && rest.len() >= length {
            let (signature, message) = rest.split_at(length);
            assert_eq!(Portable.verify(alg, &key, message, signature), AwsLc.verify(alg, &key, message, signature));
        }
    }
}

/// What is split is put together again.
pub(crate) fn compact(bytes: &[u8]) {
    if let Ok(compact) = Compact::split(bytes) {
        assert!(bytes.starts_with(compact.signing_input()));
        if let (Ok(header), Ok(payload), Ok(signature)) = (compact.header(), compact.payload(), compact.signature()) {
            let parts = [header, payload, signature].map(|part| jose::encode_base64url(&part));
            assert_eq!(parts.join(".").as_bytes(), bytes);
        }
    }
}

/// What the strict reader takes, the usual one takes too, and both read the same members.
pub(crate) fn json(bytes: &[u8]) {
    let mut members = Vec::new();
    let read = jose::object(bytes, |name, value| {
        let text = match value {
            Json::Text(text) => Some(text.into_owned()),
            _ => None,
        };
        members.push((name.into_owned(), text));
    });
    if read.is_ok() {
        let Some(other) = second_reading(bytes) else { return };
        let Value::Object(other) = other else { panic!("not an object") };
        assert_eq!(members.len(), other.len(), "a name came twice");
        for (name, text) in members {
            assert_eq!(other[&name].as_str().map(str::to_owned), text);
        }
    }
}

/// A key that is read is written as the same key, and its thumbprint stays.
pub(crate) fn jwk(bytes: &[u8]) {
    if let Ok(key) = PublicJwk::from_json(bytes) {
        let written = serde_json::to_vec(&key.to_json_value()).expect("a map of strings");
        let again = PublicJwk::from_json(&written).expect("what was read is written as a key");
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert_eq!(again.to_json_value(), key.to_json_value());
    }
}

/// A normal form is its own normal form.
pub(crate) fn uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(uri) = TargetUri::parse(text) {
        assert_eq!(TargetUri::parse(uri.as_str()).map(|again| again.as_str().to_owned()), Ok(uri.as_str().to_owned()));
        let (scheme, rest) = uri.as_str().split_once("://").expect("absolute");
        let (authority, path) = rest.split_once('/').expect("a path");
        assert!(matches!(scheme, "https" | "http") && !authority.is_empty() && !authority.contains('@'));
        assert!(!path.contains(['?', '#', '\\', ' ']));
    }
}

/// No bytes are a nonce but the two that were minted.
pub(crate) fn nonce(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let nonces = nonces();
    let role = NonceRole::AuthorizationServer;
    if nonces.check(role, &EPOCH, text, NOW).is_ok() {
        let step = nonces.step();
        let before = UnixTime::from_millis(NOW.as_millis() - i64::try_from(step.as_millis()).expect("a short step"));
        assert!([NOW, before].iter().any(|at| nonces.mint(role, &EPOCH, *at) == text));
    }
}
