//! How a command can fail, and the exit code of each way.

use crate::config::ConfigError;

/// The exit code for a wrong command line or configuration; clap uses the same.
pub(super) const USAGE: u8 = 2;

/// Why a command did not succeed. The texts are for people and say what to do next where that is known.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The answer is no: a service refused, or a check failed. Exit code 1.
    #[error("{0}")]
    Refused(String),
    /// The command line asks for something that can't be. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong. Exit code 2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something could not be reached, read or written. Exit code 3.
    #[error("{0}")]
    Unusable(String),
}

impl CliError {
    /// The exit code of the process.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) | Self::Config(_) => USAGE,
            Self::Unusable(_) => 3,
        }
    }
}
