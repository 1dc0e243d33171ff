//! Signing tokens.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::private_jwk::{Parsed, PrivateKey};

/// An algorithm that Keybound signs with (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum SigningAlg {
    /// ECDSA with P-256 and SHA-256: what every resource server can verify, hence the default.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA with P-384 and SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PSS with SHA-256, 2048 bits.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlg {
    /// Its name in a JOSE header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By its name, in exactly that case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Es384, Self::Ps256, Self::EdDsa].into_iter().find(|alg| alg.name() == name)
    }

    /// The left half of the digest that goes with the algorithm, in base64url: `at_hash` (OpenID Connect Core section 3.1.3.6).
    pub fn half_hash(self, text: &str) -> String {
        match self {
            Self::Es256 | Self::Ps256 => URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16]),
            Self::Es384 => URL_SAFE_NO_PAD.encode(&Sha384::digest(text)[..24]),
            Self::EdDsa => URL_SAFE_NO_PAD.encode(&Sha512::digest(text)[..32]),
        }
    }
}

/// A private key that signs JWTs, together with what is published of it.
pub struct TokenSigner {
    alg: SigningAlg,
    kid: String,
    key: PrivateKey,
    public: Map<String, Value>,
    /// The encoded headers of the types that are signed all the time.
    headers: Vec<(&'static str, String)>,
}

impl TokenSigner {
    /// Takes a parsed key and proves that it works: what it signs verifies with what is published of it.
    pub(super) fn new(parsed: Parsed) -> Result<Self, SignError> {
        let Parsed { key, alg, public, kid } = parsed;
        let mut signer = Self { alg, kid, key, public, headers: Vec::new() };
        signer.headers = COMMON_TYPES.iter().map(|typ| (*typ, signer.header(typ))).collect();
        let probe = b"keybound self-test";
        let signature = signer.key.sign(probe).ok_or(SignError::Library)?;
        signer.verify(probe, &signature)?;
        Ok(signer)
    }

    /// The algorithm.
    pub fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// The key's name in headers and in the JWK Set: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A compact JWS (RFC 7515 section 7.1) over `claims`, with the header members `alg`, `kid` and `typ`.
    ///
    /// # Errors
    /// [`SignError`] where the claims have no JSON form, or the signing library fails.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let payload = serde_json::to_vec(claims).map_err(|_| SignError::Claims)?;
        let mut token = match self.headers.iter().find(|(common, _)| *common == typ) {
            Some((_, header)) => {
                let mut token = String::with_capacity(header.len() + payload.len() * 4 / 3 + 16 + MAX_COMMON_SIGNATURE_LEN);
                token.push_str(header);
                token
            }
            None => self.header(typ),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&payload, &mut token);
        let signature = self.key.sign(token.as_bytes()).ok_or(SignError::Library)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }

    /// The public key as a JWK, with `use`, `alg` and `kid`.
    pub fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.public.clone();
        for (name, value) in [("use", "sig"), ("alg", self.alg.name()), ("kid", self.kid.as_str())] {
            jwk.insert(name.to_owned(), Value::from(value));
        }
        jwk
    }

    /// Verifies a signature with the published members.
    ///
    /// # Errors
    /// [`SignError::Library`] where it doesn't verify.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
        let bytes = |name: &str| {
            let text = self.public.get(name).and_then(Value::as_str).unwrap_or_default();
            URL_SAFE_NO_PAD.decode(text).unwrap_or_default()
        };
        let verified = match self.alg {
            SigningAlg::Es256 | SigningAlg::Es384 => {
                let point = [vec![4], bytes("x"), bytes("y")].concat();
                let alg = if self.alg == SigningAlg::Es256 { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P384_SHA384_FIXED };
                UnparsedPublicKey::new(alg, point).verify(message, signature)
            }
            SigningAlg::EdDsa => UnparsedPublicKey::new(&ED25519, bytes("x")).verify(message, signature),
            SigningAlg::Ps256 => {
                RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| SignError::Library)
    }

    fn header(&self, typ: &str) -> String {
        let header = serde_json::json!({ "alg": self.alg.name(), "kid": self.kid, "typ": typ });
        URL_SAFE_NO_PAD.encode(header.to_string())
    }
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSigner").field("alg", &self.alg).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A token could not be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// The claims have no JSON form.
    #[error("the claims of a token have no JSON form")]
    Claims,
    /// The signing library failed, or made a signature that doesn't verify.
    #[error("the signing library failed")]
    Library,
}

const COMMON_TYPES: [&str; 2] = ["at+jwt", "JWT"];

/// In base64url; a longer one, of RSA, costs one more allocation.
const MAX_COMMON_SIGNATURE_LEN: usize = 128;
