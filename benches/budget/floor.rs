//! The signatures alone, and a proof on both backends.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey};
use cpu_time::ThreadTime;
use keybound_proofs::backend::{AwsLc, Portable, Verifier};
use keybound_proofs::{
    Alg, Entropy as _, Epoch, EpochId, Expected, NonceRole, NonceRule, Nonces, ProofKey, ProofPolicy, Realm, TargetUri, UnixTime,
    UnverifiedProof,
};

use keybound::clock::OsEntropy;

use crate::{ROUNDS, median};

/// Microseconds per operation.
pub(crate) struct Floor {
    pub(crate) verify: f64,
    pub(crate) sign: f64,
    pub(crate) proof_aws_lc: f64,
    pub(crate) proof_portable: f64,
}

impl Floor {
    /// What no refresh can be cheaper than.
    pub(crate) fn refresh(&self) -> f64 {
        self.verify + self.sign
    }
}

/// A key to sign with, and good signatures by many others: a processor that sees the same signature again and again learns its branches,
/// and verifies it some microseconds faster than any that it has not seen.
pub(crate) struct Signatures {
    pair: EcdsaKeyPair,
    presented: Vec<(ParsedPublicKey, Vec<u8>)>,
    next: AtomicUsize,
    message: Vec<u8>,
    random: SystemRandom,
}

impl Signatures {
    /// New keys, and a message as long as a proof.
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let message = vec![b'm'; 420];
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let presented = (0..512).map(|_| {
            let pair = key();
            let signature = pair.sign(&random, &message).expect("a signature").as_ref().to_vec();
            (ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()).expect("a public key"), signature)
        });
        let presented = presented.collect();
        Self { pair: key(), presented, next: AtomicUsize::new(0), message, random }
    }

    /// One verification, of another signature each time.
    pub(crate) fn verify(&self) {
        let (public, signature) = &self.presented[self.next.fetch_add(1, Ordering::Relaxed) % self.presented.len()];
        public.verify_sig(&self.message, signature).expect("a good signature");
    }

    /// One signature.
    pub(crate) fn sign(&self) -> Vec<u8> {
        self.pair.sign(&self.random, &self.message).expect("a signature").as_ref().to_vec()
    }
}

/// Measures everything that needs no server.
pub(crate) fn measure() -> Floor {
    let signatures = Signatures::new();
    Floor {
        verify: per_operation(2000, || signatures.verify()),
        sign: per_operation(2000, || drop(signatures.sign())),
        proof_aws_lc: proof(&AwsLc),
        proof_portable: proof(&Portable),
    }
}

fn proof(backend: &impl Verifier) -> f64 {
    let key = ProofKey::generate(Alg::Es256, &mut OsEntropy).expect("a key");
    let now = UnixTime::from_secs(1_700_000_000);
    let url = "https://as.example.com/oauth/refresh";
    let proof = key.proof("POST", url).sign(now, &mut OsEntropy).expect("a proof");
    let mut nonce_key = [0; 32];
    OsEntropy.fill(&mut nonce_key);
    let nonces = Nonces::new(nonce_key, "https://as.example.com", std::time::Duration::from_secs(300));
    let policy = ProofPolicy::default();
    let targets = [TargetUri::parse(url).expect("a URL")];
    let realm = Realm::new("https://as.example.com");
    let epoch = Epoch { id: EpochId::from_bytes([7; 16]), since: None };
    let expected = Expected {
        policy: &policy,
        method: "POST",
        targets: &targets,
        access_token: None,
        nonce: NonceRule { nonces: &nonces, role: NonceRole::AuthorizationServer, epoch, required: false },
        realm: &realm,
    };
    per_operation(1000, || {
        let unverified = UnverifiedProof::from_header_values([proof.as_bytes()], &policy).expect("a proof");
        let _verified = unverified.verify_with(backend, &expected, now).expect("a good proof");
    })
}

/// Microseconds of this thread's CPU time per call, the median of several rounds.
fn per_operation(calls: u32, mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let start = ThreadTime::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    median((0..ROUNDS).map(|_| round(&mut call)).collect())
}
