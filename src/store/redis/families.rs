//! Families: one string each, moved by scripts that touch that one key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keybound_proofs::UnixTime;
use redis::Value;

use super::names::Names;
use super::scan;
use super::script::{ADVANCE, REVOKE};
use super::shard::Shard;
use super::wire::Request;
use super::{LONGEST_TTL_MS, RedisStore, bytes, odd_answer, ttl_ms};
use crate::domain::{Advance, Advanced, Family, FamilyId, FamilyState, Refusal, RevokeReason};
use crate::store::record;
use crate::store::{Families, FamilyFilter, Page, StoreError};

/// A record outlives its expiry by this: nodes whose clocks differ still agree that it is expired, and not unknown.
pub(super) const EXPIRY_GRACE: Duration = Duration::from_secs(60);

/// Steps of one call of [`Families::list`]: it returns a page, perhaps an empty one, within a fraction of a second.
const LIST_STEPS: usize = 50;

#[async_trait]
impl Families for RedisStore {
    /// Repeating it with the same bytes succeeds: a lost answer is no conflict.
    async fn create(&self, family: &Family) -> Result<(), StoreError> {
        let record = record::encode(family);
        let ends = family.idle_expiry.min(family.absolute_expiry).plus(EXPIRY_GRACE);
        let ttl = ttl_ms(ends.as_millis().saturating_sub(family.created.as_millis()));
        let key = self.family_key(family.id);
        let mut cmd = redis::cmd("SET");
        cmd.arg(&key).arg(&record).arg("NX").arg("GET").arg("PX").arg(ttl);
        match bytes(self.shared.durable_value(&key, Request::Command(&cmd)).await?.0)? {
            Some(present) if present != record => Err(StoreError::Unfit("a family of this name exists already".to_owned())),
            _ => {
                self.shared.remember(family.id, record);
                Ok(())
            }
        }
    }

    async fn read(&self, id: FamilyId, now: UnixTime) -> Result<Option<Family>, StoreError> {
        let Some(record) = self.shared.get(&self.family_key(id)).await? else { return Ok(None) };
        Ok(Some(record::decode(id, &record)?).filter(|family| !family.is_expired(now)))
    }

    /// After a lost answer the script may run twice. The second run then finds the token to be the one before the newest and
    /// answers [`Advanced::Repeated`] with the same successor (G2, G4): the caller can't tell, and need not. Where the client itself
    /// used that successor in between (it got it from an identical request), the answer is [`Advanced::Reused`], by a proof older
    /// than the last rotation: a delayed original, which ends nothing. A change of keys that the second run finds made counts as made
    /// by this call: better one audit event too many than one too few.
    async fn advance(&self, request: &Advance) -> Result<Advanced, StoreError> {
        let deadline = request.now.plus(request.idle);
        let (grace, longest) = (EXPIRY_GRACE.as_millis().to_string(), LONGEST_TTL_MS.to_string());
        let args: [&[u8]; 10] = [
            &request.presented.0.to_be_bytes(),
            request.client_id.as_str().as_bytes(),
            flag(request.authenticated),
            request.jkt.as_ref().map_or(b"", |jkt| jkt.as_bytes().as_slice()),
            flag(request.rotate),
            &request.now.as_millis().to_be_bytes(),
            &deadline.as_millis().to_be_bytes(),
            grace.as_bytes(),
            longest.as_bytes(),
            request.rebind_to.as_ref().map_or(b"", |jkt| jkt.as_bytes().as_slice()),
        ];
        let key = self.family_key(request.family);
        let (answer, again) = self.shared.durable_value(&key, Request::Script { script: &ADVANCE, key: &key, args: &args }).await?;
        let (outcome, record) = outcome(answer)?;
        let advanced = advanced(request.family, outcome, record.as_deref())?;
        if let Some(record) = record {
            self.shared.remember(request.family, record);
        }
        match advanced {
            Advanced::Repeated(family) | Advanced::Kept(family) if again && request.rebind_to.is_some() => Ok(Advanced::Rebound(family)),
            other => Ok(other),
        }
    }

    /// After a lost answer, a family found revoked for the same reason counts as ended by this call: better one audit event too many
    /// than one too few.
    async fn revoke(&self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, StoreError> {
        let key = self.family_key(id);
        let args: [&[u8]; 2] = [&[reason as u8], &now.as_millis().to_be_bytes()];
        let (answer, again) = self.shared.durable_value(&key, Request::Script { script: &REVOKE, key: &key, args: &args }).await?;
        let (outcome, record) = outcome(answer)?;
        let ended = match outcome {
            0 => return Ok(false),
            1 => true,
            2 => again && record.as_ref().and_then(|record| record.get(record::AT_STATE)) == Some(&(reason as u8)),
            _ => return Err(unreadable()),
        };
        if let Some(record) = record {
            self.shared.remember(id, record);
        }
        Ok(ended)
    }

    /// In the order of the servers' tables. A family that exists throughout is found, as long as no failover and no move of slots
    /// comes in between; one may come twice while a table grows.
    async fn list(&self, filter: &FamilyFilter, cursor: Option<&str>, limit: usize, now: UnixTime) -> Result<Page, StoreError> {
        let mut at = Place::read(cursor)?;
        let mut page = Page::default();
        // A step that was cut in the middle is found again only by asking for the same little step.
        let mut count = if at.behind.is_some() { 1 } else { scan::STEP };
        for _ in 0..LIST_STEPS {
            let Some((first, shard)) = self.shared.routes.from(at.first) else { return Ok(page) };
            if first != at.first {
                at = Place { first, ..Place::default() };
            }
            let (next, mut batch) = self.step(&shard, at.cursor, count).await?;
            batch.retain(|family| family.state == FamilyState::Live && !family.is_expired(now) && filter.matches(family));
            batch.retain(|family| at.behind.is_none_or(|behind| family.id > behind));
            batch.sort_by_key(|family| family.id);
            batch.dedup_by_key(|family| family.id);
            let room = limit.saturating_sub(page.families.len());
            if batch.len() > room && count > 1 && at.behind.is_none() {
                // Smaller steps from the same place, so that the page ends where a step does.
                if page.families.is_empty() {
                    count = (count / 4).max(1);
                    continue;
                }
                page.next = Some(at.write());
                return Ok(page);
            }
            if batch.len() > room {
                batch.truncate(room);
                at.behind = batch.last().map(|family| family.id).or(at.behind);
                page.families.append(&mut batch);
                page.next = Some(at.write());
                return Ok(page);
            }
            page.families.append(&mut batch);
            at = match (next, first.checked_add(1)) {
                (0, None) => return Ok(page),
                (0, Some(first)) => Place { first, ..Place::default() },
                (cursor, _) => Place { first, cursor, behind: None },
            };
            count = (count * 4).min(scan::STEP);
        }
        page.next = Some(at.write());
        Ok(page)
    }
}

impl RedisStore {
    fn family_key(&self, id: FamilyId) -> Vec<u8> {
        self.shared.names.key(Names::FAMILY, id.as_bytes())
    }

    /// One step over the families of one server: where the next begins, and what was found. Records that went away meanwhile are left
    /// out.
    async fn step(&self, shard: &Arc<Shard>, cursor: u64, count: usize) -> Result<(u64, Vec<Family>), StoreError> {
        let names = &self.shared.names;
        let (next, mut keys) = self.shared.scan(shard, cursor, &names.pattern(Names::FAMILY), count).await?;
        let id = |key: &[u8]| Some(FamilyId::from_bytes(names.name_in(Names::FAMILY, key)?.try_into().ok()?));
        keys.retain(|key| id(key).is_some());
        let records = self.shared.records(shard, &keys).await?;
        let read = |(key, record): (&Vec<u8>, Option<Vec<u8>>)| Some(record::decode(id(key)?, &record?));
        Ok((next, keys.iter().zip(records).filter_map(read).collect::<Result<_, _>>()?))
    }
}

/// Where a page begins: with the server that has this slot, or the first slot after it that is another server's first; at a step of the
/// walk over it, and within that behind one family.
#[derive(Default)]
struct Place {
    first: u16,
    cursor: u64,
    behind: Option<FamilyId>,
}

impl Place {
    fn read(text: Option<&str>) -> Result<Self, StoreError> {
        let Some(text) = text else { return Ok(Self::default()) };
        let malformed = || StoreError::Unreadable("the cursor is not one that was handed out".to_owned());
        let (first, text) = text.split_once(':').unwrap_or(("0", text));
        let (cursor, behind) = text.split_once('.').map_or((text, None), |(cursor, behind)| (cursor, Some(behind)));
        let behind = behind.map(|id| id.parse().map_err(|_| malformed())).transpose()?;
        Ok(Self { first: first.parse().map_err(|_| malformed())?, cursor: cursor.parse().map_err(|_| malformed())?, behind })
    }

    fn write(&self) -> String {
        let first = if self.first == 0 { String::new() } else { format!("{}:", self.first) };
        match self.behind {
            None => format!("{first}{}", self.cursor),
            Some(behind) => format!("{first}{}.{}", self.cursor, URL_SAFE_NO_PAD.encode(behind.as_bytes())),
        }
    }
}

/// The answer of `advance.lua`.
fn advanced(id: FamilyId, outcome: i64, record: Option<&[u8]>) -> Result<Advanced, StoreError> {
    let refusal = match outcome {
        -1 => Refusal::Unknown,
        -2 => Refusal::Revoked,
        -3 => Refusal::Expired,
        -4 => Refusal::OtherClient,
        -5 => Refusal::OtherKey,
        -6 => Refusal::NotAuthenticated,
        0 => return Err(unreadable()),
        _ => {
            let family = record::decode(id, record.ok_or_else(odd_answer)?)?;
            return match outcome {
                1 => Ok(Advanced::Rotated(family)),
                2 => Ok(Advanced::Repeated(family)),
                3 => Ok(Advanced::RolledForward(family)),
                4 => Ok(Advanced::Kept(family)),
                5 => Ok(Advanced::Reused(family)),
                6 => Ok(Advanced::CloneSuspected(family)),
                7 => Ok(Advanced::Rebound(family)),
                _ => Err(odd_answer()),
            };
        }
    };
    Ok(Advanced::Refused(refusal))
}

/// What our scripts answer: a number, and bytes where there are some.
fn outcome(answer: Value) -> Result<(i64, Option<Vec<u8>>), StoreError> {
    let Value::Array(parts) = answer else { return Err(odd_answer()) };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(Value::Int(outcome)), rest) => Ok((outcome, rest.map_or(Ok(None), bytes)?)),
        _ => Err(odd_answer()),
    }
}

fn flag(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}

pub(super) fn unreadable() -> StoreError {
    StoreError::Unreadable("a family's record has another version or is cut off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_was_written() {
        for (first, behind) in
            [(0, None), (0, Some(FamilyId::from_bytes([9; 16]))), (5461, None), (5461, Some(FamilyId::from_bytes([9; 16])))]
        {
            let place = Place::read(Some(&Place { first, cursor: u64::MAX, behind }.write())).unwrap();
            assert_eq!((place.first, place.cursor, place.behind), (first, u64::MAX, behind));
        }
    }

    #[test]
    fn a_place_that_was_never_handed_out_is_refused() {
        for text in ["", "x", "-1", "65536:1", ":1", "1:", "1:1:1", "1.", "1.abc", "1.2.3", "18446744073709551616"] {
            assert!(Place::read(Some(text)).is_err(), "{text}");
        }
        assert!(Place::read(Some("1")).is_ok() && Place::read(None).is_ok());
    }
}
