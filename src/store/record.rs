//! How a family is written: one layout for every backend.
//!
//! All numbers are big-endian. What a rotation changes stands at the front at fixed offsets, so that a script can read and
//! patch it without reading the grant. The family's name is the record's key and is not repeated.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, [`VERSION`] |
//! | 1 | 1 | state: [`STATE_LIVE`], or the discriminant of the [`RevokeReason`] |
//! | 2 | 1 | binding: [`BINDING_CLIENT_AUTHENTICATION`] or [`BINDING_KEY`] |
//! | 3 | 1 | `clone_run` |
//! | 4 | 1 | `clone_flag`, 0 or 1 |
//! | 5 | 4 | generation |
//! | 9 | 8 | last rotation, ms since 1970, signed |
//! | 17 | 8 | idle expiry |
//! | 25 | 8 | absolute expiry |
//! | 33 | 8 | created |
//! | 41 | 32 | thumbprint of the key, zero where there is none |
//! | 73 | 2 | length of the `client_id` |
//! | 75 | n | `client_id` |
//! | 75 + n | to the end | the grant as JSON |

use keybound_proofs::{Jkt, UnixTime};

use crate::domain::{Binding, ClientId, Family, FamilyId, FamilyState, Generation, Grant, RevokeReason};
use crate::store::StoreError;

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// The state byte of a live family. Any other state is the discriminant of a [`RevokeReason`], which is never zero.
pub const STATE_LIVE: u8 = 0;
/// The binding byte of a family that is bound to client authentication.
pub const BINDING_CLIENT_AUTHENTICATION: u8 = 0;
/// The binding byte of a family that is bound to a key.
pub const BINDING_KEY: u8 = 1;

/// Offset of the version.
pub const AT_VERSION: usize = 0;
/// Offset of the state.
pub const AT_STATE: usize = 1;
/// Offset of the binding kind.
pub const AT_BINDING: usize = 2;
/// Offset of `clone_run`.
pub const AT_CLONE_RUN: usize = 3;
/// Offset of `clone_flag`.
pub const AT_CLONE_FLAG: usize = 4;
/// Offset of the generation, 4 bytes.
pub const AT_GENERATION: usize = 5;
/// Offset of the last rotation, 8 bytes.
pub const AT_LAST_ROTATION: usize = 9;
/// Offset of the idle expiry, 8 bytes.
pub const AT_IDLE_EXPIRY: usize = 17;
/// Offset of the absolute expiry, 8 bytes.
pub const AT_ABSOLUTE_EXPIRY: usize = 25;
/// Offset of the time of creation, 8 bytes.
pub const AT_CREATED: usize = 33;
/// Offset of the thumbprint, 32 bytes.
pub const AT_JKT: usize = 41;
/// Offset of the length of the `client_id`, 2 bytes; the `client_id` follows it.
pub const AT_CLIENT_ID_LEN: usize = 73;
/// Bytes before the `client_id`: no record is shorter.
pub const FIXED_LEN: usize = 75;

/// The record of `family`.
pub fn encode(family: &Family) -> Vec<u8> {
    let client_id = family.client_id.as_str().as_bytes();
    let mut record = vec![0; FIXED_LEN];
    record[AT_VERSION] = VERSION;
    patch(&mut record, family);
    put(&mut record, AT_ABSOLUTE_EXPIRY, &family.absolute_expiry.as_millis().to_be_bytes());
    put(&mut record, AT_CREATED, &family.created.as_millis().to_be_bytes());
    let length = u16::try_from(client_id.len()).expect("a client_id has 256 bytes at most");
    put(&mut record, AT_CLIENT_ID_LEN, &length.to_be_bytes());
    record.extend_from_slice(client_id);
    serde_json::to_writer(&mut record, &family.grant).expect("a grant holds string keys only, and a vector takes every write");
    record
}

/// Writes what a rotation, a change of keys or a revocation changes into the record of the same family.
///
/// A `record` that is too short to hold the fixed part is left alone; [`decode`] refuses it.
pub fn patch(record: &mut [u8], family: &Family) {
    if record.len() < FIXED_LEN {
        return;
    }
    record[AT_STATE] = match family.state {
        FamilyState::Live => STATE_LIVE,
        FamilyState::Revoked(reason) => reason as u8,
    };
    record[AT_CLONE_RUN] = family.clone_run;
    record[AT_CLONE_FLAG] = u8::from(family.clone_flag);
    put(record, AT_GENERATION, &family.generation.0.to_be_bytes());
    put(record, AT_LAST_ROTATION, &family.last_rotation.as_millis().to_be_bytes());
    put(record, AT_IDLE_EXPIRY, &family.idle_expiry.as_millis().to_be_bytes());
    let (kind, jkt) = match family.binding {
        Binding::ClientAuthentication => (BINDING_CLIENT_AUTHENTICATION, [0; Jkt::LEN]),
        Binding::Key(jkt) => (BINDING_KEY, *jkt.as_bytes()),
    };
    record[AT_BINDING] = kind;
    put(record, AT_JKT, &jkt);
}

/// The family named `id`, from its record.
///
/// # Errors
/// [`StoreError::Unreadable`] for anything that [`encode`] does not write.
pub fn decode(id: FamilyId, record: &[u8]) -> Result<Family, StoreError> {
    let head = Head::of(record)?;
    let client_id_len = usize::from(u16::from_be_bytes(take(record, AT_CLIENT_ID_LEN)?));
    let rest = &record[FIXED_LEN..];
    let (client_id, grant) = rest.split_at_checked(client_id_len).ok_or_else(|| unreadable("the client_id is cut off"))?;
    let client_id = std::str::from_utf8(client_id).map_err(|_| unreadable("the client_id is not text"))?;
    let jkt: [u8; Jkt::LEN] = take(record, AT_JKT)?;
    let binding = match record[AT_BINDING] {
        BINDING_CLIENT_AUTHENTICATION if jkt == [0; Jkt::LEN] => Binding::ClientAuthentication,
        BINDING_KEY => Binding::Key(Jkt::from_bytes(jkt)),
        _ => return Err(unreadable("the binding is unknown")),
    };
    Ok(Family {
        id,
        client_id: ClientId::new(client_id).map_err(|_| unreadable("the client_id is malformed"))?,
        binding,
        generation: Generation(u32::from_be_bytes(take(record, AT_GENERATION)?)),
        state: head.state,
        created: instant(record, AT_CREATED)?,
        idle_expiry: head.idle_expiry,
        absolute_expiry: head.absolute_expiry,
        last_rotation: instant(record, AT_LAST_ROTATION)?,
        clone_run: record[AT_CLONE_RUN],
        clone_flag: match record[AT_CLONE_FLAG] {
            0 => false,
            1 => true,
            _ => return Err(unreadable("the clone flag is neither 0 nor 1")),
        },
        grant: grant_of(grant)?,
    })
}

/// What tells whether a family is over, read without its grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Live or revoked.
    pub state: FamilyState,
    /// When it ends unless it is used before.
    pub idle_expiry: UnixTime,
    /// When it ends whatever happens.
    pub absolute_expiry: UnixTime,
}

impl Head {
    /// From a record.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] for another version, an unknown state or a record shorter than its fixed part.
    pub fn of(record: &[u8]) -> Result<Self, StoreError> {
        if record.len() < FIXED_LEN {
            return Err(unreadable("the record is cut off"));
        }
        if record[AT_VERSION] != VERSION {
            return Err(unreadable("the record has another version"));
        }
        let state = match record[AT_STATE] {
            STATE_LIVE => FamilyState::Live,
            byte => FamilyState::Revoked(RevokeReason::from_u8(byte).ok_or_else(|| unreadable("the state is unknown"))?),
        };
        let (idle_expiry, absolute_expiry) = (instant(record, AT_IDLE_EXPIRY)?, instant(record, AT_ABSOLUTE_EXPIRY)?);
        Ok(Self { state, idle_expiry, absolute_expiry })
    }

    /// Whether the record is over at `now`: [`Family::is_expired`].
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now >= self.absolute_expiry || now >= self.idle_expiry
    }
}

/// JSON as a grant writes it. Only the position of a fault is reported: the text around it is about an end user.
fn grant_of(json: &[u8]) -> Result<Grant, StoreError> {
    serde_json::from_slice(json).map_err(|error| unreadable(&format!("the grant is malformed at column {}", error.column())))
}

fn instant(record: &[u8], at: usize) -> Result<UnixTime, StoreError> {
    Ok(UnixTime::from_millis(i64::from_be_bytes(take(record, at)?)))
}

fn take<const N: usize>(record: &[u8], at: usize) -> Result<[u8; N], StoreError> {
    record.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| unreadable("the record is cut off"))
}

fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    record[at..at + bytes.len()].copy_from_slice(bytes);
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Unreadable(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn families() -> impl Strategy<Value = Family> {
        let binding =
            prop_oneof![any::<[u8; 32]>().prop_map(|bytes| Binding::Key(Jkt::from_bytes(bytes))), Just(Binding::ClientAuthentication)];
        let state =
            prop_oneof![Just(FamilyState::Live), (1u8..=5).prop_map(|byte| FamilyState::Revoked(RevokeReason::from_u8(byte).unwrap()))];
        let grant = (proptest::option::of(".{0,20}"), "[a-z]{0,5}", any::<i64>()).prop_map(|(sub, scope, number)| Grant {
            sub,
            scope: Scope::parse(&scope).unwrap(),
            authorization_details: vec![Map::from_iter([("type".to_owned(), json!("account")), ("n".to_owned(), json!(number))])],
            claims: Map::from_iter([("name".to_owned(), Value::String(scope))]),
            auth_time: Some(number),
            ..Grant::default()
        });
        let times = any::<[i64; 4]>().prop_map(|times| times.map(UnixTime::from_millis));
        (any::<[u8; 16]>(), "[ -~]{1,256}", binding, any::<u32>(), state, times, any::<u8>(), any::<bool>(), grant).prop_map(
            |(
                id,
                client_id,
                binding,
                generation,
                state,
                [created, idle_expiry, absolute_expiry, last_rotation],
                clone_run,
                clone_flag,
                grant,
            )| {
                Family {
                    id: FamilyId::from_bytes(id),
                    client_id: ClientId::new(client_id).unwrap(),
                    binding,
                    generation: Generation(generation),
                    state,
                    created,
                    idle_expiry,
                    absolute_expiry,
                    last_rotation,
                    clone_run,
                    clone_flag,
                    grant,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_the_family_that_was_written(family in families()) {
            prop_assert_eq!(decode(family.id, &encode(&family)).unwrap(), family);
        }

        #[test]
        fn patching_a_record_equals_writing_the_moved_family_anew(before in families(), after in families()) {
            let moved = Family {
                generation: after.generation,
                state: after.state,
                idle_expiry: after.idle_expiry,
                last_rotation: after.last_rotation,
                clone_run: after.clone_run,
                clone_flag: after.clone_flag,
                binding: after.binding,
                ..before.clone()
            };
            let mut record = encode(&before);
            patch(&mut record, &moved);
            prop_assert_eq!(record, encode(&moved));
        }

        #[test]
        fn the_head_agrees_with_the_family(family in families(), now in any::<i64>()) {
            let (head, now) = (Head::of(&encode(&family)).unwrap(), UnixTime::from_millis(now));
            prop_assert_eq!((head.state, head.is_expired(now)), (family.state, family.is_expired(now)));
        }

        #[test]
        fn garbage_is_refused_or_read_and_never_panics(bytes in vec(any::<u8>(), 0..200)) {
            let _ = decode(FamilyId::from_bytes([0; 16]), &bytes);
        }

        #[test]
        fn a_flipped_byte_never_panics_and_never_reads_back_as_the_same_family(
            family in families(), at in any::<prop::sample::Index>(), flip in 1u8..
        ) {
            let mut record = encode(&family);
            let at = at.index(FIXED_LEN);
            record[at] ^= flip;
            if let Ok(read) = decode(family.id, &record) {
                prop_assert_ne!(read, family);
            }
        }

        #[test]
        fn a_record_cut_anywhere_is_refused(family in families(), at in any::<prop::sample::Index>()) {
            let record = encode(&family);
            prop_assert!(decode(family.id, &record[..at.index(record.len())]).is_err());
        }
    }

    #[test]
    fn another_version_is_refused_and_this_one_is_read() {
        let family = crate::store::conformance::sample::family(1);
        let mut record = encode(&family);
        assert_eq!(decode(family.id, &record), Ok(family.clone()));
        record[AT_VERSION] = VERSION + 1;
        assert!(matches!(decode(family.id, &record), Err(StoreError::Unreadable(_))));
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let family = crate::store::conformance::sample::family(7);
        let record = encode(&family);
        assert_eq!(record[..5], [1, 0, 1, 0, 0]);
        assert_eq!(record[AT_GENERATION..AT_LAST_ROTATION], 0u32.to_be_bytes());
        assert_eq!(record[AT_CREATED..AT_JKT], family.created.as_millis().to_be_bytes());
        assert_eq!(&record[FIXED_LEN..FIXED_LEN + 3], b"app");
        assert_eq!(record[FIXED_LEN + 3], b'{');
    }

    /// DESIGN section 10: at most 250 bytes per family on disk. The rest is the database's own.
    #[test]
    fn a_usual_record_is_small() {
        assert!(encode(&crate::store::conformance::sample::family(1)).len() <= 160);
    }
}
