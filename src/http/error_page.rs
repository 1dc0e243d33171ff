//! `GET /errors/{code}`: the page that `error_uri` points at.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::http::error::ErrorCode;

/// A short page for a person: what the code means and what to do. 404 for a code that this server never sends.
pub async fn error_page(code: web::Path<String>) -> HttpResponse {
    let Some(code) = ErrorCode::ALL.iter().copied().find(|known| known.as_str() == code.as_str()) else {
        return page(&mut HttpResponse::NotFound(), "Unknown error code", "This server sends no error with this code.", "");
    };
    let (meaning, remedy) = explanation(code);
    page(&mut HttpResponse::Ok(), code.as_str(), meaning, remedy)
}

fn page(answer: &mut actix_web::HttpResponseBuilder, title: &str, meaning: &str, remedy: &str) -> HttpResponse {
    answer
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>body{{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>\n\
             <main>\n<h1>{title}</h1>\n<p>{meaning}</p>\n<p>{remedy}</p>\n</main>\n</html>\n"
        ))
}

const fn explanation(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::InvalidRequest => (
            "The request is malformed: a parameter is missing, repeated, too long or of the wrong type, or the body is not what this endpoint takes.",
            "Read error_description, correct the request, and send it again. Nothing was used up.",
        ),
        ErrorCode::InvalidClient => (
            "The client could not be authenticated.",
            "Check client_id and the way it is registered to authenticate. A client assertion needs the issuer as its only audience, and works once.",
        ),
        ErrorCode::InvalidGrant => (
            "The refresh token or code gives nothing to this client with this key: it is unknown, expired, revoked, superseded or used, or belongs to another client or key.",
            "Use the newest refresh token, with a proof by the key it was issued to. A code works once, within a minute, with the redirect_uri, code_verifier and key of its request. Otherwise the user has to sign in again.",
        ),
        ErrorCode::UnauthorizedClient => {
            ("The client is not registered for this grant type or flow.", "Change the registration of the client.")
        }
        ErrorCode::UnsupportedGrantType => {
            ("This server does not know the grant type.", "See grant_types_supported in the metadata document.")
        }
        ErrorCode::InvalidScope => (
            "The scope is malformed, or wider than what was granted.",
            "Ask for the same scope or for less. Leaving it out asks for all that was granted.",
        ),
        ErrorCode::InvalidDpopProof => (
            "The DPoP header is missing, repeated or malformed, or the proof in it does not fit this request, or it was used before.",
            "Sign a new proof for every request, for exactly this method and URL, with a fresh jti and the present time.",
        ),
        ErrorCode::UseDpopNonce => (
            "The proof needs a nonce of this server. This is not a failure: nothing was used up.",
            "Take the value of the DPoP-Nonce header, put it into the nonce claim of a new proof, and send the same request again.",
        ),
        ErrorCode::InvalidToken => (
            "The access token is malformed, expired, revoked or not of this issuer, or it was not used as the key it is bound to demands.",
            "Refresh the access token. One that is bound to a key needs the DPoP scheme and a proof by that key.",
        ),
        ErrorCode::InsufficientScope => (
            "The access token is good, but its scope does not reach this far.",
            "Ask for an access token with the scope that the WWW-Authenticate header names.",
        ),
        ErrorCode::InvalidTarget => {
            ("The resource is not registered here, or the grant does not cover it.", "See protected_resources in the metadata document.")
        }
        ErrorCode::InvalidAuthorizationDetails => (
            "The authorization details are malformed, or not covered by what was granted.",
            "Ask for the same details or for less. Leaving them out asks for all that was granted.",
        ),
        ErrorCode::UnsupportedResponseType => ("This server answers with a code and nothing else.", "Use response_type=code."),
        ErrorCode::InvalidRequestUri => (
            "The pushed request is unknown, expired, used up or another client's.",
            "Push the request again and use the new request_uri at once.",
        ),
        ErrorCode::InvalidRequestObject => (
            "The request object is malformed, not signed by a registered key of the client, for another server, or out of its time.",
            "Read error_description. The object needs iss, client_id, aud, nbf and exp, and all other parameters inside.",
        ),
        ErrorCode::LoginRequired => {
            ("Nobody is signed in, and the request said that nothing may be shown.", "Send the request again without prompt=none.")
        }
        ErrorCode::AccessDenied => ("The user did not allow the request.", "Ask again when the user wants to."),
        ErrorCode::InvalidRedirectUri => (
            "A redirect URI of the registration is missing, malformed or not allowed.",
            "Register absolute URIs without a fragment: https, http on a loopback host, or a private-use scheme with a dot in it.",
        ),
        ErrorCode::InvalidClientMetadata => (
            "A member of the client's registration has a value that is not accepted.",
            "Read error_description, which names the member, and the metadata document, which lists what is offered.",
        ),
        ErrorCode::TemporarilyUnavailable => (
            "The server can not decide right now, because its store can not be reached or is full. Your session is not lost.",
            "Wait as long as Retry-After says, then send the request again with a new proof.",
        ),
        ErrorCode::ServerError => ("The server failed.", "Send the request again with a new proof; tell the operator if it stays."),
    }
}
