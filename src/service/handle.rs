//! Handles: what their holder knows and the store does not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::{Entropy, UnixTime};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::service::AuthorizationServer;
use crate::store::{EphemeralKind, EphemeralName, StoreError, Swapped};

/// A handle of 32 random bytes: 43 characters of base64url.
pub(crate) fn new_handle(entropy: &mut dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether a text can be a handle: anything else is not looked up.
pub(crate) fn is_handle(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A short-lived record as it was read, and the bytes that a swap must find unchanged.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    pub(crate) name: EphemeralName,
    pub(crate) bytes: Vec<u8>,
    pub(crate) record: T,
}

impl AuthorizationServer {
    /// The record of a handle, if there is one.
    pub(crate) async fn peek<T: DeserializeOwned>(
        &self,
        kind: EphemeralKind,
        handle: &str,
        now: UnixTime,
    ) -> Result<Option<Kept<T>>, StoreError> {
        if is_handle(handle) { self.peek_at(EphemeralName::of(kind, handle), now).await } else { Ok(None) }
    }

    /// The record of this name, if there is one.
    pub(crate) async fn peek_at<T: DeserializeOwned>(&self, name: EphemeralName, now: UnixTime) -> Result<Option<Kept<T>>, StoreError> {
        let Some(bytes) = self.ephemerals.peek(&name, now).await? else { return Ok(None) };
        let record = from_bytes(&bytes)?;
        Ok(Some(Kept { name, bytes, record }))
    }

    /// Moves a record on, at most once. A lost answer of the store, repeated by it, still counts as ours: `next` says who moved it.
    pub(crate) async fn move_on<T>(
        &self,
        kept: &Kept<T>,
        next: &[u8],
        ttl: std::time::Duration,
        now: UnixTime,
    ) -> Result<Swapped, StoreError> {
        match self.ephemerals.swap(&kept.name, &kept.bytes, next, ttl, now).await? {
            Swapped::Other(found) if found == next => Ok(Swapped::Done),
            other => Ok(other),
        }
    }
}

/// A record as the store keeps it.
pub(crate) fn to_bytes<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record of strings, numbers, lists and maps with string keys has a JSON form")
}

/// A record as the store kept it.
pub(crate) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::Unreadable("a short-lived record".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&mut self, buffer: &mut [u8]) {
            buffer.fill(0xfb);
        }
    }

    #[test]
    fn a_handle_is_43_characters_of_base64url() {
        let handle = new_handle(&mut Fixed);
        assert!(is_handle(&handle));
        for other in [&handle[1..], &format!("{handle}A"), "", &handle.replace('-', "+")] {
            assert!(!is_handle(other), "{other}");
        }
    }
}
