//! Sockets, and servers on them.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

use super::StartError;
use crate::config::{Config, Limits, Listener};

/// A bound socket, and how its connections begin.
pub(super) enum Socket {
    /// Plain.
    Tcp(TcpListener),
    /// With TLS.
    Tls(TcpListener, Arc<ServerConfig>),
    /// In the file system.
    Unix(UnixListener),
}

impl Socket {
    pub(super) fn tcp(address: SocketAddr) -> Result<Self, StartError> {
        TcpListener::bind(address).map(Self::Tcp).map_err(|reason| StartError::Listen { address: address.to_string(), reason })
    }

    /// A gateway listener; `None` where it is off, or where nothing is set and the default address is taken.
    pub(super) fn gateway(
        listener: Option<&Listener>,
        default: &Listener,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Option<Self>, StartError> {
        let chosen = listener.unwrap_or(default);
        let bound = match chosen {
            Listener::Off => return Ok(None),
            Listener::Tcp(address) => TcpListener::bind(address).map(|bound| match tls {
                Some(tls) => Self::Tls(bound, Arc::clone(tls)),
                None => Self::Tcp(bound),
            }),
            Listener::Unix(path) => bind_unix(path).map(Self::Unix),
        };
        match bound {
            Err(error) if listener.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(address = %chosen, "the default address of the gateway listener is taken: set listen.gateway");
                Ok(None)
            }
            Err(reason) => Err(StartError::Listen { address: chosen.to_string(), reason }),
            Ok(socket) => Ok(Some(socket)),
        }
    }

    /// Where it listens; `None` in the file system.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A server that runs.
pub(super) type Serving = (ServerHandle, JoinHandle<io::Result<()>>);

pub(super) fn serve<F, T, B>(config: &Config, keep_alive: Duration, socket: Socket, app: F) -> Result<Serving, StartError>
where
    F: Fn() -> App<T> + Send + Clone + 'static,
    T: actix_web::dev::ServiceFactory<
            actix_web::dev::ServiceRequest,
            Config = (),
            Response = actix_web::dev::ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: actix_web::body::MessageBody + 'static,
{
    let Limits { max_connections, shutdown_timeout_s, .. } = config.limits;
    let server = HttpServer::new(app)
        .client_request_timeout(config.limits.head_timeout())
        .keep_alive(keep_alive)
        .max_connections(max_connections)
        .shutdown_timeout(u64::from(shutdown_timeout_s))
        .disable_signals();
    let address = socket.address().map_or_else(|| "a socket".to_owned(), |address| address.to_string());
    let server = match socket {
        Socket::Tcp(listener) => server.listen(listener),
        Socket::Tls(listener, tls) => server.listen_rustls_0_23(listener, ServerConfig::clone(&tls)),
        Socket::Unix(listener) => server.listen_uds(listener),
    };
    let server = server.map_err(|reason| StartError::Listen { address, reason })?.run();
    let handle = server.handle();
    Ok((handle, tokio::spawn(server)))
}

/// A socket that its owner and its group may use. One that a process left behind is replaced; one that is in use is not.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        }
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
