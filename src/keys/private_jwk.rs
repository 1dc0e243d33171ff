//! Signing keys as private JWKs (RFC 7517), and their way into the signing library.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jwk::alg::rsa::RsaKeyPair as JoseRsaKeyPair;
use keybound_proofs::{Entropy, PublicJwk};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::SigningAlg;
use crate::domain::strict_json;

/// A private key that was checked against its public half.
pub(super) enum PrivateKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl PrivateKey {
    /// A JWS signature over `message` (RFC 7518 section 3); `None` where the library fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(key) => key.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(key) => key.try_sign(message).ok().map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

/// What a private JWK holds.
pub(super) struct Parsed {
    pub(super) key: PrivateKey,
    pub(super) alg: SigningAlg,
    /// The members that make the key, and nothing private.
    pub(super) public: Map<String, Value>,
    pub(super) kid: String,
}

/// Makes a key and writes it as a private JWK. The randomness of elliptic-curve keys is the caller's; RSA primes come from
/// the signing library's own generator.
pub(super) fn generate(alg: SigningAlg, entropy: &mut dyn Entropy) -> Option<Zeroizing<String>> {
    let members = match alg {
        SigningAlg::Es256 => generate_ec(&ECDH_P256, "P-256", 32, entropy)?,
        SigningAlg::Es384 => generate_ec(&ECDH_P384, "P-384", 48, entropy)?,
        SigningAlg::EdDsa => {
            let mut seed = Zeroizing::new([0; 32]);
            entropy.fill(seed.as_mut());
            let key = Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).ok()?;
            let x = URL_SAFE_NO_PAD.encode(key.public_key());
            vec![("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", x), ("d", URL_SAFE_NO_PAD.encode(seed.as_ref()))]
        }
        SigningAlg::Ps256 => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
            let der: Pkcs8V1Der<'_> = key.as_der().ok()?;
            let jwk: Map<String, Value> = JoseRsaKeyPair::from_der(der.as_ref()).ok()?.to_jwk_key_pair().into();
            RSA_MEMBERS.iter().filter_map(|name| Some((*name, jwk.get(*name)?.as_str()?.to_owned()))).collect()
        }
    };
    let mut jwk: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    let kid = thumbprint(&public_half(&jwk, alg))?;
    for (name, value) in [("alg", alg.name()), ("use", "sig"), ("kid", kid.as_str())] {
        jwk.insert(name.to_owned(), Value::from(value));
    }
    serde_json::to_string_pretty(&jwk).ok().map(Zeroizing::new)
}

fn generate_ec(
    curve: &'static agreement::Algorithm,
    name: &str,
    width: usize,
    entropy: &mut dyn Entropy,
) -> Option<Vec<(&'static str, String)>> {
    let mut scalar = Zeroizing::new(vec![0; width]);
    // A random scalar is out of range once in 2^32 (P-256) or less; a broken source must not keep us here for ever.
    for _ in 0..8 {
        entropy.fill(&mut scalar);
        let Some(point) = ec_point(curve, &scalar) else { continue };
        let (x, y) = point[1..].split_at(width);
        return Some(vec![
            ("kty", "EC".to_owned()),
            ("crv", name.to_owned()),
            ("x", URL_SAFE_NO_PAD.encode(x)),
            ("y", URL_SAFE_NO_PAD.encode(y)),
            ("d", URL_SAFE_NO_PAD.encode(scalar.as_slice())),
        ]);
    }
    None
}

fn ec_point(curve: &'static agreement::Algorithm, scalar: &[u8]) -> Option<Vec<u8>> {
    let key = agreement::PrivateKey::from_private_key(curve, scalar).ok()?;
    Some(key.compute_public_key().ok()?.as_ref().to_vec())
}

/// Reads a private JWK.
///
/// # Errors
/// What is wrong with it, without a byte of it: among others a private half that doesn't fit the public one.
pub(super) fn parse(text: &str) -> Result<Parsed, &'static str> {
    let jwk = strict_json::parse_object(text.as_bytes()).map_err(|_| "is not a JSON object in which every member has a name of its own")?;
    let alg = member(&jwk, "alg").and_then(SigningAlg::from_name).ok_or("has no `alg` of ES256, ES384, PS256 or EdDSA")?;
    if jwk.get("use").is_some_and(|usage| usage != "sig") {
        return Err("is not for signing: its `use` is not \"sig\"");
    }
    let key = match alg {
        SigningAlg::Es256 => parse_ec(&jwk, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)?,
        SigningAlg::Es384 => parse_ec(&jwk, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)?,
        SigningAlg::EdDsa => parse_ed25519(&jwk)?,
        SigningAlg::Ps256 => parse_rsa(&jwk)?,
    };
    let public = public_half(&jwk, alg);
    let kid = thumbprint(&public).ok_or("holds a public half that is not valid")?;
    if jwk.get("kid").is_some_and(|named| *named != kid.as_str()) {
        return Err("has a `kid` that is not its RFC 7638 thumbprint");
    }
    Ok(Parsed { key, alg, public, kid })
}

fn parse_ec(jwk: &Map<String, Value>, curve: &str, alg: &'static EcdsaSigningAlgorithm) -> Result<PrivateKey, &'static str> {
    if member(jwk, "kty") != Some("EC") || member(jwk, "crv") != Some(curve) {
        return Err(NOT_THIS_TYPE);
    }
    let (x, y, d) = (bytes(jwk, "x")?, bytes(jwk, "y")?, bytes(jwk, "d")?);
    let point = [&[4][..], x.as_slice(), y.as_slice()].concat();
    EcdsaKeyPair::from_private_key_and_public_key(alg, &d, &point).map(PrivateKey::Ecdsa).map_err(|_| HALVES_DIFFER)
}

fn parse_ed25519(jwk: &Map<String, Value>) -> Result<PrivateKey, &'static str> {
    if member(jwk, "kty") != Some("OKP") || member(jwk, "crv") != Some("Ed25519") {
        return Err(NOT_THIS_TYPE);
    }
    let (x, d) = (bytes(jwk, "x")?, bytes(jwk, "d")?);
    Ed25519KeyPair::from_seed_and_public_key(&d, &x).map(PrivateKey::Ed25519).map_err(|_| HALVES_DIFFER)
}

fn parse_rsa(jwk: &Map<String, Value>) -> Result<PrivateKey, &'static str> {
    if member(jwk, "kty") != Some("RSA") {
        return Err(NOT_THIS_TYPE);
    }
    let mut bare = Map::new();
    for name in RSA_MEMBERS {
        bytes_or_type(jwk, name)?;
        bare.insert(name.to_owned(), jwk.get(name).cloned().unwrap_or_default());
    }
    if !(256..=512).contains(&bytes(jwk, "n")?.len()) {
        return Err("has an RSA modulus of less than 2048 or more than 4096 bits");
    }
    let der = Jwk::from_map(bare).ok().and_then(|jwk| JoseRsaKeyPair::from_jwk(&jwk).ok()).map(|pair| der_of(&pair));
    let key = der.and_then(|der| RsaKeyPair::from_pkcs8(&der).ok()).ok_or(HALVES_DIFFER)?;
    Ok(PrivateKey::Rsa(Box::new(key)))
}

fn der_of(pair: &JoseRsaKeyPair) -> Zeroizing<Vec<u8>> {
    use josekit::jwk::KeyPair as _;
    Zeroizing::new(pair.to_der_private_key())
}

fn bytes_or_type(jwk: &Map<String, Value>, name: &str) -> Result<(), &'static str> {
    if name == "kty" { Ok(()) } else { bytes(jwk, name).map(drop) }
}

/// RFC 7638, of the public half; `None` where that is not a valid key.
fn thumbprint(public: &Map<String, Value>) -> Option<String> {
    let key = PublicJwk::from_json(&serde_json::to_vec(public).ok()?).ok()?;
    Some(key.thumbprint().to_string())
}

fn public_half(jwk: &Map<String, Value>, alg: SigningAlg) -> Map<String, Value> {
    let names: &[&str] = match alg {
        SigningAlg::Es256 | SigningAlg::Es384 => &["kty", "crv", "x", "y"],
        SigningAlg::EdDsa => &["kty", "crv", "x"],
        SigningAlg::Ps256 => &["kty", "n", "e"],
    };
    names.iter().filter_map(|name| Some(((*name).to_owned(), jwk.get(*name)?.clone()))).collect()
}

fn member<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    jwk.get(name).and_then(Value::as_str)
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let decoded = member(jwk, name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    decoded.filter(|bytes| !bytes.is_empty()).map(Zeroizing::new).ok_or("lacks a member, or holds one that is not canonical base64url")
}

const RSA_MEMBERS: [&str; 9] = ["kty", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
const NOT_THIS_TYPE: &str = "has a `kty` or `crv` that doesn't fit its `alg`";
const HALVES_DIFFER: &str = "holds a private half that is not valid, or not that of its public half";
