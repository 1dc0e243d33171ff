//! How a request finds the server that has its key, and what is tried where there is no answer.
//!
//! Everything that is sent may be sent twice: the one repetition, after an unknown outcome, carries the same attempt number or finds
//! its own work done. A redirection by a cluster is no repetition: the server that redirects has carried out nothing. Nothing is ever
//! read from a replica.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::{sleep, timeout};

use super::shard::Shard;
use super::wire::{Fault, Lane, Missed, Refused, Request};
use super::{Shared, odd_answer};
use crate::store::StoreError;

/// How often one request follows a redirection.
const HOPS: usize = 5;

/// Between two redirections of one request: the servers hear of each other's slots within milliseconds.
const HOP_PAUSE: Duration = Duration::from_millis(20);

/// What must be true before an answer counts.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The primary has carried it out.
    Plain,
    /// Replicas have it too, where the configuration asks for that; `mark` is a key in the slot of the request's.
    Durable { mark: &'a [u8] },
}

/// The answers, one for each command.
pub(super) struct Answer {
    pub(super) values: Vec<Value>,
    /// The request was sent a second time after the outcome of the first was unknown: the first may have been carried out.
    pub(super) again: bool,
    /// Who gave it, and over which connection.
    pub(super) shard: Arc<Shard>,
    pub(super) lane: Lane,
}

impl Shared {
    /// Sends `request` to the server that has `slot`; where its outcome is unknown, once more: over another connection or a new one, to
    /// whoever has the slot then. In all, this takes no longer than the time allowed for a whole operation; where no connection to
    /// that server is fit for use it fails at once.
    ///
    /// # Errors
    /// With the server that was to answer, if there is one. A pipeline whose slot is moving is not followed: its commands may have to
    /// go to different servers ([`Refused::Ask`]).
    pub(super) async fn deliver(&self, way: Way<'_>, slot: u16, request: &Request<'_>) -> Result<Answer, (Fault, Option<Arc<Shard>>)> {
        let mut shard = self.routes.owner(slot).ok_or((Fault::NoLane, None))?;
        let mut at = Arc::clone(&shard);
        let work = async {
            let (mut again, mut asking, mut hops) = (false, false, 0);
            let mut after: Option<Lane> = None;
            loop {
                let missed = match self.try_on(&shard, way, request, asking, after.as_ref()).await {
                    Ok((values, lane)) => return Ok(Answer { values, again, shard: Arc::clone(&shard), lane }),
                    Err(missed) => missed,
                };
                match missed.fault {
                    Fault::Lost if !again && missed.lane.is_some() => {
                        (again, asking, after) = (true, false, missed.lane);
                        shard = self.routes.owner(slot).ok_or(Fault::NoLane)?;
                    }
                    Fault::Refused(Refused::Moved(to)) if hops < HOPS => {
                        pause(&mut hops).await;
                        asking = false;
                        shard = self.moved(slot, to.or_host_of(shard.address.as_ref())).await.ok_or(Fault::NoLane)?;
                        reached(&shard, way).await?;
                    }
                    Fault::Refused(Refused::Ask(to)) if hops < HOPS && !matches!(request, Request::Pipeline(_)) => {
                        pause(&mut hops).await;
                        asking = true;
                        shard = self.guest(to.or_host_of(shard.address.as_ref())).ok_or(Fault::NoLane)?;
                        reached(&shard, way).await?;
                    }
                    fault => {
                        if matches!(fault, Fault::NoLane | Fault::Lost | Fault::Refused(Refused::ClusterDown | Refused::NotPrimary)) {
                            self.routes.want_map();
                        }
                        return Err(fault);
                    }
                }
                at = Arc::clone(&shard);
            }
        };
        let outcome = timeout(self.options.operation_timeout, work).await.unwrap_or(Err(Fault::Lost));
        outcome.map_err(|fault| (fault, Some(at)))
    }

    /// The same for a request that is meant for this server, whatever slots it has.
    pub(super) async fn deliver_to(&self, shard: &Arc<Shard>, way: Way<'_>, request: &Request<'_>) -> Result<Answer, StoreError> {
        let work = async {
            let (again, done) = match shard.send_once(way, request, false, None).await {
                Err(Missed { fault: Fault::Lost, lane: Some(lane) }) => (true, shard.send_once(way, request, false, Some(&lane)).await),
                done => (false, done),
            };
            let (values, lane) = done.map_err(|missed| missed.fault)?;
            Ok(Answer { values, again, shard: Arc::clone(shard), lane })
        };
        timeout(self.options.operation_timeout, work).await.unwrap_or(Err(Fault::Lost)).map_err(|fault| shard.explain(fault))
    }

    /// The one value of the answer, and whether the request was sent twice.
    pub(super) async fn value(&self, key: &[u8], request: Request<'_>) -> Result<(Value, bool), StoreError> {
        self.one(Way::Plain, self.names.slot(key), request).await
    }

    /// The same for a write that must outlive the primary, where the configuration asks for that.
    pub(super) async fn durable_value(&self, key: &[u8], request: Request<'_>) -> Result<(Value, bool), StoreError> {
        let slot = self.names.slot(key);
        if self.options.min_replicas == 0 {
            return self.one(Way::Plain, slot, request).await;
        }
        self.one(Way::Durable { mark: &self.names.mark(slot) }, slot, request).await
    }

    async fn one(&self, way: Way<'_>, slot: u16, request: Request<'_>) -> Result<(Value, bool), StoreError> {
        let mut answer = self.deliver(way, slot, &request).await.map_err(|(fault, shard)| match shard {
            Some(shard) => shard.explain(fault),
            None => fault.into_store_error(),
        })?;
        Ok((answer.values.pop().ok_or_else(odd_answer)?, answer.again))
    }

    async fn try_on(
        &self,
        shard: &Shard,
        way: Way<'_>,
        request: &Request<'_>,
        asking: bool,
        after: Option<&Lane>,
    ) -> Result<(Vec<Value>, Lane), Missed> {
        match way {
            // A mark of the usual name may still be on the server that the slot is leaving; one of the same name here would be in the
            // way when that one follows.
            Way::Durable { mark } if asking => {
                let mut own = mark.to_vec();
                own.extend(self.next_attempt().to_be_bytes());
                shard.send_once(Way::Durable { mark: &own }, request, asking, after).await
            }
            way => shard.send_once(way, request, asking, after).await,
        }
    }
}

/// Waits for a connection to a server that a redirection names: it may be a new one.
async fn reached(shard: &Shard, way: Way<'_>) -> Result<(), Fault> {
    match (way, &shard.strict) {
        (Way::Durable { .. }, Some(strict)) => strict.lanes.some().await,
        _ => shard.lanes.some().await,
    }
    if shard.is_retired() { Err(Fault::NoLane) } else { Ok(()) }
}

/// Before another redirection is followed.
async fn pause(hops: &mut usize) {
    if *hops > 0 {
        sleep(HOP_PAUSE).await;
    }
    *hops += 1;
}
