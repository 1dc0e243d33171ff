//! `POST /verify`: a question in JSON, for plugins of gateways.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use keybound_proofs::UnixTime;
use serde_json::{Map, Value, json};

use crate::domain::guarded::RequestUrl;
use crate::domain::{Scope, strict_json};
use crate::http::body;
use crate::http::error::{ApiError, never_cached};
use crate::http::gateway::answer::{Decision, Pass, Refusal};
use crate::http::gateway::{GATEWAY_KEY, GatewayState, lines, method};
use crate::service::verify::{GatewayCall, Replay};

/// Judges the call that the body describes. The answer to a call that may not pass is 200 as well, with `"active": false`.
pub async fn verify(request: HttpRequest, body: web::Payload, state: web::Data<GatewayState>) -> HttpResponse {
    let server = &state.server;
    let now = server.clock.now();
    if let Err(problem) = state.admit(lines(request.headers(), GATEWAY_KEY)) {
        state.note(problem, "json", now);
        return Refusal::misconfigured(server).respond();
    }
    let question = match read_body(body, &state).await.and_then(|body| Question::read(&body)) {
        Ok(question) => question,
        Err(error) => return error.respond(server, None),
    };
    answer(&question, &state, now).await.unwrap_or_else(|error| error.respond(server, None))
}

async fn answer(question: &Question, state: &GatewayState, now: UnixTime) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let url = RequestUrl::parse(question.url.as_bytes());
    let url = url.map_err(|_| malformed("url must be an absolute http or https URL without user information"))?;
    let (authorization, proofs) = (bytes(&question.authorization), bytes(&question.dpop));
    let call = GatewayCall {
        method: method(question.method.as_bytes()).map_err(|_| malformed("method must be the method of the call"))?,
        url: &url,
        authorization: &authorization,
        proofs: &proofs,
        scope: question.scope.as_ref(),
        resource: question.resource.as_deref(),
        replay: question.replay,
        explain: question.explain,
    };
    let mut verdict = server.judge_call(&call, now).await;
    let explanation = verdict.explanation.take();
    let mut members = match Decision::of(verdict, server) {
        Decision::Pass(pass) => about(&pass),
        Decision::Refuse(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE => return Err(ApiError::unavailable()),
        Decision::Refuse(refusal) => refusal.to_json(),
    };
    if let Some(explanation) = explanation {
        members.insert("checks".to_owned(), json!(explanation));
    }
    Ok(never_cached(StatusCode::OK).json(members))
}

fn about(pass: &Pass) -> Map<String, Value> {
    let claims = pass.allowed.claims();
    let audience = if let [one] = &claims.audience[..] { json!(one) } else { json!(claims.audience) };
    let members = [
        ("active", Some(true.into())),
        ("sub", Some(claims.sub.as_str().into())),
        ("client_id", Some(claims.client_id.as_str().into())),
        ("scope", Some(claims.scope.to_string().into())),
        ("aud", Some(audience)),
        ("exp", Some(claims.exp.as_secs().into())),
        ("jti", Some(claims.jti.as_str().into())),
        ("grant_id", Some(claims.grant_id.map(|id| id.to_string()).into())),
        ("cnf", Some(json!({ "jkt": pass.allowed.jkt().to_string() }))),
        ("iss", pass.allowed.foreign_issuer().map(Value::from)),
        ("authorization_details", (!claims.authorization_details.is_empty()).then(|| json!(claims.authorization_details))),
        ("upstream_authorization", pass.allowed.upstream_authorization.as_deref().map(Value::from)),
        ("dpop_nonce", pass.nonce.as_deref().map(Value::from)),
    ];
    members.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
}

/// The members of the body.
#[derive(Debug)]
struct Question {
    method: String,
    url: String,
    authorization: Vec<String>,
    dpop: Vec<String>,
    scope: Option<Scope>,
    resource: Option<String>,
    replay: Replay,
    explain: bool,
}

impl Question {
    /// A member that is `null` counts as absent. One that is unknown is refused: it may be a known one, misspelled.
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let mut members = strict_json::parse_object(body).map_err(|_| malformed("the body must be one JSON object"))?;
        members.retain(|_, value| !value.is_null());
        let question = Self {
            method: text(members.remove("method"))?.ok_or_else(|| malformed("method is missing"))?,
            url: text(members.remove("url"))?.ok_or_else(|| malformed("url is missing"))?,
            authorization: texts(members.remove("authorization"))?,
            dpop: texts(members.remove("dpop"))?,
            scope: match text(members.remove("scope"))? {
                Some(scope) => Some(Scope::parse(&scope).map_err(|_| malformed("scope is malformed"))?),
                None => None,
            },
            resource: text(members.remove("resource"))?,
            replay: match text(members.remove("replay"))?.as_deref() {
                None | Some("consume") => Replay::Consume,
                Some("check") => Replay::Check,
                Some("none") => Replay::None,
                Some(_) => return Err(malformed("replay must be consume, check or none")),
            },
            explain: match members.remove("explain") {
                None => false,
                Some(Value::Bool(explain)) => explain,
                Some(_) => return Err(malformed("explain must be true or false")),
            },
        };
        if members.is_empty() { Ok(question) } else { Err(malformed("the body has a member that is not known here")) }
    }
}

fn text(value: Option<Value>) -> Result<Option<String>, ApiError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed("a member that must be text is something else")),
    }
}

/// A text, or a list of texts.
fn texts(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    let malformed = || malformed("authorization and dpop must be text, or lists of texts");
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => {
            many.into_iter().map(|one| if let Value::String(one) = one { Ok(one) } else { Err(malformed()) }).collect()
        }
        Some(_) => Err(malformed()),
    }
}

fn bytes(texts: &[String]) -> Vec<&[u8]> {
    texts.iter().map(String::as_bytes).collect()
}

async fn read_body(payload: web::Payload, state: &GatewayState) -> Result<Vec<u8>, ApiError> {
    let late = |_| Err(ApiError::invalid_request_as(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"));
    tokio::time::timeout(state.body_timeout, body::read(payload, MAX_BODY_BYTES)).await.unwrap_or_else(late)
}

fn malformed(description: &'static str) -> ApiError {
    ApiError::invalid_request(description)
}

/// Room for the longest token, the longest proof and a long URL, each more than once.
const MAX_BODY_BYTES: usize = 64 * 1024;
