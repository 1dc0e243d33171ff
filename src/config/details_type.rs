//! `[[authorization_details_type]]`: from what the file says to a type with a compiled schema.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Table;

use crate::config::AuthorizationDetailsType;
use crate::domain::details_types::{DetailsType, Narrow};

impl AuthorizationDetailsType {
    /// The type, with its schema read and compiled.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn build(&self) -> Result<DetailsType, (&'static str, String)> {
        let bad = |key: &'static str| move |error: crate::domain::details_types::BadDetailsType| (key, error.to_string());
        let mut built = match &self.schema {
            None => DetailsType::new(self.name.as_str()).map_err(bad("type"))?,
            Some(toml::Value::String(text)) if text == BUILTIN => DetailsType::builtin(&self.name).map_err(bad("schema"))?,
            Some(schema) => {
                let schema = read_schema(schema).map_err(|message| ("schema", message))?;
                DetailsType::new(self.name.as_str()).map_err(bad("type"))?.with_schema(&schema).map_err(bad("schema"))?
            }
        };
        if !self.narrow.is_empty() {
            built = built.with_narrowing(rules(&self.narrow).map_err(|message| ("narrow", message))?);
        }
        Ok(built.filtered_by_locations(self.filter_by_locations))
    }
}

/// A table is the schema itself; a string is its JSON text or the name of its file.
fn read_schema(schema: &toml::Value) -> Result<Value, String> {
    match schema {
        toml::Value::Table(_) => serde_json::to_value(schema).map_err(|error| error.to_string()),
        toml::Value::String(text) if text.trim_start().starts_with('{') => parse(text),
        toml::Value::String(path) => parse(&std::fs::read_to_string(path).map_err(|error| format!("can't read {path}: {error}"))?),
        _ => Err("must be a table, JSON text, the name of a file or \"builtin\"".to_owned()),
    }
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

fn rules(table: &Table) -> Result<BTreeMap<String, Narrow>, String> {
    let rule = |(name, value): (&String, &toml::Value)| {
        let rule = match value {
            toml::Value::String(text) => match text.as_str() {
                "equal" => Narrow::Equal,
                "subset" => Narrow::Subset,
                "at_most" => Narrow::AtMost,
                _ => return Err(format!("{name} must be \"equal\", \"subset\", \"at_most\" or a table of these")),
            },
            toml::Value::Table(members) => Narrow::Members(rules(members)?),
            _ => return Err(format!("{name} must be \"equal\", \"subset\", \"at_most\" or a table of these")),
        };
        Ok((name.clone(), rule))
    };
    table.iter().map(rule).collect()
}

const BUILTIN: &str = "builtin";
