//! What a protected resource answers to a request that it refuses: one `WWW-Authenticate` line (RFC 9449 section 7.1, RFC 6750 section 3).

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use keybound_proofs::{Challenge, UnixTime};

use crate::http::error::{ApiError, DPOP_NONCE, ErrorCode, never_cached};
use crate::service::AuthorizationServer;
use crate::service::access::{AccessError, Scheme};

/// The answer to a refused request at the resource whose metadata is at `resource_metadata`.
///
/// The line begins with the DPoP challenge; a Bearer challenge stands behind it where the request used that scheme, or none, as long
/// as tokens without a key exist at all. One answer has the order of RFC 9449 section 7.2, Bearer first: a bound token that
/// came as a bearer token. The error stands in the challenge of the scheme that was used; in both where that is unclear
/// (RS-07), in neither where nothing was presented (RS-06). Where every proof needs a nonce each 401 brings one.
pub fn refuse_access(error: AccessError, server: &AuthorizationServer, resource_metadata: &str, now: UnixTime) -> HttpResponse {
    let challenges = Challenges { server, resource_metadata };
    let unauthorized = StatusCode::UNAUTHORIZED;
    let offered_nonce = || server.demands_nonce(now).then(|| server.fresh_nonce(now).ok()).flatten();
    match error {
        AccessError::NoCredentials => {
            let mut answer = never_cached(unauthorized);
            answer.insert_header((header::WWW_AUTHENTICATE, challenges.without_error()));
            if let Some(nonce) = offered_nonce() {
                answer.insert_header((DPOP_NONCE, nonce));
            }
            answer.finish()
        }
        AccessError::Malformed { scheme } => {
            let description = "send one access token, in one Authorization header and nowhere else";
            challenges.refuse(StatusCode::BAD_REQUEST, scheme, Problem::new(ErrorCode::InvalidRequest, description), None)
        }
        AccessError::Proof(error) => {
            let problem = Problem::new(ErrorCode::InvalidDpopProof, error.description());
            challenges.refuse(unauthorized, Some(Scheme::Dpop), problem, offered_nonce())
        }
        AccessError::Replayed => {
            let problem = Problem::new(ErrorCode::InvalidDpopProof, "this proof was used before; sign a new one for each request");
            challenges.refuse(unauthorized, Some(Scheme::Dpop), problem, offered_nonce())
        }
        AccessError::NonceNeeded { nonce } => {
            let problem = Problem::new(ErrorCode::UseDpopNonce, "the proof needs the nonce of the DPoP-Nonce header");
            challenges.refuse(unauthorized, Some(Scheme::Dpop), problem, Some(nonce))
        }
        AccessError::Token { scheme, problem } => {
            let problem = Problem::new(ErrorCode::InvalidToken, problem);
            challenges.refuse(unauthorized, Some(scheme), problem, offered_nonce())
        }
        AccessError::BoundTokenAsBearer => {
            let problem = Problem::new(ErrorCode::InvalidToken, "the access token is bound to a key: use the DPoP scheme, with a proof");
            let line = format!("{}, {}", challenges.bearer(Some(&problem)), challenges.dpop(None));
            problem.respond(server, unauthorized, line, offered_nonce())
        }
        AccessError::Scope { scheme, needed } => {
            let mut problem = Problem::new(ErrorCode::InsufficientScope, format!("the access token needs the scope {needed}"));
            problem.scope = Some(needed);
            challenges.refuse(StatusCode::FORBIDDEN, Some(scheme), problem, None)
        }
        AccessError::Unavailable(reason) => {
            tracing::warn!(%reason, "an access could not be judged");
            ApiError::unavailable().respond(server, None)
        }
    }
}

struct Problem {
    code: ErrorCode,
    description: Cow<'static, str>,
    scope: Option<&'static str>,
}

impl Problem {
    fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into(), scope: None }
    }

    fn respond(self, server: &AuthorizationServer, status: StatusCode, challenge: String, nonce: Option<String>) -> HttpResponse {
        ApiError::at_resource(status, self.code, self.description, challenge, nonce).respond(server, None)
    }
}

struct Challenges<'a> {
    server: &'a AuthorizationServer,
    resource_metadata: &'a str,
}

impl Challenges<'_> {
    fn refuse(&self, status: StatusCode, scheme: Option<Scheme>, problem: Problem, nonce: Option<String>) -> HttpResponse {
        let line = match scheme {
            Some(Scheme::Dpop) => self.dpop(Some(&problem)),
            Some(Scheme::Bearer) => format!("{}, {}", self.dpop(None), self.bearer(Some(&problem))),
            None if self.takes_bearer() => format!("{}, {}", self.dpop(Some(&problem)), self.bearer(Some(&problem))),
            None => self.dpop(Some(&problem)),
        };
        problem.respond(self.server, status, line, nonce)
    }

    fn without_error(&self) -> String {
        if self.takes_bearer() { format!("{}, {}", self.dpop(None), self.bearer(None)) } else { self.dpop(None) }
    }

    /// Under FAPI 2.0 every access token is bound to a key.
    fn takes_bearer(&self) -> bool {
        !self.server.fapi2
    }

    fn dpop(&self, problem: Option<&Problem>) -> String {
        let mut challenge = Challenge::new(self.server.proof_policy.algs).resource_metadata(self.resource_metadata);
        if let Some(problem) = problem {
            challenge = challenge.error(problem.code.as_str()).description(problem.description.as_ref());
            if let Some(scope) = problem.scope {
                challenge = challenge.scope(scope);
            }
        }
        challenge.to_string()
    }

    /// Every value is a text of this program or the issuer's own URL: visible ASCII without quotes and backslashes.
    fn bearer(&self, problem: Option<&Problem>) -> String {
        let mut challenge = "Bearer ".to_owned();
        if let Some(Problem { code, description, scope }) = problem {
            challenge += &format!("error=\"{}\", error_description=\"{description}\", ", code.as_str());
            if let Some(scope) = scope {
                challenge += &format!("scope=\"{scope}\", ");
            }
        }
        challenge + &format!("resource_metadata=\"{}\"", self.resource_metadata)
    }
}
