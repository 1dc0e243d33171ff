//! The time of making: check 11 of RFC 9449 section 4.3.

use std::time::Duration;

use keybound_proofs::ProofError::*;
use keybound_proofs::{Alg, ProofError, UnixTime};
use serde_json::json;

use crate::support::{NOW, URL, Verifier, at, claims, forge, set};

fn with_iat(verifier: &Verifier, iat: &str) -> Result<(), ProofError> {
    let payload = format!(r#"{{"jti":"j","htm":"POST","htu":"{URL}","iat":{iat}}}"#);
    verifier.verify(&forge(&verifier.key, &verifier.header().to_string(), &payload)).map(|_| ())
}

/// SEC-01, SEC-02, DPOP-4.3-11: both edges, to the millisecond.
#[test]
fn a_proof_lives_from_ten_seconds_before_its_time_to_sixty_after() {
    let verifier = Verifier::new(Alg::Es256);
    for (millis, outcome) in [
        (-3_600_000, Err(IatTooOld)),
        (-61_000, Err(IatTooOld)),
        (-60_001, Err(IatTooOld)),
        (-60_000, Ok(())),
        (-59_999, Ok(())),
        (-1, Ok(())),
        (0, Ok(())),
        (1, Ok(())),
        (8_000, Ok(())),
        (9_999, Ok(())),
        (10_000, Ok(())),
        (10_001, Err(IatTooNew)),
        (11_000, Err(IatTooNew)),
        (60_001, Err(IatTooNew)),
        (3_600_000, Err(IatTooNew)),
    ] {
        let iat = at(millis);
        let text = format!("{}.{:03}", iat.as_secs(), iat.as_millis().rem_euclid(1000));
        assert_eq!(with_iat(&verifier, &text), outcome, "iat {millis} ms from now");
    }
}

/// SEC-01: the same edges, moved by the clock instead of the claim.
#[test]
fn the_window_is_judged_by_the_instant_that_is_handed_in() {
    let verifier = Verifier::new(Alg::Es256);
    let proof = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
    for (millis, outcome) in [(-10_001, Err(IatTooNew)), (-10_000, Ok(())), (60_000, Ok(())), (60_001, Err(IatTooOld))] {
        assert_eq!(verifier.verify_at(&proof, at(millis)).map(|_| ()), outcome, "{millis}");
    }
}

/// DPOP-4.2-06: every form of a number is read, and no value panics.
#[test]
fn iat_may_be_any_json_number() {
    let verifier = Verifier::new(Alg::Es256);
    let now = NOW.as_secs();
    for iat in [format!("{now}"), format!("{now}.0"), format!("{now}.25"), format!("{now}e0"), "1.7000001e9".into(), format!("{now}0e-1")] {
        assert_eq!(with_iat(&verifier, &iat), Ok(()), "{iat}");
    }
    for iat in ["-9223372036854775808", "-9223372036854775809", "-1e308", "-1e999", "-1", "-0", "0", "-0.0", "1e-400", "1.5"] {
        assert_eq!(with_iat(&verifier, iat), Err(IatTooOld), "{iat}");
    }
    for iat in ["9223372036854775807", "9223372036854775", "18446744073709551616", "1e308", "1e999"] {
        assert_eq!(with_iat(&verifier, iat), Err(IatTooNew), "{iat}");
    }
    for iat in ["\"1700000100\"", "null", "true", "[1700000100]", "{}"] {
        assert_eq!(with_iat(&verifier, iat), Err(IatMissing), "{iat}");
    }
    for iat in ["NaN", "Infinity", "0x65", "01", "+1", "1.", ".1", "1e", "-"] {
        assert_eq!(with_iat(&verifier, iat), Err(NotJson), "{iat}");
    }
}

#[test]
fn no_clock_reading_panics() {
    let verifier = Verifier::new(Alg::Es256);
    for now in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
        for iat in ["-1e999", "0", "1e999"] {
            let payload = format!(r#"{{"jti":"j","htm":"POST","htu":"{URL}","iat":{iat},"exp":{iat},"nbf":{iat}}}"#);
            let proof = forge(&verifier.key, &verifier.header().to_string(), &payload);
            let _ = verifier.verify_at(&proof, UnixTime::from_millis(now));
        }
    }
}

/// DPOP-4.3-14
#[test]
fn exp_and_nbf_are_honoured_with_the_same_tolerance() {
    let verifier = Verifier::new(Alg::Es256);
    let now = NOW.as_secs();
    let both = set(set(claims(), "exp", now + 60), "nbf", now - 60);
    assert!(verifier.with_claims(&both).is_ok());
    for (offset, outcome) in [(-3600, Err(Expired)), (-11, Err(Expired)), (-10, Err(Expired)), (-9, Ok(())), (0, Ok(())), (3600, Ok(()))] {
        assert_eq!(verifier.with_claims(&set(claims(), "exp", now + offset)).map(|_| ()), outcome, "exp {offset}");
    }
    for (offset, outcome) in [(-3600, Ok(())), (0, Ok(())), (9, Ok(())), (10, Ok(())), (11, Err(NotYetValid)), (3600, Err(NotYetValid))] {
        assert_eq!(verifier.with_claims(&set(claims(), "nbf", now + offset)).map(|_| ()), outcome, "nbf {offset}");
    }
    assert_eq!(verifier.with_claims(&set(claims(), "exp", 1e308)).map(|_| ()), Ok(()));
    assert_eq!(verifier.with_claims(&set(claims(), "nbf", -1e308)).map(|_| ()), Ok(()));
}

/// NON-11: the window widens to twice the nonce's step, both ways, for a proof with a nonce and for no other.
#[test]
fn a_trusted_nonce_widens_the_window_and_ends_it() {
    let mut verifier = Verifier::new(Alg::Es256);
    let nonce = verifier.nonce();
    let with = |verifier: &Verifier, millis: i64, nonce: Option<&str>| {
        let iat = at(millis);
        let mut claims = set(claims(), "iat", json!(iat.as_millis() as f64 / 1000.0));
        if let Some(nonce) = nonce {
            claims["nonce"] = nonce.into();
        }
        verifier.with_claims(&claims).map(|proof| proof.claim().ttl)
    };
    assert_eq!(with(&verifier, -60_001, Some(&nonce)), Err(IatTooOld), "not trusted unless told");
    verifier.policy.trust_nonce_time = true;
    // The nonce of NOW, the first instant of its step, ends after two steps of 300 s; 5 s of spread and 1 s come on top.
    for (millis, outcome) in [
        (-600_001, Err(IatTooOld)),
        (-600_000, Ok(6)),
        (-599_000, Ok(7)),
        (-300_000, Ok(306)),
        (-1_000, Ok(605)),
        (0, Ok(606)),
        (300_000, Ok(606)),
        (600_000, Ok(606)),
        (600_001, Err(IatTooNew)),
    ] {
        assert_eq!(with(&verifier, millis, Some(&nonce)), outcome.map(Duration::from_secs), "{millis}");
    }
    assert_eq!(with(&verifier, -60_001, None), Err(IatTooOld));
    assert_eq!(with(&verifier, 10_001, None), Err(IatTooNew));
    assert_eq!(with(&verifier, -60_000, None), Ok(Duration::from_secs(6)));
    let proof = forge(&verifier.key, &verifier.header().to_string(), &set(claims(), "nonce", nonce).to_string());
    assert!(verifier.verify_at(&proof, at(599_999)).is_ok());
    assert_eq!(verifier.verify_at(&proof, at(600_000)).unwrap_err(), UseNonce);
}

/// SEC-04: as long as the proof could be accepted, and the spread of the clocks and a second more.
#[test]
fn the_ledger_is_asked_to_remember_until_the_proof_is_dead() {
    let verifier = Verifier::new(Alg::Es256);
    for (offset, seconds) in [(-60, 6), (-59, 7), (-1, 65), (0, 66), (10, 76)] {
        let proof = verifier.with_claims(&set(claims(), "iat", NOW.as_secs() + offset)).unwrap();
        assert_eq!(proof.claim().ttl, Duration::from_secs(seconds), "iat {offset} s from now");
    }
}
