//! Where a guard remembers which proofs were used.

use std::fmt;

use keybound_proofs::{Entropy, Ledger};

pub(crate) mod local;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use local::LocalLedger;

/// The memory of used proofs, and who shares it.
pub enum ReplayMemory {
    /// One process answers all requests for this API. Its nonces are its own.
    Local(LocalLedger),
    /// Several processes do. They share the ledger, and must share the key of their nonces: a nonce that one hands out comes back to
    /// another.
    Shared(Box<dyn Ledger>, NonceKey),
}

impl ReplayMemory {
    pub(crate) fn into_parts(self, entropy: &mut dyn Entropy) -> (Box<dyn Ledger>, [u8; 32]) {
        match self {
            Self::Local(ledger) => {
                let mut key = [0; 32];
                entropy.fill(&mut key);
                (Box::new(ledger), key)
            }
            Self::Shared(ledger, key) => (ledger, key.0),
        }
    }
}

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local(_) => "ReplayMemory::Local(…)",
            Self::Shared(..) => "ReplayMemory::Shared(…)",
        })
    }
}

/// The key that nonces are made with: 32 random bytes, the same in every process that answers for one API.
#[derive(Clone)]
pub struct NonceKey([u8; 32]);

impl NonceKey {
    /// From its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Redacted.
impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey(…)")
    }
}
