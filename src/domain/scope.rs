//! Scopes (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A set of scope tokens, at most [`Scope::MAX_TOKENS`], written sorted and separated by single spaces.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// The most tokens one request may name. A set this small cannot be made expensive to compare.
    pub const MAX_TOKENS: usize = 64;

    /// From the text of a `scope` parameter; repeated tokens count once.
    ///
    /// # Errors
    /// [`MalformedScope`] for characters outside `%x21 / %x23-5B / %x5D-7E`, for empty tokens (two spaces in a row) and for
    /// more than 64 tokens.
    pub fn parse(text: &str) -> Result<Self, MalformedScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut tokens = BTreeSet::new();
        for (position, token) in text.split(' ').enumerate() {
            let good = !token.is_empty() && token.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            if !good || position >= Self::MAX_TOKENS {
                return Err(MalformedScope);
            }
            tokens.insert(token.to_owned());
        }
        Ok(Self(tokens))
    }

    /// Whether every token of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether `token` is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tokens, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<'a> FromIterator<&'a str> for Scope {
    /// Of tokens that were already checked.
    fn from_iter<T: IntoIterator<Item = &'a str>>(tokens: T) -> Self {
        Self(tokens.into_iter().map(str::to_owned).collect())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, token) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Scope {
    type Error = MalformedScope;

    fn try_from(text: String) -> Result<Self, MalformedScope> {
        Self::parse(&text)
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// Not a scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a scope is up to 64 tokens of visible ASCII without quotes and backslashes, separated by single spaces")]
pub struct MalformedScope;

#[cfg(test)]
mod tests {
    use super::*;

    /// REF-05: what is asked for may be all that was granted, or less.
    #[test]
    fn a_scope_is_within_another_where_it_names_nothing_else() {
        let scope = |text: &str| Scope::parse(text).unwrap();
        assert!(scope("a b").is_subset(&scope("b a")) && scope("a").is_subset(&scope("a b")) && scope("").is_subset(&scope("a")));
        assert!(!scope("a c").is_subset(&scope("a b")) && !scope("a").is_subset(&scope("")));
    }
}
