//! Check DPoP-bound access tokens inside a resource server.
