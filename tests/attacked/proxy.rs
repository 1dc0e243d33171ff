//! Keybound behind a proxy that breaks one rule: the suite has to find what the two let through together.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use keybound_attack::{ClientAuth, Options, Outcome};
use keybound_testkit::service::SECRET;
use keybound_testkit::{Service, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{BINARY, attack, options, secret};

/// What a proxy does to the requests and answers that pass it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Meddling {
    /// Passes everything on as it is.
    None,
    FirstProofOnly,
    LastProofOnly,
    CutsAtTheComma,
    TakesOffQuotes,
    TakesOffPadding,
    FirstAuthorizationOnly,
    CallsBearerDpop,
    MovesTokensOutOfTheQuery,
    AnswersFromACache,
    DropsNonces,
    LetsAnswersBeKept,
}

/// Each meddling, and the attack that has to find it.
const MEDDLINGS: [(Meddling, &str); 11] = [
    (Meddling::FirstProofOnly, "PRF-006"),
    (Meddling::LastProofOnly, "PRF-005"),
    (Meddling::CutsAtTheComma, "PRF-009"),
    (Meddling::TakesOffQuotes, "PRF-013"),
    (Meddling::TakesOffPadding, "PRF-029"),
    (Meddling::FirstAuthorizationOnly, "RES-010"),
    (Meddling::CallsBearerDpop, "RES-003"),
    (Meddling::MovesTokensOutOfTheQuery, "RES-007"),
    (Meddling::AnswersFromACache, "RPL-001"),
    (Meddling::DropsNonces, "NON-034"),
    (Meddling::LetsAnswersBeKept, "RFR-091"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_proxy_breaks_is_found() {
    let meddling = Arc::new(Mutex::new(Meddling::None));
    let upstream = Arc::new(OnceLock::new());
    let proxy = serve(Arc::clone(&meddling), Arc::clone(&upstream)).await;
    let settings = secret("client_secret_post").with_issuer(&format!("http://{proxy}"));
    let service = Service::start(BINARY, Store::Embedded, settings).await;
    upstream.set(service.public).expect("it is set once");
    let options = options(proxy, ClientAuth::Post(SECRET.to_owned()));

    let ids: Vec<String> = MEDDLINGS.iter().map(|(_, id)| (*id).to_owned()).collect();
    let through = attack(Options { only: ids, ..options.clone() }).await;
    assert_eq!(through.counts().refused, MEDDLINGS.len(), "a proxy that changes nothing breaks nothing");
    for (kind, id) in MEDDLINGS {
        *meddling.lock().expect("nobody panics") = kind;
        let report = attack(Options { only: vec![id.to_owned()], ..options.clone() }).await;
        assert_eq!(report.findings[0].outcome, Outcome::Breach, "{kind:?} is not found by {id}: {}", report.findings[0].detail);
    }
}

async fn serve(meddling: Arc<Mutex<Meddling>>, upstream: Arc<OnceLock<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let cache: Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>> = Arc::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (kind, cache) = (*meddling.lock().expect("nobody panics"), Arc::clone(&cache));
            if let Some(&upstream) = upstream.get() {
                // A client that goes away ends its exchange, and nothing else.
                tokio::spawn(async move { exchange(stream, upstream, kind, &cache).await.unwrap_or_default() });
            }
        }
    });
    address
}

async fn exchange(
    mut client: TcpStream,
    upstream: SocketAddr,
    kind: Meddling,
    cache: &Mutex<HashMap<Vec<u8>, Vec<u8>>>,
) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    let known = cache.lock().expect("nobody panics").get(&request).cloned();
    if let Some(answer) = known.filter(|_| kind == Meddling::AnswersFromACache) {
        return client.write_all(&answer).await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&meddled_request(&request, kind)).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let answer = meddled_answer(&answer, kind);
    cache.lock().expect("nobody panics").insert(request, answer.clone());
    client.write_all(&answer).await
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let length = client.read(&mut chunk).await?;
        if length == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk[..length]);
        if let Some(end) = end_of_head(&bytes) {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let body: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + body {
                return Ok(Some(bytes));
            }
        }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

fn is(line: &str, name: &str) -> bool {
    line.to_lowercase().starts_with(&format!("{name}:"))
}

fn meddled_request(request: &[u8], kind: Meddling) -> Vec<u8> {
    let end = end_of_head(request).expect("a whole request");
    let head = String::from_utf8_lossy(&request[..end]).into_owned();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let keep_one = |lines: &mut Vec<String>, name: &str, first: bool| {
        let at: Vec<usize> = (0..lines.len()).filter(|index| is(&lines[*index], name)).collect();
        let kept = if first { at.first() } else { at.last() }.copied();
        let mut index = 0;
        lines.retain(|line| {
            index += 1;
            !is(line, name) || Some(index - 1) == kept
        });
    };
    let edit = |lines: &mut Vec<String>, edit: &dyn Fn(&str) -> String| {
        for line in lines.iter_mut().filter(|line| is(line, "dpop")) {
            *line = edit(line);
        }
    };
    match kind {
        Meddling::FirstProofOnly => keep_one(&mut lines, "dpop", true),
        Meddling::LastProofOnly => keep_one(&mut lines, "dpop", false),
        Meddling::FirstAuthorizationOnly => keep_one(&mut lines, "authorization", true),
        Meddling::CutsAtTheComma => edit(&mut lines, &|line| line.split(',').next().unwrap_or_default().to_owned()),
        Meddling::TakesOffQuotes => edit(&mut lines, &|line| line.replace('"', "")),
        Meddling::TakesOffPadding => edit(&mut lines, &|line| line.trim_end_matches('=').to_owned()),
        Meddling::CallsBearerDpop => {
            lines.iter_mut().for_each(|line| *line = line.replace("Authorization: Bearer ", "Authorization: DPoP "))
        }
        Meddling::MovesTokensOutOfTheQuery => {
            if let Some((before, after)) = lines[0].clone().split_once("?access_token=") {
                let (token, rest) = after.split_once(' ').expect("a request line");
                lines[0] = format!("{before} {rest}");
                lines.push(format!("Authorization: DPoP {token}"));
            }
        }
        Meddling::None | Meddling::AnswersFromACache | Meddling::DropsNonces | Meddling::LetsAnswersBeKept => return request.to_vec(),
    }
    [lines.join("\r\n").as_bytes(), &request[end..]].concat()
}

fn meddled_answer(answer: &[u8], kind: Meddling) -> Vec<u8> {
    let dropped = match kind {
        Meddling::DropsNonces => "dpop-nonce",
        Meddling::LetsAnswersBeKept => "cache-control",
        _ => return answer.to_vec(),
    };
    let Some(end) = end_of_head(answer) else { return answer.to_vec() };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let lines: Vec<&str> = head.split("\r\n").filter(|line| !is(line, dropped)).collect();
    [lines.join("\r\n").as_bytes(), &answer[end..]].concat()
}
