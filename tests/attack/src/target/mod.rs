//! What is attacked, and as whom: the server's endpoints, the clients the suite plays, and where it gets tokens.

mod client;
mod html;
mod metadata;
mod options;
mod sign_in;
mod source;

pub(crate) use client::{ASSERTION_TYPE, basic};
pub use client::{Client, ClientAuth};
pub(crate) use metadata::Endpoints;
pub use metadata::MetadataError;
pub use options::{Options, Restart, TokenSource};
pub(crate) use sign_in::{Authorized, Browser};
pub(crate) use source::{Session, SessionSource};
