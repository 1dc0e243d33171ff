//! What the documents show must be true.

use keybound::config::{Config, Flags};

use crate::support::repository_file;

const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/operators.md",
    "docs/clients.md",
    "docs/gateways.md",
    "docs/attack-suite.md",
];

#[test]
fn every_configuration_in_the_documents_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keybound.toml");
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = repository_file(document);
        for block in text.split("```toml\n").skip(1) {
            let (block, _) = block.split_once("```").unwrap();
            std::fs::write(&file, block).unwrap();
            Config::load(Some(&file), [], &Flags::default()).unwrap_or_else(|error| panic!("{document}: {error}\n{block}"));
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn every_file_that_a_document_links_to_exists() {
    for document in DOCUMENTS {
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let text = repository_file(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.starts_with("http") {
                continue;
            }
            assert!(here.parent().unwrap().join(path).exists(), "{document} links to {path}");
        }
    }
}

#[test]
fn every_configuration_key_that_a_document_names_exists() {
    let sections = ["listen", "management", "store", "keys", "dpop", "tokens", "limits", "log", "authorize", "interaction"];
    let mut seen = 0;
    for document in DOCUMENTS {
        let text = repository_file(document);
        for code in text.split('`').skip(1).step_by(2) {
            let key = code.split([' ', '=']).next().unwrap_or_default();
            if !key.split_once('.').is_some_and(|(section, name)| sections.contains(&section) && !name.contains(['.', '/'])) {
                continue;
            }
            let flags = Flags { set: vec![(key.to_owned(), String::new())] };
            let said = Config::load(None, [], &flags).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(!said.contains("unknown field"), "{document} names {key}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
