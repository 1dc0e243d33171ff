//! What holds for any input.

use keybound_proofs::{Alg, Ath, ProofKey, ProofPolicy, PublicJwk, TargetUri, UnverifiedProof, jose};
use proptest::prelude::*;

use crate::support::{Drawn, NOW, URL, Verifier, claims, forge_bytes};

/// Text that looks like JSON often enough to get far.
fn json_like() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[0-9]{1,3}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "\"[a-z\\\\u0061 é\"]{0,6}\"",
        "\"(a|b|\\\\u0061|\\\\u0062)\"",
        "[\\[\\]{}:,\" 0-9a]{0,6}",
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("(a|b|c|\\\\u0061)", inner), 0..4).prop_map(|members| format!(
                "{{{}}}",
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect::<Vec<_>>().join(",")
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_bytes_make_parsing_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = UnverifiedProof::from_header_values([bytes.as_slice()], &ProofPolicy::default());
        let _ = PublicJwk::from_json(&bytes);
        let _ = ProofKey::from_private_jwk(&bytes);
        let _ = jose::Compact::split(&bytes);
        let _ = jose::object(&bytes, |_, _| {});
        let _ = TargetUri::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_header_and_no_claims_make_parsing_panic(header in json_like(), payload in json_like(), raw in prop::collection::vec(any::<u8>(), 1..60)) {
        let verifier = Verifier::new(Alg::EdDsa);
        for (header, payload) in [
            (header.as_bytes(), payload.as_bytes()),
            (verifier.header().to_string().as_bytes(), payload.as_bytes()),
            (header.as_bytes(), claims().to_string().as_bytes()),
            (verifier.header().to_string().as_bytes(), &raw),
            (&raw, claims().to_string().as_bytes()),
        ] {
            prop_assert!(verifier.verify(&forge_bytes(&verifier.key, header, payload)).is_err());
        }
    }

    /// What the strict reader takes, a lenient one takes too, and reads the same.
    #[test]
    fn the_json_reader_takes_a_subset_of_json(text in json_like()) {
        let strict = jose::members(text.as_bytes(), ["a", "b"]);
        let lenient = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
        if let Ok([a, b]) = strict {
            // A number beyond the range of a float is JSON all the same; the lenient reader gives up on it.
            if let Ok(lenient) = lenient {
                for (name, value) in [("a", a), ("b", b)] {
                    match value {
                        None => prop_assert!(!lenient.contains_key(name)),
                        Some(jose::Json::Text(text)) => prop_assert_eq!(lenient[name].as_str(), Some(&*text)),
                        Some(jose::Json::Null) => prop_assert!(lenient[name].is_null()),
                        Some(jose::Json::Bool(value)) => prop_assert_eq!(lenient[name].as_bool(), Some(value)),
                        Some(jose::Json::Number(number)) => {
                            // The lenient reader is a unit in the last place off where exponents are large.
                            let (exact, near) = (number.as_str().parse::<f64>().unwrap(), lenient[name].as_f64().unwrap());
                            prop_assert!((exact - near).abs() <= exact.abs() * 1e-15, "{}", text);
                        }
                        Some(jose::Json::Array(_)) => prop_assert!(lenient[name].is_array()),
                        Some(jose::Json::Object(_)) => prop_assert!(lenient[name].is_object()),
                    }
                }
            } else {
                prop_assert!(lenient.unwrap_err().to_string().contains("out of range"), "{}", text);
            }
        } else if lenient.is_ok() {
            let refusal = strict.unwrap_err();
            prop_assert_eq!(refusal, jose::JsonError::DuplicateMember, "{}", text);
        }
    }

    /// Normalising twice changes nothing, so that the byte comparison in front of it is right.
    #[test]
    fn a_normal_form_is_its_own(path in "(/|\\.|\\.\\.|%2[eEfF]|%[46][1-9]|[a-zA-Z~;:@!]|//){0,12}", host in "([a-zA-Z.-]|%[46]1|%C3%a9){1,8}", port in "(:|:443|:80|:8443|)") {
        if let Ok(uri) = TargetUri::parse(&format!("https://{host}{port}/{path}?q#f")) {
            prop_assert_eq!(TargetUri::parse(uri.as_str()), Ok(uri));
        }
    }

    #[test]
    fn base64url_has_one_spelling_for_all_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[A-Za-z0-9_-]{0,12}") {
        let encoded = jose::encode_base64url(&bytes);
        prop_assert_eq!(jose::decode_base64url(&encoded), Ok(bytes));
        if let Ok(decoded) = jose::decode_base64url(&text) {
            prop_assert_eq!(jose::encode_base64url(&decoded), text);
        }
    }
}

/// JOSE-03, JOSE-15: no byte of a proof can be changed, by anybody but the key holder, so that it still verifies.
#[test]
fn no_byte_of_a_proof_can_be_changed() {
    for alg in [Alg::Es256, Alg::Ed25519] {
        let mut verifier = Verifier::new(alg);
        verifier.ath = Some(Ath::of_token("token"));
        let nonce = verifier.nonce();
        let proof = verifier.key.proof("POST", URL).access_token("token").nonce(&nonce).sign(NOW, &mut Drawn::default()).unwrap();
        assert!(verifier.verify(&proof).is_ok());
        for position in 0..proof.len() {
            let original = proof.as_bytes()[position];
            // A neighbour in the alphabet, which changes one low bit, and characters from its other ends.
            for byte in [original ^ 1, original ^ 2, original ^ 0x20, b'A', b'_', b'.', b'=', b' ', 0, 0xff] {
                let mut changed = proof.clone().into_bytes();
                changed[position] = byte;
                if byte != original {
                    assert!(verifier.verify_bytes(&changed, NOW).is_err(), "{alg}: byte {position} became {byte:#04x}");
                }
            }
            let mut shorter = proof.clone().into_bytes();
            shorter.remove(position);
            let same = shorter == proof.as_bytes();
            assert_eq!(verifier.verify_bytes(&shorter, NOW).is_ok(), same, "{alg}: byte {position} left out");
        }
    }
}
