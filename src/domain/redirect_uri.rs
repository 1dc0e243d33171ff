//! Comparison of redirect URIs (RFC 9700 section 2.1, RFC 8252 section 7.3).

/// Whether `given` is one of the registered redirect URIs: the same string, except that the port of an `http` loopback URI is free.
pub fn is_registered<'a>(registered: impl IntoIterator<Item = &'a str>, given: &str) -> bool {
    registered.into_iter().any(|one| one == given || same_but_for_the_port(one, given))
}

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
