//! `keybound client …`: the management API's `/admin/clients`.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::cli::management::{ManagementArgs, segment};
use crate::cli::{CliError, say};

/// Register, list, show and delete clients.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ClientCommand {
    /// Register a client. Prints the registration; a generated secret is shown this once only.
    Create(Create),
    /// List all clients.
    List(#[command(flatten)] ManagementArgs),
    /// Show one client.
    Show(One),
    /// Delete a client; its grants end with it.
    Delete(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    management: ManagementArgs,
    /// The registration as a JSON file with the member names of RFC 7591. The flags below override its members.
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// The client's identifier. Default: the service makes one.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// How the client authenticates: none (a public client), client_secret_basic, client_secret_post or private_key_jwt.
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// What the client may ask for, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// A grant that the client may use; may be given more than once.
    #[arg(long = "grant-type", value_name = "TYPE")]
    grant_types: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    #[command(flatten)]
    management: ManagementArgs,
    /// The client's identifier.
    client_id: String,
}

impl ClientCommand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => {
                let registration = create.registration()?;
                print_json(&create.management.connect()?.send(Method::POST, "/admin/clients", &[], Some(&registration)).await?);
            }
            Self::List(management) => print_json(&management.connect()?.send(Method::GET, "/admin/clients", &[], None).await?),
            Self::Show(one) => print_json(&one.management.connect()?.send(Method::GET, &one.path(), &[], None).await?),
            Self::Delete(one) => {
                one.management.connect()?.send(Method::DELETE, &one.path(), &[], None).await?;
                say(format_args!("deleted {}", one.client_id));
            }
        }
        Ok(())
    }
}

impl Create {
    fn registration(&self) -> Result<Value, CliError> {
        let mut registration = match &self.metadata {
            None => Map::new(),
            Some(path) => {
                let text = std::fs::read(path).map_err(|error| CliError::Unusable(format!("{}: {error}", path.display())))?;
                let wrong = |error| CliError::Usage(format!("{} is not one JSON object: {error}", path.display()));
                serde_json::from_slice(&text).map_err(wrong)?
            }
        };
        let members = [
            ("client_id", self.client_id.as_ref().map(|id| json!(id))),
            ("token_endpoint_auth_method", self.auth_method.as_ref().map(|method| json!(method))),
            ("scope", self.scope.as_ref().map(|scope| json!(scope))),
            ("grant_types", (!self.grant_types.is_empty()).then(|| json!(self.grant_types))),
        ];
        registration.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Ok(Value::Object(registration))
    }
}

impl One {
    fn path(&self) -> String {
        format!("/admin/clients/{}", segment(&self.client_id))
    }
}

/// Prints JSON for people and for programs alike.
pub(super) fn print_json(value: &Value) {
    say(format_args!("{value:#}"));
}
