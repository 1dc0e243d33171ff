//! The proof that came with a request: checked first, spent last.

use std::future::Future;
use std::time::Duration;

use keybound_proofs::{
    Ath, ClaimAnswer, Expected, FreshProof, LedgerError, ProofError, ProofPolicy, SpendError, TargetUri, UnixTime, UnverifiedProof,
    VerifiedProof,
};

use crate::service::caller::Caller;
use crate::service::{AuthorizationServer, TokenError};
use crate::telemetry::Event;

/// The `DPoP` header lines of a request and what they must be made for.
#[derive(Clone, Copy, Debug)]
pub struct PresentedProof<'a> {
    /// Every value of every `DPoP` header line.
    pub header_values: &'a [&'a [u8]],
    /// The method of the request.
    pub method: &'a str,
    /// The URL of the endpoint, and its listed aliases.
    pub targets: &'a [TargetUri],
}

impl AuthorizationServer {
    /// Checks the proof against everything but the ledger. `None` where no `DPoP` header came: whether that is good enough is
    /// for [`AuthorizationServer::require_proof`] to say, once the client is known.
    ///
    /// # Errors
    /// [`TokenError::Proof`], [`TokenError::NonceNeeded`], or [`TokenError::Unavailable`] where the epoch is not known.
    pub(crate) fn verify_proof(&self, presented: &PresentedProof<'_>, now: UnixTime) -> Result<Option<VerifiedProof>, TokenError> {
        self.check_proof(presented, None, now)
    }

    /// The same for a request that uses the access token with this hash: the proof must name it (DPOP-4.2-07).
    ///
    /// NOT checked: whether the token is bound to the key of the proof.
    ///
    /// # Errors
    /// As [`AuthorizationServer::verify_proof`].
    pub(crate) fn verify_proof_of_use(
        &self,
        presented: &PresentedProof<'_>,
        access_token: &Ath,
        now: UnixTime,
    ) -> Result<Option<VerifiedProof>, TokenError> {
        self.check_proof(presented, Some(access_token), now)
    }

    fn check_proof(
        &self,
        presented: &PresentedProof<'_>,
        access_token: Option<&Ath>,
        now: UnixTime,
    ) -> Result<Option<VerifiedProof>, TokenError> {
        if presented.header_values.is_empty() {
            return Ok(None);
        }
        let unverified =
            UnverifiedProof::from_header_values(presented.header_values.iter().copied(), &self.proof_policy).map_err(TokenError::Proof)?;
        let epoch = self.ledger.epoch()?;
        let expected = Expected {
            policy: &self.proof_policy,
            method: presented.method,
            targets: presented.targets,
            access_token,
            nonce: self.nonce_rule(epoch),
            realm: &self.realm,
        };
        match unverified.verify(&expected, now) {
            Ok(proof) => Ok(Some(proof)),
            Err(error) if error.is_nonce_challenge() => Err(TokenError::NonceNeeded { nonce: self.fresh_nonce(now)? }),
            Err(error) => Err(TokenError::Proof(error)),
        }
    }

    /// Refuses a request without a proof where the client needs one.
    ///
    /// # Errors
    /// [`ProofError::Missing`].
    pub(crate) fn require_proof(&self, proof: Option<&VerifiedProof>, needed: bool) -> Result<(), TokenError> {
        if needed && proof.is_none() { Err(TokenError::Proof(ProofError::Missing)) } else { Ok(()) }
    }

    /// Spends the proof and the client assertion, beside `effect`, which must be harmless where they turn out to be replayed.
    ///
    /// All three go out together: on a shared connection that is one round trip. The answer of `effect` is only looked at where
    /// proof and assertion were fresh.
    ///
    /// # Errors
    /// [`TokenError::Replayed`], [`TokenError::NonceNeeded`] where the epoch moved meanwhile, [`TokenError::AssertionReplayed`],
    /// and whatever `effect` answers.
    pub(crate) async fn spend_with<T, E: Into<TokenError>>(
        &self,
        proof: Option<VerifiedProof>,
        caller: &Caller,
        effect: impl Future<Output = Result<T, E>>,
        now: UnixTime,
    ) -> Result<(Option<FreshProof>, T), TokenError> {
        let spend = async {
            match proof {
                Some(proof) => self.spend(proof, now).await.map(Some),
                None => Ok(None),
            }
        };
        let (spent, assertion, effect) = tokio::join!(spend, self.spend_assertion(caller, now), effect);
        let fresh = spent?;
        assertion?;
        Ok((fresh, effect.map_err(Into::into)?))
    }

    /// Spends a proof: the last check, and the first trace.
    ///
    /// # Errors
    /// [`TokenError::Replayed`], [`TokenError::NonceNeeded`] where the epoch moved meanwhile, [`TokenError::Unavailable`].
    pub(crate) async fn spend(&self, proof: VerifiedProof, now: UnixTime) -> Result<FreshProof, TokenError> {
        let (jkt, remembered) = (*proof.jkt(), proof.claim().ttl);
        match proof.spend(&*self.ledger, now).await {
            Ok(fresh) => {
                self.in_time(remembered, &self.proof_policy, now)?;
                Ok(fresh)
            }
            Err(SpendError::Replayed) => {
                self.events.record(Event::replay(&jkt), now);
                Err(TokenError::Replayed)
            }
            Err(SpendError::Ledger(error)) => Err(self.ledger_trouble(error, now)),
        }
    }

    /// Uses up the assertion of a client where no proof has a part, so that no nonce could help.
    ///
    /// # Errors
    /// [`TokenError::AssertionReplayed`], [`TokenError::Unavailable`].
    pub(crate) async fn spend_assertion_alone(&self, caller: &Caller, now: UnixTime) -> Result<(), TokenError> {
        match self.spend_assertion(caller, now).await {
            Err(TokenError::NonceNeeded { .. }) => Err(TokenError::Unavailable("the replay epoch moved".to_owned())),
            other => other,
        }
    }

    async fn spend_assertion(&self, caller: &Caller, now: UnixTime) -> Result<(), TokenError> {
        let Some(claim) = caller.assertion_claim() else { return Ok(()) };
        match self.assertions.claim(&claim, now).await {
            Ok(ClaimAnswer::First) => Ok(self.in_time(claim.ttl, &self.proof_policy, now)?),
            Ok(ClaimAnswer::Seen) => Err(TokenError::AssertionReplayed),
            Err(error) => Err(self.ledger_trouble(error, now)),
        }
    }

    /// Refuses the answer of a ledger where the claim may have reached it too late: a machine that stood still between judging what was
    /// presented and claiming it would take it for unused, once the ledger has forgotten another use. `remembered` is the lifetime of the
    /// claim, `now` when it was judged.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] where what was presented would be refused by now.
    pub(crate) fn in_time(&self, remembered: Duration, policy: &ProofPolicy, now: UnixTime) -> Result<(), LedgerError> {
        if still_good(remembered, policy, self.clock.now().since(now)) { Ok(()) } else { Err(LedgerError::Unavailable) }
    }

    fn ledger_trouble(&self, error: LedgerError, now: UnixTime) -> TokenError {
        match error {
            LedgerError::EpochMoved => match self.fresh_nonce(now) {
                Ok(nonce) => TokenError::NonceNeeded { nonce },
                Err(error) => error.into(),
            },
            LedgerError::Unavailable | LedgerError::AtCapacity => error.into(),
        }
    }
}

/// Whether what a claim remembers for `remembered` is good `elapsed` after it was judged: a claim outlives it by the spread of the clocks and
/// a second.
fn still_good(remembered: Duration, policy: &ProofPolicy, elapsed: Duration) -> bool {
    elapsed <= remembered.saturating_sub(policy.clock_spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R1: found by docs/model (`BUG_STALL_GOES_UNNOTICED`).
    #[test]
    fn the_answer_of_a_ledger_counts_until_the_proof_is_dead_and_not_a_millisecond_longer() {
        let policy = ProofPolicy::default();
        let ms = Duration::from_millis;
        for (remembered, elapsed, good) in
            [(6_000, 0, true), (6_000, 1_000, true), (6_000, 1_001, false), (66_000, 61_000, true), (66_000, 61_001, false)]
        {
            assert_eq!(still_good(ms(remembered), &policy, ms(elapsed)), good, "{remembered} {elapsed}");
        }
        assert!(!still_good(Duration::ZERO, &policy, ms(1)));
    }
}
