//! Encodings of edwards25519 points that no key and no signature may hold.

/// Whether the y coordinate of an encoded point is below the field's prime, 2^255 - 19 (RFC 8032 section 5.1.3, step 1).
///
/// Decoders that reduce it instead would give one key two encodings, and so two thumbprints.
pub(crate) fn is_canonical(point: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = point;
    *low < 0xed || high & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff)
}

/// Whether a canonically encoded point is one of the eight whose order divides the cofactor.
///
/// With such a key one signature holds for many messages (RFC 8032 section 5.1.7 leaves it open; strict verifiers refuse).
pub(crate) fn is_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    // The sign of x does not matter: a point and its negative have the same order.
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

const SMALL_ORDER_Y: [[u8; 32]; 5] = [
    // Order 4: y = 0.
    [0; 32],
    // Order 1: y = 1.
    {
        let mut y = [0; 32];
        y[0] = 1;
        y
    },
    // Order 2: y = -1.
    {
        let mut y = [0xff; 32];
        y[0] = 0xec;
        y[31] = 0x7f;
        y
    },
    // Order 8, and its negative.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
        0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
        0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// JOSE-12: the table is held against a computation of the order.
    #[test]
    fn exactly_the_points_of_small_order_are_listed() {
        for y in SMALL_ORDER_Y {
            for sign in [0, 0x80] {
                let mut point = y;
                point[31] |= sign;
                assert!(is_canonical(&point) && is_small_order(&point));
                // Where x is zero there is no second sign; a decoder may refuse it or ignore it.
                if let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&point) {
                    assert!(key.is_weak(), "{point:02x?}");
                }
            }
        }
        for seed in 0..64 {
            let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key();
            assert!(is_canonical(key.as_bytes()) && !is_small_order(key.as_bytes()) && !key.is_weak());
        }
    }

    /// JOSE-12
    #[test]
    fn a_coordinate_at_or_above_the_prime_is_not_canonical() {
        let below = |low: u8| {
            let mut point = [0xff; 32];
            point[0] = low;
            point
        };
        assert!(!is_canonical(&below(0xed)) && !is_canonical(&below(0xee)) && !is_canonical(&below(0xff)));
        let mut last = below(0xec);
        assert!(is_canonical(&last));
        last[31] = 0x7f;
        assert!(is_canonical(&last));
        last[0] = 0xed;
        assert!(!is_canonical(&last));
        last[15] = 0xfe;
        assert!(is_canonical(&last));
    }
}
