use std::path::Path;

use keybound_proofs::AlgSet;

use super::{Config, ConfigError, Flags, Listen, Listener, NoncePolicy, Profile, Topology};

fn from_file(text: &str) -> Result<Config, ConfigError> {
    with(text, &[], &[])
}

fn with(text: &str, env: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keybound.toml");
    std::fs::write(&file, text).unwrap();
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
    Config::load(Some(&file), pairs(env), &Flags { set: pairs(set) })
}

fn said(result: Result<Config, ConfigError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_printed_default_is_the_default() {
    let printed = from_file(Config::DEFAULT_TOML).unwrap();
    let built_in = Config::load(None, [], &Flags::default()).unwrap();
    assert_eq!(format!("{printed:?}"), format!("{built_in:?}"));
}

#[test]
fn the_printed_default_shows_every_key() {
    let sections = ["", "listen.", "management.", "store.", "keys.", "dpop.", "tokens.", "client_metadata_documents.", "gateway."];
    for section in sections.into_iter().chain(["interaction.", "authorize.", "limits.", "log."]) {
        let refused = said(with("", &[], &[(&format!("{section}no_such_key"), "1")]));
        let mut keys = refused.split('`').skip(3).step_by(2).peekable();
        assert!(keys.peek().is_some(), "{refused}");
        for key in keys {
            let line = |line: &str| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = ")) || line == format!("[{key}]") || line == format!("[[{key}]]")
            };
            assert!(Config::DEFAULT_TOML.lines().any(line) || Config::DEFAULT_TOML.contains(&format!("[[{key}]]")), "{section}{key}");
        }
    }
}

#[test]
fn a_type_of_authorization_details_is_compiled_when_it_is_read() {
    let with_type = |keys: &str| from_file(&format!("[[authorization_details_type]]\n{keys}"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("schema.json");
    std::fs::write(&file, r#"{"type": "object", "required": ["a"]}"#).unwrap();
    for good in [
        "type = \"x\"",
        "type = \"account_information\"\nschema = \"builtin\"",
        "type = \"x\"\nschema = { type = \"object\", properties = { a = { type = \"string\" } } }",
        "type = \"x\"\nschema = '{\"type\": \"object\"}'\nnarrow = { a = \"subset\", b = { c = \"at_most\", d = \"equal\" } }",
        &format!("type = \"x\"\nschema = {:?}\nfilter_by_locations = true", file.display().to_string()),
    ] {
        with_type(good).unwrap();
    }
    for (bad, key) in [
        ("type = \"\"", "type"),
        ("type = \"x\"\nschema = \"builtin\"", "schema"),
        ("type = \"x\"\nschema = { type = \"no such type\" }", "schema"),
        ("type = \"x\"\nschema = \"no/such/file.json\"", "schema"),
        ("type = \"x\"\nschema = 1", "schema"),
        ("type = \"x\"\nschema = { \"$ref\" = \"https://example.com/schema.json\" }", "schema"),
        ("type = \"x\"\nnarrow = { a = \"prefix\" }", "narrow"),
        ("type = \"x\"\nnarrow = { a = 1 }", "narrow"),
    ] {
        let refused = said(with_type(bad));
        assert!(refused.starts_with(&format!("authorization_details_type.0.{key}: ")), "{refused}");
    }
    let twice = "[[authorization_details_type]]\ntype = \"x\"\n[[authorization_details_type]]\ntype = \"x\"\n";
    assert!(said(from_file(twice)).contains("twice"));
    let shipped = from_file(include_str!("../../deploy/authorization-details/types.toml")).unwrap();
    assert_eq!(shipped.authorization_details_type.len(), 2);
}

#[test]
fn an_unknown_key_is_refused_by_name_and_line() {
    let refused = from_file("issuer = \"https://as.example.com\"\n\n[dpop]\nproof_age = 1\n").unwrap_err();
    let ConfigError::File { line, column, message, .. } = &refused else { panic!("{refused}") };
    assert_eq!((*line, *column), (4, 1));
    assert!(message.starts_with("unknown field `proof_age`"), "{message}");
    from_file("issuer = \"https://as.example.com\"\n\n[dpop]\nproof_max_age_s = 1\n").unwrap();
}

#[test]
fn a_wrong_type_is_refused_by_key_and_line() {
    let refused = from_file("[dpop]\nclock_skew_s = \"ten\"\n").unwrap_err();
    let ConfigError::File { line, key, message, .. } = &refused else { panic!("{refused}") };
    assert_eq!((*line, key.as_str()), (2, "dpop.clock_skew_s"));
    assert_eq!(message, "invalid type: string, expected u32");
    let refused = from_file("[log]\n\nlevel = \"loud\"\n").unwrap_err();
    assert!(refused.to_string().contains(":3:"), "{refused}");
    assert!(refused.to_string().contains("`loud`"), "{refused}");
}

#[test]
fn no_error_shows_a_value_that_may_be_a_secret() {
    let secret = "Xk7-much-too-secret";
    for text in [
        format!("management = \"{secret}\""),
        format!("[management]\ntoken = [\"{secret}\"]"),
        format!("[management]\ntoken = \"{secret}"),
        format!("[store]\nurls = \"redis://u:{secret}@h\""),
        format!("[dpop]\nclock_skew_s = \"{secret}\""),
    ] {
        assert!(!said(from_file(&text)).contains(secret), "{text}");
    }
    for (name, value) in [("KEYBOUND__MANAGEMENT", secret), ("KEYBOUND__DPOP__CLOCK_SKEW_S", secret), ("KEYBOUND__TOKEN", secret)] {
        assert!(!said(with("", &[(name, value)], &[])).contains(secret), "{name}");
    }
    let config = with("", &[("KEYBOUND__MANAGEMENT__TOKEN", secret)], &[]).unwrap();
    assert!(!format!("{config:?}").contains(secret));
}

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let file = "[dpop]\nnonce_step_s = 100\nclock_skew_s = 20\nproof_max_age_s = 30\n";
    let env = [("KEYBOUND__DPOP__CLOCK_SKEW_S", "21"), ("KEYBOUND__DPOP__PROOF_MAX_AGE_S", "31"), ("HOME", "/"), ("KEYBOUND_OTHER", "x")];
    let config = with(file, &env, &[("dpop.proof_max_age_s", "32")]).unwrap();
    assert_eq!((config.dpop.nonce_step_s, config.dpop.clock_skew_s, config.dpop.proof_max_age_s), (100, 21, 32));
}

#[test]
fn a_variable_is_read_as_the_type_of_its_key() {
    let env = [
        ("KEYBOUND__ISSUER", "https://as.example.com"),
        ("KEYBOUND__PROFILE", "fapi2"),
        ("KEYBOUND__DPOP__ALGS", "ES256, EdDSA"),
        ("KEYBOUND__DPOP__NONCE", "required"),
        ("KEYBOUND__MANAGEMENT__TOKEN", "1234567890123456"),
        ("KEYBOUND__STORE__URLS", r#"["redis://h:1"]"#),
        ("KEYBOUND__RESOURCE", r#"[{"id":"a","url":"https://api.example.com","scopes":["x","y"]}]"#),
        ("KEYBOUND__RESOURCE__0__AUDIENCE", "aud"),
        ("KEYBOUND__LIMITS", "{ max_body_bytes = 2048 }"),
    ];
    let config = with("", &env, &[]).unwrap();
    assert_eq!(config.issuer.as_str(), "https://as.example.com");
    assert_eq!(config.profile, Profile::Fapi2);
    assert_eq!(config.dpop.algs.to_string(), "ES256 EdDSA");
    assert_eq!(config.dpop.nonce, NoncePolicy::Required);
    assert_eq!(config.management.token.unwrap().expose(), "1234567890123456");
    assert_eq!(config.store.urls[0].expose(), "redis://h:1");
    assert_eq!(config.resource[0].audience.as_deref(), Some("aud"));
    assert_eq!(config.resource[0].scopes.to_string(), "x y");
    assert_eq!(config.limits.max_body_bytes, 2048);
}

#[test]
fn a_variable_that_names_no_key_is_refused_by_its_name() {
    for name in ["KEYBOUND__DPOP__NONSE", "KEYBOUND__NONCE", "KEYBOUND__", "KEYBOUND__RESOURCE__0__ID", "KEYBOUND__ISSUER__X"] {
        let refused = with("", &[(name, "required")], &[]).unwrap_err();
        let ConfigError::Variable { name: named, .. } = &refused else { panic!("{name}: {refused}") };
        assert_eq!(named, name);
    }
    assert!(said(with("", &[], &[("dpop.nonse", "required")])).starts_with("--set dpop.nonse: unknown field `nonse`"));
}

#[test]
fn a_secret_is_read_from_the_file_that_a_variable_or_a_key_names() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    let secret_path = secret.to_str().unwrap();
    for (content, token) in
        [("0123456789abcdef\n", "0123456789abcdef"), ("0123456789abcdef\r\n", "0123456789abcdef"), ("0123456789abcdef", "0123456789abcdef")]
    {
        std::fs::write(&secret, content).unwrap();
        let config = with("", &[("KEYBOUND__MANAGEMENT__TOKEN_FILE", secret_path)], &[]).unwrap();
        assert_eq!(config.management.token.unwrap().expose(), token);
    }
    std::fs::write(&secret, "required\n").unwrap();
    let config = with("", &[("KEYBOUND__DPOP__NONCE_FILE", secret_path)], &[]).unwrap();
    assert_eq!(config.dpop.nonce, NoncePolicy::Required);

    let missing = said(with("", &[("KEYBOUND__DPOP__NONCE_FILE", "/no/such/file")], &[]));
    assert!(missing.contains("/no/such/file") && missing.contains("KEYBOUND__DPOP__NONCE_FILE"), "{missing}");
    let missing = said(from_file("[management]\ntoken_file = \"/no/such/file\"\n"));
    assert!(missing.contains("management.token_file"), "{missing}");
    let both = format!("[management]\ntoken = \"0123456789abcdef\"\ntoken_file = \"{secret_path}\"\n");
    assert!(said(from_file(&both)).starts_with("management.token_file: give either"));
}

#[test]
fn values_out_of_range_are_refused_at_the_edge() {
    for (key, low, high) in [
        ("dpop.proof_max_age_s", 1, 3600),
        ("dpop.clock_skew_s", 0, 60),
        ("dpop.nonce_step_s", 10, 3600),
        ("dpop.max_proof_bytes", 1024, 16_384),
        ("tokens.access_token_lifetime_s", 10, 86_400),
        ("tokens.refresh_idle_s", 60, 31_536_000),
        ("limits.max_body_bytes", 1024, 1_048_576),
        ("limits.request_timeout_ms", 100, 60_000),
        ("store.ledger_capacity", 64, 1_000_000_000),
    ] {
        for good in [low, low + 1, high - 1, high] {
            with("", &[], &[(key, &good.to_string())]).unwrap_or_else(|error| panic!("{key} = {good}: {error}"));
        }
        for bad in [low - 1, high + 1] {
            assert!(said(with("", &[], &[(key, &bad.to_string())])).contains(key), "{key} = {bad}");
        }
    }
}

#[test]
fn a_management_listener_that_others_can_reach_needs_a_token() {
    let listen = ("listen.management", "0.0.0.0:8082");
    assert!(said(with("", &[], &[listen])).starts_with("management.token:"));
    with("", &[], &[listen, ("management.token", "0123456789abcdef")]).unwrap();
    assert!(said(with("", &[], &[("management.token", "0123456789abcde")])).contains("at least 16"));
    assert!(said(with("", &[], &[("management.token", "0123456789 abcdef")])).contains("visible ASCII"));
    assert!(said(with("", &[], &[("listen.management", "127.0.0.1:8080")])).starts_with("listen.management:"));
}

#[test]
fn a_redis_store_needs_one_good_url_and_a_plain_prefix() {
    let redis = ("store.kind", "redis");
    for (key, good, bad) in [
        ("store.urls", "rediss://:secret@10.0.0.5:6379/2", "https://10.0.0.5"),
        ("store.urls", "unix:///run/redis.sock", "redis://a,redis://b"),
        ("store.urls", "redis://localhost", "localhost:6379"),
        ("store.key_prefix", "kb-1.a_b:", "kb*"),
        ("store.key_prefix", "", "kb 1"),
    ] {
        with("", &[], &[redis, (key, good)]).unwrap_or_else(|error| panic!("{key} = {good}: {error}"));
        assert!(said(with("", &[], &[redis, (key, bad)])).starts_with(key), "{key} = {bad}");
    }
}

/// SEC-07: without nonces a proof would be good in every region.
#[test]
fn a_region_needs_nonces_everywhere() {
    let (region, required) = (("dpop.region", "eu-1"), ("dpop.nonce", "required"));
    assert_eq!(with("", &[], &[region, required]).unwrap().dpop.region.as_deref(), Some("eu-1"));
    assert!(said(with("", &[], &[region])).starts_with("dpop.region: needs `nonce = "));
    for bad in ["", "a b", "é", &"r".repeat(33)] {
        assert!(said(with("", &[], &[("dpop.region", bad), required])).starts_with("dpop.region: must be"), "{bad}");
    }
    let resource = |nonce| format!("[[resource]]\nid = \"api\"\nurl = \"https://api.example.com\"\nnonce = \"{nonce}\"\n");
    with(&resource("required"), &[], &[region, required]).unwrap();
    assert!(said(with(&resource("off"), &[], &[region, required])).starts_with("resource.0.nonce"));
}

#[test]
fn a_ledger_of_its_own_is_checked_as_the_store_is() {
    let ledger = |rest: &str| format!("[store]\nkind = \"redis\"\n[store.ledger]\n{rest}\n");
    let one = "urls = [\"redis://10.0.0.9\"]";
    let config = from_file(&ledger(one)).unwrap();
    assert_eq!(config.store.ledger.as_ref().map(|ledger| ledger.urls.len()), Some(1));
    let sentinel = format!("{one}\ntopology = \"sentinel\"");
    from_file(&ledger(&format!("{sentinel}\nsentinel_master = \"m\""))).unwrap();
    for (rest, key) in [
        ("urls = []", "store.ledger.urls"),
        ("urls = [\"http://10.0.0.9\"]", "store.ledger.urls"),
        (&sentinel, "store.ledger.sentinel_master"),
        (&format!("{one}\nsentinel_master = \"m\""), "store.ledger.sentinel_master"),
        (&format!("{one}\nkey_prefix = \"a*\""), "store.ledger.key_prefix"),
    ] {
        assert!(said(from_file(&ledger(rest))).starts_with(key), "{rest}");
    }
    assert!(said(from_file(&format!("[store.ledger]\n{one}\n"))).starts_with("store.ledger: has a meaning with"));
}

#[test]
fn the_fapi2_profile_limits_what_may_be_chosen() {
    let fapi2 = ("profile", "fapi2");
    let config = with("", &[], &[fapi2]).unwrap();
    assert_eq!(config.dpop.algs, AlgSet::fapi2());
    for (key, value) in [
        ("dpop.algs", "ES256,ES384"),
        ("dpop.trust_nonce_time", "true"),
        ("dpop.key_change", "true"),
        ("tokens.access_token_alg", "ES384"),
        ("dpop.clock_skew_s", "9"),
    ] {
        assert!(said(with("", &[], &[fapi2, (key, value)])).starts_with(key), "{key}");
        with("", &[], &[(key, value)]).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    // FAPI-AS-11, FAPI-AS-13, FAPI-AZ-12: with or without the profile.
    for (key, most) in [("dpop.clock_skew_s", 60), ("authorize.code_lifetime_s", 60), ("authorize.request_uri_lifetime_s", 599)] {
        with("", &[], &[fapi2, (key, &most.to_string())]).unwrap();
        assert!(said(with("", &[], &[fapi2, (key, &(most + 1).to_string())])).starts_with(key), "{key}");
    }
    assert!(said(from_file("[dpop]\nalgs = []\n")).contains("at least one algorithm"));
}

#[test]
fn clients_are_checked_as_registrations_are() {
    let client = |text: &str| format!("[[client]]\nclient_id = \"app\"\nscope = \"accounts\"\n{text}\n");
    let config = from_file(&client("")).unwrap();
    assert_eq!(config.client[0].client_id.as_ref().map(|id| id.as_str()), Some("app"));
    assert!(said(from_file(&client("grant_tips = []"))).contains(":4:"));
    assert!(said(from_file(&client("token_endpoint_auth_method = \"client_secret_basic\""))).starts_with("client.0.client_secret:"));
    assert!(said(from_file("[[client]]\nscope = \"accounts\"\n")).starts_with("client.0.client_id:"));
    assert!(said(from_file(&format!("{0}{0}", client("")))).starts_with("client.1.client_id: is used"));
    assert!(said(with(&client(""), &[], &[("profile", "fapi2")])).starts_with("client.0."));
    let secret = [("KEYBOUND__CLIENT__0__CLIENT_SECRET", "0123456789abcdef0123456789abcdef")];
    with(&client("token_endpoint_auth_method = \"client_secret_basic\""), &secret, &[]).unwrap();
}

#[test]
fn resources_are_named_once_and_have_base_urls() {
    let resource = |id: &str, url: &str| format!("[[resource]]\nid = \"{id}\"\nurl = \"{url}\"\n");
    let one = resource("a", "https://api.example.com/a");
    from_file(&format!("{one}{}", resource("b", "https://api.example.com/b"))).unwrap();
    for (second, key) in [
        (resource("a", "https://api.example.com/b"), "resource.1.id"),
        (resource("b", "https://api.example.com/a"), "resource.1.url"),
        (resource("b c", "https://api.example.com/b"), "resource.1.id"),
        (format!("{}audience = \"\"\n", resource("b", "https://api.example.com/b")), "resource.1.audience"),
    ] {
        assert!(said(from_file(&format!("{one}{second}"))).starts_with(key), "{second}");
    }
    assert!(said(from_file(&resource("a", "http://api.example.com"))).contains(":3:"));
    assert!(said(from_file("[[resource]]\nid = \"a\"\n")).contains("missing field `url`"));
}

#[test]
fn a_cluster_is_named_by_members_and_has_one_database() {
    let cluster =
        |urls: &str, more: &str| from_file(&format!("[store]\nkind = \"redis\"\ntopology = \"cluster\"\n{more}urls = [{urls}]\n"));
    for good in [
        "\"redis://10.0.0.1\"",
        "\"redis://10.0.0.1:6379\", \"redis://u:p%2F@10.0.0.2:6379/\"",
        "\"rediss://u:p3@redis-1.example.com:6379/0\"",
    ] {
        assert_eq!(cluster(good, "").unwrap().store.topology, Topology::Cluster, "{good}");
    }
    for (bad, why) in [
        ("", "must name members"),
        ("\"unix:///run/redis.sock\"", "must name members"),
        ("\"http://10.0.0.1\"", "must begin with"),
        ("\"redis://10.0.0.1:6379/1\"", "one database"),
    ] {
        let refused = said(cluster(bad, ""));
        assert!(refused.starts_with("store.urls") && refused.contains(why), "{refused}");
    }
    assert!(said(cluster("\"redis://10.0.0.1\"", "sentinel_master = \"m\"\n")).starts_with("store.sentinel_master"));
    let ledger = "[store]\nkind = \"redis\"\n[store.ledger]\ntopology = \"cluster\"\nurls = [\"redis://10.0.0.1\", \"redis://10.0.0.2\"]\n";
    assert_eq!(from_file(ledger).unwrap().store.ledger.unwrap().topology, Topology::Cluster);
    assert!(said(from_file(&ledger.replace("0.2", "0.2/7"))).starts_with("store.ledger.urls"));
}

#[test]
fn a_gateway_listener_is_an_address_a_socket_or_off() {
    for (text, listener) in [
        ("off", Listener::Off),
        ("127.0.0.1:0", Listener::Tcp("127.0.0.1:0".parse().unwrap())),
        ("unix:/run/keybound.sock", Listener::Unix("/run/keybound.sock".into())),
    ] {
        let config = with("", &[], &[("listen.gateway", text), ("listen.gateway_grpc", "off")]).unwrap();
        assert_eq!((config.listen.gateway(), listener.to_string().as_str()), (listener, text));
    }
    assert_eq!(Config::default().listen.gateway(), Listener::Tcp(Listen::GATEWAY));
    for text in ["", "on", "unix:", "8081", "localhost:8081"] {
        assert!(said(with("", &[], &[("listen.gateway", text)])).contains("expected"), "{text}");
    }
    for (gateway, grpc, refused) in [
        ("127.0.0.1:8080", "off", Some("listen.gateway")),
        ("127.0.0.1:8082", "off", Some("listen.gateway")),
        ("127.0.0.1:9000", "127.0.0.1:9000", Some("listen.gateway_grpc")),
        ("unix:/run/a", "unix:/run/a", Some("listen.gateway_grpc")),
        ("127.0.0.1:0", "127.0.0.1:0", None),
    ] {
        let outcome = with("", &[], &[("listen.gateway", gateway), ("listen.gateway_grpc", grpc)]);
        match refused {
            Some(key) => assert!(said(outcome).starts_with(&format!("{key}: ")), "{gateway} {grpc}"),
            None => assert!(outcome.is_ok()),
        }
    }
}

#[test]
fn what_gateways_show_is_complete_and_can_not_be_guessed() {
    for (section, refused) in [
        ("key = \"0123456789abcdef\"", None),
        ("key = \"0123456789abcde\"", Some("gateway.key")),
        ("key = \"0123456789 abcdef\"", Some("gateway.key")),
        ("tls_cert = \"a\"\ntls_key = \"b\"\nclient_ca = \"c\"", None),
        ("tls_cert = \"a\"\ntls_key = \"b\"", None),
        ("tls_cert = \"a\"", Some("gateway.tls_key")),
        ("tls_key = \"a\"", Some("gateway.tls_key")),
        ("client_ca = \"c\"", Some("gateway.client_ca")),
    ] {
        let outcome = from_file(&format!("[gateway]\n{section}\n"));
        match refused {
            Some(key) => assert!(said(outcome).starts_with(key), "{section}"),
            None => assert!(outcome.is_ok(), "{section}"),
        }
    }
}

/// HTU-09
#[test]
fn what_a_resource_asks_for_at_the_gateway_has_bounds() {
    let resource = |member: &str| from_file(&format!("[[resource]]\nid = \"a\"\nurl = \"https://api.example.com\"\n{member}\n"));
    for good in [
        "nonce = \"required\"",
        "proof_max_age_s = 1",
        "proof_max_age_s = 3600",
        "upstream_authorization = \"jwt\"",
        "aliases = [\"https://other.example.com/v1\"]",
    ] {
        assert!(resource(good).is_ok(), "{good}");
    }
    for bad in [
        "proof_max_age_s = 0",
        "proof_max_age_s = 3601",
        "aliases = [\"https://api.example.com\"]",
        "aliases = [\"https://b.example.com\", \"https://b.example.com\"]",
    ] {
        assert!(said(resource(bad)).starts_with("resource.0."), "{bad}");
    }
    assert!(resource("upstream_authorization = \"none\"").is_err() && resource("aliases = [\"http://api.example.com\"]").is_err());
}

#[test]
fn sentinels_are_named_with_what_they_watch() {
    let store = |rest: &str| from_file(&format!("[store]\nkind = \"redis\"\n{rest}"));
    let sentinels = "topology = \"sentinel\"\nurls = [\"redis://10.0.0.1:26379\", \"redis://10.0.0.2:26379\"]\n";
    let config = store(&format!("{sentinels}sentinel_master = \"mymaster\"\ndurability = \"strict\"\nmin_replicas = 2\n")).unwrap();
    assert_eq!((config.store.urls.len(), config.store.min_replicas), (2, 2));
    assert!(said(store(sentinels)).starts_with("store.sentinel_master"));
    assert!(said(store(&format!("{sentinels}sentinel_master = \"\"\n"))).starts_with("store.sentinel_master"));
    assert!(said(store("sentinel_master = \"mymaster\"\n")).starts_with("store.sentinel_master"));
    for urls in ["[]", "[\"unix:///run/redis.sock\"]"] {
        let text = format!("topology = \"sentinel\"\nurls = {urls}\nsentinel_master = \"mymaster\"\n");
        assert!(said(store(&text)).starts_with("store.urls"), "{urls}");
    }
}

/// INT-01
#[test]
fn the_credentials_of_a_resource_are_checked_as_a_client_s_are() {
    let resource = |id: &str, members: &str| {
        from_file(&format!("[[client]]\nclient_id = \"app\"\n[[resource]]\nid = \"{id}\"\nurl = \"https://api.example.com\"\n{members}\n"))
    };
    let secret = "client_secret = \"a secret of the accounts api\"";
    assert!(resource("accounts", secret).is_ok());
    let key = "kty = \"OKP\", crv = \"Ed25519\", x = \"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"";
    let jwks = format!("jwks = {{ keys = [{{ {key} }}] }}");
    assert!(resource("accounts", &jwks).is_ok());
    assert!(said(resource("accounts", "client_secret = \"\"")).starts_with("resource.0.client_secret:"));
    assert!(said(resource("accounts", "jwks = { keys = [] }")).starts_with("resource.0.jwks:"));
    assert!(said(resource("accounts", &format!("{secret}\n{jwks}"))).starts_with("resource.0.client_secret:"));
    assert!(said(resource("app", secret)).starts_with("resource.0.id:"));
    assert!(resource("app", "").is_ok());
}

#[test]
fn registration_needs_a_token_exactly_where_it_asks_for_one() {
    let token = ("registration.token", "0123456789abcdef");
    for (mode, with_token, without) in [("off", false, true), ("token", true, false), ("open", false, true)] {
        assert_eq!(with("", &[], &[("registration.mode", mode), token]).is_ok(), with_token, "{mode}");
        assert_eq!(with("", &[], &[("registration.mode", mode)]).is_ok(), without, "{mode}");
    }
    let short = [("registration.mode", "token"), ("registration.token", "0123456789abcde")];
    assert!(said(with("", &[], &short)).contains("at least 16"));
    for (key, low, high) in [("registration.max_clients", 1, 100_000), ("registration.max_per_minute", 1, 10_000)] {
        for (value, good) in [(low - 1, false), (low, true), (high, true), (high + 1, false)] {
            assert_eq!(with("", &[], &[(key, &value.to_string())]).is_ok(), good, "{key} = {value}");
        }
    }
}

#[test]
fn metadata_documents_are_switched_on_before_loopback_is() {
    let enabled = ("client_metadata_documents.enabled", "true");
    let loopback = ("client_metadata_documents.allow_loopback", "true");
    with("", &[], &[enabled, loopback]).unwrap();
    assert!(said(with("", &[], &[loopback])).starts_with("client_metadata_documents.allow_loopback:"));
}

#[test]
fn a_trusted_issuer_is_someone_else_with_keys_in_one_place() {
    let trusted = |text: &str| from_file(&format!("[[trusted_issuer]]\n{text}\n"));
    let other = "issuer = \"https://idp.example.com\"";
    let published = format!("{other}\njwks_uri = \"https://idp.example.com/jwks\"");
    trusted(&published).unwrap();
    for (text, key) in [
        (other.to_owned(), "jwks_uri"),
        (format!("{published}\njwks = {{ keys = [] }}"), "jwks_uri"),
        (format!("{other}\njwks = {{ keys = [] }}"), "jwks"),
        (format!("{other}\njwks_uri = \"http://idp.example.com/jwks\""), "jwks_uri"),
        ("issuer = \"\"\njwks_uri = \"https://idp.example.com/jwks\"".to_owned(), "issuer"),
        ("issuer = \"http://127.0.0.1:8080\"\njwks_uri = \"https://idp.example.com/jwks\"".to_owned(), "issuer"),
        (format!("{published}\naudience = \"\""), "audience"),
        (format!("{published}\nclients = [\"\"]"), "clients"),
        (format!("{published}\n[[trusted_issuer]]\n{published}"), "issuer"),
    ] {
        let refused = said(trusted(&text));
        assert!(refused.starts_with("trusted_issuer.") && refused.contains(&format!(".{key}:")), "{text}: {refused}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let refused = Config::load(Some(Path::new("/no/such/keybound.toml")), [], &Flags::default()).unwrap_err();
    assert!(refused.to_string().starts_with("/no/such/keybound.toml:"), "{refused}");
}
