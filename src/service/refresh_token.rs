//! Refresh tokens: computed from the family, never stored.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::domain::{FamilyId, Generation};

/// Makes and reads the refresh tokens of one issuer.
///
/// A token is `kbr_` and the canonical base64url of 38 bytes: version (1), MAC key id (1), family id (16), generation (4, big
/// endian), and the first 16 bytes of an HMAC-SHA-256 over all of these and the issuer. The same family and generation give
/// the same token at any time on any node: nothing has to be remembered to repeat an answer.
///
/// The MAC proves that the token was given out here, before any I/O. It doesn't prove who presents it, nor that the family is
/// alive: see [`Families::advance`](crate::store::Families::advance).
#[derive(Clone)]
pub struct RefreshTokens {
    /// The MAC with the purpose and the issuer already in it.
    prefix: hmac::Context,
}

impl RefreshTokens {
    /// With a key that serves no other purpose.
    pub(crate) fn new(key: &[u8; 32], issuer: &str) -> Self {
        let mut prefix = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for part in [PURPOSE, issuer.as_bytes()] {
            prefix.update(&(part.len() as u64).to_be_bytes());
            prefix.update(part);
        }
        Self { prefix }
    }

    /// The token of one generation of a family.
    pub fn issue(&self, family: FamilyId, generation: Generation) -> String {
        let mut bytes = [0; TOKEN_LEN];
        bytes[0] = VERSION;
        bytes[1] = MAC_KEY_ID;
        bytes[2..18].copy_from_slice(family.as_bytes());
        bytes[18..FIELDS_LEN].copy_from_slice(&generation.0.to_be_bytes());
        let mac = self.mac(&bytes[..FIELDS_LEN]);
        bytes[FIELDS_LEN..].copy_from_slice(&mac);
        let mut token = String::with_capacity(PREFIX.len() + TEXT_LEN);
        token.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
        token
    }

    /// What a token says, if it was given out here.
    ///
    /// # Errors
    /// [`MalformedRefreshToken`] for anything else; the MAC is compared in constant time.
    pub fn read(&self, token: &str) -> Result<(FamilyId, Generation), MalformedRefreshToken> {
        let text = token.strip_prefix(PREFIX).filter(|text| text.len() == TEXT_LEN).ok_or(MalformedRefreshToken)?;
        let mut bytes = [0; TOKEN_LEN];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(TOKEN_LEN) {
            return Err(MalformedRefreshToken);
        }
        let (fields, presented) = bytes.split_at(FIELDS_LEN);
        let genuine: bool = self.mac(fields).as_slice().ct_eq(presented).into();
        if !genuine || fields[0] != VERSION || fields[1] != MAC_KEY_ID {
            return Err(MalformedRefreshToken);
        }
        let (mut family, mut generation) = ([0; FamilyId::LEN], [0; 4]);
        family.copy_from_slice(&fields[2..18]);
        generation.copy_from_slice(&fields[18..]);
        Ok((FamilyId::from_bytes(family), Generation(u32::from_be_bytes(generation))))
    }

    fn mac(&self, fields: &[u8]) -> [u8; MAC_LEN] {
        let mut context = self.prefix.clone();
        context.update(&(fields.len() as u64).to_be_bytes());
        context.update(fields);
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(&context.sign().as_ref()[..MAC_LEN]);
        mac
    }
}

impl std::fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshTokens([redacted])")
    }
}

/// Not a refresh token of this issuer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a refresh token of this issuer")]
pub struct MalformedRefreshToken;

const PREFIX: &str = "kbr_";
const PURPOSE: &[u8] = b"keybound refresh token";
const VERSION: u8 = 1;
const MAC_KEY_ID: u8 = 1;
const FIELDS_LEN: usize = 22;
const MAC_LEN: usize = 16;
const TOKEN_LEN: usize = FIELDS_LEN + MAC_LEN;
const TEXT_LEN: usize = (TOKEN_LEN * 8).div_ceil(6);

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> RefreshTokens {
        RefreshTokens::new(&[7; 32], "https://as.example")
    }

    fn family() -> FamilyId {
        FamilyId::from_bytes(*b"0123456789abcdef")
    }

    #[test]
    fn a_token_reads_back_as_what_it_was_issued_for() {
        for generation in [0, 1, 255, 256, u32::MAX].map(Generation) {
            let token = tokens().issue(family(), generation);
            assert_eq!(token.len(), 4 + 51);
            assert_eq!(tokens().read(&token), Ok((family(), generation)));
        }
    }

    /// G2: a repeated answer holds the same bytes.
    #[test]
    fn the_same_generation_is_always_the_same_token() {
        assert_eq!(tokens().issue(family(), Generation(3)), tokens().issue(family(), Generation(3)));
        assert_ne!(tokens().issue(family(), Generation(3)), tokens().issue(family(), Generation(4)));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let token = tokens().issue(family(), Generation(1));
        let bytes = URL_SAFE_NO_PAD.decode(&token[4..]).unwrap();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                let flipped = format!("kbr_{}", URL_SAFE_NO_PAD.encode(flipped));
                assert_eq!(tokens().read(&flipped), Err(MalformedRefreshToken), "byte {position}, bit {bit}");
            }
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        let token = tokens().issue(family(), Generation(1));
        assert!(tokens().read(&token).is_ok());
        let last = token.as_bytes()[token.len() - 1];
        let respelled = char::from(if last == b'9' { b'8' } else { last + 1 });
        let others = [
            token.to_uppercase(),
            token.to_lowercase(),
            token.replace("kbr_", "kbr-"),
            token[4..].to_owned(),
            format!("{token}="),
            format!("{token}A"),
            format!(" {token}"),
            format!("{}{respelled}", &token[..token.len() - 1]),
            String::new(),
            "kbr_".to_owned(),
            format!("kbr_{}", "é".repeat(26)),
        ];
        for other in others {
            assert_eq!(tokens().read(&other), Err(MalformedRefreshToken), "{other}");
        }
        for length in 0..token.len() {
            assert!(tokens().read(&token[..length]).is_err());
        }
    }

    #[test]
    fn another_issuer_and_another_key_refuse_it() {
        let token = tokens().issue(family(), Generation(1));
        assert!(RefreshTokens::new(&[7; 32], "https://as.example/").read(&token).is_err());
        assert!(RefreshTokens::new(&[8; 32], "https://as.example").read(&token).is_err());
        assert!(RefreshTokens::new(&[7; 32], "https://as.example").read(&token).is_ok());
    }
}
