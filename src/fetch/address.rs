//! Which addresses may be asked, and by whose word.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::domain::FetchUrl;

/// How far a fetch may go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reach {
    /// Public addresses over https: for URLs that strangers wrote.
    Public,
    /// Public addresses over https, and this machine over either: for trying strangers' documents out.
    PublicOrLoopback,
    /// Any unicast address that is not link-local, over https, and this machine over either: for URLs that the operator wrote.
    Operator,
}

impl Reach {
    /// Whether this machine may be asked.
    pub const fn loopback(self) -> bool {
        matches!(self, Self::PublicOrLoopback | Self::Operator)
    }

    /// Whether `url` may be asked, as far as that can be told without resolving a name.
    pub fn allows_url(self, url: &FetchUrl) -> bool {
        // The resolver never sees a host that is an address.
        (self.loopback() || !url.is_loopback()) && url.address().is_none_or(|address| self.allows(address))
    }

    /// Whether `address` may be asked.
    pub fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            _ if address.is_loopback() => self.loopback(),
            Self::Public | Self::PublicOrLoopback => is_public(address),
            Self::Operator => !is_never_a_host(address),
        }
    }
}

/// Whether an address is on the public internet: none of the special-purpose blocks of RFC 6890 and its registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4_SPECIAL.iter().any(|(block, bits)| v4_in(address, *block, *bits)),
        // NAT64 (RFC 6052): the address behind it counts.
        IpAddr::V6(address) if v6_in(address, [0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96) => {
            let [.., a, b, c, d] = address.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        // Global unicast, and of it no block with a special purpose.
        IpAddr::V6(address) => {
            v6_in(address, [0x2000, 0, 0, 0, 0, 0, 0, 0], 3) && !V6_SPECIAL.iter().any(|(block, bits)| v6_in(address, *block, *bits))
        }
    }
}

/// Link-local addresses (where clouds answer with their machines' credentials), multicast, broadcast and "this host".
fn is_never_a_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_multicast() || address.octets()[0] == 0 || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified(),
    }
}

fn v4_in(address: Ipv4Addr, block: [u8; 4], bits: u32) -> bool {
    let mask = u32::MAX << (32 - bits);
    address.to_bits() & mask == Ipv4Addr::from(block).to_bits() & mask
}

fn v6_in(address: Ipv6Addr, block: [u16; 8], bits: u32) -> bool {
    let mask = u128::MAX << (128 - bits);
    address.to_bits() & mask == Ipv6Addr::from(block).to_bits() & mask
}

const V4_SPECIAL: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Inside 2000::/3: protocol assignments with Teredo, documentation twice, and 6to4, which holds an IPv4 address.
const V6_SPECIAL: [([u16; 8], u32); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_reach_public_addresses_only() {
        for public in
            ["8.8.8.8", "1.0.0.1", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert!(Reach::Public.allows(address(public)), "{public}");
        }
        for inside in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fec0::1",
            "fd00::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
        ] {
            assert!(!Reach::Public.allows(address(inside)), "{inside}");
        }
    }

    #[test]
    fn this_machine_is_reached_where_that_was_allowed() {
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!Reach::Public.allows(address(own)), "{own}");
            assert!(Reach::PublicOrLoopback.allows(address(own)) && Reach::Operator.allows(address(own)), "{own}");
        }
        assert!(!Reach::PublicOrLoopback.allows(address("10.0.0.1")));
    }

    #[test]
    fn the_operator_reaches_private_networks_and_no_link_local_address() {
        for inside in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1"] {
            assert!(Reach::Operator.allows(address(inside)), "{inside}");
        }
        for never in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"] {
            assert!(!Reach::Operator.allows(address(never)), "{never}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_judged_without_a_resolver() {
        let allows = |reach: Reach, text: &str| reach.allows_url(&FetchUrl::parse(text).unwrap());
        assert!(allows(Reach::Public, "https://8.8.8.8/x") && allows(Reach::Public, "https://client.example/x"));
        assert!(!allows(Reach::Public, "https://10.0.0.1/x") && allows(Reach::Operator, "https://10.0.0.1/x"));
        assert!(!allows(Reach::Public, "https://[::ffff:a00:1]/x"));
        assert!(!allows(Reach::Operator, "https://169.254.169.254/x"));
        for own in ["https://localhost/x", "http://127.0.0.1/x", "http://[::1]/x"] {
            assert!(!allows(Reach::Public, own) && allows(Reach::PublicOrLoopback, own), "{own}");
        }
    }
}
