//! How each of the twelve checks of RFC 9449 section 4.3 went, for developers.

use keybound_proofs::{ProofError, UnverifiedProof};
use serde::Serialize;

use crate::service::verify::{Denial, GatewayCall};

/// The twelve checks in the order of the RFC.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Explanation([Check; 12]);

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its number in RFC 9449 section 4.3.
    check: u8,
    /// Its name.
    name: &'static str,
    /// Whether it passed; `None` where an earlier failure left it open.
    pass: Option<bool>,
    /// What was found.
    detail: String,
}

/// How far a judgement came.
#[derive(Debug, Default)]
pub(super) struct Trace {
    found: Option<Found>,
    verified: bool,
    bound: bool,
}

#[derive(Debug)]
struct Found {
    alg: &'static str,
    htm: String,
    htu: String,
    iat: i64,
    has_nonce: bool,
    target: String,
}

impl Trace {
    /// The proof has the right form.
    pub(super) fn parsed(&mut self, proof: &UnverifiedProof, target: &str) {
        let claims = proof.unverified_claims();
        self.found = Some(Found {
            alg: proof.unverified_alg().name(),
            htm: claims.htm().to_owned(),
            htu: claims.htu().to_owned(),
            iat: claims.iat().as_secs(),
            has_nonce: claims.has_nonce(),
            target: target.to_owned(),
        });
    }

    /// The proof satisfies every check that needs no token.
    pub(super) fn verified(&mut self) {
        self.verified = true;
    }

    /// The token is bound to the key of the proof.
    pub(super) fn bound(&mut self) {
        self.bound = true;
    }

    /// What is known of each check. Nothing secret is in it: no token, no `jti`, no nonce.
    pub(super) fn explain(&self, call: &GatewayCall<'_>, denial: Option<&Denial>) -> Explanation {
        let failed = match denial {
            Some(Denial::Proof(error)) => Some(*error),
            Some(Denial::NonceNeeded) if !self.verified => Some(ProofError::UseNonce),
            _ => None,
        };
        let failed_check = failed.map(|error| match error {
            ProofError::Missing => 1,
            ProofError::TooLarge => 2,
            error => error.check(),
        });
        let mismatch = matches!(denial, Some(Denial::OtherKey | Denial::Unbound));
        Explanation(std::array::from_fn(|index| {
            let (check, name) = CHECKS[index];
            let passed = if check == 12 { self.bound } else { self.verified } || self.passed_before(check, failed_check);
            let (pass, detail) = match (failed, denial) {
                (Some(error), _) if failed_check == Some(check) => (Some(false), self.failure(error, call)),
                (_, Some(denial)) if check == 12 && mismatch => (Some(false), denial.to_string()),
                _ if passed => (Some(true), self.success(check)),
                _ => (None, "not reached".to_owned()),
            };
            Check { check, name, pass, detail }
        }))
    }

    /// Whether `check` was made before the one that failed, and so passed.
    fn passed_before(&self, check: u8, failed: Option<u8>) -> bool {
        let Some(failed) = failed else { return false };
        if self.found.is_none() {
            // While a proof is read, only these are settled at each point.
            let settled: &[u8] = match failed {
                1 => &[],
                2 => &[1],
                3 | 4 => &[1, 2],
                _ => &[1, 2, 4],
            };
            return settled.contains(&check);
        }
        let place = |check: u8| ORDER.iter().position(|one| *one == check);
        place(check) < place(failed)
    }

    fn failure(&self, error: ProofError, call: &GatewayCall<'_>) -> String {
        match (error, &self.found) {
            (ProofError::HtmMismatch, Some(found)) => format!("htm is {}, the request's method is {}", found.htm, call.method),
            (ProofError::HtuMismatch, Some(found)) => format!("htu is {}, the request went to {}", found.htu, found.target),
            (ProofError::IatTooOld | ProofError::IatTooNew, Some(found)) => format!("{error}: iat is {}", found.iat),
            _ => error.description().to_owned(),
        }
    }

    fn success(&self, check: u8) -> String {
        match (check, &self.found) {
            (5 | 6, Some(found)) => format!("alg is {}", found.alg),
            (8, Some(found)) => format!("htm is {}", found.htm),
            (9, Some(found)) => format!("htu is {}", found.htu),
            (10, Some(found)) => if found.has_nonce { "the nonce is one of this server" } else { "none is needed" }.to_owned(),
            (11, Some(found)) => format!("iat is {}", found.iat),
            _ => "as it must be".to_owned(),
        }
    }
}

const CHECKS: [(u8, &str); 12] = [
    (1, "one_proof"),
    (2, "well_formed"),
    (3, "claims_present"),
    (4, "typ"),
    (5, "alg"),
    (6, "signature"),
    (7, "no_private_key"),
    (8, "htm"),
    (9, "htu"),
    (10, "nonce"),
    (11, "iat"),
    (12, "token_binding"),
];

/// The order in which a proof that has the right form is checked: cheap checks first, the signature late.
const ORDER: [u8; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 6, 12];
