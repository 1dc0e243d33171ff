//! Field, serialisation and JOSE header: checks 1 to 7 of RFC 9449 section 4.3.

use keybound_proofs::ProofError::{self, *};
use keybound_proofs::{Alg, AlgSet, ProofPolicy, UnverifiedProof, jose};
use serde_json::{Value, json};

use crate::support::{Drawn, NOW, URL, Verifier, claims, forge, forge_bytes, key, set, signature_of, with_signature, without};

fn read(values: &[&[u8]]) -> Result<UnverifiedProof, ProofError> {
    UnverifiedProof::from_header_values(values.iter().copied(), &ProofPolicy::default())
}

/// DPOP-4.3-01
#[test]
fn a_request_has_exactly_one_proof() {
    let verifier = Verifier::new(Alg::Es256);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    let proof = proof.as_bytes();
    assert!(read(&[proof]).is_ok());
    assert_eq!(read(&[]).unwrap_err(), Missing);
    assert_eq!(read(&[proof, proof]).unwrap_err(), Multiple);
    assert_eq!(read(&[proof, b""]).unwrap_err(), Multiple);
    assert_eq!(read(&[b"", proof]).unwrap_err(), Multiple);
    assert_eq!(read(&[&[proof, b", ", proof].concat()]).unwrap_err(), Multiple);
    assert_eq!(read(&[&[proof, b","].concat()]).unwrap_err(), Multiple);
}

/// DPOP-4.1-01, DPOP-4.3-02, JOSE-15, JOSE-17
#[test]
fn a_proof_is_one_compact_jws_and_nothing_around_it() {
    let verifier = Verifier::new(Alg::Es256);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    assert!(verifier.verify(&proof).is_ok());
    let [header, payload, signature] = proof.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for (text, error) in [
        (String::new(), NotCompact),
        ("garbage".into(), NotCompact),
        (format!("{header}.{payload}"), NotCompact),
        (format!("{header}.{payload}."), NotCompact),
        (format!("{header}..{signature}"), NotCompact),
        (format!(".{payload}.{signature}"), NotCompact),
        (format!("{proof}.{signature}"), NotCompact),
        (format!("{proof}.AA.AA"), NotCompact),
        (".".repeat(4096), NotCompact),
        (format!(" {proof}"), NotBase64Url),
        (format!("{proof} "), NotBase64Url),
        (format!("{proof}\r\n"), NotBase64Url),
        (format!("{proof}="), NotBase64Url),
        (format!("\"{proof}\""), NotBase64Url),
        (format!("DPoP {proof}"), NotBase64Url),
        (proof.replace('_', "/").replace('-', "+"), NotBase64Url),
        (json!({ "protected": header, "payload": payload, "signature": signature }).to_string().replace(',', " "), NotBase64Url),
    ] {
        assert_eq!(verifier.verify(&text).unwrap_err(), error, "{text}");
    }
    assert_eq!(verifier.verify_bytes(b"\xff\xfe", NOW).unwrap_err(), NotBase64Url);
    assert_eq!(verifier.verify_bytes("prööf".as_bytes(), NOW).unwrap_err(), NotBase64Url);
}

/// JOSE-15: 64 bytes of signature leave two unused bits in the last character.
#[test]
fn unused_bits_of_the_last_character_must_be_zero() {
    let verifier = Verifier::new(Alg::Es256);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.iter().position(|byte| *byte == proof.as_bytes()[proof.len() - 1]).unwrap();
    for bits in 0..16 {
        let mut respelled = proof.clone().into_bytes();
        *respelled.last_mut().unwrap() = ALPHABET[last & 0b11_0000 | bits];
        let outcome = verifier.verify_bytes(&respelled, NOW).map(|_| ());
        assert_eq!(outcome, if respelled == proof.as_bytes() { Ok(()) } else { Err(NotBase64Url) });
    }
}

/// SEC-05
#[test]
fn a_proof_is_no_longer_than_the_policy_allows() {
    let mut verifier = Verifier::new(Alg::Es256);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    for (limit, outcome) in [(proof.len() + 1, Ok(())), (proof.len(), Ok(())), (proof.len() - 1, Err(TooLarge)), (0, Err(TooLarge))] {
        verifier.policy.max_proof_bytes = limit;
        assert_eq!(verifier.verify(&proof).map(|_| ()), outcome, "limit {limit}");
    }
}

/// DPOP-4.2-01, DPOP-4.3-03, DPOP-4.3-04, JOSE-22
#[test]
fn the_type_is_exactly_dpop_jwt() {
    let verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_header(&verifier.header()).is_ok());
    assert_eq!(verifier.with_header(&without(verifier.header(), "typ")).unwrap_err(), TypMissing);
    for typ in [json!(null), json!(1), json!(true), json!(["dpop+jwt"]), json!({})] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "typ", typ)).unwrap_err(), TypMissing);
    }
    for typ in
        ["", "JWT", "jwt", "DPoP+JWT", "dpop+JWT", "application/dpop+jwt", "dpop+jwt ", "dpop+jwtx", "at+jwt", "client-authentication+jwt"]
    {
        assert_eq!(verifier.with_header(&set(verifier.header(), "typ", typ)).unwrap_err(), TypWrong, "{typ}");
    }
}

/// DPOP-4.2-02, DPOP-4.3-05, JOSE-18, JOSE-20
#[test]
fn the_algorithm_is_on_the_allow_list() {
    let mut verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_header(&verifier.header()).is_ok());
    assert_eq!(verifier.with_header(&without(verifier.header(), "alg")).unwrap_err(), AlgMissing);
    for alg in [json!(null), json!(1), json!(true), json!(["ES256"]), json!({})] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "alg", alg)).unwrap_err(), AlgMissing);
    }
    for alg in ["", "none", "None", "nOnE", "HS256", "hs256", "RS256", "ES512", "es256", "ES256 ", "ESP256", "unsupported"] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "alg", alg)).unwrap_err(), AlgNotAllowed, "{alg}");
    }
    verifier.policy.algs = [Alg::Ps256, Alg::EdDsa].into_iter().collect();
    assert_eq!(verifier.with_header(&verifier.header()).unwrap_err(), AlgNotAllowed);
    verifier.policy.algs = AlgSet::fapi2();
    assert!(verifier.with_header(&verifier.header()).is_ok());
}

/// DPOP-4.3-05, JOSE-09
#[test]
fn the_algorithm_fits_the_key() {
    let verifier = Verifier::new(Alg::Es256);
    for alg in [Alg::Es384, Alg::Ps256, Alg::EdDsa, Alg::Ed25519] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "alg", alg.name())).unwrap_err(), AlgKeyMismatch, "{alg}");
    }
    assert!(verifier.with_header(&verifier.header()).is_ok());
}

/// JOSE-10, JOSE-11
#[test]
fn both_names_of_ed25519_verify_with_one_key_and_one_thumbprint() {
    let verifier = Verifier::new(Alg::EdDsa);
    let names = ["EdDSA", "Ed25519"].map(|alg| verifier.with_header(&set(verifier.header(), "alg", alg)).unwrap());
    assert_eq!(names[0].jkt(), names[1].jkt());
    assert_eq!((names[0].alg(), names[1].alg()), (Alg::EdDsa, Alg::Ed25519));
    assert_eq!(names[0].claim().key, names[1].claim().key, "one jti, one key, one use");
}

/// DPOP-4.2-03, DPOP-4.3-03
#[test]
fn the_key_is_an_object_in_the_header() {
    let verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_header(&verifier.header()).is_ok());
    assert_eq!(verifier.with_header(&without(verifier.header(), "jwk")).unwrap_err(), JwkMissing);
    let text = verifier.header()["jwk"].to_string();
    for jwk in [json!(null), json!(1), json!(true), json!(""), json!("foo"), json!([]), json!([verifier.header()["jwk"]]), json!(text)] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "jwk", jwk)).unwrap_err(), JwkMissing);
    }
    assert_eq!(verifier.with_header(&set(verifier.header(), "jwk", json!({}))).unwrap_err(), JwkMalformed);
}

/// DPOP-4.3-07: refused by presence, whatever the value, and before anything else about the key.
#[test]
fn a_private_member_in_the_key_is_refused_whatever_its_value() {
    for alg in [Alg::Es256, Alg::Es384, Alg::EdDsa] {
        let verifier = Verifier::new(alg);
        assert!(verifier.with_header(&verifier.header()).is_ok());
        let private: Value = serde_json::from_str(&verifier.key.to_private_jwk()).unwrap();
        assert_eq!(verifier.with_header(&set(verifier.header(), "jwk", private)).unwrap_err(), JwkPrivate);
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            for value in [json!("AA"), json!(""), json!(null), json!(false), json!(0), json!([]), json!({})] {
                let mut header = verifier.header();
                header["jwk"][member] = value.clone();
                assert_eq!(verifier.with_header(&header).unwrap_err(), JwkPrivate, "{member}: {value}");
                header["jwk"]["kty"] = "oct".into();
                assert_eq!(verifier.with_header(&header).unwrap_err(), JwkPrivate, "{member} before the kind");
            }
        }
    }
}

/// JOSE-20
#[test]
fn a_symmetric_or_unknown_key_is_refused() {
    let verifier = Verifier::new(Alg::Es256);
    for jwk in [json!({ "kty": "oct" }), json!({ "kty": "AKP", "pub": "AA" }), json!({ "kty": "ec" }), json!({ "kty": "" })] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "jwk", jwk.clone())).unwrap_err(), JwkUnsupported, "{jwk}");
    }
    assert!(verifier.with_header(&verifier.header()).is_ok());
}

/// JOSE-13
#[test]
fn critical_header_extensions_are_refused() {
    let verifier = Verifier::new(Alg::Es256);
    for crit in [json!(["b64"]), json!(["unknown"]), json!([]), json!([""]), json!(["alg"]), json!(["x", "x"]), json!("b64"), json!(null)] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "crit", crit)).unwrap_err(), CriticalHeader);
    }
    for b64 in [json!(false), json!(true), json!(null)] {
        assert_eq!(verifier.with_header(&set(verifier.header(), "b64", b64)).unwrap_err(), CriticalHeader);
    }
    assert!(verifier.with_header(&set(verifier.header(), "critical", json!(["b64"]))).is_ok());
}

/// DPOP-4.2-09, JOSE-19: nothing is looked up, fetched or believed.
#[test]
fn unknown_header_parameters_are_tolerated_and_have_no_meaning() {
    let verifier = Verifier::new(Alg::Es256);
    let mut header = verifier.header();
    let stranger = key(Alg::Ed25519).public_jwk().to_json_value();
    for (name, value) in [
        ("kid", json!("another-key")),
        ("jku", json!("https://attacker.example/jwks")),
        ("x5u", json!("https://attacker.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("cty", json!("json")),
        ("custom", json!({ "jwk": stranger, "nested": [1, null, { "deep": [] }] })),
    ] {
        header[name] = value;
    }
    for (name, value) in
        [("kid", json!("k")), ("ext", json!(true)), ("use", json!("sig")), ("key_ops", json!(["verify"])), ("alg", json!("ES256"))]
    {
        header["jwk"][name] = value;
    }
    assert_eq!(verifier.with_header(&header).unwrap().jkt(), verifier.key.jkt());
}

/// DPOP-4.3-06, JOSE-19
#[test]
fn the_signature_verifies_with_the_embedded_key_and_nothing_else() {
    for alg in [Alg::Es256, Alg::Es384, Alg::EdDsa, Alg::Ed25519] {
        let verifier = Verifier::new(alg);
        let mut entropy = Drawn::default();
        let other = loop {
            let other = keybound_proofs::ProofKey::generate(alg, &mut entropy).unwrap();
            if other.jkt() != verifier.key.jkt() {
                break other;
            }
        };
        let good = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
        assert!(verifier.verify(&good).is_ok());
        let foreign = forge(&other, &verifier.header().to_string(), &claims().to_string());
        assert_eq!(verifier.verify(&foreign).unwrap_err(), BadSignature);
        let signature = signature_of(&good);
        for (wrong, what) in [
            (vec![0; signature.len()], "all zero"),
            (vec![0xff; signature.len()], "all ones"),
            (signature[1..].to_vec(), "one byte short"),
            ([&signature[..], &[0]].concat(), "one byte more"),
            ([&[0], &signature[..]].concat(), "a zero in front"),
            (vec![0], "one byte"),
        ] {
            assert_eq!(verifier.verify(&with_signature(&good, &wrong)).unwrap_err(), BadSignature, "{alg}: {what}");
        }
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verifier.verify(&with_signature(&good, &flipped)).unwrap_err(), BadSignature, "{alg}: bit {bit}");
        }
    }
}

/// JOSE-07: DER is for other places.
#[test]
fn an_ecdsa_signature_in_der_is_refused() {
    let verifier = Verifier::new(Alg::Es256);
    let good = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
    let signature = p256::ecdsa::Signature::from_slice(&signature_of(&good)).unwrap();
    assert!(verifier.verify(&with_signature(&good, &signature.to_bytes())).is_ok());
    assert_eq!(verifier.verify(&with_signature(&good, signature.to_der().as_bytes())).unwrap_err(), BadSignature);
}

/// JOSE-07: r and s outside [1, n-1].
#[test]
fn ecdsa_values_out_of_range_are_refused() {
    let verifier = Verifier::new(Alg::Es256);
    let good = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
    let order = jose::decode_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    let signature = signature_of(&good);
    let (r, s) = signature.split_at(32);
    for wrong in
        [[&[0; 32], s].concat(), [r, &[0; 32]].concat(), [&order[..], s].concat(), [r, &order].concat(), [&order[..], &order].concat()]
    {
        assert_eq!(verifier.verify(&with_signature(&good, &wrong)).unwrap_err(), BadSignature);
    }
    assert!(verifier.verify(&with_signature(&good, &[r, s].concat())).is_ok());
}

/// JOSE-14, JOSE-16
#[test]
fn header_and_claims_are_strict_json() {
    let verifier = Verifier::new(Alg::Es256);
    let (header, payload) = (verifier.header().to_string(), claims().to_string());
    let verify = |header: &str, payload: &str| verifier.verify(&forge(&verifier.key, header, payload)).map(|_| ());
    assert_eq!(verify(&header, &payload), Ok(()));
    assert_eq!(verify(&format!(" {header}\n"), &format!("\t{payload} ")), Ok(()));

    let and = |json: &str, member: &str| format!("{{{member},{}", &json[1..]);
    for (header, payload) in [
        (and(&header, r#""typ":"JWT""#), payload.clone()),
        (and(&header, r#""\u0061lg":"none""#), payload.clone()),
        (header.replace(r#""kty""#, r#""kty":"oct","kty""#), payload.clone()),
        (header.replace(r#""kty""#, r#""\u006bty":"EC","kty""#), payload.clone()),
        (and(&header, r#""x":{"y":[{"z":1,"z":2}]}"#), payload.clone()),
        (header.clone(), and(&payload, r#""jti":"another""#)),
        (header.clone(), and(&payload, r#""\u0069at":0"#)),
        (header.clone(), and(&payload, r#""x":[{"a":1,"a":1}]"#)),
    ] {
        assert_eq!(verify(&header, &payload), Err(DuplicateMember), "{header} {payload}");
    }
    for broken in ["", " ", "null", "[]", "\"\"", "1", "{", "{}{}", "{\"a\":1,}", "\u{feff}{}"] {
        if !broken.is_empty() {
            assert_eq!(verify(broken, &payload), Err(NotJson), "{broken}");
            assert_eq!(verify(&header, broken), Err(NotJson), "{broken}");
        }
    }
    for (header, payload) in [
        (format!("{header}x"), payload.clone()),
        (header.clone(), format!("{payload}{payload}")),
        (format!("\u{feff}{header}"), payload.clone()),
        (header.clone(), format!("\u{feff}{payload}")),
        (and(&header, &format!(r#""x":{}{}"#, "[".repeat(16), "]".repeat(16))), payload.clone()),
    ] {
        assert_eq!(verify(&header, &payload), Err(NotJson));
    }
    assert_eq!(verify(&and(&header, &format!(r#""x":{}{}"#, "[".repeat(15), "]".repeat(15))), &payload), Ok(()));

    let latin1 =
        [payload.replace("a-jti", "j").as_bytes(), b""].concat().iter().map(|b| if *b == b'j' { 0xe9 } else { *b }).collect::<Vec<_>>();
    assert_eq!(verifier.verify(&forge_bytes(&verifier.key, header.as_bytes(), &latin1)).unwrap_err(), NotJson);
    let utf16: Vec<u8> = header.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(verifier.verify(&forge_bytes(&verifier.key, &utf16, payload.as_bytes())).unwrap_err(), NotJson);
}

/// A2
#[test]
fn nothing_secret_is_printed() {
    let verifier = Verifier::new(Alg::Es256);
    let mut claims = set(set(claims(), "jti", "SECRET-JTI"), "nonce", "SECRET-NONCE");
    claims["ath"] = "SECRET-ATH".into();
    let proof = forge(&verifier.key, &verifier.header().to_string(), &claims.to_string());
    let read = UnverifiedProof::from_header_values([proof.as_bytes()], &verifier.policy).unwrap();
    let printed = format!("{read:?} {:?} {:?} {:?}", verifier.key, verifier.key.public_jwk(), verifier.nonces);
    let private: Value = serde_json::from_str(&verifier.key.to_private_jwk()).unwrap();
    let signature = proof.rsplit_once('.').unwrap().1;
    for secret in ["SECRET", private["d"].as_str().unwrap(), signature, &proof] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
