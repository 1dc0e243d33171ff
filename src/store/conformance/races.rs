//! Many at once: what the atomic steps are for. Each function plays one situation and returns what [`super::invariants`] finds.
//!
//! They need a multi-threaded runtime to mean anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keybound_proofs::{ClaimAnswer, Ledger, LedgerError};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::invariants::{self, Presented, Violation};
use super::sample;
use crate::domain::{Advance, Advanced, Binding, Family, Generation, RevokeReason};
use crate::store::Families;

/// How many at once.
pub const CROWD: usize = 64;

/// R1: [`CROWD`] uses of one proof at once. `number` names the proof.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the ledger has no epoch, or none of the uses was accepted.
pub async fn one_proof_used_by_many(ledger: &Arc<dyn Ledger>, number: u64) -> Result<(), Violation> {
    let epoch = ledger.epoch().expect("the ledger has an epoch").id;
    let barrier = Arc::new(Barrier::new(CROWD));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (ledger, barrier) = (ledger.clone(), barrier.clone());
        crowd.spawn(async move {
            let claim = sample::claim(number, Duration::from_secs(60), epoch);
            barrier.wait().await;
            ledger.claim(&claim, sample::START).await
        });
    }
    let answers: Vec<Result<ClaimAnswer, LedgerError>> = crowd.join_all().await;
    invariants::r1_accepted_at_most_once(&answers)?;
    assert!(answers.contains(&Ok(ClaimAnswer::First)), "an unused proof is accepted: {answers:?}");
    Ok(())
}

/// G1, G2, G3: [`CROWD`] presentations of the newest token of the sample family `number` at once.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the store fails.
pub async fn one_token_presented_by_many(families: &Arc<dyn Families>, number: u64) -> Result<(), Violation> {
    let family = sample::family(number);
    families.create(&family).await.expect("a new family is stored");
    let presented = present_at_once(families, vec![sample::advance(number, 0); CROWD], &Counter::default()).await;
    invariants::g3_one_transition(&presented)?;
    invariants::g1_one_live_leaf(&presented, &read(families, &family).await)
}

/// G4, and G2 with it: a client that loses every answer presents the same token `times` times, then learns the successor and
/// goes on with it.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the store fails.
pub async fn answers_lost_many_times(families: &Arc<dyn Families>, number: u64, times: usize) -> Result<(), Violation> {
    let (family, counter) = (sample::family(number), Counter::default());
    families.create(&family).await.expect("a new family is stored");
    let mut presented = Vec::new();
    for generation in 0..2 {
        for _ in 0..times {
            presented.push(present(families, sample::advance(number, generation), &counter).await);
        }
    }
    invariants::g4_lost_answers_cost_nothing(&presented)?;
    invariants::g2_same_token_same_successor(&presented)?;
    invariants::g1_one_live_leaf(&presented, &read(families, &family).await)
}

/// G5: [`CROWD`] attempts by others at once: another key, no key, another client. Then the holder is served as if nothing had
/// happened.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the store fails.
pub async fn many_without_the_key(families: &Arc<dyn Families>, number: u64) -> Result<(), Violation> {
    let family = sample::family(number);
    families.create(&family).await.expect("a new family is stored");
    let rightful = sample::advance(number, 0);
    let attempts = (0..CROWD as u32)
        .map(|attempt| {
            let presented = Generation(attempt / 3 % 3);
            match attempt % 3 {
                0 => Advance { jkt: Some(sample::jkt(number + 1)), presented, ..rightful.clone() },
                1 => Advance { jkt: None, authenticated: true, presented, ..rightful.clone() },
                _ => Advance { client_id: sample::client_named("other"), presented, ..rightful.clone() },
            }
        })
        .collect();
    let counter = Counter::default();
    let presented = present_at_once(families, attempts, &counter).await;
    invariants::g5_nothing_without_the_key(&presented, &family, &read(families, &family).await)?;
    invariants::g4_lost_answers_cost_nothing(&[present(families, rightful, &counter).await])
}

/// G5: [`CROWD`] holders of the key move the family to keys of their own at once. One of them wins, and only the winner's key works.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the store fails, or nobody wins.
pub async fn many_changes_of_keys(families: &Arc<dyn Families>, number: u64) -> Result<(), Violation> {
    let (family, counter) = (sample::family(number), Counter::default());
    families.create(&family).await.expect("a new family is stored");
    let to = |n: usize| sample::jkt(1_000_000 + n as u64);
    let attempts = (0..CROWD).map(|n| Advance { rebind_to: Some(to(n)), ..sample::advance(number, 0) }).collect();
    let presented = present_at_once(families, attempts, &counter).await;
    let won: Vec<_> = presented.iter().filter_map(|one| one.answer.as_ref().ok().and_then(rebound)).collect();
    let [winner] = won[..] else { panic!("{} changes of one key", won.len()) };
    let after = read(families, &family).await;
    assert_eq!(after.binding, winner.binding, "the stored key is the winner's");
    let others = (0..CROWD).filter(|n| winner.binding != Binding::Key(to(*n)));
    let others = others.map(|n| Advance { jkt: Some(to(n)), ..sample::advance(number, 1) }).chain([sample::advance(number, 1)]);
    let presented = present_at_once(families, others.collect(), &counter).await;
    invariants::g5_nothing_without_the_key(&presented, &after, &read(families, &family).await)
}

fn rebound(advanced: &Advanced) -> Option<&Family> {
    if let Advanced::Rebound(family) = advanced { Some(family) } else { None }
}

/// G6: [`CROWD`] clients refresh all the time while the family is revoked.
///
/// # Errors
/// The broken rule.
///
/// # Panics
/// Where the store fails.
pub async fn revoked_while_many_refresh(families: &Arc<dyn Families>, number: u64) -> Result<(), Violation> {
    let (family, counter) = (sample::family(number), Counter::default());
    families.create(&family).await.expect("a new family is stored");
    let mut crowd = JoinSet::new();
    let barrier = Arc::new(Barrier::new(CROWD + 1));
    for _ in 0..CROWD {
        let (families, counter, barrier) = (families.clone(), counter.clone(), barrier.clone());
        crowd.spawn(async move {
            barrier.wait().await;
            let mut seen = Vec::new();
            // Follows the family until it is refused: each answer names the token to present next.
            let mut generation = 0;
            loop {
                let one = present(&families, sample::advance(number, generation), &counter).await;
                generation = one.successor().map_or(generation, |successor| successor.0);
                let over = one.successor().is_none() || seen.len() >= 200;
                seen.push(one);
                if over {
                    return seen;
                }
            }
        });
    }
    barrier.wait().await;
    let ended = families.revoke(family.id, RevokeReason::Requested, sample::START).await.expect("a live family can be revoked");
    let revoked = counter.tick();
    assert!(ended, "this call ended the family");
    let mut presented: Vec<_> = crowd.join_all().await.into_iter().flatten().collect();
    // The newest token of all, which nobody has used.
    let newest = presented.iter().filter_map(Presented::successor).max().unwrap_or_default();
    presented.push(present(families, sample::advance(number, newest.0), &counter).await);
    invariants::g6_nothing_after_revocation(&presented, revoked)
}

/// A counter that orders what several observers see.
#[derive(Clone, Default, Debug)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// The next number: later than every one before, wherever it was drawn.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Presents one token.
pub async fn present(families: &Arc<dyn Families>, request: Advance, counter: &Counter) -> Presented {
    let asked = counter.tick();
    let answer = families.advance(&request).await;
    Presented { request, answer, asked, answered: counter.tick() }
}

async fn present_at_once(families: &Arc<dyn Families>, requests: Vec<Advance>, counter: &Counter) -> Vec<Presented> {
    let barrier = Arc::new(Barrier::new(requests.len()));
    let mut crowd = JoinSet::new();
    for request in requests {
        let (families, barrier, counter) = (families.clone(), barrier.clone(), counter.clone());
        crowd.spawn(async move {
            barrier.wait().await;
            present(&families, request, &counter).await
        });
    }
    crowd.join_all().await
}

async fn read(families: &Arc<dyn Families>, family: &Family) -> Family {
    let read = families.read(family.id, sample::START).await.expect("the store can be read");
    read.expect("the family is there")
}
