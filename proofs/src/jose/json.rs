//! JSON without room for two readings.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::UnixTime;

/// One JSON value. Arrays and objects are kept as their own text, already checked all the way down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(NumericDate<'a>),
    /// A string, escapes resolved.
    Text(Cow<'a, str>),
    /// An array: its text from `[` to `]`, for [`array()`].
    Array(&'a str),
    /// An object: its text from `{` to `}`, for [`object`] and [`members`].
    Object(&'a str),
}

/// A JSON number as it was written, read as seconds since the epoch where time is meant (RFC 7519 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericDate<'a>(&'a str);

impl<'a> NumericDate<'a> {
    /// The digits as they were written.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The instant, to the nearest millisecond. Fractions and exponents are legal; what lies beyond the range of
    /// [`UnixTime`] becomes its nearest end.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, and saturating is what is wanted")]
    pub fn time(self) -> UnixTime {
        match self.0.parse::<i64>() {
            Ok(seconds) => UnixTime::from_secs(seconds),
            Err(_) => UnixTime::from_millis((self.0.parse::<f64>().unwrap_or(f64::INFINITY) * 1000.0).round() as i64),
        }
    }
}

/// Reads an object and hands each member to `take`, in order.
///
/// The text must be UTF-8 without a byte order mark, hold one object and nothing after it, and nest no deeper than 16 levels. No
/// object in it, at any depth, may name a member twice, whether or not one of the names is written with escapes. All of
/// it is checked, also the members that `take` ignores.
///
/// # Errors
/// [`JsonError`]; `take` may have seen members before the fault.
pub fn object<'a>(json: &'a [u8], take: impl FnMut(Cow<'a, str>, Json<'a>)) -> Result<(), JsonError> {
    let text = str::from_utf8(json).map_err(|_| JsonError::NotUtf8)?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        return Err(if scanner.value(0).is_ok() { JsonError::NotAnObject } else { JsonError::Syntax });
    }
    scanner.object(1, take)?;
    scanner.end()
}

/// Reads an object and returns the members of these names; the others are checked and left out.
///
/// # Errors
/// As [`object`].
pub fn members<'a, const N: usize>(json: &'a [u8], names: [&str; N]) -> Result<[Option<Json<'a>>; N], JsonError> {
    let mut found = [const { None }; N];
    object(json, |name, value| {
        if let Some(index) = names.iter().position(|wanted| *wanted == name) {
            found[index] = Some(value);
        }
    })?;
    Ok(found)
}

/// Reads an array and hands each element to `take`, in order. The rules of [`object`] hold.
///
/// # Errors
/// [`JsonError`]; `take` may have seen elements before the fault.
pub fn array<'a>(text: &'a str, take: impl FnMut(Json<'a>)) -> Result<(), JsonError> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_space();
    if scanner.peek() != Some(b'[') {
        return Err(JsonError::Syntax);
    }
    scanner.array(1, take)?;
    scanner.end()
}

/// Why a text is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JsonError {
    /// Not valid UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not JSON, or followed by something.
    #[error("not one JSON text")]
    Syntax,
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// An object, at some depth, names a member twice.
    #[error("a member name occurs twice")]
    DuplicateMember,
    /// Nested deeper than 16 levels.
    #[error("nested too deeply")]
    TooDeep,
}

/// Levels of nesting that are read. A proof needs two.
const MAX_DEPTH: usize = 16;

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// A value inside `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => {
                self.object(depth + 1, |_, _| {})?;
                Ok(Json::Object(&self.text[start..self.at]))
            }
            Some(b'[') => {
                self.array(depth + 1, |_| {})?;
                Ok(Json::Array(&self.text[start..self.at]))
            }
            Some(b'"') => self.string().map(Json::Text),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(JsonError::Syntax),
        }
    }

    fn object(&mut self, depth: usize, mut take: impl FnMut(Cow<'a, str>, Json<'a>)) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.expect(b'{')?;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(());
        }
        let mut names = BTreeSet::new();
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            if !names.insert(name.clone()) {
                return Err(JsonError::DuplicateMember);
            }
            let value = self.value(depth)?;
            take(name, value);
            self.skip_space();
            if !self.eat(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize, mut take: impl FnMut(Json<'a>)) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.expect(b'[')?;
        self.skip_space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.skip_space();
            take(self.value(depth)?);
            self.skip_space();
            if !self.eat(b',') {
                return self.expect(b']');
            }
        }
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        Ok(value)
    }

    /// RFC 8259 section 6: no leading zeros, no bare point, no plus sign in front.
    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(NumericDate(&self.text[start..self.at])))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// A string without its quotes. It borrows unless it holds an escape.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"')?;
        let mut resolved = String::new();
        let mut run = self.at;
        loop {
            // Every byte that is looked for is ASCII, so a run never ends inside a character.
            match self.peek() {
                Some(b'"') => {
                    let last = &self.text[run..self.at];
                    self.at += 1;
                    if resolved.is_empty() {
                        return Ok(Cow::Borrowed(last));
                    }
                    resolved.push_str(last);
                    return Ok(Cow::Owned(resolved));
                }
                Some(b'\\') => {
                    resolved.push_str(&self.text[run..self.at]);
                    self.at += 1;
                    resolved.push(self.escape()?);
                    run = self.at;
                }
                Some(0x20..) => self.at += 1,
                Some(_) | None => return Err(JsonError::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or(JsonError::Syntax)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                // Characters outside the basic plane come as two units; half of such a pair alone is no character.
                let code = if (0xd800..0xdc00).contains(&unit) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    let low = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(JsonError::Syntax);
                    }
                    0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    unit
                };
                char::from_u32(code).ok_or(JsonError::Syntax)?
            }
            _ => return Err(JsonError::Syntax),
        })
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16)).ok_or(JsonError::Syntax)?;
            unit = unit << 4 | digit;
            self.at += 1;
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), JsonError> {
        object(json.as_bytes(), |_, _| {})
    }

    /// JOSE-14
    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[[{"a":1,"\u0061":3}]]}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"":1,"":2}"#,
            r#"{"a\/b":1,"a/b":2}"#,
        ] {
            assert_eq!(check(json), Err(JsonError::DuplicateMember), "{json}");
        }
        for json in [r#"{"a":1,"A":1}"#, r#"{"a":{"a":{"a":1}}}"#, r#"{"x":[{"a":1},{"a":2}]}"#, r#"{"a":"a"}"#] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
    }

    /// JOSE-16
    #[test]
    fn only_one_object_and_nothing_else_is_read() {
        for json in ["{}", " {\t\r\n} ", r#"{"a":[]}"#] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
        for json in ["[]", "null", "1", "\"a\"", "true"] {
            assert_eq!(check(json), Err(JsonError::NotAnObject), "{json}");
        }
        for json in [
            "",
            " ",
            "{",
            "}",
            "{}{}",
            "{} x",
            "{},",
            "\u{feff}{}",
            "{}\0",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{a:1}"#,
            r#"{'a':1}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":/**/1}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ud800\u0041"}"#,
            r#"{"a":"\udc00"}"#,
            r#"{"a":"\u00g0"}"#,
            r#"{"a":"\u00"}"#,
            r#"{"a":"#,
            r#"{"a":"b"#,
            r#"{"a":tru}"#,
            r#"{"a":nul}"#,
            r#"{"a":True}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
        ] {
            assert_eq!(check(json), Err(JsonError::Syntax), "{json}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}", |_, _| {}), Err(JsonError::NotUtf8));
        assert_eq!(object(b"\xff\xfe{\0}\0", |_, _| {}), Err(JsonError::NotUtf8));
    }

    #[test]
    fn nesting_ends_at_sixteen_levels() {
        let nested = |levels: usize| format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{}", "}".repeat(levels - 1));
        assert_eq!(check(&nested(15)), Ok(()));
        assert_eq!(check(&nested(16)), Ok(()));
        assert_eq!(check(&nested(17)), Err(JsonError::TooDeep));
        assert_eq!(check(&format!(r#"{{"a":{}}}"#, "[".repeat(100_000))), Err(JsonError::TooDeep));
        let lists = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert_eq!(check(&lists(16)), Ok(()));
        assert_eq!(check(&lists(17)), Err(JsonError::TooDeep));
    }

    /// DPOP-4.2-06
    #[test]
    fn a_numeric_date_is_any_json_number() {
        let time = |number: &str| match members(format!(r#"{{"n":{number}}}"#).as_bytes(), ["n"]).unwrap() {
            [Some(Json::Number(date))] => date.time().as_millis(),
            other => panic!("{other:?}"),
        };
        for (number, millis) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("1", 1000),
            ("-1", -1000),
            ("1.5", 1500),
            ("1.0004", 1000),
            ("1.0006", 1001),
            ("1562262616.123", 1_562_262_616_123),
            ("1.562262616e9", 1_562_262_616_000),
            ("1562262616E+0", 1_562_262_616_000),
            ("15622626160e-1", 1_562_262_616_000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775808", i64::MAX),
            ("1e308", i64::MAX),
            ("-1e308", i64::MIN),
            ("1e999", i64::MAX),
            ("-1e999", i64::MIN),
            ("1e-999", 0),
        ] {
            assert_eq!(time(number), millis, "{number}");
        }
        for number in ["01", "+1", ".5", "1.", "1e", "1e+", "-", "--1", "0x10", "1_000", "1 2"] {
            assert_eq!(check(&format!(r#"{{"n":{number}}}"#)), Err(JsonError::Syntax), "{number}");
        }
    }

    #[test]
    fn strings_are_read_with_their_escapes_resolved() {
        let [value, other] =
            members(r#"{"k\u0065y":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é","other":"\u0000"}"#.as_bytes(), ["key", "other"]).unwrap();
        assert_eq!(value, Some(Json::Text("a\"\\/\u{8}\u{c}\n\r\té😀é".into())));
        assert_eq!(other, Some(Json::Text("\0".into())));
    }

    #[test]
    fn an_array_is_read_element_by_element() {
        let mut seen = Vec::new();
        array(r#" [ "a" , 1, null,[{}] ] "#, |element| seen.push(element)).unwrap();
        assert_eq!(seen.len(), 4);
        assert_eq!((&seen[0], &seen[3]), (&Json::Text("a".into()), &Json::Array("[{}]")));
        assert_eq!(array("{}", |_| {}), Err(JsonError::Syntax));
        assert_eq!(array("[] []", |_| {}), Err(JsonError::Syntax));
    }
}
