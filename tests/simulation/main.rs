//! Keybound on simulated Redis servers, in simulated time: everything that happens follows from one number.
//!
//! `tests/simulate` runs many seeds; here are a few of them, and the bugs that must be found.

#![expect(clippy::disallowed_methods, reason = "time is simulated here")]

mod bugs;
mod dice;
mod differential;
mod redis;
mod world;

use bugs::Bug;
use world::Outcome;

/// The seeds to run: `KEYBOUND_SEEDS` of them from `KEYBOUND_FIRST_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let first = number("KEYBOUND_FIRST_SEED", 1);
    first..first + number("KEYBOUND_SEEDS", 25)
}

/// R1, R3, R4, R5, G2, G4, G5, G6, L1 through failovers, partitions, lost answers, restarts and clocks that step.
#[test]
fn nothing_is_lost_and_nothing_replayed() {
    let mut sum = Outcome::default();
    let seeds = seeds();
    for seed in seeds.clone() {
        let outcome = world::run(seed, None);
        if let [first, ..] = outcome.violations.as_slice() {
            panic!("seed {seed}: {first}; alone: KEYBOUND_FIRST_SEED={seed} KEYBOUND_SEEDS=1");
        }
        sum.refreshes += outcome.refreshes;
        sum.replays += outcome.replays;
        sum.failovers += outcome.failovers;
        if (seed + 1 - seeds.start).is_multiple_of(1000) {
            println!("{} seeds: {} refreshes, {} replays, {} failovers", seed + 1 - seeds.start, sum.refreshes, sum.replays, sum.failovers);
        }
    }
    println!(
        "{} seeds from {}: {} refreshes, {} replays and thefts, {} failovers, no violation",
        seeds.end - seeds.start,
        seeds.start,
        sum.refreshes,
        sum.replays,
        sum.failovers
    );
    assert!(sum.refreshes > seeds.end - seeds.start && sum.replays > 0 && sum.failovers > 0, "nothing happened: {sum:?}");
}

#[test]
fn one_seed_is_one_story() {
    for seed in 1..=3 {
        assert_eq!(world::run(seed, None), world::run(seed, None), "seed {seed}");
    }
    assert_ne!(world::run(1, None).trace, world::run(2, None).trace);
}

/// A check that never failed proves nothing.
#[test]
fn every_bug_is_found_by_name() {
    for (bug, rules, known) in Bug::ALL {
        let found = std::iter::once(known).chain(1..=100).find_map(|seed| {
            let violations = world::run(seed, Some(bug)).violations;
            violations.into_iter().find(|violation| rules.contains(&violation.rule)).map(|violation| (seed, violation))
        });
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: seed {seed}: {violation}");
    }
}
