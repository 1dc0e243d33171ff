use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::{Finished, keybound, run};

#[test]
fn the_demo_tells_eight_steps_and_ends_well() {
    let told = run(["demo", "--once"]).ok();
    for step in 1..=8 {
        assert!(told.lines().any(|line| line.starts_with(&format!("{step}. "))), "step {step} is missing:\n{told}");
    }
    for answer in ["<- 201 ", "<- 200 ", "<- 400  invalid_dpop_proof", "<- 401  invalid_grant"] {
        assert!(told.contains(answer), "{answer} is missing:\n{told}");
    }
}

/// A2
#[test]
fn the_demo_prints_no_whole_token() {
    let told = run(["demo", "--once"]).ok();
    let longest = told.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).map(str::len).max();
    assert!(longest <= Some(43), "nothing is longer than a thumbprint: {longest:?}");
}

#[test]
fn the_lines_that_the_demo_offers_work_while_it_serves_on() {
    let mut demo = keybound().arg("demo").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let offered: Vec<String> =
        lines.by_ref().skip_while(|line| !line.starts_with("Now you.")).take_while(|line| !line.contains("grant list")).collect();
    let refresh = offered.iter().find(|line| line.contains("token refresh")).unwrap();
    let words: Vec<&str> = refresh.split_whitespace().collect();
    let again = || Finished::of(Command::new(words[0]).args(&words[1..])).json();
    let (first, second) = (again(), again());
    assert_eq!(first["token_type"], "DPoP");
    assert_ne!(first["access_token"], second["access_token"]);
    assert_eq!(first.get("refresh_token"), None, "the refresh token stays in its file");

    assert!(Command::new("kill").arg("-INT").arg(demo.id().to_string()).status().unwrap().success());
    assert!(lines.any(|line| line.starts_with("Stopped.")));
    assert!(demo.wait().unwrap().success());
    let key_file = words[words.iter().position(|word| *word == "--key").unwrap() + 1];
    assert!(!std::path::Path::new(key_file).exists(), "the demo leaves nothing behind");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = run(["demo", "--once", "--port", &port]).fails_with(3);
    assert!(said.contains(&port), "{said}");
}
