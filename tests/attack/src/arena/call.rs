//! Honest calls, without their proofs.

use url::Url;

use crate::jose::Key;
use crate::target::Client;

/// Where a proof is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// Whatever takes proofs for nothing: `client_credentials` where there is a machine client, a refresh otherwise.
    Any,
    /// `client_credentials` at the token endpoint.
    Token,
    /// A refresh.
    Refresh,
    /// A pushed authorization request.
    Par,
    /// A protected resource.
    Resource,
}

/// Whose nonces a call uses. The two have nothing to do with each other (RFC 9449 section 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    AuthorizationServer,
    ResourceServer,
}

/// What an attack needs of the server, or of what the suite was given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Need {
    /// A client that may use `client_credentials`.
    Machine,
    /// At least one session of a user.
    Session,
    /// As many sessions as it likes.
    Sessions,
    /// The code flow, as often as it likes.
    Codes,
    /// Pushed authorization requests.
    Par,
    /// Pushed authorization requests are optional.
    PlainAuthorize,
    /// A protected resource and a token for it.
    Resource,
    /// Introspection by the machine client.
    Introspection,
    /// Revocation.
    Revocation,
    /// A second node.
    Peer,
    /// A way to restart the server.
    Restart,
    /// Another client.
    OtherClient,
    /// A second endpoint that refreshes.
    RefreshEndpoint,
    /// A machine client with `private_key_jwt`.
    Assertion,
    /// A machine client with a secret.
    Secret,
    /// The server hands out nonces.
    Nonces,
    /// Proofs with this algorithm.
    Alg(&'static str),
    /// A server on this machine, or leave to exhaust it.
    OwnServer,
}

/// An honest call without its proof.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) stage: Stage,
    pub(crate) method: &'static str,
    pub(crate) url: Url,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// Who authenticates. `None`: what the form and headers hold is all.
    pub(crate) client: Option<Client>,
    /// The key of the proof.
    pub(crate) key: Key,
    pub(crate) role: Role,
    /// The access token that the proof is for.
    pub(crate) access_token: Option<String>,
    /// Whether the refresh token is that of the session that calls share.
    pub(crate) shared: bool,
    pub(crate) to_peer: bool,
    pub(crate) host: Option<String>,
}

impl Call {
    /// A call that is shown and not sent.
    pub(crate) fn specimen(stage: Stage, method: &'static str, url: Url, key: Key, role: Role, access_token: Option<String>) -> Self {
        Self {
            stage,
            method,
            url,
            form: Vec::new(),
            headers: Vec::new(),
            client: None,
            key,
            role,
            access_token,
            shared: false,
            to_peer: false,
            host: None,
        }
    }

    /// Sets a parameter.
    #[must_use]
    pub(crate) fn set(self, name: &str, value: impl Into<String>) -> Self {
        self.without(name).add(name, value)
    }

    /// Adds a parameter, whether it is there already or not.
    #[must_use]
    pub(crate) fn add(mut self, name: &str, value: impl Into<String>) -> Self {
        self.form.push((name.to_owned(), value.into()));
        self
    }

    /// Leaves a parameter out.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.form.retain(|(parameter, _)| parameter != name);
        self
    }

    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.form.iter().find(|(parameter, _)| parameter == name).map_or("", |(_, value)| value)
    }

    /// Adds a header line.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(line, _)| !line.eq_ignore_ascii_case(name));
        self
    }

    /// Proves with another key.
    #[must_use]
    pub(crate) fn key(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    /// The same call by somebody who holds no secret of the client: only a public client's tokens are bound to nothing but the key.
    #[must_use]
    pub(crate) fn by_a_thief(self) -> Self {
        match &self.client {
            Some(client) if !client.is_public() => {
                let id = client.id.clone();
                self.client(None).set("client_id", id)
            }
            _ => self,
        }
    }

    /// Authenticates as someone else, or not at all.
    #[must_use]
    pub(crate) fn client(mut self, client: Option<Client>) -> Self {
        self.client = client;
        self
    }

    /// Sends to the second node.
    #[must_use]
    pub(crate) fn at_the_peer(mut self) -> Self {
        self.to_peer = true;
        self
    }
}
