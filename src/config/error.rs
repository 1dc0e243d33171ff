//! What can be wrong with a configuration.

use std::path::PathBuf;

/// Why a configuration is refused. No variant holds the value of a key, as any value may be a misplaced secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that is named by the command line, a variable or a key can't be read.
    #[error("{}: {reason} (named by {named_by})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What names it.
        named_by: String,
        /// What the operating system says.
        reason: String,
    },
    /// The file is not TOML, holds an unknown key, or a value of the wrong type.
    #[error("{}:{line}:{column}: {message}{}", path.display(), in_key(key))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The key, with dots; empty where the text is not TOML.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A variable of the environment names no key, or holds a value of the wrong type.
    #[error("environment variable {name}: {message}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A flag names no key, or holds a value of the wrong type.
    #[error("--set {key}: {message}")]
    Flag {
        /// The key that it names.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A value is out of range or contradicts another.
    #[error("{key}: {message}")]
    Invalid {
        /// The key, with dots.
        key: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

fn in_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" (in `{key}`)") }
}
