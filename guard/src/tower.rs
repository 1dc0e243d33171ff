//! A tower layer over `http` 1.x requests: axum, hyper, tonic.
//!
//! The verified [`Caller`] is among the request's extensions (`Extension<Caller>` in axum). A CORS layer belongs outside of this one,
//! something that rewrites paths inside.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Caller, Guard, Refusal, Unguarded, system};

/// Wraps services so that only requests reach them that the guard admits.
#[derive(Clone, Debug)]
pub struct GuardLayer(Arc<Guard>);

impl GuardLayer {
    /// A layer over this guard.
    pub const fn new(guard: Arc<Guard>) -> Self {
        Self(guard)
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { guard: Arc::clone(&self.0), inner }
    }
}

/// What [`GuardLayer`] makes of a service. The body of its answers must be one that can be made of a text, as those of axum and hyper can.
#[derive(Clone, Debug)]
pub struct GuardService<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for GuardService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let guard = Arc::clone(&self.guard);
        // The service that was found ready is the one to call; its clone takes its place.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let (mut head, body) = request.into_parts();
        Box::pin(async move {
            let caller = match check(&guard, &head).await {
                Ok(caller) => caller,
                Err(refusal) => return Ok(answer(&refusal)),
            };
            let nonce = caller.dpop_nonce().and_then(|nonce| HeaderValue::from_str(nonce).ok());
            head.extensions.insert(caller);
            let mut response = inner.call(Request::from_parts(head, body)).await?;
            if let Some(nonce) = nonce {
                response.headers_mut().insert(DPOP_NONCE, nonce);
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            Ok(response)
        })
    }
}

async fn check(guard: &Guard, head: &http::request::Parts) -> Result<Caller, Refusal> {
    let lines = |name: HeaderName| head.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (authorization, dpop) = (lines(AUTHORIZATION), lines(DPOP));
    let unguarded = Unguarded {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        authorization: &authorization,
        dpop: &dpop,
    };
    guard.check(&unguarded, system::now()).await
}

fn answer<R: From<String>>(refusal: &Refusal) -> Response<R> {
    let mut answer = Response::new(R::from(refusal.body()));
    *answer.status_mut() = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in refusal.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};

    use super::*;
    use crate::testkit::{Client, guard, now_for_adapters};

    /// Answers with the name of the caller.
    #[derive(Clone)]
    struct Greeter;

    impl Service<Request<()>> for Greeter {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            let caller = request.extensions().get::<Caller>().map(|caller| caller.subject().to_owned());
            ready(Ok(Response::new(caller.unwrap_or_default())))
        }
    }

    async fn send(service: &mut GuardService<Greeter>, client: &Client, proofs: &[&str]) -> Response<String> {
        let mut request = Request::builder().uri("/accounts").header("authorization", format!("DPoP {}", client.token));
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        let request = request.body(()).expect("a request");
        service.call(request).await.expect("an answer")
    }

    /// RS-02, RS-05, DPOP-4.3-01
    #[tokio::test]
    async fn a_good_call_reaches_the_service_and_two_proofs_or_a_replay_do_not() {
        let client = Client::new(now_for_adapters());
        let mut service = GuardLayer::new(Arc::new(guard(&client))).layer(Greeter);
        let proof = client.proof("GET", "https://api.example.com/accounts", now_for_adapters());
        assert_eq!(send(&mut service, &client, &[&proof, &proof]).await.status(), 401);
        let good = send(&mut service, &client, &[&proof]).await;
        assert_eq!((good.status(), good.body().as_str()), (StatusCode::OK, "alice"));
        let replay = send(&mut service, &client, &[&proof]).await;
        assert_eq!(replay.status(), 401);
        assert!(replay.body().contains("invalid_dpop_proof"));
        assert_eq!(replay.headers().get_all("www-authenticate").iter().count(), 1);
    }
}
