//! A request that presents an access token: what every protected resource checks (RFC 9449 section 7, RFC 6750 section 2.1).

use keybound_proofs::{Ath, ProofError, UnixTime, VerifiedProof};

use crate::service::proof::PresentedProof;
use crate::service::verify_token::{AccessTokenError, LiveAccessToken, TokenBinding};
use crate::service::{AuthorizationServer, TokenError};

/// The credentials of a request to a protected resource, not yet looked at.
#[derive(Clone, Copy, Debug)]
pub struct PresentedAccess<'a> {
    /// Every value of every `Authorization` line.
    pub authorization: &'a [&'a [u8]],
    /// Whether an access token came in the body or in the query, where none is taken (FAPI-RS-02).
    pub token_elsewhere: bool,
    /// The proof.
    pub proof: PresentedProof<'a>,
}

/// How an access token was presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// RFC 9449 section 7.1.
    Dpop,
    /// RFC 6750 section 2.1.
    Bearer,
}

/// A token that may be used as it was presented, by a proof that is not spent yet.
#[derive(Debug)]
#[must_use = "the proof may be a replay until the access is admitted"]
pub struct JudgedAccess {
    token: LiveAccessToken,
    proof: Option<VerifiedProof>,
}

impl JudgedAccess {
    /// The token.
    pub fn token(&self) -> &LiveAccessToken {
        &self.token
    }
}

/// Evidence that whoever holds the token's key makes this request, now, for the first time.
#[derive(Debug)]
pub struct AdmittedAccess {
    /// A nonce to use from now on, where the one in use is about to change.
    pub dpop_nonce: Option<String>,
}

impl AuthorizationServer {
    /// Checks everything about a request but whether its proof was used before, and leaves no trace.
    ///
    /// NOT checked: the audience. That is for the resource to say.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn judge_access(
        &self,
        presented: &PresentedAccess<'_>,
        scope: &'static str,
        now: UnixTime,
    ) -> Result<JudgedAccess, AccessError> {
        if presented.token_elsewhere {
            return Err(AccessError::Malformed { scheme: None });
        }
        let (scheme, token) = read_authorization(presented.authorization)?.ok_or(AccessError::NoCredentials)?;
        let proof = match scheme {
            Scheme::Bearer => None,
            Scheme::Dpop => {
                let proof = self.verify_proof_of_use(&presented.proof, &Ath::of_token(token), now)?;
                Some(proof.ok_or(AccessError::Proof(ProofError::Missing))?)
            }
        };
        let refused = |problem| AccessError::Token { scheme, problem };
        let token = self.live_access_token(token, now).await.map_err(|error| match error {
            AccessTokenError::Invalid(reason) => {
                tracing::debug!(%reason, "an access token was refused");
                refused("the access token is malformed, expired or not of this issuer")
            }
            AccessTokenError::Ended => refused("the access token was revoked"),
            AccessTokenError::Store(error) => AccessError::Unavailable(error.to_string()),
        })?;
        match (&proof, token.binding) {
            (Some(proof), TokenBinding::Key(jkt)) if *proof.jkt() == jkt => {}
            (Some(_), TokenBinding::Key(_)) => return Err(refused("the access token is bound to another key")),
            (Some(_), TokenBinding::Bearer) => return Err(refused("the access token is not bound to the key of the proof")),
            (None, TokenBinding::Key(_)) => return Err(AccessError::BoundTokenAsBearer),
            (None, TokenBinding::Bearer) => {}
        }
        if !token.scope.contains(scope) {
            return Err(AccessError::Scope { scheme, needed: scope });
        }
        Ok(JudgedAccess { token, proof })
    }

    /// Spends the proof: the last check, and the first trace.
    ///
    /// # Errors
    /// [`AccessError::Replayed`], [`AccessError::NonceNeeded`] where the epoch moved meanwhile, [`AccessError::Unavailable`].
    pub async fn admit(&self, judged: JudgedAccess, now: UnixTime) -> Result<AdmittedAccess, AccessError> {
        let Some(proof) = judged.proof else { return Ok(AdmittedAccess { dpop_nonce: None }) };
        let fresh = self.spend(proof, now).await?;
        // Without an epoch there is nothing to renew with; the answer is good all the same.
        Ok(AdmittedAccess { dpop_nonce: if fresh.renew_nonce() { self.fresh_nonce(now).ok() } else { None } })
    }
}

/// Scheme and token of the one `Authorization` line; `None` where there is no line, or another scheme: then nothing was presented
/// that this resource knows.
pub(super) fn read_authorization<'a>(lines: &[&'a [u8]]) -> Result<Option<(Scheme, &'a str)>, AccessError> {
    let line = match lines {
        [] => return Ok(None),
        [line] => *line,
        [..] => return Err(AccessError::Malformed { scheme: None }),
    };
    // The scheme is a token (RFC 9110 section 11.1); what follows it must begin with a space, not with a tab.
    let end = line.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(byte)).unwrap_or(line.len());
    let (scheme, rest) = line.split_at(end);
    let scheme = if scheme.eq_ignore_ascii_case(b"DPoP") {
        Scheme::Dpop
    } else if scheme.eq_ignore_ascii_case(b"Bearer") {
        Scheme::Bearer
    } else {
        return Ok(None);
    };
    let malformed = AccessError::Malformed { scheme: Some(scheme) };
    let token = rest.iter().position(|byte| *byte != b' ').filter(|spaces| *spaces > 0).map(|spaces| &rest[spaces..]);
    match token.filter(|token| is_token68(token)).and_then(|token| str::from_utf8(token).ok()) {
        Some(token) => Ok(Some((scheme, token))),
        None => Err(malformed),
    }
}

/// RFC 9110 section 11.2.
fn is_token68(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let characters = &token[..token.len() - padding];
    !characters.is_empty() && characters.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// Why a request gets nothing from a protected resource. `http/challenge.rs` decides what the client sees of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// Nothing that this resource knows was presented.
    #[error("no access token was presented")]
    NoCredentials,
    /// More than one token, a token outside the header, or no token after the scheme.
    #[error("the credentials are malformed")]
    Malformed {
        /// The scheme, where it is beyond doubt.
        scheme: Option<Scheme>,
    },
    /// The proof is missing or breaks a rule of RFC 9449 section 4.3.
    #[error(transparent)]
    Proof(ProofError),
    /// The proof needs a nonce, and this is one. Nothing was touched.
    #[error("the proof needs a nonce of this server")]
    NonceNeeded {
        /// The nonce to use.
        nonce: String,
    },
    /// The proof was used before.
    #[error("the proof was used before")]
    Replayed,
    /// The access token does not count, or not in this way.
    #[error("{problem}")]
    Token {
        /// How it was presented.
        scheme: Scheme,
        /// For the client.
        problem: &'static str,
    },
    /// The token is bound to a key, and came without a proof of it (RFC 9449 section 7.2).
    #[error("the access token is bound to a key")]
    BoundTokenAsBearer,
    /// The token's scope does not reach.
    #[error("the access token lacks the scope {needed}")]
    Scope {
        /// How it was presented.
        scheme: Scheme,
        /// What it lacks.
        needed: &'static str,
    },
    /// The outcome is unknown: try again later.
    #[error("temporarily unavailable: {0}")]
    Unavailable(String),
}

impl From<TokenError> for AccessError {
    /// Of a proof that was checked or spent; anything else can't be told here.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Proof(error) => Self::Proof(error),
            TokenError::NonceNeeded { nonce } => Self::NonceNeeded { nonce },
            TokenError::Replayed => Self::Replayed,
            TokenError::Unavailable(reason) => Self::Unavailable(reason),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<(Scheme, &str)>, AccessError> {
        read_authorization(&[line.as_bytes()])
    }

    /// RS-01
    #[test]
    fn the_scheme_has_no_case_and_is_followed_by_spaces_only() {
        for line in ["DPoP Kz~8mXK1", "dpop Kz~8mXK1", "DPOP   Kz~8mXK1"] {
            assert_eq!(read(line), Ok(Some((Scheme::Dpop, "Kz~8mXK1"))), "{line}");
        }
        assert_eq!(read("bEARER a.b-c_d~e+f/g=="), Ok(Some((Scheme::Bearer, "a.b-c_d~e+f/g=="))));
        for rest in ["", " ", "\tKz", " \tKz", " Kz 8", " Kz,", " Kz, Bearer Kz", " =", " K=z", " \"Kz\"", " Kz\u{e9}", " token=Kz", ",Kz"]
        {
            assert_eq!(read(&format!("DPoP{rest}")), Err(AccessError::Malformed { scheme: Some(Scheme::Dpop) }), "{rest:?}");
        }
    }

    /// RS-06, RS-09
    #[test]
    fn another_scheme_is_no_credentials_and_two_lines_are_one_too_many() {
        assert_eq!(read_authorization(&[]), Ok(None));
        for line in ["Basic Zm9vOmJhcg==", "DPoPx Kz", "", "Bearers Kz", "-"] {
            assert_eq!(read(line), Ok(None), "{line}");
        }
        assert_eq!(read_authorization(&[b"DPoP Kz", b"DPoP Kz"]), Err(AccessError::Malformed { scheme: None }));
        assert_eq!(read_authorization(&[b"DPoP Kz", b"Basic Kz"]), Err(AccessError::Malformed { scheme: None }));
    }
}
