//! Use cases without HTTP types.

pub mod access_token;
mod client_assertion;
pub mod client_auth;
pub mod clients;
pub mod id_token;
pub mod refresh_token;
