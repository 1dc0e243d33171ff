//! The stores.

mod redis;
