//! The Redis store against real servers, and against networks that lose what they carry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keybound::clock::{Clock, OsEntropy, SystemClock};
use keybound::store::redis::{RedisOptions, RedisStore};
use keybound::store::{StoreError, conformance};
use keybound_proofs::{Claim, ClaimAnswer, EpochId, Ledger, LedgerError, ReplayKey, UnixTime};
use keybound_testkit::redis::RedisServer;

mod cluster;
mod epoch;
mod faults;
mod figures;
mod fitness;
mod races;
mod remembered;
mod scripts;

/// Waits that a busy test machine does not exceed. Tests of the waits themselves use the defaults.
fn patient(url: impl Into<String>) -> RedisOptions {
    RedisOptions {
        connect_timeout: Duration::from_secs(10),
        command_timeout: Duration::from_secs(10),
        operation_timeout: Duration::from_secs(20),
        ..RedisOptions::new(url)
    }
}

async fn connect(options: RedisOptions) -> Result<Arc<RedisStore>, StoreError> {
    RedisStore::connect(options, Arc::new(SystemClock::new()), true, Box::new(OsEntropy)).await
}

/// A node on this server.
async fn node(server: &RedisServer) -> Arc<RedisStore> {
    connect(patient(server.url())).await.expect("a fit server")
}

fn now() -> UnixTime {
    SystemClock::new().now()
}

fn proof(number: u64) -> ReplayKey {
    let mut key = [0x3c; ReplayKey::LEN];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    ReplayKey::from_bytes(key)
}

fn claim_in(number: u64, epoch: EpochId) -> Claim {
    Claim { key: proof(number), ttl: Duration::from_secs(76), epoch }
}

/// Claims the sample proof under the epoch that the node knows.
async fn claim(store: &RedisStore, number: u64) -> Result<ClaimAnswer, LedgerError> {
    let epoch = store.epoch()?.id;
    store.claim(&claim_in(number, epoch), now()).await
}

/// Asks until the answer satisfies `good`; for states of a background task, which tells nobody when it changes them.
async fn until<T: std::fmt::Debug>(mut ask: impl AsyncFnMut() -> T, good: impl Fn(&T) -> bool) -> T {
    for _ in 0..1000 {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to that: {:?}", ask().await);
}

/// Asks until the answer is this one.
async fn comes_to<T: std::fmt::Debug + PartialEq>(ask: impl AsyncFnMut() -> T, wanted: T) {
    let _ = until(ask, |answer| *answer == wanted).await;
}

/// The suite that every store is held to, with the requests of one backend spread over nothing but this server. Each part gets a
/// database of its own by its prefix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_conforms() {
    let server = RedisServer::start(&[]).await;
    let made = AtomicU32::new(0);
    conformance::run(async || {
        let key_prefix = format!("part{}:", made.fetch_add(1, Ordering::Relaxed));
        let store = connect(RedisOptions { key_prefix, ..patient(server.url()) }).await.expect("a fit server");
        let (families, clients, ledger) = (Arc::clone(&store), Arc::clone(&store), store);
        conformance::Backend { families, clients, ledger, ledger_time: conformance::LedgerTime::Its }
    })
    .await;
}
