//! `envoy.service.auth.v3.Authorization/Check`: Envoy `ext_authz` over gRPC.

use actix_web::http::StatusCode;
use actix_web::web;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use keybound_proofs::UnixTime;
use tonic::{Code, Request, Response, Status};

use crate::domain::guarded::RequestUrl;
use crate::http::gateway::answer::{Decision, Pass, Refusal};
use crate::http::gateway::{GATEWAY_KEY, GatewayState, MALFORMED_URL, Misconfigured, method};
use crate::service::verify::GatewayCall;

/// Answers Envoy. Reads method, host and path of the call from the attributes, its credentials from `headers` and `header_map`; the scheme
/// and the context extensions mean nothing.
pub struct EnvoyAuthorization {
    state: web::Data<GatewayState>,
}

impl EnvoyAuthorization {
    /// The service, ready to be served.
    pub fn service(state: web::Data<GatewayState>) -> AuthorizationServer<Self> {
        AuthorizationServer::new(Self { state }).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn judge(&self, request: &CheckRequest, now: UnixTime) -> Result<Decision, Misconfigured> {
        let http = request.attributes.as_ref().and_then(|attributes| attributes.request.as_ref());
        let http = http.and_then(|request| request.http.as_ref()).ok_or(Misconfigured("the attributes of the request are missing"))?;
        let url = RequestUrl::at_host(http.host.as_bytes(), http.path.as_bytes()).map_err(|_| MALFORMED_URL)?;
        let (authorization, proofs) = (values(http, "authorization"), values(http, "dpop"));
        let call = GatewayCall::plain(method(http.method.as_bytes())?, &url, &authorization, &proofs);
        let server = &self.state.server;
        Ok(Decision::of(server.judge_call(&call, now).await, server))
    }
}

#[async_trait::async_trait]
impl Authorization for EnvoyAuthorization {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let server = &self.state.server;
        let now = server.clock.now();
        let admitted = self.state.admit(request.metadata().get_all(GATEWAY_KEY).iter().map(|key| key.as_bytes()));
        let judged = match admitted {
            Ok(()) => self.judge(request.get_ref(), now).await,
            Err(problem) => Err(problem),
        };
        let answer = match judged {
            Ok(Decision::Pass(pass)) => passed(&pass),
            Ok(Decision::Refuse(refusal)) => denied(&refusal),
            Err(problem) => {
                self.state.note(problem, "grpc", now);
                denied(&Refusal::misconfigured(server))
            }
        };
        Ok(Response::new(answer))
    }
}

/// Every value of a header of the call. Envoy fills `headers`, where it joins lines with commas, or `header_map`, where it does not; were
/// both there, values that differ would count as two.
fn values<'a>(http: &'a HttpRequest, name: &str) -> Vec<&'a [u8]> {
    let listed = http.header_map.iter().flat_map(|map| &map.headers).filter(|header| header.key.eq_ignore_ascii_case(name));
    let mut values: Vec<&[u8]> =
        listed.map(|header| if header.raw_value.is_empty() { header.value.as_bytes() } else { header.raw_value.as_slice() }).collect();
    for (_, value) in http.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)) {
        if values != [value.as_bytes()] {
            values.push(value.as_bytes());
        }
    }
    values
}

fn passed(pass: &Pass) -> CheckResponse {
    let ok = OkHttpResponse {
        headers: pass.upstream_headers().into_iter().map(|(name, value)| header(name, value)).collect(),
        headers_to_remove: if pass.keeps_proof { Vec::new() } else { vec!["dpop".to_owned()] },
        response_headers_to_add: pass.nonce.iter().map(|nonce| header("DPoP-Nonce", nonce.clone())).collect(),
        ..OkHttpResponse::default()
    };
    answer(Code::Ok, HttpResponse::OkResponse(ok))
}

fn denied(refusal: &Refusal) -> CheckResponse {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        _ => Code::Unavailable,
    };
    let mut headers: Vec<_> = refusal.headers().into_iter().map(|(name, value)| header(name, value)).collect();
    headers.push(header("Cache-Control", "no-store".to_owned()));
    let body = refusal.body().map(|body| body.to_string());
    if body.is_some() {
        headers.push(header("Content-Type", "application/json".to_owned()));
    }
    let status = Some(HttpStatus { code: i32::from(refusal.status.as_u16()) });
    answer(code, HttpResponse::DeniedResponse(DeniedHttpResponse { status, headers, body: body.unwrap_or_default() }))
}

/// A header that replaces every one of its name, and stays where it is empty.
fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        keep_empty_value: true,
        ..HeaderValueOption::default()
    }
}

fn answer(code: Code, response: HttpResponse) -> CheckResponse {
    let status = rpc::Status { code: code.into(), ..rpc::Status::default() };
    CheckResponse { status: Some(status), http_response: Some(response), ..CheckResponse::default() }
}

/// Room for all headers that Envoy lets pass.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
