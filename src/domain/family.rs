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
    /// When the generation last moved; at first, when it was created.
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
    /// [`Advanced::Kept`], [`Advanced::Repeated`]) is the one to store.
    #[must_use]
    pub fn decide(mut self, request: &Advance) -> Advanced {
        if let Some(refusal) = self.refusal(request) {
            return Advanced::Refused(refusal);
        }
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
            Binding::Key(jkt) if request.jkt != Some(jkt) => return Some(Refusal::OtherKey),
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
