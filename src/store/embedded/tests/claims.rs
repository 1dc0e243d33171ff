//! The ledger: capacity, memory, and a clock that goes astray.

use std::time::Duration;

use keybound_proofs::{Claim, ClaimAnswer, Epoch, EpochId, Ledger as _, LedgerError, UnixTime};

use super::Counting;
use crate::store::conformance::sample::{self, START};
use crate::store::embedded::EmbeddedLedger;

const LIFE: Duration = Duration::from_secs(80);

fn ledger(capacity: usize) -> EmbeddedLedger {
    EmbeddedLedger::new(capacity, LIFE, Epoch { id: EpochId::from_bytes([1; 16]), since: None }, &mut Counting(0))
}

fn after(secs: u64) -> UnixTime {
    START.plus(Duration::from_secs(secs))
}

fn claim(number: u64, ttl_s: u64, ledger: &EmbeddedLedger) -> Claim {
    sample::claim(number, Duration::from_secs(ttl_s), ledger.epoch().unwrap().id)
}

async fn claimed(ledger: &EmbeddedLedger, number: u64, ttl_s: u64, now: UnixTime) -> Result<ClaimAnswer, LedgerError> {
    ledger.claim(&claim(number, ttl_s, ledger), now).await
}

/// R6: at capacity -1/0/+1. Nothing live makes room, time does.
#[tokio::test]
async fn a_full_ledger_refuses_until_time_makes_room() {
    let ledger = ledger(3);
    for number in 0..3 {
        assert_eq!(claimed(&ledger, number, 10, START).await, Ok(ClaimAnswer::First));
    }
    assert_eq!(claimed(&ledger, 3, 10, START).await, Err(LedgerError::AtCapacity));
    for number in 0..3 {
        assert_eq!(claimed(&ledger, number, 10, START).await, Ok(ClaimAnswer::Seen), "a full ledger still knows its own");
    }
    assert_eq!(claimed(&ledger, 3, 10, after(10)).await, Err(LedgerError::AtCapacity), "not before the time is over");
    for number in 3..6 {
        assert_eq!(claimed(&ledger, number, 10, after(40)).await, Ok(ClaimAnswer::First), "all room is back");
    }
    assert_eq!(claimed(&ledger, 6, 10, after(40)).await, Err(LedgerError::AtCapacity));
    assert_eq!(ledger.usage().claims, 3);
}

/// DESIGN section 10: at most 64 bytes per live proof, in the steady state of a minute's proofs and at every fill.
#[tokio::test]
async fn a_live_proof_costs_at_most_64_bytes() {
    let ledger = ledger(10_000_000);
    let mut worst = 0.0f64;
    for second in 0..200u64 {
        for number in 0..5_000 {
            assert_eq!(claimed(&ledger, second * 5_000 + number, 80, after(second)).await, Ok(ClaimAnswer::First));
        }
        if second >= 40 {
            let live = 5_000 * (second + 1).min(80);
            worst = worst.max(ledger.usage().bytes as f64 / live as f64);
        }
    }
    println!("{worst:.1} bytes per live proof at worst");
    assert!(worst <= 64.0, "{worst} bytes per live proof");
}

/// R1: requests that read the clock one after the other and arrive the other way round.
#[tokio::test]
async fn a_trembling_clock_forgets_nothing_and_keeps_the_epoch() {
    let ledger = ledger(1_000);
    let epoch = ledger.epoch().unwrap();
    for tenth in 0..3_000u64 {
        let now = START.plus(Duration::from_millis(tenth * 100));
        let behind = now.minus(Duration::from_millis(900 * (tenth % 2)));
        assert_eq!(claimed(&ledger, tenth, 1, behind).await, Ok(ClaimAnswer::First));
        assert_eq!(claimed(&ledger, tenth, 1, now).await, Ok(ClaimAnswer::Seen));
        assert_eq!(claimed(&ledger, tenth, 1, behind.plus(Duration::from_secs(1))).await, Ok(ClaimAnswer::Seen));
    }
    assert_eq!(ledger.epoch().unwrap(), epoch);
}

/// R1, R5: the clock goes an hour ahead, claims are forgotten, and it comes back.
#[tokio::test]
async fn a_clock_that_comes_back_begins_an_epoch() {
    let ledger = ledger(1_000);
    let first = claim(1, 60, &ledger);
    assert_eq!(ledger.claim(&first, START).await, Ok(ClaimAnswer::First));
    assert_eq!(claimed(&ledger, 2, 60, after(3_600)).await, Ok(ClaimAnswer::First));
    assert_eq!(ledger.claim(&first, after(1)).await, Err(LedgerError::EpochMoved), "the first claim was forgotten");
    let epoch = ledger.epoch().unwrap();
    assert!(epoch.demands_nonce(after(60), Duration::from_secs(1)), "for as long as what was forgotten could be accepted");
    assert_eq!(claimed(&ledger, 3, 60, after(1)).await, Ok(ClaimAnswer::First), "the new epoch goes on");
    assert_eq!(claimed(&ledger, 3, 60, after(30)).await, Ok(ClaimAnswer::Seen));
    assert_eq!(claimed(&ledger, 2, 60, after(3_600)).await, Ok(ClaimAnswer::Seen), "what was not forgotten is known");
    assert_eq!(ledger.epoch().unwrap(), epoch, "one step back is one epoch");
}

/// A step back must not leave the ledger waiting for a far away time to clear up.
#[tokio::test]
async fn room_comes_back_after_a_step_back_too() {
    let ledger = ledger(3);
    assert_eq!(claimed(&ledger, 0, 1, after(10_000)).await, Ok(ClaimAnswer::First));
    assert_eq!(claimed(&ledger, 1, 1, START).await, Ok(ClaimAnswer::First));
    assert_eq!(claimed(&ledger, 2, 1, START).await, Ok(ClaimAnswer::First));
    assert_eq!(claimed(&ledger, 3, 1, START).await, Err(LedgerError::AtCapacity));
    assert_eq!(claimed(&ledger, 4, 1, after(20)).await, Ok(ClaimAnswer::First));
}

/// R5.
#[tokio::test]
async fn an_operator_moves_the_epoch_and_older_claims_are_refused() {
    let ledger = ledger(10);
    let (first, old) = (claim(1, 60, &ledger), ledger.epoch().unwrap());
    let new = ledger.move_epoch(after(5), &mut Counting(99));
    assert_ne!(old.id, new.id);
    assert_eq!((new.since, ledger.epoch()), (Some(after(5)), Ok(new)));
    assert_eq!(ledger.claim(&first, after(5)).await, Err(LedgerError::EpochMoved));
    assert_eq!(claimed(&ledger, 1, 60, after(5)).await, Ok(ClaimAnswer::First));
    let third = ledger.move_epoch(START, &mut Counting(7));
    assert_eq!(third.since, Some(after(5)), "a clock that went back shortens nothing");
}

#[tokio::test]
async fn extreme_times_and_lifetimes_are_survived() {
    let ledger = ledger(1_000);
    let times = [i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX].map(UnixTime::from_millis);
    for (number, now) in (0..).zip(times.into_iter().chain(times.into_iter().rev())) {
        for (offset, ttl) in [Duration::ZERO, Duration::MAX].into_iter().enumerate() {
            let number = number * 2 + offset as u64;
            let mut claim = claim(number, 1, &ledger);
            claim.ttl = ttl;
            while ledger.claim(&claim, now).await == Err(LedgerError::EpochMoved) {
                claim.epoch = ledger.epoch().unwrap().id;
            }
            assert_eq!(ledger.claim(&claim, now).await, Ok(ClaimAnswer::Seen));
        }
    }
}
