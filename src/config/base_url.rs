//! URLs that other URLs are built from: issuers and resources.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

/// An absolute `https` URL without query, fragment and trailing slash; `http` on loopback hosts only (RFC 8414 section 2).
///
/// It is kept and compared as it was written: it must therefore be written in normal form, with scheme and host in lower case,
/// no default port, no dot segments and no empty segments. No name is looked up.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    text: String,
    loopback: bool,
}

impl BaseUrl {
    /// From its text.
    ///
    /// # Errors
    /// [`MalformedBaseUrl`], one variant for each rule.
    pub fn parse(text: &str) -> Result<Self, MalformedBaseUrl> {
        let (secure, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(MalformedBaseUrl::Scheme),
        };
        if text.contains(['?', '#']) {
            return Err(MalformedBaseUrl::QueryOrFragment);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = host_of(authority, if secure { "443" } else { "80" })?;
        if path.ends_with('/') {
            return Err(MalformedBaseUrl::TrailingSlash);
        }
        if !path.is_empty() && !path[1..].split('/').all(is_plain_segment) {
            return Err(MalformedBaseUrl::Path);
        }
        let loopback = is_loopback(host);
        if !secure && !loopback {
            return Err(MalformedBaseUrl::InsecureHost);
        }
        Ok(Self { text: text.to_owned(), loopback })
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL with `path`, which begins with a slash, behind it.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether the host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }

    pub(super) fn loopback_default() -> Self {
        Self { text: "http://127.0.0.1:8080".to_owned(), loopback: true }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.text)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Why a text is no base URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MalformedBaseUrl {
    /// It begins with neither `https://` nor `http://`.
    #[error("the URL must begin with https:// (or http:// on a loopback host), in lower case")]
    Scheme,
    /// It has a query or a fragment.
    #[error("the URL must have no query and no fragment")]
    QueryOrFragment,
    /// User name, or a host or port that is not written in normal form.
    #[error(
        "the URL's host must be a name in lower case, an IPv4 address or a bracketed IPv6 address, with a port only where it is not the default one"
    )]
    Host,
    /// It ends in a slash.
    #[error("the URL must not end in a slash")]
    TrailingSlash,
    /// Empty or dot segments, percent-encoding or characters that need it.
    #[error("the URL's path must be segments of letters, digits and -._~!$&'()*+,;=:@ without empty and dot segments")]
    Path,
    /// `http` on a host that is not this machine.
    #[error("http is allowed on loopback hosts only (127.0.0.1, localhost, [::1]); use https")]
    InsecureHost,
}

fn host_of<'a>(authority: &'a str, default_port: &str) -> Result<&'a str, MalformedBaseUrl> {
    let host_end = authority.find(']').map_or_else(|| authority.find(':').unwrap_or(authority.len()), |bracket| bracket + 1);
    let (host, port) = authority.split_at(host_end);
    let port_is_plain = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(port) => port != default_port && port.parse::<u16>().is_ok_and(|number| number != 0 && number.to_string() == port),
    };
    let host_is_plain = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == inner),
        None => !host.is_empty() && host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_')),
    };
    if port_is_plain && host_is_plain { Ok(host) } else { Err(MalformedBaseUrl::Host) }
}

fn is_plain_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_written_in_normal_form() {
        for good in [
            "https://as.example.com",
            "https://as.example.com/tenant/a",
            "https://as.example.com:8443",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://localhost:3000/x",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(BaseUrl::parse(good).map(|url| url.as_str().to_owned()), Ok(good.to_owned()), "{good}");
        }
        for (bad, why) in [
            ("as.example.com", MalformedBaseUrl::Scheme),
            ("HTTPS://as.example.com", MalformedBaseUrl::Scheme),
            ("ftp://as.example.com", MalformedBaseUrl::Scheme),
            ("https://as.example.com?x", MalformedBaseUrl::QueryOrFragment),
            ("https://as.example.com#x", MalformedBaseUrl::QueryOrFragment),
            ("https://as.example.com/?", MalformedBaseUrl::QueryOrFragment),
            ("https://", MalformedBaseUrl::Host),
            ("https:///x", MalformedBaseUrl::Host),
            ("https://AS.example.com", MalformedBaseUrl::Host),
            ("https://user@as.example.com", MalformedBaseUrl::Host),
            ("https://as.example.com:443", MalformedBaseUrl::Host),
            ("https://as.example.com:08443", MalformedBaseUrl::Host),
            ("https://as.example.com:0", MalformedBaseUrl::Host),
            ("https://as.example.com:65536", MalformedBaseUrl::Host),
            ("https://as.example.com:", MalformedBaseUrl::Host),
            ("https://[::1", MalformedBaseUrl::Host),
            ("https://[0:0::1]", MalformedBaseUrl::Host),
            ("https://]x[", MalformedBaseUrl::Host),
            ("https://as.example.com/", MalformedBaseUrl::TrailingSlash),
            ("https://as.example.com/x/", MalformedBaseUrl::TrailingSlash),
            ("https://as.example.com//x", MalformedBaseUrl::Path),
            ("https://as.example.com/./x", MalformedBaseUrl::Path),
            ("https://as.example.com/a/..", MalformedBaseUrl::Path),
            ("https://as.example.com/%41", MalformedBaseUrl::Path),
            ("https://as.example.com/ä", MalformedBaseUrl::Path),
            ("http://as.example.com", MalformedBaseUrl::InsecureHost),
            ("http://10.0.0.1", MalformedBaseUrl::InsecureHost),
            ("http://localhost.example.com", MalformedBaseUrl::InsecureHost),
        ] {
            assert_eq!(BaseUrl::parse(bad), Err(why), "{bad}");
        }
    }
}
