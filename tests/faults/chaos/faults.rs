//! What happens to the servers.

use std::fmt;
use std::time::Duration;

use keybound_testkit::Settings;
use keybound_testkit::cluster::ClusterRedis;
use keybound_testkit::redis::RedisServer;
use keybound_testkit::sentinel::{MASTER, WatchedRedis};
use serde_json::json;
use tokio::time::sleep;

/// Numbers drawn from a seed (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

/// One fault, with all that was drawn for it.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The primary is ended with SIGKILL; a replica takes over.
    Kill,
    /// The primary stands still for this long: it may lose its office meanwhile.
    Freeze(Duration),
    /// A replica is ended.
    KillReplica,
    /// The primary's connections break, this many times.
    Cut(u64),
    /// Nothing gets through to the primary or back.
    Partition(Duration),
    /// Requests get through, answers don't.
    HalfOpen(Duration),
    /// Everything takes this much longer.
    Delay(Duration),
    /// Answers to claims and to refreshes are lost, one by one.
    LoseAnswers(u64),
    /// Slots move, families and used proofs with them. Only in a cluster.
    MoveSlots(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The servers.
pub(super) enum Redis {
    Watched(WatchedRedis),
    Cluster(ClusterRedis),
}

impl Redis {
    pub(super) async fn watched() -> Self {
        Self::Watched(WatchedRedis::start_relayed(2).await)
    }

    pub(super) async fn cluster() -> Self {
        Self::Cluster(ClusterRedis::start_relayed().await)
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Watched(_) => "sentinel",
            Self::Cluster(_) => "cluster",
        }
    }

    pub(super) fn settings(&self) -> Settings {
        let settings = Settings::default().with("store.kind", "redis").with("store.durability", "strict");
        match self {
            Self::Watched(redis) => {
                settings.with("store.urls", json!(redis.urls())).with("store.topology", "sentinel").with("store.sentinel_master", MASTER)
            }
            Self::Cluster(redis) => settings.with("store.urls", json!(redis.urls())).with("store.topology", "cluster"),
        }
    }

    /// Every third fault is the end of a primary; the others are drawn.
    pub(super) fn draw(&self, dice: &mut Dice, round: u64) -> Fault {
        if round.is_multiple_of(3) {
            return Fault::Kill;
        }
        let kinds = if matches!(self, Self::Cluster(_)) { 8 } else { 7 };
        match dice.below(kinds) {
            0 => Fault::Freeze(dice.millis(200, 4000)),
            1 => Fault::KillReplica,
            2 => Fault::Cut(1 + dice.below(10)),
            3 => Fault::Partition(dice.millis(100, 3000)),
            4 => Fault::HalfOpen(dice.millis(100, 2000)),
            5 => Fault::Delay(dice.millis(20, 400)),
            6 => Fault::LoseAnswers(1 + dice.below(20)),
            _ => Fault::MoveSlots(1 + dice.below(20)),
        }
    }

    /// Brings the fault about and ends it, as far as it can be ended; tells whether another primary took over.
    pub(super) async fn strike(&self, fault: &Fault, dice: &mut Dice) -> bool {
        let slot = u16::try_from(dice.below(16_384)).unwrap_or_default();
        let before = self.primary(slot).await;
        let (primary, relay) = (self.server(before), self.server(before).relay());
        match fault {
            Fault::Kill => {
                primary.kill();
                self.until_moved(slot, before).await;
            }
            Fault::Freeze(time) => {
                primary.freeze(true);
                sleep(*time).await;
                primary.freeze(false);
            }
            Fault::KillReplica => {
                let replica = self.replica(before).await;
                self.server(replica).kill();
                sleep(Duration::from_millis(500)).await;
            }
            Fault::Cut(times) => {
                for _ in 0..*times {
                    relay.cut();
                    sleep(dice.millis(10, 300)).await;
                }
            }
            Fault::Partition(time) => {
                relay.hold(true);
                sleep(*time).await;
                relay.hold(false);
            }
            Fault::HalfOpen(time) => {
                relay.hold_answers(true);
                sleep(*time).await;
                relay.hold_answers(false);
            }
            Fault::Delay(by) => {
                relay.delay(*by);
                sleep(Duration::from_secs(2)).await;
                relay.delay(Duration::ZERO);
            }
            Fault::LoseAnswers(times) => {
                for _ in 0..*times {
                    relay.lose_answer_to(if dice.below(2) == 0 { "rp:" } else { "EVALSHA" });
                    sleep(dice.millis(10, 100)).await;
                }
            }
            Fault::MoveSlots(times) => {
                let Self::Cluster(redis) = self else { return false };
                for _ in 0..*times {
                    let slot = u16::try_from(dice.below(16_384)).unwrap_or_default();
                    let (from, step) = (redis.owner(slot).await, dice.below(2));
                    let to = redis.owner(slot.wrapping_add(5461 * (1 + u16::try_from(step).unwrap_or_default())) % 16_384).await;
                    if to != from {
                        redis.move_slot(slot, to).await;
                    }
                }
                return false;
            }
        }
        self.primary(slot).await != before
    }

    /// Starts what is down and waits until everything is as it was.
    pub(super) async fn heal(&self) {
        match self {
            Self::Watched(redis) => redis.heal(2).await,
            Self::Cluster(redis) => redis.heal().await,
        }
    }

    fn servers(&self) -> &[RedisServer] {
        match self {
            Self::Watched(redis) => redis.servers(),
            Self::Cluster(redis) => redis.nodes(),
        }
    }

    fn server(&self, number: usize) -> &RedisServer {
        &self.servers()[number]
    }

    /// The number of the server that has the slot; without slots, of the one that the sentinels name.
    async fn primary(&self, slot: u16) -> usize {
        match self {
            Self::Watched(redis) => {
                let port = redis.primary().port();
                redis.servers().iter().position(|server| server.port() == port).expect("one of these")
            }
            Self::Cluster(redis) => redis.owner(slot).await,
        }
    }

    async fn replica(&self, primary: usize) -> usize {
        let face = self.server(primary).face().to_string();
        for (number, server) in self.servers().iter().enumerate() {
            if server.info("role").await == "slave" && server.info("master_port").await == face {
                return number;
            }
        }
        panic!("the primary has no replica");
    }

    async fn until_moved(&self, slot: u16, before: usize) {
        match self {
            Self::Watched(redis) => redis.until_moved_from(self.server(before).face()).await,
            Self::Cluster(redis) => redis.until_moved_from(slot, before).await,
        }
    }
}
