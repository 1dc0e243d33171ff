//! Make and check DPoP proofs (RFC 9449).

#[cfg(not(any(feature = "portable", feature = "aws-lc")))]
compile_error!("keybound-proofs needs a verification backend: enable `portable`, `aws-lc` or both");

mod alg;
mod ath;
pub mod backend;
mod builder;
mod challenge;
mod edwards;
mod entropy;
mod error;
mod jkt;
pub mod jose;
mod jwk;
mod key;
mod ledger;
mod nonce;
mod policy;
mod proof;
mod target_uri;
mod time;

pub use alg::{Alg, AlgSet};
pub use ath::Ath;
pub use builder::ProofBuilder;
pub use challenge::Challenge;
pub use entropy::Entropy;
pub use error::ProofError;
pub use jkt::{Jkt, MalformedJkt};
pub use jwk::{JwkError, KeyMaterial, PublicJwk};
pub use key::{KeyError, ProofKey, SignError};
pub use ledger::{Claim, ClaimAnswer, ClaimFuture, Epoch, EpochId, Ledger, LedgerError, Realm, ReplayKey};
pub use nonce::{NonceLife, NonceRole, NonceRule, Nonces, StaleNonce};
pub use policy::ProofPolicy;
pub use proof::{Claims, Expected, FreshProof, SpendError, UnverifiedProof, VerifiedProof};
pub use target_uri::{MalformedUri, TargetUri};
pub use time::UnixTime;
