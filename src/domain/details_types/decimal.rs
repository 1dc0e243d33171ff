//! Amounts: unsigned decimal numbers, compared as they are written.

/// Whether both are plain decimal numbers and `part` is no larger than `whole`.
///
/// A number is digits, then perhaps a point and digits. No sign, no exponent, no separator: what could be read in two ways is not
/// compared at all.
pub(super) fn at_most(part: &str, whole: &str) -> bool {
    match (Decimal::read(part), Decimal::read(whole)) {
        (Some(part), Some(whole)) => part <= whole,
        _ => false,
    }
}

/// Ordered by the length of the integer, then its digits, then those of the fraction: what the derived order does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Decimal<'a> {
    integer_len: usize,
    integer: &'a str,
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (integer, fraction) = text.split_once('.').map_or((text, None), |(integer, fraction)| (integer, Some(fraction)));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(integer) || fraction.is_some_and(|fraction| !digits(fraction)) {
            return None;
        }
        let integer = integer.trim_start_matches('0');
        Some(Self { integer_len: integer.len(), integer, fraction: fraction.unwrap_or_default().trim_end_matches('0') })
    }
}

#[cfg(test)]
mod tests {
    use super::at_most;

    #[test]
    fn amounts_are_compared_digit_by_digit() {
        for (part, whole) in [
            ("0", "0"),
            ("0.00", "0"),
            ("123.50", "123.5"),
            ("123.49", "123.50"),
            ("99.99", "100"),
            ("9", "10"),
            ("007", "7.0"),
            ("0.1", "0.10000000000000000000000000000001"),
            ("99999999999999999999999999999998", "99999999999999999999999999999999"),
        ] {
            assert!(at_most(part, whole), "{part} {whole}");
        }
        for (part, whole) in [
            ("0.01", "0"),
            ("123.51", "123.50"),
            ("124", "123.99"),
            ("10", "9"),
            ("0.10000000000000000000000000000002", "0.10000000000000000000000000000001"),
        ] {
            assert!(!at_most(part, whole), "{part} {whole}");
        }
    }

    #[test]
    fn what_is_not_a_plain_number_is_not_compared() {
        for odd in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1 000", "0x1", "1.2.3", "\u{0661}", "NaN"] {
            assert!(!at_most(odd, "1000") && !at_most("0", odd), "{odd}");
        }
    }
}
