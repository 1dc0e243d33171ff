//! Clients whose refresh tokens travel in a cookie: found by origin and by cookie, before the client of a request is known.
//!
//! A preflight names no client. What it asks is answered from the configured clients and from one record that the registry keeps up
//! to date: going through all stored clients for each would not do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::{Client, ClientId};
use crate::store::{ClientRecords, StoreError};

/// Cookies and origins by client.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct CookieClients(BTreeMap<ClientId, Entry>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Entry {
    cookie: String,
    origins: BTreeSet<String>,
}

impl CookieClients {
    /// The name of the record: no client can be registered under it.
    pub(super) const RECORD: &'static str = "keybound: cookie clients";

    /// Notes what `client` is registered for now; tells whether that is new.
    pub(super) fn note(&mut self, client: &Client) -> bool {
        match client.refresh_token_cookie() {
            None => self.forget(client.id()),
            Some(cookie) => {
                let entry = Entry { cookie: cookie.to_owned(), origins: client.allowed_origins().iter().cloned().collect() };
                self.0.insert(client.id().clone(), entry.clone()).as_ref() != Some(&entry)
            }
        }
    }

    /// Forgets a client; tells whether it was there.
    pub(super) fn forget(&mut self, id: &ClientId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Whether a page of this origin may use the cookie of some client.
    pub(super) fn has_origin(&self, origin: &str) -> bool {
        self.0.values().any(|entry| entry.origins.contains(origin))
    }

    /// The clients that take one of these cookies from pages of this origin.
    pub(super) fn matching<'a>(&'a self, origin: &'a str, cookies: &'a [&'a str]) -> impl Iterator<Item = &'a ClientId> {
        let fits = |entry: &Entry| entry.origins.contains(origin) && cookies.contains(&entry.cookie.as_str());
        self.0.iter().filter(move |(_, entry)| fits(entry)).map(|(id, _)| id)
    }

    /// The record as it is.
    ///
    /// # Errors
    /// [`StoreError`] where the store can't tell, or holds something else under this name.
    pub(super) async fn read(records: &dyn ClientRecords) -> Result<Self, StoreError> {
        let Some(record) = records.client(&Self::id()).await? else { return Ok(Self::default()) };
        serde_json::from_slice(&record).map_err(|_| StoreError::Unreadable("the record of clients with cookies".to_owned()))
    }

    /// Changes the record, if the change changes anything.
    ///
    /// Two changes at the same moment may lose one: so it is looked whether the change is there, and made again where it is not.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    pub(super) async fn change(records: &dyn ClientRecords, change: impl Fn(&mut Self) -> bool) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let mut all = Self::read(records).await?;
            if !change(&mut all) {
                return Ok(());
            }
            let record = serde_json::to_vec(&all).expect("a map with string keys has a JSON form");
            records.put_client(&Self::id(), &record).await?;
        }
        Err(StoreError::Unavailable("too many clients are registered at the same moment".to_owned()))
    }

    /// The identifier of the record.
    pub(super) fn id() -> ClientId {
        ClientId::new(Self::RECORD).expect("visible ASCII and spaces are a client_id")
    }
}

const ATTEMPTS: usize = 5;
