//! Short-lived records of a single node: in memory, bounded, never evicted while they live.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use keybound_proofs::UnixTime;
use parking_lot::Mutex;

use crate::store::{EphemeralName, Ephemerals, StoreError, Swapped};

/// Short-lived records in memory. A restart forgets them, which costs a sign-in that was under way, never a session.
#[derive(Debug, Default)]
pub struct EmbeddedEphemerals(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    live: HashMap<EphemeralName, Record>,
    swept: UnixTime,
}

#[derive(Debug)]
struct Record {
    bytes: Vec<u8>,
    expires: UnixTime,
}

impl EmbeddedEphemerals {
    /// The most records kept at once. One is a few hundred bytes to 20 KiB.
    pub const CAPACITY: usize = 100_000;

    /// Records that are over are looked for this often at most, while the store is not full.
    const SWEEP_EVERY: Duration = Duration::from_secs(10);
}

impl Records {
    fn sweep(&mut self, now: UnixTime) {
        if now.since(self.swept) >= EmbeddedEphemerals::SWEEP_EVERY || self.live.len() >= EmbeddedEphemerals::CAPACITY {
            self.live.retain(|_, record| record.expires > now);
            self.swept = now;
        }
    }
}

#[async_trait]
impl Ephemerals for EmbeddedEphemerals {
    async fn keep(&self, name: &EphemeralName, record: &[u8], ttl: Duration, now: UnixTime) -> Result<(), StoreError> {
        let mut records = self.0.lock();
        records.sweep(now);
        if records.live.len() >= Self::CAPACITY {
            return Err(StoreError::Unavailable("too many sign-ins are under way".to_owned()));
        }
        records.live.insert(*name, Record { bytes: record.to_vec(), expires: now.plus(ttl) });
        Ok(())
    }

    async fn peek(&self, name: &EphemeralName, now: UnixTime) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().live.get(name).filter(|record| record.expires > now).map(|record| record.bytes.clone()))
    }

    async fn swap(&self, name: &EphemeralName, expected: &[u8], next: &[u8], ttl: Duration, now: UnixTime) -> Result<Swapped, StoreError> {
        let mut records = self.0.lock();
        match records.live.get_mut(name).filter(|record| record.expires > now) {
            None => Ok(Swapped::Gone),
            Some(record) if record.bytes != expected => Ok(Swapped::Other(record.bytes.clone())),
            Some(record) => {
                *record = Record { bytes: next.to_vec(), expires: now.plus(ttl) };
                Ok(Swapped::Done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::EphemeralKind;
    use crate::store::conformance::ephemerals;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[tokio::test]
    async fn the_conformance_suite_holds() {
        ephemerals::run(Arc::new(EmbeddedEphemerals::default()), "handle", NOW).await;
    }

    #[tokio::test]
    async fn a_record_is_over_at_the_end_of_its_time() {
        let store = EmbeddedEphemerals::default();
        let name = EphemeralName::of(EphemeralKind::Code, "code");
        store.keep(&name, b"a", Duration::from_secs(60), NOW).await.expect("the record is kept");
        let at = |millis| NOW.plus(Duration::from_millis(millis));
        assert_eq!(store.peek(&name, at(59_999)).await, Ok(Some(b"a".to_vec())));
        assert_eq!(store.peek(&name, at(60_000)).await, Ok(None));
        assert_eq!(store.swap(&name, b"a", b"b", Duration::from_secs(1), at(60_000)).await, Ok(Swapped::Gone));
    }

    #[tokio::test]
    async fn a_full_store_refuses_and_makes_room_as_time_goes_by() {
        let store = EmbeddedEphemerals::default();
        let name = |number: usize| EphemeralName::of(EphemeralKind::Code, &number.to_string());
        for number in 0..EmbeddedEphemerals::CAPACITY {
            store.keep(&name(number), b"", Duration::from_secs(60), NOW).await.expect("there is room");
        }
        let one_more = name(EmbeddedEphemerals::CAPACITY);
        assert!(store.keep(&one_more, b"", Duration::from_secs(60), NOW).await.is_err());
        assert_eq!(store.peek(&name(0), NOW).await, Ok(Some(Vec::new())), "none was evicted");
        assert_eq!(store.keep(&one_more, b"", Duration::from_secs(60), NOW.plus(Duration::from_secs(60))).await, Ok(()));
    }
}
