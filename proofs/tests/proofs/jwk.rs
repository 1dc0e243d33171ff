//! Keys: RFC 7517, 7518 section 6, 7638, 8037.

use keybound_proofs::JwkError::{self, *};
use keybound_proofs::{Alg, Entropy, KeyError, ProofKey, PublicJwk, jose};
use serde_json::{Value, json};

use crate::support::{Drawn, key, set, without};

fn read(jwk: &Value) -> Result<PublicJwk, JwkError> {
    PublicJwk::from_json(jwk.to_string().as_bytes())
}

fn decoded(jwk: &Value, member: &str) -> Vec<u8> {
    jose::decode_base64url(jwk[member].as_str().unwrap()).unwrap()
}

fn with_bytes(jwk: &Value, member: &str, bytes: &[u8]) -> Value {
    set(jwk.clone(), member, jose::encode_base64url(bytes))
}

/// 2048 bits: the modulus of RFC 7638 section 3.1.
const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn rsa() -> Value {
    json!({ "kty": "RSA", "n": MODULUS, "e": "AQAB" })
}

/// JOSE-01, JOSE-03
#[test]
fn what_is_no_part_of_the_key_does_not_change_its_thumbprint() {
    for jwk in [key(Alg::Es256), key(Alg::Es384), key(Alg::EdDsa)].map(|key| key.public_jwk().to_json_value()).iter().chain([&rsa()]) {
        let plain = read(jwk).unwrap().thumbprint();
        let decorated = set(set(set(jwk.clone(), "kid", "k"), "x5c", json!(["AA"])), "ext", true);
        assert_eq!(read(&decorated).unwrap().thumbprint(), plain);
        assert_eq!(read(&decorated).unwrap().to_json_value(), *jwk, "and is left out");
        let reversed: Vec<_> = jwk.as_object().unwrap().iter().rev().map(|(name, value)| format!("\"{name}\" :\n{value}")).collect();
        assert_eq!(PublicJwk::from_json(format!("{{\n{}\t}}", reversed.join(" , ")).as_bytes()).unwrap().thumbprint(), plain);
    }
}

/// JOSE-03, JOSE-04
#[test]
fn a_coordinate_has_the_full_width_of_its_curve_and_one_spelling() {
    for (alg, members) in [(Alg::Es256, ["x", "y"].as_slice()), (Alg::Es384, &["x", "y"]), (Alg::EdDsa, &["x"])] {
        let jwk = key(alg).public_jwk().to_json_value();
        assert!(read(&jwk).is_ok());
        for &member in members {
            let bytes = decoded(&jwk, member);
            for wrong in [&bytes[1..], &[&[0], &bytes[..]].concat(), &[&bytes[..], &[0]].concat(), &[], &[0; 66], &[0; 200]] {
                assert_eq!(read(&with_bytes(&jwk, member, wrong)).unwrap_err(), NotCanonical, "{alg} {member}");
            }
            let text = jwk[member].as_str().unwrap();
            for wrong in [
                format!("{text}="),
                format!("{text}=="),
                format!(" {text}"),
                format!("{text}\n"),
                text.replace(['-', '_'], "+") + "+",
                text[1..].into(),
            ] {
                assert_eq!(read(&set(jwk.clone(), member, wrong)).unwrap_err(), NotCanonical, "{alg} {member}");
            }
            assert_eq!(read(&without(jwk.clone(), member)).unwrap_err(), Member);
            for wrong in [json!(null), json!(1), json!([text]), json!({})] {
                assert_eq!(read(&set(jwk.clone(), member, wrong)).unwrap_err(), Member);
            }
        }
    }
    // 32 bytes leave two unused bits in the last character.
    let jwk = key(Alg::Es256).public_jwk().to_json_value();
    let text = jwk["x"].as_str().unwrap();
    let respelled = (b'A'..=b'z')
        .map(|last| format!("{}{}", &text[..42], char::from(last)))
        .filter(|other| read(&set(jwk.clone(), "x", other.as_str())).is_ok());
    assert_eq!(respelled.collect::<Vec<_>>(), [text]);
}

/// JOSE-05
#[test]
fn a_point_lies_on_its_curve() {
    for (alg, prime) in [
        (Alg::Es256, "_____wAAAAEAAAAAAAAAAAAAAAD_______________8"),
        (Alg::Es384, "__________________________________________7_____AAAAAAAAAAD_____"),
    ] {
        let jwk = key(alg).public_jwk().to_json_value();
        assert!(read(&jwk).is_ok());
        for member in ["x", "y"] {
            let mut bytes = decoded(&jwk, member);
            let width = bytes.len();
            *bytes.last_mut().unwrap() ^= 1;
            assert_eq!(read(&with_bytes(&jwk, member, &bytes)).unwrap_err(), NotOnCurve);
            assert_eq!(read(&with_bytes(&jwk, member, &vec![0; width])).unwrap_err(), NotOnCurve);
            assert_eq!(read(&with_bytes(&jwk, member, &vec![0xff; width])).unwrap_err(), NotOnCurve);
            assert_eq!(jose::decode_base64url(prime).unwrap().len(), width);
            assert_eq!(read(&set(jwk.clone(), member, prime)).unwrap_err(), NotOnCurve, "a coordinate equal to the prime");
        }
        let origin = with_bytes(&with_bytes(&jwk, "x", &vec![0; decoded(&jwk, "x").len()]), "y", &vec![0; decoded(&jwk, "y").len()]);
        assert_eq!(read(&origin).unwrap_err(), NotOnCurve);
        let swapped = set(set(jwk.clone(), "x", jwk["y"].clone()), "y", jwk["x"].clone());
        assert_eq!(read(&swapped).unwrap_err(), NotOnCurve);
    }
}

/// JOSE-05: a coordinate may begin with zeros, and then keeps them.
#[test]
fn a_coordinate_with_a_leading_zero_keeps_its_width() {
    let mut entropy = Drawn::default();
    let found = (0..4000)
        .map(|_| ProofKey::generate(Alg::EdDsa, &mut entropy).unwrap())
        .find(|key| decoded(&key.public_jwk().to_json_value(), "x")[31] == 0);
    let jwk = found.expect("one key in 256 ends in zero").public_jwk().to_json_value();
    assert!(read(&jwk).is_ok());
    let found = (0..4000)
        .map(|_| ProofKey::generate(Alg::Es256, &mut entropy).unwrap())
        .find(|key| decoded(&key.public_jwk().to_json_value(), "x")[0] == 0);
    let jwk = found.expect("one key in 256 begins with zero").public_jwk().to_json_value();
    assert!(read(&jwk).is_ok());
    assert_eq!(read(&with_bytes(&jwk, "x", &decoded(&jwk, "x")[1..])).unwrap_err(), NotCanonical);
}

/// JOSE-12
#[test]
fn an_ed25519_key_is_canonical_and_of_large_order() {
    let jwk = key(Alg::Ed25519).public_jwk().to_json_value();
    assert!(read(&jwk).is_ok());
    let mut prime_plus_one = [0xff; 32];
    prime_plus_one[0] = 0xee;
    prime_plus_one[31] = 0x7f;
    // Half of all coordinates belong to no point.
    let stray = (2..=255).map(|low| [low; 32]).find(|point| ed25519_dalek::VerifyingKey::from_bytes(point).is_err()).unwrap();
    for (point, error) in [
        (stray, NotOnCurve),
        ([0; 32], NotOnCurve),
        (jose::decode_base64url("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap().try_into().unwrap(), NotOnCurve),
        (jose::decode_base64url("JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU").unwrap().try_into().unwrap(), NotOnCurve),
        ([0xff; 32], NotCanonical),
        (prime_plus_one, NotCanonical),
    ] {
        assert_eq!(read(&with_bytes(&jwk, "x", &point)).unwrap_err(), error, "{point:02x?}");
    }
}

/// JOSE-03, JOSE-06
#[test]
fn an_rsa_key_has_2048_to_4096_bits_and_the_exponent_65537() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xa5; bits.div_ceil(8)];
        bytes[0] = 0xff >> ((8 - bits % 8) % 8);
        bytes
    };
    let read_modulus = |bytes: &[u8]| read(&with_bytes(&rsa(), "n", bytes)).map(|_| ());
    for (bits, outcome) in [
        (1024, Err(RsaBounds)),
        (2040, Err(RsaBounds)),
        (2047, Err(RsaBounds)),
        (2048, Ok(())),
        (2049, Ok(())),
        (3072, Ok(())),
        (4095, Ok(())),
        (4096, Ok(())),
        (4097, Err(RsaBounds)),
        (8192, Err(RsaBounds)),
        (16384, Err(RsaBounds)),
    ] {
        assert_eq!(read_modulus(&modulus(bits)), outcome, "{bits} bits");
    }
    assert_eq!(read_modulus(&[&[0], &modulus(2048)[..]].concat()), Err(NotCanonical), "a leading zero");
    assert_eq!(read_modulus(&[]), Err(NotCanonical));
    let mut even = modulus(2048);
    *even.last_mut().unwrap() &= 0xfe;
    assert_eq!(read_modulus(&even), Err(RsaBounds));
    for (exponent, error) in [
        (&[][..], NotCanonical),
        (&[0, 1, 0, 1], NotCanonical),
        (&[0], NotCanonical),
        (&[1], RsaBounds),
        (&[3], RsaBounds),
        (&[1, 0, 0], RsaBounds),
        (&[1, 0, 3], RsaBounds),
        (&[0xff; 256], RsaBounds),
    ] {
        assert_eq!(read(&with_bytes(&rsa(), "e", exponent)).unwrap_err(), error, "{exponent:?}");
    }
    assert!(read(&rsa()).is_ok());
}

/// JOSE-09, JOSE-20: what can't sign proofs.
#[test]
fn other_kinds_of_key_are_refused() {
    let p256 = key(Alg::Es256).public_jwk().to_json_value();
    for curve in ["P-384", "P-521", "secp256k1", "p-256", "P-256K", "Ed25519", ""] {
        assert!(read(&set(p256.clone(), "crv", curve)).is_err(), "{curve}");
    }
    let ed25519 = key(Alg::EdDsa).public_jwk().to_json_value();
    for curve in ["X25519", "X448", "Ed448", "ed25519", "P-256"] {
        assert_eq!(read(&set(ed25519.clone(), "crv", curve)).unwrap_err(), UnsupportedKind, "{curve}");
    }
    for kind in ["oct", "AKP", "ec", "EC2", ""] {
        assert_eq!(read(&set(p256.clone(), "kty", kind)).unwrap_err(), UnsupportedKind, "{kind}");
    }
    assert_eq!(read(&without(p256.clone(), "kty")).unwrap_err(), Member);
    assert_eq!(read(&without(p256, "crv")).unwrap_err(), Member);
    assert!(read(&ed25519).is_ok());
}

/// JOSE-21
#[test]
fn a_key_that_declares_another_use_is_refused() {
    let jwk = key(Alg::Es256).public_jwk().to_json_value();
    for (member, value) in [
        ("use", json!("sig")),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("alg", json!("ES256")),
        ("kid", json!("anything")),
    ] {
        assert!(read(&set(jwk.clone(), member, value.clone())).is_ok(), "{member} {value}");
    }
    for (member, value) in [
        ("use", json!("enc")),
        ("use", json!("")),
        ("use", json!(["sig"])),
        ("use", json!(null)),
        ("key_ops", json!([])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!(["encrypt", "wrapKey"])),
        ("key_ops", json!("verify")),
        ("key_ops", json!(null)),
        ("alg", json!("ES384")),
        ("alg", json!("EdDSA")),
        ("alg", json!("ECDH-ES")),
        ("alg", json!("none")),
        ("alg", json!(null)),
        ("alg", json!(["ES256"])),
    ] {
        assert_eq!(read(&set(jwk.clone(), member, value.clone())).unwrap_err(), OtherUse, "{member} {value}");
    }
    let ed25519 = set(key(Alg::EdDsa).public_jwk().to_json_value(), "alg", "EdDSA");
    assert!(read(&ed25519).unwrap().supports(Alg::Ed25519), "two names of one algorithm");
}

/// JOSE-14: at the level of the key.
#[test]
fn a_key_with_a_doubled_member_is_refused() {
    let text = key(Alg::EdDsa).public_jwk().to_json_value().to_string();
    assert!(PublicJwk::from_json(text.as_bytes()).is_ok());
    let doubled = text.replacen('{', r#"{"kty":"OKP","#, 1);
    assert_eq!(PublicJwk::from_json(doubled.as_bytes()).unwrap_err(), Json(jose::JsonError::DuplicateMember));
}

fn algs() -> Vec<Alg> {
    Alg::ALL.into_iter().filter(|alg| cfg!(feature = "aws-lc") || *alg != Alg::Ps256).collect()
}

#[test]
fn a_private_key_survives_its_own_jwk() {
    for alg in algs() {
        let key = key(alg);
        let jwk = key.to_private_jwk();
        let again = ProofKey::from_private_jwk(jwk.as_bytes()).unwrap();
        assert_eq!((again.alg(), again.jkt()), (alg, key.jkt()));
        assert_eq!(again.to_private_jwk(), jwk);
        assert!(read(&key.public_jwk().to_json_value()).unwrap().supports(alg));
    }
}

/// The public half is derived, never believed.
#[test]
fn a_private_key_with_another_public_half_is_refused() {
    let mut entropy = Drawn::default();
    for alg in algs() {
        let [one, other] =
            [(), ()].map(|()| -> Value { serde_json::from_str(&ProofKey::generate(alg, &mut entropy).unwrap().to_private_jwk()).unwrap() });
        assert!(ProofKey::from_private_jwk(one.to_string().as_bytes()).is_ok());
        for member in ["x", "y", "n"] {
            if one.get(member).is_some() {
                let mixed = set(one.clone(), member, other[member].clone()).to_string();
                let error = ProofKey::from_private_jwk(mixed.as_bytes()).unwrap_err();
                assert_eq!(error, if member == "n" { KeyError::Invalid } else { KeyError::Mismatch }, "{alg} {member}");
            }
        }
    }
}

#[test]
fn a_private_key_out_of_range_is_refused() {
    let jwk: Value = serde_json::from_str(&key(Alg::Es256).to_private_jwk()).unwrap();
    let with_d = |d: &[u8]| ProofKey::from_private_jwk(with_bytes(&jwk, "d", d).to_string().as_bytes()).unwrap_err();
    assert_eq!(with_d(&[0; 32]), KeyError::Invalid);
    assert_eq!(with_d(&[0xff; 32]), KeyError::Invalid);
    assert_eq!(with_d(&[1; 31]), KeyError::NotCanonical);
    assert_eq!(with_d(&[1; 32]), KeyError::Mismatch);
    assert_eq!(ProofKey::from_private_jwk(without(jwk.clone(), "d").to_string().as_bytes()).unwrap_err(), KeyError::Member);
    assert_eq!(ProofKey::from_private_jwk(set(jwk.clone(), "alg", "EdDSA").to_string().as_bytes()).unwrap_err(), KeyError::AlgUnsupported);
    assert_eq!(ProofKey::from_private_jwk(b"[]").unwrap_err(), KeyError::Json(jose::JsonError::NotAnObject));
    assert!(ProofKey::from_private_jwk(jwk.to_string().as_bytes()).is_ok());
}

#[test]
fn a_dead_source_of_randomness_is_an_error_and_no_loop() {
    struct Dead;
    impl Entropy for Dead {
        fn fill(&mut self, _: &mut [u8]) {}
    }
    assert_eq!(ProofKey::generate(Alg::Es256, &mut Dead).unwrap_err(), KeyError::Entropy);
}
