//! Writes that are acknowledged only when replicas have them (`durability = "strict"`).
//!
//! `WAIT` counts the replicas that have everything which its connection wrote before, and holds up whatever is sent behind it: so these
//! writes have connections of their own, each used by one request at a time. Every one of them ends with a write of its own, `kb:mark`:
//! a request that finds its work done already, because an earlier try was not confirmed, would otherwise have nothing to wait for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::{Mutex, MutexGuard};

use super::wire::{Fault, Lane, Lanes, Missed, Refused, Request};

/// The connections for such writes.
pub(super) struct StrictLanes {
    pub(super) lanes: Lanes,
    turns: Vec<Mutex<()>>,
    next: AtomicUsize,
    min_replicas: u32,
    /// How long replicas may take.
    wait: Duration,
}

impl StrictLanes {
    /// How many connections, and so how many such writes at a time, a node has.
    const SEATS: usize = 16;

    /// No connection is made yet.
    pub(super) fn new(min_replicas: u32, command_timeout: Duration) -> Self {
        Self {
            lanes: Lanes::new(Self::SEATS),
            turns: (0..Self::SEATS).map(|_| Mutex::new(())).collect(),
            next: AtomicUsize::new(0),
            min_replicas,
            // The answer must still be there before the connection counts as lost.
            wait: command_timeout.mul_f64(0.8),
        }
    }

    /// Sends `request`, once, and waits until enough replicas have what it wrote; `asking` as with [`Lanes::send_over`]. `mark` is in
    /// the slot of the request's key. A second try, after the outcome of the first was unknown, waits for a connection.
    ///
    /// # Errors
    /// [`Fault::Unconfirmed`] where too few replicas had it in time: it is carried out on the primary, and may be repeated.
    pub(super) async fn send_once(
        &self,
        request: &Request<'_>,
        asking: bool,
        second: bool,
        mark: &[u8],
    ) -> Result<(Vec<Value>, Lane), Missed> {
        let (_turn, lane) = if second { self.turn_later().await? } else { self.turn().await? };
        match self.send_over(&lane, request, asking, mark).await {
            Ok(value) => Ok((vec![value], lane)),
            Err(fault) => Err(Missed { fault, lane: Some(lane) }),
        }
    }

    /// A connection that nobody uses, or the turn on one that is used.
    async fn turn(&self) -> Result<(MutexGuard<'_, ()>, Lane), Fault> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut seats: Vec<usize> = (0..self.turns.len()).map(|step| (first + step) % self.turns.len()).collect();
        seats.retain(|seat| self.lanes.at(*seat).is_some());
        for seat in &seats {
            if let Ok(turn) = self.turns[*seat].try_lock()
                && let Some(lane) = self.lanes.at(*seat)
            {
                return Ok((turn, lane));
            }
        }
        let seat = *seats.first().ok_or(Fault::NoLane)?;
        let turn = self.turns[seat].lock().await;
        Ok((turn, self.lanes.at(seat).ok_or(Fault::NoLane)?))
    }

    /// The same, but where there is no connection it waits for one.
    async fn turn_later(&self) -> Result<(MutexGuard<'_, ()>, Lane), Fault> {
        self.lanes.some().await;
        self.turn().await
    }

    async fn send_over(&self, lane: &Lane, request: &Request<'_>, asking: bool, mark: &[u8]) -> Result<Value, Fault> {
        let by_digest = match request {
            Request::Command(cmd) => (*cmd).clone(),
            Request::Script { script, key, args } => script.by_digest(key, args),
            // Nothing that is sent here is more than one command.
            Request::Pipeline(_) => return Err(Fault::Refused(Refused::Other)),
        };
        match self.exchange(lane, by_digest, asking, mark).await {
            Err(Fault::Refused(Refused::NoScript)) => match request {
                Request::Script { script, key, args } => self.exchange(lane, script.by_source(key, args), asking, mark).await,
                _ => Err(Fault::Refused(Refused::NoScript)),
            },
            done => done,
        }
    }

    async fn exchange(&self, lane: &Lane, cmd: redis::Cmd, asking: bool, mark: &[u8]) -> Result<Value, Fault> {
        let mut commands = Pipeline::with_capacity(5);
        let mut marking = redis::cmd("SET");
        marking.arg(mark).arg("1").arg("PX").arg(60_000);
        for cmd in [cmd, marking] {
            if asking {
                commands.cmd("ASKING");
            }
            commands.add_command(cmd);
        }
        commands.cmd("WAIT").arg(self.min_replicas).arg(u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX));
        let mut answers = self.lanes.send_over(lane, &Request::Pipeline(&commands), false).await?;
        let replicas = answers.pop();
        let answer = answers.into_iter().nth(usize::from(asking)).ok_or(Fault::Lost)?;
        match replicas {
            Some(Value::Int(count)) if count >= i64::from(self.min_replicas) => Ok(answer),
            _ => Err(Fault::Unconfirmed),
        }
    }
}
