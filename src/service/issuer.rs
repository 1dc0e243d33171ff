//! The issuer identifier and the URLs built from it. Nothing here ever comes from a request.

use keybound_proofs::{MalformedUri, TargetUri};

/// The issuer (RFC 8414) and its endpoints.
#[derive(Clone, Debug)]
pub struct Issuer {
    text: String,
    path: String,
    refresh: [TargetUri; 1],
    token: [TargetUri; 1],
    par: [TargetUri; 1],
    userinfo: [TargetUri; 1],
}

impl Issuer {
    /// Builds every endpoint's URL from the issuer identifier, which has no query, no fragment and no slash at its end.
    ///
    /// # Errors
    /// [`MalformedUri`] where it is not an absolute http or https URI.
    pub fn new(text: &str) -> Result<Self, MalformedUri> {
        let endpoint = |path: &str| TargetUri::parse(&format!("{text}{path}")).map(|uri| [uri]);
        let after_scheme = text.find("://").map_or(text, |at| &text[at + 3..]);
        let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
        Ok(Self {
            text: text.to_owned(),
            path: path.to_owned(),
            refresh: endpoint(Self::REFRESH)?,
            token: endpoint(Self::TOKEN)?,
            par: endpoint(Self::PAR)?,
            userinfo: endpoint(Self::USERINFO)?,
        })
    }

    /// Path of the refresh endpoint below the issuer.
    pub const REFRESH: &'static str = "/oauth/refresh";
    /// Path of the token endpoint below the issuer.
    pub const TOKEN: &'static str = "/oauth/token";
    /// Path of the pushed authorization request endpoint below the issuer.
    pub const PAR: &'static str = "/oauth/par";
    /// Path of the authorization endpoint below the issuer.
    pub const AUTHORIZE: &'static str = "/oauth/authorize";
    /// Path of the built-in sign-in page below the issuer.
    pub const SIGN_IN: &'static str = "/oauth/signin";
    /// Path of the key set below the issuer.
    pub const JWKS: &'static str = "/oauth/jwks";
    /// Path of the registration endpoint below the issuer.
    pub const REGISTER: &'static str = "/oauth/register";
    /// Path of the nonce endpoint below the issuer.
    pub const NONCE: &'static str = "/oauth/nonce";

    /// Path of the introspection endpoint below the issuer.
    pub const INTROSPECT: &'static str = "/oauth/introspect";
    /// Path of the revocation endpoint below the issuer.
    pub const REVOKE: &'static str = "/oauth/revoke";
    /// Path of the userinfo endpoint below the issuer.
    pub const USERINFO: &'static str = "/oauth/userinfo";
    /// Where the metadata of a protected resource begins, between its host and its path (RFC 9728 section 3).
    pub const PROTECTED_RESOURCE: &'static str = "/.well-known/oauth-protected-resource";

    /// The identifier.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path component: empty, or beginning with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The absolute URL of a path below the issuer.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Scheme, host and port: the identifier without its path.
    pub fn origin(&self) -> &str {
        &self.text[..self.text.len() - self.path.len()]
    }

    /// Where the metadata of the resource at `path` of this origin is (RFC 9728 section 3.1).
    pub fn protected_resource_metadata(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin(), Self::PROTECTED_RESOURCE)
    }

    /// What `htu` must be at the refresh endpoint.
    pub fn refresh_targets(&self) -> &[TargetUri] {
        &self.refresh
    }

    /// What `htu` must be at the token endpoint.
    pub fn token_targets(&self) -> &[TargetUri] {
        &self.token
    }

    /// What `htu` must be at the pushed authorization request endpoint.
    pub fn par_targets(&self) -> &[TargetUri] {
        &self.par
    }

    /// What `htu` must be at the userinfo endpoint.
    pub fn userinfo_targets(&self) -> &[TargetUri] {
        &self.userinfo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PRM-01
    #[test]
    fn the_metadata_of_a_resource_stands_between_host_and_path() {
        let issuer = Issuer::new("https://as.example.com/tenant/a").expect("an issuer");
        assert_eq!(issuer.origin(), "https://as.example.com");
        let url = issuer.protected_resource_metadata("/tenant/a/oauth/userinfo");
        assert_eq!(url, "https://as.example.com/.well-known/oauth-protected-resource/tenant/a/oauth/userinfo");
        assert_eq!(Issuer::new("https://as.example.com").expect("an issuer").origin(), "https://as.example.com");
    }

    #[test]
    fn the_path_is_what_follows_the_authority() {
        for (issuer, path) in
            [("https://as.example.com", ""), ("https://as.example.com/tenant/a", "/tenant/a"), ("http://127.0.0.1:8080", "")]
        {
            assert_eq!(Issuer::new(issuer).expect("an issuer").path(), path);
        }
        assert!(Issuer::new("as.example.com").is_err());
    }
}
