//! `docker-compose.yml`, read by a parser for the little YAML that it uses: nested mappings and lists of scalars.

use std::collections::BTreeMap;

use keybound::config::{Config, Flags};

use crate::support::repository_file;

#[derive(Debug)]
enum Node {
    Scalar(String),
    Map(BTreeMap<String, Node>),
    List(Vec<String>),
}

impl Node {
    fn at(&self, key: &str) -> &Self {
        match self {
            Self::Map(map) => map.get(key).unwrap_or_else(|| panic!("{key} is missing")),
            _ => panic!("{key} is looked for in a scalar"),
        }
    }
}

type Lines<'a> = std::iter::Peekable<std::vec::IntoIter<(usize, &'a str)>>;

fn parse(text: &str) -> Node {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let indented = lines.map(|line| {
        assert!(!line.contains('\t'), "YAML is not indented with tabs: {line}");
        (line.len() - line.trim_start().len(), line.trim())
    });
    let mut lines: Lines<'_> = indented.collect::<Vec<_>>().into_iter().peekable();
    let node = block(&mut lines, 0);
    assert_eq!(lines.next(), None, "a line is indented otherwise than its neighbours");
    node
}

fn block(lines: &mut Lines<'_>, indent: usize) -> Node {
    if lines.peek().is_some_and(|(_, line)| line.starts_with("- ")) {
        let mut items = Vec::new();
        while let Some((_, line)) = lines.next_if(|(at, line)| *at == indent && line.starts_with("- ")) {
            items.push(scalar(&line[2..]));
        }
        return Node::List(items);
    }
    let mut map = BTreeMap::new();
    while let Some((_, line)) = lines.next_if(|(at, _)| *at == indent) {
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("neither a key nor a list: {line}"));
        let value = match (value.trim(), lines.peek()) {
            ("", Some((deeper, _))) if *deeper > indent => {
                let deeper = *deeper;
                block(lines, deeper)
            }
            (value, _) => Node::Scalar(scalar(value)),
        };
        assert!(map.insert(key.to_owned(), value).is_none(), "{key} is there twice");
    }
    Node::Map(map)
}

fn scalar(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

#[test]
fn the_compose_file_has_a_health_check_for_each_service() {
    let file = parse(&repository_file("docker-compose.yml"));
    let Node::Map(services) = file.at("services") else { panic!("services is no mapping") };
    assert_eq!(services.keys().collect::<Vec<_>>(), ["api", "keybound", "nginx", "redis"]);
    for (name, service) in services {
        let Node::Scalar(test) = service.at("healthcheck").at("test") else { panic!("{name} has no health check") };
        assert!(test.starts_with('['), "{name}: {test}");
    }
    let Node::Scalar(condition) = services["keybound"].at("depends_on").at("redis").at("condition") else { panic!("no condition") };
    assert_eq!(condition, "service_healthy");
}

#[test]
fn the_compose_file_runs_redis_so_that_the_service_accepts_it() {
    let file = parse(&repository_file("docker-compose.yml"));
    let Node::List(command) = file.at("services").at("redis").at("command") else { panic!("no command") };
    let command = command.join(" ");
    assert!(command.contains("--maxmemory-policy noeviction") && command.contains("--appendonly yes"), "{command}");
}

#[test]
fn the_environment_of_the_compose_file_is_a_good_configuration() {
    let file = parse(&repository_file("docker-compose.yml"));
    let Node::Map(environment) = file.at("services").at("keybound").at("environment") else { panic!("no environment") };
    let variables = environment.iter().map(|(name, value)| {
        let Node::Scalar(value) = value else { panic!("{name} is no scalar") };
        // What the operator is asked for.
        let value = if value.starts_with("${") { "a-token-of-the-operator" } else { value };
        (name.clone(), value.to_owned())
    });
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose/keybound.toml");
    let config = Config::load(Some(&beside), variables, &Flags::default()).unwrap();
    let gateway = config.listen.gateway().to_string();
    assert_eq!(gateway, "127.0.0.1:8081", "what nginx asks, inside the container's network");
    assert!(config.listen.management.ip().is_loopback(), "the management listener stays inside the container");
}

#[test]
fn every_file_that_the_compose_file_mounts_is_there() {
    let file = parse(&repository_file("docker-compose.yml"));
    let Node::Map(services) = file.at("services") else { panic!("services is no mapping") };
    let mut seen = 0;
    for (name, service) in services {
        let Node::List(volumes) = service.at("volumes") else { panic!("{name} has no volumes") };
        for source in volumes.iter().filter_map(|volume| volume.strip_prefix("./")).filter_map(|volume| volume.split(':').next()) {
            assert!(!repository_file(source).is_empty(), "{name} mounts {source}");
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}
