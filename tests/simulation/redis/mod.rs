//! Three simulated servers, what replicates between them, a sentinel, and the network to the nodes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keybound::store::redis::Dial;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisResult};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};

use crate::dice::Dice;
use resp::Reply;
use server::Server;

pub(crate) mod resp;
mod script;
pub(crate) mod server;

/// How many servers there are: a primary and two replicas.
pub(crate) const SERVERS: usize = 3;

/// Whether what one side sends reaches the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Open,
    /// Connections break, and none can be made.
    Cut,
    /// Nothing arrives, and nobody is told.
    Silent,
}

/// What a broken server does wrong, for simulations that have to notice it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faulty {
    /// `WAIT` tells of replicas that have nothing.
    pub(crate) wait_lies: bool,
    /// A failover keeps the identifiers of the old primary, and with them the epoch.
    pub(crate) failover_unseen: bool,
    /// What nodes put back is not taken.
    pub(crate) nothing_put_back: bool,
}

/// The servers and the network, shared by everything in a simulation.
#[derive(Clone)]
pub(crate) struct Pod {
    state: Arc<Mutex<State>>,
    started: Instant,
    base_ms: i64,
}

struct State {
    dice: Dice,
    faulty: Faulty,
    servers: Vec<Server>,
    /// Who runs.
    up: Vec<bool>,
    /// Changes when all connections to a server break.
    incarnation: Vec<u64>,
    /// By how many milliseconds the clock of a server is ahead.
    ahead_ms: Vec<i64>,
    /// Whom a replica follows, how much of the leader's log it has, and when it was last in touch.
    follows: Vec<Option<Follower>>,
    /// Whether replicas get anything at the moment.
    replicating: bool,
    elected: usize,
    config_epoch: u64,
    /// Of each node to each server, and to the sentinel behind them.
    links: Vec<Vec<Link>>,
    /// So many answers in a hundred are lost with their connection.
    lossy: u64,
    names: u64,
}

#[derive(Clone, Copy, Debug)]
struct Follower {
    leader: usize,
    applied: usize,
    seen_ms: i64,
}

impl Pod {
    /// All in order, for this many nodes.
    pub(crate) fn new(nodes: usize, base_ms: i64, faulty: Faulty, mut dice: Dice) -> Self {
        let servers = (0..SERVERS).map(|index| Server::new(index as u64 + 1, index == 0)).collect();
        let ahead_ms = (0..SERVERS).map(|_| i64::try_from(dice.below(1000)).expect("small") - 500).collect();
        let follow = |index| (index > 0).then_some(Follower { leader: 0, applied: 0, seen_ms: base_ms });
        let state = State {
            dice,
            faulty,
            servers,
            up: vec![true; SERVERS],
            incarnation: vec![0; SERVERS],
            ahead_ms,
            follows: (0..SERVERS).map(follow).collect(),
            replicating: true,
            elected: 0,
            config_epoch: 1,
            links: vec![vec![Link::Open; SERVERS + 1]; nodes],
            lossy: 0,
            names: 100,
        };
        Self { state: Arc::new(Mutex::new(state)), started: Instant::now(), base_ms }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the servers")
    }

    /// True time.
    pub(crate) fn now_ms(&self) -> i64 {
        self.base_ms + i64::try_from(self.started.elapsed().as_millis()).expect("a simulation is short")
    }

    /// Who is the primary as far as the sentinel knows.
    pub(crate) fn primary(&self) -> usize {
        self.lock().elected
    }

    pub(crate) fn set_link(&self, node: usize, server: usize, link: Link) {
        let mut state = self.lock();
        state.links[node][server] = link;
    }

    pub(crate) fn set_lossy(&self, percent: u64) {
        self.lock().lossy = percent;
    }

    pub(crate) fn set_replicating(&self, on: bool) {
        self.lock().replicating = on;
    }

    /// Sets the clock of a server.
    pub(crate) fn set_clock(&self, server: usize, ahead_ms: i64) {
        self.lock().ahead_ms[server] = ahead_ms;
    }

    /// Ends a server: its connections break.
    pub(crate) fn kill(&self, server: usize) {
        let mut state = self.lock();
        state.up[server] = false;
        state.incarnation[server] += 1;
    }

    /// Starts it again as what it was.
    pub(crate) fn restart(&self, server: usize, with_data: bool) {
        let mut state = self.lock();
        state.names += 1;
        let name = state.names;
        state.servers[server].restart(name, with_data);
        state.up[server] = true;
        let now_ms = self.now_ms();
        // Replicas take over what the primary has, be it nothing.
        for index in 0..SERVERS {
            if state.follows[index].is_some_and(|follower| follower.leader == server) {
                let primary = state.servers[server].clone();
                state.servers[index].copy_from(&primary);
                state.follows[index] = Some(Follower { leader: server, applied: 0, seen_ms: now_ms });
            }
        }
    }

    /// The sentinel makes the replica that has most of the old primary's data the new one.
    pub(crate) fn fail_over(&self) {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let old = state.elected;
        let candidate = (0..SERVERS).filter(|index| *index != old && state.up[*index]).max_by_key(|index| {
            let applied = state.follows[*index].map_or(0, |follower| follower.applied);
            (applied, SERVERS - index)
        });
        let Some(new) = candidate else { return };
        state.names += 1;
        let name = state.names;
        let identifiers = (state.servers[old].run_id.clone(), state.servers[old].replication_id.clone());
        let server = &mut state.servers[new];
        server.primary = true;
        server.log.clear();
        server.replication_id = format!("{:040x}", name.wrapping_mul(3));
        if state.faulty.failover_unseen {
            let server = &mut state.servers[new];
            (server.run_id, server.replication_id) = identifiers;
        }
        state.follows[new] = None;
        state.elected = new;
        state.config_epoch += 1;
        let primary = state.servers[new].clone();
        for index in 0..SERVERS {
            if index != new && index != old {
                state.servers[index].copy_from(&primary);
                state.follows[index] = Some(Follower { leader: new, applied: 0, seen_ms: now_ms });
            }
        }
    }

    /// A server that was the primary comes back and follows the new one; what only it had is gone.
    pub(crate) fn demote(&self, server: usize) {
        let now_ms = self.now_ms();
        let mut state = self.lock();
        if state.elected == server {
            return;
        }
        let leader = state.elected;
        let primary = state.servers[leader].clone();
        state.servers[server].copy_from(&primary);
        let applied = primary.log.len();
        state.follows[server] = Some(Follower { leader, applied, seen_ms: now_ms });
        state.up[server] = true;
        state.incarnation[server] += 1;
    }

    /// Cuts every connection to the primary, once.
    pub(crate) fn cut_connections(&self) {
        let mut state = self.lock();
        let elected = state.elected;
        state.incarnation[elected] += 1;
    }

    /// Lets replicas catch up, for as long as the simulation lasts.
    pub(crate) async fn replicate(self) {
        loop {
            let pause = self.lock().dice.millis(1, 20);
            sleep(pause).await;
            let now_ms = self.now_ms();
            let state = &mut *self.lock();
            if !state.replicating {
                continue;
            }
            for index in 0..SERVERS {
                let Some(mut follower) = state.follows[index] else { continue };
                if !state.up[index] || !state.up[follower.leader] {
                    continue;
                }
                let effects = state.servers[follower.leader].log[follower.applied..].to_vec();
                effects.iter().for_each(|effect| state.servers[index].apply(effect));
                follower.applied += effects.len();
                follower.seen_ms = now_ms;
                state.follows[index] = Some(follower);
            }
        }
    }

    /// How many replicas have all of a leader's log up to `position`.
    fn confirmations(&self, leader: usize, position: usize) -> usize {
        let state = self.lock();
        let has = |follower: &Follower| follower.leader == leader && follower.applied >= position;
        state.follows.iter().flatten().filter(|follower| has(follower)).count()
    }

    async fn answer(&self, server: usize, words: &[Vec<u8>]) -> Reply {
        let verb = words[0].to_ascii_uppercase();
        if verb == b"WAIT" {
            return self.wait(server, words).await;
        }
        let now_ms = self.now_ms();
        let mut state = self.lock();
        let writes = matches!(verb.as_slice(), b"SET" | b"DEL" | b"EVAL" | b"EVALSHA");
        if writes && !state.servers[server].primary {
            return Reply::Error("READONLY You can't write against a read only replica.");
        }
        // `min-replicas-to-write 1`, `min-replicas-max-lag 1`: a primary that was cut off from the others stops.
        let in_touch = |follower: &Follower| follower.leader == server && now_ms - follower.seen_ms <= 1000;
        if writes && !state.follows.iter().flatten().any(in_touch) {
            return Reply::Error("NOREPLICAS Not enough good replicas to write.");
        }
        let merging = words.len() == 6 && words[2] == b"1" && verb.starts_with(b"EVAL") && words[5].iter().all(u8::is_ascii_digit);
        if merging && state.faulty.nothing_put_back {
            return Reply::List(vec![Reply::Int(0)]);
        }
        let local_ms = now_ms + state.ahead_ms[server];
        state.servers[server].execute(words, local_ms)
    }

    async fn wait(&self, server: usize, words: &[Vec<u8>]) -> Reply {
        if self.lock().faulty.wait_lies {
            return Reply::Int(2);
        }
        let wanted = usize::try_from(script::decimal(&words[1])).expect("a number of replicas");
        let within = Duration::from_millis(u64::try_from(script::decimal(&words[2])).expect("a time"));
        let position = self.lock().servers[server].log.len();
        let enough = async {
            while self.confirmations(server, position) < wanted {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let _in_time = timeout(within, enough).await.is_ok();
        Reply::Int(i64::try_from(self.confirmations(server, position)).expect("small"))
    }

    fn sentinel(&self, words: &[Vec<u8>]) -> Reply {
        match words[0].to_ascii_uppercase().as_slice() {
            b"SENTINEL" => {
                let state = self.lock();
                let text = |text: String| Reply::Bytes(text.into_bytes());
                let pairs = [("ip", host(state.elected)), ("port", "6379".to_owned()), ("config-epoch", state.config_epoch.to_string())];
                Reply::List(pairs.into_iter().flat_map(|(name, value)| [text(name.to_owned()), text(value)]).collect())
            }
            _ => Reply::Ok,
        }
    }

    /// One connection of a node, to a server or, behind the last of them, the sentinel.
    async fn serve(self, node: usize, server: usize, mut stream: DuplexStream) {
        let incarnation = |state: &State| state.incarnation.get(server).copied();
        let mine = incarnation(&self.lock());
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 16 * 1024];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            }
            let latency = self.lock().dice.millis(0, 2);
            sleep(latency).await;
            while let Some(words) = resp::take_request(&mut bytes) {
                while self.lock().links[node][server] == Link::Silent {
                    sleep(Duration::from_millis(10)).await;
                }
                if self.broken(node, server, mine) {
                    return;
                }
                let reply = if server == SERVERS { self.sentinel(&words) } else { self.answer(server, &words).await };
                let lost = {
                    let mut state = self.lock();
                    let lossy = state.lossy;
                    server < SERVERS && state.dice.percent(lossy)
                };
                if lost || self.broken(node, server, mine) {
                    return;
                }
                let mut answer = Vec::new();
                reply.write(&mut answer);
                if self.lock().links[node][server] != Link::Silent && stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    }

    fn broken(&self, node: usize, server: usize, mine: Option<u64>) -> bool {
        let state = self.lock();
        let current = state.incarnation.get(server).copied();
        state.links[node][server] == Link::Cut || current != mine || state.up.get(server) == Some(&false)
    }
}

fn host(server: usize) -> String {
    format!("server{server}")
}

/// The network as one node sees it.
pub(crate) struct Wire {
    pub(crate) pod: Pod,
    pub(crate) node: usize,
}

#[async_trait]
impl Dial for Wire {
    async fn dial(&self, client: &Client, config: &AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
        let info = client.get_connection_info();
        let ConnectionAddr::Tcp(name, _) = info.addr() else { panic!("simulated servers have names") };
        let server = (0..SERVERS).find(|server| host(*server) == *name).unwrap_or(SERVERS);
        let latency = self.pod.lock().dice.millis(0, 2);
        sleep(latency).await;
        let (link, up) = {
            let state = self.pod.lock();
            (state.links[self.node][server], state.up.get(server) != Some(&false))
        };
        if link == Link::Silent {
            sleep(Duration::from_millis(300)).await;
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        if link == Link::Cut || !up {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        let (near, far) = duplex(1 << 20);
        tokio::spawn(self.pod.clone().serve(self.node, server, far));
        let (connection, driver) = MultiplexedConnection::new_with_config(info.redis_settings(), near, config.clone()).await?;
        tokio::spawn(driver);
        Ok(connection)
    }
}
