//! Security events: each change of state has exactly one.

use std::collections::VecDeque;

use keybound_proofs::{Jkt, UnixTime};
use parking_lot::Mutex;
use serde::Serialize;

use crate::domain::{Binding, ClientId, Family, FamilyId, RevokeReason};

/// Something that an operator may want to know about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A family was created.
    GrantCreated {
        /// The grant.
        grant_id: String,
        /// The client.
        client_id: ClientId,
    },
    /// A refresh token was used and its family moved on.
    RefreshRotated {
        /// The grant.
        grant_id: String,
        /// The client.
        client_id: ClientId,
        /// The generation of the token given out.
        generation: u32,
    },
    /// The store had forgotten an acknowledged write; a genuine token brought it forward.
    StoreRegression {
        /// The grant.
        grant_id: String,
        /// The client.
        client_id: ClientId,
        /// The generation of the token given out.
        generation: u32,
    },
    /// A grant moved to another key, at a refresh with proofs of both.
    KeyChanged {
        /// The grant.
        grant_id: String,
        /// The client.
        client_id: ClientId,
        /// The thumbprint of the key it was bound to.
        old_jkt: Option<String>,
        /// The thumbprint of the key it is bound to.
        jkt: Option<String>,
        /// The generation of the token given out.
        generation: u32,
    },
    /// A genuine refresh token came with a proof of another key.
    RefreshKeyMismatch {
        /// The grant named by the token.
        grant_id: String,
        /// The client that presented it.
        client_id: ClientId,
        /// The thumbprint of the key that signed the proof.
        jkt: Option<String>,
    },
    /// A family was ended.
    GrantRevoked {
        /// The grant.
        grant_id: String,
        /// Why.
        reason: RevokeReason,
    },
    /// An access token that belongs to no grant was put out of use.
    AccessTokenRevoked {
        /// The client it was issued to.
        client_id: ClientId,
    },
    /// A token was exchanged for a new one.
    TokenExchanged {
        /// The client that got it.
        client_id: ClientId,
        /// Whether the new token is bound to a key.
        bound: bool,
    },
    /// A superseded refresh token was presented, and the family was left alone.
    ReuseRefused {
        /// The grant.
        grant_id: String,
        /// The client.
        client_id: ClientId,
    },
    /// A proof was presented a second time.
    ReplayRefused {
        /// The thumbprint of its key.
        jkt: String,
    },
    /// An API gateway asked in a way that can't be answered: its configuration is wrong, or it is none of ours.
    GatewayMisconfigured {
        /// How it asked.
        dialect: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A client was registered or replaced.
    ClientStored {
        /// The client.
        client_id: ClientId,
    },
    /// A client got a new secret.
    ClientSecretRotated {
        /// The client.
        client_id: ClientId,
    },
    /// A client was deleted.
    ClientDeleted {
        /// The client.
        client_id: ClientId,
    },
    /// The replay epoch was moved by this node.
    EpochMoved {
        /// Why.
        reason: &'static str,
    },
}

impl Event {
    /// A family was created.
    pub fn created(id: FamilyId, client_id: &ClientId) -> Self {
        Self::GrantCreated { grant_id: id.to_string(), client_id: client_id.clone() }
    }

    /// A grant moved from `old_jkt` to the key that it is bound to now.
    pub fn key_changed(family: &Family, old_jkt: Option<Jkt>) -> Self {
        let jkt = if let Binding::Key(jkt) = family.binding { Some(jkt.to_string()) } else { None };
        Self::KeyChanged {
            grant_id: family.id.to_string(),
            client_id: family.client_id.clone(),
            old_jkt: old_jkt.map(|jkt| jkt.to_string()),
            jkt,
            generation: family.generation.0,
        }
    }

    /// A proof was presented a second time.
    pub fn replay(jkt: &Jkt) -> Self {
        Self::ReplayRefused { jkt: jkt.to_string() }
    }
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// Counts from 1 since this process started.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// The last [`Events::KEPT`] events of this process; every one is also a log line with target `keybound::audit`.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    count: u64,
    last: VecDeque<Recorded>,
}

impl Events {
    /// How many events are kept for `/admin/events`.
    pub const KEPT: usize = 1000;

    /// Records one event.
    pub fn record(&self, event: Event, now: UnixTime) {
        if tracing::enabled!(target: "keybound::audit", tracing::Level::INFO)
            && let Ok(json) = serde_json::to_string(&event)
        {
            tracing::info!(target: "keybound::audit", event = %json);
        }
        let mut ring = self.0.lock();
        ring.count += 1;
        let sequence = ring.count;
        if ring.last.len() == Self::KEPT {
            ring.last.pop_front();
        }
        ring.last.push_back(Recorded { sequence, at_ms: now.as_millis(), event });
    }

    /// The kept events after `sequence`, oldest first.
    pub fn after(&self, sequence: u64) -> Vec<Recorded> {
        self.0.lock().last.iter().filter(|one| one.sequence > sequence).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_events_and_their_order() {
        let events = Events::default();
        for round in 0..(Events::KEPT as i64 + 5) {
            events.record(Event::EpochMoved { reason: "test" }, UnixTime::from_millis(round));
        }
        let kept = events.after(0);
        assert_eq!(kept.len(), Events::KEPT);
        assert_eq!(kept.first().map(|one| one.sequence), Some(6));
        assert_eq!(events.after(1004).len(), 1);
    }
}
