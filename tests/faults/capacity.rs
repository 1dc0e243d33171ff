//! A ledger that is full.

use std::time::Duration;

use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Client, Connection, Key, Settings, Store};

use crate::start_with;

/// SEC-05, SEC-08: a full ledger refuses with 503, forgets nothing, and recovers (R6).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_ledger_refuses_and_recovers() {
    let settings = Settings::default().with("store.ledger_capacity", 64).with("dpop.proof_max_age_s", 5).with("dpop.clock_skew_s", 1);
    let service = start_with(Store::Embedded, settings).await;
    let session = service.session("spa").await;
    let (client, key) = (Client::known("web"), Key::es256());
    let mut connection = Connection::new(service.public);
    let mut accepted = Vec::new();
    let mut refused = 0;
    for _ in 0..200 {
        let call = client.credentials_call(&key, service.issuer());
        let answer = call.send_on(&mut connection).await.expect("an answer");
        if answer.status() == 200 {
            accepted.push(call);
        } else {
            answer.refused(503, "temporarily_unavailable");
            assert!(answer.response.header("Retry-After").is_some(), "{}", answer.response);
            refused += 1;
        }
    }
    assert!(refused > 0, "{} accepted with room for 64", accepted.len());
    assert!(!accepted.is_empty() && accepted.len() <= 64, "{} accepted with room for 64", accepted.len());
    for call in &accepted {
        let status = call.send_on(&mut connection).await.expect("an answer").status();
        assert!(matches!(status, 400 | 503), "a used proof was accepted again at capacity: {status}");
    }
    let watch = Stopwatch::start();
    loop {
        let answer = session.refresh().send(&service).await;
        if answer.status() == 200 {
            break;
        }
        answer.refused(503, "temporarily_unavailable");
        assert!(watch.elapsed() < Duration::from_secs(30), "never recovers");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
