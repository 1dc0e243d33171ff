//! How a gateway reaches the listener and shows that it is one of ours.

use std::path::Path;
use std::sync::Arc;

use keybound_testkit::http::Request;
use keybound_testkit::{Authority, Dialect, Service, Settings, Store, Verify};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;

use crate::start_with;
use crate::verify::{Caller, URL};

const KEY: &str = "gateway-key-of-the-tests";

/// A gateway without the key is none of ours, whatever it asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_its_key() {
    let service = start_with(Store::Embedded, Settings::default().with("gateway.key", KEY)).await;
    let caller = Caller::new(&service).await;
    for dialect in Dialect::ALL {
        caller.call().header("x-gateway-key", KEY).ask(dialect, &service).await.passes();
        Verify::new("GET", URL).header("x-gateway-key", KEY).ask(dialect, &service).await.refused(401, "");
        let keys: [&[&str]; 5] = [&[], &[""], &["gateway-key-of-the-test"], &["Gateway-Key-Of-The-Tests"], &[KEY, KEY]];
        for given in keys {
            let call = given.iter().fold(caller.call(), |call, key| call.header("x-gateway-key", key));
            if dialect == Dialect::Json {
                let answer = service.ask_gateway(&call.request(dialect)).await;
                assert_eq!((answer.status, answer.json()["error"].as_str()), (403, Some("gateway_misconfigured")), "{answer}");
            } else {
                call.ask(dialect, &service).await.refused(403, "gateway_misconfigured");
            }
        }
    }
    let metrics = service.manage("GET", "/metrics", None).await.text();
    assert!(metrics.contains("keybound_gateway_answers_total{reason=\"gateway_misconfigured\"} 30\n"), "{metrics}");
    assert!(!service.log().contains(KEY));
}

/// One request over any connection.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, call: &Verify) -> std::io::Result<String> {
    let mut head = Vec::new();
    for line in [
        "GET /verify/nginx HTTP/1.1\r\nHost: keybound\r\nConnection: close\r\n",
        &format!("X-Original-Method: {}\r\nX-Original-URL: {}\r\n", call.method, call.url),
    ] {
        head.extend_from_slice(line.as_bytes());
    }
    for (name, value) in call.credentials() {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer).await {
        Ok(_) => {}
        // Some servers close a TLS connection without saying so.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A socket in the file system, for a gateway on the same machine; the one that a killed process left is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_use_a_socket_in_the_file_system() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::TempDir::new().expect("a directory");
    let (http, grpc) = (home.path().join("gateway.sock"), home.path().join("grpc.sock"));
    let settings = Settings::default()
        .with("listen.gateway", format!("unix:{}", http.display()))
        .with("listen.gateway_grpc", format!("unix:{}", grpc.display()));
    let mut service = start_with(Store::Redis, settings).await;
    for path in [&http, &grpc] {
        assert_eq!(std::fs::metadata(path).expect("a socket").permissions().mode() & 0o777, 0o660);
    }
    for _ in 0..2 {
        let caller = Caller::new(&service).await;
        let stream = UnixStream::connect(&http).await.expect("the socket is there");
        let answer = exchange(stream, &caller.call()).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("x-dpop-subject: alice"), "{answer}");
        let channel = Endpoint::from_shared(format!("unix://{}", grpc.display())).expect("an address").connect_lazy();
        let mut client = envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient::new(channel);
        let answer = client.check(caller.call().check_request(false)).await.expect("an answer").into_inner();
        keybound_testkit::Judged::of_check(&answer).passes();
        service.kill();
        service.restart().await;
    }
}

/// A client that trusts `ca.crt` and shows `client`, if any.
fn connector(home: &Path, client: Option<&str>, alpn: &[u8]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(home.join("ca.crt")).expect("a certificate")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots);
    let mut config = match client {
        None => config.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(home.join(format!("{name}.crt"))).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_file(home.join(format!("{name}.key"))).expect("a key");
            config.with_client_auth_cert(chain, key).expect("a certificate")
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// With an authority for gateways only those get an answer that have a certificate of it, over HTTP and over gRPC.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_its_certificate() {
    let home = tempfile::TempDir::new().expect("a directory");
    let home = home.path();
    let (ca, stranger) = (Authority::new("ca"), Authority::new("ca"));
    ca.write(&home.join("ca.crt"));
    ca.issue(home, "keybound.test");
    ca.issue(home, "gateway.test");
    stranger.issue(home, "stranger.test");
    let settings = Settings::default()
        .with("gateway.tls_cert", home.join("keybound.test.crt").display().to_string())
        .with("gateway.tls_key", home.join("keybound.test.key").display().to_string())
        .with("gateway.client_ca", home.join("ca.crt").display().to_string());
    let service = start_with(Store::Embedded, settings).await;
    let caller = Caller::new(&service).await;
    let name = || ServerName::try_from("keybound.test").expect("a name");
    let over_tls = async |service: &Service, client: Option<&str>| {
        let tcp = TcpStream::connect(service.gateway).await?;
        exchange(connector(home, client, b"http/1.1").connect(name(), tcp).await?, &caller.call()).await
    };
    let answer = over_tls(&service, Some("gateway.test")).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for client in [None, Some("stranger.test")] {
        assert!(!over_tls(&service, client).await.is_ok_and(|answer| answer.starts_with("HTTP/")), "{client:?}");
        let tcp = TcpStream::connect(service.gateway_grpc).await.expect("a connection");
        let refused = async {
            let mut stream = connector(home, client, b"h2").connect(name(), tcp).await?;
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
            // TLS 1.3 refuses a certificate only after the client believes that it is in.
            let mut first = [0; 9];
            stream.read_exact(&mut first).await
        };
        assert!(refused.await.is_err(), "{client:?}");
    }
    let tcp = TcpStream::connect(service.gateway_grpc).await.expect("a connection");
    let mut stream = connector(home, Some("gateway.test"), b"h2").connect(name(), tcp).await.expect("a handshake");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("a preface");
    let mut first = [0; 9];
    stream.read_exact(&mut first).await.expect("settings");
    assert_eq!(first[3], 4, "a SETTINGS frame");
    // Without TLS there is no answer at all.
    let plain = TcpStream::connect(service.gateway).await.expect("a connection");
    assert!(!exchange(plain, &caller.call()).await.is_ok_and(|answer| answer.contains("200 OK")));
}

/// A file that is none is named at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_none_is_named() {
    let home = tempfile::TempDir::new().expect("a directory");
    let empty = home.path().join("empty.crt");
    std::fs::write(&empty, "").expect("a file");
    let config = format!("[gateway]\ntls_cert = \"{0}\"\ntls_key = \"{0}\"\n", empty.display());
    let path = home.path().join("keybound.toml");
    let data = home.path().join("data");
    std::fs::write(
        &path,
        format!("{config}[store]\npath = \"{}\"\n[listen]\npublic = \"127.0.0.1:0\"\nmanagement = \"127.0.0.1:0\"\n", data.display()),
    )
    .expect("a file");
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_keybound")).arg("serve").arg("--config").arg(&path).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("empty.crt"), "{said}");
}

/// The listeners for gateways answer nothing else, and nobody else answers gateways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listener_has_its_own_routes() {
    let service = start_with(Store::Embedded, Settings::default()).await;
    for path in ["/oauth/token", "/oauth/jwks", "/admin/grants", "/metrics", "/readyz", "/verify/nginxx", "/verify/envoyx/a", "/"] {
        assert_eq!(service.ask_gateway(&Request::new("GET", path)).await.status, 404, "{path}");
    }
    for path in ["/verify", "/verify/nginx", "/verify/forwarded", "/verify/envoy/accounts"] {
        assert_eq!(service.get(path).await.status, 404, "{path}");
        assert_eq!(service.manage("GET", path, None).await.status, 404, "{path}");
    }
}
