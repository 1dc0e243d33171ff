//! Random sequences of calls against a model: [`Family::decide`] on a map.
//!
//! This is what holds a script in another language to the one definition.

use std::collections::HashMap;
use std::time::Duration;

use keybound_proofs::UnixTime;

use super::sample::{self, START};
use crate::domain::{Advance, Advanced, Family, FamilyId, FamilyState, Generation, Refusal, RevokeReason};
use crate::store::Families;

/// Calls in one sequence.
const LENGTH: usize = 60;

/// Plays `sequences` sequences; `seed` decides them all, and number and place of a failure name it again. Families are created
/// under names that no other part of the suite uses.
///
/// # Panics
/// Where the store and the model answer differently.
pub async fn run(families: &dyn Families, sequences: u64, seed: u64) {
    for sequence in 0..sequences {
        let mut random = Random::new(seed ^ sequence.wrapping_mul(0x9e37_79b9));
        let mut model = Model::default();
        let base = (1 << 40) + (seed << 24) + sequence * 4;
        let mut now = START;
        for number in base..base + 3 {
            let family = if random.below(3) == 0 { sample::confidential_family(number) } else { sample::family(number) };
            families.create(&family).await.expect("a new family is stored");
            model.families.insert(family.id, family);
        }
        for step in 0..LENGTH {
            let place = format!("seed {seed}, sequence {sequence}, step {step}");
            now = random.later(now);
            let number = base + random.below(4);
            if random.below(40) == 0 {
                let expected = model.revoke(sample::id(number), RevokeReason::Requested, now);
                assert_eq!(families.revoke(sample::id(number), RevokeReason::Requested, now).await, Ok(expected), "{place}: revoke");
            } else {
                let request = random.request(number, model.generation(sample::id(number)), now);
                let (expected, was_over) = model.advance(&request);
                let answered = families.advance(&request).await.expect("the store answers");
                let forgotten = was_over && answered == Advanced::Refused(Refusal::Unknown);
                assert!(forgotten || answered == expected, "{place}: {request:?}: expected {expected:?}, got {answered:?}");
            }
            let kept = families.read(sample::id(number), now).await.expect("the store can be read");
            assert_eq!(kept, model.read(sample::id(number), now), "{place}: the record afterwards");
        }
    }
}

#[derive(Default)]
struct Model {
    families: HashMap<FamilyId, Family>,
}

impl Model {
    fn generation(&self, id: FamilyId) -> u32 {
        self.families.get(&id).map_or(0, |family| family.generation.0)
    }

    fn read(&self, id: FamilyId, now: UnixTime) -> Option<Family> {
        self.families.get(&id).filter(|family| !family.is_expired(now)).cloned()
    }

    fn revoke(&mut self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> bool {
        match self.families.get_mut(&id) {
            Some(family) if family.state == FamilyState::Live && !family.is_expired(now) => {
                family.state = FamilyState::Revoked(reason);
                true
            }
            _ => false,
        }
    }

    /// The outcome, and whether the family was over: then a store may have removed it.
    fn advance(&mut self, request: &Advance) -> (Advanced, bool) {
        let Some(family) = self.families.get(&request.family) else {
            return (Advanced::Refused(Refusal::Unknown), false);
        };
        let was_over = family.is_expired(request.now);
        let advanced = family.clone().decide(request);
        if let Advanced::Rotated(family)
        | Advanced::Repeated(family)
        | Advanced::RolledForward(family)
        | Advanced::Kept(family)
        | Advanced::Rebound(family) = &advanced
        {
            self.families.insert(family.id, family.clone());
        }
        (advanced, was_over)
    }
}

/// A small generator of numbers that look random (SplitMix64): the suite brings no dependency of its own.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence that `seed` decides.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    /// Mostly a little later; now and then beyond the gap of the cloned-key detector, and rarely beyond the idle expiry.
    fn later(&mut self, now: UnixTime) -> UnixTime {
        now.plus(match self.below(100) {
            0..40 => Duration::ZERO,
            40..70 => Duration::from_millis(self.below(5_000)),
            70..98 => Family::CLONE_GAP + Duration::from_millis(self.below(3)),
            _ => sample::IDLE + Duration::from_millis(self.below(3)),
        })
    }

    /// Mostly what the holder would ask, around the `newest` generation.
    fn request(&mut self, number: u64, newest: u32, now: UnixTime) -> Advance {
        let presented = match self.below(20) {
            0..10 => newest,
            10..17 => newest.saturating_sub(1),
            17 => newest.saturating_sub(2),
            18 => newest.saturating_add(1),
            _ => u32::try_from(self.below(1 << 32)).unwrap_or(0),
        };
        let jkt = match self.below(12) {
            0 => None,
            1 => Some(sample::jkt(number + 1)),
            _ => Some(sample::jkt(number)),
        };
        let client_id = if self.below(20) == 0 { sample::client_named("other") } else { sample::client() };
        Advance {
            presented: Generation(presented),
            client_id,
            authenticated: self.below(4) != 0,
            jkt,
            // Now and then to the same other key, so that the family comes back too.
            rebind_to: match self.below(12) {
                0 => Some(sample::jkt(number + 1)),
                1 => Some(sample::jkt(number)),
                _ => None,
            },
            rotate: self.below(6) != 0,
            now,
            idle: [sample::IDLE, sample::ABSOLUTE * 2][usize::from(self.below(8) == 0)],
            ..sample::advance(number, 0)
        }
    }
}
