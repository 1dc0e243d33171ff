//! Whether what an attack needs is there.

use super::{Arena, Need};
use crate::halt::{Step, not_applicable};
use crate::target::{Browser, ClientAuth, SessionSource};
use crate::wire::is_loopback;

impl Arena {
    /// Whether this is there; why not where it is not.
    pub(crate) fn needs(&self, need: Need) -> Step<()> {
        let there = |there: bool, why: &str| if there { Ok(()) } else { not_applicable(why) };
        let (options, endpoints) = (&self.options, &self.endpoints);
        match need {
            Need::Machine => {
                there(options.machine.is_some(), "no client for client_credentials was given: --client-id with a secret or key")?;
                there(endpoints.offers_grant("client_credentials"), "the server does not offer client_credentials")
            }
            Need::Session | Need::Sessions | Need::Codes => {
                there(options.app.is_some(), "no client for user grants was given: --app-client-id")?;
                there(need != Need::Session || endpoints.offers_grant("refresh_token"), "the server does not offer refresh_token")?;
                match need {
                    Need::Session if matches!(self.source, SessionSource::None) => not_applicable(
                        "no way to tokens of a user was given: --management, --sign-in, --token-command, --refresh-token-file or --browser",
                    ),
                    Need::Sessions => {
                        there(self.source.is_endless(), "needs as many grants as it likes: --management, --sign-in or --token-command")
                    }
                    Need::Codes => {
                        there(endpoints.authorize.is_some(), "the server has no authorization endpoint")?;
                        there(
                            self.browser().is_some_and(|browser| matches!(browser, Browser::Played(..))),
                            "needs codes without a person: --sign-in",
                        )
                    }
                    _ => Ok(()),
                }
            }
            Need::Par => {
                there(options.app.is_some(), "no client for user grants was given: --app-client-id")?;
                there(endpoints.par.is_some(), "the server has no pushed authorization requests")
            }
            Need::PlainAuthorize => there(!endpoints.requires_par, "the server takes pushed authorization requests only"),
            Need::Resource => match self.resource_url() {
                Some(_) => self.needs(Need::Session),
                None => not_applicable("the server has no userinfo endpoint and no --resource was given"),
            },
            Need::Introspection => {
                there(endpoints.introspection.is_some(), "the server has no introspection endpoint")?;
                self.needs(Need::Machine)
            }
            Need::Revocation => there(endpoints.revocation.is_some(), "the server has no revocation endpoint"),
            Need::Peer => there(options.peer.is_some(), "no second node was given: --peer"),
            Need::Restart => there(options.restart.is_some(), "no way to restart the server was given: --restart-command"),
            Need::OtherClient => there(options.other.is_some(), "no other client was given: --other-client-id"),
            Need::RefreshEndpoint => {
                there(options.refresh_endpoint.is_some(), "no second endpoint that refreshes was given: --refresh-endpoint")
            }
            Need::Assertion => {
                self.needs(Need::Machine)?;
                let signs = options.machine.as_ref().is_some_and(|client| matches!(client.auth, ClientAuth::Assertion(..)));
                there(signs, "the client does not authenticate with private_key_jwt: --client-key")
            }
            Need::Secret => {
                self.needs(Need::Machine)?;
                let secret = options.machine.as_ref().is_some_and(|client| client.secret().is_some());
                there(secret, "the client has no secret: --client-secret-file")
            }
            Need::Nonces => {
                let known = self.nonces.lock().is_ok_and(|nonces| nonces.0.is_some());
                there(known || endpoints.nonce.is_some(), "the server hands out no nonces")
            }
            Need::Alg(alg) => there(endpoints.proof_algs().contains(&alg), &format!("the server takes no {alg} proofs")),
            Need::OwnServer => there(
                options.own_server || is_loopback(&self.endpoints.token),
                "the server is not on this machine, and --i-own-this-server was not given",
            ),
        }
    }
}
