//! What every store must do, as one suite that each backend's tests call.

pub mod ephemerals;
pub mod sample;
