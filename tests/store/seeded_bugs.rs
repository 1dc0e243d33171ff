//! Each invariant is shown to fail on a store that breaks it, and to hold on the store that the bug was put into.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keybound::clock::OsEntropy;
use keybound::domain::{Advance, Advanced, Binding, Family, FamilyId, Generation, Refusal, RevokeReason};
use keybound::store::conformance::invariants::{self, Presented, Violation};
use keybound::store::conformance::{races, sample};
use keybound::store::embedded::EmbeddedLedger;
use keybound::store::{Families, FamilyFilter, Page, StoreError};
use keybound_proofs::{Claim, ClaimAnswer, ClaimFuture, Epoch, EpochId, Ledger, LedgerError, ReplayKey, UnixTime};
use parking_lot::Mutex;

use crate::embedded::open;

/// What is wrong with the families.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    /// A repetition is given a token of its own: the fork of a grace period that mints.
    GraceForks,
    /// A repetition moves the family on, so that the same token has two successors.
    RepetitionRotates,
    /// Find, then update: two requests at once both see the old generation.
    FindThenUpdate,
    /// A repetition counts as reuse: the client that lost an answer is out.
    NoGrace,
    /// The key is not looked at.
    KeyIgnored,
    /// The key is looked at after the generation was moved.
    KeyCheckedLast,
    /// Revocations are acknowledged and dropped.
    RevocationDropped,
    /// Success is answered before anything is durable.
    AnswersBeforeTheDisk,
}

/// Families in memory with a bug.
struct Broken {
    families: Mutex<HashMap<FamilyId, Family>>,
    bug: Bug,
}

impl Broken {
    fn with(bug: Bug) -> Arc<dyn Families> {
        Arc::new(Self { families: Mutex::default(), bug })
    }

    fn keep(&self, family: &Family) {
        self.families.lock().insert(family.id, family.clone());
    }

    fn found(&self, id: FamilyId) -> Option<Family> {
        self.families.lock().get(&id).cloned()
    }

    /// The step as it should be, but for the bug.
    fn step(&self, request: &Advance) -> Advanced {
        let mut families = self.families.lock();
        let Some(family) = families.get(&request.family).cloned() else { return Advanced::Refused(Refusal::Unknown) };
        let mut request = request.clone();
        if self.bug == Bug::KeyIgnored {
            request.client_id = family.client_id.clone();
            request.authenticated = true;
            request.jkt = match family.binding {
                Binding::Key(jkt) => Some(jkt),
                Binding::ClientAuthentication => None,
            };
        }
        if self.bug == Bug::KeyCheckedLast && request.presented == family.generation {
            families.get_mut(&family.id).expect("it was found").generation = family.generation.next();
        }
        let advanced = family.clone().decide(&request);
        match (advanced, self.bug) {
            (Advanced::Repeated(mut repeated), Bug::GraceForks) => {
                repeated.generation = repeated.generation.next();
                Advanced::Repeated(repeated)
            }
            (Advanced::Repeated(mut repeated), Bug::RepetitionRotates) => {
                repeated.generation = repeated.generation.next();
                families.insert(family.id, repeated.clone());
                Advanced::Rotated(repeated)
            }
            (Advanced::Repeated(repeated), Bug::NoGrace) => Advanced::Reused(repeated),
            (advanced, _) => {
                if let Advanced::Rotated(moved) | Advanced::RolledForward(moved) | Advanced::Kept(moved) | Advanced::Repeated(moved) =
                    &advanced
                {
                    families.insert(moved.id, moved.clone());
                }
                advanced
            }
        }
    }
}

#[async_trait]
impl Families for Broken {
    async fn create(&self, family: &Family) -> Result<(), StoreError> {
        if self.bug != Bug::AnswersBeforeTheDisk {
            self.keep(family);
        }
        Ok(())
    }

    async fn read(&self, id: FamilyId, now: UnixTime) -> Result<Option<Family>, StoreError> {
        Ok(self.found(id).filter(|family| !family.is_expired(now)))
    }

    async fn advance(&self, request: &Advance) -> Result<Advanced, StoreError> {
        if self.bug != Bug::FindThenUpdate {
            return Ok(self.step(request));
        }
        let Some(family) = self.found(request.family) else { return Ok(Advanced::Refused(Refusal::Unknown)) };
        tokio::task::yield_now().await;
        let advanced = family.decide(request);
        if let Advanced::Rotated(moved) = &advanced {
            self.keep(moved);
        }
        Ok(advanced)
    }

    async fn revoke(&self, id: FamilyId, reason: RevokeReason, _now: UnixTime) -> Result<bool, StoreError> {
        if self.bug != Bug::RevocationDropped
            && let Some(family) = self.families.lock().get_mut(&id)
        {
            family.state = keybound::domain::FamilyState::Revoked(reason);
        }
        Ok(true)
    }

    async fn list(&self, _: &FamilyFilter, _: Option<&str>, _: usize, _: UnixTime) -> Result<Page, StoreError> {
        Ok(Page::default())
    }
}

/// What is wrong with the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LedgerBug {
    None,
    /// Contains, then insert.
    NotAtomic,
    /// A claim lives for 15 s less than it should.
    ForgetsEarly,
    /// At capacity the oldest claim makes room.
    Evicts,
    /// At capacity the proof is accepted unrecorded.
    AcceptsWhenFull,
}

struct BrokenLedger {
    bug: LedgerBug,
    capacity: usize,
    claims: Mutex<Vec<(ReplayKey, UnixTime)>>,
    inside: AtomicUsize,
}

impl BrokenLedger {
    fn with(bug: LedgerBug, capacity: usize) -> Arc<dyn Ledger> {
        Arc::new(Self { bug, capacity, claims: Mutex::default(), inside: AtomicUsize::new(0) })
    }

    fn holds(&self, claim: &Claim, now: UnixTime) -> bool {
        self.claims.lock().iter().any(|(key, end)| *key == claim.key && now <= *end)
    }

    fn record(&self, claim: &Claim, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
        let ttl = if self.bug == LedgerBug::ForgetsEarly { claim.ttl.saturating_sub(Duration::from_secs(15)) } else { claim.ttl };
        let mut claims = self.claims.lock();
        if self.bug != LedgerBug::NotAtomic && claims.iter().any(|(key, end)| *key == claim.key && now <= *end) {
            return Ok(ClaimAnswer::Seen);
        }
        if claims.len() >= self.capacity {
            match self.bug {
                LedgerBug::AcceptsWhenFull => return Ok(ClaimAnswer::First),
                LedgerBug::Evicts => drop(claims.remove(0)),
                _ => return Err(LedgerError::AtCapacity),
            }
        }
        claims.push((claim.key, now.plus(ttl)));
        Ok(ClaimAnswer::First)
    }
}

const EPOCH: Epoch = Epoch { id: EpochId::from_bytes([1; 16]), since: None };

impl Ledger for BrokenLedger {
    fn epoch(&self) -> Result<Epoch, LedgerError> {
        Ok(EPOCH)
    }

    fn claim<'a>(&'a self, claim: &'a Claim, now: UnixTime) -> ClaimFuture<'a> {
        Box::pin(async move {
            if self.bug == LedgerBug::NotAtomic {
                if self.holds(claim, now) {
                    return Ok(ClaimAnswer::Seen);
                }
                self.inside.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            self.record(claim, now)
        })
    }
}

type Scenario = fn(Arc<dyn Families>) -> std::pin::Pin<Box<dyn Future<Output = Result<(), Violation>> + Send>>;

const CROWD_OF_ONE_TOKEN: Scenario = |families| Box::pin(async move { races::one_token_presented_by_many(&families, 1).await });
const LOST_ANSWERS: Scenario = |families| Box::pin(async move { races::answers_lost_many_times(&families, 1, 3).await });
const STRANGERS: Scenario = |families| Box::pin(async move { races::many_without_the_key(&families, 1).await });
const REVOKED: Scenario = |families| Box::pin(async move { races::revoked_while_many_refresh(&families, 1).await });

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_families_fails_on_its_bug_and_holds_without_it() {
    let cases: [(Bug, &str, Scenario); 8] = [
        (Bug::GraceForks, "G3", CROWD_OF_ONE_TOKEN),
        (Bug::GraceForks, "G2", LOST_ANSWERS),
        (Bug::RepetitionRotates, "G3", CROWD_OF_ONE_TOKEN),
        (Bug::FindThenUpdate, "G3", CROWD_OF_ONE_TOKEN),
        (Bug::NoGrace, "G4", LOST_ANSWERS),
        (Bug::KeyIgnored, "G5", STRANGERS),
        (Bug::KeyCheckedLast, "G5", STRANGERS),
        (Bug::RevocationDropped, "G6", REVOKED),
    ];
    for (bug, rule, scenario) in cases {
        let Err(violation) = scenario(Broken::with(bug)).await else { panic!("{bug:?} was not found") };
        assert_eq!(violation.rule, rule, "{bug:?}: {violation}");
        assert_eq!(scenario(Broken::with(Bug::None)).await, Ok(()), "{rule} holds without {bug:?}");
    }
}

/// G1 judged alone: G2 and G3 find the same bugs first.
#[tokio::test]
async fn g1_fails_on_a_fork_and_holds_without_it() {
    for (bug, holds) in [(Bug::GraceForks, false), (Bug::None, true)] {
        let (families, counter) = (Broken::with(bug), races::Counter::default());
        families.create(&sample::family(1)).await.unwrap();
        let mut presented = Vec::new();
        for _ in 0..2 {
            presented.push(races::present(&families, sample::advance(1, 0), &counter).await);
        }
        let stored = families.read(sample::id(1), sample::START).await.unwrap().unwrap();
        assert_eq!(invariants::g1_one_live_leaf(&presented, &stored).is_ok(), holds, "{bug:?}");
    }
}

/// G1 again: two transitions that end in the same generation are two leaves, whatever the record says.
#[tokio::test]
async fn g1_fails_where_two_rotations_meet() {
    let moved = Family { generation: Generation(1), ..sample::family(1) };
    let rotation = Presented { request: sample::advance(1, 0), answer: Ok(Advanced::Rotated(moved.clone())), asked: 0, answered: 1 };
    assert!(invariants::g1_one_live_leaf(&[rotation.clone(), rotation.clone()], &moved).is_err());
    assert!(invariants::g1_one_live_leaf(&[rotation], &moved).is_ok());
}

#[tokio::test]
async fn r4_fails_on_answers_before_the_disk_and_holds_without_them() {
    for (bug, holds) in [(Bug::AnswersBeforeTheDisk, false), (Bug::None, true)] {
        let families = Broken::with(bug);
        families.create(&sample::family(1)).await.unwrap();
        let kept = families.read(sample::id(1), sample::START).await.unwrap().into_iter().map(|family| (family.id, family)).collect();
        assert_eq!(invariants::r4_acknowledged_is_kept(&[sample::family(1)], &kept).is_ok(), holds, "{bug:?}");
    }
    // An older state is as bad as none.
    let kept = |family: &Family| HashMap::from([(family.id, family.clone())]);
    let live = Family { generation: Generation(3), ..sample::family(1) };
    let revoked = Family { state: keybound::domain::FamilyState::Revoked(RevokeReason::Reuse), ..live.clone() };
    let older = Family { generation: Generation(2), ..live.clone() };
    for (acknowledged, stored, holds) in
        [(&live, &live, true), (&live, &older, false), (&older, &live, true), (&revoked, &live, false), (&live, &revoked, true)]
    {
        assert_eq!(invariants::r4_acknowledged_is_kept(std::slice::from_ref(acknowledged), &kept(stored)).is_ok(), holds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r1_fails_on_contains_then_insert_and_holds_without_it() {
    let violation = races::one_proof_used_by_many(&BrokenLedger::with(LedgerBug::NotAtomic, 1_000), 1).await;
    assert_eq!(violation.expect_err("the bug is found").rule, "R1");
    assert_eq!(races::one_proof_used_by_many(&BrokenLedger::with(LedgerBug::None, 1_000), 1).await, Ok(()));
}

#[tokio::test]
async fn r1_fails_on_claims_that_are_forgotten_early_and_holds_without_it() {
    for (bug, holds) in [(LedgerBug::ForgetsEarly, false), (LedgerBug::None, true)] {
        let ledger = BrokenLedger::with(bug, 1_000);
        let claim = sample::claim(1, Duration::from_secs(60), EPOCH.id);
        let mut answers = Vec::new();
        for second in [0, 44, 46, 60] {
            answers.push(ledger.claim(&claim, sample::START.plus(Duration::from_secs(second))).await);
        }
        assert_eq!(invariants::r1_accepted_at_most_once(&answers).is_ok(), holds, "{bug:?}");
    }
}

#[tokio::test]
async fn r6_fails_on_a_ledger_that_makes_room_and_holds_on_ours() {
    let ours: Arc<dyn Ledger> = Arc::new(EmbeddedLedger::new(50, Duration::from_secs(80), EPOCH, &mut OsEntropy));
    let cases = [
        (BrokenLedger::with(LedgerBug::Evicts, 50), false),
        (BrokenLedger::with(LedgerBug::AcceptsWhenFull, 50), false),
        (BrokenLedger::with(LedgerBug::None, 50), true),
        (ours, true),
    ];
    for (ledger, holds) in cases {
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let mut answers = Vec::new();
            for number in 0..60 {
                answers.push(ledger.claim(&sample::claim(number, Duration::from_secs(60), EPOCH.id), sample::START).await);
            }
            rounds.push(answers);
        }
        assert_eq!(invariants::r6_accepted_is_recorded(&rounds[0], &rounds[1]).is_ok(), holds);
    }
}

/// The suite's races are run on the store itself as well; this one shows that the scenarios hold on it.
#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds_on_the_embedded_store() {
    for (number, scenario) in [CROWD_OF_ONE_TOKEN, LOST_ANSWERS, STRANGERS, REVOKED].into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let opened = open(directory.path());
        assert_eq!(scenario(opened.store.clone()).await, Ok(()), "scenario {number}");
    }
}
