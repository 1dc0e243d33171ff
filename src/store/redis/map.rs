//! Which server of a cluster has which slot, as its members see it.

use std::collections::HashMap;

use redis::Value;

use super::bytes;
use super::primary::Address;
use super::slot::SLOTS;

/// What one member says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View {
    /// First and last slot, and the id of the primary that has them.
    ranges: Vec<(u16, u16, String)>,
    addresses: HashMap<String, Address>,
    /// Grows when a node takes over slots.
    config_epochs: HashMap<String, u64>,
}

/// The primaries of a cluster, ordered by their first slot, and what they have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SlotMap {
    pub(super) primaries: Vec<Address>,
    /// For each slot, which of the primaries; [`SlotMap::NOBODY`] where none.
    pub(super) owners: Vec<u16>,
}

impl View {
    /// Reads the answers to `CLUSTER SLOTS` and `CLUSTER NODES` of the member that was reached at `asked`.
    ///
    /// `SLOTS` gives the addresses that clients should use, `NODES` the configuration epochs. `None` for anything of another form.
    pub(super) fn read(slots: Value, nodes: Value, asked: &Address) -> Option<Self> {
        let mut view = Self { ranges: Vec::new(), addresses: HashMap::new(), config_epochs: HashMap::new() };
        let Value::Array(entries) = slots else { return None };
        for entry in entries {
            let Value::Array(parts) = entry else { return None };
            let mut parts = parts.into_iter();
            let (first, last) = (number(parts.next()?)?, number(parts.next()?)?);
            if last >= SLOTS || first > last {
                return None;
            }
            let Value::Array(primary) = parts.next()? else { return None };
            let mut primary = primary.into_iter();
            let host = text(primary.next()?)?.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.0.clone());
            let port = number(primary.next()?)?;
            let id = text(primary.next()?)??;
            view.ranges.push((first, last, id.clone()));
            view.addresses.insert(id, Address(host, port));
        }
        for line in text(nodes)??.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if let [id, _, _, _, _, _, epoch, ..] = fields.as_slice() {
                view.config_epochs.insert((*id).to_owned(), epoch.parse().ok()?);
            }
        }
        Some(view)
    }
}

impl SlotMap {
    /// Nobody has the slot.
    pub(super) const NOBODY: u16 = u16::MAX;

    /// What several members say, together: each slot is had by whoever took it last, by the configuration epochs. So a member that was
    /// cut off from the others can't bring back a primary of the past. `None` where nobody said anything.
    pub(super) fn of(views: &[View]) -> Option<Self> {
        let mut latest: Vec<Option<(u64, &str)>> = vec![None; usize::from(SLOTS)];
        let mut addresses: HashMap<&str, &Address> = HashMap::new();
        for view in views {
            for (first, last, id) in &view.ranges {
                let epoch = view.config_epochs.get(id).copied().unwrap_or_default();
                for owner in &mut latest[usize::from(*first)..=usize::from(*last)] {
                    if owner.is_none_or(|(known, _)| known < epoch) {
                        *owner = Some((epoch, id));
                    }
                }
            }
            for (id, address) in &view.addresses {
                addresses.entry(id).or_insert(address);
            }
        }
        let mut map = Self { primaries: Vec::new(), owners: vec![Self::NOBODY; usize::from(SLOTS)] };
        let mut known: HashMap<&str, u16> = HashMap::new();
        for (slot, owner) in latest.iter().enumerate() {
            let Some((_, id)) = owner else { continue };
            let number = match known.get(id) {
                Some(number) => *number,
                None => {
                    let number = u16::try_from(map.primaries.len()).ok()?;
                    map.primaries.push((*addresses.get(id)?).clone());
                    known.insert(id, number);
                    number
                }
            };
            map.owners[slot] = number;
        }
        (!map.primaries.is_empty()).then_some(map)
    }

    /// Whether every slot is had by somebody.
    pub(super) fn is_whole(&self) -> bool {
        self.owners.iter().all(|&owner| owner != Self::NOBODY)
    }
}

fn number(value: Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(number).ok(),
        _ => None,
    }
}

/// A text; `Some(None)` for nil.
fn text(value: Value) -> Option<Option<String>> {
    match value {
        Value::VerbatimString { text, .. } => Some(Some(text)),
        other => bytes(other).ok()?.map(|bytes| String::from_utf8(bytes).ok()).map_or(Some(None), |text| text.map(Some)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value, port: i64, id: &str) -> Value {
        let primary = Value::Array(vec![host, Value::Int(port), word(id), Value::Array(vec![])]);
        let replica = Value::Array(vec![word("10.0.0.9"), Value::Int(1), word("r"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), primary, replica])
    }

    fn nodes(epochs: &[(&str, u64)]) -> Value {
        let line = |(id, epoch): &(&str, u64)| format!("{id} 10.0.0.1:1@10001 master - 0 1700000000000 {epoch} connected 0-9\n");
        word(&epochs.iter().map(line).collect::<String>())
    }

    fn asked() -> Address {
        Address("seed".to_owned(), 7000)
    }

    fn view(ranges: Vec<Value>, epochs: &[(&str, u64)]) -> View {
        View::read(Value::Array(ranges), nodes(epochs), &asked()).expect("readable")
    }

    fn at(host: &str, port: u16) -> Address {
        Address(host.to_owned(), port)
    }

    #[test]
    fn a_view_gives_each_slot_its_primary() {
        let view =
            view(vec![range(8192, 16_383, word("10.0.0.2"), 2, "b"), range(0, 8191, word("10.0.0.1"), 1, "a")], &[("a", 1), ("b", 2)]);
        let map = SlotMap::of(&[view]).unwrap();
        assert_eq!(map.primaries, [at("10.0.0.1", 1), at("10.0.0.2", 2)], "ordered by their first slot");
        assert_eq!((map.owners[0], map.owners[8191], map.owners[8192], map.owners[16_383]), (0, 0, 1, 1));
        assert!(map.is_whole());
    }

    /// R5: a member that was cut off does not bring back the primary of the past, in whatever order they are heard.
    #[test]
    fn whoever_took_a_slot_last_has_it() {
        let past = view(vec![range(0, 16_383, word("10.0.0.1"), 1, "a")], &[("a", 1), ("b", 0)]);
        let present = view(vec![range(0, 16_383, word("10.0.0.2"), 2, "b")], &[("a", 1), ("b", 2)]);
        for views in [[past.clone(), present.clone()], [present, past]] {
            assert_eq!(SlotMap::of(&views).unwrap().primaries, [at("10.0.0.2", 2)]);
        }
    }

    #[test]
    fn slots_that_nobody_has_are_told() {
        let map = SlotMap::of(&[view(vec![range(1, 16_383, word("10.0.0.1"), 1, "a")], &[("a", 1)])]).unwrap();
        assert_eq!((map.owners[0], map.owners[1], map.is_whole()), (SlotMap::NOBODY, 0, false));
        assert_eq!(SlotMap::of(&[]), None);
        assert_eq!(SlotMap::of(&[view(vec![], &[("a", 1)])]), None);
    }

    #[test]
    fn a_member_that_does_not_know_its_own_host_is_where_it_was_asked() {
        for host in [Value::Nil, word(""), word("?")] {
            let map = SlotMap::of(&[view(vec![range(0, 16_383, host, 7001, "a")], &[("a", 1)])]).unwrap();
            assert_eq!(map.primaries, [at("seed", 7001)]);
        }
    }

    #[test]
    fn answers_of_another_form_are_no_view() {
        let good = || range(0, 1, word("h"), 1, "a");
        for slots in [
            Value::Nil,
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(2, 1, word("h"), 1, "a")]),
            Value::Array(vec![range(0, 16_384, word("h"), 1, "a")]),
            Value::Array(vec![range(0, 1, word("h"), 65_536, "a")]),
            Value::Array(vec![range(-1, 1, word("h"), 1, "a")]),
        ] {
            assert_eq!(View::read(slots, nodes(&[]), &asked()), None);
        }
        assert_eq!(View::read(Value::Array(vec![good()]), Value::Nil, &asked()), None);
        assert_eq!(View::read(Value::Array(vec![good()]), word("a b c d e f x g\n"), &asked()), None);
        assert!(View::read(Value::Array(vec![good()]), nodes(&[("a", 1)]), &asked()).is_some());
    }
}
