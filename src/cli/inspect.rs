//! The twelve checks of RFC 9449 section 4.3, one by one, without the server.

use std::fmt;

use keybound_proofs::backend::{self, Verifier as _};
use keybound_proofs::jose::{Compact, Json, members};
use keybound_proofs::{Ath, MalformedUri, ProofError, ProofPolicy, TargetUri, UnixTime, UnverifiedProof};

/// What is known of the request that the proof came with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request<'a> {
    pub(super) method: Option<&'a str>,
    pub(super) url: Option<&'a str>,
    pub(super) access_token: Option<&'a str>,
    pub(super) nonce: Option<&'a str>,
}

/// The verdict on each check, and what the proof says.
pub(super) struct Report {
    facts: Vec<(&'static str, String)>,
    verdicts: [Verdict; CHECKS.len()],
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Pass(String),
    Fail(String),
    Open(String),
}

/// What each check asks for. The number of a check is its place, from 1.
const CHECKS: [&str; 12] = [
    "one DPoP header",
    "a well-formed JWT",
    "all required claims",
    "typ is dpop+jwt",
    "an accepted, asymmetric alg",
    "the signature verifies with jwk",
    "no private key in jwk",
    "htm is the request's method",
    "htu is the request's URL",
    "nonce is the server's",
    "iat is recent",
    "ath is the access token's",
];

/// Judges `proof` at `now` under the default policy: every algorithm, 60 s back, 10 s ahead.
///
/// Not judged: whether the proof was used before, and whether its key is the one that a token is bound to.
pub(super) fn inspect(proof: &str, request: &Request<'_>, now: UnixTime) -> Result<Report, MalformedUri> {
    let policy = ProofPolicy::default();
    let target = request.url.map(TargetUri::parse).transpose()?;
    let parsed = match UnverifiedProof::from_header_values([proof.as_bytes()], &policy) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Report::of_malformed(error)),
    };
    let claims = parsed.unverified_claims();
    let (ath, nonce) = ath_and_nonce(proof);
    let verdicts = [
        Verdict::pass("one"),
        Verdict::pass("compact JWS, canonical base64url, JSON without doubled members"),
        Verdict::pass("typ, alg, jwk, jti, htm, htu, iat"),
        Verdict::pass("dpop+jwt"),
        Verdict::pass(parsed.unverified_alg().name()),
        signature(proof, &parsed),
        Verdict::pass("public members only"),
        match request.method {
            None => Verdict::open(format!("{}; compare with --method", claims.htm())),
            Some(method) => Verdict::of(claims.htm() == method, format!("{}, the request is {method}", claims.htm())),
        },
        match (&target, TargetUri::parse(claims.htu())) {
            (_, Err(error)) => Verdict::fail(format!("{}: {error}", claims.htu())),
            (None, Ok(_)) => Verdict::open(format!("{}; compare with --url", claims.htu())),
            (Some(target), Ok(htu)) => Verdict::of(htu == *target, format!("{}, the request is {}", htu.as_str(), target.as_str())),
        },
        match (request.nonce, nonce) {
            (None, None) => Verdict::open("none; only the server knows whether it wants one"),
            (None, Some(_)) => Verdict::open("there is one; compare with --nonce"),
            (Some(_), None) => Verdict::fail("the server gave a nonce and the proof has none"),
            (Some(given), Some(nonce)) => Verdict::of(nonce == given, "the proof's against the one given"),
        },
        time(claims.iat(), &policy, now),
        match (request.access_token, ath) {
            (None, None) => Verdict::pass("none, as at a token endpoint"),
            (None, Some(_)) => Verdict::open("there is one; compare with --access-token"),
            (Some(_), None) => Verdict::fail("the request presents an access token and the proof has no ath"),
            (Some(token), Some(ath)) => Verdict::of(ath == Ath::of_token(token).to_string(), "the proof's against the token's hash"),
        },
    ];
    let facts = vec![
        ("algorithm", parsed.unverified_alg().to_string()),
        ("key", format!("{} (thumbprint)", parsed.unverified_jkt())),
        ("made for", format!("{} {}", claims.htm(), claims.htu())),
    ];
    Ok(Report { facts, verdicts })
}

impl Report {
    /// How many checks failed.
    pub(super) fn failed(&self) -> usize {
        self.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Fail(_))).count()
    }

    /// Where the form is wrong, the failing check is known and the others were not reached. What the RFC leaves to the server (a size) counts
    /// as the form.
    fn of_malformed(error: ProofError) -> Self {
        let mut verdicts = [const { Verdict::Open(String::new()) }; CHECKS.len()];
        verdicts.fill(Verdict::open("not reached"));
        let failed = usize::from(error.check()).checked_sub(1).unwrap_or(1);
        if let Some(verdict) = verdicts.get_mut(failed) {
            *verdict = Verdict::fail(error.description());
        }
        Self { facts: Vec::new(), verdicts }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.facts {
            writeln!(f, "{name:<10} {value}")?;
        }
        for (position, (check, verdict)) in CHECKS.iter().zip(&self.verdicts).enumerate() {
            let (word, detail) = match verdict {
                Verdict::Pass(detail) => ("pass", detail),
                Verdict::Fail(detail) => ("FAIL", detail),
                Verdict::Open(detail) => ("-", detail),
            };
            writeln!(f, "{:>2}  {word:<4}  {check:<32}  {detail}", position + 1)?;
        }
        f.write_str("A proof that passes may still have been used before: only the server's ledger knows.")
    }
}

impl Verdict {
    fn pass(detail: impl Into<String>) -> Self {
        Self::Pass(detail.into())
    }

    fn fail(detail: impl Into<String>) -> Self {
        Self::Fail(detail.into())
    }

    fn open(detail: impl Into<String>) -> Self {
        Self::Open(detail.into())
    }

    fn of(good: bool, detail: impl Into<String>) -> Self {
        if good { Self::Pass(detail.into()) } else { Self::Fail(detail.into()) }
    }
}

fn signature(proof: &str, parsed: &UnverifiedProof) -> Verdict {
    let verified = Compact::split(proof.as_bytes()).ok().and_then(|jws| {
        let signature = jws.signature().ok()?;
        backend::PREFERRED.verify(parsed.unverified_alg(), parsed.unverified_jwk(), jws.signing_input(), &signature).ok()
    });
    Verdict::of(verified.is_some(), if verified.is_some() { "it does" } else { "it does not" })
}

fn time(iat: UnixTime, policy: &ProofPolicy, now: UnixTime) -> Verdict {
    let (age, ahead) = (now.since(iat), iat.since(now));
    let detail =
        if ahead.is_zero() { format!("made {} s ago", age.as_secs()) } else { format!("made {} s in the future", ahead.as_secs()) };
    let limits = format!("{detail}; usual limits are {} s back and {} s ahead", policy.max_age.as_secs(), policy.clock_skew.as_secs());
    Verdict::of(age <= policy.max_age && ahead <= policy.clock_skew, limits)
}

fn ath_and_nonce(proof: &str) -> (Option<String>, Option<String>) {
    let text = |member: Option<Json<'_>>| match member {
        Some(Json::Text(text)) => Some(text.into_owned()),
        _ => None,
    };
    let payload = Compact::split(proof.as_bytes()).ok().and_then(|jws| jws.payload().ok()).unwrap_or_default();
    let Ok([ath, nonce]) = members(&payload, ["ath", "nonce"]) else { return (None, None) };
    (text(ath), text(nonce))
}

#[cfg(test)]
mod tests {
    use keybound_proofs::{Alg, ProofKey};

    use super::*;
    use crate::clock::OsEntropy;

    const URL: &str = "https://as.example.com/oauth/refresh";
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn failed(proof: &str, request: &Request<'_>, now: UnixTime) -> Vec<usize> {
        let report = inspect(proof, request, now).unwrap();
        let failed: Vec<usize> =
            (1..).zip(&report.verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Fail(_))).map(|(at, _)| at).collect();
        assert_eq!(failed.len(), report.failed());
        failed
    }

    #[test]
    fn each_check_fails_alone() {
        let key = ProofKey::generate(Alg::Es256, &mut OsEntropy).unwrap();
        let proof = key.proof("POST", URL).access_token("at").nonce("n").sign(NOW, &mut OsEntropy).unwrap();
        let good = Request { method: Some("POST"), url: Some(URL), access_token: Some("at"), nonce: Some("n") };
        assert_eq!(failed(&proof, &good, NOW), Vec::<usize>::new());
        let (signed, signature) = proof.rsplit_once('.').unwrap();
        let other_start = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{signed}.{other_start}{}", &signature[1..]);
        let bare = key.proof("POST", URL).sign(NOW, &mut OsEntropy).unwrap();
        for (proof, request, now, check) in [
            (format!("{proof},{proof}"), good, NOW, 1),
            ("a.b".to_owned(), good, NOW, 2),
            (forged, good, NOW, 6),
            (proof.clone(), Request { method: Some("post"), ..good }, NOW, 8),
            (proof.clone(), Request { url: Some("https://as.example.com/oauth/token"), ..good }, NOW, 9),
            (proof.clone(), Request { nonce: Some("m"), ..good }, NOW, 10),
            (proof.clone(), good, NOW.plus(std::time::Duration::from_secs(61)), 11),
            (proof.clone(), good, NOW.minus(std::time::Duration::from_secs(11)), 11),
            (proof.clone(), Request { access_token: Some("other"), ..good }, NOW, 12),
            (bare.clone(), Request { nonce: None, ..good }, NOW, 12),
            (bare, Request { access_token: None, ..good }, NOW, 10),
        ] {
            assert_eq!(failed(&proof, &request, now), [check], "check {check}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_open() {
        let key = ProofKey::generate(Alg::EdDsa, &mut OsEntropy).unwrap();
        let proof = key.proof("POST", URL).sign(NOW, &mut OsEntropy).unwrap();
        let report = inspect(&proof, &Request::default(), NOW).unwrap();
        let open: Vec<usize> =
            (1..).zip(&report.verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Open(_))).map(|(at, _)| at).collect();
        assert_eq!((report.failed(), open), (0, vec![8, 9, 10]));
        assert!(report.to_string().contains(&key.jkt().to_string()));
    }
}
