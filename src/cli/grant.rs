//! `keybound grant …`: the management API's `/admin/grants`.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::cli::client::print_json;
use crate::cli::management::{ManagementArgs, segment};
use crate::cli::{CliError, files, say};

/// Make, list and revoke grants.
#[derive(Debug, clap::Subcommand)]
pub(super) enum GrantCommand {
    /// Make a grant and print its first refresh token.
    Create(Create),
    /// List live grants.
    List(List),
    /// Revoke one grant, or all that match.
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    management: ManagementArgs,
    /// The client that the grant is for.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The end user.
    #[arg(long)]
    sub: Option<String>,
    /// What is granted, separated by spaces.
    #[arg(long)]
    scope: Option<String>,
    /// The thumbprint of the key that may refresh; needed for public clients. See `keybound proof thumbprint`.
    #[arg(long, value_name = "THUMBPRINT", conflicts_with = "key")]
    jkt: Option<String>,
    /// The key file whose thumbprint is meant, instead of --jkt.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Authorization details (RFC 9396) as a JSON array.
    #[arg(long, value_name = "JSON")]
    authorization_details: Option<String>,
    /// A resource that the grant is limited to, by its URL or audience; may be given more than once.
    #[arg(long, value_name = "URI")]
    resource: Vec<String>,
    /// Write the refresh token into this file, readable by its owner only, instead of printing it.
    #[arg(long, value_name = "FILE")]
    refresh_token_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Grants of this end user.
    #[arg(long)]
    sub: Option<String>,
    /// Grants of this client.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Grants bound to the key with this thumbprint.
    #[arg(long, value_name = "THUMBPRINT")]
    jkt: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    management: ManagementArgs,
    #[command(flatten)]
    filter: Filter,
    /// Where to go on: the `cursor` of the page before.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    management: ManagementArgs,
    /// The grant to revoke.
    #[arg(conflicts_with_all = ["sub", "client_id", "jkt"], required_unless_present_any = ["sub", "client_id", "jkt"])]
    grant_id: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

impl GrantCommand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => {
                let mut query = list.filter.query();
                query.extend(list.cursor.as_deref().map(|cursor| ("cursor", cursor)));
                print_json(&list.management.connect()?.send(Method::GET, "/admin/grants", &query, None).await?);
                Ok(())
            }
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), CliError> {
        let grant = self.grant()?;
        let mut created = self.management.connect()?.send(Method::POST, "/admin/grants", &[], Some(&grant)).await?;
        if let (Some(path), Some(created)) = (&self.refresh_token_file, created.as_object_mut()) {
            let token = created.remove("refresh_token");
            let token = token
                .as_ref()
                .and_then(Value::as_str)
                .ok_or_else(|| CliError::Refused("the service answered without a refresh token".to_owned()))?;
            files::replace_secret(path, token, "refresh token")?;
        }
        print_json(&created);
        Ok(())
    }

    fn grant(&self) -> Result<Value, CliError> {
        let key = self.key.as_deref().map(files::read_key).transpose()?;
        let jkt = key.map(|key| key.jkt().to_string()).or_else(|| self.jkt.clone());
        let details = self.authorization_details.as_deref().map(serde_json::from_str::<Value>).transpose();
        let details = details.map_err(|error| CliError::Usage(format!("--authorization-details is not JSON: {error}")))?;
        let members = [
            ("client_id", Some(json!(self.client_id))),
            ("sub", self.sub.as_ref().map(|sub| json!(sub))),
            ("scope", self.scope.as_ref().map(|scope| json!(scope))),
            ("jkt", jkt.map(|jkt| json!(jkt))),
            ("authorization_details", details),
            ("resource", (!self.resource.is_empty()).then(|| json!(self.resource))),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok(Value::Object(members.collect::<Map<_, _>>()))
    }
}

impl Revoke {
    async fn run(self) -> Result<(), CliError> {
        let service = self.management.connect()?;
        match &self.grant_id {
            Some(id) => {
                service.send(Method::DELETE, &format!("/admin/grants/{}", segment(id)), &[], None).await?;
                say(format_args!("revoked {id}"));
            }
            None => print_json(&service.send(Method::DELETE, "/admin/grants", &self.filter.query(), None).await?),
        }
        Ok(())
    }
}

impl Filter {
    fn query(&self) -> Vec<(&str, &str)> {
        let filters = [("sub", &self.sub), ("client_id", &self.client_id), ("jkt", &self.jkt)];
        filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }
}
