//! Families and requests to test with: plain, valid, and different for different numbers.

use std::time::Duration;

use keybound_proofs::{Claim, EpochId, Jkt, ReplayKey, UnixTime};

use crate::domain::{Advance, Binding, ClientId, Family, FamilyId, FamilyState, Generation, Grant, Scope};

/// The instant at which the sample families were created: in 2096, so that a backend that gives records an absolute expiry by
/// its own clock keeps them.
pub const START: UnixTime = UnixTime::from_secs(4_000_000_000);
/// How long an unused sample family lives.
pub const IDLE: Duration = Duration::from_secs(1_000);
/// How long a sample family lives at most.
pub const ABSOLUTE: Duration = Duration::from_secs(10_000);

/// The client of the sample families.
pub fn client() -> ClientId {
    client_named("app")
}

/// A client by its name.
///
/// # Panics
/// Where `name` is not a `client_id`.
pub fn client_named(name: &str) -> ClientId {
    ClientId::new(name).expect("tests name clients in visible ASCII")
}

/// The name of the sample family `number`.
pub fn id(number: u64) -> FamilyId {
    let mut bytes = [0xa5; FamilyId::LEN];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    FamilyId::from_bytes(bytes)
}

/// The thumbprint of the key that the sample family `number` is bound to.
pub fn jkt(number: u64) -> Jkt {
    let mut bytes = [0x5a; Jkt::LEN];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Jkt::from_bytes(bytes)
}

/// A new family of a public client, bound to its own key.
///
/// # Panics
/// Never: the scope is a valid one.
pub fn family(number: u64) -> Family {
    Family {
        id: id(number),
        client_id: client(),
        binding: Binding::Key(jkt(number)),
        generation: Generation(0),
        state: FamilyState::Live,
        created: START,
        idle_expiry: START.plus(IDLE),
        absolute_expiry: START.plus(ABSOLUTE),
        last_rotation: START,
        clone_run: 0,
        clone_flag: false,
        grant: Grant {
            sub: Some("alice".to_owned()),
            scope: Scope::parse("accounts openid").expect("two tokens and one space"),
            ..Grant::default()
        },
    }
}

/// A new family of a confidential client, bound to its authentication.
pub fn confidential_family(number: u64) -> Family {
    Family { binding: Binding::ClientAuthentication, ..family(number) }
}

/// What the rightful holder of the sample family `number` asks when it presents the token of `generation`, one second after
/// the family was created.
pub fn advance(number: u64, generation: u32) -> Advance {
    Advance {
        family: id(number),
        presented: Generation(generation),
        client_id: client(),
        authenticated: false,
        jkt: Some(jkt(number)),
        rebind_to: None,
        rotate: true,
        now: START.plus(Duration::from_secs(1)),
        idle: IDLE,
    }
}

/// The claim of the sample proof `number`, judged under `epoch`.
pub fn claim(number: u64, ttl: Duration, epoch: EpochId) -> Claim {
    Claim { key: replay_key(number), ttl, epoch }
}

/// The key of the sample proof `number`; spread over all bytes, as a digest is.
pub fn replay_key(number: u64) -> ReplayKey {
    let low = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; ReplayKey::LEN];
    bytes[..8].copy_from_slice(&low.to_be_bytes());
    bytes[8..].copy_from_slice(&low.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    ReplayKey::from_bytes(bytes)
}
