//! Services that break one rule: a simulation that can't tell them from the right one proves nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keybound::app::Stores;
use keybound::domain::{Advance, Advanced, Family, FamilyId, RevokeReason};
use keybound::store::{Families, FamilyFilter, Page, ReplayLedger, StoreError};
use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Epoch, Ledger, LedgerError, UnixTime};

use crate::redis::Faulty;

/// A rule that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// After an epoch change no nonce is demanded.
    EpochIgnored,
    /// A claim is a question and an answer later.
    CheckThenSet,
    /// A used proof is forgotten before it is too old.
    LifetimeTooShort,
    /// A ledger that can't tell says yes.
    FailsOpen,
    /// A repetition moves the family on.
    RetryForks,
    /// A revocation is acknowledged and left undone.
    RevocationForgotten,
    /// A revocation whose outcome is unknown counts as done.
    UnknownIsSuccess,
    /// A wrong key ends the family.
    RevokeOnWrongKey,
    /// The number that `WAIT` tells is not looked at.
    WaitUnchecked,
    /// A failover leaves the epoch as it was.
    EpochSurvivesFailover,
    /// Nobody puts back what a restart lost.
    NothingPutBack,
}

impl Bug {
    /// Each, the rules by which it may be noticed, and a seed that showed it once: it is tried first.
    pub(crate) const ALL: [(Self, &'static [&'static str], u64); 11] = [
        (Self::EpochIgnored, &["R1"], 1),
        (Self::CheckThenSet, &["R1"], 15),
        (Self::LifetimeTooShort, &["R1"], 34),
        (Self::FailsOpen, &["R1"], 7),
        (Self::RetryForks, &["G2"], 1),
        (Self::RevocationForgotten, &["G6"], 1),
        (Self::UnknownIsSuccess, &["G6"], 8),
        (Self::RevokeOnWrongKey, &["G4"], 1),
        (Self::WaitUnchecked, &["G2", "G6", "G4"], 22),
        (Self::EpochSurvivesFailover, &["R1"], 7),
        (Self::NothingPutBack, &["G4", "G6"], 1),
    ];

    /// Whether it shows in strict mode only; all others are simulated in standard mode.
    pub(crate) fn needs_strict(self) -> bool {
        matches!(self, Self::WaitUnchecked)
    }

    /// What it does to the servers.
    pub(crate) fn faulty(self) -> Faulty {
        Faulty {
            wait_lies: self == Self::WaitUnchecked,
            failover_unseen: self == Self::EpochSurvivesFailover,
            // What replicas lack the nodes would put back, and nobody would notice.
            nothing_put_back: matches!(self, Self::NothingPutBack | Self::WaitUnchecked),
        }
    }
}

/// Puts the bug into the stores.
pub(crate) fn afflict(stores: Stores, bug: Option<Bug>) -> Stores {
    let Some(bug) = bug else { return stores };
    let ledger = Arc::new(BuggyLedger { right: Arc::clone(&stores.ledger), bug });
    let families = Arc::new(BuggyFamilies { right: Arc::clone(&stores.families), bug });
    Stores { families, ledger, ..stores }
}

struct BuggyLedger {
    right: Arc<dyn ReplayLedger>,
    bug: Bug,
}

impl Ledger for BuggyLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        let epoch = self.right.epoch()?;
        Ok(if self.bug == Bug::EpochIgnored { Epoch { since: None, ..epoch } } else { epoch })
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(async move {
            match self.bug {
                Bug::CheckThenSet => {
                    let seen = self.right.recall(claim, now).await?;
                    self.right.claim(claim, now).await.map(|_| seen)
                }
                Bug::LifetimeTooShort => {
                    let ttl = claim.ttl.saturating_sub(Duration::from_secs(60)).max(Duration::from_secs(1));
                    self.right.claim(&Claim { ttl, ..claim.clone() }, now).await
                }
                Bug::FailsOpen => match self.right.claim(claim, now).await {
                    Err(LedgerError::Unavailable) => Ok(ClaimAnswer::First),
                    other => other,
                },
                _ => self.right.claim(claim, now).await,
            }
        })
    }
}

impl ReplayLedger for BuggyLedger {
    fn recall<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        self.right.recall(claim, now)
    }
}

struct BuggyFamilies {
    right: Arc<dyn Families>,
    bug: Bug,
}

#[async_trait]
impl Families for BuggyFamilies {
    async fn create(&self, family: &Family) -> Result<(), StoreError> {
        self.right.create(family).await
    }

    async fn read(&self, id: FamilyId, now: UnixTime) -> Result<Option<Family>, StoreError> {
        self.right.read(id, now).await
    }

    async fn advance(&self, request: &Advance) -> Result<Advanced, StoreError> {
        match self.right.advance(request).await? {
            Advanced::Repeated(family) if self.bug == Bug::RetryForks => {
                self.right.advance(&Advance { presented: family.generation, ..request.clone() }).await
            }
            Advanced::Refused(refusal) if self.bug == Bug::RevokeOnWrongKey => {
                if refusal == keybound::domain::Refusal::OtherKey {
                    self.right.revoke(request.family, RevokeReason::Reuse, request.now).await?;
                }
                Ok(Advanced::Refused(refusal))
            }
            other => Ok(other),
        }
    }

    async fn revoke(&self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, StoreError> {
        match self.bug {
            Bug::RevocationForgotten => Ok(true),
            Bug::UnknownIsSuccess => Ok(self.right.revoke(id, reason, now).await.unwrap_or(true)),
            _ => self.right.revoke(id, reason, now).await,
        }
    }

    async fn list(&self, filter: &FamilyFilter, cursor: Option<&str>, limit: usize, now: UnixTime) -> Result<Page, StoreError> {
        self.right.list(filter, cursor, limit, now).await
    }
}
