//! Connections that have done the handshake, and how a request travels over them.
//!
//! The connections are our own, not a connection manager's: one that reconnects by itself would use a server that nobody has
//! looked at. A [`Lane`] is published only after the server behind it was found fit and its epoch agreed on.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::primary::Address;
use super::script::Script;
use crate::store::StoreError;

/// One connection that may be used.
#[derive(Clone)]
pub(super) struct Lane {
    /// Which of the lanes it is.
    pub(super) seat: usize,
    /// Tells it from its predecessors on the same seat.
    pub(super) serial: u64,
    pub(super) connection: MultiplexedConnection,
    /// Where sentinels said that the server is, where there are any.
    pub(super) address: Option<Arc<Address>>,
}

/// What is sent. Everything that is sent may be sent twice: see [`Lanes::send`].
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script { script: &'static Script, key: &'a [u8], args: &'a [&'a [u8]] },
}

/// The answers, one for each command.
pub(super) struct Answer {
    pub(super) values: Vec<Value>,
    /// The request was sent a second time after the outcome of the first was unknown: the first may have been carried out.
    pub(super) again: bool,
    /// Where it came from.
    pub(super) lane: Lane,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// No connection is fit for use: nothing was sent.
    NoLane,
    /// The connection broke or no answer came in time: the request may or may not have been carried out.
    Lost,
    /// It was carried out, and too few replicas had it in time.
    Unconfirmed,
    /// The server refused.
    Refused(Refused),
}

/// How the server refused. Its own words are not kept: they may name a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// `OOM`: `maxmemory` is reached.
    OutOfMemory,
    /// `READONLY` and its like: it is not, or not any more, the primary.
    NotPrimary,
    /// `LOADING`, `BUSY`, `TRYAGAIN`, `MISCONF`, `NOREPLICAS`: it can't at the moment.
    NotNow(&'static str),
    /// `NOPERM`, `NOAUTH`: the user may not.
    Denied,
    /// `WRONGTYPE`: a key of ours holds something else.
    WrongType,
    /// `NOSCRIPT`: it does not know the script.
    NoScript,
    /// Anything else.
    Other,
}

/// All connections of a store.
pub(super) struct Lanes {
    table: watch::Sender<Vec<Option<Lane>>>,
    doubts: Vec<Notify>,
    whole_operation: Duration,
}

impl Lanes {
    /// `seats` connections, none of them made yet.
    pub(super) fn new(seats: usize, whole_operation: Duration) -> Self {
        let doubts = (0..seats).map(|_| Notify::new()).collect();
        Self { table: watch::Sender::new(vec![None; seats]), doubts, whole_operation }
    }

    /// How many connections there should be.
    pub(super) fn seats(&self) -> usize {
        self.doubts.len()
    }

    /// Lets `lane` be used.
    pub(super) fn publish(&self, lane: Lane) {
        self.table.send_modify(|table| {
            let seat = lane.seat;
            table[seat] = Some(lane);
        });
    }

    /// Lets nobody begin to use `lane` any more. Requests under way on it end by themselves.
    pub(super) fn retire(&self, lane: &Lane) {
        let gone = self.table.send_if_modified(|table| {
            let seat = &mut table[lane.seat];
            let same = seat.as_ref().is_some_and(|present| present.serial == lane.serial);
            if same {
                *seat = None;
            }
            same
        });
        if gone {
            self.doubts[lane.seat].notify_one();
        }
    }

    /// Retires all of them.
    pub(super) fn retire_all(&self) {
        self.table.send_modify(|table| table.fill(None));
    }

    /// Whether `lane` is still in use.
    pub(super) fn holds(&self, lane: &Lane) -> bool {
        self.at(lane.seat).is_some_and(|present| present.serial == lane.serial)
    }

    /// The connection on `seat`.
    pub(super) fn at(&self, seat: usize) -> Option<Lane> {
        self.table.borrow()[seat].clone()
    }

    /// Whether any connection may be used.
    pub(super) fn any(&self) -> bool {
        self.table.borrow().iter().any(Option::is_some)
    }

    /// The connection of the calling thread, or another one where that one is down.
    ///
    /// One thread keeps to one connection, so that what a request sends at one time travels together.
    pub(super) fn mine(&self) -> Option<Lane> {
        let table = self.table.borrow();
        let first = thread_number() % table.len();
        (0..table.len()).find_map(|step| table[(first + step) % table.len()].clone())
    }

    /// Waits until any connection may be used.
    pub(super) async fn some(&self) {
        let mut table = self.table.subscribe();
        // The sender lives as long as `self`.
        let _there = table.wait_for(|table| table.iter().any(Option::is_some)).await.is_ok();
    }

    /// Waits until somebody doubts the connection on `seat`.
    pub(super) async fn doubted(&self, seat: usize) {
        self.doubts[seat].notified().await;
    }

    /// Sends `request`; where its outcome is unknown, sends it once more over another connection or a new one.
    ///
    /// So a request must be one that can be carried out twice. In all, this takes no longer than the time allowed for a whole
    /// operation; without any connection it fails at once.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, Fault> {
        let work = async {
            let lane = self.mine().ok_or(Fault::NoLane)?;
            match self.send_over(&lane, &request).await {
                Err(Fault::Lost) => {}
                done => return Ok(Answer { values: done?, again: false, lane }),
            }
            let lane = self.another(&lane).await?;
            Ok(Answer { values: self.send_over(&lane, &request).await?, again: true, lane })
        };
        timeout(self.whole_operation, work).await.unwrap_or(Err(Fault::Lost))
    }

    /// Sends `request` over `lane`, once.
    pub(super) async fn send_over(&self, lane: &Lane, request: &Request<'_>) -> Result<Vec<Value>, Fault> {
        let outcome = exchange(&lane.connection, request).await;
        match &outcome {
            Err(Trouble::Broken) | Err(Trouble::Refused(Refused::NotPrimary)) => self.retire(lane),
            Err(Trouble::Late) => self.doubts[lane.seat].notify_one(),
            Ok(_) | Err(Trouble::Refused(_)) => {}
        }
        outcome.map_err(|trouble| match trouble {
            Trouble::Broken | Trouble::Late => Fault::Lost,
            Trouble::Refused(refused) => Fault::Refused(refused),
        })
    }

    /// A connection other than `lane`: one that is there, `lane` itself where it is the only one and still up, or the first new one.
    async fn another(&self, lane: &Lane) -> Result<Lane, Fault> {
        let choose = |table: &[Option<Lane>]| {
            let others = table.iter().flatten().find(|other| other.seat != lane.seat || other.serial != lane.serial);
            others.or_else(|| table.iter().flatten().next()).cloned()
        };
        let mut table = self.table.subscribe();
        let present = table.wait_for(|table| choose(table).is_some()).await.map_err(|_| Fault::NoLane)?;
        choose(&present).ok_or(Fault::NoLane)
    }
}

enum Trouble {
    Broken,
    Late,
    Refused(Refused),
}

/// Sends `request` over `connection` outside of the table: for the handshake.
pub(super) async fn ask(connection: &MultiplexedConnection, request: &Request<'_>) -> Result<Vec<Value>, Fault> {
    exchange(connection, request).await.map_err(|trouble| match trouble {
        Trouble::Broken | Trouble::Late => Fault::Lost,
        Trouble::Refused(refused) => Fault::Refused(refused),
    })
}

async fn exchange(connection: &MultiplexedConnection, request: &Request<'_>) -> Result<Vec<Value>, Trouble> {
    let mut connection = connection.clone();
    match request {
        Request::Command(cmd) => one(connection.send_packed_command(cmd).await),
        Request::Pipeline(pipeline) => {
            let values = connection.send_packed_commands(pipeline, 0, pipeline.len()).await.map_err(Trouble::of)?;
            if values.len() != pipeline.len() {
                return Err(Trouble::Broken);
            }
            values.into_iter().map(accepted).collect()
        }
        Request::Script { script, key, args } => match one(connection.send_packed_command(&script.by_digest(key, args)).await) {
            Err(Trouble::Refused(Refused::NoScript)) => one(connection.send_packed_command(&script.by_source(key, args)).await),
            done => done,
        },
    }
}

fn one(answer: redis::RedisResult<Value>) -> Result<Vec<Value>, Trouble> {
    Ok(vec![accepted(answer.map_err(Trouble::of)?)?])
}

fn accepted(value: Value) -> Result<Value, Trouble> {
    match value {
        Value::ServerError(error) => Err(Trouble::Refused(Refused::of(&error))),
        value => Ok(value),
    }
}

impl Trouble {
    /// An error of the connection itself; what the server says arrives as a value.
    fn of(error: redis::RedisError) -> Self {
        if error.is_timeout() { Self::Late } else { Self::Broken }
    }
}

impl Refused {
    fn of(error: &redis::ServerError) -> Self {
        match error.kind() {
            Some(ServerErrorKind::NoScript) => return Self::NoScript,
            Some(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => return Self::NotPrimary,
            Some(ServerErrorKind::NoPerm) => return Self::Denied,
            Some(ServerErrorKind::BusyLoading) => return Self::NotNow("it is loading its data"),
            _ => {}
        }
        match error.code() {
            "OOM" => Self::OutOfMemory,
            "NOAUTH" | "WRONGPASS" => Self::Denied,
            "WRONGTYPE" => Self::WrongType,
            "BUSY" => Self::NotNow("it is busy with a script"),
            "MISCONF" => Self::NotNow("it can't write its snapshot and refuses writes"),
            "NOREPLICAS" => Self::NotNow("it has too few replicas and refuses writes"),
            "TRYAGAIN" | "CLUSTERDOWN" | "UNKILLABLE" => Self::NotNow("it asks to try again"),
            _ => Self::Other,
        }
    }
}

impl Fault {
    /// What the caller of a store is told.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::NoLane => unavailable("there is no connection to redis"),
            Self::Lost => unavailable("redis did not answer in time, or the connection broke"),
            Self::Unconfirmed => unavailable("too few replicas confirmed the write in time; it may be repeated"),
            Self::Refused(refused) => refused.into_store_error(),
        }
    }
}

impl Refused {
    fn into_store_error(self) -> StoreError {
        match self {
            Self::OutOfMemory => unavailable("redis has reached its maxmemory and refuses writes"),
            Self::NotPrimary => unavailable("redis is not the primary any more"),
            Self::NotNow(why) => StoreError::Unavailable(format!("redis: {why}")),
            Self::Denied => {
                StoreError::Unfit("redis: this user may not do what the store needs; see the documentation for the ACL".to_owned())
            }
            Self::WrongType => StoreError::Unreadable("a redis key of this store holds another type".to_owned()),
            Self::NoScript => unavailable("redis forgets its scripts"),
            Self::Other => unavailable("redis refused the command"),
        }
    }
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(what.to_owned())
}

/// Numbers the threads as they first ask.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    MINE.with(|mine| {
        mine.get().unwrap_or_else(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            mine.set(Some(number));
            number
        })
    })
}
