//! Make and check DPoP proofs (RFC 9449).

#[cfg(not(any(feature = "portable", feature = "aws-lc")))]
compile_error!("keybound-proofs needs a verification backend: enable `portable`, `aws-lc` or both");

mod entropy;
mod jkt;
mod ledger;
mod time;

pub use entropy::Entropy;
pub use jkt::{Jkt, MalformedJkt};
pub use ledger::{Claim, ClaimAnswer, ClaimFuture, Epoch, EpochId, Ledger, LedgerError, Realm, ReplayKey};
pub use time::UnixTime;
