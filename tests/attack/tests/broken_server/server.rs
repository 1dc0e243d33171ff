//! An authorization server with userinfo, in memory: small, independent of Keybound, and correct but for the one fault it is started with.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::sleep;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::http::{self, Answer, Request};
use crate::json;
use crate::proof::{self, Expected, Proof, b64, same, sha256, unb64};

/// The secret of the client `machine`, where it has one.
pub(crate) const SECRET: &str = "a secret: of + the/machine%41";
/// So short that a test can wait for the end of it.
const ACCESS_LIFETIME: i64 = 16;
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// How the server is started.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) fault: Option<Fault>,
    /// The public key of the client `machine`; it has a secret where there is none.
    pub(crate) machine_key: Option<Value>,
    /// Whether every proof needs a nonce.
    pub(crate) nonces: bool,
    /// The step of nonces in seconds, where it is not the usual one. A nonce lives for at most two.
    pub(crate) nonce_step: Option<i64>,
    /// Seconds that a proof may be used after its `iat`, and before it.
    pub(crate) window: i64,
    pub(crate) skew: i64,
}

/// The server, on two addresses as if it were two nodes.
pub(crate) struct Server {
    pub(crate) first: SocketAddr,
    pub(crate) second: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    setup: Setup,
    issuer: OnceLock<String>,
    signer: EcdsaKeyPair,
    mac: hmac::Key,
    epoch: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Uses of proofs and assertions, until when they have to be remembered. One for each node where a fault wants that.
    ledgers: [HashMap<String, i64>; 2],
    /// In the order of their use, for the ledger that forgets.
    order: Vec<String>,
    families: HashMap<String, Family>,
    codes: HashMap<String, Code>,
    pushed: HashMap<String, HashMap<String, String>>,
    /// Digests of single tokens that were revoked.
    revoked: HashSet<String>,
    /// Until when every proof needs a nonce, after a restart.
    demanded_until: i64,
}

#[derive(Clone)]
struct Family {
    jkt: String,
    scope: String,
    generation: u32,
    rotated: i64,
    over: bool,
    /// Which of several lines is the living one: only a fault makes more than one.
    fork: u32,
}

#[derive(Clone)]
struct Code {
    request: HashMap<String, String>,
    jkt: Option<String>,
    expires: i64,
    family: Option<String>,
}

type Form = HashMap<String, String>;

/// An error answer of an OAuth endpoint.
struct Refusal(u16, &'static str, Option<String>);

impl Server {
    pub(crate) fn start(setup: Setup) -> Self {
        let mut mac = [0; 32];
        fill(&mut mac).expect("randomness");
        let inner = Arc::new(Inner {
            setup,
            issuer: OnceLock::new(),
            signer: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            mac: hmac::Key::new(hmac::HMAC_SHA256, &mac),
            epoch: AtomicI64::new(1),
            state: Mutex::default(),
        });
        let node = |index: usize| {
            let inner = Arc::clone(&inner);
            let max_body = if inner.has(Fault::QuadraticScope) { 1 << 20 } else { 16 * 1024 };
            http::serve(max_body, move |request| inner.answer(&request, index))
        };
        let (first, second) = (node(0), node(1));
        inner.issuer.set(format!("http://{first}")).expect("it is set once");
        Self { first, second, inner }
    }

    /// What a restart does: the ledger is gone, and a new epoch begins.
    pub(crate) fn restart(&self) {
        let mut state = self.inner.lock();
        // Proofs are forgotten, which the epoch makes up for; client assertions are not.
        for ledger in &mut state.ledgers {
            ledger.retain(|name, _| name.starts_with("assertion|"));
        }
        state.order.clear();
        self.inner.epoch.fetch_add(1, Ordering::SeqCst);
        if !self.inner.has(Fault::EpochIgnored) {
            state.demanded_until = now() + self.inner.setup.window + self.inner.setup.skew + 1;
        }
    }

    pub(crate) fn restarter(&self) -> impl Fn() -> std::future::Ready<Result<(), String>> + Send + Sync + use<> {
        let server = Self { first: self.first, second: self.second, inner: Arc::clone(&self.inner) };
        move || {
            server.restart();
            std::future::ready(Ok(()))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server has a clock")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

fn handle() -> String {
    let mut bytes = [0; 24];
    fill(&mut bytes).expect("randomness");
    b64(bytes)
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let headers = vec![("Content-Type", "application/json".to_owned()), ("Cache-Control", "no-store".to_owned())];
    Answer { status, headers, body: body.to_string() }
}

impl Inner {
    fn has(&self, fault: Fault) -> bool {
        self.setup.fault == Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no handler panics")
    }

    fn issuer(&self) -> &str {
        self.issuer.get().map_or("", String::as_str)
    }

    fn answer(&self, request: &Request, node: usize) -> Answer {
        let outcome = match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/.well-known/oauth-authorization-server") => return json_answer(200, &self.metadata()),
            ("GET", "/oauth/nonce") => return self.with_nonce(json_answer(200, &json!({})), "as"),
            ("GET", "/oauth/userinfo") => return self.userinfo(request, node),
            ("GET" | "POST", "/oauth/authorize") => return self.authorize(request),
            ("POST", "/oauth/token" | "/oauth/refresh") => self.token(request, node),
            ("POST", "/oauth/par") => self.par(request, node),
            ("POST", "/oauth/revoke") => self.revoke(request, node),
            ("POST", "/oauth/introspect") => self.introspect(request, node),
            (_, "/oauth/userinfo") => return self.challenge(401, ""),
            (_, "/oauth/token" | "/oauth/par") => Err(Refusal(405, "invalid_request", None)),
            _ => Err(Refusal(404, "invalid_request", None)),
        };
        match outcome {
            Ok((status, body)) => json_answer(status, &body),
            Err(Refusal(status, error, nonce)) => {
                let mut answer = json_answer(status, &json!({"error": error}));
                answer.headers.extend(nonce.map(|nonce| ("DPoP-Nonce", nonce)));
                answer
            }
        }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| json!(format!("{}{path}", self.issuer()));
        json!({
            "issuer": self.issuer(), "token_endpoint": at("/oauth/token"), "authorization_endpoint": at("/oauth/authorize"),
            "pushed_authorization_request_endpoint": at("/oauth/par"), "userinfo_endpoint": at("/oauth/userinfo"),
            "introspection_endpoint": at("/oauth/introspect"), "revocation_endpoint": at("/oauth/revoke"),
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "dpop_signing_alg_values_supported": proof::ALGS,
        })
    }

    // Nonces.

    fn nonce(&self, role: &str, step: i64) -> String {
        let text = format!("{role}|{step}|{}|{}", self.epoch.load(Ordering::SeqCst), self.issuer());
        b64(hmac::sign(&self.mac, text.as_bytes()))
    }

    fn nonce_now(&self, role: &str) -> String {
        self.nonce(role, self.nonce_step())
    }

    fn nonce_step(&self) -> i64 {
        now() / self.setup.nonce_step.unwrap_or(300)
    }

    fn with_nonce(&self, mut answer: Answer, role: &str) -> Answer {
        answer.headers.push(("DPoP-Nonce", self.nonce_now(role)));
        answer
    }

    /// Whether a proof has the nonce it needs.
    fn nonce_is_good(&self, proof: &Proof, role: &str) -> bool {
        let Some(nonce) = &proof.nonce else {
            let demanded = self.lock().demanded_until > now();
            return !self.setup.nonces && !demanded;
        };
        let current = self.nonce_step();
        let mut steps = current - if self.has(Fault::NonceForEver) { 1000 } else { 1 }..=current;
        let roles: &[&str] = if self.has(Fault::NonceOfOtherRole) { &["as", "rs"] } else { &[role] };
        self.has(Fault::NonceUnchecked) || steps.any(|step| roles.iter().any(|role| same(nonce, &self.nonce(role, step))))
    }

    // Proofs.

    /// A proof whose parts are in order. Its nonce and its use are not judged yet.
    fn read_proof(&self, request: &Request, method: &str, path: &str, node: usize) -> Option<Proof> {
        let mut url = format!("{}{path}", self.issuer());
        for (fault, header) in [(Fault::UriOfHost, "host"), (Fault::UriOfForwardedHost, "x-forwarded-host")] {
            if let Some(host) = request.header(header).filter(|_| self.has(fault)) {
                url = format!("http://{host}{path}");
            }
        }
        let Setup { window, skew, fault, .. } = self.setup;
        let expected = Expected { method, url: &url, now: now(), window, skew, fault };
        let mut early = |jkt: &str, jti: &str| {
            if self.has(Fault::SpentBeforeChecks) {
                self.lock().ledgers[node].insert(format!("early|{jkt}|{jti}"), now() + 600);
            }
        };
        let before = self.has(Fault::SpentBeforeChecks).then(|| self.lock().ledgers[node].clone());
        let proof = proof::check(&request.lines("dpop"), &expected, &mut early)?;
        let burnt = before.is_some_and(|before| before.contains_key(&format!("early|{}|{}", proof.jkt, proof.jti)));
        (!burnt).then_some(proof)
    }

    /// Records a use; tells whether it is the first.
    fn claim(&self, name: String, until: i64, node: usize) -> bool {
        let shard = if self.has(Fault::LedgerPerNode) { node } else { 0 };
        let current = |until: &i64| *until >= now();
        if self.has(Fault::CheckThenSet) {
            let known = self.lock().ledgers[shard].get(&name).is_some_and(current);
            sleep(Duration::from_millis(30));
            self.lock().ledgers[shard].insert(name, until);
            return !known;
        }
        let mut state = self.lock();
        if state.ledgers[shard].get(&name).is_some_and(current) {
            return false;
        }
        if self.has(Fault::LedgerOfFixedSize) {
            state.order.push(name.clone());
            if state.order.len() > 1_000 {
                let oldest = state.order.remove(0);
                state.ledgers[shard].remove(&oldest);
            }
        }
        state.ledgers[shard].insert(name, until);
        true
    }

    fn spend(&self, proof: &Proof, node: usize) -> bool {
        if self.has(Fault::JtiUnchecked) {
            return true;
        }
        let name = match self.setup.fault {
            Some(Fault::JtiWithoutKey) => proof.jti.clone(),
            Some(Fault::JtiByBytes) => b64(sha256(&proof.bytes)),
            _ => format!("{}|{}", proof.jkt, proof.jti),
        };
        let until = if self.has(Fault::LifetimeShortBySkew) { now() + self.setup.window - 1 } else { proof.iat + self.setup.window };
        self.claim(name, until, node)
    }

    // Clients and forms.

    fn form(&self, request: &Request) -> Result<Form, Refusal> {
        let bad = || Refusal(400, "invalid_request", None);
        if !request.query.is_empty() && request.query.contains('=') {
            let secret = ["client_id", "client_secret", "refresh_token", "code", "token", "access_token", "grant_type", "client_assertion"];
            if url::form_urlencoded::parse(request.query.as_bytes()).any(|(name, _)| secret.contains(&&*name)) {
                return Err(bad());
            }
        }
        if request.header("content-type") != Some("application/x-www-form-urlencoded") {
            return Err(Refusal(415, "invalid_request", None));
        }
        let mut form = Form::new();
        for (name, value) in url::form_urlencoded::parse(&request.body) {
            if form.len() > 64 || value.contains('\0') || (form.insert(name.to_string(), value.to_string()).is_some() && name != "resource")
            {
                return Err(bad());
            }
        }
        form.retain(|_, value| !value.is_empty());
        Ok(form)
    }

    /// The client that authenticates, and the assertion it used. Nothing is recorded.
    fn client(&self, request: &Request, form: &Form) -> Result<(String, Option<(String, i64)>), Refusal> {
        let bad = || Refusal(401, "invalid_client", None);
        let authorization = request.lines("authorization");
        let ways =
            authorization.len() + usize::from(form.contains_key("client_secret")) + usize::from(form.contains_key("client_assertion"));
        if ways > 1 {
            return Err(Refusal(400, "invalid_request", None));
        }
        if let Some(assertion) = form.get("client_assertion") {
            if form.get("client_assertion_type").map(String::as_str) != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
                return Err(bad());
            }
            let used = self.assertion(assertion).ok_or_else(bad)?;
            return if form.get("client_id").is_none_or(|id| id == "machine") {
                Ok(("machine".to_owned(), Some(used)))
            } else {
                Err(bad())
            };
        }
        if let [line] = authorization.as_slice() {
            let text = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("Basic "));
            let decoded = text.and_then(|text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok());
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
            let (id, secret) = decoded.split_once(':').ok_or_else(bad)?;
            let plain = |text: &str| {
                url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
            };
            let good = self.setup.machine_key.is_none() && plain(id) == "machine" && same(&plain(secret), SECRET);
            return if good { Ok(("machine".to_owned(), None)) } else { Err(bad()) };
        }
        match (form.get("client_id").map(String::as_str), form.get("client_secret")) {
            (Some("machine"), Some(secret)) if self.setup.machine_key.is_none() && same(secret, SECRET) => Ok(("machine".to_owned(), None)),
            (Some(id @ ("app" | "other")), None) => Ok((id.to_owned(), None)),
            _ => Err(bad()),
        }
    }

    /// The `jti` of a good client assertion, and until when it has to be remembered.
    fn assertion(&self, text: &str) -> Option<(String, i64)> {
        if text.len() > 8192 {
            return None;
        }
        let mut parts = text.split('.');
        let (header_part, claims_part, signature) = (parts.next()?, parts.next()?, unb64(parts.next()?, false)?);
        if parts.next().is_some() {
            return None;
        }
        let (header, claims) = (json::object(&unb64(header_part, false)?, false)?, json::object(&unb64(claims_part, false)?, false)?);
        if header.contains_key("crit") || header.get("typ").is_some_and(|typ| typ != "JWT") || header.get("alg")? != "ES256" {
            return None;
        }
        let registered = self.setup.machine_key.as_ref()?;
        let key = if self.has(Fault::AssertionKeyFromHeader) { header.get("jwk").unwrap_or(registered) } else { registered };
        let part = |name: &str| unb64(key[name].as_str()?, false);
        let point = [&[4], part("x")?.as_slice(), part("y")?.as_slice()].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(format!("{header_part}.{claims_part}").as_bytes(), &signature)
            .ok()?;
        if claims.get("iss")? != "machine" || claims.get("sub")? != "machine" {
            return None;
        }
        let audience = claims.get("aud")?;
        let good = audience == self.issuer()
            || (self.has(Fault::AudienceList) && audience.as_array().is_some_and(|list| list.iter().any(|entry| entry == self.issuer())))
            || (self.has(Fault::AudienceOfEndpoint) && *audience == format!("{}/oauth/token", self.issuer()));
        let number = |name: &str| claims.get(name).map(|value| value.as_i64().unwrap_or(i64::MAX));
        let exp = claims.get("exp")?.as_i64()?;
        let early = |name: &str| number(name).is_some_and(|time| time > now() + 10);
        let in_time = exp > now() - 10 && exp < now() + 3600 && !early("iat") && !early("nbf");
        let jti = claims.get("jti")?.as_str()?.to_owned();
        (good && in_time).then_some((jti, exp + 11))
    }

    // Tokens.

    fn access_token(&self, sub: &str, client: &str, scope: &str, jkt: &str, family: &str) -> String {
        let claims = json!({"iss": self.issuer(), "aud": self.issuer(), "sub": sub, "client_id": client, "scope": scope, "cnf": {"jkt": jkt},
            "iat": now(), "exp": now() + ACCESS_LIFETIME, "jti": handle(), "fid": family});
        self.signed(&json!({"alg": "ES256", "typ": "at+jwt"}), &claims)
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.signer.sign(&SystemRandom::new(), input.as_bytes()).expect("a sound key signs");
        format!("{input}.{}", b64(signature))
    }

    /// The claims of a good access token.
    fn read_access(&self, token: &str) -> Option<Map<String, Value>> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let header = json::object(&unb64(header, false)?, false)?;
        if header.get("typ")? != "at+jwt" || header.get("alg")? != "ES256" {
            return None;
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.signer.public_key().as_ref().to_vec());
        key.verify(input.as_bytes(), &unb64(signature, false)?).ok()?;
        let claims = json::object(&unb64(claims, false)?, false)?;
        let state = self.lock();
        let family = claims.get("fid").and_then(Value::as_str).unwrap_or_default();
        let over = state.families.get(family).is_some_and(|family| family.over) && !self.has(Fault::RevocationByBytes);
        (claims.get("exp")?.as_i64()? > now() && !over && !state.revoked.contains(&b64(sha256(token)))).then_some(claims)
    }

    fn refresh_token(&self, family: &str, generation: u32, fork: u32) -> String {
        let text = format!("{family}.{generation}.{fork}");
        format!("rt.{text}.{}", b64(hmac::sign(&self.mac, text.as_bytes())))
    }

    fn read_refresh(&self, token: &str) -> Option<(String, u32, u32)> {
        let mut parts = token.split('.');
        let (kind, family, generation, fork, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (generation, fork) = (generation.parse().ok()?, fork.parse().ok()?);
        (kind == "rt" && same(token, &self.refresh_token(family, generation, fork))).then(|| (family.to_owned(), generation, fork))
    }

    fn tokens(&self, sub: &str, client: &str, scope: &str, jkt: &str, refresh: Option<(&str, String)>) -> Value {
        let family = refresh.as_ref().map_or("", |(family, _)| family);
        let mut body = json!({"access_token": self.access_token(sub, client, scope, jkt, family), "token_type": "DPoP", "expires_in": ACCESS_LIFETIME, "scope": scope});
        if let Some((_, token)) = refresh {
            body["refresh_token"] = json!(token);
            body["id_token"] =
                json!(self.signed(&json!({"alg": "ES256", "typ": "JWT"}), &json!({"iss": self.issuer(), "sub": sub, "aud": client})));
        }
        body
    }

    // Endpoints.

    fn token(&self, request: &Request, node: usize) -> Result<(u16, Value), Refusal> {
        let form = self.form(request)?;
        let (client, used) = self.client(request, &form)?;
        let grant = form.get("grant_type").map(String::as_str).unwrap_or_default();
        let invalid = || Refusal(400, "invalid_dpop_proof", None);
        let without = self.has(Fault::RefreshWithoutProof) && grant == "refresh_token" && request.lines("dpop").is_empty();
        let proof = if without { None } else { Some(self.read_proof(request, "POST", &request.path, node).ok_or_else(invalid)?) };
        if let Some(proof) = &proof
            && !self.nonce_is_good(proof, "as")
        {
            self.burn_before_demand(&form, used.as_ref(), node);
            return Err(Refusal(400, "use_dpop_nonce", Some(self.nonce_now("as"))));
        }
        if proof.as_ref().is_some_and(|proof| proof.ath.is_some()) {
            return Err(invalid());
        }
        let scope = form.get("scope").map(String::as_str);
        if let Some(scope) = scope {
            self.check_scope(scope)?;
        }
        if form.contains_key("authorization_details") || form.contains_key("resource") {
            return Err(Refusal(400, "invalid_target", None));
        }
        let spend = || match &proof {
            Some(proof) if !self.spend(proof, node) => Err(invalid()),
            _ => Ok(()),
        };
        match (grant, client.as_str(), &proof) {
            ("client_credentials", "machine", Some(proof)) => {
                spend()?;
                if let Some((jti, until)) = used
                    && !self.claim(format!("assertion|{jti}"), until, node)
                    && !self.has(Fault::AssertionTwice)
                {
                    return Err(Refusal(401, "invalid_client", None));
                }
                Ok((200, self.tokens("machine", "machine", "accounts", &proof.jkt, None)))
            }
            ("refresh_token", "app" | "other", _) => self.refresh(&form, &client, proof.as_ref(), &spend),
            ("authorization_code", "app" | "other", Some(proof)) => self.redeem(&form, &client, proof, &spend),
            ("client_credentials" | "refresh_token" | "authorization_code", ..) => Err(Refusal(400, "unauthorized_client", None)),
            ("", ..) => Err(Refusal(400, "invalid_request", None)),
            _ => Err(Refusal(400, "unsupported_grant_type", None)),
        }
    }

    fn check_scope(&self, scope: &str) -> Result<(), Refusal> {
        let bad = || Refusal(400, "invalid_scope", None);
        let words: Vec<&str> = scope.split(' ').collect();
        if self.has(Fault::QuadraticScope) {
            // What a search of each word among those before it takes.
            sleep(Duration::from_micros((words.len() * words.len() / 150) as u64));
        }
        let legal = |word: &&str| word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if words.len() > 64 || !words.iter().all(legal) || !words.iter().all(|word| ["openid", "accounts"].contains(word)) {
            return Err(bad());
        }
        Ok(())
    }

    fn burn_before_demand(&self, form: &Form, used: Option<&(String, i64)>, node: usize) {
        if self.has(Fault::DemandUsesToken)
            && let Some((family, generation, _)) = form.get("refresh_token").and_then(|token| self.read_refresh(token))
            && let Some(family) = self.lock().families.get_mut(&family)
        {
            family.generation = family.generation.max(generation + 2);
        }
        if self.has(Fault::DemandUsesCode)
            && let Some(code) = form.get("code")
        {
            self.lock().codes.remove(code);
        }
        if self.has(Fault::DemandUsesAssertion)
            && let Some((jti, until)) = used
        {
            self.claim(format!("assertion|{jti}"), *until, node);
        }
    }

    fn refresh(
        &self,
        form: &Form,
        client: &str,
        proof: Option<&Proof>,
        spend: &dyn Fn() -> Result<(), Refusal>,
    ) -> Result<(u16, Value), Refusal> {
        let invalid = || Refusal(400, "invalid_grant", None);
        let token = form.get("refresh_token").ok_or(Refusal(400, "invalid_request", None))?;
        let (id, generation, fork) = self.read_refresh(token).ok_or_else(invalid)?;
        let family = self.lock().families.get(&id).cloned().ok_or_else(invalid)?;
        let revoked = self.has(Fault::RevocationOfOneTokenOnly) && self.lock().revoked.contains(&b64(sha256(token)));
        let over = family.over && !self.has(Fault::RevocationOfOneTokenOnly);
        if over || revoked || client != "app" {
            return Err(invalid());
        }
        let jkt = match proof {
            Some(proof) if proof.jkt == family.jkt || self.has(Fault::RefreshKeyUnchecked) => proof.jkt.clone(),
            Some(_) => {
                if self.has(Fault::RevokeOnWrongKey)
                    && let Some(family) = self.lock().families.get_mut(&id)
                {
                    family.over = true;
                }
                return Err(invalid());
            }
            None => family.jkt.clone(),
        };
        if let Some(scope) = form.get("scope")
            && scope.split(' ').any(|word| !family.scope.split(' ').any(|granted| granted == word))
        {
            return Err(Refusal(400, "invalid_scope", None));
        }
        spend()?;
        let scope = form.get("scope").unwrap_or(&family.scope).clone();
        let (line, next) = self.advance(&id, generation, fork, proof.map_or(0, |proof| proof.iat)).ok_or_else(invalid)?;
        let refresh = Some((line.as_str(), next));
        Ok((200, self.tokens("alice", "app", &scope, &jkt, refresh)))
    }

    /// The family and the successor.
    fn advance(&self, id: &str, generation: u32, fork: u32, iat: i64) -> Option<(String, String)> {
        let token = |generation, fork| Some((id.to_owned(), self.refresh_token(id, generation, fork)));
        if self.has(Fault::RefreshRace) {
            // Read, wait, write: each of those who come at once gets a line of its own.
            let current = self.lock().families.get(id)?.clone();
            sleep(Duration::from_millis(30));
            if generation != current.generation {
                return None;
            }
            let line = handle();
            let mut state = self.lock();
            state.families.get_mut(id)?.generation += 1;
            state.families.insert(line.clone(), Family { generation: 0, ..current });
            return Some((line.clone(), self.refresh_token(&line, 0, 0)));
        }
        let mut state = self.lock();
        let family = state.families.get_mut(id)?;
        if self.has(Fault::RetryForks) && generation + 1 >= family.generation {
            family.fork += 1;
            family.generation = generation + 1;
            return token(generation + 1, family.fork);
        }
        match generation {
            same if same == family.generation => {
                family.generation += 1;
                family.rotated = now();
                token(family.generation, fork)
            }
            before if before + 1 == family.generation && !self.has(Fault::LostAnswerEnds) => token(family.generation, fork),
            _ if self.has(Fault::OldTokenTaken) => token(family.generation, fork),
            old if old < family.generation => {
                if iat > family.rotated && !self.has(Fault::ReuseEndsNothing) {
                    family.over = true;
                }
                None
            }
            _ => None,
        }
    }

    fn redeem(&self, form: &Form, client: &str, proof: &Proof, spend: &dyn Fn() -> Result<(), Refusal>) -> Result<(u16, Value), Refusal> {
        let invalid = || Refusal(400, "invalid_grant", None);
        let name = form.get("code").ok_or(Refusal(400, "invalid_request", None))?;
        let code = self.lock().codes.get(name).cloned().ok_or_else(invalid)?;
        let challenge = form.get("code_verifier").map(|verifier| b64(sha256(verifier)));
        let pkce = challenge.as_ref() == code.request.get("code_challenge") || self.has(Fault::PkceUnchecked);
        let key = code.jkt.as_ref().is_none_or(|jkt| *jkt == proof.jkt) || self.has(Fault::CodeKeyUnchecked);
        let same_place = form.get("redirect_uri") == code.request.get("redirect_uri");
        if !pkce || !key || !same_place || code.request.get("client_id").map(String::as_str) != Some(client) || code.expires < now() {
            return Err(invalid());
        }
        spend()?;
        let id = handle();
        let scope = code.request.get("scope").cloned().unwrap_or_default();
        let mut state = self.lock();
        if let Some(first) = code.family.filter(|_| !self.has(Fault::CodeTwice)) {
            if let Some(family) = state.families.get_mut(&first) {
                family.over = true;
            }
            return Err(invalid());
        }
        match state.codes.get_mut(name) {
            Some(code) if code.family.is_none() || self.has(Fault::CodeTwice) => code.family = Some(id.clone()),
            _ => return Err(invalid()),
        }
        let family = Family { jkt: proof.jkt.clone(), scope: scope.clone(), generation: 0, rotated: 0, over: false, fork: 0 };
        state.families.insert(id.clone(), family);
        drop(state);
        Ok((200, self.tokens("alice", client, &scope, &proof.jkt, Some((&id, self.refresh_token(&id, 0, 0))))))
    }

    /// What an authorization request must have.
    fn check_request(&self, form: &Form) -> Result<(), Refusal> {
        let bad = || Refusal(400, "invalid_request", None);
        let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let place = text("redirect_uri");
        let registered = place == REDIRECT_URI || (self.has(Fault::RedirectPrefix) && place.starts_with(REDIRECT_URI));
        let thumbprint = |jkt: &str| jkt.len() == 43 && unb64(jkt, false).is_some();
        let good = ["app", "other"].contains(&text("client_id"))
            && registered
            && text("response_type") == "code"
            && text("code_challenge_method") == "S256"
            && thumbprint(text("code_challenge"))
            && form.get("dpop_jkt").is_none_or(|jkt| thumbprint(jkt));
        if good { self.check_scope(text("scope")) } else { Err(bad()) }
    }

    fn par(&self, request: &Request, node: usize) -> Result<(u16, Value), Refusal> {
        let mut form = self.form(request)?;
        let (client, _) = self.client(request, &form)?;
        if form.contains_key("request_uri") || form.get("client_id") != Some(&client) {
            return Err(Refusal(400, "invalid_request", None));
        }
        if !request.lines("dpop").is_empty() {
            let proof = self.read_proof(request, "POST", "/oauth/par", node).ok_or(Refusal(400, "invalid_dpop_proof", None))?;
            if !self.nonce_is_good(&proof, "as") {
                return Err(Refusal(400, "use_dpop_nonce", Some(self.nonce_now("as"))));
            }
            self.check_request(&form)?;
            if form.get("dpop_jkt").is_some_and(|jkt| *jkt != proof.jkt) || proof.ath.is_some() || !self.spend(&proof, node) {
                return Err(Refusal(400, "invalid_dpop_proof", None));
            }
            if !self.has(Fault::PushedKeyForgotten) {
                form.insert("dpop_jkt".to_owned(), proof.jkt);
            }
        }
        self.check_request(&form)?;
        let name = format!("urn:ietf:params:oauth:request_uri:{}", handle());
        self.lock().pushed.insert(name.clone(), form);
        Ok((201, json!({"request_uri": name, "expires_in": 60})))
    }

    /// One page with one button; who presses it is alice.
    fn authorize(&self, request: &Request) -> Answer {
        let page =
            |status: u16, body: &str| Answer { status, headers: vec![("Content-Type", "text/html".to_owned())], body: body.to_owned() };
        let mut form = Form::new();
        for (name, value) in url::form_urlencoded::parse(request.query.as_bytes()) {
            if form.insert(name.into_owned(), value.into_owned()).is_some() {
                return page(400, "a parameter is there twice");
            }
        }
        if let Some(name) = form.get("request_uri").cloned() {
            let client = form.get("client_id").cloned();
            let pushed = if request.method == "POST" { self.lock().pushed.remove(&name) } else { self.lock().pushed.get(&name).cloned() };
            match pushed.filter(|pushed| pushed.get("client_id") == client.as_ref()) {
                Some(pushed) => form = pushed,
                None => return page(400, "no such request"),
            }
        } else if self.check_request(&form).is_err() {
            return page(400, "the request can't be used");
        }
        if request.method == "GET" {
            return page(200, "<form method=post><button name=go value=yes>Go on as alice</button></form>");
        }
        let code = handle();
        let mut to = url::Url::parse(form.get("redirect_uri").map_or(REDIRECT_URI, String::as_str)).expect("it was checked");
        to.query_pairs_mut().append_pair("code", &code).append_pair("iss", self.issuer());
        if let Some(state) = form.get("state") {
            to.query_pairs_mut().append_pair("state", state);
        }
        let jkt = form.get("dpop_jkt").cloned();
        self.lock().codes.insert(code, Code { request: form, jkt, expires: now() + 60, family: None });
        Answer { status: 303, headers: vec![("Location", to.into())], body: String::new() }
    }

    fn revoke(&self, request: &Request, _node: usize) -> Result<(u16, Value), Refusal> {
        let form = self.form(request)?;
        self.client(request, &form)?;
        let token = form.get("token").map(String::as_str).unwrap_or_default();
        if let Some((id, ..)) = self.read_refresh(token) {
            let mut state = self.lock();
            state.revoked.insert(b64(sha256(token)));
            if let Some(family) = state.families.get_mut(&id) {
                family.over = true;
            }
        }
        Ok((200, json!({})))
    }

    fn introspect(&self, request: &Request, _node: usize) -> Result<(u16, Value), Refusal> {
        let form = self.form(request)?;
        let (client, _) = self.client(request, &form)?;
        if client != "machine" {
            return Err(Refusal(401, "invalid_client", None));
        }
        let claims = form.get("token").and_then(|token| self.read_access(token));
        Ok((
            200,
            match claims {
                Some(claims) => json!({"active": true, "cnf": claims.get("cnf"), "token_type": "DPoP"}),
                None => json!({"active": false}),
            },
        ))
    }

    fn challenge(&self, status: u16, error: &str) -> Answer {
        let mut answer = json_answer(status, &json!({}));
        let error = if error.is_empty() { String::new() } else { format!("error=\"{error}\", ") };
        answer.headers.push(("WWW-Authenticate", format!("DPoP {error}algs=\"{}\"", proof::ALGS.join(" "))));
        answer
    }

    fn userinfo(&self, request: &Request, node: usize) -> Answer {
        let content = || json_answer(200, &json!({"sub": "alice"}));
        if self.has(Fault::IdentityHeaders) && request.header("x-dpop-subject").is_some() {
            return content();
        }
        let query_token = url::form_urlencoded::parse(request.query.as_bytes())
            .find(|(name, _)| name == "access_token")
            .map(|(_, token)| token.into_owned());
        let authorization = request.lines("authorization");
        let line = match authorization.as_slice() {
            [line] => std::str::from_utf8(line).unwrap_or_default(),
            [] => "",
            _ => return self.challenge(400, "invalid_request"),
        };
        let (scheme, token) = match query_token {
            Some(token) if self.has(Fault::TokenInQuery) => ("dpop".to_owned(), token),
            Some(_) => return self.challenge(400, "invalid_request"),
            None => line.split_once(' ').map(|(scheme, token)| (scheme.to_ascii_lowercase(), token.to_owned())).unwrap_or_default(),
        };
        if scheme == "bearer" && self.has(Fault::BearerTaken) {
            return if self.read_access(&token).is_some() { content() } else { self.challenge(401, "invalid_token") };
        }
        if scheme != "dpop" {
            return self.challenge(401, if line.is_empty() { "" } else { "invalid_token" });
        }
        let Some(claims) = self.read_access(&token) else { return self.challenge(401, "invalid_token") };
        if claims.get("sub").is_some_and(|sub| sub == "machine") {
            return self.challenge(403, "insufficient_scope");
        }
        if self.has(Fault::ResourceWithoutProof) && request.lines("dpop").is_empty() {
            return content();
        }
        let Some(proof) = self.read_proof(request, &request.method, "/oauth/userinfo", node) else {
            return self.challenge(401, "invalid_dpop_proof");
        };
        if !self.nonce_is_good(&proof, "rs") {
            return self.with_nonce(self.challenge(401, "use_dpop_nonce"), "rs");
        }
        if proof.ath.as_deref() != Some(&b64(sha256(&token))) && !self.has(Fault::HashIgnored) {
            return self.challenge(401, "invalid_dpop_proof");
        }
        let bound = claims.get("cnf").and_then(|cnf| cnf["jkt"].as_str()) == Some(&proof.jkt);
        if !bound && !self.has(Fault::BindingIgnored) {
            return self.challenge(401, "invalid_token");
        }
        if self.spend(&proof, node) { content() } else { self.challenge(401, "invalid_dpop_proof") }
    }
}
