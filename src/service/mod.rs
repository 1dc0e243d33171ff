//! Use cases without HTTP types.

pub mod access_token;
pub mod id_token;
pub mod refresh_token;
