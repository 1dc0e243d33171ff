//! One primary, and everything that this node has to do with it: connections, what is known of the server, why it can't be used.
//!
//! Each primary has connections of its own, watched by themselves. That is the circuit breaker: a server that is lost or silent has
//! its connections retired after the first doubt that a look does not settle, requests to it fail at once from then on, and only the
//! keepers try it again, until one of them has found it fit. Requests to other primaries don't notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keybound_proofs::UnixTime;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::RedisOptions;
use super::keeper::{self, Pool};
use super::primary::{Address, Primary};
use super::remembered::ServerMemory;
use super::send::Way;
use super::server::Facts;
use super::strict::StrictLanes;
use super::wire::{Fault, Lane, Lanes, Missed, Request};
use super::{Shared, wire};
use crate::store::StoreError;

/// One primary.
pub(super) struct Shard {
    /// Tells it from all others that this store ever knew.
    pub(super) number: u64,
    /// Where it is, in a cluster.
    pub(super) address: Option<Address>,
    pub(super) primary: Primary,
    pub(super) lanes: Lanes,
    /// For writes that wait for replicas, where the configuration asks for that.
    pub(super) strict: Option<StrictLanes>,
    /// Why there is no connection, for those who ask.
    trouble: Mutex<Option<StoreError>>,
    /// Held while the epoch is being agreed on: one look at the server settles it for all who wait.
    pub(super) settling: tokio::sync::Mutex<()>,
    /// The server that had all that this node remembers last.
    pub(super) held_by: Mutex<Option<ServerMemory>>,
    /// The last look at which all its epoch records were read.
    pub(super) looked: Mutex<Option<(Facts, UnixTime)>>,
    retired: AtomicBool,
    keepers: Mutex<Vec<JoinHandle<()>>>,
}

impl Shard {
    /// No connection is made yet.
    pub(super) fn new(number: u64, primary: Primary, address: Option<Address>, options: &RedisOptions) -> Self {
        Self {
            number,
            address,
            primary,
            lanes: Lanes::new(options.connections),
            strict: (options.min_replicas > 0).then(|| StrictLanes::new(options.min_replicas, options.command_timeout)),
            trouble: Mutex::new(None),
            settling: tokio::sync::Mutex::new(()),
            held_by: Mutex::new(None),
            looked: Mutex::new(None),
            retired: AtomicBool::new(false),
            keepers: Mutex::new(Vec::new()),
        }
    }

    /// Lets the connections be kept, in the background of the calling Tokio runtime.
    pub(super) fn keep(self: &Arc<Self>, shared: &Arc<Shared>) {
        let shared_seats = (0..self.lanes.seats()).map(|seat| (Pool::Shared, seat));
        let strict_seats = self.strict.iter().flat_map(|strict| (0..strict.lanes.seats()).map(|seat| (Pool::Strict, seat)));
        let keep = |(pool, seat)| tokio::spawn(keeper::keep(Arc::clone(shared), Arc::clone(self), pool, seat));
        self.keepers.lock().extend(shared_seats.chain(strict_seats).map(keep));
    }

    /// Makes it unusable for good.
    pub(super) fn retire(&self, why: StoreError) {
        self.retired.store(true, Ordering::Release);
        self.abort();
        self.lanes.retire_all();
        self.strict.iter().for_each(|strict| strict.lanes.retire_all());
        *self.trouble.lock() = Some(why);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Ends the background tasks.
    pub(super) fn abort(&self) {
        self.keepers.lock().iter().for_each(JoinHandle::abort);
    }

    /// Sends `request` once: see [`Lanes::send_once`] and [`StrictLanes::send_once`].
    pub(super) async fn send_once(
        &self,
        way: Way<'_>,
        request: &Request<'_>,
        asking: bool,
        after: Option<&Lane>,
    ) -> Result<(Vec<redis::Value>, Lane), Missed> {
        match (way, &self.strict) {
            (Way::Durable { mark }, Some(strict)) => strict.send_once(request, asking, after.is_some(), mark).await,
            _ => self.lanes.send_once(request, asking, after).await,
        }
    }

    /// A fault in words; for want of a connection, why there is none.
    pub(super) fn explain(&self, fault: Fault) -> StoreError {
        if fault == wire::Fault::NoLane { self.trouble() } else { fault.into_store_error() }
    }

    /// Why there is no connection.
    pub(super) fn trouble(&self) -> StoreError {
        self.trouble.lock().clone().unwrap_or_else(|| Fault::NoLane.into_store_error())
    }

    /// Remembers why a connection can't be used; says so once, not at every try.
    pub(super) fn report(&self, trouble: StoreError) {
        let mut known = self.trouble.lock();
        if known.as_ref() != Some(&trouble) {
            tracing::warn!(reason = %trouble, "a connection to redis can't be used");
            *known = Some(trouble);
        }
    }

    /// A connection can be used.
    pub(super) fn recovered(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("redis is in use again");
        }
    }
}
