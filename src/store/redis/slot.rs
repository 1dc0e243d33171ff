//! Hash slots of Redis Cluster, and the hash tags that lead to them.

use std::ops::Range;
use std::sync::LazyLock;

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, where it has one, else of the whole key.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    crc16(hashed(key)) % SLOTS
}

/// The smallest decimal number that, as a hash tag, leads to one of `slots`.
///
/// Every slot has one: there are fewer slots than numbers to try.
pub(super) fn tag_in(slots: Range<u16>) -> u32 {
    slots.filter_map(|slot| TAGS.get(usize::from(slot))).copied().min().unwrap_or_default()
}

/// The smallest number for each slot.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags = vec![None; usize::from(SLOTS)];
    let mut missing = tags.len();
    for number in 0_u32.. {
        if missing == 0 {
            break;
        }
        let mut text = [0; 10];
        let tag = &mut tags[usize::from(crc16(decimal(number, &mut text)) % SLOTS)];
        if tag.is_none() {
            *tag = Some(number);
            missing -= 1;
        }
    }
    tags.into_iter().map(Option::unwrap_or_default).collect()
});

/// `number` in decimal digits.
fn decimal(mut number: u32, text: &mut [u8; 10]) -> &[u8] {
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            return &text[at..];
        }
    }
}

/// What of a key counts: what stands between its first `{` and the next `}`, unless that is nothing.
fn hashed(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ CRC[usize::from((crc >> 8) ^ u16::from(byte))])
}

const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the specification, and answers of `CLUSTER KEYSLOT`.
    #[test]
    fn slots_are_those_of_the_server() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("foo", 12_182), ("bar", 5061), ("{foo}bar", 12_182), ("x{foo}{bar}", 12_182), ("", 0), ("0", 13_907)] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_tag_counts_and_an_empty_one_is_none() {
        for (key, counts) in [("{a}{b}", "a"), ("a{}{b}", "a{}{b}"), ("a{b", "a{b"), ("a}b{c}", "c"), ("{{a}}", "{a"), ("a", "a")] {
            assert_eq!(hashed(key.as_bytes()), counts.as_bytes(), "{key}");
        }
    }

    #[test]
    fn every_slot_has_a_tag_that_leads_there() {
        for slot in 0..SLOTS {
            assert_eq!(slot_of(format!("kb:mark:{{{}}}", tag_in(slot..slot + 1)).as_bytes()), slot);
        }
        for first in (0..SLOTS).step_by(64) {
            assert!((first..first + 64).contains(&slot_of(tag_in(first..first + 64).to_string().as_bytes())));
        }
    }
}
