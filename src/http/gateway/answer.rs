//! The one place that maps a verdict on a call to status, headers and body, whatever the dialect.

use std::borrow::Cow;
use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use keybound_proofs::Challenge;
use serde_json::json;

use crate::domain::UpstreamAuthorization;
use crate::domain::guarded::{Guarded, RequestUrl};
use crate::http::error::{DPOP_NONCE, ErrorCode, never_cached};
use crate::http::gateway::{GATEWAY_KEY, GatewayState, Misconfigured, lines};
use crate::service::AuthorizationServer;
use crate::service::verify::{Allowed, Denial, GatewayCall, Verdict};

/// Judges a call that was forwarded in headers: the credentials are in the question as they were in the call.
pub(super) async fn judge_forwarded(
    request: &HttpRequest,
    state: &GatewayState,
    dialect: &'static str,
    asked: Result<(&str, RequestUrl<'_>), Misconfigured>,
) -> HttpResponse {
    let server = &state.server;
    let now = server.clock.now();
    let headers = request.headers();
    let (method, url) = match state.admit(lines(headers, GATEWAY_KEY)).and(asked) {
        Ok(asked) => asked,
        Err(problem) => {
            state.note(problem, dialect, now);
            return Refusal::misconfigured(server).respond();
        }
    };
    let (authorization, proofs) = (lines(headers, "authorization"), lines(headers, "dpop"));
    let call = GatewayCall::plain(method, &url, &authorization, &proofs);
    match Decision::of(server.judge_call(&call, now).await, server) {
        Decision::Pass(pass) => pass.respond(),
        Decision::Refuse(refusal) => refusal.respond(),
    }
}

/// A verdict as it is answered.
pub(super) enum Decision {
    Pass(Pass),
    Refuse(Refusal),
}

impl Decision {
    pub(super) fn of(verdict: Verdict<'_>, server: &AuthorizationServer) -> Self {
        let Verdict { guarded, outcome, dpop_nonce, .. } = verdict;
        match outcome {
            Ok(allowed) => {
                let keeps_proof = guarded.is_none_or(|one| one.upstream_authorization == UpstreamAuthorization::Keep);
                Self::Pass(Pass { allowed, nonce: dpop_nonce, keeps_proof })
            }
            Err(denial) => Self::Refuse(Refusal::of(denial, guarded, dpop_nonce, server)),
        }
    }
}

/// A call that may pass.
pub(super) struct Pass {
    pub(super) allowed: Allowed,
    /// For the client.
    pub(super) nonce: Option<String>,
    /// Whether the service behind the gateway is to see the proof.
    pub(super) keeps_proof: bool,
}

impl Pass {
    /// The headers that the service behind the gateway gets: always all five of the identity, so that each replaces one that the client
    /// sent, and `Authorization` where that changes.
    pub(super) fn upstream_headers(&self) -> Vec<(&'static str, String)> {
        let claims = self.allowed.claims();
        let mut headers = vec![
            ("x-dpop-subject", visible(&claims.sub)),
            ("x-dpop-client-id", visible(claims.client_id.as_str())),
            // Scope tokens are visible ASCII, and spaces stand between them.
            ("x-dpop-scope", claims.scope.to_string()),
            ("x-dpop-jkt", self.allowed.jkt().to_string()),
            ("x-dpop-token-id", visible(&claims.jti)),
        ];
        headers.extend(self.allowed.upstream_authorization.clone().map(|value| ("authorization", value)));
        headers
    }

    fn respond(self) -> HttpResponse {
        let mut answer = never_cached(StatusCode::OK);
        for (name, value) in self.upstream_headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.insert_header((HeaderName::from_static(name), value));
            }
        }
        if let Some(nonce) = self.nonce {
            answer.insert_header((DPOP_NONCE, nonce));
        }
        answer.finish()
    }
}

/// A call that may not pass.
pub(super) struct Refusal {
    /// 401, 403 or 503.
    pub(super) status: StatusCode,
    /// The error code; `None` where no credentials were presented (RFC 6750 section 3.1).
    code: Option<&'static str>,
    description: Cow<'static, str>,
    /// The value of the one `WWW-Authenticate` line.
    challenge: Option<String>,
    nonce: Option<String>,
}

impl Refusal {
    fn of(denial: Denial, guarded: Option<&Guarded>, nonce: Option<String>, server: &AuthorizationServer) -> Self {
        let (unauthorized, forbidden) = (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN);
        let description = match &denial {
            Denial::Proof(error) => error.description().into(),
            Denial::Unavailable(reason) => {
                tracing::warn!(%reason, "a call could not be judged");
                "the service can not decide right now; try again".into()
            }
            denial => Cow::Owned(denial.to_string()),
        };
        let (status, code) = match &denial {
            Denial::UnknownResource | Denial::OtherResource => (forbidden, Some(ErrorCode::InvalidTarget)),
            Denial::NoCredentials => (unauthorized, None),
            Denial::MalformedCredentials => (unauthorized, Some(ErrorCode::InvalidRequest)),
            Denial::Proof(_) | Denial::Replayed => (unauthorized, Some(ErrorCode::InvalidDpopProof)),
            Denial::NonceNeeded => (unauthorized, Some(ErrorCode::UseDpopNonce)),
            Denial::BearerScheme
            | Denial::InvalidToken
            | Denial::Expired
            | Denial::Ended
            | Denial::Audience
            | Denial::Unbound
            | Denial::OtherKey => (unauthorized, Some(ErrorCode::InvalidToken)),
            Denial::Scope { .. } => (forbidden, Some(ErrorCode::InsufficientScope)),
            Denial::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Some(ErrorCode::TemporarilyUnavailable)),
        };
        let code = code.map(ErrorCode::as_str);
        let challenge = (status != StatusCode::SERVICE_UNAVAILABLE).then(|| {
            let mut challenge = challenge(guarded, server);
            if let Some(code) = code {
                challenge = challenge.error(code).description(description.as_ref());
            }
            if let Denial::Scope { needed } = &denial {
                challenge = challenge.scope(needed.as_str());
            }
            challenge.to_string()
        });
        Self { status, code, description, challenge, nonce }
    }

    /// To a gateway that asks in a way that can't be answered.
    pub(super) fn misconfigured(server: &AuthorizationServer) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            code: Some("gateway_misconfigured"),
            description: "the gateway can not ask about this call; see /admin/events of Keybound".into(),
            challenge: Some(challenge(None, server).to_string()),
            nonce: None,
        }
    }

    /// The headers for the client, each once.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        headers.extend(self.challenge.clone().map(|challenge| ("WWW-Authenticate", challenge)));
        headers.extend(self.nonce.clone().map(|nonce| ("DPoP-Nonce", nonce)));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.push(("Retry-After", "1".to_owned()));
        }
        headers
    }

    /// What the client reads: nothing where nothing was presented.
    pub(super) fn body(&self) -> Option<serde_json::Value> {
        self.code.map(|code| json!({ "error": code, "error_description": self.description }))
    }

    /// The answer to `POST /verify`.
    pub(super) fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let headers = self.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        [
            ("active", false.into()),
            ("status", self.status.as_u16().into()),
            ("error", self.code.unwrap_or(ErrorCode::InvalidToken.as_str()).into()),
            ("error_description", self.description.as_ref().into()),
            ("headers", serde_json::Value::Object(headers.collect())),
        ]
        .into_iter()
        .map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value))
        .collect()
    }

    pub(super) fn respond(&self) -> HttpResponse {
        let mut answer = never_cached(self.status);
        for (name, value) in self.headers() {
            answer.insert_header((name, value));
        }
        match self.body() {
            Some(body) => answer.json(body),
            None => answer.insert_header((header::CONTENT_LENGTH, "0")).finish(),
        }
    }
}

fn challenge(guarded: Option<&Guarded>, server: &AuthorizationServer) -> Challenge {
    let challenge = Challenge::new(server.proof_policy.algs);
    match guarded {
        Some(Guarded { resource, .. }) => {
            let path = format!("{}/{}", server.issuer.path(), resource.id);
            challenge.resource_metadata(server.issuer.protected_resource_metadata(&path))
        }
        None => challenge,
    }
}

/// Text as it may stand in a header: bytes outside visible ASCII are percent-encoded, and the percent sign too, so that two texts never
/// look the same.
fn visible(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_spelling_in_a_header_and_no_other_text_has_it() {
        for (text, header) in [
            ("alice", "alice"),
            ("", ""),
            ("https://app.example/client.json?a=b", "https://app.example/client.json?a=b"),
            ("zoë", "zo%C3%AB"),
            ("zo%C3%AB", "zo%25C3%25AB"),
            ("a b", "a%20b"),
            ("a\r\nX-DPoP-Subject: root", "a%0D%0AX-DPoP-Subject:%20root"),
            ("\u{7f}", "%7F"),
        ] {
            assert_eq!(visible(text), header);
        }
    }
}
