//! Who makes a request: a known client, and the epoch under which its assertion was judged.

use std::ops::Deref;

use keybound_proofs::{Claim, EpochId, UnixTime};

use crate::service::client_auth::{self, AuthenticatedClient, Presented};
use crate::service::{AuthorizationServer, TokenError};

/// A client that may go on. Its assertion, if it sent one, is not used up yet.
#[derive(Clone, Debug)]
pub struct Caller {
    client: AuthenticatedClient,
    epoch: EpochId,
}

impl Caller {
    /// The use of the client's assertion, for the ledger.
    pub(crate) fn assertion_claim(&self) -> Option<Claim> {
        self.client.assertion.as_ref().map(|assertion| assertion.claim(self.epoch))
    }
}

impl Deref for Caller {
    type Target = AuthenticatedClient;

    fn deref(&self) -> &AuthenticatedClient {
        &self.client
    }
}

impl AuthorizationServer {
    /// Authenticates the client of a request and leaves no trace.
    ///
    /// # Errors
    /// [`TokenError::Client`], or [`TokenError::Unavailable`] where the epoch is not known.
    pub(crate) async fn authenticate(&self, presented: Presented<'_>, now: UnixTime) -> Result<Caller, TokenError> {
        let epoch = self.ledger.epoch()?;
        let client = client_auth::authenticate(&self.clients, presented, &self.client_auth, &epoch, now).await?;
        Ok(Caller { client, epoch: epoch.id })
    }
}
