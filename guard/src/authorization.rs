//! Reading the credentials of a request.

/// What the `Authorization` lines of a request present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Credentials<'a> {
    /// Nothing that is known here.
    None,
    /// A token under the DPoP scheme (RFC 9449 section 7.1).
    Dpop(&'a str),
    /// A token under the Bearer scheme, which is taken from nobody here.
    Bearer,
}

/// More than one token, or something else than one token behind the scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl<'a> Credentials<'a> {
    /// Reads all values of all `Authorization` lines.
    ///
    /// The scheme has no case, one or more spaces follow it, and then comes one token68 (RFC 9110 section 11.2, RS-01).
    pub(crate) fn read(lines: &[&'a [u8]]) -> Result<Self, Malformed> {
        let line = match lines {
            [] => return Ok(Self::None),
            [line] => *line,
            _ => return Err(Malformed),
        };
        let end = line.iter().position(|byte| !is_token_character(*byte)).unwrap_or(line.len());
        let (scheme, rest) = line.split_at(end);
        let bearer = scheme.eq_ignore_ascii_case(b"Bearer");
        if !bearer && !scheme.eq_ignore_ascii_case(b"DPoP") {
            return Ok(Self::None);
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let token = &rest[spaces..];
        if spaces == 0 || !is_token68(token) {
            return Err(Malformed);
        }
        if bearer { Ok(Self::Bearer) } else { str::from_utf8(token).map(Self::Dpop).map_err(|_| Malformed) }
    }
}

/// Whether the query names an access token, in whatever spelling: it leaks there, and no proof could go with it (RFC 9700 section 4.3.2).
pub(crate) fn query_holds_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        decode(name.as_bytes()).eq(b"access_token".iter().copied())
    })
}

fn decode(name: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if first == b'%'
            && let (Some(high), Some(low)) = (digit(0), digit(1))
        {
            rest = &tail[2..];
            return u8::try_from(high << 4 | low).ok();
        }
        rest = tail;
        Some(first)
    })
}

/// RFC 9110 section 5.6.2.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 11.2.
fn is_token68(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    !body.is_empty() && body.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RS-01
    #[test]
    fn the_scheme_has_no_case_and_spaces_follow_it() {
        for line in ["DPoP a.b-c_d~e+f/g==", "dpop a.b-c_d~e+f/g==", "DPOP   a.b-c_d~e+f/g=="] {
            assert_eq!(Credentials::read(&[line.as_bytes()]), Ok(Credentials::Dpop("a.b-c_d~e+f/g==")), "{line}");
        }
        assert_eq!(Credentials::read(&[b"bearer abc"]), Ok(Credentials::Bearer));
        for line in
            ["DPoP", "DPoP ", "DPoP\tabc", "DPoP \tabc", "DPoP a b", "DPoP a,b", "DPoP =", "DPoP a=b", "DPoP \"a\"", "DPoP,a", "Bearer"]
        {
            assert_eq!(Credentials::read(&[line.as_bytes()]), Err(Malformed), "{line}");
        }
    }

    /// RS-06, RS-10
    #[test]
    fn another_scheme_presents_nothing() {
        for line in ["", "Basic YTpi", "DPoPx abc", "Negotiate"] {
            assert_eq!(Credentials::read(&[line.as_bytes()]), Ok(Credentials::None), "{line}");
        }
        assert_eq!(Credentials::read(&[]), Ok(Credentials::None));
    }

    /// RS-09
    #[test]
    fn two_lines_are_never_read_as_one() {
        assert_eq!(Credentials::read(&[b"DPoP a", b"DPoP a"]), Err(Malformed));
        assert_eq!(Credentials::read(&[b"DPoP a", b"Basic YTpi"]), Err(Malformed));
    }

    /// RS-09
    #[test]
    fn a_token_in_the_query_is_found_in_every_spelling() {
        for query in ["access_token=x", "a=b&access_token", "access%5Ftoken=x", "a;%61ccess_token=", "%61%63cess_token=x"] {
            assert!(query_holds_token(query), "{query}");
        }
        for query in ["", "access_tokens=x", "xaccess_token=x", "token=access_token", "access%5", "%"] {
            assert!(!query_holds_token(query), "{query}");
        }
    }
}
