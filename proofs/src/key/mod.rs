//! The client's side: a private key that makes proofs.

#[cfg(feature = "aws-lc")]
mod rsa;

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use zeroize::Zeroizing;

use crate::builder::ProofBuilder;
use crate::jose::{self, Json, JsonError};
use crate::{Alg, Entropy, Jkt, JwkError, PublicJwk};

/// A private key for proofs, with the one algorithm it signs with.
///
/// ECDSA signatures are deterministic (RFC 6979), so that a weak generator at signing time can't give the key away. PS256 exists with the
/// feature `aws-lc` only; there the library uses its own generator for keys and salts. The key is wiped when dropped and never
/// printed.
pub struct ProofKey {
    alg: Alg,
    secret: Secret,
    public: PublicJwk,
    jkt: Jkt,
}

impl ProofKey {
    /// Makes a new key. RSA keys have 2048 bits.
    ///
    /// # Errors
    /// [`KeyError::AlgUnsupported`] for PS256 without the feature `aws-lc`; [`KeyError::Entropy`] where `entropy` gives no
    /// usable bytes.
    pub fn generate(alg: Alg, entropy: &mut impl Entropy) -> Result<Self, KeyError> {
        match alg {
            Alg::Es256 => draw::<32, _>(entropy, |seed| p256::ecdsa::SigningKey::from_slice(seed).ok()).map(Self::from_p256),
            Alg::Es384 => draw::<48, _>(entropy, |seed| p384::ecdsa::SigningKey::from_slice(seed).ok()).map(Self::from_p384),
            Alg::EdDsa | Alg::Ed25519 => {
                draw::<32, _>(entropy, |seed| Some(ed25519_dalek::SigningKey::from_bytes(seed))).map(|key| Self::from_ed25519(alg, key))
            }
            #[cfg(feature = "aws-lc")]
            Alg::Ps256 => rsa::RsaKey::generate().and_then(Self::from_rsa),
            #[cfg(not(feature = "aws-lc"))]
            Alg::Ps256 => Err(KeyError::AlgUnsupported),
        }
    }

    /// Reads a private JWK (RFC 7517, RFC 7518 section 6, RFC 8037).
    ///
    /// The public half is derived, never believed: `x`, `y` and `n` that don't belong to the private half are refused. A key of Ed25519
    /// signs as `EdDSA` unless its `alg` says `Ed25519`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_private_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let [kty, crv, x, y, d, alg] = jose::members(json, ["kty", "crv", "x", "y", "d", "alg"])?;
        let (Some(Json::Text(kty)), Some(Json::Text(d))) = (kty, d) else { return Err(KeyError::Member) };
        let alg = match alg {
            None => None,
            Some(Json::Text(name)) => Some(Alg::from_name(&name).ok_or(KeyError::AlgUnsupported)?),
            Some(_) => return Err(KeyError::Member),
        };
        let curve = match &crv {
            Some(Json::Text(curve)) => curve,
            _ => "",
        };
        let key = match (kty.as_ref(), curve) {
            ("EC", "P-256") => {
                let secret = Zeroizing::new(jose::decode_base64url_exact::<32>(&d).map_err(|_| KeyError::NotCanonical)?);
                Self::from_p256(p256::ecdsa::SigningKey::from_slice(secret.as_slice()).map_err(|_| KeyError::Invalid)?)
            }
            ("EC", "P-384") => {
                let secret = Zeroizing::new(jose::decode_base64url_exact::<48>(&d).map_err(|_| KeyError::NotCanonical)?);
                Self::from_p384(p384::ecdsa::SigningKey::from_slice(secret.as_slice()).map_err(|_| KeyError::Invalid)?)
            }
            ("OKP", "Ed25519") => {
                let secret = Zeroizing::new(jose::decode_base64url_exact::<32>(&d).map_err(|_| KeyError::NotCanonical)?);
                let named = alg.filter(|alg| *alg == Alg::Ed25519).unwrap_or(Alg::EdDsa);
                Self::from_ed25519(named, ed25519_dalek::SigningKey::from_bytes(&secret))
            }
            #[cfg(feature = "aws-lc")]
            ("RSA", _) => Self::from_rsa(rsa::RsaKey::from_jwk(json)?)?,
            _ => return Err(KeyError::AlgUnsupported),
        };
        if !alg.is_none_or(|alg| key.public.supports(alg)) {
            return Err(KeyError::AlgUnsupported);
        }
        let public = key.public.to_json_value();
        let mismatch =
            |member: Option<Json<'_>>, name| member.is_some_and(|given| !matches!(given, Json::Text(text) if public[name] == *text));
        if mismatch(x, "x") || mismatch(y, "y") {
            return Err(KeyError::Mismatch);
        }
        Ok(key)
    }

    /// The private JWK, with `alg`. It is as secret as the key: wiped when dropped, and the caller's to keep.
    pub fn to_private_jwk(&self) -> Zeroizing<String> {
        let public = self.public.required_members();
        let open = public.strip_suffix('}').unwrap_or(&public);
        let mut jwk = Zeroizing::new(String::with_capacity(open.len() + MAX_PRIVATE_MEMBERS));
        jwk.push_str(open);
        let mut push = |name: &str, value: &[u8]| {
            let value = Zeroizing::new(jose::encode_base64url(value));
            for part in [",\"", name, "\":\"", value.as_str(), "\""] {
                jwk.push_str(part);
            }
        };
        match &self.secret {
            Secret::P256(key) => push("d", Zeroizing::new(<[u8; 32]>::from(key.to_bytes())).as_slice()),
            Secret::P384(key) => push("d", Zeroizing::new(<[u8; 48]>::from(key.to_bytes())).as_slice()),
            Secret::Ed25519(key) => push("d", key.as_bytes()),
            #[cfg(feature = "aws-lc")]
            Secret::Rsa(key) => key.private_members().for_each(|(name, value)| push(name, value)),
        }
        for part in [",\"alg\":\"", self.alg.name(), "\"}"] {
            jwk.push_str(part);
        }
        jwk
    }

    /// The public half.
    pub const fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    /// The thumbprint of the public half.
    pub const fn jkt(&self) -> &Jkt {
        &self.jkt
    }

    /// The algorithm of the signatures.
    pub const fn alg(&self) -> Alg {
        self.alg
    }

    /// Begins a proof for one request: its method and its URI, whose query and fragment are left out of `htu`.
    pub const fn proof<'a>(&'a self, method: &'a str, htu: &'a str) -> ProofBuilder<'a> {
        ProofBuilder::new(self, method, htu)
    }

    /// Signs the bytes of any JWS with this key: header and payload segments with the dot between them.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign(&self, signing_input: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.secret {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(signing_input).map_err(|_| SignError)?;
                Ok(signature.to_bytes().to_vec())
            }
            Secret::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(signing_input).map_err(|_| SignError)?;
                Ok(signature.to_bytes().to_vec())
            }
            Secret::Ed25519(key) => key.try_sign(signing_input).map(|signature| signature.to_bytes().to_vec()).map_err(|_| SignError),
            #[cfg(feature = "aws-lc")]
            Secret::Rsa(key) => key.sign(signing_input),
        }
    }

    fn from_p256(key: p256::ecdsa::SigningKey) -> Self {
        let mut point = [0; 65];
        point.copy_from_slice(key.verifying_key().to_sec1_point(false).as_bytes());
        Self::new(Alg::Es256, Secret::P256(key), PublicJwk::from_p256(point))
    }

    fn from_p384(key: p384::ecdsa::SigningKey) -> Self {
        let mut point = [0; 97];
        point.copy_from_slice(key.verifying_key().to_sec1_point(false).as_bytes());
        Self::new(Alg::Es384, Secret::P384(key), PublicJwk::from_p384(point))
    }

    fn from_ed25519(alg: Alg, key: ed25519_dalek::SigningKey) -> Self {
        let public = PublicJwk::from_ed25519(key.verifying_key().to_bytes());
        Self::new(alg, Secret::Ed25519(key), public)
    }

    #[cfg(feature = "aws-lc")]
    fn from_rsa(key: rsa::RsaKey) -> Result<Self, KeyError> {
        let public = key.public_jwk()?;
        Ok(Self::new(Alg::Ps256, Secret::Rsa(key), public))
    }

    fn new(alg: Alg, secret: Secret, public: PublicJwk) -> Self {
        Self { alg, secret, jkt: public.thumbprint(), public }
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofKey({}, {})", self.alg, self.jkt)
    }
}

/// Why there is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a JSON object without duplicates.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A required member is missing or not a string.
    #[error("a required member of the private key is missing or not a string")]
    Member,
    /// A member is not in its canonical spelling.
    #[error("a member of the private key is not in its canonical form")]
    NotCanonical,
    /// The private value is out of range, or the parts of an RSA key don't fit together.
    #[error("the private key is not valid")]
    Invalid,
    /// The public half that came along is not the one of the private half.
    #[error("the public half does not belong to the private half")]
    Mismatch,
    /// The kind of key, or its `alg`, is nothing that can sign here.
    #[error("the kind of key is not supported")]
    AlgUnsupported,
    /// The public half would not be accepted by a verifier.
    #[error("the public half is not acceptable: {0}")]
    Public(#[from] JwkError),
    /// No usable bytes came from the source of randomness.
    #[error("the source of randomness gives no usable bytes")]
    Entropy,
}

/// The signature could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the signature could not be made")]
pub struct SignError;

/// The libraries wipe their keys when these are dropped.
enum Secret {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    #[cfg(feature = "aws-lc")]
    Rsa(rsa::RsaKey),
}

/// Draws seeds until one makes a key. A random seed is out of a curve's range less often than once in four thousand million draws, so
/// a source that fails a few times in a row is no source.
fn draw<const N: usize, K>(entropy: &mut impl Entropy, make: impl Fn(&[u8; N]) -> Option<K>) -> Result<K, KeyError> {
    let mut seed = Zeroizing::new([0; N]);
    for _ in 0..8 {
        entropy.fill(seed.as_mut_slice());
        if let Some(key) = make(&seed) {
            return Ok(key);
        }
    }
    Err(KeyError::Entropy)
}

/// Room for the private members of an RSA key of 4096 bits, so that the text of a key is not left behind by growing.
const MAX_PRIVATE_MEMBERS: usize = 4096;
