//! A proof that is not signed yet: everything in it can be changed.

use serde_json::{Map, Value, json};

use super::{Key, b64, unique};

/// The parts of a proof, each of which can be replaced by any value or by any bytes.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// The members of the header.
    pub(crate) header: Map<String, Value>,
    /// The members of the payload.
    pub(crate) claims: Map<String, Value>,
    /// Sent as the header instead, before base64url.
    pub(crate) header_bytes: Option<Vec<u8>>,
    /// Sent as the payload instead, before base64url.
    pub(crate) claims_bytes: Option<Vec<u8>>,
    /// The key that signs.
    pub(crate) key: Key,
}

impl Draft {
    /// A proof with which nothing is wrong.
    pub(crate) fn new(key: &Key, htm: &str, htu: &str, iat: i64) -> Self {
        let object = |value: Value| if let Value::Object(members) = value { members } else { Map::new() };
        Self {
            header: object(json!({"typ": "dpop+jwt", "alg": key.alg(), "jwk": key.jwk()})),
            claims: object(json!({"jti": unique(), "htm": htm, "htu": htu, "iat": iat})),
            header_bytes: None,
            claims_bytes: None,
            key: key.clone(),
        }
    }

    /// Sets a claim.
    #[must_use]
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a member of the header.
    #[must_use]
    pub(crate) fn head(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a member of the header out.
    #[must_use]
    pub(crate) fn without_head(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a member of the key in the header.
    #[must_use]
    pub(crate) fn jwk(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(jwk) = self.header.get_mut("jwk").and_then(Value::as_object_mut) {
            jwk.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Leaves a member of the key in the header out.
    #[must_use]
    pub(crate) fn without_jwk(mut self, name: &str) -> Self {
        if let Some(jwk) = self.header.get_mut("jwk").and_then(Value::as_object_mut) {
            jwk.remove(name);
        }
        self
    }

    /// Replaces the text of the header.
    #[must_use]
    pub(crate) fn header_text(mut self, edit: impl FnOnce(String) -> String) -> Self {
        self.header_bytes = Some(edit(Value::Object(self.header.clone()).to_string()).into_bytes());
        self
    }

    /// Replaces the text of the payload.
    #[must_use]
    pub(crate) fn claims_text(mut self, edit: impl FnOnce(String) -> String) -> Self {
        self.claims_bytes = Some(edit(Value::Object(self.claims.clone()).to_string()).into_bytes());
        self
    }

    /// The same claims, proven by another key with its own algorithm.
    #[must_use]
    pub(crate) fn by(self, key: &Key) -> Self {
        let draft = self.head("alg", key.alg()).head("jwk", key.jwk());
        Self { key: key.clone(), ..draft }
    }

    /// Signed by another key than the one in the header.
    #[must_use]
    pub(crate) fn signed_by(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    /// The text of a claim.
    pub(crate) fn text(&self, name: &str) -> String {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// What is signed.
    pub(crate) fn signing_input(&self) -> String {
        let encode = |bytes: &Option<Vec<u8>>, members: &Map<String, Value>| match bytes {
            Some(bytes) => b64(bytes),
            None => b64(Value::Object(members.clone()).to_string()),
        };
        format!("{}.{}", encode(&self.header_bytes, &self.header), encode(&self.claims_bytes, &self.claims))
    }

    /// The signature over it.
    pub(crate) fn signature(&self) -> Vec<u8> {
        let alg = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        self.key.sign_as(alg, self.signing_input().as_bytes())
    }

    /// The proof.
    pub(crate) fn sign(&self) -> String {
        self.with_signature(self.signature())
    }

    /// The proof with other bytes as its signature.
    pub(crate) fn with_signature(&self, signature: impl AsRef<[u8]>) -> String {
        format!("{}.{}", self.signing_input(), b64(signature))
    }
}
