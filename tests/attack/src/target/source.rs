//! Where sessions come from: a refresh token of a user, and the key it is bound to.

use std::process::Stdio;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use url::Url;

use super::TokenSource;
use crate::halt::{Step, inconclusive, not_applicable};
use crate::jose::Key;
use crate::wire::{Request, Wire};

/// What a client holds for a user.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The key of its proofs.
    pub(crate) key: Key,
    /// The newest refresh token.
    pub(crate) refresh_token: String,
    /// The name of the grant, where the management API made it.
    pub(crate) grant: Option<String>,
}

/// Makes sessions, where that needs no flow through the server's own pages.
pub(crate) enum SessionSource {
    Management {
        url: Url,
        token: String,
    },
    Command(String),
    Given(Mutex<Option<Session>>),
    /// The arena runs the code flow, as often as it likes.
    Flow,
    /// The arena runs the code flow, while this is set: a person signs in once.
    FlowOnce(Mutex<bool>),
    None,
}

impl SessionSource {
    pub(crate) fn new(tokens: &TokenSource) -> Self {
        match tokens {
            TokenSource::None => Self::None,
            TokenSource::Management { url, token } => Self::Management { url: url.clone(), token: token.clone() },
            TokenSource::SignIn(_) => Self::Flow,
            TokenSource::Browser => Self::FlowOnce(Mutex::new(true)),
            TokenSource::Command(command) => Self::Command(command.clone()),
            TokenSource::Given { refresh_token, key } => {
                Self::Given(Mutex::new(Some(Session { key: key.clone(), refresh_token: refresh_token.clone(), grant: None })))
            }
        }
    }

    /// Whether sessions come without end.
    pub(crate) fn is_endless(&self) -> bool {
        match self {
            Self::Management { .. } | Self::Command(_) | Self::Flow => true,
            Self::Given(_) | Self::FlowOnce(_) | Self::None => false,
        }
    }

    /// A session of `client`, bound to `key`. `None` where the code flow has to make it.
    pub(crate) async fn session(&self, wire: &Wire, client: &str, scope: &str, key: &Key) -> Step<Option<Session>> {
        match self {
            Self::Management { url, token } => {
                let grant = json!({"client_id": client, "sub": "alice", "scope": scope, "jkt": key.jkt()});
                let answer = manage(wire, url, token, "POST", "/admin/grants", Some(&grant)).await?;
                let body = answer.json();
                let Some(refresh_token) = body["refresh_token"].as_str().filter(|_| answer.status == 201) else {
                    return inconclusive(format!("the management API answers {} to a new grant", answer.status));
                };
                let grant = body["grant_id"].as_str().map(str::to_owned);
                Ok(Some(Session { key: key.clone(), refresh_token: refresh_token.to_owned(), grant }))
            }
            Self::Command(command) => ask_command(command, key).await.map(Some),
            Self::Given(session) => match session.lock().ok().and_then(|mut session| session.take()) {
                Some(session) => Ok(Some(session)),
                None => not_applicable("the one refresh token that was given is used up"),
            },
            Self::Flow => Ok(None),
            Self::FlowOnce(left) => {
                let left = left.lock().is_ok_and(|mut left| std::mem::take(&mut *left));
                if left { Ok(None) } else { not_applicable("a person signs in once, and that session is used up") }
            }
            Self::None => not_applicable(
                "no way to tokens of a user was given: --management, --sign-in, --token-command, \
                --refresh-token-file or --browser",
            ),
        }
    }

    /// Ends a grant, from the operator's side.
    pub(crate) async fn revoke(&self, wire: &Wire, grant: &str) -> Step<()> {
        let Self::Management { url, token } = self else { return not_applicable("no management API was given") };
        let answer = manage(wire, url, token, "DELETE", &format!("/admin/grants/{grant}"), None).await?;
        if answer.status < 300 { Ok(()) } else { inconclusive(format!("the management API answers {}", answer.status)) }
    }
}

async fn manage(wire: &Wire, url: &Url, token: &str, method: &str, path: &str, body: Option<&Value>) -> Step<crate::wire::Response> {
    let Ok(url) = url.join(path) else { return inconclusive("the management URL is no base URL") };
    let mut request = Request::new(method, &url).header("Authorization", format!("Bearer {token}"));
    if let Some(body) = body {
        request = request.body("application/json", body.to_string());
    }
    Ok(wire.send(&request).await?)
}

async fn ask_command(command: &str, key: &Key) -> Step<Session> {
    let failed = |why: String| inconclusive(format!("the token command failed: {why}"));
    let child = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("KEYBOUND_ATTACK_JKT", key.jkt())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    if let (Some(mut stdin), Some(jwk)) = (child.stdin.take(), key.private_jwk()) {
        // A command that needs no key may not read it.
        let _read = stdin.write_all(jwk.to_string().as_bytes()).await;
    }
    let output = match child.wait_with_output().await {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return failed(output.status.to_string()),
        Err(error) => return failed(error.to_string()),
    };
    let body: Value = serde_json::from_slice(&output).unwrap_or(Value::Null);
    match body["refresh_token"].as_str() {
        Some(token) => Ok(Session { key: key.clone(), refresh_token: token.to_owned(), grant: None }),
        None => failed("it printed no JSON object with a refresh_token".to_owned()),
    }
}
