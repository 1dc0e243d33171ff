//! The embedded store against the conformance suite.

use std::path::Path;
use std::sync::Arc;

use keybound::clock::OsEntropy;
use keybound::store::conformance::{self, Backend, LedgerTime, sample};
use keybound::store::embedded::{self, Embedded, EmbeddedOptions};

pub(crate) fn open(path: &Path) -> Embedded {
    embedded::open(path, EmbeddedOptions::default(), sample::START, &mut OsEntropy).expect("the directory can be opened")
}

pub(crate) fn backend(opened: &Embedded) -> Backend {
    Backend {
        families: opened.store.clone(),
        clients: opened.store.clone(),
        ledger: opened.ledger.clone(),
        ledger_time: LedgerTime::Injected { longest: EmbeddedOptions::default().max_claim_life },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_conforms() {
    let directories = std::sync::Mutex::new(Vec::new());
    conformance::run(async || {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let opened = open(directory.path());
        directories.lock().unwrap().push(Arc::new(directory));
        backend(&opened)
    })
    .await;
}
