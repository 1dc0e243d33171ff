//! One proof, one use: RFC 9449 section 11.1.

use std::time::Duration;

use keybound_proofs::{Alg, ClaimAnswer, Epoch, EpochId, LedgerError, NonceRole, ProofKey, Realm, ReplayKey, SpendError, UnixTime};
use serde_json::json;

use crate::support::{Drawn, ExactLedger, NOW, STEP, URL, Verifier, at, claims, forge, set, signature_of, spend, with_signature};

/// SEC-03, SEC-07, R1: the ledger is asked once, after every other check.
#[test]
fn second_use_of_a_proof_is_refused() {
    let verifier = Verifier::new(Alg::Es256);
    let ledger = ExactLedger::new(verifier.epoch);
    let proof = verifier.key.proof("POST", URL).sign(NOW, &mut Drawn::default()).unwrap();
    let fresh = spend(verifier.verify(&proof).unwrap(), &ledger, NOW).unwrap();
    assert_eq!((fresh.jkt(), fresh.alg(), fresh.iat()), (verifier.key.jkt(), Alg::Es256, NOW));
    assert_eq!(spend(verifier.verify(&proof).unwrap(), &ledger, NOW).unwrap_err(), SpendError::Replayed);
    let another = verifier.key.proof("POST", URL).jti("another").sign(NOW, &mut Drawn::default()).unwrap();
    assert!(spend(verifier.verify(&another).unwrap(), &ledger, NOW).is_ok());
}

/// SEC-06: a `jti` belongs to its key and to its realm.
#[test]
fn nobody_can_burn_the_jti_of_another_key() {
    let mut verifier = Verifier::new(Alg::Es256);
    let ledger = ExactLedger::new(verifier.epoch);
    let mut entropy = Drawn::default();
    for _ in 0..3 {
        verifier.key = ProofKey::generate(Alg::Es256, &mut entropy).unwrap();
        assert!(spend(verifier.with_claims(&claims()).unwrap(), &ledger, NOW).is_ok());
    }
    assert!(spend(verifier.with_claims(&claims()).unwrap(), &ledger, NOW).is_err());
    verifier.realm = Realm::new("https://another.example.com");
    assert!(spend(verifier.with_claims(&claims()).unwrap(), &ledger, NOW).is_ok());
}

/// SEC-06: whatever else differs, one key uses one `jti` once.
#[test]
fn the_same_jti_with_other_claims_is_the_same_use() {
    let mut verifier = Verifier::new(Alg::Es256);
    verifier.targets.push(keybound_proofs::TargetUri::parse("https://as.example.com/oauth/token").unwrap());
    let first = verifier.with_claims(&claims()).unwrap();
    for other in [
        set(claims(), "htu", "https://as.example.com/oauth/token"),
        set(claims(), "iat", NOW.as_secs() - 1),
        set(claims(), "extra", true),
        set(claims(), "nonce", verifier.nonce()),
    ] {
        assert_eq!(verifier.with_claims(&other).unwrap().claim().key, first.claim().key);
    }
    assert_ne!(verifier.with_claims(&set(claims(), "jti", "a-jtj")).unwrap().claim().key, first.claim().key);
}

/// JOSE-08, SEC-06: anybody can turn s into n - s. The twin verifies, and is the same use.
#[test]
fn the_twin_of_an_ecdsa_signature_is_accepted_and_spends_the_same() {
    for alg in [Alg::Es256, Alg::Es384] {
        let verifier = Verifier::new(alg);
        let proof = forge(&verifier.key, &verifier.header().to_string(), &claims().to_string());
        let signature = signature_of(&proof);
        let twin = match alg {
            Alg::Es256 => {
                let (r, s) = p256::ecdsa::Signature::from_slice(&signature).unwrap().split_scalars();
                p256::ecdsa::Signature::from_scalars(r, -s).unwrap().to_bytes().to_vec()
            }
            _ => {
                let (r, s) = p384::ecdsa::Signature::from_slice(&signature).unwrap().split_scalars();
                p384::ecdsa::Signature::from_scalars(r, -s).unwrap().to_bytes().to_vec()
            }
        };
        assert_ne!(twin, signature);
        let (one, other) = (verifier.verify(&proof).unwrap(), verifier.verify(&with_signature(&proof, &twin)).unwrap());
        assert_eq!(one.claim(), other.claim());
        let ledger = ExactLedger::new(verifier.epoch);
        assert!(spend(other, &ledger, NOW).is_ok());
        assert_eq!(spend(one, &ledger, NOW).unwrap_err(), SpendError::Replayed);
    }
}

/// SEC-08, R4: an unknown outcome is no success.
#[test]
fn a_ledger_that_cannot_tell_makes_no_fresh_proof() {
    let verifier = Verifier::new(Alg::Es256);
    let moved = ExactLedger::new(Epoch { id: EpochId::from_bytes([9; 16]), since: Some(NOW) });
    let error = spend(verifier.with_claims(&claims()).unwrap(), &moved, NOW).unwrap_err();
    assert_eq!(error, SpendError::Ledger(LedgerError::EpochMoved));
    assert!(spend(verifier.with_claims(&claims()).unwrap(), &ExactLedger::new(verifier.epoch), NOW).is_ok());
}

/// Every part has its length in front, so that no two uses share a name by moving a boundary.
#[test]
fn a_replay_key_keeps_its_parts_apart() {
    let jkt = *crate::support::key(Alg::Es256).jkt();
    let one = ReplayKey::of_proof(&Realm::new("ab"), &jkt, "c");
    assert_eq!(one, ReplayKey::of_proof(&Realm::new("ab"), &jkt, "c"));
    assert_ne!(one, ReplayKey::of_proof(&Realm::new("a"), &jkt, "bc"));
    assert_ne!(one, ReplayKey::of_proof(&Realm::new("ab"), &jkt, "C"));
    assert_ne!(ReplayKey::of_client_assertion(&Realm::new("ab"), "c", "d"), ReplayKey::of_client_assertion(&Realm::new("a"), "bc", "d"));
}

/// R1, SEC-04: for every time of making, first use and second use within two minutes, on a grid of one second: what was accepted
/// once is refused at every later instant, by a ledger that forgets as early as it may, on nodes whose clocks differ by up to the
/// spread.
#[test]
fn whatever_was_accepted_once_is_refused_ever_after() {
    let mut verifier = Verifier::new(Alg::EdDsa);
    let plain = verifier.key.proof("POST", URL).iat(NOW).sign(NOW, &mut Drawn::default()).unwrap();
    let half = verifier.key.proof("POST", URL).iat(at(500)).sign(NOW, &mut Drawn::default()).unwrap();
    assert_eq!(grid(&verifier, &plain), 71);
    assert_eq!(grid(&verifier, &half), 70, "from 9.5 s before to 60.5 s after");

    let nonce = verifier.nonce();
    let with_nonce = verifier.key.proof("POST", URL).iat(NOW).nonce(&nonce).sign(NOW, &mut Drawn::default()).unwrap();
    assert_eq!(grid(&verifier, &with_nonce), 61, "not before its nonce");

    verifier.policy.trust_nonce_time = true;
    verifier.nonces = keybound_proofs::Nonces::new([7; 32], "https://as.example.com", Duration::from_secs(30));
    let nonce = verifier.nonces.mint(NonceRole::AuthorizationServer, &verifier.epoch.id, NOW);
    for offset in [-60_000, -30_000, 0, 30_000, 60_000, 90_000] {
        let trusted = verifier.key.proof("POST", URL).iat(at(offset)).nonce(&nonce).sign(NOW, &mut Drawn::default()).unwrap();
        assert!(grid(&verifier, &trusted) > 0, "iat {offset} ms from the nonce");
    }
    assert!(STEP > Duration::from_secs(120), "the nonce of the first round outlives the grid");
}

/// Tries every pair of uses and returns at how many instants the proof is acceptable on a node whose clock is right.
fn grid(verifier: &Verifier, proof: &str) -> usize {
    const GRID: std::ops::RangeInclusive<i64> = -120..=120;
    let spread = i64::try_from(verifier.policy.clock_spread.as_secs()).unwrap();
    // The verdict of a node depends on its own clock only.
    let at_second = |second: i64| at(second * 1000);
    let verdicts: Vec<_> =
        (*GRID.start() - spread..=*GRID.end() + spread).map(|second| verifier.verify_at(proof, at_second(second))).collect();
    let verdict = |second: i64| verdicts[usize::try_from(second - (GRID.start() - spread)).unwrap()].as_ref();

    for (first_ahead, second_ahead) in [(0, 0), (spread, 0), (0, spread), (-spread, 0), (0, -spread)] {
        for first in GRID {
            let Ok(used) = verdict(first + first_ahead) else { continue };
            let ledger = ExactLedger::new(verifier.epoch);
            assert_eq!(ledger.claim_now(used.claim(), at_second(first)), Ok(ClaimAnswer::First));
            for second in first..=*GRID.end() {
                if let Ok(replayed) = verdict(second + second_ahead) {
                    let answer = ledger.claim_now(replayed.claim(), at_second(second));
                    assert_eq!(answer, Ok(ClaimAnswer::Seen), "used at {first} (+{first_ahead}), again at {second} (+{second_ahead})");
                }
            }
        }
    }
    GRID.filter(|second| verdict(*second).is_ok()).count()
}

/// DPOP-4.2-06 meets SEC-04: however odd the number, the memory outlasts the proof.
#[test]
fn a_far_off_iat_never_gives_a_claim_without_a_lifetime() {
    let verifier = Verifier::new(Alg::EdDsa);
    for iat in [json!(1_700_000_100.999), json!(1_700_000_040), json!(1_700_000_110), json!(1.7000001e9)] {
        let claim = verifier.with_claims(&set(claims(), "iat", iat)).unwrap().claim().clone();
        assert!(claim.ttl >= Duration::from_secs(6) && claim.ttl <= Duration::from_secs(76), "{claim:?}");
    }
    assert!(
        verifier
            .verify_at(&forge(&verifier.key, &verifier.header().to_string(), &claims().to_string()), UnixTime::from_millis(i64::MAX))
            .is_err()
    );
}

/// A2: logs and assertions print keys of the ledger; what they print names none.
#[test]
fn a_replay_key_prints_two_bytes_of_itself_and_no_more() {
    let key = ReplayKey::from_bytes([0xab; ReplayKey::LEN]);
    assert_eq!(format!("{key:?}"), "ReplayKey(abab\u{2026})");
}

#[test]
fn a_realm_is_the_issuer_that_it_was_made_of() {
    assert_eq!(Realm::new("https://as.example.com").as_str(), "https://as.example.com");
}
