//! The service as a process: its configuration, its life and its death.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::flow::{Client, Session};
use crate::http::{Connection, Request, Response};
use crate::jose::{Key, b64, random};
use crate::redis::{RedisServer, free_port};

/// The issuer of every service that the tests start. It names no port: `htu` follows the configuration, never the socket.
pub const ISSUER: &str = "https://as.example.test";

/// The bearer token of the management listener.
pub const MANAGEMENT_TOKEN: &str = "management-token-of-the-tests";

/// The secret of the confidential clients, with characters that mean something in forms, in Basic and in URLs.
pub const SECRET: &str = "p@ss: +/%41&=word~0123456789";

/// Which backend a service keeps its state in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// One file, no other process.
    Embedded,
    /// The redis-server shared by the tests of one process, under a key prefix of its own.
    Redis,
}

/// The configuration of one service.
#[derive(Clone, Debug)]
pub struct Settings {
    config: Value,
    /// Whether the address of the public listener becomes the issuer.
    loopback: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: json!({
                "issuer": ISSUER,
                "management": {"token": MANAGEMENT_TOKEN},
                "client": clients(),
                "resource": [
                    {"id": "accounts-api", "url": "https://api.example.test/accounts", "audience": "https://api.example.test/accounts",
                        "scopes": ["accounts"]},
                    {"id": "payments-api", "url": "https://api.example.test/payments", "audience": "https://api.example.test/payments",
                        "scopes": ["payments"]},
                ],
            }),
            loopback: false,
        }
    }
}

impl Settings {
    /// Settings whose issuer is `http://` and the address of the public listener: for clients that find the service by its issuer.
    #[must_use]
    pub fn loopback() -> Self {
        Self { loopback: true, ..Self::default() }
    }

    /// Sets the issuer, which is that of a proxy before the service.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> Self {
        self.loopback = false;
        self.config["issuer"] = json!(issuer);
        self
    }

    /// Sets `section.key` of the configuration file.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (parents, _) = pointer.rsplit_once('/').unwrap_or_default();
        if !parents.is_empty() && self.config.pointer(parents).is_none() {
            self.config[&parents[1..]] = json!({});
        }
        let (section, key) = path.split_once('.').unwrap_or((path, ""));
        if key.is_empty() {
            self.config[section] = value.into()
        } else {
            self.config[section][key] = value.into()
        }
        self
    }

    /// Adds a client.
    ///
    /// # Panics
    /// Never: the list of clients is there.
    #[must_use]
    pub fn client(mut self, client: Value) -> Self {
        self.config["client"].as_array_mut().expect("a list of clients").push(client);
        self
    }

    /// Adds a resource.
    ///
    /// # Panics
    /// Never: the list of resources is there.
    #[must_use]
    pub fn resource(mut self, resource: Value) -> Self {
        self.config["resource"].as_array_mut().expect("a list of resources").push(resource);
        self
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        self.config["issuer"].as_str().unwrap_or(ISSUER)
    }
}

/// The clients that every service knows.
fn clients() -> Value {
    let scope = "accounts openid payments";
    let details = ["account_information", "payment_initiation"];
    let public = |id: &str| {
        json!({"client_id": id, "token_endpoint_auth_method": "none", "grant_types": ["refresh_token"], "scope": scope,
            "authorization_details_types": details})
    };
    let secret = |id: &str, method: &str| {
        json!({"client_id": id, "token_endpoint_auth_method": method, "client_secret": SECRET,
            "grant_types": ["refresh_token", "client_credentials"], "scope": scope})
    };
    let with = |mut client: Value, name: &str, value: Value| {
        client[name] = value;
        client
    };
    json!([
        public("spa"),
        public("other-spa"),
        with(public("steady"), "refresh_token_rotation", json!("never")),
        with(public("lenient"), "refresh_reuse", json!("refuse")),
        with(public("bearer-spa"), "dpop_bound_access_tokens", json!(false)),
        secret("web", "client_secret_basic"),
        secret("other-web", "client_secret_basic"),
        secret("odd: id+%41", "client_secret_basic"),
        secret("poster", "client_secret_post"),
        with(secret("bearer-web", "client_secret_basic"), "dpop_bound_access_tokens", json!(false)),
        with(secret("no-machine", "client_secret_basic"), "grant_types", json!(["refresh_token"])),
        with(secret("machine", "client_secret_basic"), "grant_types", json!(["client_credentials"])),
        json!({"client_id": "signer", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [signer_key().jwk()]},
            "grant_types": ["refresh_token", "client_credentials"], "scope": scope}),
    ])
}

/// The key of the client `signer`, made once for this process.
pub fn signer_key() -> Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(Key::es256).clone()
}

/// A running service. The process is killed when this is dropped.
#[derive(Debug)]
pub struct Service {
    binary: PathBuf,
    directory: Arc<TempDir>,
    settings: Settings,
    /// The rule that a build made for that is to break.
    breaking: Option<String>,
    child: Option<Child>,
    /// The public listener.
    pub public: SocketAddr,
    /// The management listener.
    pub management: SocketAddr,
    /// The gateway listener.
    pub gateway: SocketAddr,
    /// The gateway listener for gRPC.
    pub gateway_grpc: SocketAddr,
    redis: Option<Arc<RedisServer>>,
}

impl Service {
    /// Starts `binary` with these settings and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready; its log is part of the message.
    pub async fn start(binary: impl AsRef<Path>, store: Store, settings: Settings) -> Self {
        Self::start_breaking(binary, store, settings, None).await
    }

    /// Starts `binary`, a build that can break its own rules, and has it break this one.
    ///
    /// # Panics
    /// Where it does not become ready; its log is part of the message.
    pub async fn start_breaking(binary: impl AsRef<Path>, store: Store, settings: Settings, rule: Option<&str>) -> Self {
        let redis = match store {
            Store::Embedded => None,
            Store::Redis => Some(shared_redis().await),
        };
        Self::start_prepared(binary.as_ref(), redis, settings, rule).await
    }

    /// Starts `binary` on this Redis, or on the embedded store where there is none.
    ///
    /// # Panics
    /// Where it does not become ready; its log is part of the message.
    pub async fn start_on(binary: impl AsRef<Path>, redis: Option<Arc<RedisServer>>, settings: Settings) -> Self {
        Self::start_prepared(binary.as_ref(), redis, settings, None).await
    }

    async fn start_prepared(binary: &Path, redis: Option<Arc<RedisServer>>, mut settings: Settings, breaking: Option<&str>) -> Self {
        let directory = Arc::new(TempDir::new().expect("a temporary directory"));
        let data = directory.path().join("data");
        let mut store = json!({"kind": "embedded", "path": data});
        if let Some(redis) = &redis {
            let prefix = format!("{}:", b64(random::<6>()));
            store = json!({"kind": "redis", "urls": [redis.url()], "key_prefix": prefix, "path": data});
        }
        if let Some(extra) = settings.config.get("store").and_then(Value::as_object) {
            for (name, value) in extra {
                store[name] = value.clone();
            }
        }
        settings.config["store"] = store;
        Self::start_in(binary, directory, redis, settings, breaking).await
    }

    /// Starts a second node beside this one: same store, same keys, other ports.
    ///
    /// # Panics
    /// Where it does not become ready; its log is part of the message.
    pub async fn second_node(&self) -> Self {
        self.node_with(|settings| settings).await
    }

    /// Starts another node beside this one, with settings that differ: same store, same keys, other ports.
    ///
    /// # Panics
    /// Where it does not become ready; its log is part of the message.
    pub async fn node_with(&self, change: impl FnOnce(Settings) -> Settings) -> Self {
        let settings = change(Settings { loopback: false, ..self.settings.clone() });
        Self::start_in(&self.binary, Arc::clone(&self.directory), self.redis.clone(), settings, self.breaking.as_deref()).await
    }

    async fn start_in(
        binary: &Path,
        directory: Arc<TempDir>,
        redis: Option<Arc<RedisServer>>,
        settings: Settings,
        breaking: Option<&str>,
    ) -> Self {
        let mut last = String::new();
        for _ in 0..5 {
            let (public, management) = (free_address(), free_address());
            let mut settings = settings.clone();
            if settings.loopback {
                settings.config["issuer"] = json!(format!("http://{public}"));
            }
            let mut service = Self {
                binary: binary.to_owned(),
                directory: Arc::clone(&directory),
                settings,
                breaking: breaking.map(str::to_owned),
                child: None,
                public,
                management,
                gateway: free_address(),
                gateway_grpc: free_address(),
                redis: redis.clone(),
            };
            match service.boot().await {
                Ok(()) => return service,
                // Another process took the port in between.
                Err(log) if log.to_lowercase().contains("in use") => last = log,
                Err(log) => panic!("the service did not become ready:\n{log}"),
            }
        }
        panic!("the service did not become ready:\n{last}");
    }

    /// Starts the process again, with the same data on the same ports, and waits until it is ready.
    ///
    /// # Panics
    /// Where it does not become ready.
    pub async fn restart(&mut self) {
        if let Err(log) = self.boot().await {
            panic!("the service did not become ready again:\n{log}");
        }
    }

    /// Starts the process again and tells what it printed where it does not become ready.
    ///
    /// # Errors
    /// The log.
    pub async fn try_restart(&mut self) -> Result<(), String> {
        self.boot().await
    }

    async fn boot(&mut self) -> Result<(), String> {
        let config = self.directory.path().join(format!("keybound-{}.toml", self.public.port()));
        let mut document = self.settings.config.clone();
        document["listen"]["public"] = json!(self.public.to_string());
        document["listen"]["management"] = json!(self.management.to_string());
        for (name, address) in [("gateway", self.gateway), ("gateway_grpc", self.gateway_grpc)] {
            if document["listen"].get(name).is_none() {
                document["listen"][name] = json!(address.to_string());
            }
        }
        fs::write(&config, toml::to_string(&document).expect("a TOML document")).expect("the configuration is written");
        let log = |path: &Path| -> File { OpenOptions::new().create(true).append(true).open(path).expect("the log is opened") };
        let child = Command::new(&self.binary)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .current_dir(self.directory.path())
            .env_remove("RUST_LOG")
            .envs(self.breaking.iter().map(|rule| ("KEYBOUND_BROKEN", rule)))
            .stdin(Stdio::null())
            .stdout(log(&self.log_path()))
            .stderr(log(&self.log_path()))
            .spawn()
            .expect("the service's binary runs");
        self.child = Some(child);
        for _ in 0..3000 {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                self.child = None;
                return Err(format!("{status}\n{}", self.log()));
            }
            if self.ready().await {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("not ready after 30 s\n{}", self.log()))
    }

    /// The process id, while it runs.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the service runs").id()
    }

    /// A connection of its own to the public listener.
    pub fn connect(&self) -> Connection {
        Connection::new(self.public)
    }

    /// Whether `/readyz` answers 200.
    pub async fn ready(&self) -> bool {
        Connection::new(self.management).send(&Request::new("GET", "/readyz")).await.is_ok_and(|answer| answer.status == 200)
    }

    /// Asks the service to stop and waits until it has. Tells whether it ended with success.
    ///
    /// # Panics
    /// Where it does not stop within 30 s.
    pub async fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return true };
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM is sent");
        for _ in 0..3000 {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                return status.success();
            }
            sleep(Duration::from_millis(10)).await;
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the service did not stop within 30 s of SIGTERM:\n{}", self.log());
    }

    /// Ends the service at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Everything that the process printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join(format!("log-{}", self.public.port()))
    }

    /// The directory that holds the configuration, the data and the log.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configured issuer.
    pub fn issuer(&self) -> &str {
        self.settings.issuer()
    }

    /// Sends one request to the public listener on a connection of its own.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn send(&self, request: &Request) -> Response {
        let answer = Connection::new(self.public).send(request).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{request:?}\n{}", self.log()))
    }

    /// `GET` on the public listener.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", path)).await
    }

    /// Sends one request to the management listener, with the management token.
    ///
    /// # Panics
    /// Where no answer comes.
    pub async fn manage(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = Request::new(method, path).header("Authorization", format!("Bearer {MANAGEMENT_TOKEN}"));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = Connection::new(self.management).send(&request).await;
        answer.unwrap_or_else(|error| panic!("no answer: {error}\n{request:?}\n{}", self.log()))
    }

    /// Grants `alice` the scope `accounts openid payments` at one of the configured clients, bound to a new ES256 key.
    pub async fn session(&self, client: &str) -> Session {
        self.session_with(client, Key::es256(), json!({})).await
    }

    /// Like [`Self::session`], with this key and with more members for `POST /admin/grants`.
    ///
    /// # Panics
    /// Where the grant is refused.
    pub async fn session_with(&self, client: &str, key: Key, extra: Value) -> Session {
        let session = self.try_session_with(client, key, extra).await;
        session.unwrap_or_else(|answer| panic!("{answer}\n{}", self.log()))
    }

    /// The same where a refusal is expected.
    ///
    /// # Errors
    /// The refusal.
    ///
    /// # Panics
    /// Where the answer to a success is no grant.
    pub async fn try_session_with(&self, client: &str, key: Key, extra: Value) -> Result<Session, Box<Response>> {
        let client = Client::known(client);
        let mut body = json!({"client_id": client.id, "sub": "alice", "scope": "accounts openid payments"});
        if client.is_public() {
            body["jkt"] = json!(key.jkt());
        }
        for (name, value) in extra.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let answer = self.manage("POST", "/admin/grants", Some(body)).await;
        if answer.status != 201 {
            return Err(Box::new(answer));
        }
        let grant = answer.json();
        let text = |name: &str| grant[name].as_str().unwrap_or_else(|| panic!("no {name} in {grant}")).to_owned();
        Ok(Session { client, key, issuer: self.issuer().to_owned(), refresh_token: text("refresh_token"), grant_id: text("grant_id") })
    }

    /// Ends a grant and waits for the acknowledgement.
    pub async fn revoke(&self, grant_id: &str) -> Response {
        self.manage("DELETE", &format!("/admin/grants/{grant_id}"), None).await
    }

    /// A nonce from `GET /oauth/nonce`.
    ///
    /// # Panics
    /// Where none comes.
    pub async fn nonce(&self) -> String {
        let answer = self.get("/oauth/nonce").await;
        answer.header("DPoP-Nonce").unwrap_or_else(|| panic!("no nonce: {answer}")).to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The redis-server that the tests of this process share while at least one of them uses it.
pub async fn shared_redis() -> Arc<RedisServer> {
    static SHARED: OnceLock<Mutex<Weak<RedisServer>>> = OnceLock::new();
    let mut shared = SHARED.get_or_init(|| Mutex::new(Weak::new())).lock().await;
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(RedisServer::start(&[]).await);
    *shared = Arc::downgrade(&server);
    server
}

/// A loopback address that nothing listens on.
///
/// # Panics
/// Where there is none.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
