//! The clock and the randomness of the machine, for the adapters and for programs that have none of their own.
#![expect(clippy::disallowed_methods, reason = "everything else takes time and randomness as arguments")]

use std::time::{SystemTime, UNIX_EPOCH};

use keybound_proofs::{Entropy, UnixTime};

/// The present instant by the machine's clock.
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The operating system's generator of random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, buffer: &mut [u8]) {
        // A system without randomness can't tell nonces from guesses; there is no safe way on.
        aws_lc_rs::rand::fill(buffer).expect("the operating system provides random bytes");
    }
}
