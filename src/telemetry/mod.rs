//! What the service tells its operator: security events and logs. No token, proof, secret or raw `jti` is among it.

pub mod counters;
pub mod events;
mod lines;
pub mod logging;

pub use counters::Counters;
pub use events::{Event, Events, Recorded};
