//! The gRPC server: connections of every kind, one service.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::web;
use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::StartError;
use super::listen::Socket;
use crate::config::Config;
use crate::http::gateway::GatewayState;
use crate::http::gateway::grpc::EnvoyAuthorization;

/// A gRPC server that runs.
pub(super) struct Grpc {
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    accepting: JoinHandle<()>,
    patience: Duration,
}

impl Grpc {
    pub(super) fn serve(config: &Config, socket: Socket, state: web::Data<GatewayState>) -> Result<Self, StartError> {
        let (wires, mut arrived) = mpsc::channel(64);
        let accepting = accept(socket, wires, config.limits.head_timeout())?;
        let incoming = stream::poll_fn(move |context| arrived.poll_recv(context).map(|wire| wire.map(Ok::<Wire, io::Error>)));
        let (stop, stopped) = oneshot::channel();
        let server = Server::builder()
            .timeout(config.limits.request_timeout())
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(EnvoyAuthorization::service(state))
            .serve_with_incoming_shutdown(incoming, async {
                // A sender that is gone asks for the same.
                let _ = stopped.await;
            });
        Ok(Self { stop, server: tokio::spawn(server), accepting, patience: config.limits.shutdown_timeout() })
    }

    /// Finishes what is under way, and ends.
    pub(super) async fn stop(mut self) {
        self.accepting.abort();
        // Fails only where the server has ended.
        let _ = self.stop.send(());
        if timeout(self.patience, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

/// Takes connections. One that is slow with its handshake keeps nobody waiting.
fn accept(socket: Socket, wires: mpsc::Sender<Wire>, handshake: Duration) -> Result<JoinHandle<()>, StartError> {
    let address = socket.address().map_or_else(|| "a socket".to_owned(), |address| address.to_string());
    let listener = match socket {
        Socket::Tcp(listener) => listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)).map(Door::Tcp),
        Socket::Tls(listener, tls) => listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::TcpListener::from_std(listener))
            .map(|listener| Door::Tls(listener, with_http2(&tls))),
        Socket::Unix(listener) => {
            listener.set_nonblocking(true).and_then(|()| tokio::net::UnixListener::from_std(listener)).map(Door::Unix)
        }
    };
    let door = listener.map_err(|reason| StartError::Listen { address, reason })?;
    Ok(tokio::spawn(async move {
        loop {
            let taken = match &door {
                Door::Tcp(listener) => listener.accept().await.map(|(stream, _)| plain(stream)),
                Door::Unix(listener) => listener.accept().await.map(|(stream, _)| Wire(Box::pin(stream))),
                Door::Tls(listener, acceptor) => match listener.accept().await {
                    Ok((stream, _)) => {
                        let (acceptor, wires) = (acceptor.clone(), wires.clone());
                        tokio::spawn(async move {
                            if let Ok(Ok(stream)) = timeout(handshake, acceptor.accept(stream)).await {
                                // Fails only where the server has ended.
                                let _ = wires.send(Wire(Box::pin(stream))).await;
                            }
                        });
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match taken {
                Ok(wire) => {
                    if wires.send(wire).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection of the gRPC listener was not accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }))
}

fn plain(stream: tokio::net::TcpStream) -> Wire {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    Wire(Box::pin(stream))
}

fn with_http2(tls: &Arc<rustls::ServerConfig>) -> TlsAcceptor {
    let mut tls = rustls::ServerConfig::clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

enum Door {
    Tcp(tokio::net::TcpListener),
    Tls(tokio::net::TcpListener, TlsAcceptor),
    Unix(tokio::net::UnixListener),
}

trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection of any kind.
struct Wire(Pin<Box<dyn Duplex>>);

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
