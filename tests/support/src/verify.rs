//! Questions that API gateways ask, in every dialect.

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request as HttpAttributes};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use serde_json::{Value, json};
use tonic::transport::Endpoint;

use crate::http::{Connection, Request, Response};
use crate::jose::{Key, b64, sha256};
use crate::proof::Proof;
use crate::service::Service;

/// How a gateway asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// `POST /verify`.
    Json,
    /// `/verify/nginx`.
    Nginx,
    /// `/verify/forwarded`.
    Forwarded,
    /// `/verify/envoy/{path}`.
    Envoy,
    /// gRPC with `headers`.
    Grpc,
    /// gRPC with `header_map`.
    GrpcRaw,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Json, Self::Nginx, Self::Forwarded, Self::Envoy, Self::Grpc, Self::GrpcRaw];
    /// Those over HTTP that answer with a status.
    pub const HTTP: [Self; 3] = [Self::Nginx, Self::Forwarded, Self::Envoy];
}

/// A call that a gateway asks about.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The method of the call.
    pub method: String,
    /// The absolute URL of the call.
    pub url: String,
    authorization: Vec<String>,
    proofs: Vec<String>,
    extra: Vec<(String, String)>,
    members: Value,
}

impl Verify {
    /// A call without credentials.
    pub fn new(method: &str, url: &str) -> Self {
        let (method, url) = (method.to_owned(), url.to_owned());
        Self { method, url, authorization: Vec::new(), proofs: Vec::new(), extra: Vec::new(), members: json!({}) }
    }

    /// A good call with this token, which is bound to `key`.
    pub fn good(method: &str, url: &str, token: &str, key: &Key) -> Self {
        Self::new(method, url).token(token).proof(Self::proof_for(method, url, token, key).sign(key))
    }

    /// A good proof for a call with this token, not signed yet.
    pub fn proof_for(method: &str, url: &str, token: &str, key: &Key) -> Proof {
        Proof::new(key, method, url).claim("ath", b64(sha256(token)))
    }

    /// Adds `Authorization: DPoP` with this token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.authorization(&format!("DPoP {token}"))
    }

    /// Adds an `Authorization` line.
    #[must_use]
    pub fn authorization(mut self, value: &str) -> Self {
        self.authorization.push(value.to_owned());
        self
    }

    /// Adds a `DPoP` line.
    #[must_use]
    pub fn proof(mut self, proof: impl Into<String>) -> Self {
        self.proofs.push(proof.into());
        self
    }

    /// Adds a header line to the question itself.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a member of the JSON question.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members[name] = value.into();
        self
    }

    /// Host and path with query of the URL.
    fn parts(&self) -> (&str, &str) {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
    }

    /// The question over HTTP.
    ///
    /// # Panics
    /// For gRPC.
    pub fn request(&self, dialect: Dialect) -> Request {
        let (host, path) = self.parts();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let request = match dialect {
            Dialect::Json => return self.json_request(),
            Dialect::Nginx => {
                Request::new("GET", "/verify/nginx").header("X-Original-Method", &self.method).header("X-Original-URL", &self.url)
            }
            Dialect::Forwarded => Request::new("GET", "/verify/forwarded")
                .header("X-Forwarded-Method", &self.method)
                .header("X-Forwarded-Proto", "https")
                .header("X-Forwarded-Host", host)
                .header("X-Forwarded-Uri", path),
            Dialect::Envoy => {
                Request::new(&self.method, &format!("/verify/envoy{path}")).header("Host", host).header("Content-Length", "0")
            }
            Dialect::Grpc | Dialect::GrpcRaw => panic!("gRPC has no such request"),
        };
        self.with_extra(self.credentials().fold(request, |request, (name, value)| request.header(name, value)))
    }

    /// The header lines that the call brings.
    pub fn credentials(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let authorization = self.authorization.iter().map(|value| ("Authorization", value.as_str()));
        authorization.chain(self.proofs.iter().map(|proof| ("DPoP", proof.as_str())))
    }

    fn json_request(&self) -> Request {
        let mut body = json!({"method": self.method, "url": self.url, "authorization": self.authorization, "dpop": self.proofs});
        for (name, value) in self.members.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.with_extra(Request::new("POST", "/verify")).json(&body)
    }

    fn with_extra(&self, request: Request) -> Request {
        self.extra.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// The question for gRPC.
    pub fn check_request(&self, raw: bool) -> CheckRequest {
        let (host, path) = self.parts();
        let pairs = self.authorization.iter().map(|value| ("authorization", value)).chain(self.proofs.iter().map(|value| ("dpop", value)));
        let mut http = HttpRequest {
            method: self.method.clone(),
            host: host.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            scheme: "https".to_owned(),
            ..HttpRequest::default()
        };
        if raw {
            let header = |(key, value): (&str, &String)| HeaderValue {
                key: key.to_owned(),
                raw_value: value.clone().into_bytes(),
                ..HeaderValue::default()
            };
            http.header_map = Some(HeaderMap { headers: pairs.map(header).collect() });
        } else {
            // Envoy joins what is there more than once.
            let mut joined: HashMap<String, String> = HashMap::new();
            for (key, value) in pairs {
                joined.entry(key.to_owned()).and_modify(|all| *all = format!("{all},{value}")).or_insert_with(|| value.clone());
            }
            http.headers = joined;
        }
        let attributes = HttpAttributes { http: Some(http), ..HttpAttributes::default() };
        CheckRequest { attributes: Some(AttributeContext { request: Some(attributes), ..AttributeContext::default() }) }
    }

    /// Asks, and reads the answer.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn ask(&self, dialect: Dialect, service: &Service) -> Judged {
        match dialect {
            Dialect::Grpc | Dialect::GrpcRaw => {
                let answer = check(service, self.check_request(dialect == Dialect::GrpcRaw), &self.extra).await;
                Judged::of_check(&answer)
            }
            _ => {
                let answer = service.ask_gateway(&self.request(dialect)).await;
                if dialect == Dialect::Json { Judged::of_json(&answer) } else { Judged::of_status(&answer) }
            }
        }
    }
}

/// Sends one gRPC question with this metadata.
///
/// # Panics
/// Where no answer comes.
pub async fn check(service: &Service, question: CheckRequest, metadata: &[(String, String)]) -> CheckResponse {
    let channel = Endpoint::from_shared(format!("http://{}", service.gateway_grpc)).expect("an address").connect_lazy();
    let mut request = tonic::Request::new(question);
    for (name, value) in metadata {
        let name: tonic::metadata::MetadataKey<_> = name.parse().expect("a name");
        request.metadata_mut().append(name, value.parse().expect("a value"));
    }
    AuthorizationClient::new(channel).check(request).await.unwrap_or_else(|error| panic!("{error}\n{}", service.log())).into_inner()
}

impl Service {
    /// Sends one request to the gateway listener on a connection of its own.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn ask_gateway(&self, request: &Request) -> Response {
        let answer = Connection::new(self.gateway).send(request).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{request:?}\n{}", self.log()))
    }
}

/// The answer to a question, in one form for all dialects.
#[derive(Clone, Debug)]
pub struct Judged {
    /// 200, 401, 403 or 503.
    pub status: u16,
    /// The error code; empty where there is none.
    pub error: String,
    /// The challenge.
    pub challenge: Option<String>,
    /// The nonce.
    pub nonce: Option<String>,
    /// The identity headers and `authorization`, names in lower case.
    pub upstream: BTreeMap<String, String>,
    /// Everything, for messages and for what only one dialect says.
    pub whole: Value,
}

impl Judged {
    /// From an answer that speaks by its status.
    ///
    /// # Panics
    /// Where it breaks a rule for all answers.
    pub fn of_status(answer: &Response) -> Self {
        assert!([200, 401, 403, 503].contains(&answer.status), "{answer}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
        let upstream = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        let upstream = upstream.filter(|(name, _)| name.starts_with("x-dpop-") || name == "authorization").collect();
        let error = if answer.body.is_empty() { String::new() } else { answer.json()["error"].as_str().unwrap_or_default().to_owned() };
        Self {
            status: answer.status,
            error,
            challenge: answer.header("WWW-Authenticate").map(str::to_owned),
            nonce: answer.header("DPoP-Nonce").map(str::to_owned),
            upstream,
            whole: json!(answer.to_string()),
        }
        .checked()
    }

    /// From an answer of `POST /verify`.
    ///
    /// # Panics
    /// Where it breaks a rule for all answers.
    pub fn of_json(answer: &Response) -> Self {
        assert!([200, 503].contains(&answer.status), "{answer}");
        assert_eq!(answer.header("Cache-Control"), Some("no-store"), "{answer}");
        assert_eq!((answer.header("WWW-Authenticate"), answer.header("DPoP-Nonce")), (None, None), "{answer}");
        let whole = answer.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if whole["active"] == true {
            let member = |value: &Value| text(value).unwrap_or_default();
            let mut upstream = BTreeMap::from([
                ("x-dpop-subject".to_owned(), member(&whole["sub"])),
                ("x-dpop-client-id".to_owned(), member(&whole["client_id"])),
                ("x-dpop-scope".to_owned(), member(&whole["scope"])),
                ("x-dpop-jkt".to_owned(), member(&whole["cnf"]["jkt"])),
                ("x-dpop-token-id".to_owned(), member(&whole["jti"])),
            ]);
            upstream.extend(text(&whole["upstream_authorization"]).map(|value| ("authorization".to_owned(), value)));
            let nonce = text(&whole["dpop_nonce"]);
            return Self { status: 200, error: String::new(), challenge: None, nonce, upstream, whole }.checked();
        }
        let status = if answer.status == 503 { 503 } else { u16::try_from(whole["status"].as_u64().expect("a status")).expect("a status") };
        let headers = &whole["headers"];
        let challenge = text(&headers["WWW-Authenticate"]);
        // Where nothing was presented the challenge names no error.
        let error = if challenge.as_ref().is_some_and(|line| !line.contains("error=")) { None } else { text(&whole["error"]) };
        assert!(whole["error"].is_string() && whole["error_description"].is_string(), "{whole}");
        let nonce = text(&headers["DPoP-Nonce"]);
        Self { status, error: error.unwrap_or_default(), challenge, nonce, upstream: BTreeMap::new(), whole }.checked()
    }

    /// From an answer over gRPC.
    ///
    /// # Panics
    /// Where it breaks a rule for all answers.
    pub fn of_check(answer: &CheckResponse) -> Self {
        let whole = json!(format!("{answer:?}"));
        let code = answer.status.as_ref().expect("a status").code;
        match answer.http_response.as_ref().expect("an HTTP response") {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(code, 0, "{answer:?}");
                for option in &ok.headers {
                    assert_eq!((option.append_action, option.keep_empty_value), (2, true), "{option:?}");
                }
                let nonce = once(&ok.response_headers_to_add, "DPoP-Nonce");
                Self { status: 200, error: String::new(), challenge: None, nonce, upstream: pairs(&ok.headers).collect(), whole }.checked()
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(code, 0, "{answer:?}");
                let body: Value = serde_json::from_str(&denied.body).unwrap_or_default();
                Self {
                    status: u16::try_from(denied.status.as_ref().expect("a status").code).expect("a status"),
                    error: body["error"].as_str().unwrap_or_default().to_owned(),
                    challenge: once(&denied.headers, "WWW-Authenticate"),
                    nonce: once(&denied.headers, "DPoP-Nonce"),
                    upstream: pairs(&denied.headers).filter(|(name, _)| name.starts_with("x-dpop-")).collect(),
                    whole,
                }
                .checked()
            }
            HttpResponse::ErrorResponse(_) => panic!("{answer:?}"),
        }
    }

    /// What holds of every answer.
    fn checked(self) -> Self {
        let identity = self.upstream.keys().filter(|name| name.starts_with("x-dpop-")).count();
        assert_eq!(identity, if self.status == 200 { 5 } else { 0 }, "{}", self.whole);
        match (self.status, &self.challenge) {
            (401 | 403, Some(line)) => assert!(line.starts_with("DPoP ") && line.contains("algs=\""), "{line}"),
            (200 | 503, None) => {}
            _ => panic!("{}", self.whole),
        }
        self
    }

    /// Expects the call to pass.
    ///
    /// # Panics
    /// Where it may not.
    pub fn passes(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.whole);
        self
    }

    /// Expects the call to be refused.
    ///
    /// # Panics
    /// Where it may pass, or is refused in another way.
    pub fn refused(self, status: u16, error: &str) -> Self {
        assert_eq!((self.status, self.error.as_str()), (status, error), "{}", self.whole);
        if let (Some(line), false) = (&self.challenge, error.is_empty() || error == "gateway_misconfigured") {
            assert!(line.starts_with(&format!("DPoP error=\"{error}\"")), "{line}");
        }
        self
    }
}

fn pairs(headers: &[HeaderValueOption]) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(|option| option.header.as_ref()).map(|header| (header.key.to_ascii_lowercase(), header.value.clone()))
}

fn once(headers: &[HeaderValueOption], name: &str) -> Option<String> {
    let mut found = pairs(headers).filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let first = found.next();
    assert_eq!(found.next(), None, "{name} is there more than once");
    first
}
