//! What is changed in Keybound's own source: each edit breaks a rule while the variable `KEYBOUND_BROKEN` names it.

/// One edit.
pub(super) struct Edit {
    /// The file, from the root of the repository.
    pub(super) file: &'static str,
    /// What stands there: exactly once, outside of tests.
    pub(super) find: &'static str,
    /// What stands there instead.
    pub(super) replace: &'static str,
}

/// Added to the crates `keybound` and `keybound-proofs`.
pub(super) const SWITCH: &str = r#"
/// Whether this build is to break the rule of this name.
pub fn broken(rule: &str) -> bool {
    static RULE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    RULE.get_or_init(|| std::env::var("KEYBOUND_BROKEN").ok()).as_deref() == Some(rule)
}
"#;

const fn edit(file: &'static str, find: &'static str, replace: &'static str) -> Edit {
    Edit { file, find, replace }
}

const PROOF: &str = "proofs/src/proof.rs";
const FAMILY: &str = "src/domain/family.rs";
const REFRESH: &str = "src/service/refresh.rs";
const SPEND: &str = "src/service/proof.rs";
const CODE: &str = "src/service/code.rs";
const PAR: &str = "src/service/par.rs";
const ACCESS: &str = "src/service/access.rs";
const ASSERTION: &str = "src/service/client_assertion.rs";
const TOKEN: &str = "src/service/verify_token.rs";
const GATEWAY: &str = "src/service/verify.rs";

/// All of them; they are in one build together.
pub(super) const EDITS: &[Edit] = &[
    // The header and the key of a proof.
    edit(PROOF, r#"if typ != "dpop+jwt" {"#, r#"if typ != "dpop+jwt" && !crate::broken("typ-ignored") {"#),
    edit(PROOF, "if crit.is_some() || b64.is_some() {", r#"if (crit.is_some() || b64.is_some()) && !crate::broken("crit-ignored") {"#),
    edit(
        PROOF,
        "let alg = Alg::from_name(&alg).filter(",
        r#"let known = if crate::broken("none-taken") && alg == "none" { Some(Alg::Es256) } else { Alg::from_name(&alg) };
    let alg = known.filter("#,
    ),
    edit(
        "proofs/src/jose/compact.rs",
        "|| second_dot + 1 == token.len() {",
        r#"|| (second_dot + 1 == token.len() && !crate::broken("none-taken")) {"#,
    ),
    edit(
        "proofs/src/jwk.rs",
        "if private.iter().any(Option::is_some) {",
        r#"if private.iter().any(Option::is_some) && !crate::broken("private-key-taken") {"#,
    ),
    edit(
        "proofs/src/jose/json.rs",
        "if !names.insert(name.clone()) {",
        r#"if !names.insert(name.clone()) && !crate::broken("duplicates-taken") {"#,
    ),
    edit(
        PROOF,
        "backend.verify(self.alg, &self.jwk, &self.token[self.signed], &self.signature).map_err(|_| ProofError::BadSignature)?;",
        r#"let genuine = backend.verify(self.alg, &self.jwk, &self.token[self.signed.clone()], &self.signature);
        let unsigned = crate::broken("none-taken") && self.signature.is_empty();
        if genuine.is_err() && !unsigned && !crate::broken("signature-unchecked") {
            return Err(ProofError::BadSignature);
        }"#,
    ),
    // What a proof was made for, and when.
    edit(
        PROOF,
        "if self.claims.htm != expected.method {",
        r#"let but_for_the_case = crate::broken("method-case-ignored") && self.claims.htm.eq_ignore_ascii_case(expected.method);
        if self.claims.htm != expected.method && !but_for_the_case && !crate::broken("method-unchecked") {"#,
    ),
    edit(
        PROOF,
        "if !TargetUri::is_any_of(expected.targets, &self.claims.htu).map_err(|_| ProofError::HtuMalformed)? {",
        r#"let prefix = crate::broken("uri-prefix") && expected.targets.iter().any(|target| self.claims.htu.starts_with(target.as_str()));
        if !crate::broken("uri-unchecked")
            && !prefix
            && !TargetUri::is_any_of(expected.targets, &self.claims.htu).map_err(|_| ProofError::HtuMalformed)?
        {"#,
    ),
    edit(
        "proofs/src/target_uri.rs",
        "Ok(targets.contains(&htu))",
        r#"let same = |part: fn(&str) -> Option<&str>| targets.iter().any(|target| part(&target.0) == part(&htu.0));
        Ok(targets.contains(&htu)
            || crate::broken("uri-host-ignored") && same(|uri| uri.splitn(4, '/').nth(3))
            || crate::broken("uri-scheme-ignored") && same(|uri| uri.split("://").nth(1))
            || crate::broken("uri-slash-ignored") && same(|uri| Some(uri.trim_end_matches('/'))))"#,
    ),
    edit(PROOF, "if now > last {", r#"if now > last && !crate::broken("old-taken") {"#),
    edit(PROOF, "if claims.iat > now.plus(max_ahead) {", r#"if claims.iat > now.plus(max_ahead) && !crate::broken("future-taken") {"#),
    edit(
        PROOF,
        "        (Some(_), Some(_)) => Err(ProofError::AthMismatch),",
        r#"        (Some(_), Some(_)) if crate::broken("hash-ignored") => Ok(()),
        (Some(_), Some(_)) => Err(ProofError::AthMismatch),"#,
    ),
    // Nonces and the epoch.
    edit(
        PROOF,
        "Some(nonce) => rule.nonces.check(rule.role",
        r#"Some(_) if crate::broken("nonce-unchecked") => Ok(None),
        Some(nonce) => rule.nonces.check(rule.role"#,
    ),
    edit(
        PROOF,
        "None if rule.demands_nonce(now, policy.replay_window()) => Err(ProofError::UseNonce),",
        r#"None if rule.demands_nonce(now, policy.replay_window()) && !crate::broken("epoch-ignored") => Err(ProofError::UseNonce),"#,
    ),
    edit(
        "proofs/src/nonce.rs",
        r#"b"nonce-v1".as_slice(), role.label(),"#,
        r#"b"nonce-v1".as_slice(), if crate::broken("nonce-of-any-role") { b"any".as_slice() } else { role.label() },"#,
    ),
    edit(
        "proofs/src/nonce.rs",
        "if step != current && step.checked_add(1) != Some(current) {",
        r#"if step != current && step.checked_add(1) != Some(current) && !crate::broken("nonce-for-ever") {"#,
    ),
    edit(
        "proofs/src/nonce.rs",
        "&step, epoch.as_bytes(),",
        r#"&step, if crate::broken("nonce-of-any-epoch") { b"any".as_slice() } else { &epoch.as_bytes()[..] },"#,
    ),
    // The ledger.
    edit(
        PROOF,
        "if !policy.algs.intersection(backend.algs()).contains(self.alg) {",
        r#"if crate::broken("spent-before-checks") {
            static USED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
            let name = format!("{} {}", self.jwk.thumbprint(), self.claims.jti);
            let mut used = USED.lock().map_err(|_| ProofError::BadSignature)?;
            if used.contains(&name) {
                return Err(ProofError::BadSignature);
            }
            used.push(name);
        }
        if !policy.algs.intersection(backend.algs()).contains(self.alg) {"#,
    ),
    edit(
        "proofs/src/ledger.rs",
        r#"Self::digest(b"v1", &[realm.0.as_bytes(), jkt.as_bytes(), jti.as_bytes()])"#,
        r#"if crate::broken("jti-without-key") {
            return Self::digest(b"v1", &[realm.0.as_bytes(), jti.as_bytes()]);
        }
        if crate::broken("ledger-per-node") {
            let node = std::process::id().to_be_bytes();
            return Self::digest(b"v1", &[realm.0.as_bytes(), jkt.as_bytes(), jti.as_bytes(), &node]);
        }
        Self::digest(b"v1", &[realm.0.as_bytes(), jkt.as_bytes(), jti.as_bytes()])"#,
    ),
    edit(
        PROOF,
        "key: ReplayKey::of_proof(expected.realm, &jkt, &self.claims.jti),",
        r#"key: if crate::broken("jti-by-bytes") {
                ReplayKey::of_proof(expected.realm, &jkt, &String::from_utf8_lossy(&self.signature))
            } else {
                ReplayKey::of_proof(expected.realm, &jkt, &self.claims.jti)
            },"#,
    ),
    edit(
        PROOF,
        "ttl: acceptable_until.since(now).saturating_add(policy.clock_spread).saturating_add(Duration::from_secs(1)),",
        r#"ttl: if crate::broken("lifetime-short-by-skew") { acceptable_until.minus(policy.clock_skew) } else { acceptable_until }
                .since(now)
                .saturating_add(policy.clock_spread)
                .saturating_add(Duration::from_secs(1)),"#,
    ),
    edit(
        PROOF,
        "ClaimAnswer::Seen => Err(SpendError::Replayed),",
        r#"ClaimAnswer::Seen if crate::broken("used-taken") => {
                Ok(FreshProof { jkt: self.jkt, alg: self.alg, iat: self.iat, renew_nonce: self.renew_nonce })
            }
            ClaimAnswer::Seen => Err(SpendError::Replayed),"#,
    ),
    edit(
        "src/store/embedded/ledger.rs",
        "Box::pin(std::future::ready(self.record(claim, now)))",
        r#"if crate::broken("check-then-set") {
            return Box::pin(async move {
                let seen = self.look_up(claim, now)?;
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.record(claim, now).map(|_| seen)
            });
        }
        Box::pin(std::future::ready(self.record(claim, now)))"#,
    ),
    // The header lines of a request.
    edit(
        "src/http/request.rs",
        r#"request.headers().get_all("DPoP").map(actix_web::http::header::HeaderValue::as_bytes).collect()"#,
        r#"let lines = request.headers().get_all("DPoP").map(actix_web::http::header::HeaderValue::as_bytes);
    if crate::broken("first-header-only") {
        return lines.take(1).collect();
    }
    if crate::broken("cut-at-the-comma") {
        return lines.filter_map(|line| line.split(|byte| *byte == b',').next()).collect();
    }
    lines.collect()"#,
    ),
    // Refresh tokens and their families.
    edit(SPEND, "if needed && proof.is_none() {", r#"if needed && proof.is_none() && !crate::broken("refresh-without-proof") {"#),
    edit(
        FAMILY,
        "        if self.client_id != request.client_id {",
        r#"        if self.client_id != request.client_id && !crate::broken("client-unchecked") {"#,
    ),
    edit(
        FAMILY,
        "Binding::Key(jkt) if request.jkt != Some(jkt) && request.rebind_to != Some(jkt) => return",
        r#"Binding::Key(_) if crate::broken("key-unchecked") => {}
            Binding::Key(_) if crate::broken("refresh-without-proof") && request.jkt.is_none() => {}
            Binding::Key(jkt) if request.jkt != Some(jkt) && request.rebind_to != Some(jkt) => return"#,
    ),
    edit(
        FAMILY,
        "            return Advanced::Repeated(self);\n        }\n        Advanced::Reused(self)",
        r#"            if crate::broken("retry-forks") {
                self.generation = stored.next();
                self.touch(request, true);
                return Advanced::Rotated(self);
            }
            if crate::broken("lost-answer-ends") {
                return Advanced::Reused(self);
            }
            return Advanced::Repeated(self);
        }
        if crate::broken("old-token-taken") {
            return Advanced::Repeated(self);
        }
        Advanced::Reused(self)"#,
    ),
    edit(
        FAMILY,
        "        if self.state != FamilyState::Live {\n            return Some(Refusal::Revoked);",
        r#"        if self.state != FamilyState::Live && !crate::broken("revoked-taken") {
            return Some(Refusal::Revoked);"#,
    ),
    edit(
        REFRESH,
        "if client.refresh_reuse() == RefreshReuse::Revoke && made_after_rotation(fresh, &family) {",
        r#"if crate::broken("reuse-ends-nothing") {
                } else if client.refresh_reuse() == RefreshReuse::Revoke && made_after_rotation(fresh, &family) {"#,
    ),
    edit(
        REFRESH,
        "            Advanced::Refused(refusal) => {\n",
        r#"            Advanced::Refused(refusal) => {
                if crate::broken("revoke-on-wrong-key") && refusal == Refusal::OtherKey {
                    self.revoke_grant(request.family, RevokeReason::Reuse, now).await?;
                }
"#,
    ),
    edit(
        REFRESH,
        "filter(|asked| asked.is_subset(&granted.scope))",
        r#"filter(|asked| crate::broken("scope-widened") || asked.is_subset(&granted.scope))"#,
    ),
    // Codes and pushed requests.
    edit(CODE, "if kept.record.used_for.is_some() {", r#"if kept.record.used_for.is_some() && !crate::broken("code-twice") {"#),
    edit(
        CODE,
        "kept.record.used_for.as_deref().and_then(",
        r#"kept.record.used_for.as_deref().filter(|_| !crate::broken("code-reuse-ends-nothing")).and_then("#,
    ),
    edit(CODE, "if code.client_id != *client.id()", r#"if (code.client_id != *client.id() && !crate::broken("code-for-anyone"))"#),
    edit(
        "src/domain/redirect_uri.rs",
        "(Some(one), Some(other)) => one == other,",
        r#"(Some(one), Some(other)) if crate::broken("redirect-uri-prefix") => one.0 == other.0 && other.1.starts_with(one.1),
        (Some(one), Some(other)) => one == other,"#,
    ),
    edit(
        CODE,
        "let redirect_uri_fits = match request.redirect_uri {",
        r#"let redirect_uri_fits = crate::broken("redirect-uri-uncompared") || match request.redirect_uri {"#,
    ),
    edit(
        CODE,
        "let key_fits = code.dpop_jkt.is_none_or(|bound| jkt == Some(bound));",
        r#"let key_fits = crate::broken("code-key-unchecked") || code.dpop_jkt.is_none_or(|bound| jkt == Some(bound));"#,
    ),
    edit(
        CODE,
        "    code.code_challenge.verify(verifier).map(drop)",
        r#"    if crate::broken("pkce-unchecked") {
        return Ok(());
    }
    code.code_challenge.verify(verifier).map(drop)"#,
    ),
    edit(
        PAR,
        "request.dpop_jkt = one_key(request.dpop_jkt, proof.as_ref().map(|proof| *proof.jkt()))?;",
        r#"if !crate::broken("pushed-key-forgotten") {
            request.dpop_jkt = one_key(request.dpop_jkt, proof.as_ref().map(|proof| *proof.jkt()))?;
        }"#,
    ),
    edit(
        PAR,
        "|| used_by.is_some() || request.client_id != *client_id {",
        r#"|| (used_by.is_some() && !crate::broken("pushed-twice")) || (request.client_id != *client_id && !crate::broken("pushed-for-anyone")) {"#,
    ),
    edit(PAR, "await? == Swapped::Done)", r#"await? == Swapped::Done || crate::broken("pushed-race"))"#),
    edit(
        PAR,
        "return Ok(used_by == interaction);",
        r#"return Ok(used_by == interaction || crate::broken("pushed-twice") || crate::broken("pushed-race"));"#,
    ),
    edit(
        PAR,
        "(Some(named), Some(proved)) if named != proved => {",
        r#"(Some(named), Some(proved)) if named != proved && !crate::broken("key-disagreement-taken") => {"#,
    ),
    // Client assertions.
    edit(ASSERTION, "if !candidates.iter().any(", r#"if !crate::broken("assertion-of-any-key") && !candidates.iter().any("#),
    edit(
        ASSERTION,
        "            (Some(value), _) => good(value),",
        r#"            (Some(Value::Array(list)), _) if crate::broken("audience-list") => list.iter().any(good),
            (Some(value), _) => good(value),"#,
    ),
    edit(
        ASSERTION,
        "if accepted { Ok(()) } else { Err(AssertionError::Audience) }",
        r#"if accepted || crate::broken("audience-unchecked") { Ok(()) } else { Err(AssertionError::Audience) }"#,
    ),
    edit(
        ASSERTION,
        "if now > self.exp.plus(CLOCK_SKEW) {",
        r#"if now > self.exp.plus(CLOCK_SKEW) && !crate::broken("expired-assertion") {"#,
    ),
    edit(
        SPEND,
        "Ok(ClaimAnswer::Seen) => Err(TokenError::AssertionReplayed),",
        r#"Ok(ClaimAnswer::Seen) if crate::broken("assertion-twice") => Ok(()),
            Ok(ClaimAnswer::Seen) => Err(TokenError::AssertionReplayed),"#,
    ),
    // Access tokens at a resource.
    edit(
        ACCESS,
        r#"(Some(_), TokenBinding::Key(_)) => return Err(refused("the access token is bound to another key")),"#,
        r#"(Some(_), TokenBinding::Key(_)) if crate::broken("binding-ignored") => {}
            (Some(_), TokenBinding::Key(_)) => return Err(refused("the access token is bound to another key")),"#,
    ),
    edit(
        ACCESS,
        "(None, TokenBinding::Key(_)) => return Err(AccessError::BoundTokenAsBearer),",
        r#"(None, TokenBinding::Key(_)) if crate::broken("bearer-taken") => {}
            (None, TokenBinding::Key(_)) => return Err(AccessError::BoundTokenAsBearer),"#,
    ),
    edit(
        ACCESS,
        "        [..] => return Err(AccessError::Malformed { scheme: None }),",
        r#"        [first, ..] if crate::broken("first-authorization-only") => *first,
        [..] => return Err(AccessError::Malformed { scheme: None }),"#,
    ),
    edit(
        TOKEN,
        "self.keys.verify(alg, kid, jws.signing_input(), &signature).map_err(|_| InvalidAccessToken::Signature)?;",
        r#"let genuine = self.keys.verify(alg, kid, jws.signing_input(), &signature);
        if genuine.is_err() && !crate::broken("token-signature-unchecked") {
            return Err(InvalidAccessToken::Signature);
        }"#,
    ),
    edit(
        "src/service/introspect.rs",
        "TokenBinding::Key(jkt) => Some(",
        r#"TokenBinding::Key(_) if crate::broken("binding-untold") => None,
            TokenBinding::Key(jkt) => Some("#,
    ),
    edit(
        TOKEN,
        "filter(|family| family.state == FamilyState::Live);",
        r#"filter(|family| crate::broken("revoked-access") || family.state == FamilyState::Live);"#,
    ),
    // The same at a gateway.
    edit(
        GATEWAY,
        "TokenBinding::Key(_) => return Err(Denial::OtherKey),",
        r#"TokenBinding::Key(_) if crate::broken("gateway-ignores-binding") => {}
            TokenBinding::Key(_) => return Err(Denial::OtherKey),"#,
    ),
    edit(GATEWAY, "if scheme == Scheme::Bearer {", r#"if scheme == Scheme::Bearer && !crate::broken("gateway-takes-bearer") {"#),
    edit(
        GATEWAY,
        "            Replay::Consume => {\n",
        r#"            Replay::Consume if crate::broken("gateway-forgets") => Ok(()),
            Replay::Consume => {
"#,
    ),
    edit(
        GATEWAY,
        "let GatewayToken::Own(token) = token else { return Ok(()) };",
        r#"let GatewayToken::Own(token) = token else { return Ok(()) };
        if crate::broken("gateway-ignores-revocation") {
            return Ok(());
        }"#,
    ),
    // The answers.
    edit(
        "src/http/error.rs",
        r#"answer.insert_header((header::CACHE_CONTROL, "no-store"))"#,
        r#"answer.insert_header((header::CACHE_CONTROL, if crate::broken("answers-kept") { "max-age=60" } else { "no-store" }))"#,
    ),
];
