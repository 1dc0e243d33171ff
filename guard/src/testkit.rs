//! An issuer and a client of it, for the tests of this crate.

use std::time::Duration;

use keybound_proofs::{Alg, Entropy, ProofKey, UnixTime};
use serde_json::{Value, json};

use crate::{FixedKeys, Guard, GuardConfig, KeySet, LocalLedger, ReplayMemory, system};

pub(crate) const ISSUER: &str = "https://as.example.com";
pub(crate) const API: &str = "https://api.example.com";

/// Counts instead of drawing.
#[derive(Default)]
pub(crate) struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        for part in buffer.chunks_mut(8) {
            self.0 += 1;
            part.copy_from_slice(&self.0.to_le_bytes()[..part.len()]);
        }
    }
}

fn key(seed: u64) -> ProofKey {
    ProofKey::generate(Alg::Es256, &mut Counting(seed)).expect("a key")
}

/// The key that the issuer signs with.
pub(crate) fn issuer_key() -> ProofKey {
    key(1_000)
}

/// A key that nobody knows.
pub(crate) fn other_key() -> ProofKey {
    key(2_000)
}

/// A JWK Set with this key.
pub(crate) fn jwks(key: &ProofKey, kid: &str) -> Value {
    let mut jwk = key.public_jwk().to_json_value();
    jwk["kid"] = kid.into();
    jwk["use"] = "sig".into();
    json!({"keys": [jwk]})
}

/// Someone with a key and a token.
pub(crate) struct Client {
    pub(crate) key: ProofKey,
    pub(crate) token: String,
}

impl Client {
    /// With a good token that lives from `now` on for five minutes.
    pub(crate) fn new(now: UnixTime) -> Self {
        Self::with(now, |_| {})
    }

    /// With a token whose claims `change` has changed.
    pub(crate) fn with(now: UnixTime, change: impl FnOnce(&mut Value)) -> Self {
        let key = key(3_000);
        let mut claims = json!({"iss": ISSUER, "sub": "alice", "aud": API, "client_id": "app", "jti": "t-1", "iat": now.as_secs(),
            "exp": now.as_secs() + 300, "scope": "accounts openid", "cnf": {"jkt": key.jkt().to_string()}, "grant_id": "g-1"});
        change(&mut claims);
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "a"});
        Self { key, token: jws(&issuer_key(), &header, &claims) }
    }

    /// A fresh proof for the token.
    pub(crate) fn proof(&self, method: &str, htu: &str, now: UnixTime) -> String {
        self.key.proof(method, htu).access_token(&self.token).sign(now, &mut system::OsEntropy).expect("a proof")
    }
}

/// A compact JWS.
pub(crate) fn jws(key: &ProofKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| keybound_proofs::jose::encode_base64url(value.to_string().as_bytes());
    let input = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(input.as_bytes()).expect("a signature");
    format!("{input}.{}", keybound_proofs::jose::encode_base64url(&signature))
}

/// The rules that most tests use.
pub(crate) fn config() -> GuardConfig {
    GuardConfig::new(ISSUER, API).scopes(["accounts"])
}

/// A guard with these rules, the issuer's key, and a ledger without a past.
pub(crate) fn guard_with(config: GuardConfig) -> Guard {
    let mut entropy = Counting::default();
    let memory = ReplayMemory::Local(LocalLedger::without_a_past(1_000, &mut entropy));
    let keys = KeySet::parse(jwks(&issuer_key(), "a").to_string().as_bytes()).expect("keys");
    Guard::with_keys(config, memory, Box::new(FixedKeys(keys)), &mut entropy).expect("a guard")
}

/// The guard of the adapters' tests, for this client.
#[cfg(any(feature = "actix", feature = "tower"))]
pub(crate) fn guard(_client: &Client) -> Guard {
    guard_with(config())
}

/// The instant that the adapters see.
#[cfg(any(feature = "actix", feature = "tower"))]
pub(crate) fn now_for_adapters() -> UnixTime {
    system::now()
}

/// A fixed instant, some time later.
pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_700_000_000).plus(Duration::from_secs(seconds))
}
