//! Grants as the operator handles them: made by a login application, listed, revoked.

use keybound_proofs::{Entropy as _, Jkt, UnixTime};

use crate::clock::OsEntropy;
use crate::domain::client::GrantType;
use crate::domain::details_types::RefusedDetails;
use crate::domain::resource::InvalidTarget;
use crate::domain::{AuthorizationDetails, Binding, ClientId, Family, FamilyId, FamilyState, Generation, Grant, RevokeReason};
use crate::service::AuthorizationServer;
use crate::store::{FamilyFilter, Page, StoreError};
use crate::telemetry::Event;

/// A grant to make.
#[derive(Clone, Debug)]
pub struct NewGrant {
    /// For this client.
    pub client_id: ClientId,
    /// Bound to this key; needed for a public client.
    pub jkt: Option<Jkt>,
    /// What is granted, but for the authorization details.
    pub grant: Grant,
    /// The authorization details.
    pub authorization_details: AuthorizationDetails,
}

/// A grant that was made.
#[derive(Clone, Debug)]
pub struct CreatedGrant {
    /// Its name.
    pub id: FamilyId,
    /// Its first refresh token.
    pub refresh_token: String,
    /// When it ends at the latest.
    pub expires: UnixTime,
}

/// Why a grant was not made.
#[derive(Debug, thiserror::Error)]
pub enum NewGrantError {
    /// No such client.
    #[error("no client has this client_id")]
    UnknownClient,
    /// The client is not registered for refresh tokens.
    #[error("the client is not registered for the refresh_token grant")]
    NoRefreshGrant,
    /// A public client's refresh token must be bound to a key.
    #[error("jkt is required: the client is public, and its refresh tokens are bound to a key")]
    KeyRequired,
    /// The scope is wider than the client's.
    #[error("the scope exceeds what the client is registered for")]
    Scope,
    /// The authorization details are not what their types want, or of a type that the client is not registered for.
    #[error(transparent)]
    AuthorizationDetails(#[from] RefusedDetails),
    /// A resource that is not registered.
    #[error("resource names something that is not registered")]
    Target,
    /// The store can't tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidTarget> for NewGrantError {
    fn from(_: InvalidTarget) -> Self {
        Self::Target
    }
}

impl AuthorizationServer {
    /// Makes a grant and its family.
    ///
    /// A confidential client's family is bound to client authentication; a `jkt` given for it is ignored (RFC 9449 section 5).
    /// What the resource owner agreed to is the caller's word.
    ///
    /// # Errors
    /// [`NewGrantError`].
    pub async fn create_grant(&self, new: NewGrant, now: UnixTime) -> Result<CreatedGrant, NewGrantError> {
        let client = self.clients.find(&new.client_id).await?.ok_or(NewGrantError::UnknownClient)?;
        if !client.allows_grant(GrantType::RefreshToken) {
            return Err(NewGrantError::NoRefreshGrant);
        }
        // A client registered without a scope, or without types of authorization details, may be given any: the operator decides,
        // grant by grant.
        if !client.scope().is_empty() && !new.grant.scope.is_subset(client.scope()) {
            return Err(NewGrantError::Scope);
        }
        if client.metadata().authorization_details_types.is_empty() {
            self.details_types.check(&new.authorization_details)?;
        } else {
            self.details_types.judge(&new.authorization_details, &client)?;
        }
        self.resources.target(&new.grant.resource, &[], &new.grant.scope)?;
        let binding =
            if client.is_public() { Binding::Key(new.jkt.ok_or(NewGrantError::KeyRequired)?) } else { Binding::ClientAuthentication };
        let grant = Grant { authorization_details: new.authorization_details.into_inner(), ..new.grant };
        let family = self.new_family(new.client_id, binding, grant, now);
        self.families.create(&family).await?;
        self.events.record(Event::created(family.id, &family.client_id), now);
        Ok(CreatedGrant {
            id: family.id,
            refresh_token: self.refresh_tokens.issue(family.id, family.generation),
            expires: family.absolute_expiry,
        })
    }

    pub(super) fn new_family(&self, client_id: ClientId, binding: Binding, grant: Grant, now: UnixTime) -> Family {
        let mut id = [0; FamilyId::LEN];
        OsEntropy.fill(&mut id);
        let absolute_expiry = now.plus(self.lifetimes.refresh_absolute);
        Family {
            id: FamilyId::from_bytes(id),
            client_id,
            binding,
            generation: Generation(0),
            state: FamilyState::Live,
            created: now,
            idle_expiry: now.plus(self.lifetimes.refresh_idle).min(absolute_expiry),
            absolute_expiry,
            last_rotation: now,
            clone_run: 0,
            clone_flag: false,
            grant,
        }
    }

    /// One page of live grants.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list_grants(&self, filter: &FamilyFilter, cursor: Option<&str>, limit: usize, now: UnixTime) -> Result<Page, StoreError> {
        self.families.list(filter, cursor, limit, now).await
    }

    /// Revokes one grant; tells whether it was live.
    ///
    /// # Errors
    /// [`StoreError`] where the outcome is unknown.
    pub async fn revoke_grant(&self, id: FamilyId, reason: RevokeReason, now: UnixTime) -> Result<bool, StoreError> {
        let ended = self.families.revoke(id, reason, now).await?;
        if ended {
            self.events.record(Event::GrantRevoked { grant_id: id.to_string(), reason }, now);
        }
        Ok(ended)
    }

    /// Revokes every live grant that matches; tells how many.
    ///
    /// # Errors
    /// [`StoreError`] where not all of them could be ended; call again.
    pub async fn revoke_grants(&self, filter: &FamilyFilter, reason: RevokeReason, now: UnixTime) -> Result<usize, StoreError> {
        let mut ended = 0;
        let mut cursor = None;
        loop {
            let page = self.families.list(filter, cursor.as_deref(), 500, now).await?;
            for family in &page.families {
                if self.revoke_grant(family.id, reason, now).await? {
                    ended += 1;
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(ended),
            }
        }
    }
}
