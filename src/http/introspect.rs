//! `POST /oauth/introspect` (RFC 7662, RFC 9701).

use actix_web::http::StatusCode;
use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::error::{ApiError, never_cached};
use crate::http::params::{BodyKinds, Params};
use crate::http::request::presented_client;
use crate::http::{PublicState, read_params};
use crate::service::introspect::IntrospectionRequest;

/// Tells an authenticated caller about a token, in the form that `Accept` prefers. A `DPoP` header is ignored (CNF-05).
pub async fn introspect(request: HttpRequest, body: web::Payload, state: web::Data<PublicState>) -> HttpResponse {
    let form = Form::preferred(&request);
    let answer = match read_params(&request, body, BodyKinds::Form, &state).await {
        Ok(params) => answer(&request, &params, form, &state).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| {
        let error = if form == Form::SignedAnswer { error.at_signed_introspection() } else { error };
        error.respond(&state.server, None)
    })
}

async fn answer(request: &HttpRequest, params: &Params, form: Form, state: &PublicState) -> Result<HttpResponse, ApiError> {
    let server = &state.server;
    let now = server.clock.now();
    let question = IntrospectionRequest { caller: presented_client(request, params)?, token: params.required("token")? };
    let refused = |error| ApiError::from_token_error(error, server);
    let told = server.introspect(question, now).await.map_err(refused)?;
    let signed = match form {
        Form::Json => None,
        Form::SignedAnswer => Some(server.sign_introspection(&told, now).map_err(refused)?),
        Form::AccessToken => server.sign_for_caller(&told).map_err(refused)?,
    };
    let mut answer = never_cached(StatusCode::OK);
    Ok(match signed {
        Some(jwt) => answer.content_type(form.media_type()).body(jwt),
        None => answer.json(told.to_json()),
    })
}

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// RFC 7662.
    Json,
    /// RFC 9701: the whole answer as a JWT.
    SignedAnswer,
    /// The access token itself as a JWT, where it is active; else JSON.
    AccessToken,
}

impl Form {
    const ALL: [Self; 3] = [Self::Json, Self::SignedAnswer, Self::AccessToken];

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::SignedAnswer => "application/token-introspection+jwt",
            Self::AccessToken => "application/jwt",
        }
    }

    fn preferred(request: &HttpRequest) -> Self {
        Self::of_accept(request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok()))
    }

    /// The form that is named with the highest weight (RFC 9110 section 12.5.1), the first of several. Wildcards and types that are
    /// not offered ask for JSON: a JWT goes only to callers that name one.
    fn of_accept<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut best = (Self::Json, 0);
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let Some(form) = Self::ALL.into_iter().find(|form| form.media_type().eq_ignore_ascii_case(name)) else { continue };
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))).map_or(1000, thousandths);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

/// A weight of 0 to 1 in thousandths; 0 for what is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is between 0 and 1000")]
fn thousandths(text: &str) -> u32 {
    text.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight)).map_or(0, |weight| (weight * 1000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INT-04
    #[test]
    fn a_jwt_goes_to_callers_that_name_one() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("application/*", Form::Json),
            ("text/html", Form::Json),
            ("application/json", Form::Json),
            ("application/token-introspection+jwt", Form::SignedAnswer),
            ("Application/Token-Introspection+JWT; q=0.5", Form::SignedAnswer),
            ("application/jwt", Form::AccessToken),
            ("application/token-introspection+jwt, application/json", Form::SignedAnswer),
            ("application/json, application/token-introspection+jwt", Form::Json),
            ("application/json;q=0.9, application/token-introspection+jwt", Form::SignedAnswer),
            ("application/jwt;q=0", Form::Json),
            ("application/jwt;q=2", Form::Json),
            ("*/*, application/jwt;q=0.001", Form::AccessToken),
        ] {
            assert_eq!(Form::of_accept(std::iter::once(accept)), form, "{accept}");
        }
        assert_eq!(Form::of_accept(["text/html", "application/jwt"].into_iter()), Form::AccessToken);
    }
}
