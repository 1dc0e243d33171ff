//! A verifier with everything in its place, and a hand to write proofs no honest client would make.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use keybound_proofs::{
    Alg, Ath, Claim, ClaimAnswer, ClaimFuture, Entropy, Epoch, EpochId, Expected, FreshProof, Ledger, LedgerError, NonceRole, NonceRule,
    Nonces, ProofError, ProofKey, ProofPolicy, Realm, ReplayKey, SpendError, TargetUri, UnixTime, UnverifiedProof, VerifiedProof, jose,
};
use serde_json::{Value, json};

pub(crate) const URL: &str = "https://as.example.com/oauth/refresh";
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_700_000_100);
pub(crate) const STEP: Duration = Duration::from_secs(300);

/// Bytes that differ at every call and are the same in every run.
#[derive(Default)]
pub(crate) struct Drawn(u64);

impl Entropy for Drawn {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

pub(crate) fn key(alg: Alg) -> ProofKey {
    ProofKey::generate(alg, &mut Drawn::default()).unwrap()
}

pub(crate) fn at(millis: i64) -> UnixTime {
    UnixTime::from_millis(NOW.as_millis() + millis)
}

/// A verifier of one endpoint and one client's key.
pub(crate) struct Verifier {
    pub(crate) key: ProofKey,
    pub(crate) policy: ProofPolicy,
    pub(crate) targets: Vec<TargetUri>,
    pub(crate) nonces: Nonces,
    pub(crate) epoch: Epoch,
    pub(crate) nonce_required: bool,
    pub(crate) ath: Option<Ath>,
    pub(crate) realm: Realm,
}

impl Verifier {
    pub(crate) fn new(alg: Alg) -> Self {
        Self {
            key: key(alg),
            policy: ProofPolicy::default(),
            targets: vec![TargetUri::parse(URL).unwrap()],
            nonces: Nonces::new([7; 32], "https://as.example.com", STEP),
            epoch: Epoch { id: EpochId::from_bytes([1; 16]), since: None },
            nonce_required: false,
            ath: None,
            realm: Realm::new("https://as.example.com"),
        }
    }

    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            policy: &self.policy,
            method: "POST",
            targets: &self.targets,
            access_token: self.ath.as_ref(),
            nonce: NonceRule {
                nonces: &self.nonces,
                role: NonceRole::AuthorizationServer,
                epoch: self.epoch,
                required: self.nonce_required,
            },
            realm: &self.realm,
        }
    }

    pub(crate) fn verify_at(&self, proof: &str, now: UnixTime) -> Result<VerifiedProof, ProofError> {
        self.verify_bytes(proof.as_bytes(), now)
    }

    pub(crate) fn verify_bytes(&self, proof: &[u8], now: UnixTime) -> Result<VerifiedProof, ProofError> {
        UnverifiedProof::from_header_values([proof], &self.policy)?.verify(&self.expected(), now)
    }

    pub(crate) fn verify(&self, proof: &str) -> Result<VerifiedProof, ProofError> {
        self.verify_at(proof, NOW)
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": self.key.alg(), "jwk": self.key.public_jwk().to_json_value() })
    }

    /// Verifies a proof with these claims, rightly signed.
    pub(crate) fn with_claims(&self, claims: &Value) -> Result<VerifiedProof, ProofError> {
        self.verify(&forge(&self.key, &self.header().to_string(), &claims.to_string()))
    }

    /// Verifies a proof with this header, rightly signed.
    pub(crate) fn with_header(&self, header: &Value) -> Result<VerifiedProof, ProofError> {
        self.verify(&forge(&self.key, &header.to_string(), &claims().to_string()))
    }

    pub(crate) fn nonce(&self) -> String {
        self.nonces.mint(NonceRole::AuthorizationServer, &self.epoch.id, NOW)
    }
}

/// The claims of a good proof for [`URL`] at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({ "jti": "a-jti", "htm": "POST", "htu": URL, "iat": NOW.as_secs() })
}

/// `value` with one member set.
pub(crate) fn set(mut value: Value, name: &str, member: impl Into<Value>) -> Value {
    value[name] = member.into();
    value
}

/// `value` without one member.
pub(crate) fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().unwrap().remove(name).unwrap();
    value
}

/// Signs whatever is given.
pub(crate) fn forge(key: &ProofKey, header: &str, payload: &str) -> String {
    forge_bytes(key, header.as_bytes(), payload.as_bytes())
}

pub(crate) fn forge_bytes(key: &ProofKey, header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", jose::encode_base64url(header), jose::encode_base64url(payload));
    let signature = jose::encode_base64url(&key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// The same proof with another signature.
pub(crate) fn with_signature(proof: &str, signature: &[u8]) -> String {
    let (input, _) = proof.rsplit_once('.').unwrap();
    format!("{input}.{}", jose::encode_base64url(signature))
}

pub(crate) fn signature_of(proof: &str) -> Vec<u8> {
    jose::decode_base64url(proof.rsplit_once('.').unwrap().1).unwrap()
}

/// A ledger that forgets at the very instant at which it may.
pub(crate) struct ExactLedger {
    pub(crate) epoch: Epoch,
    claims: Mutex<HashMap<ReplayKey, UnixTime>>,
}

impl ExactLedger {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, claims: Mutex::default() }
    }

    pub(crate) fn claim_now(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        if claim.epoch != self.epoch.id {
            return Err(LedgerError::EpochMoved);
        }
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|_, until| *until > now);
        if claims.contains_key(&claim.key) {
            return Ok(ClaimAnswer::Seen);
        }
        claims.insert(claim.key, now.plus(claim.ttl));
        Ok(ClaimAnswer::First)
    }
}

impl Ledger for ExactLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        Ok(self.epoch)
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(std::future::ready(self.claim_now(claim, now)))
    }
}

/// Spends on a ledger that answers at once.
pub(crate) fn spend(proof: VerifiedProof, ledger: &dyn Ledger, now: UnixTime) -> Result<FreshProof, SpendError> {
    let mut spending = pin!(proof.spend(ledger, now));
    match spending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("this ledger never waits"),
    }
}
