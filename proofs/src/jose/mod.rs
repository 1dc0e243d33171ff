//! Strict parsing of what JOSE leaves open: compact serialisation, base64url and JSON.
//!
//! Every JWT has exactly one spelling here, so that no two parsers can read two meanings out of one token.

mod compact;
mod json;

pub use compact::{Compact, CompactError};
pub use json::{Json, JsonError, NumericDate, array, members, object};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Decodes canonical, unpadded base64url (RFC 7515 section 2): the alphabet only, no `=`, no white space, unused bits zero.
///
/// # Errors
/// [`NotBase64Url`] for anything else.
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, NotBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotBase64Url)
}

/// Decodes canonical base64url of exactly `N` bytes.
///
/// # Errors
/// [`NotBase64Url`] for another length and for anything [`decode_base64url`] refuses.
pub fn decode_base64url_exact<const N: usize>(text: &str) -> Result<[u8; N], NotBase64Url> {
    // The decoder asks for room by its own estimate, which may be up to two bytes more than the result needs.
    let mut buffer = [0; MAX_EXACT + 2];
    if text.len() != (N * 4).div_ceil(3) || N > MAX_EXACT {
        return Err(NotBase64Url);
    }
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).map_err(|_| NotBase64Url)?;
    buffer[..length].try_into().map_err(|_| NotBase64Url)
}

/// Encodes to unpadded base64url.
pub fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text is not canonical, unpadded base64url (of the expected length).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not canonical, unpadded base64url")]
pub struct NotBase64Url;

/// The widest value that is decoded into an array: a coordinate of P-521 would be 66 bytes.
const MAX_EXACT: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-15
    #[test]
    fn only_the_canonical_spelling_decodes() {
        assert_eq!(decode_base64url("AQAB"), Ok(vec![1, 0, 1]));
        assert_eq!(decode_base64url("_-8"), Ok(vec![0xff, 0xef]));
        assert_eq!(decode_base64url_exact::<2>("_-8"), Ok([0xff, 0xef]));
        for text in ["_-9", "_-8=", "/+8", "_- 8", "_-8\n", "_", "_-8A=", "é"] {
            assert_eq!(decode_base64url(text), Err(NotBase64Url), "{text}");
            assert_eq!(decode_base64url_exact::<2>(text), Err(NotBase64Url), "{text}");
        }
        assert_eq!(decode_base64url_exact::<3>("_-8"), Err(NotBase64Url));
        assert_eq!(decode_base64url_exact::<1>("_-8"), Err(NotBase64Url));
        assert_eq!(decode_base64url_exact::<32>("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").map(|bytes| bytes[0]), Ok(0xd7));
    }
}
