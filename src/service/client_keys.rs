//! The keys of clients, wherever they are.

use keybound_proofs::UnixTime;

use crate::domain::Client;
use crate::domain::client::{AssertionAlg, ClientKey, Provenance};
use crate::fetch::{FetchError, KeySets, KeySource, Reach};

/// Finds the keys that a client signs assertions and request objects with.
#[derive(Clone, Debug)]
pub struct ClientKeys {
    sets: KeySets,
    documents: Reach,
}

impl ClientKeys {
    /// With key sets from `sets`; `documents` is how far the `jwks_uri` in a client's metadata document may lead.
    pub fn new(sets: KeySets, documents: Reach) -> Self {
        Self { sets, documents }
    }

    /// The keys of `client` that may have made a signature with `alg` under the name `kid`; none is an answer too. Fetched where the
    /// client has a `jwks_uri`: call it after everything that costs less.
    ///
    /// # Errors
    /// [`FetchError`] where no keys are known and none can be fetched.
    pub async fn candidates(
        &self,
        client: &Client,
        alg: AssertionAlg,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<Vec<ClientKey>, FetchError> {
        if !client.allows_assertion_alg(alg) {
            return Ok(Vec::new());
        }
        match client.jwks_uri() {
            None => Ok(client.keys().iter().filter(|key| key.alg() == alg && key.answers_to(kid)).cloned().collect()),
            Some(url) => {
                let source = KeySource::Published { url: url.clone(), reach: self.reach_of(client.provenance()) };
                self.sets.candidates(&source, alg, kid, now).await
            }
        }
    }

    fn reach_of(&self, provenance: Provenance) -> Reach {
        match provenance {
            Provenance::Operator => Reach::Operator,
            Provenance::SelfRegistered => Reach::Public,
            Provenance::MetadataDocument => self.documents,
        }
    }
}
