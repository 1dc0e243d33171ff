//! Randomness as an argument.

/// A source of unpredictable bytes, handed in by the caller.
///
/// This crate never asks the operating system for randomness itself, so that a test decides every byte.
pub trait Entropy {
    /// Fills `buffer` with bytes that nobody can predict.
    fn fill(&mut self, buffer: &mut [u8]);
}
