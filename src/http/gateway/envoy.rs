//! `ANY /verify/envoy/{path}`: Envoy `ext_authz` over HTTP with `path_prefix: /verify/envoy`.

use actix_web::http::Version;
use actix_web::{HttpRequest, HttpResponse};

use crate::domain::guarded::RequestUrl;
use crate::http::gateway::answer::judge_forwarded;
use crate::http::gateway::{GatewayState, MALFORMED_URL, Misconfigured, lines, method};

/// Reads the method, the `Host` and the path of the question itself, which Envoy takes from the call.
pub async fn verify(request: &HttpRequest, path: &str, state: &GatewayState) -> HttpResponse {
    judge_forwarded(request, state, "envoy", read(request, path)).await
}

/// Path and query of the call, as they were sent; `None` where the question is none of Envoy's.
pub fn original_path(request: &HttpRequest) -> Option<String> {
    let path = request.uri().path_and_query()?.as_str().strip_prefix(PREFIX)?;
    path.starts_with('/').then(|| path.to_owned())
}

fn read<'a>(request: &'a HttpRequest, path: &'a str) -> Result<(&'a str, RequestUrl<'a>), Misconfigured> {
    let method = method(request.method().as_str().as_bytes())?;
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let host = match (named, &lines(request.headers(), "host")[..]) {
        (None, [host]) => *host,
        // HTTP/2 puts the host into `:authority`, and may repeat it.
        (Some(named), []) if request.version() == Version::HTTP_2 => named,
        (Some(named), [host]) if request.version() == Version::HTTP_2 && named == *host => named,
        _ => return Err(Misconfigured("Host is not there once")),
    };
    Ok((method, RequestUrl::at_host(host, path.as_bytes()).map_err(|_| MALFORMED_URL)?))
}

const PREFIX: &str = "/verify/envoy";
