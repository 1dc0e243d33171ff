//! Connections that have done the handshake, and how a request travels over them.
//!
//! The connections are our own, not a connection manager's: one that reconnects by itself would use a server that nobody has
//! looked at. A [`Lane`] is published only after the server behind it was found fit and its epoch agreed on.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, watch};

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

/// What is sent. Everything that is sent may be sent twice: see [`super::send`].
pub(super) enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script { script: &'static Script, key: &'a [u8], args: &'a [&'a [u8]] },
}

/// A try that brought no answer, and the connection that it was made on, if it came to that.
pub(super) struct Missed {
    pub(super) fault: Fault,
    pub(super) lane: Option<Lane>,
}

impl From<Fault> for Missed {
    fn from(fault: Fault) -> Self {
        Self { fault, lane: None }
    }
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
    /// `READONLY`: it is not, or not any more, the primary.
    NotPrimary,
    /// `MASTERDOWN`: it is a replica that has lost its primary.
    MasterDown,
    /// `LOADING`: it is reading its data.
    Loading,
    /// `BUSY`, `UNKILLABLE`: a script keeps it busy.
    Busy,
    /// `MISCONF`: it can't write to its disk, and refuses writes.
    DiskTrouble,
    /// `NOREPLICAS`: it has fewer replicas than it wants, and refuses writes.
    TooFewReplicas,
    /// `MOVED`: another server of the cluster has the slot.
    Moved(Address),
    /// `ASK`: the slot is moving, and the key, if there is one, is at the other server already.
    Ask(Address),
    /// `TRYAGAIN`: the slot is moving, and the keys of the command are on both servers.
    TryAgain,
    /// `CLUSTERDOWN`: the cluster does not serve the slot.
    ClusterDown,
    /// `NOPERM`, `NOAUTH`: the user may not.
    Denied,
    /// `WRONGTYPE`: a key of ours holds something else.
    WrongType,
    /// `NOSCRIPT`: it does not know the script.
    NoScript,
    /// Anything else.
    Other,
}

/// All connections of one kind to one server.
pub(super) struct Lanes {
    table: watch::Sender<Vec<Option<Lane>>>,
    doubts: Vec<Notify>,
}

impl Lanes {
    /// `seats` connections, none of them made yet.
    pub(super) fn new(seats: usize) -> Self {
        let doubts = (0..seats).map(|_| Notify::new()).collect();
        Self { table: watch::Sender::new(vec![None; seats]), doubts }
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

    /// Has the connection on `seat` looked at.
    pub(super) fn doubt(&self, seat: usize) {
        self.doubts[seat].notify_one();
    }

    /// Waits until somebody doubts the connection on `seat`.
    pub(super) async fn doubted(&self, seat: usize) {
        self.doubts[seat].notified().await;
    }

    /// Sends `request` over a connection, once: the calling thread's; after a try that was lost on `after`, another one, and where
    /// there is none the first new one.
    pub(super) async fn send_once(&self, request: &Request<'_>, asking: bool, after: Option<&Lane>) -> Result<(Vec<Value>, Lane), Missed> {
        let lane = match after {
            None => self.mine().ok_or(Fault::NoLane)?,
            Some(lane) => self.another(lane).await?,
        };
        match self.send_over(&lane, request, asking).await {
            Ok(values) => Ok((values, lane)),
            Err(fault) => Err(Missed { fault, lane: Some(lane) }),
        }
    }

    /// Sends `request` over `lane`, once; `asking` where a server of a cluster is asked for a slot that is only moving to it.
    pub(super) async fn send_over(&self, lane: &Lane, request: &Request<'_>, asking: bool) -> Result<Vec<Value>, Fault> {
        let outcome = exchange(&lane.connection, request, asking).await;
        match &outcome {
            Err(Trouble::Broken) | Err(Trouble::Refused(Refused::NotPrimary | Refused::MasterDown)) => self.retire(lane),
            Err(Trouble::Late) => self.doubts[lane.seat].notify_one(),
            Ok(_) | Err(Trouble::Refused(_)) => {}
        }
        outcome.map_err(Trouble::into_fault)
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
    exchange(connection, request, false).await.map_err(Trouble::into_fault)
}

/// The same for commands of which the server may refuse some.
pub(super) async fn ask_each(connection: &MultiplexedConnection, pipeline: &Pipeline) -> Result<Vec<Result<Value, Refused>>, Fault> {
    if pipeline.is_empty() {
        return Ok(Vec::new());
    }
    let values = together(connection, pipeline).await.map_err(Trouble::into_fault)?;
    let each = |value| match value {
        Value::ServerError(error) => Err(Refused::of(&error)),
        value => Ok(value),
    };
    Ok(values.into_iter().map(each).collect())
}

async fn exchange(connection: &MultiplexedConnection, request: &Request<'_>, asking: bool) -> Result<Vec<Value>, Trouble> {
    match request {
        Request::Command(cmd) => Ok(vec![single(connection, cmd, asking).await?]),
        Request::Pipeline(pipeline) => together(connection, pipeline).await?.into_iter().map(accepted).collect(),
        Request::Script { script, key, args } => match single(connection, &script.by_digest(key, args), asking).await {
            Err(Trouble::Refused(Refused::NoScript)) => Ok(vec![single(connection, &script.by_source(key, args), asking).await?]),
            done => Ok(vec![done?]),
        },
    }
}

async fn single(connection: &MultiplexedConnection, cmd: &Cmd, asking: bool) -> Result<Value, Trouble> {
    if !asking {
        return accepted(connection.clone().send_packed_command(cmd).await.map_err(Trouble::of)?);
    }
    let mut both = Pipeline::with_capacity(2);
    both.cmd("ASKING");
    both.add_command(cmd.clone());
    accepted(together(connection, &both).await?.pop().ok_or(Trouble::Broken)?)
}

/// The answers to all commands, refusals among them.
async fn together(connection: &MultiplexedConnection, pipeline: &Pipeline) -> Result<Vec<Value>, Trouble> {
    let values = connection.clone().send_packed_commands(pipeline, 0, pipeline.len()).await.map_err(Trouble::of)?;
    if values.len() == pipeline.len() { Ok(values) } else { Err(Trouble::Broken) }
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

    fn into_fault(self) -> Fault {
        match self {
            Self::Broken | Self::Late => Fault::Lost,
            Self::Refused(refused) => Fault::Refused(refused),
        }
    }
}

impl Refused {
    fn of(error: &redis::ServerError) -> Self {
        match error.code() {
            "OOM" => Self::OutOfMemory,
            "READONLY" => Self::NotPrimary,
            "MASTERDOWN" => Self::MasterDown,
            "LOADING" => Self::Loading,
            "BUSY" | "UNKILLABLE" => Self::Busy,
            "MISCONF" => Self::DiskTrouble,
            "NOREPLICAS" => Self::TooFewReplicas,
            "MOVED" => place(error.details()).map_or(Self::Other, Self::Moved),
            "ASK" => place(error.details()).map_or(Self::Other, Self::Ask),
            "TRYAGAIN" => Self::TryAgain,
            "CLUSTERDOWN" => Self::ClusterDown,
            "NOPERM" | "NOAUTH" | "WRONGPASS" => Self::Denied,
            "WRONGTYPE" => Self::WrongType,
            "NOSCRIPT" => Self::NoScript,
            _ => Self::Other,
        }
    }
}

/// Where a redirection leads: `SLOT HOST:PORT`. The host may be empty: the one that was asked.
fn place(details: Option<&str>) -> Option<Address> {
    let (host, port) = details?.split_once(' ')?.1.rsplit_once(':')?;
    Some(Address(host.to_owned(), port.parse().ok()?))
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
            Self::MasterDown => unavailable("redis is a replica that has lost its primary"),
            Self::Loading => unavailable("redis: it is loading its data"),
            Self::Busy => unavailable("redis: it is busy with a script"),
            Self::DiskTrouble => unavailable("redis: it can't write its snapshot and refuses writes"),
            Self::TooFewReplicas => unavailable("redis: it has too few replicas and refuses writes"),
            Self::Moved(_) | Self::Ask(_) => unavailable("redis: its cluster does not say where the key is"),
            Self::TryAgain => unavailable("redis: it asks to try again"),
            Self::ClusterDown => unavailable("redis: its cluster does not serve this key"),
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(line: &str) -> Refused {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a value");
        let Value::ServerError(error) = value else { panic!("no error: {value:?}") };
        Refused::of(&error)
    }

    /// SEC-08: every refusal of a server is known by what it means.
    #[tokio::test]
    async fn every_refusal_has_a_type() {
        let there = |host: &str| Address(host.to_owned(), 6381);
        for (line, refused) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", Refused::OutOfMemory),
            ("READONLY You can't write against a read only replica.", Refused::NotPrimary),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Refused::MasterDown),
            ("LOADING Redis is loading the dataset in memory", Refused::Loading),
            ("BUSY Redis is busy running a script.", Refused::Busy),
            ("UNKILLABLE Sorry the script already executed write commands.", Refused::Busy),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", Refused::DiskTrouble),
            ("NOREPLICAS Not enough good replicas to write.", Refused::TooFewReplicas),
            ("MOVED 3999 127.0.0.1:6381", Refused::Moved(there("127.0.0.1"))),
            ("MOVED 3999 ::1:6381", Refused::Moved(there("::1"))),
            ("MOVED 3999 :6381", Refused::Moved(there(""))),
            ("ASK 3999 redis-2.example.test:6381", Refused::Ask(there("redis-2.example.test"))),
            ("ASK 3999", Refused::Other),
            ("MOVED 3999 host:port", Refused::Other),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Refused::TryAgain),
            ("CLUSTERDOWN The cluster is down", Refused::ClusterDown),
            ("NOPERM this user has no permissions", Refused::Denied),
            ("NOAUTH Authentication required.", Refused::Denied),
            ("WRONGPASS invalid username-password pair", Refused::Denied),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Refused::WrongType),
            ("NOSCRIPT No matching script. Please use EVAL.", Refused::NoScript),
            ("ERR something else", Refused::Other),
        ] {
            assert_eq!(refusal(line).await, refused, "{line}");
        }
    }

    /// SEC-08, A2: none of them is a success, and none repeats the server's words.
    #[test]
    fn no_refusal_says_where_a_key_is() {
        let there = Address("10.9.8.7".to_owned(), 6381);
        for refused in [Refused::Moved(there.clone()), Refused::Ask(there), Refused::TryAgain, Refused::ClusterDown, Refused::Loading] {
            let said = Fault::Refused(refused).into_store_error();
            assert!(matches!(&said, StoreError::Unavailable(why) if !why.contains("10.9.8.7")), "{said:?}");
        }
    }
}
