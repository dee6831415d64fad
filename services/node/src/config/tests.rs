//! Tests of loading as a whole, named after the mistake.

use super::raw::SETTINGS;
use super::*;
use std::path::Path;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Command, Vec<String>> {
    Config::load(args.iter().map(|&arg| arg.to_owned()), |name| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn serve(args: &[&str], env: &[(&str, &str)]) -> Config {
    match load(args, env) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("expected a node to serve, got {other:?}"),
    }
}

fn dev(args: &[&str], env: &[(&str, &str)]) -> DevOptions {
    match load(args, env) {
        Ok(Command::Dev(options)) => *options,
        other => panic!("expected a cluster, got {other:?}"),
    }
}

fn health(args: &[&str], env: &[(&str, &str)]) -> HealthOptions {
    match load(args, env) {
        Ok(Command::Health(options)) => options,
        other => panic!("expected a question, got {other:?}"),
    }
}

fn selftest(args: &[&str], env: &[(&str, &str)]) -> SelftestOptions {
    match load(args, env) {
        Ok(Command::Selftest(options)) => options,
        other => panic!("expected a conversation, got {other:?}"),
    }
}

fn mistakes(args: &[&str], env: &[(&str, &str)]) -> Vec<String> {
    load(args, env).expect_err("expected mistakes")
}

#[test]
fn without_any_setting_the_defaults_serve() {
    let config = serve(&[], &[("NODE_ID", "node1")]);
    assert_eq!(
        config.websocket,
        Listen {
            host: "0.0.0.0".into(),
            port: 8080
        }
    );
    assert_eq!(
        config.xmlrpc,
        Listen {
            host: "0.0.0.0".into(),
            port: 9090
        }
    );
    assert_eq!(
        config.operations,
        Listen {
            host: "0.0.0.0".into(),
            port: 9100
        }
    );
    assert_eq!(config.xmlrpc_address, "http://node1:9090");
    assert!(config.peers.is_empty());
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.store, StoreKind::Local);
    assert_eq!(
        config.logging,
        Logging {
            level: LevelFilter::INFO,
            format: LogFormat::Text
        }
    );
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.limits.inactivity, Duration::from_secs(900));
}

#[test]
fn the_node_is_called_after_its_host() {
    let expected = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(serve(&["--xmlrpc-address="], &[]).node_id.as_str(), expected);
}

#[test]
fn a_flag_beats_its_variable_in_both_spellings() {
    let env = [("WEBSOCKET_PORT", "1"), ("NODE_ID", "env")];
    assert_eq!(serve(&["--websocket-port", "2"], &env).websocket.port, 2);
    assert_eq!(serve(&["--websocket-port=3"], &env).websocket.port, 3);
    assert_eq!(serve(&["--node-id=flag"], &env).node_id.as_str(), "flag");
    assert_eq!(serve(&[], &env).websocket.port, 1);
    // What the flag replaces is not judged.
    assert_eq!(
        serve(&["--websocket-port=3", "--node-id=n"], &[("WEBSOCKET_PORT", "x")])
            .websocket
            .port,
        3
    );
}

#[test]
fn every_setting_has_a_variable_a_flag_a_place_in_the_help_and_a_default_that_is_right() {
    let Ok(Command::Help(help)) = load(&["--port", "--help"], &[]) else {
        panic!("expected the help")
    };
    for setting in SETTINGS {
        assert!(
            help.contains(&format!("  {} ", setting.flag())) && help.contains(setting.env),
            "{}",
            setting.env
        );
        assert!(setting.help.ends_with('.'), "{}", setting.env);
    }
    assert!(matches!(load(&["dev", "-V"], &[]), Ok(Command::Version)));
    serve(&[], &[("NODE_ID", "n")]);
    dev(&["dev"], &[]);
    health(&["health"], &[]);
    selftest(&["selftest"], &[]);
}

#[test]
fn all_mistakes_are_listed_at_once() {
    let mistakes = mistakes(
        &[
            "--colour",
            "red",
            "--xmlrpc-port=80a",
            "--node-id",
            "--log-level=loud",
            "serve",
            "--nodes=2",
        ],
        &[
            ("WEBSOCKET_PORT", ""),
            ("OPERATIONS_PORT", "70000"),
            ("PEER_NODES", "node2,node3:https://h:1"),
            ("STORE", ""),
        ],
    );
    let expected = [
        "--colour: no such flag (see --help)",
        "--node-id: its value is missing",
        "serve: no such command (there are dev, health, selftest and log-level)",
        "--nodes: only for \"chat-node dev\"",
        "--xmlrpc-port: \"80a\" is not a whole number from 0 to 65535 (port, 0 for a free one)",
        "WEBSOCKET_PORT: \"\" is not a whole number from 0 to 65535 (port, 0 for a free one)",
        "OPERATIONS_PORT: \"70000\" is not a whole number from 0 to 65535 (port, 0 for a free one)",
        "PEER_NODES: \"node2\" has no colon (expected id:http://host:port or id:host:port)",
        "PEER_NODES: \"node3:https://h:1\" has an https address, which is not supported yet \
         (expected id:http://host:port or id:host:port)",
        "STORE: \"\" is none of local, memory",
        "--log-level: \"loud\" is none of off, error, warn, info, debug, trace",
    ];
    assert_eq!(mistakes, expected);
}

#[test]
fn limits_that_contradict_each_other_are_mistakes() {
    let env = [("NODE_ID", "n")];
    for (args, named) in [
        (
            ["--heartbeat-failed-ms=1999", "--heartbeat-interval-ms=1000"],
            "HEARTBEAT_FAILED_MS must be at least twice",
        ),
        (
            ["--drain-window-ms=30000", "--grace-ms=30000"],
            "must be shorter than GRACE_MS",
        ),
        (
            ["--exchange-bytes=900000", "--exchange-bytes=1048576"],
            "is not a whole number from 106400 to 983040",
        ),
        (
            ["--max-connections=10", "--max-handshakes=11"],
            "MAX_HANDSHAKES must not be larger than MAX_CONNECTIONS",
        ),
        (
            ["--batch-bytes=2000000", "--backlog-bytes=3000000"],
            "BATCH_BYTES must not be larger than ROOM_PENDING_BYTES",
        ),
    ] {
        let mistakes = mistakes(&args, &env);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(named), "{mistakes:?}");
    }
}

#[test]
fn a_relation_to_a_value_that_is_wrong_by_itself_is_not_judged() {
    let mistakes = mistakes(
        &["--heartbeat-interval-ms=x", "--heartbeat-failed-ms=1"],
        &[("NODE_ID", "n")],
    );
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
}

#[test]
fn a_variable_that_is_set_but_empty_is_used_as_empty() {
    let env = [
        ("NODE_ID", "n"),
        ("XMLRPC_ADDRESS", ""),
        ("PEER_NODES", ""),
        ("WEBSOCKET_HOST", ""),
    ];
    let config = serve(&[], &env);
    assert_eq!(config.xmlrpc_address, "");
    assert_eq!(config.websocket.host, "0.0.0.0");
    assert_eq!(mistakes(&[], &[("NODE_ID", "")]).len(), 1);
    assert_eq!(mistakes(&[], &[("NODE_ID", "n"), ("DATA_DIR", "")]).len(), 1);
}

#[test]
fn the_node_itself_is_no_peer() {
    let config = serve(&["--node-id=b"], &[("PEER_NODES", "a:h:1,b:h:2,c:h:3")]);
    assert_eq!(
        config.peers.keys().map(|id| id.as_str()).collect::<Vec<_>>(),
        ["a", "c"]
    );
}

#[test]
fn an_id_that_is_no_host_name_needs_an_address() {
    assert!(mistakes(&["--node-id=my node"], &[])[0].contains("XMLRPC_ADDRESS must be set"));
    assert_eq!(
        serve(&["--node-id=my node", "--xmlrpc-address="], &[]).node_id.as_str(),
        "my node"
    );
}

#[test]
fn dev_gives_each_node_ports_a_directory_and_the_others_as_peers() {
    let options = dev(
        &["dev", "--nodes=3", "--base-port", "20000", "--shards=1"],
        &[("WEBSOCKET_PORT", "ignored")],
    );
    assert_eq!(options.data_dir, None);
    let configs = options.configs(Path::new("/tmp/d"));
    assert_eq!(configs.len(), 3);
    let second = &configs[1];
    assert_eq!(second.node_id.as_str(), "node2");
    assert_eq!(
        (second.websocket.port, second.xmlrpc.port, second.operations.port),
        (20_002, 21_012, 21_022)
    );
    assert_eq!(second.websocket.host, "127.0.0.1");
    assert_eq!(second.xmlrpc_address, "http://127.0.0.1:21012");
    assert_eq!(second.data_dir, Path::new("/tmp/d/node2"));
    assert_eq!(second.limits.shards, 1);
    let peers: Vec<String> = second.peers.iter().map(|(id, url)| format!("{id}={url}")).collect();
    assert_eq!(
        peers,
        ["node1=http://127.0.0.1:21011/RPC2", "node3=http://127.0.0.1:21013/RPC2"]
    );
}

#[test]
fn dev_refuses_the_flags_of_one_node_and_ports_that_do_not_exist() {
    let mistakes = mistakes(&["dev", "--node-id=n", "--nodes=11", "--base-port=64506"], &[]);
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    let options = dev(&["dev", "--nodes=10", "--base-port=64505"], &[]);
    let ports: Vec<u16> = options
        .configs(Path::new("d"))
        .iter()
        .flat_map(|config| [config.websocket.port, config.xmlrpc.port, config.operations.port])
        .collect();
    let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
    assert_eq!((distinct.len(), ports.iter().max()), (30, Some(&65_535)));
}

#[test]
fn health_asks_the_node_that_the_same_environment_runs() {
    let env = [
        ("NODE_ID", "not even a host name"),
        ("OPERATIONS_HOST", "0.0.0.0"),
        ("OPERATIONS_PORT", "9101"),
    ];
    let options = health(&["health"], &env);
    assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 9101));
    assert_eq!(
        (options.probe, options.patience),
        (Probe::Ready, Duration::from_secs(2))
    );
    let options = health(&["health", "--operations-host", "::", "--probe=LIVE"], &env);
    assert_eq!((options.host.as_str(), options.probe.path()), ("::1", "/live"));
    assert_eq!(health(&["health", "--operations-host=10.1.2.3"], &env).host, "10.1.2.3");
}

#[test]
fn health_refuses_what_belongs_to_other_commands() {
    let mistakes = mistakes(
        &["health", "--websocket-port=1", "--log-level=info", "--probe=maybe"],
        &[],
    );
    assert_eq!(
        mistakes,
        [
            "--websocket-port: only for \"chat-node\" alone and \"chat-node selftest\"",
            "--log-level: only for \"chat-node\" alone and \"chat-node dev\"",
            "--probe: \"maybe\" is none of ready, live, startup",
        ]
    );
}

#[test]
fn selftest_talks_to_the_node_of_the_same_environment_or_to_those_that_are_named() {
    let own = selftest(&["selftest"], &[("WEBSOCKET_PORT", "8085"), ("WEBSOCKET_HOST", "")]);
    assert_eq!(own.targets, ["ws://127.0.0.1:8085"]);
    assert_eq!(
        selftest(&["selftest"], &[("WEBSOCKET_HOST", "::")]).targets,
        ["ws://[::1]:8080"]
    );
    let named = selftest(
        &[
            "selftest",
            "--targets",
            "ws://a:1, ws://b:2/,",
            "--metrics=http://a:9100/metrics",
        ],
        &[("WEBSOCKET_HOST", "0.0.0.0")],
    );
    assert_eq!(named.targets, ["ws://a:1", "ws://b:2/"]);
    assert_eq!(named.metrics, ["http://a:9100/metrics"]);
}

#[test]
fn selftest_names_every_target_that_is_none() {
    let wrong = mistakes(&["selftest", "--targets=a:1,wss://b,ws://c", "--metrics=ws://d"], &[]);
    assert_eq!(
        wrong,
        [
            "--targets: \"a:1\" is no URL that begins with ws://host",
            "--targets: \"wss://b\" is no URL that begins with ws://host",
            "--metrics: \"ws://d\" is no URL that begins with http://host",
        ]
    );
    assert_eq!(
        mistakes(&["selftest", "--targets="], &[]),
        ["--targets: is empty (expected ws://host:port)"]
    );
    let many = vec!["ws://a"; MOST_TARGETS + 1].join(",");
    assert_eq!(
        mistakes(&["selftest", "--targets", &many], &[]),
        ["--targets: has more than 64 entries"]
    );
}

#[test]
fn a_key_file_turns_signatures_on_and_only_a_word_turns_them_off() {
    let of = |env: &[(&str, &str)]| serve(&["--node-id=b"], env).peer_auth;
    assert_eq!(of(&[]).key, PeerKey::None(false));
    assert_eq!(of(&[("PEER_AUTH", "none")]).key, PeerKey::None(true));
    for how in [
        &[("PEER_KEY_FILE", "/k")][..],
        &[("PEER_KEY_FILE", "/k"), ("PEER_AUTH", "key")],
    ] {
        assert_eq!(of(how).key, PeerKey::File("/k".into()));
    }
    let auth = of(&[
        ("PEER_KEY_FILE", "/k"),
        ("CLUSTER_ID", "shop/chat"),
        ("PEER_UNSIGNED", "old1, old2,"),
    ]);
    assert_eq!(auth.cluster.as_str(), "shop/chat");
    assert_eq!(auth.unsigned.len(), 2);
    for (env, expected) in [
        (
            &[("PEER_AUTH", "key")][..],
            "PEER_KEY_FILE: is not set, and PEER_AUTH=key needs it",
        ),
        (
            &[("PEER_AUTH", "none"), ("PEER_KEY_FILE", "/k")],
            "PEER_KEY_FILE: is set, and PEER_AUTH=none would ignore it",
        ),
        (
            &[("PEER_UNSIGNED", "old")],
            "PEER_UNSIGNED: exempts peers from a key, and there is none",
        ),
        (&[("CLUSTER_ID", " ")], "CLUSTER_ID: \"\" is empty"),
        (
            &[("PEER_AUTH", "maybe"), ("PEER_KEY_FILE", "/k")],
            "PEER_AUTH: \"maybe\" is none of key, none",
        ),
    ] {
        assert_eq!(mistakes(&["--node-id=b"], env), [expected]);
    }
}

#[test]
fn a_key_is_never_shown() {
    let shown = format!("{:?}", PeerAuth::random());
    assert!(shown.contains("key: Text,"), "{shown}");
}
