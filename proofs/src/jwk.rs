//! Public keys as JWKs (RFC 7517), validated before anything is done with them.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::edwards;
use crate::jose::{self, Json, JsonError};
use crate::{Alg, Jkt};

/// A public key that is fit to verify proofs: P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits.
///
/// A value of this type has every member in its one canonical spelling, so that one key has one thumbprint; its point lies on its
/// curve; its RSA exponent is 65537. Members that play no part in the key (`kid`, `x5c`, `ext`, ...) are dropped.
///
/// It does NOT say that anybody holds the private half, or that anybody trusts the key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicJwk {
    material: Material,
    /// The `alg` member, where the key has one.
    alg: Option<Alg>,
}

/// What a backend verifies with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyMaterial<'a> {
    /// A point of P-256, uncompressed (SEC 1 section 2.3.3): 0x04, x, y.
    P256(&'a [u8; 65]),
    /// A point of P-384, uncompressed (SEC 1 section 2.3.3): 0x04, x, y.
    P384(&'a [u8; 97]),
    /// A point of edwards25519, encoded (RFC 8032 section 5.1.2).
    Ed25519(&'a [u8; 32]),
    /// An RSA modulus, big-endian without leading zeros. The exponent is 65537.
    Rsa(&'a [u8]),
}

impl PublicJwk {
    /// Reads and validates a JWK.
    ///
    /// # Errors
    /// [`JwkError`]. Private members are refused by their presence, before anything else about the key is looked at.
    pub fn from_json(json: &[u8]) -> Result<Self, JwkError> {
        let [private @ .., kty, crv, x, y, n, e, alg, usage, key_ops] = jose::members(json, MEMBERS)?;
        if private.iter().any(Option::is_some) {
            return Err(JwkError::Private);
        }
        let material = match (text(kty)?.as_ref(), crv) {
            ("EC", Some(Json::Text(curve))) if curve == "P-256" => Material::p256(&text(x)?, &text(y)?)?,
            ("EC", Some(Json::Text(curve))) if curve == "P-384" => Material::p384(&text(x)?, &text(y)?)?,
            ("OKP", Some(Json::Text(curve))) if curve == "Ed25519" => Material::ed25519(&text(x)?)?,
            ("RSA", _) => Material::rsa(&text(n)?, &text(e)?)?,
            ("EC" | "OKP", None) => return Err(JwkError::Member),
            _ => return Err(JwkError::UnsupportedKind),
        };
        Ok(Self { alg: declared_use(&material, alg, usage, key_ops)?, material })
    }

    /// Whether the key fits the algorithm: by its kind, and by its own `alg` member where it has one.
    ///
    /// `EdDSA` and `Ed25519` name one algorithm, so a key that declares either fits both (RFC 9864 section 2.2).
    pub fn supports(&self, alg: Alg) -> bool {
        self.material.fits(alg) && self.alg.is_none_or(|declared| declared == alg || self.material.fits(declared))
    }

    /// The thumbprint (RFC 7638): SHA-256 over the required members in lexical order.
    pub fn thumbprint(&self) -> Jkt {
        Jkt::from_bytes(Sha256::digest(self.required_members().as_bytes()).into())
    }

    /// The JWK with its required members only.
    pub fn to_json_value(&self) -> serde_json::Value {
        let members = match &self.material {
            Material::P256(point) => ec_members("P-256", point, 32),
            Material::P384(point) => ec_members("P-384", point, 48),
            Material::Ed25519(point) => vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", jose::encode_base64url(point))],
            Material::Rsa(modulus) => vec![("e", "AQAB".into()), ("kty", "RSA".into()), ("n", jose::encode_base64url(modulus))],
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), serde_json::Value::String(value))).collect()
    }

    /// The key itself, for a [`Verifier`](crate::backend::Verifier).
    pub fn material(&self) -> KeyMaterial<'_> {
        match &self.material {
            Material::P256(point) => KeyMaterial::P256(point),
            Material::P384(point) => KeyMaterial::P384(point),
            Material::Ed25519(point) => KeyMaterial::Ed25519(point),
            Material::Rsa(modulus) => KeyMaterial::Rsa(modulus),
        }
    }

    /// The JSON text a thumbprint is taken of (RFC 7638 section 3.3); also what a proof's `jwk` holds.
    pub(crate) fn required_members(&self) -> String {
        match &self.material {
            Material::P256(point) => ec_json("P-256", point, 32),
            Material::P384(point) => ec_json("P-384", point, 48),
            Material::Ed25519(point) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, jose::encode_base64url(point)),
            Material::Rsa(modulus) => format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, jose::encode_base64url(modulus)),
        }
    }

    pub(crate) fn from_p256(point: [u8; 65]) -> Self {
        Self { material: Material::P256(point), alg: None }
    }

    pub(crate) fn from_p384(point: [u8; 97]) -> Self {
        Self { material: Material::P384(point), alg: None }
    }

    #[cfg(feature = "aws-lc")]
    pub(crate) fn from_rsa(modulus: Vec<u8>) -> Result<Self, JwkError> {
        Ok(Self { material: Material::checked_rsa(modulus)?, alg: None })
    }

    pub(crate) fn from_ed25519(point: [u8; 32]) -> Self {
        Self { material: Material::Ed25519(point), alg: None }
    }
}

impl fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicJwk({})", self.thumbprint())
    }
}

/// Why a JWK is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwkError {
    /// Not a JSON object without duplicates.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member that only private or symmetric keys have is there, whatever its value.
    #[error("the key holds a private member")]
    Private,
    /// `kty` or `crv` names a kind of key that can't sign proofs here; symmetric keys are among them.
    #[error("the kind of key is not supported")]
    UnsupportedKind,
    /// A required member is missing or not a string.
    #[error("a required member of the key is missing or not a string")]
    Member,
    /// A required member is not in its canonical spelling: base64url, width of a coordinate, leading zeros.
    #[error("a member of the key is not in its canonical form")]
    NotCanonical,
    /// The coordinates are not those of a point on the curve, or of one that signs nothing (small order).
    #[error("the key is not a usable point on its curve")]
    NotOnCurve,
    /// The RSA modulus is shorter than 2048 or longer than 4096 bits or even, or the exponent is not 65537.
    #[error("the RSA key is outside the accepted bounds")]
    RsaBounds,
    /// `use`, `key_ops` or `alg` say that the key is not for verifying with an algorithm of its kind.
    #[error("the key declares another use")]
    OtherUse,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    P256([u8; 65]),
    P384([u8; 97]),
    Ed25519([u8; 32]),
    Rsa(Vec<u8>),
}

impl Material {
    fn p256(x: &str, y: &str) -> Result<Self, JwkError> {
        let point: [u8; 65] = uncompressed::<32, 65>(x, y)?;
        p256::PublicKey::from_sec1_bytes(&point).map_err(|_| JwkError::NotOnCurve)?;
        Ok(Self::P256(point))
    }

    fn p384(x: &str, y: &str) -> Result<Self, JwkError> {
        let point: [u8; 97] = uncompressed::<48, 97>(x, y)?;
        p384::PublicKey::from_sec1_bytes(&point).map_err(|_| JwkError::NotOnCurve)?;
        Ok(Self::P384(point))
    }

    fn ed25519(x: &str) -> Result<Self, JwkError> {
        let point = jose::decode_base64url_exact::<32>(x).map_err(|_| JwkError::NotCanonical)?;
        if !edwards::is_canonical(&point) {
            return Err(JwkError::NotCanonical);
        }
        if edwards::is_small_order(&point) || ed25519_dalek::VerifyingKey::from_bytes(&point).is_err() {
            return Err(JwkError::NotOnCurve);
        }
        Ok(Self::Ed25519(point))
    }

    fn rsa(n: &str, e: &str) -> Result<Self, JwkError> {
        let modulus = jose::decode_base64url(n).map_err(|_| JwkError::NotCanonical)?;
        let exponent = jose::decode_base64url(e).map_err(|_| JwkError::NotCanonical)?;
        match exponent.as_slice() {
            [1, 0, 1] => Self::checked_rsa(modulus),
            [] | [0, ..] => Err(JwkError::NotCanonical),
            _ => Err(JwkError::RsaBounds),
        }
    }

    fn checked_rsa(modulus: Vec<u8>) -> Result<Self, JwkError> {
        let (Some(&first), Some(&last)) = (modulus.first(), modulus.last()) else { return Err(JwkError::NotCanonical) };
        if first == 0 {
            return Err(JwkError::NotCanonical);
        }
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        if !(2048..=4096).contains(&bits) || last & 1 == 0 {
            return Err(JwkError::RsaBounds);
        }
        Ok(Self::Rsa(modulus))
    }

    fn fits(&self, alg: Alg) -> bool {
        match self {
            Self::P256(_) => alg == Alg::Es256,
            Self::P384(_) => alg == Alg::Es384,
            Self::Ed25519(_) => matches!(alg, Alg::EdDsa | Alg::Ed25519),
            Self::Rsa(_) => alg == Alg::Ps256,
        }
    }
}

fn text(member: Option<Json<'_>>) -> Result<Cow<'_, str>, JwkError> {
    match member {
        Some(Json::Text(text)) => Ok(text),
        _ => Err(JwkError::Member),
    }
}

/// Holds the optional members against the key (RFC 7517 sections 4.2 to 4.4).
fn declared_use(
    material: &Material,
    alg: Option<Json<'_>>,
    usage: Option<Json<'_>>,
    key_ops: Option<Json<'_>>,
) -> Result<Option<Alg>, JwkError> {
    if usage.is_some_and(|usage| usage != Json::Text("sig".into())) {
        return Err(JwkError::OtherUse);
    }
    if let Some(operations) = key_ops {
        let Json::Array(operations) = operations else { return Err(JwkError::OtherUse) };
        let mut verifies = false;
        jose::array(operations, |operation| verifies |= operation == Json::Text("verify".into()))?;
        if !verifies {
            return Err(JwkError::OtherUse);
        }
    }
    let Some(alg) = alg else { return Ok(None) };
    match alg {
        Json::Text(name) => Alg::from_name(&name).filter(|alg| material.fits(*alg)).map(Some).ok_or(JwkError::OtherUse),
        _ => Err(JwkError::OtherUse),
    }
}

fn uncompressed<const WIDTH: usize, const POINT: usize>(x: &str, y: &str) -> Result<[u8; POINT], JwkError> {
    let x = jose::decode_base64url_exact::<WIDTH>(x).map_err(|_| JwkError::NotCanonical)?;
    let y = jose::decode_base64url_exact::<WIDTH>(y).map_err(|_| JwkError::NotCanonical)?;
    let mut point = [4; POINT];
    point[1..=WIDTH].copy_from_slice(&x);
    point[1 + WIDTH..].copy_from_slice(&y);
    Ok(point)
}

fn ec_members(curve: &'static str, point: &[u8], width: usize) -> Vec<(&'static str, String)> {
    let (x, y) = point[1..].split_at(width);
    vec![("crv", curve.into()), ("kty", "EC".into()), ("x", jose::encode_base64url(x)), ("y", jose::encode_base64url(y))]
}

fn ec_json(curve: &str, point: &[u8], width: usize) -> String {
    let (x, y) = point[1..].split_at(width);
    format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, jose::encode_base64url(x), jose::encode_base64url(y))
}

/// First the private ones (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2, and `priv` of key types to come), then those
/// that are read.
const MEMBERS: [&str; 18] =
    ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops"];
