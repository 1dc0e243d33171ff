//! Chaos: real servers behind relays, clients that refresh all the time, thieves who replay all the time, and one fault after the other.
//!
//! Everything that is drawn comes from one seed. The long form is `tests/chaos`; here runs a short one of each topology.

use std::time::Duration;

use keybound_testkit::Service;
use keybound_testkit::time::Stopwatch;

use actors::World;
use faults::{Dice, Redis};

mod actors;
mod faults;

/// For how long an honest client may be without its session after a fault is over (L1).
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Faults of the short form.
const ROUNDS: u64 = 3;

/// R1, R4, R5, G1 to G6, L1, SEC-03, SEC-08: with strict durability no fault lets a captured proof in, forks or loses a session, or revives a
/// grant; while it lasts clients see nothing but 503 and requests for a nonce.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinel_in_chaos() {
    run(Redis::watched().await).await;
}

/// The same on a cluster, where slots move besides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_in_chaos() {
    run(Redis::cluster().await).await;
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

async fn run(redis: Redis) {
    let (rounds, seed) = (number("KEYBOUND_CHAOS_ROUNDS", ROUNDS), number("KEYBOUND_CHAOS_SEED", 1));
    let first = Service::start_on(env!("CARGO_BIN_EXE_keybound"), None, redis.settings()).await;
    let second = first.second_node().await;
    let mut world = World::start(vec![first, second], seed).await;
    let mut dice = Dice::new(seed);
    let (mut longest, mut failovers) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let victims = world.sessions_to_end(3).await;
        let fault = redis.draw(&mut dice, round);
        let begun = Stopwatch::start();
        println!("{} round {round}: {fault}", redis.name());
        let faulty = async {
            let moved = redis.strike(&fault, &mut dice).await;
            redis.heal().await;
            (moved, Stopwatch::start())
        };
        let ((moved, watch), ()) = tokio::join!(faulty, world.end(victims));
        failovers += u64::from(moved);
        world.until_everybody_refreshed(LONGEST_WAIT).await;
        let waited = watch.elapsed();
        longest = longest.max(waited);
        world.check_ended().await;
        println!("{} round {round}: over after {:?}, everybody served {waited:?} after the fault", redis.name(), begun.elapsed());
    }
    let told = world.stop().await;
    println!(
        "{}, seed {seed}: {rounds} faults, {failovers} failovers, {told}; the longest wait after a fault was {longest:?}; nothing broke",
        redis.name()
    );
}
