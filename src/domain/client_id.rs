//! The identifier of a client (RFC 6749 section 2.2).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A client identifier: 1 to 256 bytes of visible ASCII and spaces (RFC 6749 appendix A.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

impl ClientId {
    /// The longest identifier that is accepted, in bytes.
    pub const MAX_LEN: usize = 256;

    /// Checks the characters and the length.
    ///
    /// # Errors
    /// [`MalformedClientId`] for anything but 1 to 256 bytes of `%x20-7E`.
    pub fn new(text: impl Into<String>) -> Result<Self, MalformedClientId> {
        let text = text.into();
        let good = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if good { Ok(Self(text)) } else { Err(MalformedClientId) }
    }

    /// The identifier as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClientId {
    type Error = MalformedClientId;

    fn try_from(text: String) -> Result<Self, MalformedClientId> {
        Self::new(text)
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

/// Not a client identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a client_id is 1 to 256 characters of visible ASCII")]
pub struct MalformedClientId;
