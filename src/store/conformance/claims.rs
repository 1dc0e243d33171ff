//! The replay ledger.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::{ClaimAnswer, EpochId, Ledger, LedgerError, UnixTime};

use super::sample::{START, claim};
use crate::store::ReplayLedger;

/// What holds for every ledger, whoever keeps the time.
///
/// # Panics
/// Where the ledger does anything else.
pub async fn run(ledger: &Arc<dyn Ledger>) {
    let epoch = ledger.epoch().expect("a ledger that was just opened has an epoch").id;
    assert_eq!(ledger.epoch().map(|epoch| epoch.id), Ok(epoch), "the epoch stays while nothing happens");

    let first = claim(1, Duration::from_secs(30), epoch);
    assert_eq!(ledger.claim(&first, START).await, Ok(ClaimAnswer::First), "an unused proof");
    assert_eq!(ledger.claim(&first, START).await, Ok(ClaimAnswer::Seen), "the same proof again");
    assert_eq!(ledger.claim(&claim(2, Duration::from_secs(30), epoch), START).await, Ok(ClaimAnswer::First), "another proof");
    assert_eq!(ledger.claim(&claim(1, Duration::from_secs(90), epoch), START).await, Ok(ClaimAnswer::Seen), "whatever its lifetime");

    let elsewhere = EpochId::from_bytes([0x77; EpochId::LEN]);
    assert_ne!(epoch, elsewhere);
    let stale = claim(3, Duration::from_secs(30), elsewhere);
    assert_eq!(ledger.claim(&stale, START).await, Err(LedgerError::EpochMoved), "a proof that was judged under another epoch");
    let current = claim(3, Duration::from_secs(30), epoch);
    assert_eq!(ledger.claim(&current, START).await, Ok(ClaimAnswer::First), "the refused claim left no trace");

    let shortest = claim(4, Duration::from_millis(1), epoch);
    assert_eq!(ledger.claim(&shortest, START).await, Ok(ClaimAnswer::First), "the shortest lifetime is one");

    for number in 100..1_100 {
        let one = claim(number, Duration::from_secs(30), epoch);
        assert_eq!(ledger.claim(&one, START).await, Ok(ClaimAnswer::First), "proof {number} is new");
    }
    for number in 100..1_100 {
        let one = claim(number, Duration::from_secs(30), epoch);
        assert_eq!(ledger.claim(&one, START).await, Ok(ClaimAnswer::Seen), "proof {number} is remembered");
    }
}

/// What holds for a ledger that also tells what was used.
///
/// # Panics
/// Where the ledger does anything else.
pub async fn recall(ledger: &dyn ReplayLedger) {
    let epoch = ledger.epoch().expect("a ledger that was just opened has an epoch").id;
    let one = claim(1, Duration::from_secs(30), epoch);
    for _ in 0..2 {
        assert_eq!(ledger.recall(&one, START).await, Ok(ClaimAnswer::First), "to look is not to use");
    }
    assert_eq!(ledger.claim(&one, START).await, Ok(ClaimAnswer::First), "and leaves no trace");
    assert_eq!(ledger.recall(&one, START).await, Ok(ClaimAnswer::Seen), "what was used is seen");
    assert_eq!(ledger.recall(&claim(2, Duration::from_secs(30), epoch), START).await, Ok(ClaimAnswer::First), "another proof was not");
    let stale = claim(1, Duration::from_secs(30), EpochId::from_bytes([0x77; EpochId::LEN]));
    assert_eq!(ledger.recall(&stale, START).await, Err(LedgerError::EpochMoved), "a proof that was judged under another epoch");
}

/// What holds for a ledger whose time is the `now` that it is given: nothing is forgotten before its time, and nothing is kept
/// forever. `longest` is the longest lifetime the ledger was made for.
///
/// # Panics
/// Where the ledger does anything else.
pub async fn run_with_injected_time(ledger: &Arc<dyn Ledger>, longest: Duration) {
    let epoch = ledger.epoch().expect("a ledger that was just opened has an epoch").id;
    let (mut now, millisecond) = (START, Duration::from_millis(1));
    for (number, ttl) in [millisecond, Duration::from_secs(1), longest / 2, longest, longest * 3].into_iter().enumerate() {
        let one = claim(number as u64, ttl, epoch);
        assert_eq!(ledger.claim(&one, now).await, Ok(ClaimAnswer::First), "{ttl:?}: an unused proof");
        let end = now.plus(ttl);
        for later in [now, end.minus(millisecond), end] {
            disturb(ledger, epoch, later).await;
            assert_eq!(ledger.claim(&one, later).await, Ok(ClaimAnswer::Seen), "{ttl:?}: remembered until its time is over");
        }
        now = end.plus(longest);
        disturb(ledger, epoch, now).await;
        assert_eq!(ledger.claim(&one, now).await, Ok(ClaimAnswer::First), "{ttl:?}: forgotten in the end");
        now = now.plus(longest * 10);
    }
}

/// Uses another proof, so that the ledger has occasion to forget.
async fn disturb(ledger: &Arc<dyn Ledger>, epoch: EpochId, now: UnixTime) {
    let other = claim(1_000_000 + now.as_millis().unsigned_abs(), Duration::from_secs(1), epoch);
    ledger.claim(&other, now).await.expect("another proof can be claimed");
}
