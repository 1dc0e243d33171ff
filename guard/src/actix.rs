//! A middleware and an extractor for actix-web.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use actix_web::{App, HttpServer, get};
//! use keybound_guard::actix::Guarded;
//! use keybound_guard::{Caller, Guard};
//!
//! #[get("/accounts")]
//! async fn accounts(caller: Caller) -> String {
//!     format!("the accounts of {}", caller.subject())
//! }
//!
//! # async fn serve(guard: Arc<Guard>) -> std::io::Result<()> {
//! HttpServer::new(move || App::new().wrap(Guarded::new(Arc::clone(&guard))).service(accounts)).bind(("127.0.0.1", 8000))?.run().await
//! # }
//! ```
//!
//! A CORS middleware belongs outside of this one (registered after it), so that preflight requests, which carry no credentials, get their
//! answer; let it expose `WWW-Authenticate` and `DPoP-Nonce`. Something that rewrites paths (`NormalizePath`) belongs inside: `htu` is
//! what the client called.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError};

use crate::{Caller, Guard, Refusal, Unguarded, system};

/// Lets only requests through that the guard admits, and tells the handler who calls: take a [`Caller`] as an argument.
#[derive(Clone, Debug)]
pub struct Guarded(Arc<Guard>);

impl Guarded {
    /// A middleware over this guard, which all workers share.
    pub const fn new(guard: Arc<Guard>) -> Self {
        Self(guard)
    }
}

impl<S, B> Transform<S, ServiceRequest> for Guarded
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = GuardedService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(GuardedService { guard: Arc::clone(&self.0), inner: Rc::new(inner) }))
    }
}

/// What [`Guarded`] makes of a service.
pub struct GuardedService<S> {
    guard: Arc<Guard>,
    inner: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for GuardedService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (guard, inner) = (Arc::clone(&self.guard), Rc::clone(&self.inner));
        Box::pin(async move {
            let caller = match check(&guard, request.request()).await {
                Ok(caller) => caller,
                Err(refusal) => return Ok(request.into_response(answer(&refusal)).map_into_right_body()),
            };
            let nonce = caller.dpop_nonce().and_then(|nonce| HeaderValue::from_str(nonce).ok());
            request.extensions_mut().insert(caller);
            let mut response = inner.call(request).await?;
            if let Some(nonce) = nonce {
                response.headers_mut().insert(DPOP_NONCE, nonce);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            Ok(response.map_into_left_body())
        })
    }
}

async fn check(guard: &Guard, request: &HttpRequest) -> Result<Caller, Refusal> {
    let lines = |name: HeaderName| request.headers().get_all(name).map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (authorization, dpop) = (lines(AUTHORIZATION), lines(DPOP));
    let unguarded = Unguarded {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query(),
        authorization: &authorization,
        dpop: &dpop,
    };
    guard.check(&unguarded, system::now()).await
}

fn answer(refusal: &Refusal) -> HttpResponse {
    let mut answer = HttpResponse::build(refusal.status_code());
    for (name, value) in refusal.headers() {
        answer.insert_header((name, value));
    }
    answer.body(refusal.body())
}

/// A handler may hand on what [`Guard::demand_scope`] refuses with.
impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        answer(self)
    }
}

/// The caller that [`Guarded`] has admitted. On a route that is not behind it this is a mistake of the program: 500, and the handler does
/// not run.
impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(|| ErrorInternalServerError("this route is not guarded")))
    }
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    use super::*;
    use crate::testkit::{Client, guard, now_for_adapters};

    async fn greet(caller: Caller) -> String {
        caller.subject().to_owned()
    }

    fn call(client: &Client, proof: &str) -> TestRequest {
        TestRequest::get()
            .uri("/accounts?x=1")
            .insert_header(("Authorization", format!("DPoP {}", client.token)))
            .insert_header(("DPoP", proof))
    }

    /// RS-02, RS-05, RS-06
    #[actix_web::test]
    async fn a_good_call_reaches_the_handler_and_its_replay_gets_a_challenge() {
        let client = Client::new(now_for_adapters());
        let app = App::new().wrap(Guarded::new(Arc::new(guard(&client)))).route("/accounts", web::get().to(greet));
        let app = init_service(app).await;
        let proof = client.proof("GET", "https://api.example.com/accounts", now_for_adapters());

        let good = call_service(&app, call(&client, &proof).to_request()).await;
        assert_eq!(good.status(), 200);
        assert_eq!(actix_web::test::read_body(good).await, "alice");

        let replay = call_service(&app, call(&client, &proof).to_request()).await;
        assert_eq!(replay.status(), 401);
        let lines: Vec<_> = replay.headers().get_all("WWW-Authenticate").collect();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].to_str().is_ok_and(|line| line.starts_with("DPoP error=\"invalid_dpop_proof\"")));

        let nothing = call_service(&app, TestRequest::get().uri("/accounts").to_request()).await;
        assert_eq!(nothing.status(), 401);
        assert!(nothing.headers().get("WWW-Authenticate").is_some_and(|line| !line.to_str().unwrap_or_default().contains("error")));
    }

    /// DPOP-4.3-01
    #[actix_web::test]
    async fn two_proofs_in_two_lines_are_two_proofs() {
        let client = Client::new(now_for_adapters());
        let app = init_service(App::new().wrap(Guarded::new(Arc::new(guard(&client)))).route("/accounts", web::get().to(greet))).await;
        let [one, two] = [(); 2].map(|()| client.proof("GET", "https://api.example.com/accounts", now_for_adapters()));
        assert_eq!(call_service(&app, call(&client, &one).append_header(("DPoP", two)).to_request()).await.status(), 401);
        assert_eq!(call_service(&app, call(&client, &one).to_request()).await.status(), 200);
    }

    #[actix_web::test]
    async fn a_route_without_a_guard_tells_nobody_that_it_has_a_caller() {
        let app = init_service(App::new().route("/accounts", web::get().to(greet))).await;
        assert_eq!(call_service(&app, TestRequest::get().uri("/accounts").to_request()).await.status(), 500);
    }
}
