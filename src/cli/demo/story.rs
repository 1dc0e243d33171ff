//! The eight steps of the demo. Each says what it does, does it over HTTP, and checks what came back.

use keybound_proofs::jose::Compact;
use keybound_proofs::{Alg, Jkt, ProofKey};
use reqwest::Method;
use serde_json::{Value, json};

use super::{CLIENT_ID, SCOPE};
use crate::cli::management::ManagementClient;
use crate::cli::oauth::{Answer, OAuthClient};
use crate::cli::{CliError, http, say};
use crate::clock::OsEntropy;
use crate::config::BaseUrl;

/// The demo's client and its operator.
pub(super) struct Story {
    client: OAuthClient,
    operator: ManagementClient,
    issuer: BaseUrl,
}

impl Story {
    pub(super) fn new(issuer: &BaseUrl, management: &str, token: &str) -> Result<Self, CliError> {
        Ok(Self {
            client: OAuthClient::new(issuer.join("/oauth/refresh"), CLIENT_ID.to_owned())?,
            operator: ManagementClient::new(management.to_owned(), token)?,
            issuer: issuer.clone(),
        })
    }

    /// Makes a grant for the demo's client, bound to `key`.
    pub(super) async fn grant(&self, key: &ProofKey) -> Result<Value, CliError> {
        let grant = json!({ "client_id": CLIENT_ID, "sub": "alice", "scope": SCOPE, "jkt": key.jkt().to_string() });
        self.operator.send(Method::POST, "/admin/grants", &[], Some(&grant)).await
    }

    /// Tells the story.
    ///
    /// # Errors
    /// [`CliError::Refused`] at the first step that does anything else than it says.
    pub(super) async fn tell(&self) -> Result<(), CliError> {
        let key = new_key()?;
        say(format_args!(
            "A Keybound service runs at {}, and this program is also its client `{CLIENT_ID}`.\n\
             The client has made a key pair. The private half never leaves it; the public half has the thumbprint\n  {}\n",
            self.issuer,
            key.jkt()
        ));

        let first = self.a_grant(&key).await?;
        let second = self.a_refresh(&key, &first).await?;
        let third = self.a_rotated_refresh(&key, &second).await?;
        let proof = self.a_lost_answer(&key, &second, &third).await?;
        self.a_replayed_proof(&second, &proof).await?;
        let fourth = self.another_key(&key, &third).await?;
        self.a_proof_for_another_url(&key, &fourth).await?;
        self.an_old_token(&key, &first, &fourth).await
    }

    async fn a_grant(&self, key: &ProofKey) -> Result<String, CliError> {
        step(1, "A grant", "Alice signs in and agrees. The login application tells the service, and names the client's key.");
        sent("POST /admin/grants  {sub: alice, scope: accounts openid, jkt: the thumbprint}");
        let granted = self.grant(key).await?;
        let token = granted["refresh_token"].as_str().unwrap_or_default().to_owned();
        came_back(&format!("201  refresh_token R1 = {}", shortened(&token)));
        check(token.starts_with("kbr_"), "the grant comes with a refresh token")?;
        why("The refresh token is bound to the key: whoever steals the token alone has nothing.");
        Ok(token)
    }

    async fn a_refresh(&self, key: &ProofKey, token: &str) -> Result<String, CliError> {
        step(2, "A refresh", "The client asks for an access token. A proof in the DPoP header shows that it holds the key.");
        let (answer, _) = self.refresh(key, token, "R1", "a fresh proof").await?;
        let rotated = accepted(&answer, key.jkt(), "the refresh", "R2")?;
        check(rotated != token, "the refresh token rotates")?;
        why("Both tokens are bound to the key: the access token names its thumbprint in cnf.jkt, and an API asks for a proof by that key.");
        Ok(rotated)
    }

    async fn a_rotated_refresh(&self, key: &ProofKey, token: &str) -> Result<String, CliError> {
        step(3, "The rotated refresh", "The token that came back is used next, with a new proof: each proof is for one request.");
        let (answer, _) = self.refresh(key, token, "R2", "a fresh proof").await?;
        let rotated = accepted(&answer, key.jkt(), "the rotated refresh", "R3")?;
        check(rotated != token, "the refresh token rotates again")?;
        why("Every refresh moves the family one generation on; at most one token of it is the newest.");
        Ok(rotated)
    }

    async fn a_lost_answer(&self, key: &ProofKey, token: &str, successor: &str) -> Result<String, CliError> {
        step(4, "A lost answer", "Say the answer of step 3 never arrived. The client asks again with the token it still has, R2.");
        let (answer, proof) = self.refresh(key, token, "R2", "a fresh proof").await?;
        let repeated = accepted(&answer, key.jkt(), "the repeated refresh", "R3")?;
        check(repeated == successor, "the lost answer is given again")?;
        why("The very same R3 came back: a lost answer never costs the session, and no second branch of it exists.");
        Ok(proof)
    }

    async fn a_replayed_proof(&self, token: &str, proof: &str) -> Result<(), CliError> {
        step(5, "A replayed proof", "Someone recorded the whole request of step 4, and sends it once more, byte for byte.");
        sent("POST /oauth/refresh  {refresh_token: R2}  DPoP: the proof of step 4");
        let answer = self.ask(token, proof).await?;
        refused(&answer, 400, "invalid_dpop_proof", "the replayed proof")?;
        why("Every proof is accepted once. The ledger of used proofs remembers it for as long as it could be accepted.");
        Ok(())
    }

    async fn another_key(&self, key: &ProofKey, token: &str) -> Result<String, CliError> {
        step(6, "A stolen token", "A thief has the newest token R3, but not the key. So he makes a key of his own.");
        let (answer, _) = self.refresh(&new_key()?, token, "R3", "a fresh proof by the thief's key").await?;
        refused(&answer, 401, "invalid_grant", "the other key")?;
        why("Wrong key, no token. And the thief can't even end the session: the rightful client goes on.");
        let (answer, _) = self.refresh(key, token, "R3", "a fresh proof by the client's key").await?;
        let rotated = accepted(&answer, key.jkt(), "the rightful refresh", "R4")?;
        check(rotated != token, "the rightful client goes on")?;
        gap();
        Ok(rotated)
    }

    async fn a_proof_for_another_url(&self, key: &ProofKey, token: &str) -> Result<(), CliError> {
        let elsewhere = "https://api.example.com/accounts";
        step(7, "A proof for another URL", "An API that the client called keeps the client's proof and tries it here.");
        sent(&format!("POST /oauth/refresh  {{refresh_token: R4}}  DPoP: a proof for POST {elsewhere}"));
        let answer = self.ask(token, &self.client.proof(key, elsewhere, None)?).await?;
        refused(&answer, 400, "invalid_dpop_proof", "the proof for another URL")?;
        why("A proof names the method and the URL it is for, and is good for nothing else.");
        Ok(())
    }

    async fn an_old_token(&self, key: &ProofKey, first: &str, newest: &str) -> Result<(), CliError> {
        step(8, "An old token", "Someone uses R1 with the right key. The client has long moved on: the key must be in two hands.");
        let (answer, _) = self.refresh(key, first, "R1", "a fresh proof").await?;
        refused(&answer, 401, "invalid_grant", "the old token")?;
        why("Refused, and the whole family is revoked. From now on the newest token is refused too:");
        let (answer, _) = self.refresh(key, newest, "R4", "a fresh proof").await?;
        refused(&answer, 401, "invalid_grant", "the newest token of a revoked family")?;
        gap();
        Ok(())
    }

    /// Sends a refresh with a fresh proof; returns the proof too.
    async fn refresh(&self, key: &ProofKey, token: &str, name: &str, with: &str) -> Result<(Answer, String), CliError> {
        sent(&format!("POST /oauth/refresh  {{refresh_token: {name}}}  DPoP: {with}"));
        let proof = self.client.proof(key, &self.client.endpoint, None)?;
        Ok((self.ask(token, &proof).await?, proof))
    }

    async fn ask(&self, token: &str, proof: &str) -> Result<Answer, CliError> {
        let answer = self.client.refresh(token, proof, &[]).await;
        answer.map_err(|error| CliError::Unusable(format!("the service does not answer: {}", http::chain(&error))))
    }
}

/// Checks a 200 with bound tokens, prints it, and returns the new refresh token, which the story calls `name`.
fn accepted(answer: &Answer, jkt: &Jkt, what: &str, name: &str) -> Result<String, CliError> {
    let (access_token, refresh_token) = (answer.text("access_token"), answer.text("refresh_token"));
    came_back(&format!(
        "{}  access_token {} ({}, {} s), refresh_token {name} = {}",
        answer.status.as_u16(),
        shortened(access_token),
        answer.text("token_type"),
        answer.body["expires_in"],
        shortened(refresh_token)
    ));
    check(answer.status == reqwest::StatusCode::OK, &format!("{what} is answered with 200"))?;
    check(answer.text("token_type") == "DPoP", "the access token's type is DPoP")?;
    check(answer.body["dpop_access_token_bound"] == true, "the answer says that the token is bound")?;
    check(bound_to(access_token).is_some_and(|bound| bound == jkt.to_string()), "the access token names the client's key in cnf.jkt")?;
    check(!refresh_token.is_empty(), "a refresh token comes along")?;
    Ok(refresh_token.to_owned())
}

/// Checks and prints a refusal.
fn refused(answer: &Answer, status: u16, error: &str, what: &str) -> Result<(), CliError> {
    came_back(&format!("{}  {}: {}", answer.status.as_u16(), answer.text("error"), answer.text("error_description")));
    check(answer.status.as_u16() == status && answer.text("error") == error, &format!("{what} is refused with {status} {error}"))?;
    check(answer.body.get("access_token").is_none(), "a refusal holds no token")
}

/// The thumbprint in an access token's `cnf`. The signature is not looked at: the client asked the issuer itself.
fn bound_to(access_token: &str) -> Option<String> {
    let payload = Compact::split(access_token.as_bytes()).ok()?.payload().ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims["cnf"]["jkt"].as_str().map(str::to_owned)
}

fn check(holds: bool, claim: &str) -> Result<(), CliError> {
    if holds { Ok(()) } else { Err(CliError::Refused(format!("the demo expected that {claim}, and it was not so"))) }
}

fn new_key() -> Result<ProofKey, CliError> {
    ProofKey::generate(Alg::Es256, &mut OsEntropy).map_err(|error| CliError::Unusable(error.to_string()))
}

fn step(number: u8, title: &str, text: &str) {
    say(format_args!("{number}. {title}\n   {text}"));
}

fn sent(text: &str) {
    say(format_args!("   -> {text}"));
}

fn came_back(text: &str) {
    say(format_args!("   <- {text}"));
}

fn why(text: &str) {
    say(format_args!("   {text}\n"));
}

fn gap() {
    say("");
}

/// The start of a token: enough to tell two apart, too little to use one.
fn shortened(token: &str) -> String {
    let start: String = token.chars().take(8).collect();
    let end: String = token.chars().skip(token.chars().count().saturating_sub(4)).collect();
    format!("{start}…{end}")
}
