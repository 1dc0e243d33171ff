//! Pure state: no I/O, no clock, no HTTP.

pub mod authorization;
pub mod authorization_details;
pub mod client;
pub mod client_id;
pub mod details_types;
pub mod family;
mod fetch_url;
pub mod grant;
pub mod guarded;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod strict_json;

pub use authorization_details::AuthorizationDetails;
pub use client::{AuthMethod, Client, ClientMetadata, GrantType};
pub use client_id::ClientId;
pub use details_types::DetailsTypes;
pub use family::{Advance, Advanced, Binding, Family, FamilyId, FamilyState, Generation, Refusal, RevokeReason};
pub use fetch_url::{FetchUrl, MalformedFetchUrl};
pub use grant::Grant;
pub use guarded::UpstreamAuthorization;
pub use scope::Scope;
