//! Redirect URIs: their comparison (RFC 9700 section 2.1, RFC 8252 section 7.3), and the answers that go to them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Whether `given` is one of the registered redirect URIs: the same string, except that the port of an `http` loopback URI is free.
pub fn is_registered<'a>(registered: impl IntoIterator<Item = &'a str>, given: &str) -> bool {
    registered.into_iter().any(|one| one == given || same_but_for_the_port(one, given))
}

/// `uri` with these parameters behind what it has already (RFC 6749 section 4.1.2).
pub fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = uri.to_owned();
    let mut separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    for (name, value) in parameters {
        text.extend([separator, *name, "="]);
        text.extend(utf8_percent_encode(value, ESCAPED));
        separator = "&";
    }
    text
}

/// What a person can recognise in a redirect URI: scheme, host and port; of a private-use scheme, the scheme.
pub fn origin(uri: &str) -> &str {
    match uri.find("://") {
        Some(at) => &uri[..uri[at + 3..].find(['/', '?', '#']).map_or(uri.len(), |end| at + 3 + end)],
        None => &uri[..uri.find(':').map_or(uri.len(), |end| end + 1)],
    }
}

/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn same_but_for_the_port(registered: &str, given: &str) -> bool {
    match (loopback_parts(registered), loopback_parts(given)) {
        (Some(one), Some(other)) => one == other,
        (Some(_), None) | (None, _) => false,
    }
}

/// Host and what follows the port of an `http` URI on loopback; `None` for every other URI.
fn loopback_parts(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| authority.starts_with(host))?;
    let port = &authority[host.len()..];
    let good = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    good.then_some((host, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_what_the_uri_has_already() {
        for (uri, answer) in [
            ("https://app.example/cb", "https://app.example/cb?code=a%20%26b&state=%C3%A9"),
            ("https://app.example/cb?", "https://app.example/cb?code=a%20%26b&state=%C3%A9"),
            ("https://app.example/cb?x=1", "https://app.example/cb?x=1&code=a%20%26b&state=%C3%A9"),
            ("com.example.app:/cb", "com.example.app:/cb?code=a%20%26b&state=%C3%A9"),
        ] {
            assert_eq!(with_parameters(uri, &[("code", "a &b"), ("state", "é")]), answer);
        }
    }

    #[test]
    fn the_origin_ends_where_the_path_begins() {
        for (uri, shown) in [
            ("https://app.example/cb?x=1", "https://app.example"),
            ("https://app.example?x=1", "https://app.example"),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1:8080"),
            ("com.example.app:/cb", "com.example.app:"),
            ("com.example.app://cb/x", "com.example.app://cb"),
        ] {
            assert_eq!(origin(uri), shown);
        }
    }

    /// BCP-06
    #[test]
    fn only_the_port_of_a_loopback_uri_is_free() {
        for (registered, given, same) in [
            ("https://app.example/cb", "https://app.example/cb", true),
            ("https://app.example/cb", "https://app.example/cb/", false),
            ("https://app.example/cb", "https://app.example:8443/cb", false),
            ("https://app.example/cb", "https://APP.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1/cb", true),
            ("http://[::1]/cb", "http://[::1]:49152/cb", true),
            ("http://localhost/cb", "http://localhost:3000/cb", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/other", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:x/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1@evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false),
            ("http://127.0.0.1/cb", "http://localhost/cb", false),
            ("com.example.app:/cb", "com.example.app:/cb", true),
        ] {
            assert_eq!(is_registered([registered], given), same, "{registered} {given}");
        }
    }
}
