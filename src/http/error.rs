//! The one place that maps what went wrong to status codes, error codes and headers.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use keybound_proofs::{AlgSet, Challenge};
use serde::Serialize;

use crate::domain::authorization::{Refusal, RefusalCode};
use crate::service::client_auth::ClientAuthError;
use crate::service::registration::RegistrationError;
use crate::service::{AuthorizationServer, TokenError};

/// The codes of OAuth error answers. Each has a page at `/errors/{code}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    /// RFC 6749 section 5.2.
    InvalidRequest,
    /// RFC 6749 section 5.2.
    InvalidClient,
    /// RFC 6749 section 5.2.
    InvalidGrant,
    /// RFC 6749 section 5.2.
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    InvalidScope,
    /// RFC 9449 section 5.
    InvalidDpopProof,
    /// RFC 9449 section 8.
    UseDpopNonce,
    /// RFC 6750 section 3.1.
    InvalidToken,
    /// RFC 6750 section 3.1.
    InsufficientScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 9396 section 5.
    InvalidAuthorizationDetails,
    /// RFC 6749 section 4.1.2.1.
    UnsupportedResponseType,
    /// RFC 9101 section 7.
    InvalidRequestUri,
    /// RFC 9101 section 7.
    InvalidRequestObject,
    /// OpenID Connect Core section 3.1.2.6.
    LoginRequired,
    /// RFC 6749 section 4.1.2.1.
    AccessDenied,
    /// RFC 7591 section 3.2.2.
    InvalidRedirectUri,
    /// RFC 7591 section 3.2.2.
    InvalidClientMetadata,
    /// RFC 6749 section 4.1.2.1; here with 503.
    TemporarilyUnavailable,
    /// RFC 6749 section 4.1.2.1; here with 500.
    ServerError,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::InvalidTarget,
        Self::InvalidAuthorizationDetails,
        Self::UnsupportedResponseType,
        Self::InvalidRequestUri,
        Self::InvalidRequestObject,
        Self::LoginRequired,
        Self::AccessDenied,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
        Self::TemporarilyUnavailable,
        Self::ServerError,
    ];

    /// As it is written in `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::LoginRequired => "login_required",
            Self::AccessDenied => "access_denied",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

/// An error answer of an OAuth endpoint.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    description: Cow<'static, str>,
    headers: Vec<(HeaderName, String)>,
}

impl ApiError {
    /// 400 `invalid_request`.
    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidRequest, description)
    }

    /// `invalid_request` with a more telling status.
    pub fn invalid_request_as(status: StatusCode, description: &'static str) -> Self {
        Self::new(status, ErrorCode::InvalidRequest, description)
    }

    /// 400 `unsupported_grant_type`.
    pub fn unsupported_grant_type() -> Self {
        let description = "this server does not know the grant_type; see grant_types_supported in its metadata";
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::UnsupportedGrantType, description)
    }

    /// 405, with the methods that are allowed.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let error = Self::invalid_request_as(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not take this method");
        error.with(header::ALLOW, allow.to_owned())
    }

    /// 404.
    pub fn not_found() -> Self {
        Self::invalid_request_as(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// 503 with `Retry-After`.
    pub fn unavailable() -> Self {
        let description = "the service can not decide right now; nothing is lost, try again";
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TemporarilyUnavailable, description);
        error.with(header::RETRY_AFTER, "1".to_owned())
    }

    fn new(status: StatusCode, code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, description: description.into(), headers: Vec::new() }
    }

    fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What a client sees of a refused token request. At `/oauth/token` `invalid_grant` is 400 (RFC 6749 section 5.2).
    pub fn from_token_error(error: TokenError, server: &AuthorizationServer) -> Self {
        let bad = |code, description: Cow<'static, str>| Self::new(StatusCode::BAD_REQUEST, code, description);
        match error {
            TokenError::Proof(error) => bad(ErrorCode::InvalidDpopProof, error.description().into()),
            TokenError::NonceNeeded { nonce } => {
                let description = "the proof needs the nonce of the DPoP-Nonce header; sign a new proof with it and send the request again";
                bad(ErrorCode::UseDpopNonce, description.into()).with(DPOP_NONCE, nonce)
            }
            TokenError::KeyChange(error) if error.is_invalid_request() => bad(ErrorCode::InvalidRequest, error.to_string().into()),
            TokenError::KeyChange(error) => bad(ErrorCode::InvalidDpopProof, error.to_string().into()),
            TokenError::Replayed => bad(ErrorCode::InvalidDpopProof, "this proof was used before; sign a new one for each request".into()),
            TokenError::Client(error) => Self::from_client_error(error, server),
            TokenError::AssertionReplayed => Self::new(
                StatusCode::UNAUTHORIZED,
                ErrorCode::InvalidClient,
                "the client assertion was used before; sign a new one for each request",
            ),
            TokenError::UnauthorizedClient => bad(ErrorCode::UnauthorizedClient, "the client is not registered for this grant type".into()),
            TokenError::InvalidGrant => bad(ErrorCode::InvalidGrant, "the refresh token is not valid for this client and key".into()),
            TokenError::InvalidCode => {
                bad(ErrorCode::InvalidGrant, "the code is not valid for this client, redirect_uri, code_verifier and key".into())
            }
            TokenError::Exchange(error) => bad(ErrorCode::InvalidRequest, error.to_string().into()),
            TokenError::InvalidScope => bad(ErrorCode::InvalidScope, "the scope is malformed or exceeds what was granted".into()),
            TokenError::MalformedDetails(error) => bad(ErrorCode::InvalidAuthorizationDetails, error.to_string().into()),
            TokenError::RefusedDetails(error) => bad(ErrorCode::InvalidAuthorizationDetails, error.to_string().into()),
            TokenError::InvalidTarget => bad(ErrorCode::InvalidTarget, "the resource is unknown or not covered by what was granted".into()),
            TokenError::Unavailable(reason) => {
                tracing::warn!(%reason, "a token request could not be decided");
                Self::unavailable()
            }
            TokenError::Signing => {
                tracing::error!("an access token could not be signed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::ServerError, "the token could not be signed")
            }
        }
    }

    /// What a client sees of a refused authorization request where it is answered directly, not over the browser.
    pub fn from_refusal(refusal: Refusal) -> Self {
        let code = match refusal.code {
            RefusalCode::InvalidRequest => ErrorCode::InvalidRequest,
            RefusalCode::UnauthorizedClient => ErrorCode::UnauthorizedClient,
            RefusalCode::UnsupportedResponseType => ErrorCode::UnsupportedResponseType,
            RefusalCode::InvalidScope => ErrorCode::InvalidScope,
            RefusalCode::InvalidTarget => ErrorCode::InvalidTarget,
            RefusalCode::InvalidAuthorizationDetails => ErrorCode::InvalidAuthorizationDetails,
            RefusalCode::InvalidRequestUri => ErrorCode::InvalidRequestUri,
            RefusalCode::InvalidRequestObject => ErrorCode::InvalidRequestObject,
            RefusalCode::LoginRequired => ErrorCode::LoginRequired,
            RefusalCode::AccessDenied => ErrorCode::AccessDenied,
            RefusalCode::ServerError => ErrorCode::ServerError,
        };
        Self::new(StatusCode::BAD_REQUEST, code, refusal.description)
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The code of the answer.
    pub const fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is wrong, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    fn from_client_error(error: ClientAuthError, server: &AuthorizationServer) -> Self {
        let (reason, used_authorization) = match error {
            ClientAuthError::Store(error) => return Self::from_token_error(error.into(), server),
            ClientAuthError::Refused { reason, used_authorization } => (reason, used_authorization),
        };
        tracing::debug!(%reason, "a client was not authenticated");
        if reason.is_invalid_request() {
            return Self::invalid_request(reason.description());
        }
        let answer = Self::new(StatusCode::UNAUTHORIZED, ErrorCode::InvalidClient, reason.description());
        if used_authorization {
            answer.with(header::WWW_AUTHENTICATE, format!("Basic realm=\"{}\"", server.issuer.as_str()))
        } else {
            answer
        }
    }

    /// What a client sees of a refused revocation (RFC 7009 section 2.1).
    pub fn from_revocation_error(error: TokenError, server: &AuthorizationServer) -> Self {
        match error {
            TokenError::InvalidGrant => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidGrant, "the token was issued to another client")
            }
            other => Self::from_token_error(other, server),
        }
    }

    /// A refusal by a protected resource: with a challenge, and with a nonce where one is due.
    pub(super) fn at_resource(
        status: StatusCode,
        code: ErrorCode,
        description: impl Into<Cow<'static, str>>,
        challenge: String,
        nonce: Option<String>,
    ) -> Self {
        let error = Self::new(status, code, description).with(header::WWW_AUTHENTICATE, challenge);
        match nonce {
            Some(nonce) => error.with(DPOP_NONCE, nonce),
            None => error,
        }
    }

    /// Whether the request is to blame, and not its size, its type or its time.
    pub(super) fn is_bad_request(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
    }

    /// A caller that wants a signed answer and does not authenticate gets 400 (RFC 9701 section 5).
    #[must_use]
    pub fn at_signed_introspection(self) -> Self {
        if self.code == ErrorCode::InvalidClient {
            return Self { status: StatusCode::BAD_REQUEST, headers: Vec::new(), ..self };
        }
        self
    }

    /// What a client sees of a refused registration (RFC 7591 section 3.2.2).
    pub fn from_registration_error(error: RegistrationError, server: &AuthorizationServer) -> Self {
        let challenge = |error: &str| format!("Bearer realm=\"{}\"{error}", server.issuer.as_str());
        match error {
            RegistrationError::NoToken => {
                let answer = Self::new(StatusCode::UNAUTHORIZED, ErrorCode::InvalidToken, "registration needs an initial access token");
                answer.with(header::WWW_AUTHENTICATE, challenge(""))
            }
            RegistrationError::WrongToken => {
                let answer = Self::new(StatusCode::UNAUTHORIZED, ErrorCode::InvalidToken, "the initial access token is wrong");
                answer.with(header::WWW_AUTHENTICATE, challenge(", error=\"invalid_token\""))
            }
            RegistrationError::TooFast { retry_after_s } => {
                let description = "too many clients register right now; try again later";
                let answer = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TemporarilyUnavailable, description);
                answer.with(header::RETRY_AFTER, retry_after_s.to_string())
            }
            RegistrationError::Full => {
                tracing::warn!("a client was not registered: there are as many self-registered clients as registration.max_clients allows");
                Self::new(StatusCode::FORBIDDEN, ErrorCode::InvalidRequest, "no further client can be registered; ask the operator")
            }
            RegistrationError::NoRedirectUri => Self::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::InvalidRedirectUri,
                "redirect_uris is missing: the authorization_code grant needs one",
            ),
            RegistrationError::Metadata(error) => {
                let code = if error.member() == "redirect_uris" { ErrorCode::InvalidRedirectUri } else { ErrorCode::InvalidClientMetadata };
                Self::new(StatusCode::BAD_REQUEST, code, error.to_string().replace(['"', '\\'], "'"))
            }
            RegistrationError::Store(error) => Self::from_token_error(error.into(), server),
        }
    }

    /// At the refresh endpoint `invalid_grant` is 401 with a challenge.
    #[must_use]
    pub fn at_refresh_endpoint(self, algs: AlgSet) -> Self {
        if self.code != ErrorCode::InvalidGrant {
            return self;
        }
        Self { status: StatusCode::UNAUTHORIZED, ..self }.with(header::WWW_AUTHENTICATE, Challenge::new(algs).to_string())
    }

    /// The answer itself: flat JSON, never cached.
    pub fn respond(&self, server: &AuthorizationServer, state: Option<&str>) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: &'a str,
            error_uri: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<&'a str>,
        }
        let mut answer = never_cached(self.status);
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.insert_header((name.clone(), value));
            }
        }
        answer.json(Body {
            error: self.code.as_str(),
            error_description: &self.description,
            error_uri: server.issuer.url(&format!("/errors/{}", self.code.as_str())),
            state,
        })
    }
}

/// An answer that no cache may keep (RFC 6749 section 5.1).
pub fn never_cached(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::CACHE_CONTROL, "no-store")).insert_header((header::PRAGMA, "no-cache"));
    answer
}

/// The header that carries a nonce to the client (RFC 9449 section 8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
