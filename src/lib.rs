//! Keybound: a DPoP-first (RFC 9449) sender-constrained token service.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod fetch;
pub mod http;
pub mod keys;
pub mod secret;
pub mod service;
pub mod store;
pub mod telemetry;
