//! Rich authorization requests (RFC 9396): the shape of `authorization_details`, and what one grant covers.

use serde_json::{Map, Value};

use crate::domain::strict_json;

/// A well-formed list of authorization details: objects, each with a string `type`.
///
/// Not checked here: whether a `type` is known, and whether the other members are what the type wants.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AuthorizationDetails(Vec<Map<String, Value>>);

impl AuthorizationDetails {
    /// The most objects in one list.
    pub const MAX_ENTRIES: usize = 16;

    /// The most bytes in one list, written as JSON.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// From the text of a form parameter: an array of at most 16 levels.
    ///
    /// # Errors
    /// [`MalformedDetails`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedDetails> {
        if text.len() > Self::MAX_BYTES {
            return Err(MalformedDetails::TooLarge);
        }
        if text.trim_start().starts_with('[') {
            Self::check(strict_json::parse_array(text).map_err(|_| MalformedDetails::NotJson)?)
        } else {
            Err(MalformedDetails::NotAnArray)
        }
    }

    /// From a member of a JSON body: the array itself, or its JSON text. Members named twice are the body parser's to refuse.
    ///
    /// # Errors
    /// [`MalformedDetails`], which says what is wrong.
    pub fn from_value(value: Value) -> Result<Self, MalformedDetails> {
        match value {
            Value::String(text) => Self::parse(&text),
            value if value.to_string().len() > Self::MAX_BYTES => Err(MalformedDetails::TooLarge),
            Value::Array(items) => Self::check(items),
            _ => Err(MalformedDetails::NotAnArray),
        }
    }

    /// The objects.
    pub fn as_slice(&self) -> &[Map<String, Value>] {
        &self.0
    }

    /// The objects, to keep.
    pub fn into_inner(self) -> Vec<Map<String, Value>> {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `type` of each object.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(type_of)
    }

    fn check(items: Vec<Value>) -> Result<Self, MalformedDetails> {
        if items.len() > Self::MAX_ENTRIES {
            return Err(MalformedDetails::TooMany);
        }
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Value::Object(entry) if !type_of(&entry).is_empty() => entries.push(entry),
                Value::Object(_) => return Err(MalformedDetails::NoType),
                _ => return Err(MalformedDetails::NotAnObject),
            }
        }
        Ok(Self(entries))
    }
}

/// What of `granted` the request asks for (RFC 9396 section 6.1): the effective details of one access token.
///
/// Each requested object needs a granted one of the same `type` that covers it. A member left out keeps its granted value.
/// A member that is there is equal to the granted one, or both are arrays of scalars and it is a non-empty part of it: an
/// empty list could mean "no limit" to whoever reads the token. A member the grant doesn't have is refused, because a limit
/// and an extra permission look alike. Strings are compared code point by code point.
///
/// This is the rule for a type that nothing else is known about; [`narrow_member`] is where the rules of a registered type
/// take its place.
///
/// # Errors
/// [`NotCovered`] with the position of the first object that no granted one covers.
pub fn narrow(requested: &AuthorizationDetails, granted: &[Map<String, Value>]) -> Result<Vec<Map<String, Value>>, NotCovered> {
    let cover = |(position, entry)| granted.iter().find_map(|own| narrow_entry(entry, own)).ok_or(NotCovered { position });
    requested.0.iter().enumerate().map(cover).collect()
}

fn narrow_entry(requested: &Map<String, Value>, granted: &Map<String, Value>) -> Option<Map<String, Value>> {
    if type_of(requested) != type_of(granted) {
        return None;
    }
    let mut effective = granted.clone();
    for (name, value) in requested {
        let narrowed = narrow_member(value, granted.get(name)?)?;
        effective.insert(name.clone(), narrowed.clone());
    }
    Some(effective)
}

/// The requested value, where the granted one covers it.
fn narrow_member<'a>(requested: &'a Value, granted: &Value) -> Option<&'a Value> {
    let covered = match (requested, granted) {
        (Value::Array(part), Value::Array(whole)) if !part.is_empty() && part.iter().chain(whole).all(is_scalar) => {
            part.iter().all(|item| whole.contains(item))
        }
        _ => requested == granted,
    };
    covered.then_some(requested)
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

fn type_of(entry: &Map<String, Value>) -> &str {
    entry.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Not a list of authorization details (`invalid_authorization_details`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedDetails {
    /// Longer than [`AuthorizationDetails::MAX_BYTES`].
    #[error("authorization_details is longer than 8 KiB")]
    TooLarge,
    /// Not JSON, or an object that names a member twice.
    #[error("authorization_details is not JSON in which every member has a name of its own")]
    NotJson,
    /// Not an array.
    #[error("authorization_details is not a JSON array")]
    NotAnArray,
    /// More than [`AuthorizationDetails::MAX_ENTRIES`] objects.
    #[error("authorization_details has more than 16 entries")]
    TooMany,
    /// An entry is not an object.
    #[error("an entry of authorization_details is not an object")]
    NotAnObject,
    /// An entry has no `type`, or one that is not a string or empty.
    #[error("an entry of authorization_details has no type")]
    NoType,
}

/// The grant does not cover a requested object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {position} of authorization_details is not covered by the grant")]
pub struct NotCovered {
    /// Which one, counted from 0.
    pub position: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn details(value: Value) -> AuthorizationDetails {
        AuthorizationDetails::from_value(value).unwrap()
    }

    fn granted() -> Vec<Map<String, Value>> {
        details(json!([
            {"type": "account", "actions": ["list", "read"], "identifier": "1", "limits": {"max": 5}},
            {"type": "payment", "amount": 10}
        ]))
        .into_inner()
    }

    fn narrowed(request: Value) -> Result<Value, NotCovered> {
        narrow(&details(request), &granted()).map(|entries| entries.into_iter().map(Value::Object).collect())
    }

    /// RAR-01
    #[test]
    fn anything_but_an_array_of_typed_objects_is_refused() {
        assert!(AuthorizationDetails::parse(r#"[{"type":"a"}]"#).is_ok());
        assert!(AuthorizationDetails::parse("[]").unwrap().is_empty());
        for (text, error) in [
            (r#"[{"type":"a"}"#, MalformedDetails::NotJson),
            (r#"[{"type":"a","type":"b"}]"#, MalformedDetails::NotJson),
            (r#"[{"type":"a","x":{"y":1,"y":2}}]"#, MalformedDetails::NotJson),
            (r#"{"type":"a"}"#, MalformedDetails::NotAnArray),
            (r#"["a"]"#, MalformedDetails::NotAnObject),
            (r#"[{}]"#, MalformedDetails::NoType),
            (r#"[{"type":1}]"#, MalformedDetails::NoType),
            (r#"[{"type":""}]"#, MalformedDetails::NoType),
        ] {
            assert_eq!(AuthorizationDetails::parse(text), Err(error), "{text}");
        }
    }

    /// RAR-01
    #[test]
    fn the_list_has_at_most_16_entries_and_8_kib() {
        let entries = |count| Value::Array(vec![json!({"type": "a"}); count]);
        assert!(AuthorizationDetails::from_value(entries(16)).is_ok());
        assert_eq!(AuthorizationDetails::from_value(entries(17)), Err(MalformedDetails::TooMany));
        let sized = |bytes: usize| format!(r#"[{{"type":"a","x":"{}"}}]"#, "y".repeat(bytes - 21));
        assert_eq!(sized(8192).len(), 8192);
        for read in
            [AuthorizationDetails::parse as fn(&str) -> _, |text| AuthorizationDetails::from_value(serde_json::from_str(text).unwrap())]
        {
            assert!(read(&sized(8192)).is_ok());
            assert_eq!(read(&sized(8193)), Err(MalformedDetails::TooLarge));
        }
    }

    /// RAR-03, RAR-06
    #[test]
    fn a_member_left_out_keeps_its_granted_value() {
        let all = json!([{"type": "account", "actions": ["list", "read"], "identifier": "1", "limits": {"max": 5}}]);
        assert_eq!(narrowed(json!([{"type": "account"}])), Ok(all));
        let some = json!([{"type": "account", "actions": ["read"], "identifier": "1", "limits": {"max": 5}}]);
        assert_eq!(narrowed(json!([{"type": "account", "actions": ["read"]}])), Ok(some));
        assert_eq!(narrowed(json!([])), Ok(json!([])));
    }

    /// RAR-02, RAR-03, RAR-04, RAR-10
    #[test]
    fn what_the_grant_does_not_cover_is_refused() {
        assert!(narrowed(json!([{"type": "payment", "amount": 10}, {"type": "account", "limits": {"max": 5}}])).is_ok());
        for beyond in [
            json!({"type": "card"}),
            json!({"type": "Account"}),
            json!({"type": "account", "actions": ["read", "write"]}),
            json!({"type": "account", "actions": []}),
            json!({"type": "account", "actions": "read"}),
            json!({"type": "account", "identifier": "2"}),
            json!({"type": "account", "identifier": null}),
            json!({"type": "account", "limits": {}}),
            json!({"type": "account", "extra": 1}),
            json!({"type": "payment", "amount": 11}),
        ] {
            assert_eq!(narrowed(json!([{"type": "payment"}, beyond])), Err(NotCovered { position: 1 }), "{beyond}");
        }
    }

    #[test]
    fn any_granted_object_of_the_type_may_cover() {
        let granted = details(json!([{"type": "a", "id": 1}, {"type": "a", "id": 2}])).into_inner();
        assert_eq!(narrow(&details(json!([{"type": "a", "id": 2}])), &granted).unwrap(), granted[1..]);
    }
}
