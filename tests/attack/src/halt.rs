//! How an attack ends where it does not end with a refusal.

use crate::wire::WireError;

/// Anything but "the server held".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The server did what it must not. In words.
    Breach(String),
    /// Nothing can be said, and why.
    Inconclusive(String),
    /// The server does not have what is attacked, or the suite was not given what it needs.
    NotApplicable(String),
}

impl From<WireError> for Halt {
    fn from(error: WireError) -> Self {
        Self::Inconclusive(error.to_string())
    }
}

/// What a step of an attack gives.
pub(crate) type Step<T> = Result<T, Halt>;

/// Ends an attack: the server gave in.
pub(crate) fn breach<T>(what: impl Into<String>) -> Step<T> {
    Err(Halt::Breach(what.into()))
}

/// Ends an attack: nothing can be said.
pub(crate) fn inconclusive<T>(why: impl Into<String>) -> Step<T> {
    Err(Halt::Inconclusive(why.into()))
}

/// Ends an attack: it does not apply.
pub(crate) fn not_applicable<T>(why: impl Into<String>) -> Step<T> {
    Err(Halt::NotApplicable(why.into()))
}
