//! What `token refresh` does when answers get lost, with a server that answers by a script.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::support::{Finished, keybound, run};

/// What the server saw of one request.
struct Seen {
    proof: String,
    body: String,
}

/// Answers one request after the other; `None` hangs up without an answer.
fn server(answers: Vec<Option<&'static str>>) -> (String, std::thread::JoinHandle<Vec<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let answer = |answer: Option<&str>| {
            let (mut stream, _) = listener.accept().unwrap();
            let seen = read(&stream);
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).unwrap();
            }
            seen
        };
        answers.into_iter().map(answer).collect()
    });
    (issuer, thread)
}

fn read(stream: &TcpStream) -> Seen {
    let mut reader = BufReader::new(stream);
    let (mut proof, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "dpop" => value.clone_into(&mut proof),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Seen { proof, body: String::from_utf8(body).unwrap() }
}

fn refresh(issuer: &str) -> (Finished, String) {
    let directory = tempfile::tempdir().unwrap();
    let (key, token) = (directory.path().join("key.json"), directory.path().join("refresh-token"));
    let (key, path) = (key.to_str().unwrap(), token.to_str().unwrap());
    run(["proof", "make", "--new-key", "--key", key, "--method", "POST", "--url", issuer]).ok();
    std::fs::write(&token, "R1\n").unwrap();
    let arguments = ["token", "refresh", "--issuer", issuer, "--client-id", "app", "--key", key, "--refresh-token-file", path];
    let finished = Finished::of(keybound().args(arguments));
    (finished, std::fs::read_to_string(&token).unwrap())
}

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 61\r\nconnection: close\r\n\r\n\
                    {\"access_token\":\"a\",\"token_type\":\"DPoP\",\"refresh_token\":\"R2\"}";
const UNAVAILABLE: &str = "HTTP/1.1 503 Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NONCE: &str =
    "HTTP/1.1 400 Bad Request\r\ndpop-nonce: n1\r\ncontent-length: 26\r\nconnection: close\r\n\r\n{\"error\":\"use_dpop_nonce\"}";

#[test]
fn a_lost_answer_and_a_503_are_asked_for_again_with_fresh_proofs() {
    let good_length = GOOD.rsplit("\r\n\r\n").next().map(str::len);
    assert!(GOOD.contains(&format!("content-length: {}\r\n", good_length.unwrap())));
    let (issuer, server) = server(vec![None, Some(UNAVAILABLE), Some(NONCE), Some(GOOD)]);
    let (finished, token) = refresh(&issuer);
    assert_eq!(finished.json()["access_token"], "a");
    assert_eq!(token, "R2");
    let seen = server.join().unwrap();
    assert!(seen.iter().all(|one| one.body == seen[0].body), "the same refresh token each time");
    let mut proofs: Vec<&str> = seen.iter().map(|one| one.proof.as_str()).collect();
    proofs.sort_unstable();
    proofs.dedup();
    assert_eq!(proofs.len(), 4, "a fresh proof each time");
}

#[test]
fn a_service_that_stays_away_costs_nothing() {
    let (issuer, server) = server(vec![Some(UNAVAILABLE); 4]);
    let (finished, token) = refresh(&issuer);
    assert!(finished.fails_with(3).contains("still good"));
    assert_eq!(token, "R1\n");
    server.join().unwrap();
}

#[test]
fn a_refusal_is_not_asked_for_again() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 25\r\nconnection: close\r\n\r\n{\"error\":\"invalid_grant\"}";
    let (issuer, server) = server(vec![Some(refusal)]);
    let (finished, token) = refresh(&issuer);
    let said = finished.fails_with(1);
    assert!(said.contains("invalid_grant") && said.contains("new grant"), "{said}");
    assert_eq!(token, "R1\n");
    server.join().unwrap();
}
