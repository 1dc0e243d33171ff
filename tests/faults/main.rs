//! Crashes, restarts and outages: nothing acknowledged is lost, nothing captured becomes good again.

mod capacity;
mod chaos;
mod cluster;
mod crashes;
mod failover;
mod nodes;
mod outages;
mod regions;
mod restarts;

use keybound_testkit::{Service, Settings, Store};

async fn start(store: Store) -> Service {
    start_with(store, Settings::default()).await
}

async fn start_with(store: Store, settings: Settings) -> Service {
    Service::start(env!("CARGO_BIN_EXE_keybound"), store, settings).await
}
