//! JSON in which no object names a member twice, as values.
//!
//! `serde_json` keeps the last of two members of one name, another reader the first: whoever is judged by one and served by
//! the other has two documents in one text (RFC 7515 section 4, RFC 7519 section 4).

use keybound_proofs::jose;
use serde_json::{Map, Value};

/// The object that `text` holds: UTF-8, nothing after it, at most 16 levels, every member named once at every depth.
///
/// # Errors
/// [`NotStrictJson`] for anything else.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, NotStrictJson> {
    jose::object(text, |_, _| ()).map_err(|_| NotStrictJson)?;
    serde_json::from_slice(text).map_err(|_| NotStrictJson)
}

/// The array that `text` holds, by the same rules.
///
/// # Errors
/// [`NotStrictJson`] for anything else.
pub fn parse_array(text: &str) -> Result<Vec<Value>, NotStrictJson> {
    jose::array(text, |_| ()).map_err(|_| NotStrictJson)?;
    serde_json::from_str(text).map_err(|_| NotStrictJson)
}

/// Not JSON, or JSON with a member named twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not JSON in which every member has a name of its own")]
pub struct NotStrictJson;

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-14
    #[test]
    fn a_member_named_twice_is_refused_at_any_depth_and_in_any_spelling() {
        assert_eq!(parse_object(br#"{"a":1,"b":{"c":[{"d":null}]}}"#).unwrap()["b"]["c"][0]["d"], Value::Null);
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(parse_object(twice.as_bytes()), Err(NotStrictJson), "{twice}");
            assert_eq!(parse_array(&format!("[{twice}]")), Err(NotStrictJson), "{twice}");
        }
        assert_eq!(parse_array(r#"[{"a":1,"b":1}]"#).unwrap().len(), 1);
    }

    /// JOSE-16
    #[test]
    fn nothing_may_follow_the_value_and_nesting_has_an_end() {
        assert!(parse_object(b"{}").is_ok());
        for bad in [&b"{} {}"[..], b"\xef\xbb\xbf{}", b"{\"a\":\"\xff\"}", b"[]", b""] {
            assert_eq!(parse_object(bad), Err(NotStrictJson));
        }
        assert!(parse_array(&"[".repeat(100_000)).is_err());
        assert!(parse_array("{}").is_err());
        assert!(parse_array("[1e999]").is_err());
    }
}
