//! `keybound config …`.

use std::path::PathBuf;

use crate::cli::{CliError, say};
use crate::config::{Config, Flags};

/// Check a configuration, or print the default one.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Read the configuration as `serve` does and say what is wrong with it. Starts nothing and touches no key.
    Check(ConfigArgs),
    /// Print every key with its default, its unit and its reason.
    Default,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration file (TOML). Without it: the defaults, and the environment over them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key over file and environment, as in --set dpop.nonce=required; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

impl ConfigArgs {
    pub(super) fn load(self) -> Result<Config, CliError> {
        // Other variables are not ours, whatever bytes they hold.
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Config::load(self.config.as_deref(), environment, &Flags { set: self.set })?)
    }
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Check(arguments) => {
                let config = arguments.load()?;
                say(format_args!("the configuration is good: {} on {}", config.issuer, config.listen.public));
            }
            Self::Default => say(Config::DEFAULT_TOML.trim_end()),
        }
        Ok(())
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}
