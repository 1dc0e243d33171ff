//! The `WWW-Authenticate` challenge of the DPoP scheme (RFC 9449 section 7.1).

use std::fmt;

use crate::AlgSet;

/// A challenge: the scheme name and its parameters, every value quoted, each parameter once.
///
/// Without [`error`](Self::error) it is the answer to a request that presented no credentials (RFC 6750 section 3.1).
///
/// ```
/// use keybound_proofs::{Alg, AlgSet, Challenge};
///
/// let challenge = Challenge::new(AlgSet::from_iter([Alg::Es256])).error("invalid_token").description("the token has expired");
/// assert_eq!(challenge.to_string(), r#"DPoP error="invalid_token", error_description="the token has expired", algs="ES256""#);
/// ```
#[derive(Clone, Debug)]
pub struct Challenge {
    realm: Option<String>,
    error: Option<String>,
    description: Option<String>,
    scope: Option<String>,
    resource_metadata: Option<String>,
    algs: AlgSet,
}

impl Challenge {
    /// A challenge that names the acceptable algorithms and nothing else.
    pub const fn new(algs: AlgSet) -> Self {
        Self { realm: None, error: None, description: None, scope: None, resource_metadata: None, algs }
    }

    /// The protection space (RFC 9110 section 11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// The error code: `invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce`, `insufficient_scope`, ...
    #[must_use]
    pub fn error(mut self, code: impl Into<String>) -> Self {
        self.error = Some(code.into());
        self
    }

    /// A sentence for the developer of the client.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The scope that would have been needed (RFC 6750 section 3).
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The URL of the protected resource's metadata (RFC 9728 section 5.1).
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource_metadata = Some(url.into());
        self
    }
}

/// One line that is a valid field value whatever the parameters hold: characters that RFC 6750 section 3 allows in no value (quotes,
/// backslashes, controls and everything beyond ASCII) become `?`.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algs = self.algs.to_string();
        let parameters = [
            ("realm", self.realm.as_deref()),
            ("error", self.error.as_deref()),
            ("error_description", self.description.as_deref()),
            ("scope", self.scope.as_deref()),
            ("resource_metadata", self.resource_metadata.as_deref()),
            ("algs", Some(algs.as_str())),
        ];
        f.write_str("DPoP")?;
        let mut separator = " ";
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            write!(f, "{separator}{name}=\"")?;
            for character in value.chars() {
                let legal = matches!(character, '\u{20}' | '\u{21}' | '\u{23}'..='\u{5b}' | '\u{5d}'..='\u{7e}');
                fmt::Write::write_char(f, if legal { character } else { '?' })?;
            }
            f.write_str("\"")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alg;

    /// RS-06
    #[test]
    fn without_an_error_only_the_algorithms_are_named() {
        assert_eq!(Challenge::new(AlgSet::all()).to_string(), r#"DPoP algs="ES256 ES384 PS256 EdDSA Ed25519""#);
    }

    /// RS-05, RS-08, RS-13
    #[test]
    fn every_parameter_is_quoted_and_stands_once() {
        let challenge = Challenge::new(AlgSet::from_iter([Alg::Ps256, Alg::Es256]))
            .error("invalid_token")
            .error("insufficient_scope")
            .scope("accounts openid")
            .realm("example")
            .resource_metadata("https://api.example.com/.well-known/oauth-protected-resource")
            .description("more is needed");
        assert_eq!(
            challenge.to_string(),
            "DPoP realm=\"example\", error=\"insufficient_scope\", error_description=\"more is needed\", scope=\"accounts openid\", \
             resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource\", algs=\"ES256 PS256\""
        );
    }

    /// TEP-12
    #[test]
    fn no_value_breaks_out_of_its_quotes() {
        let challenge = Challenge::new(AlgSet::empty()).description("a\"b\\c\r\nd\té");
        assert_eq!(challenge.to_string(), r#"DPoP error_description="a?b?c??d??", algs="""#);
    }
}
