//! One simulation: nodes of the service on simulated servers, honest clients, a thief, an operator, and what goes wrong around them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use keybound::app::{self, Stores};
use keybound::clock::Clock;
use keybound::config::{Config, Flags};
use keybound::domain::{ClientId, FamilyId, Grant, RevokeReason, Scope};
use keybound::keys::Keys;
use keybound::secret::Secret;
use keybound::service::client_auth::Presented;
use keybound::service::grants::NewGrant;
use keybound::service::proof::PresentedProof;
use keybound::service::refresh::{Narrowing, RefreshRequest};
use keybound::service::{AuthorizationServer, TokenError};
use keybound::store::conformance::invariants::Violation;
use keybound::store::redis::{RedisOptions, RedisStore, SentinelOptions};
use keybound_proofs::{Alg, ProofKey, TargetUri, UnixTime};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bugs::{self, Bug};
use crate::dice::{Chance, Dice};
use crate::redis::{Faulty, Link, Pod, SERVERS, Wire};

const ENDPOINT: &str = "https://as.example.com/oauth/refresh";
const NODES: usize = 2;
const CLIENTS: usize = 3;
/// When faults begin, when the last one is over, and when everything ends.
const CALM: Duration = Duration::from_secs(3);
const HEALED: Duration = Duration::from_secs(40);
/// L1: how long after the last fault an honest client must be served again.
const RECOVERY: Duration = Duration::from_secs(5);
/// The longest for which a captured proof could be of use.
const WINDOW: Duration = Duration::from_secs(75);

/// What a simulation came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) refreshes: u64,
    pub(crate) replays: u64,
    pub(crate) failovers: u64,
    /// A digest of everything that happened, in order.
    pub(crate) trace: u64,
}

/// What is going on, as an observer sees it who sees everything.
#[derive(Default)]
struct Observed {
    outcome: Outcome,
    /// Each request that was sent, as a thief would record it.
    captured: Vec<Captured>,
    /// How often each of them was accepted.
    accepted: HashMap<usize, u32>,
    /// What followed each refresh token.
    successors: HashMap<String, String>,
    /// From when on each family is revoked for certain; by the names of the families.
    revoked: HashMap<FamilyId, Instant>,
    /// Those that somebody asked to revoke.
    doomed: Vec<FamilyId>,
    /// Until when the last fault lasted or, while one goes on, the end of everything.
    fault_until: Option<Instant>,
}

impl Observed {
    /// Whether a request was refused for want of a nonce, and its client has gone on since. By the clock of a client that is ahead, its
    /// proof may be younger than the family's last rotations: whoever held it back until then would be taken for a second holder of the
    /// key, and end the grant (SECURITY.md). That is known, and not what is looked for here.
    fn is_stale(&self, index: usize) -> bool {
        let family = self.captured[index].family;
        !self.accepted.contains_key(&index) && self.captured[index + 1..].iter().any(|later| later.family == family)
    }
}

#[derive(Clone)]
struct Captured {
    family: FamilyId,
    refresh_token: String,
    proof: String,
    sent: Instant,
}

struct World {
    nodes: Vec<Arc<AuthorizationServer>>,
    pod: Pod,
    base_ms: i64,
    started: Instant,
    strict: bool,
    observed: Mutex<Observed>,
}

/// A clock that a node has: true time and an error.
struct NodeClock {
    base_ms: i64,
    started: Instant,
}

impl Clock for NodeClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.base_ms + i64::try_from(self.started.elapsed().as_millis()).expect("a simulation is short"))
    }
}

/// Runs the simulation that `seed` stands for, with `bug` in the service, if any.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(simulate(seed, bug))
}

async fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut dice = Dice::new(seed);
    let strict = bug.map_or_else(|| dice.percent(50), Bug::needs_strict);
    let base_ms = 1_800_000_000_000 + i64::try_from(dice.below(1000)).expect("small");
    let faulty = bug.map_or_else(Faulty::default, Bug::faulty);
    let pod = Pod::new(NODES, base_ms, faulty, dice.child());
    let replication = tokio::spawn(pod.clone().replicate());
    let started = Instant::now();
    let mut stores = Vec::new();
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let ahead = i64::try_from(dice.below(1000)).expect("small") - 500;
        let clock: Arc<dyn Clock> = Arc::new(NodeClock { base_ms: base_ms + ahead, started });
        let store = open(&pod, node, strict, &clock, &mut dice).await;
        let keys = Keys::load_or_create(&home().join("keys"), config().tokens.access_token_alg, &mut Chance::new(dice.child()));
        let wired = bugs::afflict(Stores::on_redis(&store), bug);
        nodes.push(Arc::new(app::wire(config(), keys.expect("keys").keys, wired, clock).expect("a server")));
        stores.push(store);
    }
    let world = Arc::new(World { nodes, pod, base_ms, started, strict, observed: Mutex::default() });

    let mut people = Vec::new();
    for index in 0..CLIENTS {
        let client = Person::register(&world, index, dice.child()).await;
        people.push(tokio::spawn(client.live(Arc::clone(&world))));
    }
    let thief = tokio::spawn(steal(Arc::clone(&world), dice.child()));
    let operator = tokio::spawn(operate(Arc::clone(&world), dice.child()));
    let faults = tokio::spawn(fail(Arc::clone(&world), dice.child()));
    for task in people.into_iter().chain([thief, operator, faults]) {
        task.await.expect("nothing panics");
    }
    replication.abort();
    for store in &stores {
        let _closed = keybound::store::StoreHealth::close(&**store, UnixTime::from_secs(0)).await;
    }
    world.observe(|observed| observed.outcome.clone())
}

async fn open(pod: &Pod, node: usize, strict: bool, clock: &Arc<dyn Clock>, dice: &mut Dice) -> Arc<RedisStore> {
    let options = RedisOptions {
        sentinel: Some(SentinelOptions { urls: vec![Secret::new("redis://sentinel:26379".to_owned())], master: "mymaster".to_owned() }),
        min_replicas: u32::from(strict),
        acceptance_window: app::acceptance_window(config()),
        ..RedisOptions::new("redis://sentinel:26379")
    };
    let wire = Arc::new(Wire { pod: pod.clone(), node });
    RedisStore::connect_through(wire, options, Arc::clone(clock), true, Box::new(Chance::new(dice.child())))
        .await
        .expect("a calm beginning")
}

/// Where the keys of all simulations are: making them costs more than using them.
fn home() -> PathBuf {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    HOME.get_or_init(|| TempDir::new().expect("a folder")).path().to_owned()
}

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let path = home().join("keybound.toml");
        let text = "issuer = \"https://as.example.com\"\n[store]\nkind = \"redis\"\n[[client]]\nclient_id = \"app\"\n\
                    token_endpoint_auth_method = \"none\"\ngrant_types = [\"refresh_token\"]\nscope = \"accounts\"\n";
        std::fs::write(&path, text).expect("a file");
        Config::load(Some(&path), Vec::new(), &Flags::default()).expect("a configuration")
    })
}

impl World {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.base_ms + i64::try_from(self.started.elapsed().as_millis()).expect("a simulation is short"))
    }

    fn observe<T>(&self, see: impl FnOnce(&mut Observed) -> T) -> T {
        see(&mut self.observed.lock().expect("nobody panics while holding it"))
    }

    /// Adds to the trace.
    fn note(&self, what: &str) {
        let at = self.started.elapsed().as_millis();
        if std::env::var_os("KEYBOUND_TRACE").is_some() {
            println!("{at:>6} {what}");
        }
        self.observe(|observed| {
            for byte in format!("{at} {what}\n").bytes() {
                observed.outcome.trace = (observed.outcome.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        });
    }

    fn violated(&self, rule: &'static str, how: String) {
        self.note(&format!("{rule} {how}"));
        self.observe(|observed| observed.outcome.violations.push(Violation { rule, how }));
    }

    /// Sends one request to one node and sees to it that no rule is broken by the answer.
    async fn send(&self, node: usize, captured: usize) -> Result<String, TokenError> {
        let sent = Instant::now();
        let Captured { family, refresh_token, proof, .. } = self.observe(|observed| observed.captured[captured].clone());
        let server = &self.nodes[node];
        let targets = [TargetUri::parse(ENDPOINT).expect("a URL")];
        let request = RefreshRequest {
            proof: PresentedProof { header_values: &[proof.as_bytes()], method: "POST", targets: &targets },
            client: Presented {
                authorization: None,
                client_id: Some("app"),
                client_secret: None,
                client_assertion: None,
                client_assertion_type: None,
            },
            refresh_token: &refresh_token,
            new_key_proof: None,
            narrowing: Narrowing::default(),
        };
        let now = server.clock.now();
        let answer = server.refresh(request, now).await?;
        let successor = answer.refresh_token.expect("a public client gets one");
        let (times, before) = self.observe(|observed| {
            observed.outcome.refreshes += 1;
            let times = observed.accepted.entry(captured).or_default();
            *times += 1;
            (*times, observed.successors.entry(refresh_token).or_insert_with(|| successor.clone()).clone())
        });
        if times > 1 {
            self.violated("R1", format!("one proof was accepted {times} times"));
        }
        if before != successor {
            self.violated("G2", "one refresh token was followed by two others".to_owned());
        }
        let (revoked, fault_until) = self.observe(|observed| (observed.revoked.get(&family).copied(), observed.fault_until));
        let undone = revoked.is_some_and(|revoked| sent > revoked);
        // In standard mode a revocation that a failover lost is in force again once its node is at the new primary, which may take until
        // the node is not cut off any more.
        let tolerated = !self.strict && fault_until.is_some_and(|until| sent < until + Duration::from_secs(3));
        if undone && !tolerated {
            self.violated("G6", "a token was given out after the revocation".to_owned());
        }
        Ok(successor)
    }

    fn capture(&self, family: FamilyId, refresh_token: &str, proof: String) -> usize {
        self.observe(|observed| {
            observed.captured.push(Captured { family, refresh_token: refresh_token.to_owned(), proof, sent: Instant::now() });
            observed.captured.len() - 1
        })
    }

    fn is_doomed(&self, family: FamilyId) -> bool {
        self.observe(|observed| observed.doomed.contains(&family))
    }
}

/// An honest client.
struct Person {
    index: usize,
    dice: Dice,
    key: ProofKey,
    family: FamilyId,
    refresh_token: String,
    nonce: Option<String>,
    /// By how much its clock is off.
    ahead_ms: i64,
}

/// How an attempt went.
#[derive(PartialEq)]
enum Attempt {
    Served,
    /// Not this time.
    Again,
    /// The session is over.
    Over,
}

impl Person {
    async fn register(world: &World, index: usize, mut dice: Dice) -> Self {
        let key = ProofKey::generate(Alg::Es256, &mut Chance::new(dice.child())).expect("a key");
        let grant = NewGrant {
            client_id: ClientId::new("app").expect("a name"),
            jkt: Some(key.public_jwk().thumbprint()),
            grant: Grant { sub: Some(format!("user{index}")), scope: Scope::parse("accounts").expect("a scope"), ..Grant::default() },
            authorization_details: keybound::domain::AuthorizationDetails::default(),
        };
        let node = dice.index(NODES);
        let created = world.nodes[node].create_grant(grant, world.now()).await.expect("a calm beginning");
        let ahead_ms = i64::try_from(dice.below(9000)).expect("small") - 1000;
        Self { index, dice, key, family: created.id, refresh_token: created.refresh_token, nonce: None, ahead_ms }
    }

    async fn live(mut self, world: Arc<World>) {
        let end = world.started + HEALED;
        while Instant::now() < end {
            let pause = self.dice.millis(100, 2500);
            sleep(pause).await;
            if self.attempt(&world, 10).await == Attempt::Over {
                return;
            }
        }
        // L1
        sleep_until(end + RECOVERY).await;
        for _ in 0..3 {
            match self.attempt(&world, 0).await {
                Attempt::Served | Attempt::Over => return,
                Attempt::Again => sleep(Duration::from_millis(100)).await,
            }
        }
        world.violated("L1", format!("client {} is not served five seconds after the last fault", self.index));
    }

    /// One refresh, with the second request that a nonce asks for. The client forgets so many answers in a hundred.
    async fn attempt(&mut self, world: &World, forgets: u64) -> Attempt {
        for _ in 0..2 {
            let now = UnixTime::from_millis(world.now().as_millis() + self.ahead_ms);
            let mut proof = self.key.proof("POST", ENDPOINT);
            if let Some(nonce) = &self.nonce {
                proof = proof.nonce(nonce);
            }
            let proof = proof.sign(now, &mut Chance::new(self.dice.child())).expect("a signature");
            let captured = world.capture(self.family, &self.refresh_token, proof);
            let node = self.dice.index(NODES);
            let answer = world.send(node, captured).await;
            let lost = self.dice.percent(forgets);
            world.note(&format!("client {} at {node}: {}", self.index, name(&answer)));
            match answer {
                // The client never hears of it, and comes again with what it has.
                _ if lost => return Attempt::Again,
                Ok(successor) => {
                    self.refresh_token = successor;
                    return Attempt::Served;
                }
                Err(TokenError::NonceNeeded { nonce }) => self.nonce = Some(nonce),
                Err(TokenError::Unavailable(_) | TokenError::Replayed) => return Attempt::Again,
                Err(TokenError::InvalidGrant) if world.is_doomed(self.family) => return Attempt::Over,
                Err(TokenError::InvalidGrant) => {
                    world.violated("G4", format!("client {} lost its session", self.index));
                    return Attempt::Over;
                }
                Err(other) => {
                    world.violated("R3", format!("an honest request was refused: {other}"));
                    return Attempt::Over;
                }
            }
        }
        Attempt::Again
    }
}

/// Sends again what others sent, and tries tokens with a key of its own, for as long as anything could come of it.
async fn steal(world: Arc<World>, mut dice: Dice) {
    let key = ProofKey::generate(Alg::Es256, &mut Chance::new(dice.child())).expect("a key");
    while Instant::now() < world.started + HEALED + RECOVERY {
        let pause = dice.millis(10, 400);
        sleep(pause).await;
        let count = world.observe(|observed| observed.captured.len());
        if count == 0 {
            continue;
        }
        // Now what was just sent, now what is about to be too old.
        let recent = count.min(4);
        let index = if dice.percent(60) { count - 1 - dice.index(recent) } else { dice.index(count) };
        let node = dice.index(NODES);
        let captured = world.observe(|observed| observed.captured[index].clone());
        if captured.sent.elapsed() > WINDOW || world.observe(|observed| observed.is_stale(index)) {
            continue;
        }
        world.observe(|observed| observed.outcome.replays += 1);
        if dice.percent(85) {
            let answer = world.send(node, index).await;
            world.note(&format!("replay {index} at {node}: {}", name(&answer)));
            continue;
        }
        let proof = key.proof("POST", ENDPOINT).sign(world.now(), &mut Chance::new(dice.child())).expect("a signature");
        let own = world.capture(captured.family, &captured.refresh_token, proof);
        let answer = world.send(node, own).await;
        world.note(&format!("theft at {node}: {}", name(&answer)));
        if answer.is_ok() {
            world.violated("G5", "a token was given to another key".to_owned());
        }
    }
}

/// Ends one grant, at some time, and does not rest before that is acknowledged.
async fn operate(world: Arc<World>, mut dice: Dice) {
    let pause = dice.millis(1000, 30_000);
    sleep(pause).await;
    let Some(family) = world.observe(|observed| {
        let index = (!observed.captured.is_empty()).then(|| dice.index(observed.captured.len()))?;
        Some(observed.captured[index].family)
    }) else {
        return;
    };
    world.observe(|observed| observed.doomed.push(family));
    loop {
        let node = dice.index(NODES);
        let ended = world.nodes[node].revoke_grant(family, RevokeReason::Requested, world.now()).await;
        world.note(&format!("revocation at {node}: {}", ended.is_ok()));
        if ended.is_ok() {
            world.observe(|observed| observed.revoked.insert(family, Instant::now()));
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// What goes wrong, one thing after the other.
async fn fail(world: Arc<World>, mut dice: Dice) {
    let pod = &world.pod;
    sleep_until(world.started + CALM).await;
    // In a quiet world proofs grow old under one epoch.
    let quiet = dice.percent(30);
    while Instant::now() < world.started + HEALED - Duration::from_secs(14) {
        let kind = dice.below(if world.strict { 8 } else { 9 });
        world.note(&format!("fault {kind}"));
        world.observe(|observed| observed.fault_until = Some(world.started + HEALED + RECOVERY));
        let primary = pod.primary();
        match kind {
            // The primary dies; now and then its last writes did not reach the replicas.
            0..=2 => {
                if kind > 0 {
                    pod.set_replicating(false);
                    sleep(dice.millis(50, 900)).await;
                }
                pod.kill(primary);
                pod.set_replicating(true);
                sleep(dice.millis(500, 2500)).await;
                // What is dead replicates no more: the replicas have what they had.
                pod.fail_over();
                world.observe(|observed| observed.outcome.failovers += 1);
                sleep(dice.millis(500, 3000)).await;
                pod.demote(primary);
            }
            // The primary and one node are cut off together; the others go on without them.
            3 => {
                let node = dice.index(NODES);
                let link = if dice.percent(50) { Link::Cut } else { Link::Silent };
                for other in (0..NODES).filter(|other| *other != node) {
                    pod.set_link(other, primary, link);
                }
                for server in (0..=SERVERS).filter(|server| *server != primary) {
                    pod.set_link(node, server, link);
                }
                pod.set_replicating(false);
                sleep(dice.millis(1500, 3000)).await;
                pod.fail_over();
                pod.set_replicating(true);
                world.observe(|observed| observed.outcome.failovers += 1);
                sleep(dice.millis(500, 3000)).await;
                heal(&world);
                pod.demote(primary);
            }
            // One node can't reach the primary.
            4 => {
                let link = if dice.percent(50) { Link::Cut } else { Link::Silent };
                pod.set_link(dice.index(NODES), primary, link);
                sleep(dice.millis(200, 3000)).await;
                heal(&world);
            }
            5 => {
                pod.set_lossy(dice.below(40));
                sleep(dice.millis(500, 4000)).await;
                pod.set_lossy(0);
            }
            6 => pod.cut_connections(),
            7 => {
                // With the nodes' own errors no more than what clocks may be apart.
                let ahead = i64::try_from(dice.below(3000)).expect("small") - 1500;
                pod.set_clock(primary, ahead);
            }
            // The primary starts again, with its data or without; so do its replicas, which take over what it has.
            _ => {
                pod.kill(primary);
                sleep(dice.millis(10, 500)).await;
                pod.restart(primary, dice.percent(50));
            }
        }
        world.observe(|observed| observed.fault_until = Some(Instant::now()));
        if quiet {
            break;
        }
        sleep(dice.millis(200, 4000)).await;
    }
    heal(&world);
    world.observe(|observed| observed.fault_until = Some(Instant::now()));
}

fn heal(world: &World) {
    for node in 0..NODES {
        for server in 0..=SERVERS {
            world.pod.set_link(node, server, Link::Open);
        }
    }
}

/// An answer in a word.
fn name(answer: &Result<String, TokenError>) -> &'static str {
    match answer {
        Ok(_) => "tokens",
        Err(TokenError::NonceNeeded { .. }) => "a nonce",
        Err(TokenError::Replayed) => "seen",
        Err(TokenError::Unavailable(_)) => "unavailable",
        Err(TokenError::InvalidGrant) => "no grant",
        Err(_) => "another refusal",
    }
}
