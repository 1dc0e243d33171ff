//! `[listen]` and `[gateway]`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::secret::Secret;

/// `[listen]`: addresses as `IP:port`; port 0 takes a free one.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The OAuth endpoints. Default `127.0.0.1:8080`: a proxy that ends TLS stands before it.
    pub public: SocketAddr,
    /// Health and management. Default `127.0.0.1:8082`; another host than loopback needs `management.token`.
    pub management: SocketAddr,
    /// The verifier for API gateways; never public. Default [`Listen::GATEWAY`]; where that is taken and nothing is set, the service
    /// starts without it and says so.
    pub gateway: Option<Listener>,
    /// The same over gRPC, for Envoy. Default `"off"`.
    pub gateway_grpc: Listener,
}

impl Listen {
    /// Where the verifier for API gateways listens by default.
    pub const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

    /// `gateway`, or its default.
    pub fn gateway(&self) -> Listener {
        self.gateway.clone().unwrap_or(Listener::Tcp(Self::GATEWAY))
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            public: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            management: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            gateway: None,
            gateway_grpc: Listener::Off,
        }
    }
}

/// A listener that may be switched off: `"off"`, `IP:port`, or `unix:PATH`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Listener {
    /// There is none.
    #[default]
    Off,
    /// It listens here.
    Tcp(SocketAddr),
    /// It listens on this socket in the file system, which its owner and its group may use.
    Unix(PathBuf),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Listener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "off" => Ok(Self::Off),
            text => match text.strip_prefix("unix:") {
                Some("") => Err(D::Error::custom("expected a path behind \"unix:\"")),
                Some(path) => Ok(Self::Unix(PathBuf::from(path))),
                None => text.parse().map(Self::Tcp).map_err(|_| D::Error::custom("expected \"off\", IP:port or unix:PATH")),
            },
        }
    }
}

/// `[gateway]`: how API gateways show that they are ours. Default: they don't, and reach the listener because nobody else can.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// What a gateway sends as `X-Gateway-Key`: 16 characters at least. Default none.
    pub key: Option<Secret<String>>,
    /// A file that holds the key, instead of `key`. After [`Config::load`](crate::config::Config::load) the key is in `key`.
    pub key_file: Option<PathBuf>,
    /// A PEM file with the certificate chain of the gateway listeners. Default none: no TLS. Sockets in the file system never use TLS.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the private key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the authorities whose certificates gateways must show (mutual TLS). Default none: gateways need no certificate.
    pub client_ca: Option<PathBuf>,
}
