//! `CLI`: client authentication.

use serde_json::{Map, Value, json};

use super::Severity::{Critical, High, Info, Low, Medium};
use super::{Attack, Family, Judgement, List, run};
use crate::arena::{Arena, Call, Need, Stage};
use crate::clock::now;
use crate::halt::{Step, inconclusive, not_applicable};
use crate::jose::{Key, b64, hs256, unique};
use crate::judge::{accepted, once, refused, successes};
use crate::target::{Client, ClientAuth};

const INJECTED: &str = "an assertion that another server was given is taken here: the other server can act as the client";
const FOREVER: &str = "a recorded assertion works for whoever recorded it";
const ANYONE: &str = "anyone can be the client";
const CONFUSED: &str = "a JWT that was made for another purpose is taken for a client assertion";

pub(super) fn attacks() -> Vec<Attack> {
    let mut list = List::new(Family::Client, Stage::Token, "TWN-030");
    audiences(&mut list);
    assertions(&mut list);
    signatures(&mut list);
    reuse(&mut list);
    list.twin = "TWN-001";
    secrets(&mut list);
    requests(&mut list);
    list.attacks
}

/// What an assertion is made of.
struct Parts {
    key: Key,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Parts {
    fn of(arena: &Arena) -> Step<(Client, Self)> {
        let client = arena.machine()?;
        let ClientAuth::Assertion(key, kid) = client.auth.clone() else {
            return not_applicable("the client does not authenticate with private_key_jwt");
        };
        let mut header = Map::new();
        header.insert("alg".to_owned(), json!(key.alg()));
        header.insert("typ".to_owned(), json!("JWT"));
        if let Some(kid) = kid {
            header.insert("kid".to_owned(), json!(kid));
        }
        let claims = client.assertion_claims(&arena.endpoints.issuer);
        Ok((client, Self { key, header, claims }))
    }

    fn input(&self) -> String {
        format!("{}.{}", b64(Value::Object(self.header.clone()).to_string()), b64(Value::Object(self.claims.clone()).to_string()))
    }

    fn sign(&self) -> String {
        let input = self.input();
        let alg = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        format!("{input}.{}", b64(self.key.sign_as(alg, input.as_bytes())))
    }

    fn claim(&mut self, name: &str, value: impl Into<Value>) {
        self.claims.insert(name.to_owned(), value.into());
    }

    fn head(&mut self, name: &str, value: impl Into<Value>) {
        self.header.insert(name.to_owned(), value.into());
    }
}

/// A token request with this assertion, without a proof.
async fn call_with(arena: &Arena, assertion: &str) -> Step<Call> {
    let call = arena.call(Stage::Token).await?.client(None);
    Ok(call.set("client_assertion_type", crate::target::ASSERTION_TYPE).set("client_assertion", assertion))
}

type Spoil = fn(&Arena, &mut Parts);

async fn spoiled(arena: &Arena, spoil: Spoil) -> Step<()> {
    let (_, mut parts) = Parts::of(arena)?;
    spoil(arena, &mut parts);
    let call = call_with(arena, &parts.sign()).await?;
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

fn rows(list: &mut List, rows: &[(u16, super::Severity, &str, &str, &str, Spoil)]) {
    for &(number, severity, section, title, breach, spoil) in rows {
        list.script(
            number,
            (severity, section, title, breach),
            Judgement::Refused,
            &format!("Authenticate with an assertion, with one thing changed: {title}."),
            run!(spoiled, spoil),
        )
        .needs(&[Need::Assertion]);
    }
}

fn audiences(list: &mut List) {
    let rule = "RFC 7523 section 3";
    rows(
        list,
        &[
            (1, Medium, rule, "A client assertion for the token endpoint", INJECTED, |arena, parts| {
                parts.claim("aud", arena.endpoints.token.as_str())
            }),
            (2, Medium, rule, "A client assertion for a list with the issuer alone", INJECTED, |arena, parts| {
                parts.claim("aud", json!([arena.endpoints.issuer]))
            }),
            (3, High, rule, "A client assertion for the issuer and another server", INJECTED, |arena, parts| {
                parts.claim("aud", json!(["https://evil.example", arena.endpoints.issuer]))
            }),
            (4, High, rule, "A client assertion for the token endpoint and another server", INJECTED, |arena, parts| {
                parts.claim("aud", json!([arena.endpoints.token.as_str(), "https://evil.example"]))
            }),
            (5, Critical, rule, "A client assertion for another server", INJECTED, |_, parts| parts.claim("aud", "https://evil.example")),
            (6, Medium, rule, "A client assertion for the issuer with a slash at its end", INJECTED, |arena, parts| {
                let issuer = &arena.endpoints.issuer;
                parts.claim("aud", issuer.strip_suffix('/').map_or_else(|| format!("{issuer}/"), str::to_owned));
            }),
            (7, High, rule, "A client assertion for a server whose name begins like the issuer", INJECTED, |arena, parts| {
                parts.claim("aud", format!("{}.evil.example", arena.endpoints.issuer))
            }),
            (8, Low, rule, "A client assertion for the issuer in capitals", INJECTED, |arena, parts| {
                parts.claim("aud", arena.endpoints.issuer.to_uppercase())
            }),
            (9, High, rule, "A client assertion without an aud", INJECTED, |_, parts| {
                parts.claims.remove("aud");
            }),
            (10, High, rule, "A client assertion whose aud is null", INJECTED, |_, parts| parts.claim("aud", Value::Null)),
            (11, High, rule, "A client assertion whose aud is an empty list", INJECTED, |_, parts| parts.claim("aud", json!([]))),
            (12, High, rule, "A client assertion whose aud is an object", INJECTED, |arena, parts| {
                parts.claim("aud", json!({arena.endpoints.issuer.clone(): true}))
            }),
            (13, Medium, rule, "A client assertion for the endpoint of pushed requests", INJECTED, |arena, parts| {
                let par = arena.endpoints.par.as_ref().map_or("https://evil.example/par", url::Url::as_str);
                parts.claim("aud", par);
            }),
        ],
    );
}

fn assertions(list: &mut List) {
    let rule = "RFC 7523 section 3";
    rows(
        list,
        &[
            (20, High, rule, "A client assertion without a sub", CONFUSED, |_, parts| {
                parts.claims.remove("sub");
            }),
            (21, High, rule, "A client assertion without an iss", CONFUSED, |_, parts| {
                parts.claims.remove("iss");
            }),
            (22, High, rule, "A client assertion with another iss", CONFUSED, |_, parts| parts.claim("iss", "https://evil.example")),
            (23, Critical, rule, "A client assertion with another sub", ANYONE, |_, parts| parts.claim("sub", "admin")),
            (24, High, rule, "A client assertion without an exp", FOREVER, |_, parts| {
                parts.claims.remove("exp");
            }),
            (25, High, rule, "A client assertion that expired five minutes ago", FOREVER, |_, parts| parts.claim("exp", now() - 300)),
            (26, Info, rule, "A client assertion that expires in ten years", FOREVER, |_, parts| parts.claim("exp", now() + 315_360_000)),
            (27, Medium, rule, "A client assertion whose exp is a string", FOREVER, |_, parts| {
                parts.claim("exp", (now() + 60).to_string())
            }),
            (28, Medium, rule, "A client assertion whose exp is null", FOREVER, |_, parts| parts.claim("exp", Value::Null)),
            (29, Medium, rule, "A client assertion whose nbf is five minutes ahead", FOREVER, |_, parts| parts.claim("nbf", now() + 300)),
            (30, Low, rule, "A client assertion whose iat is five minutes ahead", FOREVER, |_, parts| parts.claim("iat", now() + 300)),
            (31, Low, rule, "A client assertion without a jti", FOREVER, |_, parts| {
                parts.claims.remove("jti");
            }),
            (32, Low, rule, "A client assertion whose jti is a number", FOREVER, |_, parts| parts.claim("jti", 1)),
            (33, High, "RFC 8725 section 3.11", "A client assertion with the typ dpop+jwt", CONFUSED, |_, parts| {
                parts.head("typ", "dpop+jwt")
            }),
            (34, Medium, "RFC 8725 section 3.11", "A client assertion with the typ at+jwt", CONFUSED, |_, parts| {
                parts.head("typ", "at+jwt")
            }),
            (35, Medium, "RFC 8725 section 3.11", "A client assertion with the typ oauth-authz-req+jwt", CONFUSED, |_, parts| {
                parts.head("typ", "oauth-authz-req+jwt")
            }),
            (36, Medium, "RFC 7515 section 4.1.11", "A client assertion with an unknown critical parameter", CONFUSED, |_, parts| {
                parts.head("crit", json!(["x"]));
                parts.head("x", 1);
            }),
        ],
    );
    list.script(
        37,
        (Low, "RFC 7523 section 2.2", "A client assertion with another client_id beside it", ANYONE),
        Judgement::Refused,
        "Authenticate with an assertion, and name another client in the form.",
        run!(other_id),
    )
    .needs(&[Need::Assertion]);
    list.script(
        38,
        (Low, "RFC 6749 section 3.2", "Two client assertions in one request", "which of two parameters counts depends on who reads"),
        Judgement::Refused,
        "Authenticate with two assertions.",
        run!(two_assertions),
    )
    .needs(&[Need::Assertion]);
    list.script(
        39,
        (Low, "RFC 7523 section 2.2", "A client assertion of another type", CONFUSED),
        Judgement::Refused,
        "Say that the assertion is a SAML assertion.",
        run!(other_type),
    )
    .needs(&[Need::Assertion]);
    list.script(
        40,
        (High, "RFC 8725 section 3.11", "The proof as the client assertion", CONFUSED),
        Judgement::Refused,
        "Send one DPoP proof, signed by the key of the client, as proof and as assertion.",
        run!(proof_as_assertion),
    )
    .needs(&[Need::Assertion]);
    list.script(
        41,
        (High, "RFC 8725 section 3.11", "The client assertion as the proof", CONFUSED),
        Judgement::Refused,
        "Send the client assertion in the DPoP header too.",
        run!(assertion_as_proof),
    )
    .needs(&[Need::Assertion]);
    list.script(
        42,
        (Medium, "RFC 7519 section 4", "A client assertion with exp twice", FOREVER),
        Judgement::Refused,
        "Authenticate with an assertion whose payload has two exp members.",
        run!(doubled_exp),
    )
    .needs(&[Need::Assertion]);
}

async fn other_id(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &parts.sign()).await?.set("client_id", "another");
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn two_assertions(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &parts.sign()).await?.add("client_assertion", "second");
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn other_type(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call =
        call_with(arena, &parts.sign()).await?.set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn proof_as_assertion(arena: &Arena) -> Step<()> {
    let (client, parts) = Parts::of(arena)?;
    let call = arena.call(Stage::Token).await?.client(None).key(&parts.key);
    let mut draft = arena.draft(&call);
    for (name, value) in client.assertion_claims(&arena.endpoints.issuer) {
        if !draft.claims.contains_key(&name) {
            draft.claims.insert(name, value);
        }
    }
    let proof = draft.sign();
    let call = call.set("client_assertion_type", crate::target::ASSERTION_TYPE).set("client_assertion", &proof);
    refused(Stage::Token, &arena.send(&call, &[proof.into_bytes()]).await?)
}

async fn assertion_as_proof(arena: &Arena) -> Step<()> {
    let (_, mut parts) = Parts::of(arena)?;
    parts.head("jwk", parts.key.jwk());
    parts.claim("htm", "POST");
    parts.claim("htu", arena.endpoints.token.as_str());
    let assertion = parts.sign();
    let call = call_with(arena, &assertion).await?;
    refused(Stage::Token, &arena.send(&call, &[assertion.into_bytes()]).await?)
}

async fn doubled_exp(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let claims = Value::Object(parts.claims.clone()).to_string();
    let claims = claims.replacen('{', "{\"exp\":1,", 1);
    let input = format!("{}.{}", b64(Value::Object(parts.header.clone()).to_string()), b64(claims));
    let assertion = format!("{input}.{}", b64(parts.key.sign(input.as_bytes())));
    let call = call_with(arena, &assertion).await?;
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

type Resign = fn(Parts) -> String;

fn signatures(list: &mut List) {
    let rows: [(u16, super::Severity, &str, Resign); 9] = [
        (50, Critical, "A client assertion with the alg none", |mut parts| {
            parts.head("alg", "none");
            format!("{}.", parts.input())
        }),
        (51, Critical, "A client assertion with an empty signature", |parts| format!("{}.", parts.input())),
        (52, Critical, "A client assertion of another key", |mut parts| {
            parts.key = Key::es256();
            parts.head("alg", "ES256");
            parts.sign()
        }),
        (53, Critical, "A client assertion of a key that it brings along", |mut parts| {
            parts.key = Key::es256();
            parts.head("alg", "ES256");
            parts.head("jwk", parts.key.jwk());
            parts.sign()
        }),
        (54, Critical, "A client assertion of a key that it points to", |mut parts| {
            parts.key = Key::es256();
            parts.head("alg", "ES256");
            parts.head("jku", "http://127.0.0.1:9/keys.json");
            parts.sign()
        }),
        (55, Critical, "A client assertion with the public key as an HMAC secret", |mut parts| {
            parts.head("alg", "HS256");
            let input = parts.input();
            format!("{input}.{}", b64(hs256(parts.key.jwk().to_string().as_bytes(), &input)))
        }),
        (56, Critical, "A client assertion of another key with a kid that is a path", |mut parts| {
            parts.key = Key::es256();
            parts.head("alg", "ES256");
            parts.head("kid", "../../../../../../dev/null");
            parts.sign()
        }),
        (57, Critical, "A client assertion with a claim changed after signing", |mut parts| {
            let signature = parts.sign().rsplit('.').next().unwrap_or_default().to_owned();
            parts.claim("jti", unique());
            format!("{}.{signature}", parts.input())
        }),
        (58, Critical, "A client assertion with a signature of zeros", |parts| format!("{}.{}", parts.input(), b64([0; 64]))),
    ];
    for (number, severity, title, resign) in rows {
        list.script(
            number,
            (severity, "RFC 7523 section 3", title, ANYONE),
            Judgement::Refused,
            &format!("Authenticate with {title}."),
            run!(resigned, resign),
        )
        .needs(&[Need::Assertion]);
    }
}

async fn resigned(arena: &Arena, resign: Resign) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &resign(parts)).await?;
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

fn reuse(list: &mut List) {
    let rule = "RFC 7523 section 3";
    list.script(
        60,
        (Medium, rule, "A client assertion twice", FOREVER),
        Judgement::AcceptedOnce,
        "Authenticate with an assertion.\nAuthenticate with it again, with a new proof.",
        run!(reused),
    )
    .needs(&[Need::Assertion]);
    list.script(
        61,
        (Medium, rule, "16 requests with one client assertion at one moment", FOREVER),
        Judgement::AcceptedOnce,
        "Send 16 requests with one assertion and 16 proofs at one moment.",
        run!(reused_at_once, false),
    )
    .needs(&[Need::Assertion]);
    list.script(
        62,
        (Medium, rule, "16 requests with one client assertion at one moment, half of them at the second node", FOREVER),
        Judgement::AcceptedOnce,
        "Send 16 requests with one assertion at one moment, each other one to the second node.",
        run!(reused_at_once, true),
    )
    .needs(&[Need::Assertion, Need::Peer]);
    list.script(
        63,
        (Medium, rule, "A used client assertion after the server was restarted", FOREVER),
        Judgement::AcceptedOnce,
        "Authenticate with an assertion.\nRestart the server.\nAuthenticate with it again.",
        run!(reused_after_restart),
    )
    .needs(&[Need::Assertion, Need::Restart]);
}

async fn reused(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &parts.sign()).await?;
    accepted(Stage::Token, &arena.send_honest(&call).await?)?;
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn reused_at_once(arena: &Arena, peer: bool) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &parts.sign()).await?;
    let requests = (0..16)
        .map(|index| {
            let call = if peer && index % 2 == 1 { call.clone().at_the_peer() } else { call.clone() };
            arena.request(&call, &[arena.draft(&call).sign().into_bytes()])
        })
        .collect();
    let successes = successes(Stage::Token, arena.volley("requests with one assertion", requests).await)?;
    once(16, successes.len())
}

async fn reused_after_restart(arena: &Arena) -> Step<()> {
    let (_, parts) = Parts::of(arena)?;
    let call = call_with(arena, &parts.sign()).await?;
    accepted(Stage::Token, &arena.send_honest(&call).await?)?;
    arena.restart().await?;
    let answer = arena.send_honest(&call).await?;
    if answer.status == 503 {
        // Whoever has forgotten which assertions were used says so for as long as this one could have been.
        return Ok(());
    }
    refused(Stage::Token, &answer)
}

fn secrets(list: &mut List) {
    let rule = "RFC 6749 section 2.3.1";
    let secrets: [(u16, super::Severity, &str, fn(&str) -> String); 8] = [
        (70, Critical, "a wrong secret", |_| "wrong".to_owned()),
        (71, Critical, "an empty secret", |_| String::new()),
        (72, Critical, "the first half of the secret", |secret| secret.chars().take(secret.chars().count() / 2).collect()),
        (73, Critical, "a character after the secret", |secret| format!("{secret}x")),
        (74, High, "a space after the secret", |secret| format!("{secret} ")),
        (75, High, "a NUL after the secret", |secret| format!("{secret}\0")),
        (76, High, "the secret in the other case", |secret| {
            secret
                .chars()
                .map(|letter| if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() })
                .collect()
        }),
        (77, Critical, "the secret of random characters", |_| unique()),
    ];
    for (number, severity, what, secret) in secrets {
        let title = format!("A client with {what}");
        list.script(
            number,
            (severity, rule, &title, ANYONE),
            Judgement::Refused,
            &format!("Authenticate with {what}."),
            run!(with_secret, secret),
        )
        .needs(&[Need::Secret]);
    }
    list.script(
        78,
        (Medium, rule, "A client secret in the query", "secrets end in logs"),
        Judgement::Refused,
        "Authenticate in the query of the URL.",
        run!(secret_in_query),
    )
    .needs(&[Need::Secret]);
    list.script(
        79,
        (Low, "RFC 6749 section 2.3", "A client with Basic and with a secret in the form", "two parties judge two of the secrets"),
        Judgement::Refused,
        "Authenticate in both ways at once.",
        run!(both_ways),
    )
    .needs(&[Need::Secret]);
    list.script(
        80,
        (Low, "RFC 9110 section 11.6.2", "A client with two Authorization lines", "two parties judge two of the secrets"),
        Judgement::Refused,
        "Send Authorization twice.",
        run!(two_authorizations),
    )
    .needs(&[Need::Secret]);
}

async fn with_secret(arena: &Arena, secret: fn(&str) -> String) -> Step<()> {
    let mut client = arena.machine()?;
    client.auth = match client.auth {
        ClientAuth::Basic(right) => ClientAuth::Basic(secret(&right)),
        ClientAuth::Post(right) => ClientAuth::Post(secret(&right)),
        ClientAuth::Public | ClientAuth::Assertion(..) => return not_applicable("the client has no secret"),
    };
    let call = arena.call(Stage::Token).await?.client(Some(client));
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn secret_in_query(arena: &Arena) -> Step<()> {
    let client = arena.machine()?;
    let mut call = arena.call(Stage::Token).await?.client(None);
    call.url.query_pairs_mut().append_pair("client_id", &client.id).append_pair("client_secret", client.secret().unwrap_or_default());
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn both_ways(arena: &Arena) -> Step<()> {
    let client = arena.machine()?;
    let secret = client.secret().unwrap_or_default().to_owned();
    let basic = Client { id: client.id.clone(), auth: ClientAuth::Basic(secret.clone()) };
    let call = arena.call(Stage::Token).await?.client(Some(basic)).set("client_id", &client.id).set("client_secret", secret);
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn two_authorizations(arena: &Arena) -> Step<()> {
    let client = arena.machine()?;
    let secret = client.secret().unwrap_or_default().to_owned();
    let wrong = crate::target::basic(&client.id, "wrong");
    let basic = Client { id: client.id, auth: ClientAuth::Basic(secret) };
    let call = arena.call(Stage::Token).await?.client(Some(basic)).header("Authorization", wrong);
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

fn requests(list: &mut List) {
    list.script(
        90,
        (Critical, "11.11", "A client that shows nothing but a proof", ANYONE),
        Judgement::Refused,
        "Send the client_id and a good proof, and no authentication.",
        run!(unauthenticated),
    )
    .needs(&[Need::Machine]);
    list.script(
        91,
        (High, "RFC 6749 section 5.2", "A client that does not exist", ANYONE),
        Judgement::Refused,
        "Send a client_id that nobody registered.",
        run!(unknown_client),
    )
    .needs(&[Need::Machine]);
    let spoiled: [(u16, super::Severity, &str, &str, &str, fn(Call) -> Call); 7] = [
        (92, Low, "RFC 6749 section 3.2", "grant_type twice", "which of two parameters counts depends on who reads", |call| {
            call.add("grant_type", "client_credentials")
        }),
        (93, Medium, "RFC 9700 section 2.4", "The password grant", "user names and passwords are taken", |call| {
            call.set("grant_type", "password").set("username", "alice").set("password", "password")
        }),
        (94, Low, "RFC 6749 section 5.2", "A grant that does not exist", "what is unknown is let through", |call| {
            call.set("grant_type", "urn:example:unknown")
        }),
        (95, Low, "RFC 6749 section 4.4.2", "No grant_type", "a default grant is issued", |call| call.without("grant_type")),
        (96, Low, "RFC 6749 section 3.2", "A scope twice", "which of two parameters counts depends on who reads", |call| {
            call.set("scope", "openid").add("scope", "openid")
        }),
        (
            97,
            Low,
            "RFC 6749 section 3.3",
            "A scope with a character that no scope has",
            "scopes are cut or joined by other readers",
            |call| call.set("scope", "read\"write"),
        ),
        (98, Low, "RFC 6749 section 3.2", "The grant_type in the query", "requests can be made by a link", |mut call| {
            call.url.query_pairs_mut().append_pair("grant_type", "client_credentials");
            call.without("grant_type")
        }),
    ];
    for (number, severity, section, title, breach, spoil) in spoiled {
        list.script(
            number,
            (severity, section, title, breach),
            Judgement::Refused,
            &format!("Send a token request, with one thing changed: {title}."),
            run!(spoiled_request, spoil),
        )
        .needs(&[Need::Machine]);
    }
    list.script(
        99,
        (Low, "RFC 6749 section 3.2", "A token request with GET", "tokens and secrets end in logs"),
        Judgement::Refused,
        "Send the parameters in the query of a GET request.",
        run!(with_get),
    )
    .needs(&[Need::Machine]);
}

async fn unauthenticated(arena: &Arena) -> Step<()> {
    let id = arena.machine()?.id;
    let call = arena.call(Stage::Token).await?.client(None).set("client_id", id);
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn unknown_client(arena: &Arena) -> Step<()> {
    let call =
        arena.call(Stage::Token).await?.client(Some(Client { id: format!("unknown-{}", unique()), auth: ClientAuth::Post(unique()) }));
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn spoiled_request(arena: &Arena, spoil: fn(Call) -> Call) -> Step<()> {
    let call = spoil(arena.call(Stage::Token).await?);
    refused(Stage::Token, &arena.send_honest(&call).await?)
}

async fn with_get(arena: &Arena) -> Step<()> {
    let mut call = arena.call(Stage::Token).await?;
    let mut form = call.form.clone();
    let Some(client) = call.client.take() else { return inconclusive("there is no client") };
    client.authenticate(&arena.endpoints.issuer, &mut form, &mut call.headers);
    call.url.query_pairs_mut().extend_pairs(&form);
    call.method = "GET";
    call.form.clear();
    let answer = arena.send_honest(&call).await?;
    refused(Stage::Token, &answer)
}
