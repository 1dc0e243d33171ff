//! The suite's own JOSE. It signs what is right, and anything else as well; it shares no code with the servers it is aimed at.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

mod draft;
mod forgery;
mod key;
mod rsa;

pub(crate) use draft::Draft;
pub(crate) use forgery::{
    curve25519_plus_order, der_of, ed25519_identity_key, hs256, malleate, negate_y, p256_wide, rsa_forged_with_exponent_one,
};
pub use key::{BadKey, Key};
pub(crate) use rsa::small_rsa;

/// Base64url without padding.
pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes base64url without padding.
pub(crate) fn unb64(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    digest(&SHA256, bytes.as_ref()).as_ref().to_vec()
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

/// A name that no other call gives.
pub(crate) fn unique() -> String {
    b64(random::<16>())
}

/// What may be shown of a secret: enough to tell two apart, too little to use.
pub(crate) fn redacted(secret: &str) -> String {
    b64(&sha256(secret)[..6])
}

/// The thumbprint of a public JWK (RFC 7638).
pub(crate) fn thumbprint(jwk: &Value) -> String {
    let members: &[&str] = match jwk["kty"].as_str() {
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("RSA") => &["e", "kty", "n"],
        _ => &["crv", "kty", "x"],
    };
    let text: Vec<String> = members.iter().map(|name| format!("{}:{}", json!(name), jwk[*name])).collect();
    b64(sha256(format!("{{{}}}", text.join(","))))
}

/// The claims of a JWT, unverified.
pub(crate) fn claims_of(jwt: &str) -> Option<Value> {
    serde_json::from_slice(&unb64(jwt.split('.').nth(1)?)?).ok()
}

/// The same text in base64url with a last character whose unused bits are not zero: it decodes to the same bytes in a lenient decoder.
/// `None` where the last character has no unused bits.
pub(crate) fn with_tail_bits(text: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if text.len().is_multiple_of(4) {
        return None;
    }
    let last = ALPHABET.find(text.chars().last()?)?;
    let other = ALPHABET.chars().nth(last | 1)?;
    Some(format!("{}{other}", &text[..text.len() - 1])).filter(|other| other != text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-02: the examples of RFC 7638 and RFC 8037.
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "ignored"});
        assert_eq!(thumbprint(&okp), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let ec = json!({"kty": "EC", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
            "crv": "P-256"});
        assert_eq!(thumbprint(&ec), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn tail_bits_change_the_text_and_not_the_bytes() {
        let text = b64([7_u8; 32]);
        let other = with_tail_bits(&text).expect("43 characters have unused bits");
        assert_ne!(text, other);
        assert_eq!(text[..42], other[..42]);
        assert!(with_tail_bits(&b64([7_u8; 33])).is_none());
    }
}
