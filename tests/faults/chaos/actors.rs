//! Clients, thieves and an administrator, who never rest.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keybound_testkit::time::Stopwatch;
use keybound_testkit::{Answer, Call, Connection, Key, Service, Session};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::faults::Dice;

/// Clients that refresh without pause.
const CLIENTS: u64 = 6;
/// Thieves that replay without pause.
const THIEVES: u64 = 2;
/// Requests that thieves hold: the latest, and some old ones.
const HELD: usize = 400;

/// Two nodes, and all who use them.
pub(super) struct World {
    shared: Arc<Shared>,
    actors: JoinSet<()>,
    ended: Vec<Session>,
}

struct Shared {
    nodes: Vec<Service>,
    over: AtomicBool,
    /// Requests that were answered with tokens: not one of them may ever be again.
    captured: Mutex<Vec<Call>>,
    /// The newest session of each client.
    newest: Vec<Mutex<Option<Session>>>,
    /// Refreshes of each client.
    refreshed: Vec<AtomicU64>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    unavailable: AtomicU64,
    challenged: AtomicU64,
    repeated: AtomicU64,
    replays: AtomicU64,
    strangers: AtomicU64,
    revoked: AtomicU64,
}

/// What happened in all.
pub(super) struct Told {
    refreshed: u64,
    counts: Arc<Shared>,
}

impl World {
    pub(super) async fn start(nodes: Vec<Service>, seed: u64) -> Self {
        let each = || (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared {
            nodes,
            over: AtomicBool::new(false),
            captured: Mutex::default(),
            newest: (0..CLIENTS).map(|_| Mutex::new(None)).collect(),
            refreshed: each(),
            counts: Counts::default(),
        });
        let mut actors = JoinSet::new();
        for number in 0..CLIENTS {
            let session = shared.nodes[0].session(if number.is_multiple_of(3) { "web" } else { "spa" }).await;
            actors.spawn(client(Arc::clone(&shared), number, session, Dice::new(seed ^ (number + 1) << 32)));
        }
        for number in 0..THIEVES {
            actors.spawn(thief(Arc::clone(&shared), Dice::new(seed ^ (number + 1) << 48)));
        }
        let mut world = Self { shared, actors, ended: Vec::new() };
        world.until_everybody_refreshed(Duration::from_secs(20)).await;
        world
    }

    /// Grants that [`World::end`] is to revoke.
    pub(super) async fn sessions_to_end(&self, count: usize) -> Vec<Session> {
        let mut sessions = Vec::new();
        let watch = Stopwatch::start();
        while sessions.len() < count {
            match self.shared.nodes[0].try_session_with("spa", Key::es256(), json!({})).await {
                Ok(session) => sessions.push(session),
                Err(answer) => {
                    assert_eq!(answer.status, 503, "{answer}");
                    assert!(watch.elapsed() < Duration::from_secs(20), "no grant is made any more");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        sessions
    }

    /// Revokes them while a fault goes on, as often as it takes to have it acknowledged.
    pub(super) async fn end(&mut self, sessions: Vec<Session>) {
        for session in sessions {
            let watch = Stopwatch::start();
            loop {
                let status = self.shared.nodes[1].revoke(&session.grant_id).await.status;
                // Not found: an earlier try was carried out, and the answer to it lost.
                if [204, 404].contains(&status) {
                    break;
                }
                assert_eq!(status, 503, "a revocation");
                assert!(watch.elapsed() < Duration::from_secs(60), "a revocation is never acknowledged");
                sleep(Duration::from_millis(50)).await;
            }
            self.shared.counts.revoked.fetch_add(1, Ordering::Relaxed);
            self.ended.push(session);
        }
    }

    /// Whoever was revoked stays so.
    pub(super) async fn check_ended(&self) {
        for session in self.ended.iter().rev().take(12) {
            let (watch, mut nonce) = (Stopwatch::start(), None);
            loop {
                let answer = signed(session, nonce.as_deref()).send(&self.shared.nodes[0]).await;
                nonce = answer.response.header("DPoP-Nonce").map(str::to_owned).or(nonce);
                if answer.response.status != 503 && !is_challenge(&answer) {
                    answer.invalid_grant();
                    break;
                }
                assert!(watch.elapsed() < Duration::from_secs(20), "no answer: {}", answer.response);
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until each client has begun and ended a refresh.
    pub(super) async fn until_everybody_refreshed(&mut self, within: Duration) {
        let shared = Arc::clone(&self.shared);
        let read = || -> Vec<u64> { shared.refreshed.iter().map(|count| count.load(Ordering::Relaxed)).collect() };
        let (watch, before) = (Stopwatch::start(), read());
        // Two: the first may have begun before.
        while !read().iter().zip(&before).all(|(now, before)| *now > before + 1) {
            assert!(watch.elapsed() < within, "clients are without their sessions {within:?} after the fault: {before:?}, {:?}", read());
            if let Some(ended) = self.actors.try_join_next() {
                assert!(ended.is_ok(), "somebody saw what may not be: see above");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) async fn stop(mut self) -> Told {
        self.shared.over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.actors.join_next().await {
            assert!(ended.is_ok(), "somebody saw what may not be: see above");
        }
        let refreshed = self.shared.refreshed.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        Told { refreshed, counts: self.shared }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { unavailable, challenged, repeated, replays, strangers, revoked } = &self.counts.counts;
        let [unavailable, challenged, repeated, replays, strangers, revoked] =
            [unavailable, challenged, repeated, replays, strangers, revoked].map(|count| count.load(Ordering::Relaxed));
        write!(
            f,
            "{} refreshes ({repeated} of them after a lost answer, {challenged} requests for a nonce, {unavailable} times 503), {replays} replays, \
             {strangers} uses by strangers, {revoked} revocations",
            self.refreshed
        )
    }
}

fn signed(session: &Session, nonce: Option<&str>) -> Call {
    match nonce {
        Some(nonce) => session.refresh().prove_with_nonce(&session.key, nonce),
        None => session.refresh(),
    }
}

fn is_challenge(answer: &Answer) -> bool {
    [400, 401].contains(&answer.response.status) && answer.response.json()["error"] == "use_dpop_nonce"
}

/// Refreshes at either node, crashes now and then before it has written down what it got, and comes again with what it had.
async fn client(shared: Arc<Shared>, number: u64, mut session: Session, mut dice: Dice) {
    let at = usize::try_from(number).expect("a small number");
    let mut connections: Vec<Connection> = shared.nodes.iter().map(Service::connect).collect();
    let mut successors: HashMap<String, String> = HashMap::new();
    let mut nonce: Option<String> = None;
    while !shared.over.load(Ordering::Relaxed) {
        let node = usize::from(dice.below(2) == 1);
        let call = signed(&session, nonce.as_deref());
        let answer = call.send_on(&mut connections[node]).await.expect("the nodes are up");
        if let Some(fresh) = answer.response.header("DPoP-Nonce") {
            nonce = Some(fresh.to_owned());
        }
        match answer.response.status {
            200 => {
                let tokens = answer.tokens();
                let successor = tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
                // G1, G3: one token has one successor, whichever node is asked and however often.
                match successors.insert(session.refresh_token.clone(), successor.clone()) {
                    Some(before) => {
                        assert_eq!(before, successor, "a session forked");
                        shared.counts.repeated.fetch_add(1, Ordering::Relaxed);
                    }
                    None if successors.len() > 1000 => successors = HashMap::from([(session.refresh_token.clone(), successor)]),
                    None => {}
                }
                shared.keep(call, &mut dice);
                shared.refreshed[at].fetch_add(1, Ordering::Relaxed);
                if dice.below(10) > 0 {
                    session.keep(&tokens);
                    *shared.newest[at].lock().expect("unpoisoned") = Some(session.clone());
                }
            }
            503 => {
                shared.counts.unavailable.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20 + dice.below(60))).await;
            }
            _ => {
                assert!(is_challenge(&answer), "an honest client got {}\n{}", answer.response, shared.log_of(node));
                shared.counts.challenged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Sends again what was answered before, and uses the newest tokens with a key of its own.
async fn thief(shared: Arc<Shared>, mut dice: Dice) {
    let key = Key::es256();
    let mut connections: Vec<Connection> = shared.nodes.iter().map(Service::connect).collect();
    while !shared.over.load(Ordering::Relaxed) {
        let node = usize::from(dice.below(2) == 1);
        let replay = dice.below(20) > 0;
        let Some(call) = (if replay { shared.captured(&mut dice) } else { shared.stolen(&key, &mut dice) }) else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let answer = call.send_on(&mut connections[node]).await.expect("the nodes are up");
        let count = if replay { &shared.counts.replays } else { &shared.counts.strangers };
        count.fetch_add(1, Ordering::Relaxed);
        // R1; G5 for those who have a token and not the key.
        assert!(answer.response.status >= 400, "a thief got in: {}\n{}", answer.response, shared.log_of(node));
        sleep(Duration::from_millis(dice.below(4))).await;
    }
}

impl Shared {
    /// The end of a node's log.
    fn log_of(&self, node: usize) -> String {
        let log = self.nodes[node].log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn keep(&self, call: Call, dice: &mut Dice) {
        let mut captured = self.captured.lock().expect("unpoisoned");
        if captured.len() < HELD {
            captured.push(call);
        } else {
            let place = usize::try_from(dice.below(HELD as u64)).expect("a small number");
            captured[place] = call;
        }
    }

    fn captured(&self, dice: &mut Dice) -> Option<Call> {
        let captured = self.captured.lock().expect("unpoisoned");
        let place = usize::try_from(dice.below(captured.len().max(1) as u64)).expect("a small number");
        captured.get(place).cloned()
    }

    fn stolen(&self, key: &Key, dice: &mut Dice) -> Option<Call> {
        let at = usize::try_from(dice.below(CLIENTS)).expect("a small number");
        let session = self.newest[at].lock().expect("unpoisoned").clone()?;
        // Grants of confidential clients are bound to their authentication, and any key will do.
        session.client.is_public().then(|| session.refresh().prove(key))
    }
}
