//! Registered types of authorization details (RFC 9396): what an entry must look like, and how it may be narrowed.

use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use crate::domain::authorization_details::{self, AuthorizationDetails};
use crate::domain::client::Client;
use crate::domain::resource::Resources;

mod builtin;
mod decimal;

/// One registered `type`.
#[derive(Clone, Debug)]
pub struct DetailsType {
    name: String,
    schema: Option<Validator>,
    narrow: BTreeMap<String, Narrow>,
    filter_by_locations: bool,
}

/// How a member may be narrowed. A member without a rule is [`Narrow::Equal`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Narrow {
    /// It may not: the requested value equals the granted one.
    Equal,
    /// A non-empty array of items of the granted one. An empty one is refused: it could mean "no limit" to whoever reads it.
    Subset,
    /// A number, or a string of decimal digits as amounts of money have it, from zero up to the granted one. Compared digit by
    /// digit, never as a binary fraction.
    AtMost,
    /// An object, member by member; what the request leaves out keeps its granted value.
    Members(BTreeMap<String, Narrow>),
}

impl DetailsType {
    /// The longest name, in bytes.
    pub const MAX_NAME_LEN: usize = 200;

    /// A type without a schema: entries may have any members. Nothing can be narrowed yet.
    ///
    /// # Errors
    /// [`BadDetailsType::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, BadDetailsType> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::MAX_NAME_LEN || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadDetailsType::Name);
        }
        Ok(Self { name, schema: None, narrow: BTreeMap::new(), filter_by_locations: false })
    }

    /// Entries must satisfy this JSON Schema (draft 2020-12 unless `$schema` names another). `pattern` is matched in linear time;
    /// nothing outside of the schema is ever fetched.
    ///
    /// # Errors
    /// [`BadDetailsType::Schema`], with what the schema compiler says.
    pub fn with_schema(self, schema: &Value) -> Result<Self, BadDetailsType> {
        let options = jsonschema::options().should_validate_formats(true).with_pattern_options(PatternOptions::regex());
        let schema = options.build(schema).map_err(|error| BadDetailsType::Schema(error.to_string()))?;
        Ok(Self { schema: Some(schema), ..self })
    }

    /// How each member may be narrowed.
    #[must_use]
    pub fn with_narrowing(self, narrow: BTreeMap<String, Narrow>) -> Self {
        Self { narrow, ..self }
    }

    /// Whether an access token carries only the entries whose `locations` are served by its audience (RFC 9396 section 9.1).
    #[must_use]
    pub fn filtered_by_locations(self, filter_by_locations: bool) -> Self {
        Self { filter_by_locations, ..self }
    }

    /// The `type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Judges a whole entry.
    fn check(&self, entry: &Map<String, Value>) -> Result<(), DetailsProblem> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let entry = Value::Object(entry.clone());
        schema.iter_errors(&entry).next().map_or(Ok(()), |error| Err(describe(&error)))
    }

    /// Judges what a narrowing request names: what it leaves out is not missing, but keeps its granted value.
    fn check_part(&self, entry: &Map<String, Value>) -> Result<(), DetailsProblem> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let entry = Value::Object(entry.clone());
        schema.iter_errors(&entry).find(|error| !may_be_for_lack(error.kind())).map_or(Ok(()), |error| Err(describe(&error)))
    }
}

/// Every registered type. Where none is registered, a client may use the types it is registered for, with any members, narrowed by
/// the rule of [`authorization_details::narrow`].
#[derive(Clone, Debug, Default)]
pub struct DetailsTypes(BTreeMap<String, DetailsType>);

impl DetailsTypes {
    /// The registry.
    ///
    /// # Errors
    /// [`BadDetailsType::Twice`].
    pub fn new(types: Vec<DetailsType>) -> Result<Self, BadDetailsType> {
        let mut by_name = BTreeMap::new();
        for one in types {
            if by_name.insert(one.name.clone(), one).is_some() {
                return Err(BadDetailsType::Twice);
            }
        }
        Ok(Self(by_name))
    }

    /// Whether no type is registered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the types, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Judges details that a client asks to be granted (RFC 9396 section 5): each `type` is known and the client is registered for
    /// it, and each entry is what its type wants.
    ///
    /// Not checked: whether anybody wants to grant them.
    ///
    /// # Errors
    /// [`RefusedDetails`] names the first entry that is not, and its member.
    pub fn judge(&self, details: &AuthorizationDetails, client: &Client) -> Result<(), RefusedDetails> {
        for (position, name) in details.types().enumerate() {
            self.find(name).map_err(|problem| RefusedDetails { position, problem })?;
            if !client.allows_details_type(name) {
                return Err(RefusedDetails { position, problem: DetailsProblem::TypeNotAllowed });
            }
        }
        self.check(details)
    }

    /// [`judge`](Self::judge) without the client: each `type` is known, and each entry is what its type wants.
    ///
    /// # Errors
    /// [`RefusedDetails`] names the first entry that is not, and its member.
    pub fn check(&self, details: &AuthorizationDetails) -> Result<(), RefusedDetails> {
        for (position, entry) in details.as_slice().iter().enumerate() {
            let known = self.find(type_of(entry));
            known
                .and_then(|known| known.map_or(Ok(()), |known| known.check(entry)))
                .map_err(|problem| RefusedDetails { position, problem })?;
        }
        Ok(())
    }

    /// What of `granted` the request asks for (RFC 9396 section 6.1), by the rules of each type. Any granted entry of its type may
    /// cover an entry; what an entry leaves out keeps its granted value.
    ///
    /// # Errors
    /// [`RefusedDetails`] names the first entry that is malformed or that no granted one covers.
    pub fn narrow(
        &self,
        requested: &AuthorizationDetails,
        granted: &[Map<String, Value>],
    ) -> Result<Vec<Map<String, Value>>, RefusedDetails> {
        if self.is_empty() {
            return authorization_details::narrow(requested, granted)
                .map_err(|error| RefusedDetails { position: error.position, problem: DetailsProblem::NotCovered { member: None } });
        }
        let narrow = |(position, entry)| self.narrow_entry(entry, granted).map_err(|problem| RefusedDetails { position, problem });
        requested.as_slice().iter().enumerate().map(narrow).collect()
    }

    /// What of `granted` an access token for `audience` carries: without the entries that are for other resource servers, where
    /// their type is filtered by `locations`. An entry without `locations` is for all.
    pub fn for_audience(&self, granted: &[Map<String, Value>], audience: &[String], resources: &Resources) -> Vec<Map<String, Value>> {
        let is_for = |entry: &&Map<String, Value>| {
            if !self.0.get(type_of(entry)).is_some_and(|known| known.filter_by_locations) {
                return true;
            }
            let Some(Value::Array(locations)) = entry.get("locations") else { return true };
            locations.iter().filter_map(Value::as_str).any(|location| resources.serve(location, audience))
        };
        granted.iter().filter(is_for).cloned().collect()
    }

    /// The type of this name; `None` where types have no rules at all.
    fn find(&self, name: &str) -> Result<Option<&DetailsType>, DetailsProblem> {
        match self.0.get(name) {
            Some(known) => Ok(Some(known)),
            None if self.is_empty() => Ok(None),
            None => Err(DetailsProblem::UnknownType),
        }
    }

    fn narrow_entry(&self, requested: &Map<String, Value>, granted: &[Map<String, Value>]) -> Result<Map<String, Value>, DetailsProblem> {
        let known = self.0.get(type_of(requested)).ok_or(DetailsProblem::UnknownType)?;
        known.check_part(requested)?;
        let mut candidates = granted.iter().filter(|own| type_of(own) == known.name).peekable();
        if candidates.peek().is_none() {
            return Err(DetailsProblem::NotCovered { member: None });
        }
        let mut reasons = Vec::new();
        for own in candidates {
            match narrow_members(&known.narrow, requested, own) {
                Ok(effective) => return known.check(&effective).map(|()| effective),
                Err(member) => reasons.push(member),
            }
        }
        // With several granted entries there is no telling which one was meant.
        let member = if let [one] = &reasons[..] { Some(shown(one)) } else { None };
        Err(DetailsProblem::NotCovered { member })
    }
}

/// The granted object with the requested members in it, or the path of the first member that is not covered.
fn narrow_members(
    rules: &BTreeMap<String, Narrow>,
    requested: &Map<String, Value>,
    granted: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut effective = granted.clone();
    for (name, value) in requested {
        // A member that was not granted is refused: a limit and an extra permission look alike.
        let own = granted.get(name).ok_or_else(|| name.clone())?;
        let rule = rules.get(name).unwrap_or(&Narrow::Equal);
        effective.insert(name.clone(), narrow_value(rule, value, own).map_err(|inner| format!("{name}{inner}"))?);
    }
    Ok(effective)
}

/// The effective value, or where below this value it is not covered.
fn narrow_value(rule: &Narrow, requested: &Value, granted: &Value) -> Result<Value, String> {
    if requested == granted {
        return Ok(granted.clone());
    }
    let covered = match (rule, requested, granted) {
        (Narrow::Members(rules), Value::Object(part), Value::Object(whole)) => {
            return narrow_members(rules, part, whole).map(Value::Object).map_err(|inner| format!("/{inner}"));
        }
        (Narrow::Subset, Value::Array(part), Value::Array(whole)) => !part.is_empty() && part.iter().all(|item| whole.contains(item)),
        (Narrow::AtMost, Value::String(part), Value::String(whole)) => decimal::at_most(part, whole),
        (Narrow::AtMost, Value::Number(part), Value::Number(whole)) => decimal::at_most(&part.to_string(), &whole.to_string()),
        _ => false,
    };
    if covered { Ok(requested.clone()) } else { Err(String::new()) }
}

/// Why authorization details are refused (`invalid_authorization_details`): which entry, which member. ASCII without quotes and
/// backslashes, and without any value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {position} of authorization_details {problem}")]
pub struct RefusedDetails {
    /// Which entry, counted from 0.
    pub position: usize,
    /// What is wrong with it.
    pub problem: DetailsProblem,
}

/// What is wrong with an entry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DetailsProblem {
    /// No such type is registered.
    #[error("has a type that is not known here")]
    UnknownType,
    /// The client is not registered for the type.
    #[error("has a type that the client is not registered for")]
    TypeNotAllowed,
    /// A member that the type needs is not there.
    #[error("has no member {member}")]
    Missing {
        /// Its path.
        member: String,
    },
    /// A member that the type does not know.
    #[error("has a member {member}, which its type does not know")]
    Unknown {
        /// Its path.
        member: String,
    },
    /// A member that is not what the type wants.
    #[error("has a member {member} that {problem}")]
    Unfit {
        /// Its path.
        member: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The entry as a whole is not what the type wants.
    #[error("breaks the rule {rule} of its type")]
    Rule {
        /// The keyword of the schema.
        rule: String,
    },
    /// No granted entry of the type covers it.
    #[error("is not covered by what was granted{}", at(.member))]
    NotCovered {
        /// The path of the member that exceeds the grant, where it is the only candidate.
        member: Option<String>,
    },
}

fn at(member: &Option<String>) -> String {
    member.as_ref().map_or_else(String::new, |member| format!(": {member}"))
}

/// Why a type can't be registered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadDetailsType {
    /// Its name.
    #[error("the type must be 1 to 200 visible ASCII characters")]
    Name,
    /// Its schema.
    #[error("the schema is not a JSON Schema: {0}")]
    Schema(String),
    /// No type of this name comes with Keybound.
    #[error("no type of this name is built in: there are account_information and payment_initiation")]
    NotBuiltIn,
    /// Two of one name.
    #[error("a type is registered twice")]
    Twice,
}

/// Whether an error may come from a member that is not there.
fn may_be_for_lack(kind: &ValidationErrorKind) -> bool {
    use ValidationErrorKind as Kind;
    matches!(kind, Kind::Required { .. } | Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::MinProperties { .. } | Kind::Not { .. })
}

fn describe(error: &ValidationError<'_>) -> DetailsProblem {
    use ValidationErrorKind as Kind;
    let path = error.instance_path().as_str().trim_start_matches('/');
    let below = |name: &str| shown(&if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") });
    let unfit = |problem: &str| DetailsProblem::Unfit { member: shown(path), problem: problem.to_owned() };
    match error.kind() {
        Kind::Required { property } => DetailsProblem::Missing { member: below(property.as_str().unwrap_or_default()) },
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            DetailsProblem::Unknown { member: below(unexpected.first().map_or("", String::as_str)) }
        }
        other if path.is_empty() => DetailsProblem::Rule { rule: shown(other.keyword()) },
        Kind::FalseSchema => DetailsProblem::Unknown { member: shown(path) },
        Kind::Type { .. } => unfit("has the wrong type"),
        Kind::Enum { .. } | Kind::Constant { .. } => unfit("has a value that is not allowed"),
        Kind::Pattern { .. } | Kind::Format { .. } => unfit("is malformed"),
        Kind::MinItems { .. } | Kind::MinLength { .. } | Kind::MinProperties { .. } => unfit("is too short"),
        Kind::MaxItems { .. } | Kind::MaxLength { .. } | Kind::MaxProperties { .. } => unfit("is too long"),
        Kind::Minimum { .. } | Kind::ExclusiveMinimum { .. } => unfit("is too small"),
        Kind::Maximum { .. } | Kind::ExclusiveMaximum { .. } => unfit("is too large"),
        other => unfit(&format!("breaks the rule {} of its type", shown(other.keyword()))),
    }
}

/// A name that a client chose, as an error description may hold it (RFC 6749 section 5.2).
fn shown(name: &str) -> String {
    let safe = |letter: char| if letter.is_ascii_graphic() && !matches!(letter, '"' | '\\') { letter } else { '?' };
    name.chars().take(MAX_SHOWN).map(safe).collect()
}

fn type_of(entry: &Map<String, Value>) -> &str {
    entry.get("type").and_then(Value::as_str).unwrap_or_default()
}

const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests;
