//! Replays and races: one proof is one request, one token is one transition, on both stores.

mod races;
mod rotation;
mod twins;

use keybound_testkit::{Service, Settings, Store};

async fn start(store: Store) -> Service {
    start_with(store, Settings::default()).await
}

async fn start_with(store: Store, settings: Settings) -> Service {
    Service::start(env!("CARGO_BIN_EXE_keybound"), store, settings).await
}
