//! The signature algorithms a proof may use.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A JWS signature algorithm for proofs: a closed set, all asymmetric (RFC 9449 section 4.2).
///
/// `none`, MACs and everything else have no value of this type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Alg {
    /// `ES256`: ECDSA with P-256 and SHA-256 (RFC 7518 section 3.4).
    Es256,
    /// `ES384`: ECDSA with P-384 and SHA-384 (RFC 7518 section 3.4).
    Es384,
    /// `PS256`: RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a 32-byte salt (RFC 7518 section 3.5).
    Ps256,
    /// `EdDSA`, here always with Ed25519 (RFC 8037 section 3.1).
    EdDsa,
    /// `Ed25519`, the fully specified name of the same algorithm (RFC 9864 section 2.2).
    Ed25519,
}

impl Alg {
    /// Every algorithm, in declaration order.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::Ps256, Self::EdDsa, Self::Ed25519];

    /// The registered name, as in the `alg` header parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm of this exact name; names are case-sensitive (RFC 7515 section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Alg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Alg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom("not one of ES256, ES384, PS256, EdDSA, Ed25519"))
    }
}

/// A set of algorithms: an allow-list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AlgSet(u8);

impl AlgSet {
    /// No algorithm at all.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Every algorithm of [`Alg`].
    pub fn all() -> Self {
        Alg::ALL.into_iter().collect()
    }

    /// What the FAPI 2.0 Security Profile allows (section 5.4.1): PS256, ES256, EdDSA with Ed25519, and its newer name.
    pub fn fapi2() -> Self {
        [Alg::Ps256, Alg::Es256, Alg::EdDsa, Alg::Ed25519].into_iter().collect()
    }

    /// Whether `alg` is in the set.
    pub const fn contains(self, alg: Alg) -> bool {
        self.0 & Self::bit(alg) != 0
    }

    /// Whether the set holds nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members, in the order of [`Alg`]'s declaration.
    pub fn iter(self) -> impl Iterator<Item = Alg> {
        Alg::ALL.into_iter().filter(move |alg| self.contains(*alg))
    }

    const fn bit(alg: Alg) -> u8 {
        1 << alg as u8
    }
}

impl FromIterator<Alg> for AlgSet {
    fn from_iter<I: IntoIterator<Item = Alg>>(algs: I) -> Self {
        Self(algs.into_iter().fold(0, |bits, alg| bits | Self::bit(alg)))
    }
}

/// The names, separated by spaces: the form of the `algs` challenge parameter (RFC 9449 section 7.1).
impl fmt::Display for AlgSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alg) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(alg.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for AlgSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DPOP-4.2-02, JOSE-18, JOSE-20
    #[test]
    fn only_the_exact_names_are_algorithms() {
        for alg in Alg::ALL {
            assert_eq!(Alg::from_name(alg.name()), Some(alg));
            assert_eq!(serde_json::to_string(&alg).unwrap(), format!("\"{alg}\""));
            assert_eq!(serde_json::from_str::<Alg>(&format!("\"{alg}\"")).unwrap(), alg);
        }
        for name in [
            "none", "None", "NONE", "", "HS256", "HS512", "RS256", "ES512", "ES256K", "ESP256", "es256", "Es256", "ES256 ", "EDDSA",
            "eddsa", "ed25519", "Ed448", "PS384", "ps256",
        ] {
            assert_eq!(Alg::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_set_lists_its_members_in_declaration_order() {
        let set: AlgSet = [Alg::Ed25519, Alg::Es256, Alg::Es256].into_iter().collect();
        assert_eq!(set.to_string(), "ES256 Ed25519");
        assert!(set.contains(Alg::Es256) && !set.contains(Alg::Es384));
        assert_eq!(AlgSet::all().to_string(), "ES256 ES384 PS256 EdDSA Ed25519");
        assert_eq!(AlgSet::fapi2().to_string(), "ES256 PS256 EdDSA Ed25519");
        assert_eq!(AlgSet::empty().to_string(), "");
        assert!(AlgSet::empty().is_empty() && !set.is_empty());
    }
}
