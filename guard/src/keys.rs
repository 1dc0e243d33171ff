//! The issuer's keys, remembered within bounds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use keybound_proofs::jose::{self, Json};
use keybound_proofs::{PublicJwk, UnixTime};
use tokio::sync::Mutex;

use crate::source::{KeyFetchError, KeySource};

/// The public keys of an issuer (RFC 7517 section 5), by `kid`.
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<String, PublicJwk>);

impl KeySet {
    /// The most keys that are looked at.
    pub const MAX_KEYS: usize = 64;

    /// Reads a JWK Set. Keys that can't verify a token here are left out: unknown kinds, private keys, keys for encryption, keys without
    /// a `kid`; of two with one `kid` the second.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let [keys] = jose::members(json, ["keys"]).map_err(|_| KeySetError::NotASet)?;
        let Some(Json::Array(keys)) = keys else { return Err(KeySetError::NotASet) };
        let (mut set, mut count) = (HashMap::new(), 0);
        jose::array(keys, |key| {
            count += 1;
            let Json::Object(key) = key else { return };
            if count > Self::MAX_KEYS {
                return;
            }
            let Ok([Some(Json::Text(kid))]) = jose::members(key.as_bytes(), ["kid"]) else { return };
            if let Ok(key) = PublicJwk::from_json(key.as_bytes()) {
                set.entry(kid.into_owned()).or_insert(key);
            }
        })
        .map_err(|_| KeySetError::NotASet)?;
        if count > Self::MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        if set.is_empty() { Err(KeySetError::Useless) } else { Ok(Self(set)) }
    }

    /// The key of this name.
    pub fn find(&self, kid: &str) -> Option<&PublicJwk> {
        self.0.get(kid)
    }
}

/// Why a document is no set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not an object with a list `keys`.
    #[error("the keys of the issuer are no JWK Set")]
    NotASet,
    /// More than [`KeySet::MAX_KEYS`].
    #[error("the issuer publishes more than 64 keys")]
    TooMany,
    /// None that can verify a token.
    #[error("no key of the issuer can verify a token here")]
    Useless,
}

/// When keys are fetched again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyTimes {
    /// Older than this: fetched in the background.
    pub(crate) refresh: Duration,
    /// Two tries are at least this far apart.
    pub(crate) retry: Duration,
    /// Older than this: worth nothing.
    pub(crate) stale_limit: Duration,
}

/// The last good keys of an issuer.
pub(crate) struct CachedKeys {
    source: Box<dyn KeySource>,
    times: KeyTimes,
    known: RwLock<Known>,
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    /// The last good set and when it was fetched.
    good: Option<(Arc<KeySet>, UnixTime)>,
    /// The last try, and how it failed.
    tried: Option<(UnixTime, Option<KeyFetchError>)>,
}

impl CachedKeys {
    pub(crate) fn new(source: Box<dyn KeySource>, times: KeyTimes) -> Arc<Self> {
        Arc::new(Self { source, times, known: RwLock::default(), fetching: Mutex::new(()) })
    }

    /// The issuer's key of this name; `None` where the issuer has none.
    ///
    /// # Errors
    /// [`KeyFetchError`] where that can't be told.
    pub(crate) async fn find(self: &Arc<Self>, kid: &str, now: UnixTime) -> Result<Option<PublicJwk>, KeyFetchError> {
        let known = self.known();
        if let Some((set, fetched)) = self.usable(&known, now)
            && let Some(key) = set.find(kid)
        {
            if now.since(fetched) > self.times.refresh && !self.tried_recently(&known, now) {
                let keys = Arc::clone(self);
                tokio::spawn(async move { keys.fetch_unless_fetching(now).await });
            }
            return Ok(Some(key.clone()));
        }
        // Whoever waits here meanwhile finds out whether the fetch of another brought its key.
        let _turn = self.fetching.lock().await;
        let known = self.known();
        if !self.tried_recently(&known, now) {
            self.fetch(now).await;
        }
        let known = self.known();
        if let Some((set, _)) = self.usable(&known, now)
            && let Some(key) = set.find(kid)
        {
            return Ok(Some(key.clone()));
        }
        match known.tried {
            Some((_, None)) => Ok(None),
            Some((_, Some(error))) => Err(error),
            None => Err(KeyFetchError::Unknown),
        }
    }

    async fn fetch_unless_fetching(&self, now: UnixTime) {
        let Ok(_turn) = self.fetching.try_lock() else { return };
        if !self.tried_recently(&self.known(), now) {
            self.fetch(now).await;
        }
    }

    async fn fetch(&self, now: UnixTime) {
        let fetched = self.source.fetch().await;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(set) => *known = Known { good: Some((Arc::new(set), now)), tried: Some((now, None)) },
            Err(error) => {
                tracing::warn!(%error, "the keys of the issuer could not be fetched");
                known.tried = Some((now, Some(error)));
            }
        }
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usable(&self, known: &Known, now: UnixTime) -> Option<(Arc<KeySet>, UnixTime)> {
        known.good.clone().filter(|(_, fetched)| now.since(*fetched) <= self.times.stale_limit)
    }

    /// A try in the future was made before the clock was set back, and does not count.
    fn tried_recently(&self, known: &Known, now: UnixTime) -> bool {
        known.tried.as_ref().is_some_and(|(at, _)| *at <= now && now.since(*at) < self.times.retry)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::source::KeyFetch;
    use crate::testkit::{issuer_key, jwks, other_key};

    /// Answers with what is in it, and counts.
    #[derive(Default)]
    struct Scripted {
        answers: std::sync::Mutex<Vec<Result<KeySet, KeyFetchError>>>,
        asked: AtomicUsize,
    }

    impl KeySource for Arc<Scripted> {
        fn fetch(&self) -> KeyFetch<'_> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answer = self.answers.lock().expect("the script").pop().unwrap_or(Err(KeyFetchError::Unreachable));
            Box::pin(async move { answer })
        }
    }

    fn script(mut answers: Vec<Result<KeySet, KeyFetchError>>) -> (Arc<Scripted>, Arc<CachedKeys>) {
        answers.reverse();
        let source = Arc::new(Scripted { answers: answers.into(), asked: AtomicUsize::new(0) });
        let seconds = Duration::from_secs;
        let times = KeyTimes { refresh: seconds(600), retry: seconds(10), stale_limit: seconds(3600) };
        (Arc::clone(&source), CachedKeys::new(Box::new(source), times))
    }

    fn set(kids: &[&str]) -> Result<KeySet, KeyFetchError> {
        let mut document = jwks(&issuer_key(), kids[0]);
        for kid in &kids[1..] {
            document["keys"].as_array_mut().expect("a list").push(jwks(&other_key(), kid)["keys"][0].clone());
        }
        Ok(KeySet::parse(document.to_string().as_bytes())?)
    }

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_700_000_000 + seconds)
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_once_in_ten_seconds() {
        let (source, keys) = script(vec![set(&["a"]), set(&["a", "b"])]);
        assert!(keys.find("a", at(0)).await.is_ok_and(|key| key.is_some()));
        assert!(keys.find("a", at(1)).await.is_ok_and(|key| key.is_some()));
        for second in [1, 5, 9] {
            assert!(keys.find("b", at(second)).await.is_ok_and(|key| key.is_none()), "{second}");
        }
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        assert!(keys.find("b", at(10)).await.is_ok_and(|key| key.is_some()), "the rotated key is found");
        assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_last_good_keys_stay_while_the_issuer_is_away_and_end_with_their_limit() {
        let (_, keys) = script(vec![set(&["a"])]);
        assert!(keys.find("a", at(0)).await.is_ok_and(|key| key.is_some()));
        assert_eq!(keys.find("b", at(20)).await.err(), Some(KeyFetchError::Unreachable), "an unknown key can't be judged");
        assert!(keys.find("a", at(3600)).await.is_ok_and(|key| key.is_some()));
        assert_eq!(keys.find("a", at(3601)).await.err(), Some(KeyFetchError::Unreachable));
    }

    #[tokio::test]
    async fn a_key_that_the_issuer_withdrew_is_gone_after_the_refresh() {
        let (source, keys) = script(vec![set(&["a", "b"]), set(&["a"])]);
        assert!(keys.find("b", at(0)).await.is_ok_and(|key| key.is_some()));
        assert!(keys.find("b", at(600)).await.is_ok_and(|key| key.is_some()));
        assert!(keys.find("a", at(601)).await.is_ok_and(|key| key.is_some()), "nobody waits for the refresh");
        while source.asked.load(Ordering::SeqCst) < 2 || keys.fetching.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
        assert!(keys.find("b", at(602)).await.is_ok_and(|key| key.is_none()));
    }

    #[tokio::test]
    async fn an_issuer_that_was_never_reached_is_no_reason_to_refuse_for_good() {
        let (source, keys) = script(vec![Err(KeyFetchError::Status(502)), set(&["a"])]);
        assert_eq!(keys.find("a", at(0)).await.err(), Some(KeyFetchError::Status(502)));
        assert_eq!(keys.find("a", at(9)).await.err(), Some(KeyFetchError::Status(502)));
        assert_eq!(source.asked.load(Ordering::SeqCst), 1);
        assert!(keys.find("a", at(10)).await.is_ok_and(|key| key.is_some()));
    }

    /// JOSE-12
    #[test]
    fn only_public_signature_keys_with_a_name_are_kept() {
        let good = jwks(&issuer_key(), "a")["keys"][0].clone();
        let with = |name: &str, value: serde_json::Value| {
            let mut key = good.clone();
            key[name] = value;
            key
        };
        let others =
            [with("d", "AA".into()), with("use", "enc".into()), with("kid", 1.into()), with("kty", "oct".into()), serde_json::json!("key")];
        for other in others {
            let alone = serde_json::json!({"keys": [other]});
            assert_eq!(KeySet::parse(alone.to_string().as_bytes()).err(), Some(KeySetError::Useless), "{alone}");
            let beside = serde_json::json!({"keys": [other, good]});
            assert!(KeySet::parse(beside.to_string().as_bytes()).is_ok_and(|set| set.find("a").is_some()));
        }
        for (count, fits) in [(KeySet::MAX_KEYS, true), (KeySet::MAX_KEYS + 1, false)] {
            let many = serde_json::json!({"keys": vec![good.clone(); count]});
            assert_eq!(KeySet::parse(many.to_string().as_bytes()).is_ok(), fits);
        }
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
            assert_eq!(KeySet::parse(text.as_bytes()).err(), Some(KeySetError::NotASet), "{text}");
        }
    }
}
