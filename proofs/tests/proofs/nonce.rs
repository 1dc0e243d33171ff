//! Nonces: check 10 of RFC 9449 section 4.3.

use keybound_proofs::ProofError::*;
use keybound_proofs::{Alg, Epoch, EpochId, NonceRole};

use crate::support::{Drawn, ExactLedger, NOW, URL, Verifier, at, claims, forge, set, spend};

/// DPOP-4.2-08, DPOP-4.3-10, NON-01, NON-03
#[test]
fn where_nonces_are_required_only_a_living_one_will_do() {
    let mut verifier = Verifier::new(Alg::Es256);
    assert!(verifier.with_claims(&claims()).is_ok());
    verifier.nonce_required = true;
    assert_eq!(verifier.with_claims(&claims()).unwrap_err(), UseNonce);
    assert!(verifier.with_claims(&set(claims(), "nonce", verifier.nonce())).is_ok());
    for nonce in ["", "x", "eyJ7S_zG.eyJH0-Z.HX4w-7v", &verifier.nonce()[1..], &format!("{}A", verifier.nonce())] {
        let error = verifier.with_claims(&set(claims(), "nonce", nonce)).unwrap_err();
        assert!(error.is_nonce_challenge(), "{nonce}");
    }
}

/// NON-03: also where no nonce was asked for, so that the client learns the living one.
#[test]
fn a_dead_nonce_is_answered_with_a_living_one_whatever_the_policy() {
    let verifier = Verifier::new(Alg::Es256);
    let nonce = verifier.nonce();
    let proof = |now: i64| {
        let claims = set(set(claims(), "nonce", nonce.clone()), "iat", at(now).as_secs());
        verifier.verify_at(&forge(&verifier.key, &verifier.header().to_string(), &claims.to_string()), at(now))
    };
    assert_eq!(proof(0).map(|proof| proof.renew_nonce()), Ok(false));
    assert_eq!(proof(299_999).map(|proof| proof.renew_nonce()), Ok(false));
    assert_eq!(proof(300_000).map(|proof| proof.renew_nonce()), Ok(true));
    assert_eq!(proof(599_999).map(|proof| proof.renew_nonce()), Ok(true));
    assert_eq!(proof(600_000).unwrap_err(), UseNonce);
    assert_eq!(proof(-1).unwrap_err(), UseNonce);
    assert_ne!(verifier.nonces.mint(NonceRole::AuthorizationServer, &verifier.epoch.id, at(600_000)), nonce);
    assert!(!verifier.with_claims(&claims()).unwrap().renew_nonce(), "no nonce, none to renew");
}

/// NON-08
#[test]
fn a_nonce_of_the_gateway_is_unknown_to_the_authorization_server() {
    let verifier = Verifier::new(Alg::Es256);
    let nonce = |role| verifier.nonces.mint(role, &verifier.epoch.id, NOW);
    assert!(verifier.with_claims(&set(claims(), "nonce", nonce(NonceRole::AuthorizationServer))).is_ok());
    assert_eq!(verifier.with_claims(&set(claims(), "nonce", nonce(NonceRole::Gateway))).unwrap_err(), UseNonce);
}

/// R5: for 60 + 10 + 5 s after an epoch began, nothing passes without one of its nonces.
#[test]
fn after_an_epoch_change_every_proof_needs_a_nonce_of_the_new_epoch() {
    let mut verifier = Verifier::new(Alg::Es256);
    let old_nonce = verifier.nonce();
    verifier.epoch = Epoch { id: EpochId::from_bytes([2; 16]), since: Some(NOW) };
    let verify = |verifier: &Verifier, millis: i64, nonce: Option<&str>| {
        let mut claims = set(claims(), "iat", at(millis).as_secs());
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        verifier.verify_at(&forge(&verifier.key, &verifier.header().to_string(), &claims.to_string()), at(millis)).map(|_| ())
    };
    for millis in [-5_000, 0, 1, 74_999, 75_000] {
        assert_eq!(verify(&verifier, millis, None), Err(UseNonce), "{millis}");
        assert_eq!(verify(&verifier, millis, Some(&old_nonce)), Err(UseNonce), "{millis}");
    }
    assert_eq!(verify(&verifier, 75_001, None), Ok(()));
    assert_eq!(verify(&verifier, 75_001, Some(&old_nonce)), Err(UseNonce));
    let new_nonce = verifier.nonce();
    for millis in [0, 75_000, 75_001] {
        assert_eq!(verify(&verifier, millis, Some(&new_nonce)), Ok(()), "{millis}");
    }
    verifier.epoch.since = None;
    assert_eq!(verify(&verifier, 0, None), Ok(()), "an epoch that nothing came before demands nothing");
}

/// NON-04, NON-10: the challenge leaves no trace, so the same `jti` works on the retry, and one nonce serves many proofs.
#[test]
fn a_challenge_spends_nothing() {
    let mut verifier = Verifier::new(Alg::Es256);
    verifier.nonce_required = true;
    let ledger = ExactLedger::new(verifier.epoch);
    let mut entropy = Drawn::default();
    let first = verifier.key.proof("POST", URL).jti("kept").sign(NOW, &mut entropy).unwrap();
    assert_eq!(verifier.verify(&first).unwrap_err(), UseNonce);
    let nonce = verifier.nonce();
    let retry = verifier.key.proof("POST", URL).jti("kept").nonce(&nonce).sign(NOW, &mut entropy).unwrap();
    assert!(spend(verifier.verify(&retry).unwrap(), &ledger, NOW).is_ok());
    for _ in 0..3 {
        let another = verifier.key.proof("POST", URL).nonce(&nonce).sign(NOW, &mut entropy).unwrap();
        assert!(spend(verifier.verify(&another).unwrap(), &ledger, NOW).is_ok());
    }
}
