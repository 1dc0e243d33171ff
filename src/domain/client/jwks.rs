//! The public keys a client registers (RFC 7591 `jwks`), parsed once.

use josekit::jwk::Jwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsVerifier, PS256, RS256};
use keybound_proofs::PublicJwk;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An algorithm a client may sign its assertions with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AssertionAlg {
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA with P-384 and SHA-384. Not under FAPI 2.0.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519, under its older name and, with one meaning, its own (RFC 9864).
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256: only for a client that is registered for it, and not under FAPI 2.0.
    #[serde(rename = "RS256")]
    Rs256,
}

impl AssertionAlg {
    /// Every algorithm, as metadata lists them; `fapi2` leaves those that FAPI 2.0 section 5.4.1 allows.
    pub const fn names(fapi2: bool) -> &'static [&'static str] {
        if fapi2 { &["ES256", "PS256", "EdDSA", "Ed25519"] } else { &["ES256", "ES384", "PS256", "EdDSA", "Ed25519", "RS256"] }
    }

    /// By its name in a JOSE header, in exactly that case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "PS256" => Self::Ps256,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "RS256" => Self::Rs256,
            _ => return None,
        })
    }

    /// Whether FAPI 2.0 allows it.
    pub const fn is_fapi2(self) -> bool {
        matches!(self, Self::Es256 | Self::Ps256 | Self::EdDsa)
    }
}

/// One key of a client for one algorithm, ready to verify.
#[derive(Clone, Debug)]
pub struct ClientKey {
    kid: Option<String>,
    alg: AssertionAlg,
    verifier: Box<dyn JwsVerifier>,
}

impl ClientKey {
    /// The algorithm it verifies.
    pub fn alg(&self) -> AssertionAlg {
        self.alg
    }

    /// Whether a header that names `kid` may mean this key: it has that name, or no name.
    pub fn answers_to(&self, kid: Option<&str>) -> bool {
        match (kid, &self.kid) {
            (Some(asked), Some(own)) => asked == own,
            _ => true,
        }
    }

    /// Verifies a JWS signature over `signing_input`.
    ///
    /// # Errors
    /// [`BadSignature`] where it is not this key's.
    pub fn verify(&self, signing_input: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.verifier.verify(signing_input, signature).map_err(|_| BadSignature)
    }
}

/// Not a signature by this key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a signature by this key")]
pub struct BadSignature;

/// The most keys one client may register.
pub(super) const MAX_KEYS: usize = 16;

/// Parses a JWK Set for the algorithms in `allowed`.
///
/// Keys of an unknown type and keys for encryption are passed over (RFC 7517 section 5); a private or symmetric key is an
/// error, because it was given away by registering it.
pub(super) fn parse(jwks: &Map<String, Value>, allowed: impl Fn(AssertionAlg) -> bool) -> Result<Vec<ClientKey>, &'static str> {
    parse_at_most(MAX_KEYS, jwks, allowed)
}

/// Parses a JWK Set of at most `max_keys` keys for every algorithm there is; which of them count is for the caller to say.
///
/// # Errors
/// What is wrong with it, as the end of a sentence: among others that it holds a private key, or no key that can verify.
pub fn parse_key_set(jwks: &Map<String, Value>, max_keys: usize) -> Result<Vec<ClientKey>, &'static str> {
    parse_at_most(max_keys, jwks, |_| true)
}

fn parse_at_most(
    max_keys: usize,
    jwks: &Map<String, Value>,
    allowed: impl Fn(AssertionAlg) -> bool,
) -> Result<Vec<ClientKey>, &'static str> {
    let Some(Value::Array(keys)) = jwks.get("keys") else {
        return Err("must be an object with an array `keys`");
    };
    if keys.len() > max_keys {
        return Err(if max_keys == MAX_KEYS { "holds more than 16 keys" } else { "holds too many keys" });
    }
    let mut parsed = Vec::new();
    for key in keys {
        let Value::Object(members) = key else {
            return Err("every key must be an object");
        };
        parse_key(members, &allowed, &mut parsed)?;
    }
    if parsed.is_empty() { Err("holds no key for an algorithm that this client may use") } else { Ok(parsed) }
}

fn parse_key(members: &Map<String, Value>, allowed: &impl Fn(AssertionAlg) -> bool, out: &mut Vec<ClientKey>) -> Result<(), &'static str> {
    if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
        return Err("holds a private or symmetric key: register public keys only, and replace this one");
    }
    if !is_for_verification(members) {
        return Ok(());
    }
    let kid = match members.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err("`kid` must be a string"),
    };
    let (names, algs): (&[&str], &[AssertionAlg]) = match (text(members, "kty"), text(members, "crv")) {
        (Some("EC"), Some("P-256")) => (&["kty", "crv", "x", "y"], &[AssertionAlg::Es256]),
        (Some("EC"), Some("P-384")) => (&["kty", "crv", "x", "y"], &[AssertionAlg::Es384]),
        (Some("OKP"), Some("Ed25519")) => (&["kty", "crv", "x"], &[AssertionAlg::EdDsa]),
        (Some("RSA"), _) => (&["kty", "n", "e"], &[AssertionAlg::Ps256, AssertionAlg::Rs256]),
        _ => return Ok(()),
    };
    // Only what makes the key, so that nothing else in the registration steers the verifier.
    let bare: Map<String, Value> =
        names.iter().filter_map(|name| members.get(*name).map(|value| ((*name).to_owned(), value.clone()))).collect();
    // Members of the one legal spelling, a point on its curve, a modulus of 2048 to 4096 bits.
    PublicJwk::from_json(&serde_json::to_vec(&bare).map_err(|_| BAD_KEY)?).map_err(|_| BAD_KEY)?;
    let jwk = Jwk::from_map(bare).map_err(|_| BAD_KEY)?;
    let registered = text(members, "alg");
    for &alg in algs {
        let fits = registered.is_none_or(|name| AssertionAlg::from_name(name) == Some(alg));
        if fits && allowed(alg) {
            let verifier = verifier(alg, &jwk).ok_or(BAD_KEY)?;
            out.push(ClientKey { kid: kid.clone(), alg, verifier });
        }
    }
    Ok(())
}

fn verifier(alg: AssertionAlg, jwk: &Jwk) -> Option<Box<dyn JwsVerifier>> {
    Some(match alg {
        AssertionAlg::Es256 => Box::new(ES256.verifier_from_jwk(jwk).ok()?),
        AssertionAlg::Es384 => Box::new(ES384.verifier_from_jwk(jwk).ok()?),
        AssertionAlg::Ps256 => Box::new(PS256.verifier_from_jwk(jwk).ok()?),
        AssertionAlg::EdDsa => Box::new(EdDSA.verifier_from_jwk(jwk).ok()?),
        AssertionAlg::Rs256 => Box::new(RS256.verifier_from_jwk(jwk).ok()?),
    })
}

fn is_for_verification(members: &Map<String, Value>) -> bool {
    let usage = members.get("use").is_none_or(|value| value == "sig");
    let operations = members.get("key_ops").is_none_or(|value| value.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    usage && operations
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
const BAD_KEY: &str = "holds a key that is not valid; RSA keys have 2048 to 4096 bits and the exponent 65537";
