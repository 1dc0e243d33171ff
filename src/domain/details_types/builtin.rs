//! Types that come with Keybound: examples that work as they are.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{BadDetailsType, DetailsType, Narrow};

impl DetailsType {
    /// One of the types that come with Keybound: `account_information` and `payment_initiation`, as `deploy/authorization-details`
    /// has them.
    ///
    /// # Errors
    /// [`BadDetailsType::NotBuiltIn`] for any other name.
    pub fn builtin(name: &str) -> Result<Self, BadDetailsType> {
        let (schema, narrow) = match name {
            "account_information" => (ACCOUNT_INFORMATION, ["actions", "locations", "data_types"].map(subset).into()),
            "payment_initiation" => {
                let amount = Narrow::Members(BTreeMap::from([("amount".to_owned(), Narrow::AtMost)]));
                let rules = [subset("actions"), subset("locations"), ("instructedAmount".to_owned(), amount)];
                (PAYMENT_INITIATION, BTreeMap::from(rules))
            }
            _ => return Err(BadDetailsType::NotBuiltIn),
        };
        let schema: Value = serde_json::from_str(schema).map_err(|error| BadDetailsType::Schema(error.to_string()))?;
        Ok(Self::new(name)?.with_schema(&schema)?.with_narrowing(narrow))
    }
}

fn subset(name: &str) -> (String, Narrow) {
    (name.to_owned(), Narrow::Subset)
}

const ACCOUNT_INFORMATION: &str = include_str!("../../../deploy/authorization-details/account_information.json");
const PAYMENT_INITIATION: &str = include_str!("../../../deploy/authorization-details/payment_initiation.json");
