//! The names of the keys, and the slots they are in.

use keybound_proofs::ReplayKey;

use super::slot::{SLOTS, slot_of, tag_in};

/// Names and places of everything that is stored.
///
/// Claims are spread over buckets. A claim and the epoch record of its bucket are always on one server: in a cluster both hold the
/// bucket's hash tag. A single server has one bucket and no tags.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Vec<u8>,
    buckets: Vec<Bucket>,
    cluster: bool,
}

/// A part of the claims.
#[derive(Clone, Debug)]
struct Bucket {
    /// In braces; empty on a single server.
    tag: String,
    slot: u16,
}

impl Names {
    pub(super) const CLAIM: &[u8] = b"rp:";
    pub(super) const FAMILY: &[u8] = b"f:";
    pub(super) const CLIENT: &[u8] = b"c:";
    pub(super) const EPHEMERAL: &[u8] = b"e:";
    const EPOCH: &[u8] = b"kb:epoch";
    const MARK: &[u8] = b"kb:mark";

    /// How many buckets a cluster has: one for each value of a claim's first byte.
    const BUCKETS: u16 = 256;

    /// Names on a single server.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().to_vec(), buckets: vec![Bucket { tag: String::new(), slot: 0 }], cluster: false }
    }

    /// Names in a cluster.
    pub(super) fn in_cluster(prefix: &str) -> Self {
        const EACH: u16 = SLOTS / Names::BUCKETS;
        let bucket = |number: u16| {
            let tag = format!("{{{}}}", tag_in(number * EACH..(number + 1) * EACH));
            let slot = slot_of(tag.as_bytes());
            Bucket { tag, slot }
        };
        Self { prefix: prefix.as_bytes().to_vec(), buckets: (0..Self::BUCKETS).map(bucket).collect(), cluster: true }
    }

    pub(super) fn key(&self, kind: &[u8], name: &[u8]) -> Vec<u8> {
        [&self.prefix, kind, name].concat()
    }

    /// The slot of a key of this store; 0 on a single server, which has everything.
    pub(super) fn slot(&self, key: &[u8]) -> u16 {
        if self.cluster { slot_of(key) } else { 0 }
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The bucket of a claim.
    pub(super) fn bucket_of(&self, key: &ReplayKey) -> usize {
        usize::from(key.as_bytes()[0]) % self.buckets.len()
    }

    /// Where a bucket's claims and its epoch record are.
    pub(super) fn bucket_slot(&self, bucket: usize) -> u16 {
        self.buckets[bucket].slot
    }

    pub(super) fn claim(&self, bucket: usize, key: &ReplayKey) -> Vec<u8> {
        [&self.prefix, Self::CLAIM, self.buckets[bucket].tag.as_bytes(), key.as_bytes()].concat()
    }

    /// The epoch record of a bucket.
    pub(super) fn epoch(&self, bucket: usize) -> Vec<u8> {
        let tag = self.buckets[bucket].tag.as_bytes();
        let colon: &[u8] = if tag.is_empty() { b"" } else { b":" };
        [&self.prefix, Self::EPOCH, colon, tag].concat()
    }

    /// A key of no content in this slot.
    pub(super) fn mark(&self, slot: u16) -> Vec<u8> {
        let mut key = self.key(Self::MARK, b"");
        if self.cluster {
            key.extend(format!(":{{{}}}", tag_in(slot..slot + 1)).into_bytes());
        }
        key
    }

    /// A `MATCH` pattern for all keys of one kind. The prefix holds no character that means something in a pattern.
    pub(super) fn pattern(&self, kind: &[u8]) -> Vec<u8> {
        self.key(kind, b"*")
    }

    /// What stands after prefix and kind.
    pub(super) fn name_in<'a>(&self, kind: &[u8], key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.prefix.as_slice())?.strip_prefix(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(first: u8) -> ReplayKey {
        let mut key = [0x7b; ReplayKey::LEN];
        key[0] = first;
        ReplayKey::from_bytes(key)
    }

    /// R1: whatever bytes a claim has, it is on the server that has the epoch record of its bucket.
    #[test]
    fn a_claim_is_in_the_slot_of_its_epoch_record() {
        for prefix in ["", "a.b:"] {
            let names = Names::in_cluster(prefix);
            for first in 0..=u8::MAX {
                let bucket = names.bucket_of(&claim(first));
                assert_eq!(bucket, usize::from(first));
                assert_eq!(names.slot(&names.claim(bucket, &claim(first))), names.bucket_slot(bucket));
                assert_eq!(names.slot(&names.epoch(bucket)), names.bucket_slot(bucket));
                assert_eq!(usize::from(names.bucket_slot(bucket) / 64), bucket, "buckets are spread evenly");
            }
        }
    }

    #[test]
    fn a_single_server_has_one_bucket_and_names_without_tags() {
        let names = Names::new("p:");
        assert_eq!((names.buckets(), names.bucket_of(&claim(200)), names.slot(b"p:f:x")), (1, 0, 0));
        assert_eq!(names.epoch(0), b"p:kb:epoch");
        assert_eq!(names.mark(0), b"p:kb:mark");
        assert_eq!(names.claim(0, &claim(b'x')), [b"p:rp:x".as_slice(), &[0x7b; 15]].concat());
    }

    #[test]
    fn a_mark_is_in_the_slot_of_the_write_before_it() {
        let names = Names::in_cluster("p:");
        for slot in [0, 1, 8191, SLOTS - 1] {
            assert_eq!(names.slot(&names.mark(slot)), slot);
        }
    }
}
