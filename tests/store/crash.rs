//! `kill -9` while the store writes: whatever was acknowledged is kept (R4, G1, G6).
//!
//! The process that is killed is this test binary itself, told by its environment to write until it dies.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use keybound::domain::{Advance, Advanced, Family, FamilyState, Generation, RevokeReason};
use keybound::store::conformance::invariants::r4_acknowledged_is_kept;
use keybound::store::conformance::sample::{self, START};
use keybound::store::{Families as _, StoreHealth as _};
use keybound_proofs::Ledger as _;

use crate::embedded::open;

const KILLS: u64 = 20;
/// Where the process to be killed finds its directory, and the number of its first family.
const DIRECTORY: &str = "KEYBOUND_TEST_CRASH_DIRECTORY";
const FIRST: &str = "KEYBOUND_TEST_CRASH_FIRST";

#[tokio::test]
async fn what_was_acknowledged_before_kill_9_is_there_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        acknowledged.extend(written_until_killed(directory.path(), kill << 32, 40 + usize::try_from(kill).unwrap() * 3));
        let opened = open(directory.path());
        assert_eq!(opened.store.check().await, Ok(()));
        let since = opened.ledger.epoch().unwrap().since;
        assert!(since.is_some(), "R5: whoever is killed has forgotten its claims");
        let mut kept = HashMap::new();
        for family in &acknowledged {
            if let Some(read) = opened.store.read(family.id, START).await.unwrap() {
                kept.insert(family.id, read);
            }
        }
        r4_acknowledged_is_kept(&acknowledged, &kept).unwrap_or_else(|violation| panic!("kill {kill}: {violation}"));
    }
    println!("{KILLS} kills, {} acknowledgements kept", acknowledged.len());
}

/// Runs the writer, kills it after `lines` acknowledgements, and tells all that it managed to acknowledge.
fn written_until_killed(directory: &Path, first: u64, lines: usize) -> Vec<Family> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writes_until_it_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).filter_map(|line| parse(&line));
    let mut acknowledged: Vec<Family> = output.by_ref().take(lines).collect();
    assert_eq!(acknowledged.len(), lines, "the writer ran until it was killed");
    child.kill().unwrap();
    acknowledged.extend(output);
    child.wait().unwrap();
    acknowledged
}

/// The process that is killed. Without its environment it has nothing to do.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let (Ok(directory), Ok(first)) = (std::env::var(DIRECTORY), std::env::var(FIRST)) else { return };
    let opened = open(directory.as_ref());
    for number in first.parse::<u64>().unwrap().. {
        opened.store.create(&sample::family(number)).await.unwrap();
        tell(number, 0, false);
        for generation in 0..3 {
            let request = Advance { now: START, ..sample::advance(number, generation) };
            assert!(matches!(opened.store.advance(&request).await, Ok(Advanced::Rotated(_))));
            tell(number, generation + 1, false);
        }
        opened.store.revoke(sample::id(number), RevokeReason::Requested, START).await.unwrap();
        tell(number, 3, true);
    }
}

fn tell(number: u64, generation: u32, revoked: bool) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "acknowledged {number} {generation} {revoked}").unwrap();
    out.flush().unwrap();
}

fn parse(line: &str) -> Option<Family> {
    // The test harness may have written to the same line before.
    let words: Vec<_> = line[line.find("acknowledged ")?..].split(' ').collect();
    let [_, number, generation, revoked] = words[..] else { return None };
    let state = if revoked.parse().ok()? { FamilyState::Revoked(RevokeReason::Requested) } else { FamilyState::Live };
    Some(Family { generation: Generation(generation.parse().ok()?), state, ..sample::family(number.parse().ok()?) })
}
