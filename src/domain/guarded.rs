//! Which registered resource a request that a gateway asks about is for.

use keybound_proofs::{MalformedUri, ProofPolicy, TargetUri};
use percent_encoding::percent_decode;
use serde::Deserialize;

use crate::domain::resource::Resource;

/// A resource as a gateway guards it.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// The resource.
    pub resource: Resource,
    /// Other base URLs that lead to it.
    pub aliases: Vec<String>,
    /// What proofs for it must satisfy.
    pub proof_policy: ProofPolicy,
    /// Whether every proof for it needs a nonce, not only after an epoch change.
    pub nonce_required: bool,
    /// What goes on in `Authorization`.
    pub upstream_authorization: UpstreamAuthorization,
}

/// What the gateway sends on in `Authorization`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamAuthorization {
    /// What the client sent.
    #[default]
    Keep,
    /// The access token as a bearer token.
    Bearer,
    /// A JWT of this service's own, for the resource alone.
    Jwt,
}

/// Every guarded resource, found by the URL of a request.
#[derive(Clone, Debug, Default)]
pub struct GuardedResources {
    resources: Vec<Guarded>,
    /// The longest first.
    bases: Vec<Base>,
}

/// A base URL in normal form, without a slash at its end, and whose it is.
#[derive(Clone, Debug)]
struct Base {
    url: String,
    secure: bool,
    owner: usize,
}

impl GuardedResources {
    /// The registry.
    ///
    /// # Errors
    /// [`MalformedUri`] where a base URL is none.
    pub fn new(resources: Vec<Guarded>) -> Result<Self, MalformedUri> {
        let mut bases = Vec::new();
        for (owner, one) in resources.iter().enumerate() {
            for url in std::iter::once(&one.resource.url).chain(&one.aliases) {
                let normal = TargetUri::parse(url)?;
                let url = normal.as_str().trim_end_matches('/').to_owned();
                bases.push(Base { secure: url.starts_with("https:"), url, owner });
            }
        }
        bases.sort_by_key(|base| std::cmp::Reverse(base.url.len()));
        Ok(Self { resources, bases })
    }

    /// The resource that `url` lies in, and what a proof for it must name.
    ///
    /// Host, port and path decide; the longest path wins, and it ends at a segment. The scheme is that of the registered base URL,
    /// because the one that a gateway reports is the client's to choose (HTU-08). Normal forms are compared: dot segments are gone, and
    /// `%2F` is no slash.
    pub fn find(&self, url: &RequestUrl<'_>) -> Option<(&Guarded, TargetUri)> {
        let insecure = if self.bases.iter().all(|base| base.secure) { None } else { url.under("http").ok() };
        self.bases.iter().find_map(|base| {
            let target = if base.secure { &url.secure } else { insecure.as_ref()? };
            let below = target.as_str().strip_prefix(&base.url)?;
            // A normal form has a path: behind a bare authority stands a slash at least.
            (below.is_empty() || below.starts_with('/')).then(|| (&self.resources[base.owner], target.clone()))
        })
    }
}

/// Where a request went, as a gateway reports it: authority and path, the path raw. Of the query it matters only whether it holds an access token.
#[derive(Clone, Debug)]
pub struct RequestUrl<'a> {
    authority: &'a str,
    path: &'a str,
    secure: TargetUri,
    holds_token: bool,
}

impl<'a> RequestUrl<'a> {
    /// From an absolute `http` or `https` URL.
    ///
    /// # Errors
    /// [`MalformedUri`] for anything else, user information included.
    pub fn parse(url: &'a [u8]) -> Result<Self, MalformedUri> {
        let (url, query) = split_query(url)?;
        let (scheme, rest) = url.split_once("://").ok_or(MalformedUri)?;
        if !["https", "http"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(MalformedUri);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Self::of(authority, path, query)
    }

    /// From the `Host` and the request target: a path and perhaps a query.
    ///
    /// # Errors
    /// [`MalformedUri`] where either is something else.
    pub fn at_host(host: &'a [u8], target: &'a [u8]) -> Result<Self, MalformedUri> {
        let host = str::from_utf8(host).map_err(|_| MalformedUri)?;
        let (path, query) = split_query(target)?;
        // What belongs to the path must not be smuggled in by the host, nor the other way round. A comma joins two hosts.
        if !path.starts_with('/') || host.contains(['/', '?', '#', ',']) {
            return Err(MalformedUri);
        }
        Self::of(host, path, query)
    }

    /// Whether the query names an access token, in whatever spelling: it leaks there, and a request has one token in one place (RFC 6750
    /// section 2, RS-09).
    pub const fn holds_token(&self) -> bool {
        self.holds_token
    }

    fn of(authority: &'a str, path: &'a str, query: &[u8]) -> Result<Self, MalformedUri> {
        let secure = TargetUri::parse(&format!("https://{authority}{path}"))?;
        Ok(Self { authority, path, secure, holds_token: names_token(query) })
    }

    fn under(&self, scheme: &str) -> Result<TargetUri, MalformedUri> {
        TargetUri::parse(&format!("{scheme}://{}{}", self.authority, self.path))
    }
}

/// What stands before the query, and the query. A query may hold what no URI may; browsers send that.
fn split_query(target: &[u8]) -> Result<(&str, &[u8]), MalformedUri> {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let (before, query) = target.split_at(end);
    Ok((str::from_utf8(before).map_err(|_| MalformedUri)?, query.get(1..).unwrap_or_default()))
}

fn names_token(query: &[u8]) -> bool {
    let names = query.split(|byte| matches!(byte, b'&' | b';')).filter_map(|pair| pair.split(|byte| *byte == b'=').next());
    names.into_iter().any(|name| percent_decode(name).eq(b"access_token".iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    fn registry(urls: &[(&str, &[&str])]) -> GuardedResources {
        let guarded = urls.iter().map(|(url, aliases)| Guarded {
            resource: Resource { id: (*url).into(), url: (*url).into(), audience: "urn:api".into(), scopes: Scope::default() },
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            proof_policy: ProofPolicy::default(),
            nonce_required: false,
            upstream_authorization: UpstreamAuthorization::Keep,
        });
        GuardedResources::new(guarded.collect()).expect("base URLs")
    }

    fn found(registry: &GuardedResources, url: &str) -> Option<(String, String)> {
        let url = RequestUrl::parse(url.as_bytes()).expect("a URL");
        registry.find(&url).map(|(guarded, target)| (guarded.resource.id.clone(), target.as_str().to_owned()))
    }

    /// HTU-06, HTU-11
    #[test]
    fn the_longest_prefix_that_ends_at_a_segment_wins() {
        let registry = registry(&[
            ("https://h.example/api", &[]),
            ("https://h.example/api/v1", &[]),
            ("https://h.example", &[]),
            ("https://other.example", &[]),
        ]);
        for (url, owner) in [
            ("https://h.example/api", "https://h.example/api"),
            ("https://h.example/api/", "https://h.example/api"),
            ("https://h.example/api/v1x", "https://h.example/api"),
            ("https://h.example/api/v1", "https://h.example/api/v1"),
            ("https://h.example/api/v1/a?b=/x", "https://h.example/api/v1"),
            ("https://h.example/api/x/../v1/a", "https://h.example/api/v1"),
            ("https://h.example/%61pi/%761/a", "https://h.example/api/v1"),
            ("https://h.example/api/v1/..", "https://h.example/api"),
            ("https://h.example/api/v1/%2e%2e/..", "https://h.example"),
            ("https://h.example/apix", "https://h.example"),
            ("https://h.example/api%2Fv1", "https://h.example"),
            ("https://h.example/API/v1", "https://h.example"),
            ("https://h.example//api/v1", "https://h.example"),
            ("https://h.example", "https://h.example"),
            ("https://H.Example:443?", "https://h.example"),
            ("https://other.example/api", "https://other.example"),
        ] {
            assert_eq!(found(&registry, url).map(|(owner, _)| owner).as_deref(), Some(owner), "{url}");
        }
        for url in ["https://h.example.evil.example/api", "https://h.example:8443/api", "https://xh.example/api", "https://h.example./api"]
        {
            assert_eq!(found(&registry, url), None, "{url}");
        }
    }

    /// HTU-08, HTU-09
    #[test]
    fn the_registered_url_decides_the_scheme_and_an_alias_is_its_own_target() {
        let registry = registry(&[("https://h.example/api", &["https://alias.example"]), ("http://127.0.0.1:3000/dev", &[])]);
        for (url, target) in [
            ("http://h.example/api/a", "https://h.example/api/a"),
            ("HTTP://h.example/api/a?q#f", "https://h.example/api/a"),
            ("https://alias.example/a", "https://alias.example/a"),
            ("https://127.0.0.1:3000/dev/a", "http://127.0.0.1:3000/dev/a"),
        ] {
            assert_eq!(found(&registry, url).map(|(_, target)| target).as_deref(), Some(target), "{url}");
        }
        assert_eq!(found(&registry, "http://h.example:80/api/a"), None, "a port that belongs to another scheme");
        assert_eq!(found(&registry, "https://alias.example:80/a"), None);
    }

    /// HTU-07
    #[test]
    fn what_is_no_absolute_url_is_refused() {
        let good: &[&[u8]] = &[b"https://h.example", b"http://h.example/a?b\\c|\xff", b"https://h.example?x", b"https://h.example/#\""];
        for url in good {
            assert!(RequestUrl::parse(url).is_ok(), "{url:?}");
        }
        let bad: &[&[u8]] = &[
            b"",
            b"/a",
            b"//h.example/a",
            b"h.example/a",
            b"ftp://h.example/a",
            b"https:///a",
            b"https://user@h.example/a",
            b"https://user:pass@h.example/a",
            b"https://h.example\\a",
            b"https://h.example/\xc3\xa9",
            b"https://h.example/%zz",
            b"https://h.example/a b",
        ];
        for url in bad {
            assert!(RequestUrl::parse(url).is_err(), "{url:?}");
        }
    }

    /// HTU-07, HTU-08
    #[test]
    fn host_and_path_do_not_mix() {
        assert!(RequestUrl::at_host(b"h.example:8443", b"/a/../b?c").is_ok());
        let bad: &[(&[u8], &[u8])] = &[
            (b"", b"/a"),
            (b"h.example/api", b"/a"),
            (b"h.example?", b"/a"),
            (b"h.example#", b"/a"),
            (b"h.example,other.example", b"/a"),
            (b"user@h.example", b"/a"),
            (b"h.example", b""),
            (b"h.example", b"*"),
            (b"h.example", b"a"),
            (b"h.example", b"?a"),
            (b"h.example", b"https://other.example/a"),
            (b"h.example", b"@other.example/a"),
            (b"h\xff.example", b"/a"),
        ];
        for (host, path) in bad {
            assert!(RequestUrl::at_host(host, path).is_err(), "{host:?} {path:?}");
        }
    }

    /// RS-09
    #[test]
    fn an_access_token_in_the_query_is_found_in_every_spelling() {
        let holds = |target: &str| RequestUrl::at_host(b"h.example", target.as_bytes()).expect("a URL").holds_token();
        for target in ["/?access_token=x", "/a?b=c&access_token", "/?%61ccess_token=x", "/?a;access%5ftoken=", "/#access_token=x"] {
            assert!(holds(target), "{target}");
        }
        for target in ["/", "/access_token", "/?access_tokens=x", "/?a=access_token", "/?access%5", "/?%"] {
            assert!(!holds(target), "{target}");
        }
    }
}
