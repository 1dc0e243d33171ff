//! RSA keys for PS256.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use zeroize::Zeroizing;

use super::{KeyError, SignError};
use crate::PublicJwk;
use crate::jose::{self, Json};

/// A key pair with its parts, which the library does not give back one by one.
pub(super) struct RsaKey {
    pair: RsaKeyPair,
    modulus: Vec<u8>,
    /// In the order of [`PRIVATE_MEMBERS`].
    private: [Zeroizing<Vec<u8>>; 6],
}

impl RsaKey {
    pub(super) fn generate() -> Result<Self, KeyError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Entropy)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Invalid)?;
        let (modulus, private) = parts_of_pkcs8(der.as_ref()).ok_or(KeyError::Invalid)?;
        Ok(Self { pair, modulus, private })
    }

    pub(super) fn from_jwk(json: &[u8]) -> Result<Self, KeyError> {
        let [n, e, oth, private @ ..] = jose::members(json, ["n", "e", "oth", "d", "p", "q", "dp", "dq", "qi"])?;
        if oth.is_some() {
            return Err(KeyError::AlgUnsupported);
        }
        let decode = |member: Option<Json<'_>>| match member {
            Some(Json::Text(text)) => jose::decode_base64url(&text).map_err(|_| KeyError::NotCanonical),
            _ => Err(KeyError::Member),
        };
        let (modulus, exponent) = (decode(n)?, decode(e)?);
        let mut parts = [const { None }; 6];
        for (part, member) in parts.iter_mut().zip(private) {
            *part = Some(Zeroizing::new(decode(member)?));
        }
        let private = parts.map(Option::unwrap_or_default);
        let [d, p, q, dp, dq, qi] = &private;
        // The library holds all parts against each other: a modulus that is not p times q is refused here.
        let pair = RsaKeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() },
            d: d.as_slice(),
            p: p.as_slice(),
            q: q.as_slice(),
            dP: dp.as_slice(),
            dQ: dq.as_slice(),
            qInv: qi.as_slice(),
        })
        .map_err(|_| KeyError::Invalid)?;
        if exponent != [1, 0, 1] {
            return Err(KeyError::Invalid);
        }
        Ok(Self { pair, modulus, private })
    }

    pub(super) fn public_jwk(&self) -> Result<PublicJwk, KeyError> {
        Ok(PublicJwk::from_rsa(self.modulus.clone())?)
    }

    pub(super) fn private_members(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        PRIVATE_MEMBERS.into_iter().zip(self.private.iter().map(|part| part.as_slice()))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| SignError)?;
        Ok(signature)
    }
}

const PRIVATE_MEMBERS: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

type Parts = (Vec<u8>, [Zeroizing<Vec<u8>>; 6]);

/// Takes a PKCS #8 key (RFC 5958) apart: modulus, then the private parts. Only ever reads what the library has just written.
fn parts_of_pkcs8(der: &[u8]) -> Option<Parts> {
    let mut outer = der;
    let mut info = element(&mut outer, SEQUENCE)?;
    let _version = element(&mut info, INTEGER)?;
    let _algorithm = element(&mut info, SEQUENCE)?;
    let mut key = element(&mut info, OCTET_STRING)?;
    let mut parts = element(&mut key, SEQUENCE)?;
    let _version = element(&mut parts, INTEGER)?;
    let modulus = unsigned(&mut parts)?.to_vec();
    let _exponent = unsigned(&mut parts)?;
    let mut private = [const { None }; 6];
    for part in &mut private {
        *part = Some(Zeroizing::new(unsigned(&mut parts)?.to_vec()));
    }
    Some((modulus, private.map(Option::unwrap_or_default)))
}

/// An INTEGER without the zero octet that keeps it positive.
fn unsigned<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let octets = element(rest, INTEGER)?;
    Some(octets.strip_prefix(&[0]).unwrap_or(octets))
}

/// The content of the next element, which must have this tag.
fn element<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, first], after) = rest.split_first_chunk()?;
    let (length, after) = match first {
        0..=0x7f => (usize::from(first), after),
        0x81 => (usize::from(*after.first()?), after.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes(*after.first_chunk()?)), after.get(2..)?),
        _ => return None,
    };
    let (content, after) = after.split_at_checked(length)?;
    *rest = after;
    (found == tag).then_some(content)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
