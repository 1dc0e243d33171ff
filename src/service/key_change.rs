//! Moving a public client's grant to another key: one refresh with two proofs. `docs/key-change.md` is the specification.
//!
//! Both keys consent to each other by name: the proof of the old key carries the thumbprint of the new one (`new_jkt`), and the
//! proof of the new key that of the old one (`old_jkt`). An ordinary proof consents to nothing, so that a proof and a refresh token
//! that were caught on their way move no grant.

use keybound_proofs::jose::{self, Compact, Json};
use keybound_proofs::{Jkt, ProofError, UnixTime, VerifiedProof};

use crate::service::proof::PresentedProof;
use crate::service::refresh::RefreshRequest;
use crate::service::{AuthorizationServer, TokenError};

/// Why a grant is not moved to another key. Nothing was touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyChangeError {
    /// `dpop.key_change` is off.
    #[error("this server does not offer to change keys; leave dpop_new_key_proof out")]
    NotOffered,
    /// The tokens of a confidential client are not bound to a key: it may use any at any time.
    #[error("a client that authenticates needs no change of keys; leave dpop_new_key_proof out and use the new key")]
    NotPublic,
    /// The second proof breaks a rule of RFC 9449 section 4.3.
    #[error("dpop_new_key_proof: {}", .0.description())]
    Proof(ProofError),
    /// Both proofs are of one key.
    #[error("dpop_new_key_proof is made with the key that the DPoP proof is made with")]
    SameKey,
    /// The second proof does not name the old key.
    #[error("dpop_new_key_proof must carry a claim old_jkt with the thumbprint of the key of the DPoP proof")]
    OldKeyNotNamed,
    /// The first proof does not name the new key.
    #[error("the DPoP proof must carry a claim new_jkt with the thumbprint of the key of dpop_new_key_proof")]
    NewKeyNotNamed,
}

impl KeyChangeError {
    /// Whether the request is malformed (`invalid_request`), rather than one of its proofs (`invalid_dpop_proof`).
    pub const fn is_invalid_request(self) -> bool {
        matches!(self, Self::NotOffered | Self::NotPublic)
    }
}

impl AuthorizationServer {
    /// Checks the second proof of a request, where there is one, against everything but the ledger.
    ///
    /// # Errors
    /// [`TokenError::KeyChange`], or what [`AuthorizationServer::verify_proof`] refuses with.
    pub(super) fn verify_new_key_proof(
        &self,
        request: &RefreshRequest<'_>,
        old_key: Option<&VerifiedProof>,
        now: UnixTime,
    ) -> Result<Option<VerifiedProof>, TokenError> {
        let Some(text) = request.new_key_proof else { return Ok(None) };
        if !self.key_change {
            return Err(KeyChangeError::NotOffered.into());
        }
        let old_key = old_key.ok_or(TokenError::Proof(ProofError::Missing))?;
        let presented = PresentedProof { header_values: &[text.as_bytes()], ..request.proof };
        let new_key = match self.verify_proof(&presented, now) {
            Err(TokenError::Proof(error)) => return Err(KeyChangeError::Proof(error).into()),
            verified => verified?.ok_or(KeyChangeError::Proof(ProofError::Missing))?,
        };
        if new_key.jkt() == old_key.jkt() {
            return Err(KeyChangeError::SameKey.into());
        }
        if !names(text.as_bytes(), "old_jkt", old_key.jkt()) {
            return Err(KeyChangeError::OldKeyNotNamed.into());
        }
        if !request.proof.header_values.iter().all(|line| names(line, "new_jkt", new_key.jkt())) {
            return Err(KeyChangeError::NewKeyNotNamed.into());
        }
        Ok(Some(new_key))
    }
}

/// Whether a proof, which was verified, has this claim with this thumbprint.
fn names(proof: &[u8], claim: &str, jkt: &Jkt) -> bool {
    let Ok(payload) = Compact::split(proof).map_err(drop).and_then(|proof| proof.payload().map_err(drop)) else { return false };
    let Ok([Some(Json::Text(named))]) = jose::members(&payload, [claim]) else { return false };
    named.parse::<Jkt>().is_ok_and(|named| named == *jkt)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn a_thumbprint_is_named_by_a_claim_of_its_own_and_in_full() {
        let jkt = Jkt::from_bytes([7; Jkt::LEN]);
        let named = |claims: &str| names(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).as_bytes(), "old_jkt", &jkt);
        assert!(named(&format!(r#"{{"jti":"1","old_jkt":"{jkt}"}}"#)));
        for other in [
            r#"{"jti":"1"}"#.to_owned(),
            format!(r#"{{"new_jkt":"{jkt}"}}"#),
            format!(r#"{{"old_jkt":"{}"}}"#, Jkt::from_bytes([8; Jkt::LEN])),
            format!(r#"{{"old_jkt":"{jkt}="}}"#),
            format!(r#"{{"old_jkt":["{jkt}"]}}"#),
            format!(r#"{{"old_jkt":"{jkt}","old_jkt":"{jkt}"}}"#),
            r#"{"old_jkt":null}"#.to_owned(),
        ] {
            assert!(!named(&other), "{other}");
        }
        assert!(!names(b"not a proof", "old_jkt", &jkt));
    }
}
