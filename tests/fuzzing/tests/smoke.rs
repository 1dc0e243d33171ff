//! Every target over the committed corpus and some thousands of changed copies of it, the same in every run, without any special build.
//! `tests/fuzz` does the same guided by coverage, for as long as wanted.

use std::path::{Path, PathBuf};

use keybound_fuzz::TARGETS;

/// Changed copies for each target.
const COPIES: usize = 4000;

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(corpus(name)).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit.max(1)
    }
}

/// Some changes: a bit, a byte, a run of bytes twice or not at all, a piece of another seed, a byte that parsers know.
fn changed(seed: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).expect("a byte"),
            2 => drop(bytes.drain(at..(at + dice.below(9)).min(bytes.len()))),
            3 => {
                let piece = bytes[at..(at + dice.below(17)).min(bytes.len())].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            4 if !other.is_empty() => {
                let from = dice.below(other.len());
                drop(bytes.splice(at..at, other[from..(from + dice.below(33)).min(other.len())].iter().copied()));
            }
            _ => bytes.insert(at, b"\"\\{}[]:,.%/?#@ \n\t\0-0e9"[dice.below(22)]),
        }
    }
    bytes
}

/// No input makes a target panic: every parser refuses or reads, and what it read holds against a second opinion.
#[test]
fn no_bytes_break_a_parser_or_the_path_of_a_proof() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        let mut dice = Dice(1);
        target(&[]);
        seeds.iter().for_each(|seed| target(seed));
        for _ in 0..COPIES {
            let (seed, other) = (&seeds[dice.below(seeds.len())], &seeds[dice.below(seeds.len())]);
            target(&changed(seed, other, &mut dice));
        }
    }
}

/// A directory for each target and none for anything else.
#[test]
fn every_corpus_belongs_to_a_target() {
    let mut found: Vec<String> = std::fs::read_dir(corpus(""))
        .expect("the corpus")
        .map(|entry| entry.expect("a directory").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    let mut known: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.sort();
    assert_eq!(found, known);
}
