//! The protocol, as far as the store speaks it.

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Ok,
    Text(&'static str),
    Int(i64),
    Bytes(Vec<u8>),
    Nil,
    List(Vec<Reply>),
    Error(&'static str),
}

impl Reply {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ok => out.extend(b"+OK\r\n"),
            Self::Text(text) => out.extend(format!("+{text}\r\n").bytes()),
            Self::Int(number) => out.extend(format!(":{number}\r\n").bytes()),
            Self::Bytes(bytes) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Self::Nil => out.extend(b"$-1\r\n"),
            Self::List(parts) => {
                out.extend(format!("*{}\r\n", parts.len()).bytes());
                parts.iter().for_each(|part| part.write(out));
            }
            Self::Error(text) => out.extend(format!("-{text}\r\n").bytes()),
        }
    }
}

/// Takes one whole request off the front of `bytes`, if there is one: an array of strings.
pub(crate) fn take_request(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut at = 0;
    let count = header(bytes, &mut at, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = header(bytes, &mut at, b'$')?;
        words.push(bytes.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    if at > bytes.len() {
        return None;
    }
    bytes.drain(..at);
    Some(words)
}

fn header(bytes: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], mark, "a client sends arrays of strings only");
    let number = std::str::from_utf8(&rest[1..end]).ok()?.parse().ok()?;
    *at += end + 2;
    Some(number)
}
