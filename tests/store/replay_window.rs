//! R1 over time: whatever was accepted once is refused at every later instant, on a ledger whose clock is injected.

use std::sync::Arc;
use std::time::Duration;

use keybound::clock::OsEntropy;
use keybound::store::conformance::sample;
use keybound::store::embedded::EmbeddedLedger;
use keybound_proofs::{ClaimAnswer, Epoch, EpochId, Ledger, UnixTime};

/// Seconds on either side of the clock that the grid covers.
const GRID: i64 = 120;
const MAX_AGE: i64 = 60;
const SKEW: i64 = 10;
/// How far the clocks of nodes may differ.
const SPREAD: i64 = 1;

/// DESIGN section 4: accept iff `-max_age <= iat - now <= skew`.
fn acceptable(iat: i64, now: i64) -> bool {
    (-MAX_AGE..=SKEW).contains(&(iat - now))
}

/// DESIGN section 4: (the last instant at which this proof could be accepted) - now + clock spread + 1 s.
fn lifetime(iat: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(iat + MAX_AGE - now + SPREAD + 1).expect("an acceptable proof has a lifetime"))
}

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(sample::START.as_secs() + secs)
}

/// SEC-06, R1: each cell of the grid is (offset of `iat` from the first instant, first use, second use). For each `iat` one proof
/// is used at every second of the grid in turn: the first acceptable use is accepted and no other is, on a ledger that is also
/// used by others all the time, so that it forgets what it may.
#[tokio::test]
async fn a_proof_is_accepted_at_most_once_on_the_whole_grid() {
    let (mut cells, mut accepted_cells) = (0u64, 0u64);
    for first in -GRID..=GRID {
        let epoch = Epoch { id: EpochId::from_bytes([1; 16]), since: None };
        let longest = Duration::from_secs((MAX_AGE + SKEW + SPREAD + 1) as u64);
        let ledger = EmbeddedLedger::new(1_000_000, longest, epoch, &mut OsEntropy);
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let mut accepted = [false; 2 * GRID as usize + 1];
        for now in first..=GRID {
            for (proof, iat) in (-GRID..=GRID).enumerate() {
                if !acceptable(iat, now) {
                    continue;
                }
                cells += 1;
                let claim = sample::claim(proof as u64, lifetime(iat, now), epoch.id);
                let answer = ledger.claim(&claim, at(now)).await.expect("there is room");
                let expected = if accepted[proof] { ClaimAnswer::Seen } else { ClaimAnswer::First };
                assert_eq!(answer, expected, "iat {iat}, first use {first}, this use {now}");
                accepted_cells += u64::from(!accepted[proof]);
                accepted[proof] = true;
            }
        }
    }
    println!("{cells} acceptable uses on the grid, {accepted_cells} accepted");
    assert!(cells > 500_000 && accepted_cells > 20_000, "the grid was walked: {cells}, {accepted_cells}");
}

/// The clock of one node may run behind that of another by the spread.
#[tokio::test]
async fn a_clock_that_is_behind_by_the_spread_sees_the_claim_too() {
    let epoch = Epoch { id: EpochId::from_bytes([1; 16]), since: None };
    let ledger = EmbeddedLedger::new(1_000, Duration::from_secs(75), epoch, &mut OsEntropy);
    for iat in 0..300 {
        let first = sample::claim(iat as u64, lifetime(iat, iat), epoch.id);
        assert_eq!(ledger.claim(&first, at(iat)).await, Ok(ClaimAnswer::First));
        for later in [0, 1, MAX_AGE - 1, MAX_AGE] {
            if iat < MAX_AGE {
                continue;
            }
            // The proof of `later` seconds ago, by a clock that is one second behind.
            let old = iat - later;
            let again = sample::claim(old as u64, lifetime(old, iat), epoch.id);
            assert_eq!(ledger.claim(&again, at(iat - SPREAD)).await, Ok(ClaimAnswer::Seen), "iat {old} at {iat}");
        }
    }
}
