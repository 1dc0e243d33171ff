use crate::support::{Finished, keybound, run};

#[test]
fn the_default_configuration_passes_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keybound.toml");
    std::fs::write(&file, run(["config", "default"]).ok()).unwrap();
    let said = run(["config", "check", "--config", file.to_str().unwrap()]).ok();
    assert!(said.contains("http://127.0.0.1:8080"), "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "a check makes nothing");
}

#[test]
fn a_wrong_configuration_is_refused_with_2_by_check_and_serve() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keybound.toml");
    std::fs::write(&file, "[dpop]\nnonse = \"off\"\n").unwrap();
    let path = file.to_str().unwrap();
    for finished in [run(["config", "check", "--config", path]), run(["serve", "--config", path])] {
        let said = finished.fails_with(2);
        assert!(said.contains(&format!("{path}:2:1")) && said.contains("unknown field `nonse`"), "{said}");
    }
}

#[test]
fn environment_and_flags_reach_the_configuration() {
    let said = Finished::of(keybound().args(["config", "check"]).env("KEYBOUND__DPOP__NONSE", "off")).fails_with(2);
    assert!(said.contains("KEYBOUND__DPOP__NONSE"), "{said}");
    let issuer = "https://as.example.com";
    let said = Finished::of(keybound().args(["config", "check"]).env("KEYBOUND__ISSUER", issuer)).ok();
    assert!(said.contains(issuer), "{said}");
    let set = format!("issuer={issuer}/tenant");
    let said = Finished::of(keybound().args(["config", "check", "--set", &set]).env("KEYBOUND__ISSUER", issuer)).ok();
    assert!(said.contains("https://as.example.com/tenant"), "{said}");
}

#[test]
fn a_cluster_is_taken_and_one_on_a_socket_is_refused() {
    let check = |urls: &str| {
        let urls = format!("store.urls={urls}");
        run(["config", "check", "--set", "store.kind=redis", "--set", "store.topology=cluster", "--set", &urls])
    };
    check("[\"redis://10.0.0.1:6379\", \"redis://10.0.0.2:6379\"]").ok();
    let said = check("[\"unix:///run/redis.sock\"]").fails_with(2);
    assert!(said.contains("store.urls") && said.contains("members"), "{said}");
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = run(["--help"]).ok();
    for word in ["demo", "serve", "config", "client", "grant", "proof", "token", "health", "Exit codes"] {
        assert!(help.contains(word), "{word}");
    }
    run(["--version"]).ok();
    run(["no-such-command"]).fails_with(2);
    run([]).fails_with(2);
}
