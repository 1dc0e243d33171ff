//! Wires the parts together: the only file that names a backend.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, web};
use keybound_proofs::{MalformedUri, Nonces, ProofPolicy, Realm};
use tokio::task::JoinHandle;

use crate::clock::{Clock, OsEntropy, SystemClock};
use crate::config::{self, Config, Listener, NoncePolicy, Profile, Registration, RegistrationMode};
use crate::domain::DetailsTypes;
use crate::domain::client::InvalidClientMetadata;
use crate::domain::details_types::BadDetailsType;
use crate::domain::guarded::{Guarded, GuardedResources};
use crate::domain::resource::{Resource, Resources};
use crate::domain::{ClientId, FetchUrl, Scope};
use crate::fetch::{KeySets, KeySource, Reach};
use crate::http::gateway::{GatewayState, gateway_routes};
use crate::http::management::{ManagementState, management_routes};
use crate::http::{PublicState, RequestLimits, public_routes};
use crate::keys::{KeyError, Keys};
use crate::service::authorize::{AuthorizationSettings, SignIn};
use crate::service::client_auth::ClientAuthSettings;
use crate::service::client_documents::ClientDocuments;
use crate::service::client_keys::ClientKeys;
use crate::service::clients::{ClientRegistry, RegistryError};
use crate::service::registration::RegistrationSettings;
use crate::service::trusted_issuers::{TrustedIssuer, TrustedIssuers};
use crate::service::verify::ForeignTokens;
use crate::service::verify_token::VerifiedTokens;
use crate::service::{AuthorizationServer, Issuer, Lifetimes};
use crate::store::StoreError;
use crate::telemetry::{Counters, Event, Events};

mod grpc;
mod listen;
mod stores;
mod tls;

use grpc::Grpc;
use listen::{Serving, Socket, serve};
use stores::Backend;
pub use stores::Stores;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key file.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A configured client.
    #[error("client number {position} of the configuration: {reason}")]
    Client {
        /// Counts from 1.
        position: usize,
        /// What is wrong with it.
        reason: InvalidClientMetadata,
    },
    /// The configured clients together.
    #[error("the clients of the configuration: {0}")]
    Clients(#[from] RegistryError),
    /// A type of authorization details.
    #[error("authorization_details_type number {position} of the configuration: {name}: {message}")]
    DetailsType {
        /// Counts from 1.
        position: usize,
        /// The key.
        name: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The types of authorization details together.
    #[error("authorization_details_type: {0}")]
    DetailsTypes(#[from] BadDetailsType),
    /// The credentials of a configured resource.
    #[error("the credentials of a resource of the configuration: {0}")]
    ResourceCredentials(InvalidClientMetadata),
    /// The issuer, or the URL of a resource.
    #[error("the issuer or a resource is not an absolute http or https URI")]
    Issuer(#[from] MalformedUri),
    /// A listener.
    #[error("can't listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// A certificate or a key of the gateway listeners.
    #[error("{}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A service that runs.
pub struct Running {
    /// Where the public listener listens.
    pub public: SocketAddr,
    /// Where the management listener listens.
    pub management: SocketAddr,
    /// Where the gateway listener listens, where that is an address.
    pub gateway: Option<SocketAddr>,
    /// Where the gateway listener for gRPC listens, where that is an address.
    pub gateway_grpc: Option<SocketAddr>,
    server: Arc<AuthorizationServer>,
    state: web::Data<ManagementState>,
    /// In the order in which they stop.
    listeners: Vec<Serving>,
    grpc: Option<Grpc>,
    watch: JoinHandle<()>,
}

impl Running {
    /// Turns new work away, finishes what is under way, writes what a clean start needs, and ends.
    ///
    /// # Errors
    /// [`StoreError`] where the store could not be closed cleanly; the next start then begins a new replay epoch.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.state.drain();
        self.watch.abort();
        if let Some(grpc) = self.grpc {
            grpc.stop().await;
        }
        // The management listener last, so that `/readyz` says "draining" until the last request is answered.
        for (handle, task) in self.listeners {
            handle.stop(true).await;
            // The task ends with its server; how it ended is of no interest any more.
            let _ended = task.await;
        }
        self.server.health.close(self.server.clock.now()).await
    }
}

/// Starts the service as configured.
///
/// # Errors
/// [`StartError`] before anything listens.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let (server, backend) = build(&config, Arc::clone(&clock)).await?;
    let server = Arc::new(server);

    let public = Socket::tcp(config.listen.public)?;
    let management = Socket::tcp(config.listen.management)?;
    let tls = tls::load(&config.gateway)?;
    let gateway = Socket::gateway(config.listen.gateway.as_ref(), &config.listen.gateway(), tls.as_ref())?;
    let grpc = Socket::gateway(Some(&config.listen.gateway_grpc), &Listener::Off, tls.as_ref())?;
    let (gateway_address, grpc_address) = (gateway.as_ref().and_then(Socket::address), grpc.as_ref().and_then(Socket::address));
    let addresses = (public.address().unwrap_or(config.listen.public), management.address().unwrap_or(config.listen.management));
    for address in [gateway_address, grpc_address].into_iter().flatten() {
        if !address.ip().is_loopback() && config.gateway.key.is_none() && config.gateway.client_ca.is_none() {
            tracing::warn!(%address, "whoever reaches this gateway listener may ask: set gateway.key or gateway.client_ca");
        }
    }

    let limits = RequestLimits { max_body_bytes: config.limits.max_body_bytes, body_timeout: config.limits.request_timeout() };
    let public_state = web::Data::new(PublicState::new(Arc::clone(&server), limits));
    let token = config.management.token.clone();
    let state = web::Data::new(ManagementState { server: Arc::clone(&server), token, draining: false.into() });
    let gateway_state = web::Data::new(GatewayState::new(Arc::clone(&server), config.gateway.key.clone(), limits.body_timeout));

    let mut listeners =
        vec![serve(&config, config.limits.keep_alive(), public, move || App::new().configure(public_routes(public_state.clone())))?];
    if let Some(gateway) = gateway {
        let state = gateway_state.clone();
        listeners.push(serve(&config, GATEWAY_KEEP_ALIVE, gateway, move || App::new().configure(gateway_routes(state.clone())))?);
    }
    {
        let state = state.clone();
        listeners
            .push(serve(&config, config.limits.keep_alive(), management, move || App::new().configure(management_routes(state.clone())))?);
    }
    let grpc = grpc.map(|socket| Grpc::serve(&config, socket, gateway_state)).transpose()?;
    let watch = tokio::spawn(watch_clock(Arc::clone(&clock), backend, Arc::clone(&server)));
    tracing::info!(issuer = server.issuer.as_str(), public = %addresses.0, management = %addresses.1, gateway = ?gateway_address,
        gateway_grpc = ?grpc_address, "ready");
    let (public, management) = addresses;
    Ok(Running { public, management, gateway: gateway_address, gateway_grpc: grpc_address, server, state, listeners, grpc, watch })
}

async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<(AuthorizationServer, Backend), StartError> {
    let loaded = Keys::load_or_create(&config.keys_path(), config.tokens.access_token_alg, &mut OsEntropy)?;
    let window = acceptance_window(config);
    let (stores, backend) = stores::open(&config.store, &proof_policy(config), window, loaded.created, &clock).await?;
    Ok((wire(config, loaded.keys, stores, clock)?, backend))
}

/// For how long after its `iat` the most patient resource accepts a proof: what a ledger has to remember.
pub fn acceptance_window(config: &Config) -> Duration {
    let policy = proof_policy(config);
    let windows = config.resource.iter().map(|one| proof_policy_at(one, &policy)).chain([policy.clone()]);
    windows.map(|policy| policy.acceptance_window(config.dpop.nonce_step())).max().unwrap_or_default()
}

/// The authorization server that the configuration describes, on these stores.
///
/// # Errors
/// [`StartError`] for what the configuration's own check can't see.
pub fn wire(config: &Config, keys: Keys, stores: Stores, clock: Arc<dyn Clock>) -> Result<AuthorizationServer, StartError> {
    let issuer = Issuer::new(config.issuer.as_str())?;
    let fapi2 = config.profile == Profile::Fapi2;
    let proof_policy = proof_policy(config);
    let Stores { families, records, ephemerals, ledger, assertions, health } = stores;

    let mut configured = Vec::new();
    for (index, metadata) in config.client.iter().enumerate() {
        let client = metadata.clone().validate(fapi2, &mut OsEntropy);
        configured.push(client.map_err(|reason| StartError::Client { position: index + 1, reason })?);
    }
    let documents_reach = if config.client_metadata_documents.allow_loopback { Reach::PublicOrLoopback } else { Reach::Public };
    let documents = config.client_metadata_documents.enabled.then(|| ClientDocuments::new(documents_reach, offered_scope(config), fapi2));
    let key_sets = KeySets::new();
    let default_audience = config.default_audience().to_owned();
    let resources = config.resource.iter().map(|one| Resource {
        id: one.id.clone(),
        url: one.url.as_str().to_owned(),
        audience: one.audience.clone().unwrap_or_else(|| default_audience.clone()),
        scopes: one.scopes.clone(),
    });
    let resources = Resources::new(resources.collect(), default_audience.clone());
    let mut details_types = Vec::new();
    for (position, one) in config.authorization_details_type.iter().enumerate() {
        let bad = |(name, message)| StartError::DetailsType { position: position + 1, name, message };
        details_types.push(one.build().map_err(bad)?);
    }
    let details_types = DetailsTypes::new(details_types)?;
    let guarded = guarded(config, &resources, &proof_policy)?;
    // The rules of the profile are for clients: a resource server gets no tokens.
    let resource_credentials = config.resource.iter().filter_map(config::Resource::credentials);
    let resource_credentials = resource_credentials.map(|metadata| metadata.validate(false, &mut OsEntropy));
    let resource_credentials = resource_credentials.collect::<Result<_, _>>().map_err(StartError::ResourceCredentials)?;
    let nonces = Nonces::new(keys.nonce_key(), issuer.as_str(), config.dpop.nonce_step());
    let nonces = match &config.dpop.region {
        None => nonces,
        Some(region) => nonces.in_region(region),
    };
    let server = AuthorizationServer {
        realm: Realm::new(issuer.as_str()),
        nonces,
        key_change: config.dpop.key_change,
        nonce_required: config.dpop.nonce == NoncePolicy::Required,
        proof_policy,
        families,
        ephemerals,
        ledger,
        assertions,
        health,
        clients: ClientRegistry::new(configured, records, fapi2)?.with_documents(documents),
        registration: registration(config),
        trusted_issuers: TrustedIssuers::new(trusted_issuers(config), key_sets.clone(), fapi2),
        client_auth: ClientAuthSettings {
            issuer: issuer.as_str().to_owned(),
            endpoint_urls: [Issuer::TOKEN, Issuer::REFRESH, Issuer::PAR, Issuer::INTROSPECT, Issuer::REVOKE]
                .map(|path| issuer.url(path))
                .to_vec(),
            realm: Realm::new(issuer.as_str()),
            keys: ClientKeys::new(key_sets.clone(), documents_reach),
        },
        refresh_tokens: keys.refresh_tokens(issuer.as_str()),
        keys,
        resources,
        authorization: AuthorizationSettings {
            sign_in: sign_in(config),
            require_par: config.authorize.require_par,
            request_uri_lifetime: config.authorize.request_uri_lifetime(),
            code_lifetime: config.authorize.code_lifetime(),
        },
        details_types,
        resource_credentials,
        verified_tokens: VerifiedTokens::new(config.tokens.access_token_lifetime()),
        lifetimes: Lifetimes {
            access_token: config.tokens.access_token_lifetime(),
            refresh_idle: config.tokens.refresh_idle(),
            refresh_absolute: config.tokens.refresh_absolute(),
        },
        fapi2,
        clock,
        guarded,
        foreign_tokens: ForeignTokens::default(),
        events: Events::default(),
        counters: Counters::default(),
        issuer,
    };
    Ok(server)
}

fn sign_in(config: &Config) -> SignIn {
    match &config.interaction.url {
        Some(url) => SignIn::Application(url.clone()),
        None if config.issuer.is_loopback() && config.interaction.builtin != Some(false) => SignIn::Builtin,
        None => SignIn::Nowhere,
    }
}

fn proof_policy(config: &Config) -> ProofPolicy {
    ProofPolicy {
        algs: config.dpop.algs,
        max_age: config.dpop.proof_max_age(),
        clock_skew: config.dpop.clock_skew(),
        max_proof_bytes: config.dpop.max_proof_bytes,
        trust_nonce_time: config.dpop.trust_nonce_time,
        ..ProofPolicy::default()
    }
}

fn proof_policy_at(resource: &config::Resource, default: &ProofPolicy) -> ProofPolicy {
    let max_age = resource.proof_max_age_s.map_or(default.max_age, |seconds| Duration::from_secs(u64::from(seconds)));
    ProofPolicy { max_age, ..default.clone() }
}

fn guarded(config: &Config, resources: &Resources, proof_policy: &ProofPolicy) -> Result<GuardedResources, MalformedUri> {
    let guarded = config.resource.iter().zip(resources.iter()).map(|(one, resource)| Guarded {
        resource: resource.clone(),
        aliases: one.aliases.iter().map(|alias| alias.as_str().to_owned()).collect(),
        proof_policy: proof_policy_at(one, proof_policy),
        nonce_required: one.nonce.unwrap_or(config.dpop.nonce) == NoncePolicy::Required,
        upstream_authorization: one.upstream_authorization,
    });
    GuardedResources::new(guarded.collect())
}

fn registration(config: &Config) -> Option<RegistrationSettings> {
    let Registration { mode, token, max_clients, max_per_minute, .. } = &config.registration;
    let token = match mode {
        RegistrationMode::Off => return None,
        RegistrationMode::Token => token.clone(),
        RegistrationMode::Open => None,
    };
    Some(RegistrationSettings::new(token, *max_clients, *max_per_minute, offered_scope(config)))
}

/// The configuration was checked: what can't be read here was refused there.
fn trusted_issuers(config: &Config) -> impl Iterator<Item = TrustedIssuer> {
    config.trusted_issuer.iter().filter_map(|one| {
        let keys = match (&one.jwks_uri, &one.jwks) {
            (Some(url), _) => KeySource::Published { url: FetchUrl::parse(url).ok()?, reach: Reach::Operator },
            (None, Some(jwks)) => KeySource::Inline(config::trusted_keys(jwks).ok()?.into()),
            (None, None) => return None,
        };
        Some(TrustedIssuer {
            issuer: one.issuer.clone(),
            keys,
            audience: one.audience.clone().unwrap_or_else(|| config.issuer.as_str().to_owned()),
            subject_claim: one.subject_claim.clone().unwrap_or_else(|| "sub".to_owned()),
            clients: one.clients.iter().filter_map(|id| ClientId::new(id.as_str()).ok()).collect(),
            default_scope: one.scopes.clone(),
            bound_subject_without_proof: one.bound_subject_without_proof,
        })
    })
}

/// Every scope there is: what a client may ask for that names none when it introduces itself.
fn offered_scope(config: &Config) -> Scope {
    let of_resources = config.resource.iter().flat_map(|resource| resource.scopes.iter());
    ["openid", "offline_access"].into_iter().chain(of_resources).collect()
}

/// A step of the wall clock makes the ledger's memory of times worthless: a new epoch begins.
async fn watch_clock(clock: Arc<dyn Clock>, backend: Backend, server: Arc<AuthorizationServer>) {
    const STEP: Duration = Duration::from_secs(2);
    let mut accepted = clock.drift();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let drift = clock.drift();
        if drift.abs_diff(accepted) <= STEP {
            continue;
        }
        let now = clock.now();
        match backend.move_epoch(now).await {
            Ok(()) => {
                accepted = drift;
                tracing::warn!("the clock of this machine was set; every proof needs a nonce for a while");
                server.events.record(Event::EpochMoved { reason: "clock step" }, now);
            }
            // Tried again at the next tick.
            Err(error) => tracing::warn!(%error, "the clock of this machine was set, and the epoch could not be moved yet"),
        }
    }
}

/// Longer than gateways keep an idle connection (nginx: 60 s), so that none asks on one that is being closed.
const GATEWAY_KEEP_ALIVE: Duration = Duration::from_secs(75);
