//! The signature vectors of the Wycheproof project, on every backend.

use keybound_proofs::backend::Verifier;
use keybound_proofs::{Alg, PublicJwk, jose};
use serde_json::{Value, json};
use wycheproof::TestResult;

/// Runs `check` with each backend that can do `alg`, and its name.
pub(crate) fn each_backend(alg: Alg, mut check: impl FnMut(&str, &dyn Verifier)) {
    #[cfg(feature = "portable")]
    if keybound_proofs::backend::Portable.algs().contains(alg) {
        check("portable", &keybound_proofs::backend::Portable);
    }
    #[cfg(feature = "aws-lc")]
    if keybound_proofs::backend::AwsLc.algs().contains(alg) {
        check("aws-lc", &keybound_proofs::backend::AwsLc);
    }
}

fn read(jwk: &Value) -> PublicJwk {
    PublicJwk::from_json(jwk.to_string().as_bytes()).unwrap()
}

fn ec(curve: &str, point: &[u8]) -> PublicJwk {
    let (x, y) = point[1..].split_at(point.len() / 2);
    read(&json!({ "kty": "EC", "crv": curve, "x": jose::encode_base64url(x), "y": jose::encode_base64url(y) }))
}

/// JOSE-07, JOSE-08: r and s side by side.
#[test]
fn the_ecdsa_vectors_agree() {
    use wycheproof::ecdsa::{TestName, TestSet};
    for (alg, curve, name) in
        [(Alg::Es256, "P-256", TestName::EcdsaSecp256r1Sha256P1363), (Alg::Es384, "P-384", TestName::EcdsaSecp384r1Sha384P1363)]
    {
        let set = TestSet::load(name).unwrap();
        each_backend(alg, |backend_name, backend| {
            let (mut accepted, mut refused) = (0, 0);
            for group in &set.test_groups {
                let key = ec(curve, &group.key.key);
                for test in &group.tests {
                    let outcome = backend.verify(alg, &key, &test.msg, &test.sig);
                    match test.result {
                        TestResult::Valid => assert!(outcome.is_ok(), "{alg} {backend_name} {}: {}", test.tc_id, test.comment),
                        TestResult::Invalid => assert!(outcome.is_err(), "{alg} {backend_name} {}: {}", test.tc_id, test.comment),
                        TestResult::Acceptable => {}
                    }
                    *if outcome.is_ok() { &mut accepted } else { &mut refused } += 1;
                }
            }
            println!("{alg} {backend_name}: {accepted} accepted, {refused} refused, of {}", set.number_of_tests);
            assert_eq!(accepted + refused, set.number_of_tests);
        });
    }
}

/// JOSE-12: strict verification agrees with every vector; no exception is argued.
#[test]
fn the_ed25519_vectors_agree() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    for alg in [Alg::EdDsa, Alg::Ed25519] {
        each_backend(alg, |backend_name, backend| {
            let (mut accepted, mut refused) = (0, 0);
            for group in &set.test_groups {
                let key = read(&json!({ "kty": "OKP", "crv": "Ed25519", "x": jose::encode_base64url(&group.key.pk) }));
                for test in &group.tests {
                    let outcome = backend.verify(alg, &key, &test.msg, &test.sig);
                    match test.result {
                        TestResult::Valid => assert!(outcome.is_ok(), "{alg} {backend_name} {}: {}", test.tc_id, test.comment),
                        TestResult::Invalid => assert!(outcome.is_err(), "{alg} {backend_name} {}: {}", test.tc_id, test.comment),
                        TestResult::Acceptable => {}
                    }
                    *if outcome.is_ok() { &mut accepted } else { &mut refused } += 1;
                }
            }
            println!("{alg} {backend_name}: {accepted} accepted, {refused} refused, of {}", set.number_of_tests);
            assert_eq!(accepted + refused, set.number_of_tests);
        });
    }
}

/// JOSE-06, JOSE-07: SHA-256, MGF1 with SHA-256, a salt of 32 bytes, and nothing else.
#[test]
fn the_rsa_pss_vectors_agree() {
    use wycheproof::HashFunction;
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss2048Sha256Mgf1SaltLen32WithParams,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss3072Sha256Mgf1SaltLen32WithParams,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
        TestName::RsaPssmisc,
        // Other salts and hashes: their good signatures are not PS256.
        TestName::RsaPss2048Sha256Mgf1SaltLen0,
        TestName::RsaPss2048Sha256Mgf1Sha1_20,
        TestName::RsaPss2048Sha384Mgf1SaltLen48,
        TestName::RsaPss2048Sha512_256Mgf1SaltLen32,
    ] {
        let set = TestSet::load(name).unwrap();
        each_backend(Alg::Ps256, |backend_name, backend| {
            let (mut accepted, mut refused, mut out_of_bounds) = (0, 0, 0);
            for group in &set.test_groups {
                let modulus: Vec<u8> = group.key.n.iter().copied().skip_while(|byte| *byte == 0).collect();
                let exponent: Vec<u8> = group.key.e.iter().copied().skip_while(|byte| *byte == 0).collect();
                let jwk = json!({ "kty": "RSA", "n": jose::encode_base64url(&modulus), "e": jose::encode_base64url(&exponent) });
                let Ok(key) = PublicJwk::from_json(jwk.to_string().as_bytes()) else {
                    assert!(modulus.len() < 256 || modulus.len() > 512 || exponent != [1, 0, 1], "a key within the bounds is refused");
                    out_of_bounds += group.tests.len();
                    continue;
                };
                let is_ps256 =
                    group.hash == HashFunction::Sha2_256 && group.mgf_hash == Some(HashFunction::Sha2_256) && group.salt_size == 32;
                for test in &group.tests {
                    let outcome = backend.verify(Alg::Ps256, &key, &test.msg, &test.sig);
                    let (id, comment) = (test.tc_id, &test.comment);
                    match test.result {
                        TestResult::Valid => assert_eq!(outcome.is_ok(), is_ps256, "{name:?} {backend_name} {id}: {comment}"),
                        TestResult::Invalid if is_ps256 => assert!(outcome.is_err(), "{name:?} {backend_name} {id}: {comment}"),
                        // In a group of another hash or salt, what is wrong there may be right here.
                        TestResult::Invalid | TestResult::Acceptable => {}
                    }
                    *if outcome.is_ok() { &mut accepted } else { &mut refused } += 1;
                }
            }
            println!(
                "PS256 {backend_name} {name:?}: {accepted} accepted, {refused} refused, {out_of_bounds} with keys out of bounds, of {}",
                set.number_of_tests
            );
            assert_eq!(accepted + refused + out_of_bounds, set.number_of_tests);
        });
    }
}

/// CVE-2022-21449 and its kind: a signature of zeros under a good key, by every algorithm.
#[test]
fn a_signature_of_zeros_is_refused_by_every_backend() {
    for alg in Alg::ALL.into_iter().filter(|alg| cfg!(feature = "aws-lc") || *alg != Alg::Ps256) {
        let key = crate::support::key(alg);
        let good = key.sign(b"message").unwrap();
        each_backend(alg, |name, backend| {
            assert!(backend.verify(alg, key.public_jwk(), b"message", &good).is_ok(), "{alg} {name}");
            assert!(backend.verify(alg, key.public_jwk(), b"massage", &good).is_err(), "{alg} {name}");
            for length in [0, 1, good.len() - 1, good.len(), good.len() + 1] {
                assert!(backend.verify(alg, key.public_jwk(), b"message", &vec![0; length]).is_err(), "{alg} {name}");
            }
        });
    }
}
