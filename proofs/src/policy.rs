//! What a verifier accepts, apart from the request itself.

use std::time::Duration;

use crate::AlgSet;

/// The rules of a verifier: algorithms, sizes and times.
///
/// [`Default`] allows every algorithm, proofs of up to 4096 bytes, an age of 60 s, 10 s into the future and a spread of 5 s
/// between the clocks of the nodes; nonces don't replace `iat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPolicy {
    /// The algorithms a proof may use; what the backend can't verify is refused as well.
    pub algs: AlgSet,
    /// How old a proof may be, judged by `iat`. Inclusive.
    pub max_age: Duration,
    /// How far `iat` may lie in the future; also the tolerance for `exp` and `nbf`. Inclusive.
    pub clock_skew: Duration,
    /// How far the clocks of the nodes that share one ledger may lie apart. Lengthens what the ledger remembers, never what is accepted.
    pub clock_spread: Duration,
    /// The longest accepted proof, in bytes of its compact form.
    pub max_proof_bytes: usize,
    /// Whether a valid nonce widens the `iat` window to twice the nonce's step on both sides, for clients whose clocks are far off.
    /// `iat` stays mandatory, and the proof still dies with its nonce. The ledger remembers such proofs accordingly longer.
    pub trust_nonce_time: bool,
}

impl ProofPolicy {
    /// How long after an epoch change a proof made before it could still be acceptable, so that nonces are demanded that long.
    ///
    /// This covers the `iat` window. A proof that carries a nonce of an earlier epoch is refused whatever its `iat`.
    pub fn replay_window(&self) -> Duration {
        self.max_age.saturating_add(self.clock_skew).saturating_add(self.clock_spread)
    }
}

impl ProofPolicy {
    /// How long after its `iat` a proof may still be accepted, where nonces live for two steps of `nonce_step`.
    ///
    /// A ledger remembers each proof for what this was when it was claimed. Where it grows, what was forgotten could become acceptable
    /// again: that is an epoch change.
    pub fn acceptance_window(&self, nonce_step: Duration) -> Duration {
        if self.trust_nonce_time { self.max_age.max(nonce_step.saturating_mul(2)) } else { self.max_age }
    }
}

impl Default for ProofPolicy {
    fn default() -> Self {
        Self {
            algs: AlgSet::all(),
            max_age: Duration::from_secs(60),
            clock_skew: Duration::from_secs(10),
            clock_spread: Duration::from_secs(5),
            max_proof_bytes: 4096,
            trust_nonce_time: false,
        }
    }
}
