use serde_json::json;

use super::*;
use crate::clock::OsEntropy;
use crate::domain::ClientMetadata;
use crate::domain::Scope;
use crate::domain::resource::Resource;

fn client(types: &[&str]) -> Client {
    let metadata: ClientMetadata = serde_json::from_value(json!({"client_id": "app", "authorization_details_types": types})).unwrap();
    metadata.validate(false, &mut OsEntropy).unwrap()
}

fn types() -> DetailsTypes {
    let shipped = ["account_information", "payment_initiation"].map(|name| DetailsType::builtin(name).unwrap());
    DetailsTypes::new(shipped.into()).unwrap()
}

fn details(value: Value) -> AuthorizationDetails {
    AuthorizationDetails::from_value(value).unwrap()
}

fn account() -> Value {
    json!({"type": "account_information", "actions": ["list_accounts", "read_balances"], "locations": ["https://example.com/accounts"],
        "data_types": ["accounts", "balances"], "identifier": "account-12345", "constraints": {"max_transactions": 5}})
}

fn payment() -> Value {
    json!({"type": "payment_initiation", "actions": ["initiate", "status", "cancel"], "locations": ["https://example.com/payments"],
        "instructedAmount": {"currency": "EUR", "amount": "123.50"}, "creditorName": "Merchant A",
        "creditorAccount": {"iban": "DE02100100109307118603"}, "remittanceInformationUnstructured": "Ref Number Merchant"})
}

fn with(mut entry: Value, pointer: &str, value: Value) -> Value {
    if let Some(place) = entry.pointer_mut(pointer) {
        *place = value;
        return entry;
    }
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    entry.pointer_mut(parent).unwrap()[name] = value;
    entry
}

fn without(mut entry: Value, name: &str) -> Value {
    entry.as_object_mut().unwrap().remove(name);
    entry
}

fn judged(entry: Value) -> Result<(), String> {
    let client = client(&["account_information", "payment_initiation"]);
    types().judge(&details(json!([account(), entry])), &client).map_err(|error| error.to_string())
}

fn narrowed(request: Value, granted: Value) -> Result<Value, String> {
    let granted = details(granted).into_inner();
    let narrowed = types().narrow(&details(request), &granted).map_err(|error| error.to_string())?;
    Ok(narrowed.into_iter().map(Value::Object).collect())
}

/// RAR-02: which entry, which member.
#[test]
fn an_entry_that_its_type_does_not_want_is_refused_by_name() {
    assert_eq!(judged(account()), Ok(()));
    assert_eq!(judged(payment()), Ok(()));
    for (entry, problem) in [
        (json!({"type": "card"}), "has a type that is not known here"),
        (json!({"type": "Account_information"}), "has a type that is not known here"),
        (with(account(), "/extra", json!(1)), "has a member extra, which its type does not know"),
        (with(account(), "/actions", json!("list_accounts")), "has a member actions that has the wrong type"),
        (with(account(), "/actions/1", json!("delete")), "has a member actions/1 that has a value that is not allowed"),
        (with(account(), "/actions", json!([])), "has a member actions that is too short"),
        (with(account(), "/identifier", json!(7)), "has a member identifier that has the wrong type"),
        (with(account(), "/locations/0", json!("not a uri")), "has a member locations/0 that is malformed"),
        (without(account(), "actions"), "has no member actions"),
        (without(payment(), "instructedAmount"), "has no member instructedAmount"),
        (with(payment(), "/instructedAmount", json!({"amount": "1"})), "has no member instructedAmount/currency"),
        (with(payment(), "/instructedAmount/amount", json!("-1")), "has a member instructedAmount/amount that is malformed"),
        (with(payment(), "/instructedAmount/amount", json!(1)), "has a member instructedAmount/amount that has the wrong type"),
        (with(payment(), "/creditorAccount/bic", json!("X")), "has a member creditorAccount/bic, which its type does not know"),
    ] {
        assert_eq!(judged(entry), Err(format!("entry 1 of authorization_details {problem}")));
    }
}

/// RAR-02, RAR-09
#[test]
fn a_client_uses_the_types_it_is_registered_for() {
    let asked = details(json!([account()]));
    assert_eq!(types().judge(&asked, &client(&["account_information"])), Ok(()));
    let refused = types().judge(&asked, &client(&["payment_initiation"])).unwrap_err();
    assert_eq!(refused, RefusedDetails { position: 0, problem: DetailsProblem::TypeNotAllowed });
}

/// RAR-02: with nothing registered, what the client is registered for is all that is asked.
#[test]
fn without_registered_types_any_members_are_allowed() {
    let none = DetailsTypes::default();
    let asked = details(json!([{"type": "anything", "members": {"of": "any kind"}}]));
    assert_eq!(none.judge(&asked, &client(&["anything"])), Ok(()));
    assert_eq!(none.judge(&asked, &client(&[])).unwrap_err().problem, DetailsProblem::TypeNotAllowed);
    assert_eq!(none.narrow(&asked, asked.as_slice()).unwrap(), asked.as_slice());
    let more = details(json!([{"type": "anything", "more": 1}]));
    assert_eq!(none.narrow(&more, asked.as_slice()).unwrap_err().problem, DetailsProblem::NotCovered { member: None });
}

/// RAR-03, RAR-04, RAR-05
#[test]
fn each_member_is_narrowed_by_its_own_rule() {
    let granted = || json!([account(), payment()]);
    assert_eq!(narrowed(granted(), granted()), Ok(granted()));
    assert_eq!(narrowed(json!([]), granted()), Ok(json!([])));
    assert_eq!(narrowed(json!([{"type": "account_information"}]), granted()), Ok(json!([account()])), "what is left out stays");

    let fewer = json!({"type": "account_information", "actions": ["read_balances"], "data_types": ["balances"]});
    let effective = with(with(account(), "/actions", json!(["read_balances"])), "/data_types", json!(["balances"]));
    assert_eq!(narrowed(json!([fewer]), granted()), Ok(json!([effective])));

    let cheaper = json!({"type": "payment_initiation", "instructedAmount": {"amount": "99.999"}});
    let effective = with(payment(), "/instructedAmount/amount", json!("99.999"));
    assert_eq!(narrowed(json!([cheaper]), granted()), Ok(json!([effective])), "a member of a member, and its neighbour stays");
}

/// RAR-03, RAR-04, RAR-10
#[test]
fn what_exceeds_the_grant_is_refused_by_entry_and_member() {
    let granted = || json!([without(account(), "constraints"), payment()]);
    let account = |name: &str, value: Value| with(json!({"type": "account_information"}), &format!("/{name}"), value);
    let payment = |name: &str, value: Value| with(json!({"type": "payment_initiation"}), &format!("/{name}"), value);
    for (entry, problem) in [
        (account("actions", json!(["read_transactions"])), "is not covered by what was granted: actions"),
        (account("actions", json!(["read_balances", "read_transactions"])), "is not covered by what was granted: actions"),
        (account("actions", json!([])), "has a member actions that is too short"),
        (account("actions", json!("read_balances")), "has a member actions that has the wrong type"),
        (account("locations", json!(["https://example.com/accounts/"])), "is not covered by what was granted: locations"),
        (account("identifier", json!("account-1234")), "is not covered by what was granted: identifier"),
        (account("constraints", json!({})), "is not covered by what was granted: constraints"),
        (account("more", json!(1)), "has a member more, which its type does not know"),
        (payment("instructedAmount", json!({"amount": "123.51"})), "is not covered by what was granted: instructedAmount/amount"),
        (payment("instructedAmount", json!({"currency": "USD"})), "is not covered by what was granted: instructedAmount/currency"),
        (payment("creditorName", json!("Merchant B")), "is not covered by what was granted: creditorName"),
        (json!({"type": "card"}), "has a type that is not known here"),
    ] {
        let refused = narrowed(json!([{"type": "payment_initiation"}, entry]), granted());
        assert_eq!(refused, Err(format!("entry 1 of authorization_details {problem}")));
    }
}

/// RAR-03: one entry of the type is enough, and parts of two never add up.
#[test]
fn any_granted_entry_of_the_type_may_cover() {
    let one = |id: &str, action: &str| json!({"type": "account_information", "identifier": id, "actions": [action]});
    let granted = json!([one("1", "list_accounts"), one("2", "read_balances")]);
    for entry in [one("1", "list_accounts"), one("2", "read_balances")] {
        assert_eq!(narrowed(json!([entry.clone()]), granted.clone()), Ok(json!([entry])));
    }
    let mixed = narrowed(json!([one("1", "read_balances")]), granted);
    assert_eq!(mixed, Err("entry 0 of authorization_details is not covered by what was granted".to_owned()));
}

/// RAR-04: a number too, and equal is equal however it is written.
#[test]
fn amounts_may_be_numbers() {
    let rules = BTreeMap::from([("limit".to_owned(), Narrow::AtMost)]);
    let types = DetailsTypes::new(vec![DetailsType::new("t").unwrap().with_narrowing(rules)]).unwrap();
    let granted = details(json!([{"type": "t", "limit": 10, "huge": 1e300}])).into_inner();
    let covers = |limit: Value| types.narrow(&details(json!([{"type": "t", "limit": limit}])), &granted).is_ok();
    assert!(covers(json!(10)) && covers(json!(9.5)) && covers(json!(0)));
    assert!(!covers(json!(10.5)) && !covers(json!(-1)) && !covers(json!("9")) && !covers(json!(null)));
    let same = details(json!([{"type": "t", "huge": 1e300}]));
    assert!(types.narrow(&same, &granted).is_ok());
}

/// RAR-10: what a client wrote can't break out of the description.
#[test]
fn a_refusal_is_ascii_whatever_the_client_wrote() {
    for name in ["\"", "\\", "\u{e9}\u{1f511}", "a\r\nb", &"x".repeat(500)] {
        let problem = judged(with(account(), "/extra", json!(1)).as_object().map_or(Value::Null, |entry| {
            let mut entry = entry.clone();
            entry.remove("extra");
            entry.insert(name.to_owned(), json!("a secret value"));
            Value::Object(entry)
        }));
        let text = problem.unwrap_err();
        assert!(text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{text}");
        assert!(text.len() < 200 && !text.contains("secret"), "{text}");
    }
}

/// RAR-08
#[test]
fn a_token_carries_what_is_for_its_audience_where_the_type_says_so() {
    let resource = |id: &str| Resource {
        id: id.to_owned(),
        url: format!("https://api.example.com/{id}"),
        audience: format!("urn:{id}"),
        scopes: Scope::default(),
    };
    let resources = Resources::new(vec![resource("a"), resource("b")], "https://as.example.com".to_owned());
    let granted = details(json!([
        {"type": "t", "locations": ["https://api.example.com/a/v1"]},
        {"type": "t", "locations": ["https://api.example.com/b", "https://elsewhere.example.com"]},
        {"type": "t"}
    ]))
    .into_inner();
    let kept = |filter: bool, audience: &str| {
        let types = DetailsTypes::new(vec![DetailsType::new("t").unwrap().filtered_by_locations(filter)]).unwrap();
        let kept = types.for_audience(&granted, &[audience.to_owned()], &resources);
        granted.iter().map(|entry| kept.contains(entry)).collect::<Vec<_>>()
    };
    assert_eq!(kept(true, "urn:a"), [true, false, true]);
    assert_eq!(kept(true, "urn:b"), [false, true, true]);
    assert_eq!(kept(true, "https://as.example.com"), [false, true, true]);
    assert_eq!(kept(false, "urn:a"), [true, true, true]);
}

#[test]
fn a_type_that_means_nothing_is_not_registered() {
    for name in ["", "with space", "\u{e9}", &"x".repeat(201)] {
        assert_eq!(DetailsType::new(name).unwrap_err(), BadDetailsType::Name);
    }
    assert!(DetailsType::new("https://example.com/types/account").is_ok());
    let schema = |schema: Value| DetailsType::new("t").unwrap().with_schema(&schema);
    assert!(schema(json!({"type": "object"})).is_ok());
    for bad in [json!({"type": "no such type"}), json!({"$ref": "https://example.com/schema.json"}), json!([]), json!({"pattern": "("})] {
        assert!(matches!(schema(bad.clone()), Err(BadDetailsType::Schema(_))), "{bad}");
    }
    assert_eq!(DetailsType::builtin("card").unwrap_err(), BadDetailsType::NotBuiltIn);
    let twice = [(); 2].map(|()| DetailsType::new("t").unwrap());
    assert_eq!(DetailsTypes::new(twice.into()).unwrap_err(), BadDetailsType::Twice);
}
