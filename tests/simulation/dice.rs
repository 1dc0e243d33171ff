//! All the chance there is in a simulation: one number, and what follows from it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keybound_proofs::Entropy;

/// A splitmix64 generator. Clones go on from where they are, each for itself.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// 0 to `bound` - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a usize")
    }

    /// True `n` times in a hundred.
    pub(crate) fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// `from` to `to` milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }

    /// Another generator, which this one's later draws don't touch.
    pub(crate) fn child(&mut self) -> Self {
        Self(self.draw())
    }
}

/// Randomness for the parts of the service that ask for some.
#[derive(Clone)]
pub(crate) struct Chance(Arc<Mutex<Dice>>);

impl Chance {
    pub(crate) fn new(dice: Dice) -> Self {
        Self(Arc::new(Mutex::new(dice)))
    }
}

impl Entropy for Chance {
    fn fill(&mut self, buffer: &mut [u8]) {
        let mut dice = self.0.lock().expect("nobody panics while drawing");
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&dice.draw().to_be_bytes()[..chunk.len()]);
        }
    }
}
