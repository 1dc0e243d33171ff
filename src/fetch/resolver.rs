//! Names, resolved and checked in one step: what was checked is what is connected to.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::fetch::Reach;

/// The system's resolver, less the addresses that are out of reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuardedResolver {
    reach: Reach,
}

impl GuardedResolver {
    pub(super) const fn new(reach: Reach) -> Self {
        Self { reach }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            check(reach, &addresses)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// One address that is out of reach spoils the name: an honest one does not lead both outside and inside.
fn check(reach: Reach, addresses: &[SocketAddr]) -> Result<(), Refused> {
    if addresses.iter().all(|address| reach.allows(address.ip())) { Ok(()) } else { Err(Refused) }
}

/// The name has an address that may not be asked.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host has an address that may not be asked")]
pub(super) struct Refused;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_out_of_reach_spoils_the_name() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert!(check(Reach::Public, &addresses(&["8.8.8.8:0", "[2606:4700::1111]:0"])).is_ok());
        assert!(check(Reach::Public, &addresses(&["8.8.8.8:0", "10.0.0.1:0"])).is_err());
    }
}
