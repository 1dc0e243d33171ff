//! What a refused request is answered: REQUIREMENTS of RFC 9449 section 7.1 and RFC 6750 section 3.

use std::fmt;

use keybound_proofs::{Challenge, LedgerError, ProofError};

use crate::config::GuardConfig;
use crate::source::KeyFetchError;
use crate::token::InvalidToken;

/// Why a request is refused. For logs and metrics: holds nothing of the request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denial {
    /// No access token was presented (RS-06).
    #[error("no access token was presented")]
    NoCredentials,
    /// More than one token, a token in the query, or no token behind the scheme (RS-01, RS-09).
    #[error("the credentials are malformed")]
    Malformed,
    /// The token came under the Bearer scheme (RS-03).
    #[error("the access token came as a bearer token")]
    BearerScheme,
    /// The proof is missing or breaks a rule of RFC 9449 section 4.3.
    #[error(transparent)]
    Proof(ProofError),
    /// The proof needs a nonce of this server.
    #[error("the proof needs a nonce of this server")]
    NonceNeeded,
    /// The proof was used before.
    #[error("the proof was used before")]
    Replayed,
    /// The token does not count here.
    #[error(transparent)]
    Token(InvalidToken),
    /// The token is not bound to the key of the proof, or to none (RS-04).
    #[error("the access token is not bound to the key of the proof")]
    OtherKey,
    /// The scope does not reach (RS-12).
    #[error("the access token lacks the scope {needed}")]
    Scope {
        /// Everything that is needed, separated by spaces.
        needed: String,
    },
    /// The issuer's keys are not known.
    #[error(transparent)]
    Keys(#[from] KeyFetchError),
    /// The ledger can't tell whether the proof was used before.
    #[error(transparent)]
    Ledger(LedgerError),
}

/// A refused request: the reason, and the answer that the client gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    denial: Denial,
    challenge: Option<String>,
    nonce: Option<String>,
}

impl Refusal {
    /// The answer to `denial`; `nonce` is a fresh one where every proof needs one.
    pub(crate) fn new(denial: Denial, config: &GuardConfig, nonce: Option<String>) -> Self {
        let mut refusal = Self { denial, challenge: None, nonce: None };
        let status = refusal.status();
        if status != 503 {
            let mut challenge = Challenge::new(config.policy.algs);
            if let Some(url) = &config.resource_metadata {
                challenge = challenge.resource_metadata(url);
            }
            if let (Some(code), Some(description)) = (refusal.error(), refusal.description()) {
                challenge = challenge.error(code).description(description);
            }
            if let Denial::Scope { needed } = &refusal.denial {
                challenge = challenge.scope(needed);
            }
            refusal.challenge = Some(challenge.to_string());
        }
        if status == 401 {
            refusal.nonce = nonce;
        }
        refusal
    }

    /// Why.
    pub const fn denial(&self) -> &Denial {
        &self.denial
    }

    /// 400, 401, 403 or 503.
    pub const fn status(&self) -> u16 {
        match self.denial {
            Denial::Malformed => 400,
            Denial::Scope { .. } => 403,
            Denial::Keys(_) | Denial::Ledger(_) => 503,
            _ => 401,
        }
    }

    /// The error code, where the client presented something.
    pub const fn error(&self) -> Option<&'static str> {
        match self.denial {
            Denial::NoCredentials => None,
            Denial::Malformed => Some("invalid_request"),
            Denial::Proof(_) | Denial::Replayed => Some("invalid_dpop_proof"),
            Denial::NonceNeeded => Some("use_dpop_nonce"),
            Denial::BearerScheme | Denial::Token(_) | Denial::OtherKey => Some("invalid_token"),
            Denial::Scope { .. } => Some("insufficient_scope"),
            Denial::Keys(_) | Denial::Ledger(_) => Some("temporarily_unavailable"),
        }
    }

    /// The value of the one `WWW-Authenticate` line; `None` at 503.
    pub fn challenge(&self) -> Option<&str> {
        self.challenge.as_deref()
    }

    /// The value of the one `DPoP-Nonce` line, where the client needs a nonce.
    pub fn dpop_nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// Every header line of the answer, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let body = self.error().map(|_| ("content-type", "application/json"));
        let retry = (self.status() == 503).then_some(("retry-after", "1"));
        let challenge = self.challenge().map(|line| ("www-authenticate", line));
        let nonce = self.dpop_nonce().map(|nonce| ("dpop-nonce", nonce));
        // A browser's script may read the challenge and the nonce, where the application's CORS rules let it read the answer at all
        // (RS-11).
        let expose = ("access-control-expose-headers", "WWW-Authenticate, DPoP-Nonce");
        [("cache-control", "no-store"), expose].into_iter().chain(body).chain(retry).chain(challenge).chain(nonce)
    }

    /// The body: flat JSON with `error` and `error_description`; empty where nothing was presented.
    pub fn body(&self) -> String {
        match (self.error(), self.description()) {
            (Some(error), Some(description)) => serde_json::json!({"error": error, "error_description": description}).to_string(),
            _ => String::new(),
        }
    }

    fn description(&self) -> Option<String> {
        let text = match &self.denial {
            Denial::NoCredentials => return None,
            Denial::Malformed => "send one access token, in one Authorization header and nowhere else",
            Denial::Proof(error) => error.description(),
            Denial::Replayed => "this proof was used before; sign a new one for each request",
            Denial::NonceNeeded => "the proof needs the nonce of the DPoP-Nonce header",
            Denial::BearerScheme => "use the DPoP scheme, with a proof",
            Denial::Token(reason) => reason.description(),
            Denial::OtherKey => "the access token is not bound to the key of the proof",
            Denial::Scope { needed } => return Some(format!("the access token needs the scope {needed}")),
            Denial::Keys(_) | Denial::Ledger(_) => "the request can't be checked now; try again",
        };
        Some(text.to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.denial.fmt(f)
    }
}

impl std::error::Error for Refusal {}
