//! The URIs of a registration.

/// Whether authorization responses may go to `uri`: absolute, RFC 3986 characters, no fragment, no user name, and
/// `https`, `http` on loopback, or a private-use scheme with a dot in it (RFC 8252 sections 7.1 and 7.3).
pub(super) fn is_redirect_uri(uri: &str) -> bool {
    if !has_uri_characters(uri) {
        return false;
    }
    match uri.split_once(':') {
        Some(("https", rest)) => host(rest).is_some(),
        Some(("http", rest)) => host(rest).is_some_and(is_loopback),
        Some((scheme, rest)) => scheme.contains('.') && is_scheme(scheme) && !rest.is_empty(),
        None => false,
    }
}

/// Whether `uri` is a page on the web: `https`, or `http` on loopback.
pub(crate) fn is_web_uri(uri: &str) -> bool {
    let web = uri.starts_with("https:") || uri.starts_with("http:");
    web && is_redirect_uri(uri)
}

/// Whether `text` is a web origin as browsers write it in `Origin` (RFC 6454 section 6.2): scheme, host in lower case, and the port where
/// it is not the scheme's own; `http` on loopback only.
pub(super) fn is_origin(text: &str) -> bool {
    let own_port = if text.starts_with("https://") { ":443" } else { ":80" };
    let Some((_, authority)) = text.split_once("://") else { return false };
    let canonical = !authority.ends_with(own_port) && !authority.ends_with(':') && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    canonical && !authority.contains(['/', '?', '*']) && is_web_uri(text)
}

/// The host of what follows the scheme, without its port; `None` where there is none, or a user name.
fn host(after_scheme: &str) -> Option<&str> {
    let authority = after_scheme.strip_prefix("//")?.split(['/', '?']).next()?;
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { authority.find(':').unwrap_or(authority.len()) };
    let (host, port) = authority.split_at(end);
    let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    (!host.is_empty() && !authority.contains('@') && port_is_good).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let v4 = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    v4 || host == "[::1]" || host.eq_ignore_ascii_case("localhost")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// No fragment either: `#` is not among them.
fn has_uri_characters(text: &str) -> bool {
    (1..=2048).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_legal_on_loopback_only() {
        for good in
            ["https://app.example/cb?x=1", "http://127.0.0.1/cb", "http://[::1]:8080/cb", "http://localhost:1/", "com.example.app:/cb"]
        {
            assert!(is_redirect_uri(good), "{good}");
        }
        for bad in [
            "http://app.example/cb",
            "http://127.0.0.1.example/cb",
            "http://localhost@app.example/",
            "https://app.example/cb#x",
            "https://app.example/a b",
            "https:///cb",
            "https://app.example:99999/",
            "javascript:alert(1)",
            "/cb",
            "",
        ] {
            assert!(!is_redirect_uri(bad), "{bad}");
        }
        for good in ["https://app.example", "https://app.example:8443", "http://localhost:3000", "http://127.0.0.1", "http://[::1]:1"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "https://app.example/",
            "https://app.example:443",
            "http://localhost:80",
            "https://App.example",
            "http://app.example",
            "https://app.example?x",
            "https://user@app.example",
            "app.example",
            "null",
            "*",
            "https://*.example",
            "",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
        assert!(is_web_uri("https://app.example"));
        assert!(!is_web_uri("com.example.app:/x"));
    }
}
