//! `ANY /verify/nginx`: nginx `auth_request`, and whatever can set two headers.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::domain::guarded::RequestUrl;
use crate::http::gateway::answer::judge_forwarded;
use crate::http::gateway::{GatewayState, MALFORMED_URL, Misconfigured, method, only};

/// Reads `X-Original-Method` and `X-Original-URL`: the absolute URL of the call, its path raw. The method and the path of the question
/// itself mean nothing.
pub async fn verify(request: HttpRequest, state: web::Data<GatewayState>) -> HttpResponse {
    judge_forwarded(&request, &state, "nginx", read(&request)).await
}

fn read(request: &HttpRequest) -> Result<(&str, RequestUrl<'_>), Misconfigured> {
    let headers = request.headers();
    let method = method(only(headers, "x-original-method", "X-Original-Method is not there once")?)?;
    let url = only(headers, "x-original-url", "X-Original-URL is not there once")?;
    Ok((method, RequestUrl::parse(url).map_err(|_| MALFORMED_URL)?))
}
