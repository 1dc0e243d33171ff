//! Which spellings of a URI are the same: RFC 3986 section 6.2 as RFC 9449 section 4.3 asks for it. HTU-01 to HTU-11.

use keybound_proofs::TargetUri;

use crate::htu_pairs::{CASES, MALFORMED};

#[test]
fn every_pair_is_the_same_or_not_as_rfc_3986_says() {
    let mut pairs = MALFORMED.len();
    for case in CASES {
        let target = TargetUri::parse(case.target).unwrap();
        assert_eq!(target.as_str(), case.normal);
        assert_eq!(TargetUri::parse(case.normal).as_ref(), Ok(&target), "a normal form is its own");
        for same in case.same {
            assert_eq!(TargetUri::parse(same).map(|uri| uri.to_string()).as_deref(), Ok(case.normal), "{same}");
        }
        for other in case.other {
            let parsed = TargetUri::parse(other).unwrap_or_else(|_| panic!("{other} is well formed"));
            assert_ne!(parsed, target, "{other} must not stand for {}", case.target);
        }
        pairs += case.same.len() + case.other.len();
    }
    for malformed in MALFORMED {
        assert!(TargetUri::parse(malformed).is_err(), "{malformed:?}");
    }
    println!("{pairs} pairs");
    assert!(pairs >= 200);
}
