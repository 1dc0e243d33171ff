//! JSON in which no object names a member twice.
//!
//! `serde_json` keeps the last of two members of one name, another reader the first: whoever is judged by one and served by
//! the other has two documents in one text (RFC 7515 section 4, RFC 7519 section 4).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value that `text` holds, and nothing after it. Nesting is limited by the parser, at 128 levels.
///
/// # Errors
/// [`NotStrictJson`] for anything that is not UTF-8 JSON, and for an object that names a member twice, at any depth and
/// however the name is escaped.
pub fn parse(text: &[u8]) -> Result<Value, NotStrictJson> {
    serde_json::from_slice::<Strict>(text).map(|strict| strict.0).map_err(|_| NotStrictJson)
}

/// The object that `text` holds.
///
/// # Errors
/// Those of [`parse`], and for any other value than an object.
pub fn parse_object(text: &[u8]) -> Result<Map<String, Value>, NotStrictJson> {
    match parse(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(NotStrictJson),
    }
}

/// Not JSON, or JSON with a member named twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not JSON in which every member has a name of its own")]
pub struct NotStrictJson;

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-14
    #[test]
    fn a_member_named_twice_is_refused_at_any_depth_and_in_any_spelling() {
        assert_eq!(parse(br#"{"a":1,"b":{"c":[{"d":null}]}}"#).unwrap()["b"]["c"][0]["d"], Value::Null);
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"[{"a":1,"\u0061":2}]"#] {
            assert_eq!(parse(twice.as_bytes()), Err(NotStrictJson), "{twice}");
        }
    }

    /// JOSE-16
    #[test]
    fn nothing_may_follow_the_value_and_nesting_has_an_end() {
        assert!(parse(b"{}").is_ok());
        assert!(parse(b"{} {}").is_err());
        assert!(parse(b"\xef\xbb\xbf{}").is_err());
        assert!(parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse_object(b"[]").is_err());
    }
}
