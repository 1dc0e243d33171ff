//! The environment and the flags over the file.

use std::path::Path;

use serde::Deserialize as _;
use toml::{Table, Value};

use crate::config::{Config, ConfigError, file::without_values};

/// Keys that the command line sets: `("dpop.nonce", "required")`, in order.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Key, with dots, and value; the value is read as a variable's is.
    pub set: Vec<(String, String)>,
}

const PREFIX: &str = "KEYBOUND__";

/// Applies every `KEYBOUND__` variable to `table`, in the order of their names.
pub(super) fn environment(table: &mut Table, env: impl IntoIterator<Item = (String, String)>) -> Result<(), ConfigError> {
    let mut variables: Vec<(String, String)> = env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    for (name, value) in variables {
        let path = name[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
        let wrong = |message| ConfigError::Variable { name: name.clone(), message };
        let Err(message) = set(table, &path, &value) else { continue };
        match path.strip_suffix("_file") {
            // `management.token_file` is a key of its own and never comes here.
            Some(path) if message.starts_with(UNKNOWN) => {
                let content = read_value(Path::new(&value), &name)?;
                set(table, path, &content).map_err(wrong)?;
            }
            _ => return Err(wrong(message)),
        }
    }
    Ok(())
}

/// Applies the flags to `table`.
pub(super) fn flags(table: &mut Table, flags: &Flags) -> Result<(), ConfigError> {
    for (key, value) in &flags.set {
        set(table, key, value).map_err(|message| ConfigError::Flag { key: key.clone(), message })?;
    }
    Ok(())
}

/// The table as a configuration, or what is wrong with it.
pub(super) fn typed(table: Table) -> Result<Config, String> {
    Config::deserialize(table).map_err(|error| without_values(error.message()))
}

/// The content of a file that holds one value, less one line end.
pub(super) fn read_value(path: &Path, named_by: &str) -> Result<String, ConfigError> {
    let mut content = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        named_by: named_by.to_owned(),
        reason: error.to_string(),
    })?;
    let trimmed = content.strip_suffix('\n').map_or(content.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    content.truncate(trimmed);
    Ok(content)
}

/// What serde's message begins with where a key is unknown.
const UNKNOWN: &str = "unknown field";

/// Sets one key from text. The type of the key decides how the text is read: as itself, as TOML, as JSON, and where a list is
/// wanted, with commas; the first reading that fits is taken. So a token of digits stays text, and a number becomes one.
fn set(table: &mut Table, path: &str, text: &str) -> Result<(), String> {
    let mut attempt = |value| {
        let mut changed = table.clone();
        place(&mut changed, path, value)?;
        typed(changed.clone()).map(|_| *table = changed)
    };
    let Err(refused) = attempt(Value::String(text.to_owned())) else { return Ok(()) };
    let toml = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    let json = serde_json::from_str::<Value>(text).ok();
    let mut other_refusal = None;
    for value in [toml, json].into_iter().flatten() {
        let Err(message) = attempt(value) else { return Ok(()) };
        other_refusal = Some(message);
    }
    if !refused.contains("expected a sequence") {
        return Err(refused);
    }
    let items = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
    attempt(Value::Array(items)).map_err(|message| other_refusal.unwrap_or(message))
}

fn place(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    let (parents, last) = path.rsplit_once('.').map_or((None, path), |(parents, last)| (Some(parents), last));
    let mut here = table;
    let mut parts = parents.into_iter().flat_map(|parents| parents.split('.')).peekable();
    while let Some(part) = parts.next() {
        let next = here.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let next = match next {
            Value::Array(entries) => {
                let index = parts.next().ok_or_else(|| format!("`{part}` is a list: set all of it, or name a key of one entry"))?;
                index
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| entries.get_mut(index))
                    .ok_or_else(|| format!("`{part}` has no entry {index}"))?
            }
            other => other,
        };
        here = next.as_table_mut().ok_or_else(|| format!("`{part}` is not a section"))?;
    }
    here.insert(last.to_owned(), value);
    Ok(())
}
