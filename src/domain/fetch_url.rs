//! URLs of documents that others publish.

use std::fmt;
use std::net::IpAddr;

use url::Url;

/// An `https` URL, or an `http` one on this machine, in normal form: what it says here is what every other reader makes of it.
///
/// No user name, no fragment, no dot segments, no spelling of a host that means another one. The name is not looked up here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FetchUrl(Url);

impl FetchUrl {
    /// The longest URL, in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// From its text.
    ///
    /// # Errors
    /// [`MalformedFetchUrl`], one variant for each rule.
    pub fn parse(text: &str) -> Result<Self, MalformedFetchUrl> {
        if text.len() > Self::MAX_BYTES {
            return Err(MalformedFetchUrl::TooLong);
        }
        let url = Url::parse(text).map_err(|_| MalformedFetchUrl::NotAbsolute)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(MalformedFetchUrl::Scheme);
        }
        let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if authority.contains('@') {
            return Err(MalformedFetchUrl::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(MalformedFetchUrl::Fragment);
        }
        // A host alone is written without the slash that it is read with.
        if url.as_str() != text && url.as_str().strip_suffix('/') != Some(text) {
            return Err(MalformedFetchUrl::NotNormal);
        }
        let url = Self(url);
        if url.0.scheme() == "http" && !url.is_loopback() { Err(MalformedFetchUrl::Scheme) } else { Ok(url) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The path: at least a slash.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Whether it has a query.
    pub fn has_query(&self) -> bool {
        self.0.query().is_some()
    }

    /// Whether the host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        self.0.host_str() == Some("localhost") || self.address().is_some_and(|address| address.is_loopback())
    }

    /// As the URL library has it.
    pub(crate) const fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host, where it is an address and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok())
    }
}

impl fmt::Debug for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchUrl({})", self.0)
    }
}

/// Why a text is not the URL of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedFetchUrl {
    /// Longer than 2048 bytes.
    #[error("it is longer than 2048 bytes")]
    TooLong,
    /// Not an absolute URL.
    #[error("it is not an absolute URL")]
    NotAbsolute,
    /// Neither `https`, nor `http` on this machine.
    #[error("it must begin with https:// (or http:// on a loopback host)")]
    Scheme,
    /// A user name or a password.
    #[error("it must have no user name")]
    UserInfo,
    /// A fragment.
    #[error("it must have no fragment")]
    Fragment,
    /// Not written in normal form.
    #[error("it is not written in normal form: lower-case host, no default port, no dot segments, no characters that need escaping")]
    NotNormal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_and_written_in_normal_form() {
        for good in [
            "https://client.example/metadata.json",
            "https://client.example",
            "https://client.example:8443/a/b?x=1",
            "https://client.example/@me",
            "https://client.example/x?me=@",
            "http://localhost:3000/jwks",
            "http://127.0.0.1:3000/jwks",
            "http://[::1]:3000/jwks",
            "https://10.0.0.1/jwks",
        ] {
            assert!(FetchUrl::parse(good).is_ok(), "{good}: {:?}", FetchUrl::parse(good));
        }
        for (bad, why) in [
            ("client.example/x", MalformedFetchUrl::NotAbsolute),
            ("http://client.example/x", MalformedFetchUrl::Scheme),
            ("http://10.0.0.1/x", MalformedFetchUrl::Scheme),
            ("http://localhost.client.example/x", MalformedFetchUrl::Scheme),
            ("ftp://client.example/x", MalformedFetchUrl::Scheme),
            ("file:///etc/passwd", MalformedFetchUrl::Scheme),
            ("https://user@client.example/x", MalformedFetchUrl::UserInfo),
            ("https://@client.example/x", MalformedFetchUrl::UserInfo),
            ("https://client.example/x#y", MalformedFetchUrl::Fragment),
            ("https://client.example/x#", MalformedFetchUrl::Fragment),
            ("https://CLIENT.example/x", MalformedFetchUrl::NotNormal),
            ("HTTPS://client.example/x", MalformedFetchUrl::NotNormal),
            ("https://client.example:443/x", MalformedFetchUrl::NotNormal),
            ("https://client.example/a/../x", MalformedFetchUrl::NotNormal),
            ("https://client.example/./x", MalformedFetchUrl::NotNormal),
            ("https://client.example/%2e%2e/x", MalformedFetchUrl::NotNormal),
            ("https://client.example\\x", MalformedFetchUrl::NotNormal),
            ("https://client.example/x y", MalformedFetchUrl::NotNormal),
            (" https://client.example/x", MalformedFetchUrl::NotNormal),
            ("https://client.exa\tmple/x", MalformedFetchUrl::NotNormal),
            ("https://0x7f.1/x", MalformedFetchUrl::NotNormal),
            ("https://2130706433/x", MalformedFetchUrl::NotNormal),
            ("https://[::ffff:127.0.0.1]/x", MalformedFetchUrl::NotNormal),
        ] {
            assert_eq!(FetchUrl::parse(bad), Err(why), "{bad}");
        }
        let sized = |bytes: usize| format!("https://client.example/{}", "x".repeat(bytes - 23));
        assert!(FetchUrl::parse(&sized(2048)).is_ok());
        assert_eq!(FetchUrl::parse(&sized(2049)), Err(MalformedFetchUrl::TooLong));
    }

    #[test]
    fn a_query_and_the_text_of_a_url_are_told() {
        let url = |text: &str| FetchUrl::parse(text).unwrap();
        assert!(url("https://client.example/x?y=1").has_query() && !url("https://client.example/x").has_query());
        assert_eq!(format!("{:?}", url("https://client.example")), "FetchUrl(https://client.example/)");
    }
}
