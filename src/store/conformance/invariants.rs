//! The protocol's invariants as checks of what was observed (DESIGN section 12).
//!
//! Each takes answers that a backend gave and says which rule they break. The suite, the race tests and the fault tests share
//! them, and each is shown to fail on a store that breaks its rule: a check that never failed proves nothing.

use std::collections::HashMap;
use std::fmt;

use keybound_proofs::{ClaimAnswer, LedgerError};

use crate::domain::{Advance, Advanced, Family, FamilyId, FamilyState, Generation, Refusal};
use crate::store::StoreError;

/// The rule that was broken, and how.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule} is broken: {how}")]
pub struct Violation {
    /// The name of the rule, as in the design.
    pub rule: &'static str,
    /// What was observed.
    pub how: String,
}

/// One presented refresh token: what was asked, what came back, and when, on a counter that all observers share.
#[derive(Clone, Debug)]
pub struct Presented {
    /// What was asked.
    pub request: Advance,
    /// What came back.
    pub answer: Result<Advanced, StoreError>,
    /// The counter just before the question.
    pub asked: u64,
    /// The counter just after the answer.
    pub answered: u64,
}

impl Presented {
    /// The generation that the client was given, if it was given one.
    pub fn successor(&self) -> Option<Generation> {
        match self.answer.as_ref().ok()? {
            Advanced::Rotated(family)
            | Advanced::Repeated(family)
            | Advanced::RolledForward(family)
            | Advanced::Kept(family)
            | Advanced::Rebound(family) => Some(family.generation),
            Advanced::Reused(_) | Advanced::CloneSuspected(_) | Advanced::Refused(_) => None,
        }
    }
}

/// R1: of all answers to claims of one key, over all nodes, at most one is `First`.
///
/// # Errors
/// Where two uses were accepted.
pub fn r1_accepted_at_most_once(answers: &[Result<ClaimAnswer, LedgerError>]) -> Result<(), Violation> {
    let firsts = answers.iter().filter(|answer| **answer == Ok(ClaimAnswer::First)).count();
    hold("R1", firsts <= 1, || format!("{firsts} of {} uses of one proof were accepted", answers.len()))
}

/// R4: what was answered with success has happened. `acknowledged` holds families as they were acknowledged, in that order;
/// `kept` what a store that was opened anew tells of them.
///
/// # Errors
/// Where an acknowledged family, rotation or revocation is missing.
pub fn r4_acknowledged_is_kept(acknowledged: &[Family], kept: &HashMap<FamilyId, Family>) -> Result<(), Violation> {
    for family in acknowledged {
        let Some(now) = kept.get(&family.id) else { return broken("R4", "an acknowledged family is gone".to_owned()) };
        if now.generation < family.generation {
            return broken("R4", format!("{:?} was acknowledged and {:?} is stored", family.generation, now.generation));
        }
        if family.state != FamilyState::Live && now.state == FamilyState::Live {
            return broken("R4", "an acknowledged revocation was undone".to_owned());
        }
    }
    Ok(())
}

/// R6: whatever was accepted while the ledger was filling up is recorded. `first` and `again` are the answers to the same keys in
/// the same order, the second ones while all of them are live.
///
/// # Errors
/// Where a key was accepted, and is not known afterwards.
pub fn r6_accepted_is_recorded(
    first: &[Result<ClaimAnswer, LedgerError>],
    again: &[Result<ClaimAnswer, LedgerError>],
) -> Result<(), Violation> {
    let forgotten = first.iter().zip(again).filter(|(first, again)| **first == Ok(ClaimAnswer::First) && **again != Ok(ClaimAnswer::Seen));
    match forgotten.count() {
        0 => Ok(()),
        count => broken("R6", format!("{count} accepted proofs were not recorded")),
    }
}

/// G1: at most one live leaf. No client holds a newer token than the family knows, and of all tokens given out only the newest
/// is one that the family would rotate.
///
/// # Errors
/// Where a token was given out that the family does not stand behind.
pub fn g1_one_live_leaf(presented: &[Presented], stored: &Family) -> Result<(), Violation> {
    for given in presented.iter().filter_map(Presented::successor) {
        if given > stored.generation {
            return broken("G1", format!("{given:?} was given out and the family is at {:?}", stored.generation));
        }
    }
    let leaves = presented.iter().filter(|one| matches!(one.answer, Ok(Advanced::Rotated(_) | Advanced::RolledForward(_))));
    let mut generations: Vec<_> = leaves.filter_map(Presented::successor).collect();
    let all = generations.len();
    generations.sort_unstable();
    generations.dedup();
    hold("G1", generations.len() == all, || "two rotations ended in the same generation".to_owned())
}

/// G2: the same token with the same key has the same successor each time it has one.
///
/// # Errors
/// Where it has two.
pub fn g2_same_token_same_successor(presented: &[Presented]) -> Result<(), Violation> {
    let mut successors = HashMap::new();
    for one in presented {
        let Some(successor) = one.successor() else { continue };
        let before = *successors.entry((one.request.family, one.request.presented)).or_insert(successor);
        if before != successor {
            return broken("G2", format!("{:?} was followed by {before:?} and by {successor:?}", one.request.presented));
        }
    }
    Ok(())
}

/// G3: concurrent presentations of one token are one transition, and every one of them gets the token it leads to.
///
/// # Errors
/// Where there is no transition or a second one, or one of them got nothing.
pub fn g3_one_transition(presented: &[Presented]) -> Result<(), Violation> {
    let rotations = presented.iter().filter(|one| matches!(one.answer, Ok(Advanced::Rotated(_)))).count();
    hold("G3", rotations == 1, || format!("{rotations} transitions for one token"))?;
    let empty = presented.iter().filter(|one| one.successor().is_none()).count();
    hold("G3", empty == 0, || format!("{empty} of {} got no token", presented.len()))?;
    g2_same_token_same_successor(presented).map_err(|violation| Violation { rule: "G3", ..violation })
}

/// G4: a lost answer never costs the session: a token that was presented again and again, each time by its holder, was followed
/// by a token each time.
///
/// # Errors
/// Where one presentation was refused.
pub fn g4_lost_answers_cost_nothing(presented: &[Presented]) -> Result<(), Violation> {
    match presented.iter().find(|one| one.answer.is_ok() && one.successor().is_none()) {
        None => Ok(()),
        Some(one) => broken("G4", format!("{:?} presented again was answered with {}", one.request.presented, name(&one.answer))),
    }
}

/// G5: nothing works without the key or the client's authentication, and trying changes nothing. `presented` are attempts of
/// somebody who lacks it, `before` and `after` the record around them.
///
/// # Errors
/// Where an attempt was given a token, or left a trace.
pub fn g5_nothing_without_the_key(presented: &[Presented], before: &Family, after: &Family) -> Result<(), Violation> {
    let refused = |one: &&Presented| {
        matches!(one.answer, Ok(Advanced::Refused(Refusal::OtherKey | Refusal::OtherClient | Refusal::NotAuthenticated)) | Err(_))
    };
    if let Some(one) = presented.iter().find(|one| !refused(one)) {
        return broken("G5", format!("somebody without the key was answered with {}", name(&one.answer)));
    }
    hold("G5", before == after, || "somebody without the key changed the family".to_owned())
}

/// G6: once a revocation is acknowledged nothing is issued any more. `revoked` is the counter at which the acknowledgement came.
///
/// # Errors
/// Where a question asked after that was answered with a token.
pub fn g6_nothing_after_revocation(presented: &[Presented], revoked: u64) -> Result<(), Violation> {
    match presented.iter().find(|one| one.asked > revoked && one.successor().is_some()) {
        None => Ok(()),
        Some(one) => broken("G6", format!("a token was given out for {:?} after the revocation", one.request.presented)),
    }
}

fn hold(rule: &'static str, held: bool, how: impl FnOnce() -> String) -> Result<(), Violation> {
    if held { Ok(()) } else { broken(rule, how()) }
}

fn broken(rule: &'static str, how: String) -> Result<(), Violation> {
    Err(Violation { rule, how })
}

/// An answer without the record in it.
fn name(answer: &Result<Advanced, StoreError>) -> impl fmt::Display {
    match answer {
        Ok(Advanced::Rotated(_)) => "a rotation",
        Ok(Advanced::Repeated(_)) => "a repetition",
        Ok(Advanced::RolledForward(_)) => "a roll forward",
        Ok(Advanced::Kept(_)) => "the same token",
        Ok(Advanced::Rebound(_)) => "a change of keys",
        Ok(Advanced::Reused(_)) => "reuse",
        Ok(Advanced::CloneSuspected(_)) => "a suspected clone",
        Ok(Advanced::Refused(_)) => "a refusal",
        Err(_) => "an error",
    }
}
