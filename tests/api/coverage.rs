//! Every requirement in scope has a test that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The requirements of the sections in scope: RFC 9449 and what it stands on, the whole authorization server, and protected resources.
const REQUIREMENTS: &[(&str, &[&str])] = &[
    ("DPOP-4", &["01", "02"]),
    ("DPOP-4.1", &["01"]),
    ("DPOP-4.2", &["01", "02", "03", "04", "05", "06", "07", "08", "09"]),
    ("DPOP-4.3", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15"]),
    ("HTU", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"]),
    ("TOK", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10"]),
    ("META", &["5.1", "5.2"]),
    ("CNF", &["01", "02", "03", "04", "05", "06"]),
    ("NON", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14"]),
    ("SEC", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13"]),
    (
        "JOSE",
        &[
            "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20", "21",
            "22", "23",
        ],
    ),
    ("TEP", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13"]),
    ("REF", &["01", "02", "03", "04", "05", "06", "07"]),
    ("BCP", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14"]),
    ("JKT", &["01", "02", "03", "04", "05", "06", "07", "08", "09"]),
    ("PAR", &["01", "02", "03", "04", "05", "06"]),
    ("ISS", &["01", "02"]),
    ("PKCE", &["01"]),
    ("RAR", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10"]),
    ("FAPI-AS", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14"]),
    ("FAPI-AZ", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "14"]),
    ("FAPI-CR", &["01", "02", "03"]),
    ("PKJ", &["01", "02", "03", "04", "05", "06", "07", "08"]),
    ("RS", &["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13"]),
    ("INT", &["01", "02", "03", "04", "05", "06", "07", "08"]),
    ("REV", &["01", "02", "03", "04"]),
    ("MD", &["01", "02", "03"]),
    ("MTLS", &["01", "02"]),
    ("PIPE", &["1", "2", "3"]),
    ("TX", &["01", "02", "03", "04"]),
    ("AT", &["01", "02", "03", "04", "05"]),
    ("PRM", &["01", "02", "03", "04", "05"]),
    ("FAPI-RS", &["01", "02", "03", "04", "05"]),
    ("FAPI", &["N1"]),
];

/// The requirements that no test can hold yet, or ever, and why.
const WITHOUT_TEST: &[(&str, &str)] = &[
    ("FAPI-N1", "TLS is ended by the proxy in front"),
    ("MTLS-01", "access tokens are not bound to client certificates: there is no mutual TLS"),
    ("TOK-10", "access tokens are not bound to client certificates: there is no mutual TLS"),
    ("BCP-10", "a duty of the proxy in front; shipped configurations come later"),
    ("BCP-11", "a duty of whoever names clients and end users"),
    ("HTU-10", "a warning about one library, which is not used"),
    ("PRM-04", "there is no signed metadata"),
    ("SEC-09", "advice about lifetimes; the default of five minutes is held by `a_refresh_gives_a_bound_token`"),
];

/// The text of every Rust file that holds tests.
fn sources() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests"), root.join("proofs"), root.join("src")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("api/coverage.rs") {
                texts.push(fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
    texts
}

/// The requirement IDs named in the comments that stand directly before a test: before its attributes and its `fn` line.
fn named_by_tests(text: &str) -> Vec<String> {
    let mut named = Vec::new();
    let mut comment = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") {
            comment.push_str(line);
            comment.push('\n');
        } else if line.starts_with("fn ") || line.starts_with("async fn ") {
            named.extend(ids(&comment));
            comment.clear();
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    named
}

/// Every word of `text` that has the form of a requirement ID.
fn ids(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-' || letter == '.'));
    words.map(|word| word.trim_matches('.').to_owned()).filter(|word| word.contains('-')).collect()
}

#[test]
fn every_requirement_in_scope_has_a_test_that_names_it() {
    let mut tests: BTreeMap<String, usize> = BTreeMap::new();
    for text in sources() {
        for id in named_by_tests(&text) {
            *tests.entry(id).or_default() += 1;
        }
    }
    let all: BTreeSet<String> = REQUIREMENTS.iter().flat_map(|(group, ids)| ids.iter().map(move |id| format!("{group}-{id}"))).collect();
    let excused: BTreeSet<String> = WITHOUT_TEST.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert!(excused.is_subset(&all), "an excuse for no requirement");
    let stale: Vec<&String> = excused.iter().filter(|id| tests.contains_key(*id)).collect();
    assert!(stale.is_empty(), "excused, and named by a test all the same: {stale:?}");
    let missing: Vec<&String> = all.iter().filter(|id| !tests.contains_key(*id) && !excused.contains(*id)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    let held = all.iter().filter(|id| tests.contains_key(*id)).count();
    println!("{held} of {} requirements in scope are named by a test; {} are listed with a reason", all.len(), WITHOUT_TEST.len());
}
