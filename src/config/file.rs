//! Reading the file, so that an error names the key and the line.

use std::path::Path;

use crate::config::{Config, ConfigError};

/// The table in `path`, after a check that every key is known and every value has its type.
pub(super) fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        named_by: "--config".to_owned(),
        reason: error.to_string(),
    })?;
    parse(path, &text)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    toml::from_str::<Config>(text).map_err(|error| located(path, text, error))?;
    toml::from_str(text).map_err(|error| located(path, text, error))
}

fn located(path: &Path, text: &str, mut error: toml::de::Error) -> ConfigError {
    let before = &text[..text.floor_char_boundary(error.span().map_or(0, |span| span.start))];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    // Without the input the error prints the key instead of the line of the file, which may hold a secret.
    error.set_input(None);
    let printed = error.to_string();
    let key = printed.trim_end().rsplit_once("\nin `").and_then(|(_, key)| key.strip_suffix('`')).unwrap_or_default();
    ConfigError::File { path: path.to_owned(), line, column, key: key.to_owned(), message: without_values(error.message()) }
}

/// The message of an error without the value that it quotes: a value at the wrong place may be a secret.
pub(super) fn without_values(message: &str) -> String {
    for found in ["string", "integer", "floating point", "boolean"] {
        for start in ["invalid type: ", "invalid value: "] {
            if let Some(rest) = message.strip_prefix(start)
                && rest.starts_with(found)
                && let Some((_, expected)) = rest.rsplit_once(", expected ")
            {
                return format!("{start}{found}, expected {expected}");
            }
        }
    }
    message.to_owned()
}
