//! Pages of other origins (Fetch standard): any may call, and pages of registered origins may use their cookie.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use crate::http::PublicState;
use crate::service::Issuer;

/// Answers preflights, and marks every answer for the page that asked.
///
/// Any origin may call without credentials of the browser: what counts here are proofs and tokens, which a page has or has not. With
/// credentials, which means with the refresh token cookie, only an origin that some client with a cookie is registered for. Whether
/// it is the client of the request is judged where that client is known. `*` and credentials never meet.
pub(super) async fn cross_origin<B: MessageBody + 'static>(
    state: web::Data<PublicState>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let takes_cookies = takes_cookies(&state, request.path());
    let origin = request.headers().get(header::ORIGIN).cloned();
    let access = match &origin {
        None => None,
        Some(origin) if takes_cookies && is_registered(&state, origin).await => Some(Access::WithCookies(origin.clone())),
        Some(_) => Some(Access::Any),
    };
    let preflight =
        access.is_some() && request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        request.into_response(HttpResponse::Ok().finish()).map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    if takes_cookies {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(access) = access {
        access.grant(headers);
        if preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("DPoP, Authorization, Content-Type"));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        } else {
            // What a page needs to read: the nonce and the challenge (RFC 9449 section 8.2).
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate"));
        }
    }
    Ok(response)
}

/// What the page that asked may do.
enum Access {
    /// Call without credentials of the browser.
    Any,
    /// Call with its cookie: this origin alone.
    WithCookies(HeaderValue),
}

impl Access {
    fn grant(self, headers: &mut HeaderMap) {
        match self {
            Self::Any => headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            Self::WithCookies(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            }
        };
    }
}

/// Whether the endpoint at this path may be given a refresh token in a cookie, or give one out.
fn takes_cookies(state: &PublicState, path: &str) -> bool {
    path.strip_prefix(state.server.issuer.path()).is_some_and(|path| COOKIE_ENDPOINTS.contains(&path))
}

/// An origin that the store can't tell about is treated as any other: without its cookie.
async fn is_registered(state: &PublicState, origin: &HeaderValue) -> bool {
    match origin.to_str() {
        Ok(origin) => state.server.clients.is_cookie_origin(origin).await.unwrap_or(false),
        Err(_) => false,
    }
}

const COOKIE_ENDPOINTS: [&str; 3] = [Issuer::REFRESH, Issuer::TOKEN, Issuer::REVOKE];
