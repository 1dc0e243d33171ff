//! A reverse proxy that asks Keybound about every call: what a gateway plugin does, in one file, with `POST /verify`.
//!
//! ```text
//! KEYBOUND=http://127.0.0.1:8081 ORIGIN=https://api.example.com API=http://127.0.0.1:9000 GATEWAY_LISTEN=127.0.0.1:8000 \
//!     cargo run --example gateway
//! ```
//!
//! Four things make it safe: it asks with the method and the URL that the *client* called, at an origin that no client chooses; it hands
//! over *every* `Authorization` and `DPoP` line; it takes what tells the API who calls out of the client's request; and it lets pass only
//! what was answered `"active": true`. What a real one has in addition: streaming of large bodies, upgrades, TLS.

use std::env;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// What each call needs.
struct Gateway {
    http: reqwest::Client,
    keybound: String,
    origin: String,
    api: String,
}

impl Gateway {
    /// Asks about a call. `None` where there is no answer that could be relied on.
    async fn ask(&self, request: &HttpRequest) -> Option<Value> {
        let lines = |name: &str| request.headers().get_all(name).map(|line| String::from_utf8_lossy(line.as_bytes())).collect::<Vec<_>>();
        let question = json!({
            "method": request.method().as_str(),
            "url": format!("{}{}", self.origin, request.uri()),
            "authorization": lines("authorization"),
            "dpop": lines("dpop"),
        });
        let answer = self.http.post(format!("{}/verify", self.keybound)).json(&question).send().await.ok()?;
        if answer.status() == 200 { answer.json().await.ok() } else { None }
    }

    /// Sends the call on to the API.
    async fn forward(&self, request: &HttpRequest, body: web::Bytes, caller: &Value) -> Result<HttpResponse, reqwest::Error> {
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        let mut call = self.http.request(method, format!("{}{}", self.api, request.uri())).body(body);
        for (name, value) in request.headers().iter().filter(|(name, _)| may_pass(name.as_str(), request.headers())) {
            call = call.header(name.as_str(), value.as_bytes());
        }
        for (name, claim) in [("x-dpop-subject", "/sub"), ("x-dpop-client-id", "/client_id"), ("x-dpop-jkt", "/cnf/jkt")] {
            call = call.header(name, caller.pointer(claim).and_then(Value::as_str).unwrap_or_default());
        }
        let answer = call.send().await?;
        let mut response = HttpResponse::build(status(answer.status().as_u16()));
        for name in ["content-type", "location", "etag", "last-modified", "cache-control"] {
            if let Some(value) = answer.headers().get(name) {
                response.append_header((name, value.as_bytes()));
            }
        }
        if let Some(nonce) = caller["dpop_nonce"].as_str() {
            response.insert_header(("dpop-nonce", nonce)).insert_header(("cache-control", "no-store"));
        }
        Ok(response.body(answer.bytes().await?))
    }
}

/// What of a client's headers the API may see: nothing that says who calls or where, and nothing that concerns this connection alone.
fn may_pass(name: &str, headers: &HeaderMap) -> bool {
    let spoofable = ["x-dpop-", "x_dpop_", "x-forwarded-", "x-original-"].iter().any(|prefix| name.starts_with(prefix));
    let hop = ["host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "forwarded"]
        .contains(&name);
    let listed = headers.get_all("connection").filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    !spoofable && !hop && !listed.map(str::trim).any(|listed| listed.eq_ignore_ascii_case(name))
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What Keybound refuses, as it says: status, challenge, nonce.
fn refuse(verdict: &Value) -> HttpResponse {
    let mut response =
        HttpResponse::build(verdict["status"].as_u64().and_then(|code| u16::try_from(code).ok()).map_or(StatusCode::FORBIDDEN, status));
    for (name, value) in verdict["headers"].as_object().into_iter().flatten() {
        response.insert_header((name.as_str(), value.as_str().unwrap_or_default()));
    }
    response.json(json!({"error": verdict["error"], "error_description": verdict["error_description"]}))
}

async fn handle(request: HttpRequest, body: web::Bytes, gateway: web::Data<Gateway>) -> HttpResponse {
    match gateway.ask(&request).await {
        Some(verdict) if verdict["active"] == true => {
            let answer = gateway.forward(&request, body, &verdict).await;
            answer.unwrap_or_else(|_| HttpResponse::BadGateway().finish())
        }
        Some(verdict) if verdict["active"] == false => refuse(&verdict),
        // No answer is no permission.
        _ => HttpResponse::ServiceUnavailable().insert_header(("retry-after", "1")).json(json!({"error": "temporarily_unavailable"})),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let gateway = web::Data::new(Gateway {
        http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(10)).build()?,
        keybound: env::var("KEYBOUND")?,
        origin: env::var("ORIGIN")?,
        api: env::var("API")?,
    });
    let listen = env::var("GATEWAY_LISTEN").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let app = move || App::new().app_data(gateway.clone()).app_data(web::PayloadConfig::new(1 << 20)).default_service(web::to(handle));
    Ok(HttpServer::new(app).workers(2).bind(listen)?.run().await?)
}
