//! The body of a request, up to its bound.

use actix_web::http::StatusCode;
use actix_web::web;
use futures_util::StreamExt as _;

use crate::http::error::ApiError;

/// Reads a body of at most `max_bytes`.
///
/// # Errors
/// 413 as soon as it is longer; 400 where it breaks off.
pub(super) async fn read(mut body: web::Payload, max_bytes: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid_request("the body could not be read"))?;
        if bytes.len() + chunk.len() > max_bytes {
            return Err(ApiError::invalid_request_as(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
