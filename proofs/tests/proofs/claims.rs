//! The claims: checks 3, 8 and 12 of RFC 9449 section 4.3.

use keybound_proofs::ProofError::*;
use keybound_proofs::{Alg, Ath};
use serde_json::{Value, json};

use crate::support::{NOW, URL, Verifier, claims, forge, set, without};

/// DPOP-4.2-04, DPOP-4.2-05, DPOP-4.2-06, DPOP-4.3-03
#[test]
fn every_claim_is_there_and_of_its_type() {
    let verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_claims(&claims()).is_ok());
    for (name, error) in [("jti", JtiMissing), ("htm", HtmMissing), ("htu", HtuMissing), ("iat", IatMissing)] {
        assert_eq!(verifier.with_claims(&without(claims(), name)).unwrap_err(), error, "{name}");
    }
    let values = [json!(null), json!(true), json!(1), json!(1.5), json!("1"), json!([]), json!({}), json!(["x"]), json!({ "x": 1 })];
    for value in values {
        for (name, error) in
            [("jti", JtiMissing), ("htm", HtmMissing), ("htu", HtuMissing), ("ath", AthNotAString), ("nonce", NonceNotAString)]
        {
            if !value.is_string() {
                assert_eq!(verifier.with_claims(&set(claims(), name, value.clone())).unwrap_err(), error, "{name}: {value}");
            }
        }
        for (name, error) in [("iat", IatMissing), ("exp", ExpNotANumber), ("nbf", NbfNotANumber)] {
            if !value.is_number() {
                assert_eq!(verifier.with_claims(&set(claims(), name, value.clone())).unwrap_err(), error, "{name}: {value}");
            }
        }
    }
}

/// DPOP-4.2-09
#[test]
fn unknown_claims_are_tolerated() {
    let verifier = Verifier::new(Alg::Es256);
    let claims = set(set(claims(), "custom", json!({ "iat": "x", "deep": [[{}]] })), "sub", Value::Null);
    assert!(verifier.with_claims(&set(claims, "iss", 1)).is_ok());
}

/// SEC-05: of 1 to 256 bytes, bytes and not characters.
#[test]
fn a_jti_has_1_to_256_bytes() {
    let verifier = Verifier::new(Alg::Es256);
    let verify = |jti: &str| verifier.with_claims(&set(claims(), "jti", jti)).map(|_| ());
    assert_eq!(verify(""), Err(JtiLength));
    assert_eq!(verify("x"), Ok(()));
    assert_eq!(verify(&"x".repeat(255)), Ok(()));
    assert_eq!(verify(&"x".repeat(256)), Ok(()));
    assert_eq!(verify(&"x".repeat(257)), Err(JtiLength));
    assert_eq!(verify(&"é".repeat(128)), Ok(()));
    assert_eq!(verify(&"é".repeat(129)), Err(JtiLength));
    assert_eq!(verify("any\u{0} text \" \\ é 😀 will do"), Ok(()));
}

/// DPOP-4.3-08
#[test]
fn htm_is_the_method_case_included() {
    let verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_claims(&set(claims(), "htm", "POST")).is_ok());
    for htm in ["", "post", "Post", "POST ", " POST", "GET", "PUT", "POSTS", "*", "POST,GET"] {
        assert_eq!(verifier.with_claims(&set(claims(), "htm", htm)).unwrap_err(), HtmMismatch, "{htm}");
    }
}

/// HTU-09
#[test]
fn htu_is_one_of_the_listed_urls() {
    let mut verifier = Verifier::new(Alg::Es256);
    let alias = set(claims(), "htu", "https://mtls.example.com/oauth/refresh");
    assert_eq!(verifier.with_claims(&alias).unwrap_err(), HtuMismatch);
    verifier.targets.push(keybound_proofs::TargetUri::parse("https://mtls.example.com/oauth/refresh").unwrap());
    assert!(verifier.with_claims(&alias).is_ok());
    assert!(verifier.with_claims(&claims()).is_ok());
    verifier.targets.clear();
    assert_eq!(verifier.with_claims(&claims()).unwrap_err(), HtuMismatch);
}

/// DPOP-4.3-09, HTU-07
#[test]
fn a_query_and_a_fragment_in_htu_are_ignored_and_a_malformed_htu_is_not() {
    let verifier = Verifier::new(Alg::Es256);
    for suffix in ["", "?", "#", "?x=1", "#y", "?x#y", "?a=https://other.example/#?", "?x=%zz"] {
        assert!(verifier.with_claims(&set(claims(), "htu", format!("{URL}{suffix}"))).is_ok(), "{suffix}");
    }
    for htu in ["", "/oauth/refresh", "as.example.com/oauth/refresh", "https:/as.example.com/oauth/refresh"] {
        assert_eq!(verifier.with_claims(&set(claims(), "htu", htu)).unwrap_err(), HtuMalformed, "{htu}");
    }
    assert_eq!(verifier.with_claims(&set(claims(), "htu", "https://as.example.com/oauth/token")).unwrap_err(), HtuMismatch);
}

/// DPOP-4.2-07, DPOP-4.3-12, SEC-11
#[test]
fn with_an_access_token_ath_is_its_hash() {
    let mut verifier = Verifier::new(Alg::Es256);
    verifier.ath = Some(Ath::of_token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"));
    let good = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
    assert!(verifier.with_claims(&set(claims(), "ath", good)).is_ok());
    assert_eq!(verifier.with_claims(&claims()).unwrap_err(), AthMissing);
    let other = Ath::of_token("another token").to_string();
    let sha512 = "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGlODJ6-SfaPg";
    let hex = "7d41f23b6af66770d9e7712c36b5816f4c565e868dcb9f4888a080aa4b26404a";
    for ath in
        ["", &other, sha512, hex, &good[1..], &good.to_lowercase(), &format!("{good}="), &format!("{good} "), &good.replace('E', "F")]
    {
        assert_eq!(verifier.with_claims(&set(claims(), "ath", ath)).unwrap_err(), AthMismatch, "{ath}");
    }
}

/// DPOP-4.3-15
#[test]
fn without_an_access_token_a_proof_made_for_one_is_refused() {
    let verifier = Verifier::new(Alg::Es256);
    let ath = Ath::of_token("token").to_string();
    assert_eq!(verifier.with_claims(&set(claims(), "ath", ath)).unwrap_err(), AthUnexpected);
    assert_eq!(verifier.with_claims(&set(claims(), "ath", "")).unwrap_err(), AthUnexpected);
    assert!(verifier.with_claims(&claims()).is_ok());
}

/// DPOP-4.3-13: what is cheap is refused before what is expensive, and a bad signature before what needs the token.
#[test]
fn the_checks_come_in_their_order() {
    let mut verifier = Verifier::new(Alg::Es256);
    verifier.nonce_required = true;
    verifier.ath = Some(Ath::of_token("token"));
    let stranger = {
        let mut entropy = crate::support::Drawn::default();
        keybound_proofs::ProofKey::generate(Alg::Es256, &mut entropy).unwrap();
        keybound_proofs::ProofKey::generate(Alg::Es256, &mut entropy).unwrap()
    };
    // Everything is wrong at first; each round mends what was complained about.
    let mut header = set(verifier.header(), "typ", "JWT");
    header["alg"] = "none".into();
    let mut wrong = json!({ "jti": "j", "htm": "GET", "htu": "https://other.example/", "iat": 0, "ath": "x" });
    let mut signer = &stranger;
    let mut seen = Vec::new();
    loop {
        let outcome = verifier.verify(&forge(signer, &header.to_string(), &wrong.to_string()));
        let Err(error) = outcome else { break };
        seen.push(error);
        match error {
            TypWrong => header["typ"] = "dpop+jwt".into(),
            AlgNotAllowed => header["alg"] = "ES256".into(),
            HtmMismatch => wrong["htm"] = "POST".into(),
            HtuMismatch => wrong["htu"] = URL.into(),
            UseNonce => wrong["nonce"] = verifier.nonce().into(),
            IatTooOld => wrong["iat"] = NOW.as_secs().into(),
            BadSignature => signer = &verifier.key,
            AthMismatch => wrong["ath"] = Ath::of_token("token").to_string().into(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [TypWrong, AlgNotAllowed, HtmMismatch, HtuMismatch, UseNonce, IatTooOld, BadSignature, AthMismatch]);
}
