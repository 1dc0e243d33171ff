//! Who makes a request: a known client, and the epoch under which its assertion was judged.

use std::ops::Deref;

use keybound_proofs::{Claim, EpochId, UnixTime};

use crate::service::client_auth::{self, AssertionError, AuthenticatedClient, ClientAuthError, Directory, Presented, Reason};
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
        self.authenticate_among(&self.clients, presented, now).await
    }

    /// Authenticates a caller that is in `directory` and leaves no trace.
    ///
    /// # Errors
    /// As [`AuthorizationServer::authenticate`].
    pub(crate) async fn authenticate_among(
        &self,
        directory: &impl Directory,
        presented: Presented<'_>,
        now: UnixTime,
    ) -> Result<Caller, TokenError> {
        let epoch = self.assertions.epoch()?;
        match client_auth::authenticate(directory, presented, &self.client_auth, &epoch, now).await {
            Ok(client) => Ok(Caller { client, epoch: epoch.id }),
            // Not the client's fault, and over as soon as it signs a new one: 503, not `invalid_client`.
            Err(ClientAuthError::Refused { reason: reason @ Reason::Assertion(AssertionError::BeforeEpoch), .. }) => {
                Err(TokenError::Unavailable(reason.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }
}
