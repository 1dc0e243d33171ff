//! Nonces that no server has to remember (RFC 9449 sections 8, 9 and 11.1).

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::jose;
use crate::{Epoch, EpochId, UnixTime};

/// Makes and checks nonces: a time step and a MAC over role, step, epoch, issuer and region.
///
/// A nonce is 27 characters of base64url: 4 bytes step, 16 bytes of HMAC-SHA-256. The current step and the one before are valid, so
/// a nonce lives one to two steps. Nodes that share the key, the issuer, the region and the epoch agree without talking. The same nonce
/// may be used any number of times while it lives; single use is the ledger's matter.
pub struct Nonces {
    key: Zeroizing<[u8; 32]>,
    retired: Option<Zeroizing<[u8; 32]>>,
    issuer: String,
    region: Option<String>,
    step: Duration,
}

impl Nonces {
    /// Nonces under `key` for one issuer. A `step` below one second counts as one second.
    pub fn new(key: [u8; 32], issuer: &str, step: Duration) -> Self {
        Self { key: Zeroizing::new(key), retired: None, issuer: issuer.to_owned(), region: None, step: step.max(Duration::from_secs(1)) }
    }

    /// Goes on to accept what was minted under an earlier key. Nothing new is minted under it.
    #[must_use]
    pub fn with_retired_key(mut self, key: [u8; 32]) -> Self {
        self.retired = Some(Zeroizing::new(key));
        self
    }

    /// Binds nonces to one of several regions that share the key. Each region has a ledger of its own and demands nonces always: a proof
    /// that one of them accepted carries its nonce, and no other takes that.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    /// The length of a time step.
    pub const fn step(&self) -> Duration {
        self.step
    }

    /// The nonce of this moment. All calls within one step give the same.
    pub fn mint(&self, role: NonceRole, epoch: &EpochId, now: UnixTime) -> String {
        jose::encode_base64url(&self.nonce(&self.key, role, self.step_at(now), epoch))
    }

    /// Checks a nonce that a proof presents, in constant time.
    ///
    /// # Errors
    /// [`StaleNonce`] for anything that was not minted for this role, issuer, region and epoch in this step or the one before: what is too
    /// old, from the future, made up or malformed can't be told apart.
    pub fn check(&self, role: NonceRole, epoch: &EpochId, presented: &str, now: UnixTime) -> Result<NonceLife, StaleNonce> {
        let presented: [u8; 20] = jose::decode_base64url_exact(presented).map_err(|_| StaleNonce)?;
        let [a, b, c, d, ..] = presented;
        let step = u32::from_be_bytes([a, b, c, d]);
        let current = self.step_at(now);
        if step != current && step.checked_add(1) != Some(current) {
            return Err(StaleNonce);
        }
        let genuine = |key| bool::from(self.nonce(key, role, step, epoch).ct_eq(&presented));
        if !genuine(&self.key) && !self.retired.as_ref().is_some_and(genuine) {
            return Err(StaleNonce);
        }
        Ok(NonceLife { ends: self.start_of(step).plus(self.step.saturating_mul(2)), current: step == current && genuine(&self.key) })
    }

    fn nonce(&self, key: &Zeroizing<[u8; 32]>, role: NonceRole, step: u32, epoch: &EpochId) -> [u8; 20] {
        let step = step.to_be_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
        let parts = [b"nonce-v1".as_slice(), role.label(), &step, epoch.as_bytes(), self.issuer.as_bytes()];
        for part in parts.into_iter().chain(self.region.as_deref().map(str::as_bytes)) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let mut nonce = [0; 20];
        nonce[..4].copy_from_slice(&step);
        nonce[4..].copy_from_slice(&mac.finalize().into_bytes()[..16]);
        nonce
    }

    fn step_at(&self, now: UnixTime) -> u32 {
        let millis = u128::try_from(now.as_millis()).unwrap_or(0);
        u32::try_from(millis / self.step.as_millis()).unwrap_or(u32::MAX)
    }

    fn start_of(&self, step: u32) -> UnixTime {
        UnixTime::from_millis(0).plus(self.step.saturating_mul(step))
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("issuer", &self.issuer).field("step", &self.step).finish_non_exhaustive()
    }
}

/// Who hands a nonce out. A nonce of one role is unknown to the other (RFC 9449 section 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceRole {
    /// The authorization server's endpoints, userinfo among them.
    AuthorizationServer,
    /// A gateway in front of protected resources.
    Gateway,
}

impl NonceRole {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::AuthorizationServer => b"as",
            Self::Gateway => b"gateway",
        }
    }
}

/// Evidence that a nonce is genuine and alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonceLife {
    /// The first instant at which it is accepted no more.
    pub ends: UnixTime,
    /// Whether minting now would give the same nonce. If not, a new one should go out with the answer.
    pub current: bool,
}

/// The nonce is not one that counts now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the nonce is stale or unknown")]
pub struct StaleNonce;

/// How a verifier treats nonces.
#[derive(Clone, Copy, Debug)]
pub struct NonceRule<'a> {
    /// Checks what is presented.
    pub nonces: &'a Nonces,
    /// For whom the nonce must have been minted.
    pub role: NonceRole,
    /// The ledger's epoch. While it is young, every proof needs a nonce, so that what an older epoch has seen stays dead.
    pub epoch: Epoch,
    /// Whether every proof needs a nonce at all times.
    pub required: bool,
}

impl NonceRule<'_> {
    /// Whether a proof without a nonce is refused at `now`.
    pub fn demands_nonce(&self, now: UnixTime, replay_window: Duration) -> bool {
        self.required || self.epoch.demands_nonce(now, replay_window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(300);
    const EPOCH: EpochId = EpochId::from_bytes([1; 16]);

    fn nonces() -> Nonces {
        Nonces::new([7; 32], "https://as.example.com", STEP)
    }

    fn at(millis: i64) -> UnixTime {
        UnixTime::from_millis(1_700_000_100_000 + millis)
    }

    /// NON-04, NON-13
    #[test]
    fn a_nonce_lives_for_the_rest_of_its_step_and_the_next() {
        let start = at(0);
        assert_eq!(start.as_secs() % 300, 0);
        let nonce = nonces().mint(NonceRole::AuthorizationServer, &EPOCH, at(123_456));
        let check = |now| nonces().check(NonceRole::AuthorizationServer, &EPOCH, &nonce, now);
        let ends = at(600_000);
        assert_eq!(check(at(-1)), Err(StaleNonce), "from a future step");
        assert_eq!(check(at(0)), Ok(NonceLife { ends, current: true }));
        assert_eq!(check(at(299_999)), Ok(NonceLife { ends, current: true }));
        assert_eq!(check(at(300_000)), Ok(NonceLife { ends, current: false }));
        assert_eq!(check(at(599_999)), Ok(NonceLife { ends, current: false }));
        assert_eq!(check(at(600_000)), Err(StaleNonce));
        assert_eq!(check(at(600_001)), Err(StaleNonce));
    }

    /// NON-02, NON-14
    #[test]
    fn a_nonce_is_27_characters_and_the_same_within_a_step() {
        let mint = |millis| nonces().mint(NonceRole::Gateway, &EPOCH, at(millis));
        assert_eq!(mint(0).len(), 27);
        assert!(mint(0).bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
        assert_eq!(mint(0), mint(299_999));
        assert_ne!(mint(0), mint(300_000));
        assert_ne!(mint(0), mint(-1));
    }

    /// NON-03, NON-08, R5
    #[test]
    fn a_nonce_holds_only_for_its_key_role_epoch_and_issuer() {
        let nonce = nonces().mint(NonceRole::AuthorizationServer, &EPOCH, at(0));
        let other_epoch = EpochId::from_bytes([2; 16]);
        assert!(nonces().check(NonceRole::AuthorizationServer, &EPOCH, &nonce, at(0)).is_ok());
        assert_eq!(nonces().check(NonceRole::Gateway, &EPOCH, &nonce, at(0)), Err(StaleNonce));
        assert_eq!(nonces().check(NonceRole::AuthorizationServer, &other_epoch, &nonce, at(0)), Err(StaleNonce));
        for other in [Nonces::new([8; 32], "https://as.example.com", STEP), Nonces::new([7; 32], "https://as.example.org", STEP)] {
            assert_eq!(other.check(NonceRole::AuthorizationServer, &EPOCH, &nonce, at(0)), Err(StaleNonce));
        }
    }

    /// NON-03
    #[test]
    fn a_nonce_holds_only_in_its_region() {
        let (here, there) = (nonces().in_region("eu"), nonces().in_region("us"));
        let nonce = here.mint(NonceRole::Gateway, &EPOCH, at(0));
        assert!(here.check(NonceRole::Gateway, &EPOCH, &nonce, at(0)).is_ok());
        for other in [there, nonces(), nonces().in_region("")] {
            assert_eq!(other.check(NonceRole::Gateway, &EPOCH, &nonce, at(0)), Err(StaleNonce));
        }
    }

    /// NON-03
    #[test]
    fn a_nonce_that_was_never_minted_is_stale() {
        let nonce = nonces().mint(NonceRole::AuthorizationServer, &EPOCH, at(0));
        let check = |text: &str| nonces().check(NonceRole::AuthorizationServer, &EPOCH, text, at(0));
        assert!(check(&nonce).is_ok());
        for position in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            assert_eq!(check(str::from_utf8(&changed).unwrap()), Err(StaleNonce), "position {position}");
        }
        for text in ["", "A", " ", "é", &nonce[1..], &format!("{nonce}A"), &format!("{nonce}="), &format!(" {nonce}"), &"A".repeat(5000)] {
            assert_eq!(check(text), Err(StaleNonce), "{text}");
        }
    }

    /// NON-13
    #[test]
    fn a_retired_key_is_accepted_and_never_minted_with() {
        let old = nonces();
        let new = Nonces::new([9; 32], "https://as.example.com", STEP).with_retired_key([7; 32]);
        let nonce = old.mint(NonceRole::Gateway, &EPOCH, at(0));
        let life = new.check(NonceRole::Gateway, &EPOCH, &nonce, at(0)).unwrap();
        assert!(!life.current, "a new one will be sent");
        assert_ne!(new.mint(NonceRole::Gateway, &EPOCH, at(0)), nonce);
        assert_eq!(old.check(NonceRole::Gateway, &EPOCH, &new.mint(NonceRole::Gateway, &EPOCH, at(0)), at(0)), Err(StaleNonce));
    }

    #[test]
    fn no_instant_and_no_step_overflows() {
        for step in [Duration::ZERO, Duration::from_nanos(1), STEP, Duration::MAX] {
            let nonces = Nonces::new([7; 32], "", step);
            for millis in [i64::MIN, -1, 0, 1, i64::MAX] {
                let now = UnixTime::from_millis(millis);
                let nonce = nonces.mint(NonceRole::Gateway, &EPOCH, now);
                assert!(nonces.check(NonceRole::Gateway, &EPOCH, &nonce, now).is_ok());
            }
        }
    }
}
