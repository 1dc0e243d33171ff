//! `keybound proof …`.

use std::io::Read as _;
use std::path::PathBuf;

use keybound_proofs::{Alg, Jkt, JwkError, ProofKey, PublicJwk, SignError};

use crate::cli::inspect::{self, Request};
use crate::cli::{CliError, files, say};
use crate::clock::{Clock as _, OsEntropy, SystemClock};

/// Make a DPoP proof, look into one, or print the thumbprint of a key.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ProofCommand {
    /// Print a proof for one request: the value of its DPoP header. Every request needs its own.
    Make(Make),
    /// Go through the twelve checks of RFC 9449 section 4.3, as far as they can be judged without the server. Exits with 1 if one fails.
    Inspect(Inspect),
    /// Print the RFC 7638 thumbprint of a key, public or private: the `jkt` of grants and tokens.
    Thumbprint(Thumbprint),
}

#[derive(Debug, clap::Args)]
pub(super) struct Make {
    /// The private key as a JWK file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make the key first. The file must not exist yet; only its owner can read it.
    #[arg(long)]
    new_key: bool,
    /// The algorithm of a new key: ES256, ES384, PS256, EdDSA or Ed25519.
    #[arg(long, value_name = "ALG", default_value = "ES256", value_parser = alg)]
    alg: Alg,
    /// The method of the request, as in POST.
    #[arg(long)]
    method: String,
    /// The URL of the request.
    #[arg(long)]
    url: String,
    /// The access token that the request presents.
    #[arg(long, value_name = "TOKEN")]
    access_token: Option<String>,
    /// The nonce that the server gave in DPoP-Nonce.
    #[arg(long)]
    nonce: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The proof; standard input where it is left out.
    proof: Option<String>,
    /// The method of the request it came with.
    #[arg(long)]
    method: Option<String>,
    /// The URL of the request it came with.
    #[arg(long)]
    url: Option<String>,
    /// The access token of the request it came with.
    #[arg(long, value_name = "TOKEN")]
    access_token: Option<String>,
    /// The nonce that the server had given.
    #[arg(long)]
    nonce: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Thumbprint {
    /// The key as a JWK file, or `-` for standard input.
    key: PathBuf,
}

impl ProofCommand {
    pub(super) fn run(self) -> Result<(), CliError> {
        match self {
            Self::Make(make) => make.run(),
            Self::Inspect(inspect) => inspect.run(),
            Self::Thumbprint(thumbprint) => thumbprint.run(),
        }
    }
}

impl Make {
    fn run(self) -> Result<(), CliError> {
        let key = if self.new_key { files::create_key(&self.key, self.alg)? } else { files::read_key(&self.key)? };
        let mut proof = key.proof(&self.method, &self.url);
        if let Some(token) = &self.access_token {
            proof = proof.access_token(token);
        }
        if let Some(nonce) = &self.nonce {
            proof = proof.nonce(nonce);
        }
        let proof = proof.sign(SystemClock::new().now(), &mut OsEntropy);
        say(proof.map_err(|error: SignError| CliError::Unusable(error.to_string()))?);
        Ok(())
    }
}

impl Inspect {
    fn run(self) -> Result<(), CliError> {
        let proof = match self.proof {
            Some(proof) => proof,
            None => read_stdin()?,
        };
        let request = Request {
            method: self.method.as_deref(),
            url: self.url.as_deref(),
            access_token: self.access_token.as_deref(),
            nonce: self.nonce.as_deref(),
        };
        let report = inspect::inspect(proof.trim(), &request, SystemClock::new().now())
            .map_err(|error| CliError::Usage(format!("--url: {error}")))?;
        say(format_args!("{report}"));
        match report.failed() {
            0 => Ok(()),
            failed => Err(CliError::Refused(format!("{failed} of the twelve checks failed"))),
        }
    }
}

impl Thumbprint {
    fn run(self) -> Result<(), CliError> {
        let text = if self.key.as_os_str() == "-" { read_stdin()?.into() } else { files::read_secret(&self.key, "key")? };
        say(thumbprint(text.trim()).map_err(|error| CliError::Unusable(format!("{}: {error}", self.key.display())))?);
        Ok(())
    }
}

fn thumbprint(jwk: &str) -> Result<Jkt, Box<dyn std::error::Error>> {
    match PublicJwk::from_json(jwk.as_bytes()) {
        Ok(key) => Ok(key.thumbprint()),
        Err(JwkError::Private) => Ok(*ProofKey::from_private_jwk(jwk.as_bytes())?.jkt()),
        Err(error) => Err(error.into()),
    }
}

fn read_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::Unusable(format!("standard input: {error}")))?;
    Ok(text)
}

fn alg(name: &str) -> Result<Alg, String> {
    Alg::from_name(name).ok_or_else(|| "one of ES256, ES384, PS256, EdDSA, Ed25519".to_owned())
}
