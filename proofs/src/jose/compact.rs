//! The compact serialisation of a JWS.

use std::ops::Range;

use super::{NotBase64Url, decode_base64url};

/// A JWS in compact form (RFC 7515 section 7.1), split: three non-empty segments of base64url characters.
///
/// Nothing is decoded yet, and nothing about the signature is known. Encrypted tokens (five segments), the JSON serialisations
/// and detached or unsigned forms (an empty segment) are not of this shape.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    text: &'a str,
    first_dot: usize,
    second_dot: usize,
}

impl<'a> Compact<'a> {
    /// Splits a token.
    ///
    /// # Errors
    /// [`CompactError`] says what is wrong with the shape. The length is the caller's to limit.
    pub fn split(token: &'a [u8]) -> Result<Self, CompactError> {
        let mut dots = [0; 2];
        let mut count = 0;
        for (at, byte) in token.iter().enumerate() {
            match byte {
                b'.' => {
                    *dots.get_mut(count).ok_or(CompactError::Segments)? = at;
                    count += 1;
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
                _ => return Err(CompactError::Alphabet),
            }
        }
        let [first_dot, second_dot] = dots;
        if count != 2 || first_dot == 0 || second_dot == first_dot + 1 || second_dot + 1 == token.len() {
            return Err(CompactError::Segments);
        }
        let text = str::from_utf8(token).map_err(|_| CompactError::Alphabet)?;
        Ok(Self { text, first_dot, second_dot })
    }

    /// Decodes the header segment.
    ///
    /// # Errors
    /// Where it is not canonical base64url.
    pub fn header(&self) -> Result<Vec<u8>, NotBase64Url> {
        decode_base64url(&self.text[..self.first_dot])
    }

    /// Decodes the payload segment.
    ///
    /// # Errors
    /// Where it is not canonical base64url.
    pub fn payload(&self) -> Result<Vec<u8>, NotBase64Url> {
        decode_base64url(&self.text[self.first_dot + 1..self.second_dot])
    }

    /// Decodes the signature segment.
    ///
    /// # Errors
    /// Where it is not canonical base64url.
    pub fn signature(&self) -> Result<Vec<u8>, NotBase64Url> {
        decode_base64url(&self.text[self.second_dot + 1..])
    }

    /// The bytes that were signed: header and payload segments with the dot between them.
    pub fn signing_input(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.signing_range()]
    }

    pub(crate) fn signing_range(&self) -> Range<usize> {
        0..self.second_dot
    }
}

/// Why a token is not a compact JWS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompactError {
    /// Not exactly three non-empty segments separated by dots.
    #[error("not three non-empty segments separated by dots")]
    Segments,
    /// A character that is neither a dot nor of the base64url alphabet.
    #[error("a character outside the base64url alphabet")]
    Alphabet,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DPOP-4.3-02, JOSE-17
    #[test]
    fn only_three_non_empty_segments_are_a_compact_jws() {
        let jws = Compact::split(b"e30.e30.AA").unwrap();
        assert_eq!((jws.header().unwrap(), jws.payload().unwrap(), jws.signature().unwrap()), (b"{}".to_vec(), b"{}".to_vec(), vec![0]));
        assert_eq!(jws.signing_input(), b"e30.e30");
        for token in ["", ".", "..", "...", "e30", "e30.e30", "e30.e30.", ".e30.AA", "e30..AA", "e30.e30.AA.", "a.b.c.d.e", "e30.e30.AA.AA"]
        {
            assert_eq!(Compact::split(token.as_bytes()).unwrap_err(), CompactError::Segments, "{token}");
        }
        for token in ["{\"payload\":\"e30\"}", "e30.e30.A=", "e30.e30. AA", "e30.e30.AA\n", "e30.e3+.AA", "e30.e3é.AA", "e30,e30.e30.AA"] {
            assert_eq!(Compact::split(token.as_bytes()).unwrap_err(), CompactError::Alphabet, "{token}");
        }
        assert_eq!(Compact::split(b"e30.\xff.AA").unwrap_err(), CompactError::Alphabet);
    }
}
