//! What every store of short-lived records must do.

use std::sync::Arc;
use std::time::Duration;

use keybound_proofs::UnixTime;

use crate::store::{EphemeralKind, EphemeralName, Ephemerals, Swapped};

/// Runs the suite. `handle` must be new to the store.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn run(store: Arc<dyn Ephemerals>, handle: &str, now: UnixTime) {
    let name = EphemeralName::of(EphemeralKind::Code, handle);
    let other_kind = EphemeralName::of(EphemeralKind::Interaction, handle);
    let ttl = Duration::from_secs(60);
    assert_eq!(store.peek(&name, now).await, Ok(None));
    assert_eq!(store.swap(&name, b"a", b"b", ttl, now).await, Ok(Swapped::Gone));
    store.keep(&name, b"a", ttl, now).await.expect("the record is kept");
    assert_eq!(store.peek(&name, now).await, Ok(Some(b"a".to_vec())));
    assert_eq!(store.peek(&other_kind, now).await, Ok(None), "the kinds are apart");
    assert_eq!(store.swap(&name, b"x", b"b", ttl, now).await, Ok(Swapped::Other(b"a".to_vec())));
    assert_eq!(store.swap(&name, b"a", b"b", ttl, now).await, Ok(Swapped::Done));
    assert_eq!(store.swap(&name, b"a", b"c", ttl, now).await, Ok(Swapped::Other(b"b".to_vec())));
    assert_eq!(store.peek(&name, now).await, Ok(Some(b"b".to_vec())));
    one_of_many_swaps_wins(store, &format!("{handle}-race"), now).await;
}

async fn one_of_many_swaps_wins(store: Arc<dyn Ephemerals>, handle: &str, now: UnixTime) {
    let name = EphemeralName::of(EphemeralKind::Code, handle);
    let ttl = Duration::from_secs(60);
    store.keep(&name, b"unused", ttl, now).await.expect("the record is kept");
    let mut tasks = tokio::task::JoinSet::new();
    for attempt in 0_u8..64 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.swap(&name, b"unused", &[attempt], ttl, now).await });
    }
    let outcomes = tasks.join_all().await;
    let winners = outcomes.iter().filter(|outcome| **outcome == Ok(Swapped::Done)).count();
    assert_eq!(winners, 1);
}
