//! The states of a proof. Each step consumes the value before it.

use std::ops::Range;

use crate::backend::{self, Verifier};
use crate::jose::{self, Compact, Json, NumericDate};
use crate::{
    Alg, Ath, Claim, ClaimAnswer, Jkt, Ledger, LedgerError, NonceLife, NonceRule, ProofError, ProofPolicy, PublicJwk, Realm, ReplayKey,
    TargetUri, UnixTime,
};
use std::time::Duration;

/// A proof that has the right form. Nothing in it is proven: anybody may have written it.
///
/// The form is that of RFC 9449 section 4.2: header parameters and claims are there and of the right type, the key is a valid
/// public key of the header's algorithm, and the algorithm is on the allow-list.
#[derive(Debug)]
pub struct UnverifiedProof {
    /// The bytes that were signed, followed by a dot and the signature segment.
    token: Box<[u8]>,
    signed: Range<usize>,
    signature: Vec<u8>,
    alg: Alg,
    jwk: PublicJwk,
    claims: Claims,
}

impl UnverifiedProof {
    /// Reads the one proof of a request from all values of its `DPoP` fields.
    ///
    /// Cheap things come first: count, size, shape, then the header with the key, then the claims.
    ///
    /// # Errors
    /// [`ProofError`] of the checks 1 to 5 and 7 of RFC 9449 section 4.3. [`ProofError::Missing`] without any value.
    pub fn from_header_values<'a>(values: impl IntoIterator<Item = &'a [u8]>, policy: &ProofPolicy) -> Result<Self, ProofError> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(ProofError::Missing)?;
        if values.next().is_some() {
            return Err(ProofError::Multiple);
        }
        Self::parse(value, policy)
    }

    fn parse(token: &[u8], policy: &ProofPolicy) -> Result<Self, ProofError> {
        if token.len() > policy.max_proof_bytes {
            return Err(ProofError::TooLarge);
        }
        // Proxies join repeated fields with commas (RFC 9110 section 5.3), and no proof holds one.
        if token.contains(&b',') {
            return Err(ProofError::Multiple);
        }
        let jws = Compact::split(token)?;
        let header = jws.header().map_err(|_| ProofError::NotBase64Url)?;
        let payload = jws.payload().map_err(|_| ProofError::NotBase64Url)?;
        let signature = jws.signature().map_err(|_| ProofError::NotBase64Url)?;
        let (alg, jwk) = read_header(&header, policy)?;
        let claims = Claims::read(&payload)?;
        Ok(Self { token: token.into(), signed: jws.signing_range(), signature, alg, jwk, claims })
    }

    /// Checks the proof against the request with the preferred backend.
    ///
    /// `now` must be the one clock reading of this request.
    ///
    /// # Errors
    /// [`ProofError`] of the first check that fails, in this order: `htm`, `htu`, nonce, `iat` with `exp` and `nbf`, signature, `ath`. No
    /// error leaves a trace: the same proof may be checked again.
    ///
    /// NOT checked: whether the proof was used before (see [`VerifiedProof::spend`]), and whether its key is the one a token is
    /// bound to (compare [`FreshProof::jkt`]).
    pub fn verify(self, expected: &Expected<'_>, now: UnixTime) -> Result<VerifiedProof, ProofError> {
        self.verify_with(&backend::PREFERRED, expected, now)
    }

    /// [`verify`](Self::verify) with a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`ProofError::AlgNotAllowed`] for what the backend can't do.
    pub fn verify_with(self, backend: &impl Verifier, expected: &Expected<'_>, now: UnixTime) -> Result<VerifiedProof, ProofError> {
        let policy = expected.policy;
        if !policy.algs.intersection(backend.algs()).contains(self.alg) {
            return Err(ProofError::AlgNotAllowed);
        }
        if self.claims.htm != expected.method {
            return Err(ProofError::HtmMismatch);
        }
        if !TargetUri::is_any_of(expected.targets, &self.claims.htu).map_err(|_| ProofError::HtuMalformed)? {
            return Err(ProofError::HtuMismatch);
        }
        let nonce = check_nonce(self.claims.nonce.as_deref(), &expected.nonce, policy, now)?;
        let acceptable_until = check_time(&self.claims, nonce, expected, now)?;
        backend.verify(self.alg, &self.jwk, &self.token[self.signed], &self.signature).map_err(|_| ProofError::BadSignature)?;
        check_ath(self.claims.ath.as_deref(), expected.access_token)?;

        let jkt = self.jwk.thumbprint();
        let claim = Claim {
            key: ReplayKey::of_proof(expected.realm, &jkt, &self.claims.jti),
            ttl: acceptable_until.since(now).saturating_add(policy.clock_spread).saturating_add(Duration::from_secs(1)),
            epoch: expected.nonce.epoch.id,
        };
        Ok(VerifiedProof { jkt, alg: self.alg, iat: self.claims.iat, renew_nonce: nonce.is_some_and(|life| !life.current), claim })
    }

    /// The thumbprint of the key in the header, whose holder nobody has proven to be the sender.
    pub fn unverified_jkt(&self) -> Jkt {
        self.jwk.thumbprint()
    }

    /// The algorithm in the header.
    pub const fn unverified_alg(&self) -> Alg {
        self.alg
    }

    /// The key in the header, whose holder nobody has proven to be the sender.
    pub const fn unverified_jwk(&self) -> &PublicJwk {
        &self.jwk
    }

    /// The claims, which nobody has proven to be the key holder's.
    pub const fn unverified_claims(&self) -> &Claims {
        &self.claims
    }
}

/// What a request must be answered for by its proof.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The verifier's rules.
    pub policy: &'a ProofPolicy,
    /// The method of the request as the client sent it.
    pub method: &'a str,
    /// The URL of the endpoint and its listed aliases, from the configuration: never from `Host` or a forwarding header.
    pub targets: &'a [TargetUri],
    /// The hash of the access token that the request presents. Without one a proof with `ath` is refused: it was made for the use
    /// of a token and must not serve to get another.
    pub access_token: Option<&'a Ath>,
    /// How nonces are treated.
    pub nonce: NonceRule<'a>,
    /// What a `jti` is unique within.
    pub realm: &'a Realm,
}

/// A proof that satisfies every rule of RFC 9449 section 4.3 for one request at one instant, except that it may have been used before.
///
/// It is worth nothing before it is spent.
#[derive(Debug)]
#[must_use = "a verified proof may be a replay until it is spent"]
pub struct VerifiedProof {
    jkt: Jkt,
    alg: Alg,
    iat: UnixTime,
    renew_nonce: bool,
    claim: Claim,
}

impl VerifiedProof {
    /// The thumbprint of the key that made the proof.
    pub const fn jkt(&self) -> &Jkt {
        &self.jkt
    }

    /// The algorithm of the signature.
    pub const fn alg(&self) -> Alg {
        self.alg
    }

    /// When the proof was made, by the client's clock.
    pub const fn iat(&self) -> UnixTime {
        self.iat
    }

    /// Whether the proof's nonce will soon be stale, so that the answer should carry a new one.
    pub const fn renew_nonce(&self) -> bool {
        self.renew_nonce
    }

    /// What the ledger will record.
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Uses the proof up. Of all attempts to spend one proof at most one succeeds, whatever the number of nodes.
    ///
    /// `now` is the reading the proof was verified with. This is the last check before anything that leaves a trace.
    ///
    /// # Errors
    /// [`SpendError::Replayed`] where the proof was used before. [`SpendError::Ledger`] where that can't be told; the caller must
    /// then refuse (503), never go on.
    pub async fn spend(self, ledger: &(impl Ledger + ?Sized), now: UnixTime) -> Result<FreshProof, SpendError> {
        match ledger.claim(&self.claim, now).await? {
            ClaimAnswer::First => Ok(FreshProof { jkt: self.jkt, alg: self.alg, iat: self.iat, renew_nonce: self.renew_nonce }),
            ClaimAnswer::Seen => Err(SpendError::Replayed),
        }
    }
}

/// Why a verified proof could not be spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpendError {
    /// The proof was used before.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// The ledger can't tell.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A proof that was verified and spent: evidence that the holder of `jkt` made this request, now, for the first time.
///
/// Only [`VerifiedProof::spend`] makes one, and it can't be copied. It authorises nothing by itself (RFC 9449 section 2).
#[derive(Debug)]
pub struct FreshProof {
    jkt: Jkt,
    alg: Alg,
    iat: UnixTime,
    renew_nonce: bool,
}

impl FreshProof {
    /// The thumbprint of the key that made the proof.
    pub const fn jkt(&self) -> &Jkt {
        &self.jkt
    }

    /// The algorithm of the signature.
    pub const fn alg(&self) -> Alg {
        self.alg
    }

    /// When the proof was made, by the client's clock.
    pub const fn iat(&self) -> UnixTime {
        self.iat
    }

    /// Whether the answer should carry a new nonce.
    pub const fn renew_nonce(&self) -> bool {
        self.renew_nonce
    }
}

/// The claims of a proof that have a meaning here (RFC 9449 section 4.2). Others are tolerated and dropped.
pub struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: UnixTime,
    exp: Option<UnixTime>,
    nbf: Option<UnixTime>,
    ath: Option<String>,
    nonce: Option<String>,
}

impl Claims {
    fn read(payload: &[u8]) -> Result<Self, ProofError> {
        let [jti, htm, htu, iat, exp, nbf, ath, nonce] =
            jose::members(payload, ["jti", "htm", "htu", "iat", "exp", "nbf", "ath", "nonce"])?;
        let jti = text(jti, ProofError::JtiMissing)?;
        if jti.is_empty() || jti.len() > MAX_JTI_BYTES {
            return Err(ProofError::JtiLength);
        }
        Ok(Self {
            jti,
            htm: text(htm, ProofError::HtmMissing)?,
            htu: text(htu, ProofError::HtuMissing)?,
            iat: time(iat, ProofError::IatMissing)?,
            exp: exp.map(|exp| time(Some(exp), ProofError::ExpNotANumber)).transpose()?,
            nbf: nbf.map(|nbf| time(Some(nbf), ProofError::NbfNotANumber)).transpose()?,
            ath: ath.map(|ath| text(Some(ath), ProofError::AthNotAString)).transpose()?,
            nonce: nonce.map(|nonce| text(Some(nonce), ProofError::NonceNotAString)).transpose()?,
        })
    }

    /// The method the proof was made for.
    pub fn htm(&self) -> &str {
        &self.htm
    }

    /// The URI the proof was made for, as written.
    pub fn htu(&self) -> &str {
        &self.htu
    }

    /// When the proof was made.
    pub const fn iat(&self) -> UnixTime {
        self.iat
    }

    /// Whether the proof has an `ath`.
    pub const fn has_ath(&self) -> bool {
        self.ath.is_some()
    }

    /// Whether the proof has a `nonce`.
    pub const fn has_nonce(&self) -> bool {
        self.nonce.is_some()
    }
}

/// Leaves out what must not reach a log: `jti`, `ath` and the nonce.
impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("htm", &self.htm).field("htu", &self.htu).field("iat", &self.iat).finish_non_exhaustive()
    }
}

/// RFC 9449 section 4.3, checks 3 to 5 and 7.
fn read_header(header: &[u8], policy: &ProofPolicy) -> Result<(Alg, PublicJwk), ProofError> {
    let [typ, alg, jwk, crit, b64] = jose::members(header, ["typ", "alg", "jwk", "crit", "b64"])?;
    let Some(Json::Text(typ)) = typ else { return Err(ProofError::TypMissing) };
    if typ != "dpop+jwt" {
        return Err(ProofError::TypWrong);
    }
    let Some(Json::Text(alg)) = alg else { return Err(ProofError::AlgMissing) };
    let alg = Alg::from_name(&alg).filter(|alg| policy.algs.contains(*alg)).ok_or(ProofError::AlgNotAllowed)?;
    if crit.is_some() || b64.is_some() {
        return Err(ProofError::CriticalHeader);
    }
    let Some(Json::Object(jwk)) = jwk else { return Err(ProofError::JwkMissing) };
    let jwk = PublicJwk::from_json(jwk.as_bytes())?;
    if !jwk.supports(alg) {
        return Err(ProofError::AlgKeyMismatch);
    }
    Ok((alg, jwk))
}

fn text(member: Option<Json<'_>>, otherwise: ProofError) -> Result<String, ProofError> {
    match member {
        Some(Json::Text(text)) => Ok(text.into_owned()),
        _ => Err(otherwise),
    }
}

fn time(member: Option<Json<'_>>, otherwise: ProofError) -> Result<UnixTime, ProofError> {
    match member {
        Some(Json::Number(date)) => Ok(NumericDate::time(date)),
        _ => Err(otherwise),
    }
}

/// Check 10. A nonce that is there is always checked: whoever sends a dead one learns the living one, whatever the policy.
fn check_nonce(
    presented: Option<&str>,
    rule: &NonceRule<'_>,
    policy: &ProofPolicy,
    now: UnixTime,
) -> Result<Option<NonceLife>, ProofError> {
    match presented {
        Some(nonce) => rule.nonces.check(rule.role, &rule.epoch.id, nonce, now).map(Some).map_err(|_| ProofError::UseNonce),
        None if rule.demands_nonce(now, policy.replay_window()) => Err(ProofError::UseNonce),
        None => Ok(None),
    }
}

/// Check 11. Returns the last instant at which this very proof passes the check: what the ledger's memory is measured by.
fn check_time(claims: &Claims, nonce: Option<NonceLife>, expected: &Expected<'_>, now: UnixTime) -> Result<UnixTime, ProofError> {
    let policy = expected.policy;
    let governing_nonce = nonce.filter(|_| policy.trust_nonce_time);
    let (max_age, max_ahead) = match governing_nonce {
        Some(_) => {
            let window = expected.nonce.nonces.step().saturating_mul(2);
            (policy.max_age.max(window), policy.clock_skew.max(window))
        }
        None => (policy.max_age, policy.clock_skew),
    };
    let last = claims.iat.plus(max_age);
    if now > last {
        return Err(ProofError::IatTooOld);
    }
    if claims.iat > now.plus(max_ahead) {
        return Err(ProofError::IatTooNew);
    }
    if claims.exp.is_some_and(|exp| now >= exp.plus(policy.clock_skew)) {
        return Err(ProofError::Expired);
    }
    if claims.nbf.is_some_and(|nbf| now.plus(policy.clock_skew) < nbf) {
        return Err(ProofError::NotYetValid);
    }
    Ok(governing_nonce.map_or(last, |life| last.min(life.ends)))
}

/// The proof's half of check 12. The other half, the key's binding, needs the token and is the caller's.
fn check_ath(claim: Option<&str>, access_token: Option<&Ath>) -> Result<(), ProofError> {
    match (claim, access_token) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(ProofError::AthUnexpected),
        (None, Some(_)) => Err(ProofError::AthMissing),
        (Some(claim), Some(ath)) if ath.is_spelled(claim) => Ok(()),
        (Some(_), Some(_)) => Err(ProofError::AthMismatch),
    }
}

/// Room for any identifier in use, and little to store or hash.
const MAX_JTI_BYTES: usize = 256;
