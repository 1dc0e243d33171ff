//! Check DPoP-bound access tokens ([RFC 9449]) inside a resource server.
//!
//! For an API that wants no gateway between itself and its clients, or does not trust one: each request is checked in the process that
//! answers it, with the same rules that Keybound's gateway listener applies. The core, [`Guard`], knows no web framework; the features
//! `actix` and `tower` bring a middleware for actix-web and a layer for everything that speaks `http` 1.x (axum, hyper, tonic).
//!
//! ```
//! use keybound_guard::{Guard, GuardConfig, LocalLedger, ReplayMemory, Unguarded, system};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = system::now();
//! let mut entropy = system::OsEntropy;
//! // Who issues the tokens, and the public URL at which the path `/` of this server appears.
//! let config = GuardConfig::new("https://as.example.com", "https://api.example.com")
//!     .audience("https://api.example.com/accounts")
//!     .scopes(["accounts"]);
//! let memory = ReplayMemory::Local(LocalLedger::new(1_000_000, now, &mut entropy));
//! let guard = Guard::new(config, memory, &mut entropy)?;
//!
//! // What a middleware does with each request.
//! let request = Unguarded { method: "GET", path: "/accounts/1", query: None, authorization: &[], dpop: &[] };
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let refusal = guard.check(&request, now).await.unwrap_err();
//! assert_eq!(refusal.status(), 401);
//! assert!(refusal.challenge().is_some_and(|line| line.starts_with("DPoP ")));
//! # });
//! # Ok(())
//! # }
//! ```
//!
//! # What is not checked
//!
//! - **Revocation.** A token that was revoked is good here until it expires. Keep access tokens short-lived, or let Keybound's gateway
//!   listener check, which sees a revocation within a second.
//! - What the caller may do. [`Caller`] tells the subject, the client, the scope and the authorization details; which rows of which table
//!   they may see is the application's matter.
//! - The body of the request: a proof does not cover it (RFC 9449 section 11.7). An access token in a form body is not looked for; one in
//!   the query is refused.
//! - Whether TLS ends where you think it does.
//!
//! # Behind something that rewrites paths
//!
//! `htu` is what the client called. [`GuardConfig::new`] takes the public URL at which the path `/` of *this* server appears: if a proxy
//! turns `https://api.example.com/v1/accounts` into `/accounts`, that is `https://api.example.com/v1`. `Host` and `X-Forwarded-*` are
//! never read.
//!
//! # After a restart
//!
//! A [`LocalLedger`] forgets when its process ends, so for a little more than a minute after a start every proof needs a nonce of this
//! process: a client answers that challenge by itself, once, and a recorded proof stays dead. See [`Epoch`](keybound_proofs::Epoch).
//!
//! [RFC 9449]: https://www.rfc-editor.org/rfc/rfc9449

#[cfg(feature = "actix")]
pub mod actix;
mod authorization;
mod caller;
mod config;
mod guard;
mod keys;
mod ledger;
mod refusal;
mod source;
pub mod system;
mod token;
#[cfg(feature = "tower")]
pub mod tower;

#[cfg(test)]
mod testkit;

pub use caller::Caller;
pub use config::{GuardConfig, UnusableConfig};
pub use guard::{Guard, Unguarded};
pub use keys::{KeySet, KeySetError};
pub use ledger::local::LocalLedger;
#[cfg(feature = "redis")]
pub use ledger::redis::{RedisLedger, RedisTrouble};
pub use ledger::{NonceKey, ReplayMemory};
pub use refusal::{Denial, Refusal};
pub use source::{FixedKeys, IssuerKeys, KeyFetch, KeyFetchError, KeySource};
pub use token::InvalidToken;
