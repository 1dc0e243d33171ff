//! Make and check DPoP proofs ([RFC 9449]). No I/O, no clock, no runtime, no logging.
//!
//! A DPoP proof is a small JWT that a client signs for one HTTP request: it shows that the sender holds a private key, and so that the
//! access or refresh token in the request, which is bound to that key, is in the right hands. This crate holds both sides: a client
//! makes proofs with [`ProofKey`]; a server reads, verifies and spends them. What a proof has been through is its type:
//!
//! ```text
//! UnverifiedProof --verify(expected, now)--> VerifiedProof --spend(ledger, now)--> FreshProof
//! ```
//!
//! Each arrow consumes the value before it, so a proof can't be used at a stage it has not reached, nor twice at any. Only a
//! [`FreshProof`] is evidence that the holder of the key made this request, now, for the first time.
//!
//! Time and randomness are arguments ([`UnixTime`], [`Entropy`]); the memory of what was used is a trait ([`Ledger`]).
//!
//! # Example
//!
//! ```
//! use std::collections::HashSet;
//! use std::sync::Mutex;
//! use std::time::Duration;
//!
//! use keybound_proofs::*;
//!
//! /// Never forgets: right for an example. A server forgets a claim when its `ttl` is over, and says so when it may have forgotten more.
//! struct Memory(Mutex<HashSet<ReplayKey>>);
//!
//! const EPOCH: Epoch = Epoch { id: EpochId::from_bytes([0; 16]), since: None };
//!
//! impl Ledger for Memory {
//!     fn epoch(&self) -> Result<Epoch, LedgerError> {
//!         Ok(EPOCH)
//!     }
//!
//!     fn claim<'a>(&'a self, claim: &'a Claim, _now: UnixTime) -> ClaimFuture<'a> {
//!         let first = self.0.lock().map(|mut claims| claims.insert(claim.key));
//!         let answer = match first {
//!             Ok(true) => Ok(ClaimAnswer::First),
//!             Ok(false) => Ok(ClaimAnswer::Seen),
//!             Err(_) => Err(LedgerError::Unavailable),
//!         };
//!         Box::pin(std::future::ready(answer))
//!     }
//! }
//!
//! /// Counts: right for an example. A client asks the operating system.
//! struct Counter(u8);
//!
//! impl Entropy for Counter {
//!     fn fill(&mut self, buffer: &mut [u8]) {
//!         for byte in buffer {
//!             self.0 = self.0.wrapping_add(1);
//!             *byte = self.0;
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = UnixTime::from_secs(1_700_000_000);
//!
//! // The client: one key, and one proof for each request.
//! let mut entropy = Counter(0);
//! let key = ProofKey::generate(Alg::Es256, &mut entropy)?;
//! let header = key.proof("POST", "https://as.example.com/oauth/refresh").sign(now, &mut entropy)?;
//!
//! // The server: what it expects of this request, from its own configuration.
//! let policy = ProofPolicy::default();
//! let targets = [TargetUri::parse("https://as.example.com/oauth/refresh")?];
//! let nonces = Nonces::new([7; 32], "https://as.example.com", Duration::from_secs(300));
//! let realm = Realm::new("https://as.example.com");
//! let ledger = Memory(Mutex::default());
//! let expected = Expected {
//!     policy: &policy,
//!     method: "POST",
//!     targets: &targets,
//!     access_token: None,
//!     nonce: NonceRule { nonces: &nonces, role: NonceRole::AuthorizationServer, epoch: ledger.epoch()?, required: false },
//!     realm: &realm,
//! };
//!
//! let verified = UnverifiedProof::from_header_values([header.as_bytes()], &policy)?.verify(&expected, now)?;
//! let fresh = verified.spend(&ledger, now).await?;
//! assert_eq!(fresh.jkt(), key.jkt());
//!
//! // A captured proof is worth nothing, however good it is.
//! let again = UnverifiedProof::from_header_values([header.as_bytes()], &policy)?.verify(&expected, now)?;
//! assert_eq!(again.spend(&ledger, now).await.unwrap_err(), SpendError::Replayed);
//! # Ok(())
//! # }
//! ```
//!
//! # What is not checked
//!
//! - Whether the key is the one a token is bound to. Compare [`FreshProof::jkt`] with the token's `cnf.jkt` (check 12 of RFC 9449 section
//!   4.3 has two halves; the `ath` half is done here).
//! - The access token itself: signature, audience, expiry, revocation.
//! - Who the client is. A proof is no client authentication (RFC 9449 section 11.11).
//! - The body and the other header fields of the request (RFC 9449 section 11.7).
//! - Whether `Expected::targets` is where the request really arrived. They come from configuration, never from `Host`.
//! - Whether the entropy that is handed in is any good.
//!
//! # Features
//!
//! `portable` (default) verifies in Rust alone: everything but PS256. `aws-lc` verifies all five algorithms and is the faster; with both, it
//! is the one that is used. A backend says what it can do ([`backend::Verifier::algs`]), and the rest is refused as not allowed.
//!
//! # Past vulnerabilities of this kind, and what rules them out here
//!
//! See [`past_vulnerabilities`].
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

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
pub mod past_vulnerabilities;
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
