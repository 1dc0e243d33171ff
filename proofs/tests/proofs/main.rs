//! What the crate promises, seen from outside.

mod claims;
mod differential;
mod header;
mod htu;
mod htu_pairs;
mod jwk;
mod known_answers;
mod nonce;
mod properties;
mod replay;
mod support;
mod time;
mod vectors;
