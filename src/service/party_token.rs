//! A verified token that stands for a party of a token exchange: the subject, or the actor (RFC 8693 section 1.1).

use keybound_proofs::{Jkt, UnixTime};
use serde_json::{Map, Value};

use crate::domain::{FamilyId, Grant, Scope};

/// What a verified token says, whoever issued it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct PartyToken {
    /// Its issuer; `None` where that is this service.
    pub(super) issuer: Option<String>,
    /// The party.
    pub(super) sub: String,
    /// The client it was issued to, where it says so.
    pub(super) client_id: Option<String>,
    /// The resource servers it is for. `None` for another issuer's: it was for this service.
    pub(super) audience: Option<Vec<String>>,
    /// Its scope.
    pub(super) scope: Scope,
    /// The first instant at which it is good no more.
    pub(super) expires: UnixTime,
    /// Who may use it.
    pub(super) binding: PartyBinding,
    /// Whether it may be exchanged without a proof of its key, where it is bound.
    pub(super) bound_without_proof: bool,
    /// Its authorization details.
    pub(super) authorization_details: Vec<Map<String, Value>>,
    /// When the end user signed in, in seconds since 1970.
    pub(super) auth_time: Option<i64>,
    /// How the end user signed in.
    pub(super) acr: Option<String>,
    /// The grant it comes from, where that is one of this service that lives on.
    pub(super) grant_id: Option<FamilyId>,
    /// Who acted for the subject already.
    pub(super) act: Option<Map<String, Value>>,
    /// Who may act for the subject; `None`: it doesn't say.
    pub(super) may_act: Option<Map<String, Value>>,
}

impl PartyToken {
    /// What the subject granted, as far as a new token shows it.
    pub(super) fn into_grant(self) -> Grant {
        Grant { sub: Some(self.sub), auth_time: self.auth_time, acr: self.acr, ..Grant::default() }
    }
}

/// Who may use a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PartyBinding {
    /// Whoever has it.
    Bearer,
    /// Whoever holds the key with this thumbprint.
    Key(Jkt),
    /// Whoever shows something that can't be shown here, such as a client certificate.
    Other,
}

/// A party that acts for the subject (RFC 8693 section 4.1).
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Actor {
    /// Who it is.
    pub(super) sub: String,
    /// Who says so; `None`: this service.
    pub(super) issuer: Option<String>,
}

impl Actor {
    /// The `act` claim: this actor, and behind it whoever acted before.
    ///
    /// # Errors
    /// [`ChainTooLong`] for more than [`Actor::MAX_CHAIN`] actors in a row.
    pub(super) fn claim(&self, before: Option<&Map<String, Value>>) -> Result<Map<String, Value>, ChainTooLong> {
        let mut length = 1;
        let mut earlier = before;
        while let Some(act) = earlier {
            length += 1;
            if length > Self::MAX_CHAIN {
                return Err(ChainTooLong);
            }
            earlier = act.get("act").and_then(Value::as_object);
        }
        let mut claim = Map::new();
        claim.insert("sub".to_owned(), Value::from(self.sub.as_str()));
        if let Some(issuer) = &self.issuer {
            claim.insert("iss".to_owned(), Value::from(issuer.as_str()));
        }
        if let Some(before) = before {
            claim.insert("act".to_owned(), Value::Object(before.clone()));
        }
        Ok(claim)
    }

    /// The most actors in one `act` claim: every verifier has to read them.
    pub(super) const MAX_CHAIN: usize = 8;

    /// Whether a `may_act` claim means this actor: each member that identifies someone must identify it (RFC 8693 section 4.4).
    pub(super) fn is_meant_by(&self, may_act: &Map<String, Value>, own_issuer: &str) -> bool {
        let sub = may_act.get("sub").is_some_and(|sub| *sub == self.sub);
        let issuer = may_act.get("iss").is_none_or(|issuer| *issuer == self.issuer.as_deref().unwrap_or(own_issuer));
        sub && issuer
    }
}

/// More actors in a row than are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than eight parties acted for each other")]
pub(super) struct ChainTooLong;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn actor(issuer: Option<&str>) -> Actor {
        Actor { sub: "svc".to_owned(), issuer: issuer.map(str::to_owned) }
    }

    #[test]
    fn an_actor_stands_before_those_who_acted_earlier() {
        let first = actor(None).claim(None).unwrap();
        assert_eq!(Value::Object(first.clone()), json!({"sub": "svc"}));
        let second = actor(Some("https://idp.example")).claim(Some(&first)).unwrap();
        assert_eq!(Value::Object(second), json!({"sub": "svc", "iss": "https://idp.example", "act": {"sub": "svc"}}));
        let mut chain = None;
        for _ in 0..Actor::MAX_CHAIN {
            chain = Some(actor(None).claim(chain.as_ref()).unwrap());
        }
        assert_eq!(actor(None).claim(chain.as_ref()), Err(ChainTooLong));
    }

    #[test]
    fn may_act_means_exactly_the_party_it_names() {
        let meant = |claim: Value, actor: &Actor| actor.is_meant_by(claim.as_object().unwrap(), "https://as.example");
        assert!(meant(json!({"sub": "svc"}), &actor(None)));
        assert!(meant(json!({"sub": "svc", "iss": "https://as.example"}), &actor(None)));
        assert!(meant(json!({"sub": "svc", "iss": "https://idp.example"}), &actor(Some("https://idp.example"))));
        for other in [json!({}), json!({"sub": "other"}), json!({"sub": "svc", "iss": "https://idp.example"}), json!({"sub": ["svc"]})] {
            assert!(!meant(other.clone(), &actor(None)), "{other}");
        }
    }
}
