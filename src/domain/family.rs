//! Refresh token families: the state machine behind rotation.
//!
//! A family is all refresh tokens of one grant. Only its generation moves; the tokens themselves are computed from it.
//! [`Family::decide`] is the one definition of what a presented token does. Every store runs it, or a script that the
//! conformance suite holds to it, in one atomic step.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::{Jkt, UnixTime};
use serde::{Deserialize, Serialize};

use crate::domain::{ClientId, Grant};

/// Names a family, and with it the grant: 16 random bytes, written as 22 characters of base64url (`grant_id`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId([u8; Self::LEN]);

impl FamilyId {
    /// Bytes in a family's name.
    pub const LEN: usize = 16;

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FamilyId({self})")
    }
}

impl FromStr for FamilyId {
    type Err = MalformedFamilyId;

    fn from_str(text: &str) -> Result<Self, MalformedFamilyId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedFamilyId)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedFamilyId)?))
    }
}

/// Not the name of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a grant_id is 22 characters of base64url")]
pub struct MalformedFamilyId;

/// How many rotations lie behind a refresh token. The first token of a family has generation 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation after this one; the last one has no successor and stays.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Who may use the family's refresh tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// A public client: whoever holds the key with this thumbprint (RFC 9449 section 5).
    Key(Jkt),
    /// A confidential client: whoever authenticates as it, with any key.
    ClientAuthentication,
}

/// Whether a family still gives out tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FamilyState {
    /// It does.
    Live,
    /// It never will again.
    Revoked(RevokeReason),
}

/// Why a family was revoked. The discriminants are stored; never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RevokeReason {
    /// The operator or the end user asked for it.
    Requested = 1,
    /// A token older than the previous one was presented with a fresh proof (RFC 9700 section 4.14.2).
    Reuse = 2,
    /// The pattern of a cloned key: see [`Family::CLONE_GENERATIONS`].
    ClonedKey = 3,
    /// The client was deleted.
    ClientDeleted = 4,
    /// The authorization code it came from was used a second time (RFC 6749 section 4.1.2).
    CodeReuse = 5,
}

impl RevokeReason {
    /// From a stored discriminant.
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Requested,
            2 => Self::Reuse,
            3 => Self::ClonedKey,
            4 => Self::ClientDeleted,
            5 => Self::CodeReuse,
            _ => return None,
        })
    }
}

/// The record of one family.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// Its name.
    pub id: FamilyId,
    /// The client it belongs to.
    pub client_id: ClientId,
    /// Who may use its tokens.
    pub binding: Binding,
    /// The generation of the newest token given out.
    pub generation: Generation,
    /// Live or revoked.
    pub state: FamilyState,
    /// When it was created.
    pub created: UnixTime,
    /// When it ends unless it is used before.
    pub idle_expiry: UnixTime,
    /// When it ends whatever happens.
    pub absolute_expiry: UnixTime,
    /// When the generation or the binding last moved; at first, when it was created.
    pub last_rotation: UnixTime,
    /// How many generations in a row, up to the one before the present one, were each presented twice in the cloned-key pattern.
    pub clone_run: u8,
    /// Whether the previous generation was presented again more than [`Family::CLONE_GAP`] after the last rotation.
    pub clone_flag: bool,
    /// What was granted.
    pub grant: Grant,
}

/// A refresh token that passed its MAC, presented together with what the request proved.
#[derive(Clone, PartialEq, Debug)]
pub struct Advance {
    /// The family named in the token.
    pub family: FamilyId,
    /// The generation named in the token.
    pub presented: Generation,
    /// The client that made the request.
    pub client_id: ClientId,
    /// The client authenticated itself: it may use a family bound to client authentication.
    pub authenticated: bool,
    /// The key of the verified proof, where there is one.
    pub jkt: Option<Jkt>,
    /// Where the request moves the grant to another key: the key of a second proof, which was verified and spent as the first was.
    /// Nothing else may be put here: a family bound to this key already is moved by it alone.
    pub rebind_to: Option<Jkt>,
    /// Whether the client's refresh tokens rotate.
    pub rotate: bool,
    /// The instant of the request.
    pub now: UnixTime,
    /// How long an unused family lives.
    pub idle: Duration,
}

/// What a presented refresh token did.
#[derive(Clone, PartialEq, Debug)]
pub enum Advanced {
    /// The newest token was used: the generation moved by one.
    Rotated(Family),
    /// The token before the newest was used again: the same successor, nothing moved.
    Repeated(Family),
    /// A token newer than the store remembers: the store lost an acknowledged write, and was rolled forward.
    RolledForward(Family),
    /// The client's tokens do not rotate: the same token stays good.
    Kept(Family),
    /// Any of these, and the family is bound to [`Advance::rebind_to`] from now on. It was not before.
    Rebound(Family),
    /// A token older than the previous one. Nothing moved; whether it ends the family is the caller's to decide.
    Reused(Family),
    /// A repetition or use that completes the pattern of a cloned key. Nothing moved; the caller revokes.
    CloneSuspected(Family),
    /// Refused, and nothing moved.
    Refused(Refusal),
}

/// Why a refresh token that passed its MAC is refused. The client is told none of this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such family.
    Unknown,
    /// The family was revoked.
    Revoked,
    /// The family lived too long, or was idle for too long.
    Expired,
    /// The token belongs to another client.
    OtherClient,
    /// The token is bound to another key, or to a key and no proof came.
    OtherKey,
    /// The token needs client authentication, and there was none.
    NotAuthenticated,
}

impl Family {
    /// A repetition later than this after the rotation is not a lost answer any more.
    pub const CLONE_GAP: Duration = Duration::from_secs(60);

    /// This many generations in a row, each presented twice more than [`Family::CLONE_GAP`] apart, are two holders of one key
    /// taking turns. At 5 % lost answers an honest client does this about six times in a million runs of four.
    pub const CLONE_GENERATIONS: u8 = 4;

    /// What the presented token does to this record: the table of the design, in one place.
    ///
    /// Returns the outcome. The record in an outcome that moved something ([`Advanced::Rotated`], [`Advanced::RolledForward`],
    /// [`Advanced::Kept`], [`Advanced::Repeated`], [`Advanced::Rebound`]) is the one to store.
    #[must_use]
    pub fn decide(self, request: &Advance) -> Advanced {
        if let Some(refusal) = self.refusal(request) {
            return Advanced::Refused(refusal);
        }
        let held = self.binding;
        match (self.present(request), request.rebind_to) {
            (
                Advanced::Rotated(family) | Advanced::Repeated(family) | Advanced::RolledForward(family) | Advanced::Kept(family),
                Some(to),
            ) if matches!(held, Binding::Key(key) if key != to) => {
                // What is known about two holders of the old key says nothing about the new one.
                Advanced::Rebound(Self { binding: Binding::Key(to), last_rotation: request.now, clone_run: 0, clone_flag: false, ..family })
            }
            (advanced, _) => advanced,
        }
    }

    fn present(mut self, request: &Advance) -> Advanced {
        let (presented, stored) = (request.presented, self.generation);
        if presented > stored {
            self.generation = if request.rotate { presented.next() } else { presented };
            self.clone_run = 0;
            self.touch(request, true);
            return Advanced::RolledForward(self);
        }
        if presented == stored {
            if !request.rotate {
                self.touch(request, false);
                return Advanced::Kept(self);
            }
            self.clone_run = if self.clone_flag { self.clone_run.saturating_add(1) } else { 0 };
            self.generation = stored.next();
            self.touch(request, true);
            return Advanced::Rotated(self);
        }
        if presented.next() == stored {
            if request.now > self.last_rotation.plus(Self::CLONE_GAP) && !self.clone_flag {
                if self.clone_run.saturating_add(1) >= Self::CLONE_GENERATIONS {
                    return Advanced::CloneSuspected(self);
                }
                self.clone_flag = true;
            }
            return Advanced::Repeated(self);
        }
        Advanced::Reused(self)
    }

    /// Whether the record is over at `now`.
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now >= self.absolute_expiry || now >= self.idle_expiry
    }

    fn refusal(&self, request: &Advance) -> Option<Refusal> {
        if self.client_id != request.client_id {
            return Some(Refusal::OtherClient);
        }
        match self.binding {
            Binding::Key(jkt) if request.jkt != Some(jkt) && request.rebind_to != Some(jkt) => return Some(Refusal::OtherKey),
            Binding::ClientAuthentication if !request.authenticated => return Some(Refusal::NotAuthenticated),
            Binding::Key(_) | Binding::ClientAuthentication => {}
        }
        if self.state != FamilyState::Live {
            return Some(Refusal::Revoked);
        }
        self.is_expired(request.now).then_some(Refusal::Expired)
    }

    fn touch(&mut self, request: &Advance, rotated: bool) {
        self.idle_expiry = request.now.plus(request.idle).min(self.absolute_expiry);
        if rotated {
            self.last_rotation = request.now;
            self.clone_flag = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::sample::{IDLE, START, advance, client_named, confidential_family, family, jkt};
    use proptest::prelude::*;

    /// What a request may do to a record, without the record.
    #[derive(Debug, PartialEq)]
    enum Did {
        Rotated(u32),
        Repeated(u32),
        RolledForward(u32),
        Kept(u32),
        Reused,
        CloneSuspected,
        Refused(Refusal),
    }

    fn did(advanced: &Advanced) -> Did {
        match advanced {
            Advanced::Rotated(family) => Did::Rotated(family.generation.0),
            Advanced::Repeated(family) => Did::Repeated(family.generation.0),
            Advanced::RolledForward(family) => Did::RolledForward(family.generation.0),
            Advanced::Kept(family) => Did::Kept(family.generation.0),
            Advanced::Reused(_) => Did::Reused,
            Advanced::CloneSuspected(_) => Did::CloneSuspected,
            Advanced::Refused(refusal) => Did::Refused(*refusal),
        }
    }

    fn record(advanced: Advanced) -> Option<Family> {
        match advanced {
            Advanced::Rotated(family)
            | Advanced::Repeated(family)
            | Advanced::RolledForward(family)
            | Advanced::Kept(family)
            | Advanced::Reused(family)
            | Advanced::CloneSuspected(family) => Some(family),
            Advanced::Refused(_) => None,
        }
    }

    fn at(generation: u32) -> Family {
        Family { generation: Generation(generation), ..family(1) }
    }

    /// BCP-02, BCP-13: around the newest generation, at -2/-1/0/+1.
    #[test]
    fn the_distance_to_the_newest_generation_decides() {
        let rotating = |presented| did(&at(5).decide(&advance(1, presented)));
        assert_eq!(rotating(3), Did::Reused);
        assert_eq!(rotating(4), Did::Repeated(5));
        assert_eq!(rotating(5), Did::Rotated(6));
        assert_eq!(rotating(6), Did::RolledForward(7));
        assert_eq!(rotating(u32::MAX), Did::RolledForward(u32::MAX));
    }

    /// FAPI-AS-09: a client that stopped rotating keeps what it has, and its older tokens stay old.
    #[test]
    fn without_rotation_the_generation_stays() {
        let keeping = |presented| did(&at(5).decide(&Advance { rotate: false, ..advance(1, presented) }));
        assert_eq!(keeping(3), Did::Reused);
        assert_eq!(keeping(4), Did::Repeated(5));
        assert_eq!(keeping(5), Did::Kept(5));
        assert_eq!(keeping(6), Did::RolledForward(6));
    }

    #[test]
    fn the_first_and_the_last_generation_are_no_traps() {
        assert_eq!(did(&at(0).decide(&advance(1, 0))), Did::Rotated(1));
        assert_eq!(did(&at(1).decide(&advance(1, 0))), Did::Repeated(1));
        assert_eq!(did(&at(u32::MAX).decide(&advance(1, u32::MAX))), Did::Rotated(u32::MAX));
        assert_eq!(did(&at(u32::MAX).decide(&advance(1, u32::MAX - 1))), Did::Repeated(u32::MAX));
        assert_eq!(did(&at(u32::MAX).decide(&advance(1, 0))), Did::Reused);
    }

    /// BCP-14, SEC-13, G5.
    #[test]
    fn whoever_lacks_the_key_or_the_authentication_is_refused_and_the_holder_is_not() {
        let public = |request: Advance| did(&family(1).decide(&request));
        assert_eq!(public(Advance { jkt: Some(jkt(2)), ..advance(1, 0) }), Did::Refused(Refusal::OtherKey));
        assert_eq!(public(Advance { jkt: None, ..advance(1, 0) }), Did::Refused(Refusal::OtherKey));
        assert_eq!(public(Advance { jkt: None, authenticated: true, ..advance(1, 0) }), Did::Refused(Refusal::OtherKey));
        assert_eq!(public(Advance { client_id: client_named("other"), ..advance(1, 0) }), Did::Refused(Refusal::OtherClient));
        assert_eq!(public(advance(1, 0)), Did::Rotated(1));

        let confidential = |request: Advance| did(&confidential_family(1).decide(&request));
        assert_eq!(confidential(advance(1, 0)), Did::Refused(Refusal::NotAuthenticated));
        assert_eq!(confidential(Advance { authenticated: true, jkt: Some(jkt(2)), ..advance(1, 0) }), Did::Rotated(1));
        assert_eq!(confidential(Advance { authenticated: true, jkt: None, ..advance(1, 0) }), Did::Rotated(1));
    }

    /// Somebody else learns nothing about the state of the family: the refusal is the same whether it lives or not.
    #[test]
    fn the_state_is_judged_after_the_key() {
        let dead =
            [Family { state: FamilyState::Revoked(RevokeReason::Reuse), ..family(1) }, Family { absolute_expiry: START, ..family(1) }];
        for family in dead {
            let other = Advance { jkt: Some(jkt(2)), ..advance(1, 0) };
            assert_eq!(did(&family.clone().decide(&other)), Did::Refused(Refusal::OtherKey));
            assert!(matches!(family.decide(&advance(1, 0)), Advanced::Refused(Refusal::Revoked | Refusal::Expired)));
        }
    }

    #[test]
    fn a_family_is_over_from_its_expiry_on() {
        let millisecond = Duration::from_millis(1);
        for (idle, absolute) in [(IDLE, IDLE * 2), (IDLE * 2, IDLE)] {
            let one = Family { idle_expiry: START.plus(idle), absolute_expiry: START.plus(absolute), ..family(1) };
            let end = START.plus(IDLE);
            let present = |now| did(&one.clone().decide(&Advance { now, ..advance(1, 0) }));
            assert_eq!(present(end.minus(millisecond)), Did::Rotated(1));
            assert_eq!(present(end), Did::Refused(Refusal::Expired));
            assert_eq!(present(end.plus(millisecond)), Did::Refused(Refusal::Expired));
        }
    }

    #[test]
    fn a_use_moves_the_idle_expiry_up_to_the_absolute_one() {
        let one = Family { absolute_expiry: START.plus(IDLE), ..family(1) };
        let used = record(one.decide(&advance(1, 0))).unwrap();
        assert_eq!(used.idle_expiry, START.plus(IDLE));
        let used = record(family(1).decide(&advance(1, 0))).unwrap();
        assert_eq!(used.idle_expiry, advance(1, 0).now.plus(IDLE));
    }

    /// An honest client whose answers are lost at once, or one time in two, never looks like a clone.
    #[test]
    fn lost_answers_are_not_a_clone() {
        for (gap, every) in [(Family::CLONE_GAP, 1), (Family::CLONE_GAP * 3, 2)] {
            let (mut family, mut now) = (family(1), START);
            family.idle_expiry = START.plus(IDLE * 1_000);
            family.absolute_expiry = family.idle_expiry;
            for generation in 0..100 {
                family = record(family.decide(&Advance { now, idle: IDLE * 1_000, ..advance(1, generation) })).unwrap();
                now = now.plus(gap);
                if generation % every == 0 {
                    let repeated = family.decide(&Advance { now, ..advance(1, generation) });
                    assert_eq!(did(&repeated), Did::Repeated(generation + 1));
                    family = record(repeated).unwrap();
                }
            }
        }
    }

    /// However often one generation is repeated, it counts once.
    #[test]
    fn many_late_repetitions_of_one_generation_are_not_a_clone() {
        let mut family = record(family(1).decide(&Advance { now: START, ..advance(1, 0) })).unwrap();
        for times in 1..10 {
            let now = START.plus(Family::CLONE_GAP * (times + 1));
            let repeated = family.decide(&Advance { now, ..advance(1, 0) });
            assert_eq!(did(&repeated), Did::Repeated(1));
            family = record(repeated).unwrap();
        }
        assert_eq!((family.clone_run, family.clone_flag), (0, true));
    }

    #[test]
    fn two_holders_taking_turns_are_suspected_in_the_fourth_generation() {
        let (mut family, mut now) = (family(1), START);
        for generation in 0..4 {
            family = record(family.decide(&Advance { now, ..advance(1, generation) })).unwrap();
            now = now.plus(Family::CLONE_GAP + Duration::from_millis(1));
            let again = family.decide(&Advance { now, ..advance(1, generation) });
            assert_eq!(did(&again), if generation < 3 { Did::Repeated(generation + 1) } else { Did::CloneSuspected });
            family = record(again).unwrap();
        }
    }

    #[test]
    fn a_revoke_reason_reads_back_from_its_number() {
        for byte in 0..=u8::MAX {
            if let Some(reason) = RevokeReason::from_u8(byte) {
                assert_eq!(reason as u8, byte);
            }
        }
        assert_eq!(RevokeReason::from_u8(0), None, "zero is a live family");
        assert_eq!((1..=u8::MAX).filter_map(RevokeReason::from_u8).count(), 5);
    }

    #[test]
    fn the_name_of_a_family_reads_back_and_other_spellings_do_not() {
        let id = crate::store::conformance::sample::id(1);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 22);
        for text in ["", "A", &format!("{id}A"), &format!("{id}=="), &format!(" {id}"), &id.to_string().replace('A', "+")] {
            assert_eq!(text.parse::<FamilyId>(), Err(MalformedFamilyId), "{text:?}");
        }
    }

    prop_compose! {
        fn records()(generation: u32, clone_run: u8, clone_flag: bool, live in 0u8..4, times in any::<[i64; 4]>(), confidential: bool) -> Family {
            let [created, idle_expiry, absolute_expiry, last_rotation] = times.map(UnixTime::from_millis);
            Family {
                generation: Generation(generation),
                state: if live > 0 { FamilyState::Live } else { FamilyState::Revoked(RevokeReason::Reuse) },
                clone_run, clone_flag, created, idle_expiry, absolute_expiry, last_rotation,
                ..if confidential { confidential_family(1) } else { family(1) }
            }
        }
    }

    prop_compose! {
        fn requests()(near in 0u8..3, presented: u32, key in 0u64..3, authenticated: bool, rotate: bool, now: i64, idle_ms: u64) -> (u8, Advance) {
            (near, Advance {
                presented: Generation(presented),
                jkt: (key > 0).then(|| jkt(key)),
                authenticated, rotate,
                now: UnixTime::from_millis(now),
                idle: Duration::from_millis(idle_ms),
                ..advance(1, 0)
            })
        }
    }

    proptest! {
        /// Nothing panics, whatever a record holds; the name, the owner and the grant never change; the generation never goes
        /// back; nobody but the holder of a live family gets anything.
        #[test]
        fn no_request_breaks_a_record(before in records(), (near, request) in requests()) {
            let presented = match near {
                0 => request.presented,
                1 => before.generation,
                _ => Generation(before.generation.0.saturating_sub(1)),
            };
            let request = Advance { presented, ..request };
            let advanced = before.clone().decide(&request);
            let entitled = match before.binding {
                Binding::Key(jkt) => request.jkt == Some(jkt),
                Binding::ClientAuthentication => request.authenticated,
            } && before.state == FamilyState::Live && !before.is_expired(request.now);
            prop_assert_eq!(matches!(advanced, Advanced::Refused(_)), !entitled);
            match &advanced {
                Advanced::Reused(after) | Advanced::CloneSuspected(after) => prop_assert_eq!(after, &before),
                Advanced::Rotated(after) | Advanced::Repeated(after) | Advanced::RolledForward(after) | Advanced::Kept(after) => {
                    prop_assert!(after.generation >= before.generation && after.generation >= request.presented);
                    prop_assert_eq!(after.state, FamilyState::Live);
                    let frozen = |family: &Family| Family {
                        generation: Generation(0), idle_expiry: START, last_rotation: START, clone_run: 0, clone_flag: false, ..family.clone()
                    };
                    prop_assert_eq!(frozen(after), frozen(&before));
                }
                Advanced::Refused(_) => {}
            }
        }

        /// G2, G4: after any rotation the same token has the same successor again, and that successor works.
        #[test]
        fn a_rotation_can_be_repeated_and_its_successor_used(generation in 0..u32::MAX - 1, delays in any::<[u16; 2]>()) {
            let before = at(generation);
            let rotated = record(before.decide(&advance(1, generation))).unwrap();
            let later = |index: usize| rotated.last_rotation.plus(Duration::from_millis(u64::from(delays[index])));
            let repeated = rotated.clone().decide(&Advance { now: later(0), ..advance(1, generation) });
            prop_assert_eq!(did(&repeated), Did::Repeated(generation + 1));
            let next = record(repeated).unwrap().decide(&Advance { now: later(1), ..advance(1, generation + 1) });
            prop_assert_eq!(did(&next), Did::Rotated(generation + 2));
        }
    }
}
