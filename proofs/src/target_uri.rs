//! Comparing `htu` with the URI of a request (RFC 9449 section 4.3, RFC 3986 section 6.2).

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;

/// The absolute `http` or `https` URI a request is sent to, without query and fragment, in normal form: two spellings that RFC 3986
/// sections 6.2.2 and 6.2.3 call equivalent are equal, and nothing else is.
///
/// Scheme and host are lower-cased, the default port and an empty port are dropped, an empty path is `/`, percent-encoded
/// unreserved characters are decoded, the other encodings are upper-cased, and dot segments are removed. `%2F` is not `/`, a trailing
/// or a doubled slash counts, and the path keeps its case.
///
/// This is not the URL standard that browsers follow: backslashes, tabs, raw non-ASCII characters, user information and numbers in
/// place of addresses are refused or kept, never repaired.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUri(String);

impl TargetUri {
    /// Normalises a URI. A query and a fragment are dropped.
    ///
    /// # Errors
    /// [`MalformedUri`] for anything but an absolute `http` or `https` URI of RFC 3986 without user information.
    pub fn parse(uri: &str) -> Result<Self, MalformedUri> {
        // Everything below may slice by bytes.
        if !uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return Err(MalformedUri);
        }
        let (scheme, rest) = uri.split_once("://").ok_or(MalformedUri)?;
        let default_port = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => 443,
            _ if scheme.eq_ignore_ascii_case("http") => 80,
            _ => return Err(MalformedUri),
        };
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;

        let mut normal = String::with_capacity(uri.len());
        normal.push_str(if default_port == 443 { "https://" } else { "http://" });
        push_host(&mut normal, host)?;
        if let Some(port) = port.filter(|port| *port != default_port) {
            write!(normal, ":{port}").map_err(|_| MalformedUri)?;
        }
        push_path(&mut normal, path)?;
        Ok(Self(normal))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `htu` names this URI, in whatever equivalent spelling.
    ///
    /// # Errors
    /// [`MalformedUri`] where `htu` is not such a URI at all.
    pub(crate) fn is_any_of(targets: &[Self], htu: &str) -> Result<bool, MalformedUri> {
        // Nearly every client sends the normal form, and a normal form is its own.
        if targets.iter().any(|target| target.0 == htu) {
            return Ok(true);
        }
        let htu = Self::parse(htu)?;
        Ok(targets.contains(&htu))
    }
}

impl fmt::Display for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUri({})", self.0)
    }
}

/// The text is not an absolute `http` or `https` URI of RFC 3986 without user information.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an absolute http or https URI of RFC 3986 without user information")]
pub struct MalformedUri;

fn split_port(authority: &str) -> Result<(&str, Option<u16>), MalformedUri> {
    // The colons of an address in brackets are not in front of a port.
    let after_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[after_address..].find(':') else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(after_address + colon);
    match &port[1..] {
        "" => Ok((host, None)),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map(|port| (host, Some(port))).map_err(|_| MalformedUri)
        }
        _ => Err(MalformedUri),
    }
}

fn push_host(normal: &mut String, host: &str) -> Result<(), MalformedUri> {
    let start = normal.len();
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').ok_or(MalformedUri)?;
        address.parse::<Ipv6Addr>().map_err(|_| MalformedUri)?;
        normal.push_str(host);
    } else {
        // This leaves out `@`, and so user information.
        push_encoded(normal, host, |byte| is_unreserved(byte) || is_sub_delim(byte))?;
    }
    if normal.len() == start {
        return Err(MalformedUri);
    }
    normal[start..].make_ascii_lowercase();
    // Lower-casing has reached the digits of encodings that stay.
    upper_case_encodings(normal, start)
}

fn upper_case_encodings(normal: &mut String, start: usize) -> Result<(), MalformedUri> {
    if !normal[start..].contains('%') {
        return Ok(());
    }
    let host = normal.split_off(start);
    push_encoded(normal, &host, |byte| byte.is_ascii_graphic())
}

fn push_path(normal: &mut String, path: &str) -> Result<(), MalformedUri> {
    let start = normal.len();
    if path.is_empty() {
        normal.push('/');
        return Ok(());
    }
    push_encoded(normal, path, |byte| is_unreserved(byte) || is_sub_delim(byte) || matches!(byte, b':' | b'@' | b'/'))?;
    if normal[start..].contains("/.") {
        let path = normal.split_off(start);
        push_without_dots(normal, &path);
    }
    Ok(())
}

/// Removes dot segments (RFC 3986 section 5.2.4) from a path that begins with a slash.
fn push_without_dots(normal: &mut String, path: &str) {
    let root = normal.len();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    let parent = normal[root..].rfind('/').map_or(root, |slash| root + slash);
                    normal.truncate(parent);
                }
                if segments.peek().is_none() {
                    normal.push('/');
                }
            }
            _ => {
                normal.push('/');
                normal.push_str(segment);
            }
        }
    }
}

/// Copies `part`, which may hold the characters of `allowed` and percent-encodings: decodes those of unreserved characters,
/// upper-cases the others.
fn push_encoded(normal: &mut String, part: &str, allowed: impl Fn(u8) -> bool) -> Result<(), MalformedUri> {
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(MalformedUri);
            let value = digit(bytes.next())? << 4 | digit(bytes.next())?;
            match u8::try_from(value) {
                Ok(byte) if is_unreserved(byte) => normal.push(char::from(byte)),
                _ => write!(normal, "%{value:02X}").map_err(|_| MalformedUri)?,
            }
        } else if allowed(byte) {
            normal.push(char::from(byte));
        } else {
            return Err(MalformedUri);
        }
    }
    Ok(())
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 2.2.
fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
