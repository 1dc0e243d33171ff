//! Keeps one connection: makes it, watches it, makes it anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shared;
use super::shard::Shard;
use super::wire::{Lane, Lanes};
use crate::store::StoreError;

/// How often a server that works is looked at.
const WATCH: Duration = Duration::from_secs(1);

/// A server that was lost is tried again after this, and after twice as long each time, up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// A server that is back is used again after this at the latest.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Which connections are meant.
#[derive(Clone, Copy)]
pub(super) enum Pool {
    /// Those that requests share.
    Shared,
    /// Those of writes that wait for replicas.
    Strict,
}

/// Keeps the connection on `seat` to this primary for as long as the store is open and the primary in use.
pub(super) async fn keep(shared: Arc<Shared>, shard: Arc<Shard>, pool: Pool, seat: usize) {
    let lanes = match (pool, &shard.strict) {
        (Pool::Shared, _) => &shard.lanes,
        (Pool::Strict, Some(strict)) => &strict.lanes,
        (Pool::Strict, None) => return,
    };
    let mut lane = lanes.at(seat);
    let mut pause = SHORTEST_PAUSE;
    while !shared.closed.load(Ordering::Acquire) && !shard.is_retired() {
        if let Some(lane) = lane.take() {
            let trouble = watch(&shared, &shard, lanes, &lane).await;
            lanes.retire(&lane);
            shard.report(trouble);
            shared.routes.want_map();
            pause = SHORTEST_PAUSE;
        }
        let fresh = match shared.establish(&shard, seat, false).await {
            Ok(fresh) => shared.confirm(&shard).await.map(|()| fresh),
            Err(trouble) => Err(trouble),
        };
        match fresh {
            Ok(fresh) => {
                lanes.publish(fresh.clone());
                shard.recovered();
                lane = Some(fresh);
            }
            Err(trouble) => {
                shard.report(trouble);
                shared.routes.want_map();
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Looks at the server every second, and at once where somebody doubts the connection; returns why it may not be used any more.
async fn watch(shared: &Shared, shard: &Shard, lanes: &Lanes, lane: &Lane) -> StoreError {
    loop {
        // Either way it is time to look: the result only tells which came first.
        let _ = timeout(WATCH, lanes.doubted(lane.seat)).await;
        if !lanes.holds(lane) {
            return StoreError::Unavailable("the connection to redis broke".to_owned());
        }
        if let Err(trouble) = shared.settle_epoch(shard, &lane.connection, false).await {
            return trouble;
        }
        if let Err(trouble) = shard.primary.confirm(lane.address.as_deref()).await {
            return trouble;
        }
    }
}
