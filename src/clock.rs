//! The only place that asks the machine for the time and for randomness.
#![expect(clippy::disallowed_methods, reason = "everything else takes time and randomness as arguments")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keybound_proofs::{Entropy, UnixTime};

/// Tells the time. One reading per request.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> UnixTime;

    /// How far the wall clock has moved away from a monotonic clock since this clock was made: a step of the wall clock.
    fn drift(&self) -> Duration {
        Duration::ZERO
    }
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_wall: UnixTime,
}

impl SystemClock {
    /// Anchors the wall clock to the monotonic one.
    pub fn new() -> Self {
        Self { started: Instant::now(), started_wall: wall() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        wall()
    }

    fn drift(&self) -> Duration {
        let expected = self.started_wall.plus(self.started.elapsed());
        let wall = wall();
        wall.since(expected).max(expected.since(wall))
    }
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The operating system's generator of random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        // A system without randomness can't issue anything; there is no safe way on.
        getrandom::fill(buffer).expect("the operating system provides random bytes");
    }
}

fn wall() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
