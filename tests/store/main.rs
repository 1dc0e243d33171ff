//! The stores, through their public faces.

mod embedded;
mod redis;
