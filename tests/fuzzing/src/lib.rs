//! What is given any bytes: every parser that can be called from outside, and the whole path of a proof.
//!
//! A target panics where something does not hold. Most hold a parser to a second opinion: what it prints reads back the same, another
//! parser reads the same, two backends agree.

mod domain;
mod proofs;

/// One of them: its name, which is that of its directory in `corpus/`, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("proof", proofs::proof),
    ("verify", proofs::verify),
    ("backends", proofs::backends),
    ("compact", proofs::compact),
    ("json", proofs::json),
    ("jwk", proofs::jwk),
    ("uri", proofs::uri),
    ("nonce", proofs::nonce),
    ("record", domain::record),
    ("family", domain::family),
    ("scope", domain::scope),
    ("details", domain::details),
    ("redirect", domain::redirect),
    ("form", domain::form),
    ("called_url", domain::called_url),
    ("base_url", domain::base_url),
];

/// The function with this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
