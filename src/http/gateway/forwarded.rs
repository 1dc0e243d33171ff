//! `ANY /verify/forwarded`: Traefik ForwardAuth, Caddy `forward_auth`, APISIX forward-auth.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::domain::guarded::RequestUrl;
use crate::http::gateway::answer::judge_forwarded;
use crate::http::gateway::{GatewayState, MALFORMED_URL, Misconfigured, method, only};

/// Reads `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`. The scheme must be one, and has no other meaning: the registered URL decides.
pub async fn verify(request: HttpRequest, state: web::Data<GatewayState>) -> HttpResponse {
    judge_forwarded(&request, &state, "forwarded", read(&request)).await
}

fn read(request: &HttpRequest) -> Result<(&str, RequestUrl<'_>), Misconfigured> {
    let headers = request.headers();
    let method = method(only(headers, "x-forwarded-method", "X-Forwarded-Method is not there once")?)?;
    let scheme = only(headers, "x-forwarded-proto", "X-Forwarded-Proto is not there once")?;
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(Misconfigured("X-Forwarded-Proto is malformed"));
    }
    let host = only(headers, "x-forwarded-host", "X-Forwarded-Host is not there once")?;
    let target = only(headers, "x-forwarded-uri", "X-Forwarded-Uri is not there once")?;
    Ok((method, RequestUrl::at_host(host, target).map_err(|_| MALFORMED_URL)?))
}

/// Traefik names the schemes of WebSocket for calls that ask for an upgrade.
const SCHEMES: [&[u8]; 4] = [b"https", b"http", b"wss", b"ws"];
