//! Both backends give the same verdict on the same input.

#![cfg(all(feature = "portable", feature = "aws-lc"))]

use std::ops::{Add, Mul};

use keybound_proofs::backend::{AwsLc, Portable, Verifier as _};
use keybound_proofs::{Alg, ProofError, PublicJwk, UnverifiedProof, VerifiedProof, backend, jose};
use serde_json::json;
use sha2::{Digest as _, Sha512};

use crate::support::{Drawn, NOW, URL, Verifier, claims, forge, signature_of, with_signature};

fn verify_with(backend: &impl backend::Verifier, verifier: &Verifier, proof: &[u8]) -> Result<VerifiedProof, ProofError> {
    UnverifiedProof::from_header_values([proof], &verifier.policy)?.verify_with(backend, &verifier.expected(), NOW)
}

/// The verdict of both, which is one.
fn verdict(verifier: &Verifier, proof: &[u8]) -> bool {
    let summary = |outcome: Result<VerifiedProof, ProofError>| outcome.map(|proof| proof.claim().clone());
    let portable = summary(verify_with(&Portable, verifier, proof));
    let aws_lc = summary(verify_with(&AwsLc, verifier, proof));
    assert_eq!(portable, aws_lc, "{}", String::from_utf8_lossy(proof));
    portable.is_ok()
}

#[test]
fn what_a_backend_cannot_do_is_refused_and_said() {
    assert_eq!(Portable.algs().to_string(), "ES256 ES384 EdDSA Ed25519");
    assert_eq!(AwsLc.algs().to_string(), "ES256 ES384 PS256 EdDSA Ed25519");
    let verifier = Verifier::new(Alg::Ps256);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    let refused = verify_with(&Portable, &verifier, proof.as_bytes());
    assert_eq!(refused.unwrap_err(), ProofError::AlgNotAllowed);
    assert!(verify_with(&AwsLc, &verifier, proof.as_bytes()).is_ok());
}

#[test]
fn both_agree_on_good_proofs_and_on_mutated_signatures() {
    let mut drawn = Drawn::default();
    let (mut accepted, mut refused) = (0, 0);
    for alg in [Alg::Es256, Alg::Es384, Alg::EdDsa, Alg::Ed25519] {
        let verifier = Verifier::new(alg);
        for round in 0..8 {
            let proof = verifier.key.proof("POST", URL).sign(NOW, &mut drawn).unwrap();
            let signature = signature_of(&proof);
            assert!(verdict(&verifier, proof.as_bytes()));
            accepted += 1;
            // Bits of both halves, halves swapped, doubled and emptied, and the ends of the range.
            let (r, s) = signature.split_at(signature.len() / 2);
            let (zero, full) = (vec![0; r.len()], vec![0xff; r.len()]);
            let halves = [[s, r], [r, r], [s, s], [r, &zero], [&zero, s], [r, &full], [&full, s], [&zero, &zero], [r, &s[1..]]];
            let mut mutants: Vec<_> = halves.map(|halves| halves.concat()).into();
            for bit in (round..signature.len() * 8).step_by(37) {
                let mut flipped = signature.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                mutants.push(flipped);
            }
            for mutant in mutants {
                assert!(!verdict(&verifier, with_signature(&proof, &mutant).as_bytes()));
                refused += 1;
            }
        }
    }
    println!("{accepted} accepted, {refused} refused, by both backends alike");
}

#[test]
fn both_agree_on_proofs_with_a_changed_byte() {
    let verifier = Verifier::new(Alg::EdDsa);
    let proof = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
    for position in 0..proof.len() {
        for byte in [b'A', b'z', b'.', b'=', b'-', 0xff] {
            let mut changed = proof.clone().into_bytes();
            changed[position] = byte;
            assert_eq!(verdict(&verifier, &changed), changed == proof.as_bytes());
        }
    }
}

/// JOSE-12: a commitment of small order, where the libraries differ unless they are made to agree. The signature (R, S) with R the
/// neutral point and S = k a satisfies the equation of RFC 8032; strict verifiers refuse it.
#[test]
fn both_refuse_ed25519_commitments_of_small_order() {
    let secret = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let public = secret.verifying_key();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": jose::encode_base64url(public.as_bytes()) });
    let key = PublicJwk::from_json(jwk.to_string().as_bytes()).unwrap();
    let message = b"message";
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let digest = Sha512::new().chain_update(neutral).chain_update(public.as_bytes()).chain_update(message).finalize();
    let secret = secret.to_scalar();
    let signature = [neutral, (reduced(secret, &digest) * secret).to_bytes()].concat();
    let parsed = ed25519_dalek::Signature::from_slice(&signature).unwrap();
    assert!(ed25519_dalek::Verifier::verify(&public, message, &parsed).is_ok(), "the equation holds");
    assert!(Portable.verify(Alg::Ed25519, &key, message, &signature).is_err());
    assert!(AwsLc.verify(Alg::Ed25519, &key, message, &signature).is_err());
}

/// A little-endian number as a scalar of the same field as `_like`.
fn reduced<S: Copy + From<u64> + Add<Output = S> + Mul<Output = S>>(_like: S, bytes: &[u8]) -> S {
    bytes.iter().rev().fold(S::from(0), |sum, byte| sum * S::from(256) + S::from(u64::from(*byte)))
}
