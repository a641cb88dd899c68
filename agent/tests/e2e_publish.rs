//! Metrics and inventory over real nats-servers: every way in, outages, clusters, limits. Needs no rights but for the
//! full disk.
#![cfg(feature = "nats")]
#![expect(clippy::large_futures, reason = "one test at a time")]
#![expect(clippy::disallowed_methods, reason = "runs the agent and servers")]

#[path = "notify_support/certificates.rs"]
mod certificates;
mod e2e;
mod lab;
#[path = "publish/outage.rs"]
mod outage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::nats::{Server, json, listen, make_stream, make_stream_of, next, replay, stored, trust};
use lab::ports::free_port;
use lab::{ready, skip, wait_for};
use serde_json::Value;
use sysops_agent::config::Config;
use sysops_agent::host::clock;
use sysops_agent::notify::Clock;
use sysops_agent::notify::nats::{Link, Outgoing};
use sysops_agent::publish::courier::Courier;
use sysops_agent::publish::payload::Speaker;
use sysops_agent::publish::state::State;
use sysops_agent::publish::{Publisher, Sources, Terms};
use sysops_agent::sample::newest::{Newest, Row};
use sysops_agent::time::Now;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A publisher in this process, with a value that counts up.
struct Bench {
    state: Arc<State>,
    newest: watch::Sender<Arc<Newest>>,
    _inventory: watch::Sender<Option<Arc<sysops_agent::inventory::Inventory>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    told: u64,
    clock: Clock,
}

/// Between two rounds.
const PACE: Duration = Duration::from_millis(20);

fn nats(url: &str) -> Config {
    let mut config = Config::default();
    config.nats.enabled = true;
    config.nats.url = url.to_owned().into();
    config.nats.reconnect_delay_secs = 1;
    config
}

fn terms(config: &Config, dir: &Path) -> Terms {
    Terms {
        metrics_every: PACE,
        inventory_every: Duration::from_hours(1),
        retry_every: Duration::from_millis(50),
        dir: dir.to_owned(),
        ..Terms::of(config)
    }
}

impl Bench {
    async fn start(config: &Config, terms: Terms) -> Self {
        Self::start_at(config, terms, clock::now).await
    }

    async fn start_at(config: &Config, terms: Terms, clock: Clock) -> Self {
        let state = Arc::new(State::default());
        let link = Arc::new(Link::of(config).expect("well configured"));
        let speaker = Speaker {
            hostname: "web-1.example.com".into(),
            agent_id: "5f0c".into(),
            labels: BTreeMap::new(),
            batch_size: config.nats.batch_size,
            compression: config.nats.compression,
        };
        let (newest, values) = watch::channel(Arc::default());
        let (inventory, inventories) = watch::channel(None);
        let courier = Courier::new(link, speaker.hostname.clone(), config.nats.jetstream, Arc::clone(&state));
        let sources = Sources { newest: values, inventory: inventories };
        let publisher = Publisher::open(terms, (speaker, courier, Arc::clone(&state)), sources, clock).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(publisher.run(stop.clone()));
        Self { state, newest, _inventory: inventory, stop, task, told: 0, clock }
    }

    /// The next value of so many series of one name; the round is told before this returns.
    async fn tell(&mut self, series: usize) {
        self.told += 1;
        let metric =
            sysops_agent::edge::metrics().into_iter().find(|m| m.name == "disk_used_percent").expect("known");
        let mut newest = Newest::default();
        newest.begin((self.clock)());
        for n in 0..series {
            let mut labels: Vec<Box<str>> = metric.labels.iter().map(|l| (*l).into()).collect();
            labels[0] = format!("/mnt/volume-{n}").into();
            newest.put(Row { metric, labels: labels.into(), value: self.told as f64, at: Now::default() });
        }
        let before = self.seen();
        self.newest.send_replace(Arc::new(newest));
        tokio::time::sleep(PACE * 2).await;
        // On a busy machine it takes longer. Of the one that is on its way nothing is seen yet.
        for _ in 0..100 {
            if self.seen() != before {
                return;
            }
            tokio::time::sleep(PACE / 2).await;
        }
    }

    /// Changes with each round that is told.
    fn seen(&self) -> [u64; 3] {
        let State { metrics, waiting, dropped_metrics, .. } = &*self.state;
        [metrics, waiting, dropped_metrics].map(|count| count.load(std::sync::atomic::Ordering::Relaxed))
    }

    fn waiting(&self) -> u64 {
        self.state.waiting.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(3), self.task)
            .await
            .expect("it ends in time")
            .expect("in order");
    }
}

/// Values that a message of metrics tells.
fn values(body: &Value) -> Vec<u64> {
    let metrics = body["metrics"].as_array().expect("a list");
    metrics.iter().map(|metric| metric["value"].as_u64().expect("a number")).collect()
}

async fn until(what: &str, mut yes: impl AsyncFnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !yes().await {
        assert!(begin.elapsed() < e2e::nats::SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_agent_tells_metrics_inventory_and_signs_of_life() {
    let Some(server) = Server::start("authorization { user: agent, password: s3cret-pass }") else { return };
    let login = async_nats::ConnectOptions::with_user_and_password("agent".into(), "s3cret-pass".into());
    let client = login.connect(server.url()).await.expect("connected");
    let mut all = listen(&client, "sysops.>").await;
    let url = format!("nats://agent:s3cret-pass@127.0.0.1:{}", server.port);
    let home = Home::new(
        "http://127.0.0.1:9/",
        &format!(
            "[agent]\nlog_level = \"trace\"\nhostname = \"web-1.example.com\"\ncollect_interval_secs = 1\nlabels = {{ env = \"prod\" }}\n\
             [alerting.webhook]\nenabled = false\n[nats]\nenabled = true\nurl = {url:?}\nmetrics_interval_secs = 1\n\
             inventory_interval_secs = 2\nheartbeat_interval_secs = 1\nbatch_size = 50"
        ),
    );
    let agent = home.start(&Confine::No);
    let (mut told, mut ids, mut sizes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let (mut rounds, mut series) = (std::collections::BTreeSet::new(), 0);
    let enough = |told: &BTreeMap<String, u64>| {
        told.len() == 3 && told.values().all(|count| *count > 1) && told["metrics"] > 6
    };
    while !enough(&told) {
        let message = next(&mut all).await;
        let (body, plain) = json(&message);
        let what = message.subject.rsplit('.').next().expect("a subject").to_owned();
        if what == "alerts" {
            // Of the machine it runs on.
            continue;
        }
        assert_eq!(message.subject.as_str(), format!("sysops.web-1_example_com.{what}"));
        assert_eq!(body["hostname"], "web-1.example.com");
        *told.entry(what.clone()).or_insert(0) += 1;
        *ids.entry(body["agent_id"].as_str().expect("an id").to_owned()).or_insert(0) += 1;
        let size: &mut (usize, usize, usize) = sizes.entry(what.clone()).or_default();
        *size = (size.0 + 1, size.1 + plain, size.2 + message.payload.len());
        assert_eq!(message.headers.is_some(), what != "heartbeat", "heartbeats are plain JSON");
        match what.as_str() {
            "metrics" => {
                let metrics = body["metrics"].as_array().expect("a list");
                assert!(!metrics.is_empty() && metrics.len() <= 50, "{}", metrics.len());
                assert!(
                    metrics
                        .iter()
                        .all(|m| m["name"].is_string() && m["value"].is_number() && m["labels"].is_object())
                );
                assert!(body["timestamp"].is_string() && body["labels"]["env"] == "prod", "{body}");
                rounds.insert(body["timestamp"].to_string());
                series += metrics.len();
            }
            "inventory" => assert!(
                body["os"]["kernel"].is_string() && body["cpu"]["total_threads"].is_number(),
                "{body}"
            ),
            "heartbeat" => {
                assert_eq!(
                    (&body["status"], &body["reasons"]),
                    (&"healthy".into(), &Value::Array(vec![])),
                    "{body}"
                );
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(ids.len(), 1, "one agent, one id: {ids:?}");
    for (what, (count, plain, sent)) in &sizes {
        println!("{what}: {} bytes a message, {} as sent ({count} messages)", plain / count, sent / count);
    }
    let (heartbeat, inventory) = (sizes["heartbeat"], sizes["inventory"]);
    let (_, plain, sent) = sizes["metrics"];
    let hour = |metrics: usize, inventory: usize| {
        (metrics / rounds.len() * 120 + inventory * 12 + heartbeat.1 / heartbeat.0 * 60) / 1024
    };
    println!(
        "{} series: {} KiB an hour, {} KiB as sent",
        series / rounds.len(),
        hour(plain, inventory.1 / inventory.0),
        hour(sent, inventory.2 / inventory.0)
    );
    agent.stop();
    let mut last = Value::Null;
    while last["status"] != "stopping" {
        last = json(&next(&mut all).await).0;
    }
    assert!(!home.log().contains("s3cret") && !home.printed().contains("s3cret"), "a secret in the log");
}

#[tokio::test]
async fn an_outage_and_kills_lose_nothing_and_keep_the_order() {
    let Some(mut server) = Server::start("jetstream { store_dir: STORE }") else { return };
    make_stream(&server.client().await, 3600).await;
    let home = tempfile::tempdir().expect("a directory");
    let mut config = nats(&server.url());
    config.nats.jetstream = true;
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    for _ in 0..3 {
        bench.tell(3).await;
    }
    until("the first rounds arrive", async || stored(&server.client().await).await >= 3).await;
    server.kill();
    // An hour at 30 s.
    for n in 0..120 {
        bench.tell(3).await;
        if n == 60 {
            // As a kill -9 leaves it: the task is gone in the middle of whatever it did.
            bench.task.abort();
            let told = bench.told;
            bench = Bench::start(&config, terms(&config, home.path())).await;
            bench.told = told;
        }
    }
    assert!(bench.waiting() >= 118, "{} wait", bench.waiting());
    server.again();
    let client = server.client().await;
    until("the spool is empty", async || bench.waiting() == 0).await;
    bench.tell(3).await;
    until("the last round arrives", async || {
        let told = bench.told;
        replay(&client).await.last().is_some_and(|m| values(&json(m).0)[0] == told)
    })
    .await;
    let told: Vec<u64> = replay(&client).await.iter().map(|m| values(&json(m).0)[0]).collect();
    let mut missing: Vec<u64> = (1..=bench.told).filter(|n| !told.contains(n)).collect();
    // The one that was on its way when the task was gone.
    missing.retain(|n| !(63..=65).contains(n));
    assert_eq!(missing, Vec::<u64>::new(), "lost of {}", bench.told);
    assert!(told.is_sorted_by(|a, b| a < b), "in order, each once: {told:?}");
    bench.stop().await;
    assert_eq!(fs::read_dir(home.path()).expect("listed").count(), 0);
}

/// Whether the server lets this configuration in; else why not.
async fn enter(config: &Config) -> Result<(), String> {
    let link = Link::of(config)?;
    link.max_payload("sysops.web-1.metrics").await.map(drop).map_err(|error| error.why().to_owned())
}

#[tokio::test]
async fn every_way_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = nkeys::KeyPair::new_user();
    let (creds, trusting) = trust(dir.path());
    let seed = dir.path().join("seed");
    fs::write(&seed, key.seed().expect("a seed")).expect("written");
    let users = format!(
        "authorization {{ users = [ {{ user: agent, password: s3cret-pass }}, {{ nkey: {} }} ] }}",
        key.public_key()
    );
    let servers = [&users, "authorization { token: s3cret-token }", trusting.as_str()].map(Server::start);
    let [Some(users), Some(token), Some(operator)] = servers else { return };
    let check = async |server: &Server, change: &dyn Fn(&mut Config), expect: bool| {
        let mut config = nats(&server.url());
        change(&mut config);
        let entered = enter(&config).await;
        assert_eq!(entered.is_ok(), expect, "{entered:?}");
        if let Err(why) = entered {
            assert!(!why.contains("s3cret") && why.contains("cannot connect to 127.0.0.1"), "{why}");
        }
    };
    let secret = |text: &str| text.to_owned().into();
    let user = |password: &'static str| {
        move |config: &mut Config| {
            (config.nats.user, config.nats.password) = ("agent".into(), password.to_owned().into());
        }
    };
    check(&users, &user("s3cret-pass"), true).await;
    check(&users, &user("s3cret-wrong"), false).await;
    check(&users, &|_| {}, false).await;
    let url = format!("nats://agent:s3cret-pass@127.0.0.1:{}", users.port);
    check(&users, &|config| config.nats.url = secret(&url), true).await;
    check(&users, &|config| config.nats.credential_file.clone_from(&seed), true).await;
    check(&token, &|config| config.nats.token = secret("s3cret-token"), true).await;
    check(&token, &|config| config.nats.token = secret("s3cret-wrong"), false).await;
    check(&operator, &|config| config.nats.credential_file.clone_from(&creds), true).await;
    check(&operator, &|config| config.nats.credential_file.clone_from(&seed), false).await;
    check(&operator, &|_| {}, false).await;
}

#[tokio::test]
async fn servers_are_trusted_by_an_authority_of_ones_own() {
    let Some(certificates) = certificates::Certificates::make() else { return skip("openssl is missing") };
    let (cert, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    let tls = format!("tls {{ cert_file: {cert:?}, key_file: {key:?} }}");
    let Some(server) = Server::start(&tls) else { return };
    let mut config = nats(&format!("tls://localhost:{}", server.port));
    let why = enter(&config).await.expect_err("nobody vouches for it");
    assert!(why.to_lowercase().contains("tls") || why.to_lowercase().contains("certificate"), "{why}");
    config.nats.tls_ca_file = certificates.path("ca.pem");
    assert_eq!(enter(&config).await, Ok(()));
    config.nats.url = format!("tls://127.0.0.1:{}", server.port).into();
    assert!(enter(&config).await.is_err(), "the certificate is of localhost");
    config.nats.url = format!("tls://localhost:{}", server.port).into();
    config.nats.tls_ca_file = "/nowhere/ca.pem".into();
    assert!(enter(&config).await.is_err());
}

#[tokio::test]
async fn a_cluster_of_three_loses_one() {
    let (ports, routes): (Vec<u16>, Vec<u16>) = (0..3).map(|_| (free_port(), free_port())).unzip();
    let all: Vec<String> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
    let start = |n: usize| {
        let cluster = format!(
            "server_name: n{n}\ncluster {{ name: lab, listen: \"127.0.0.1:{}\", routes: [{}] }}",
            routes[n],
            all.join(", ")
        );
        Server::start_on(ports[n], &cluster)
    };
    let (Some(mut first), Some(second), Some(third)) = (start(0), start(1), start(2)) else { return };
    let client = third.client().await;
    let mut heard = listen(&client, "sysops.>").await;
    let home = tempfile::tempdir().expect("a directory");
    // One address is enough: the others are learned from it.
    let config = nats(&first.url());
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    until("the routes stand", async || {
        bench.tell(1).await;
        tokio::time::timeout(Duration::from_millis(200), next(&mut heard)).await.is_ok()
    })
    .await;
    // That between the two that stay as well: a server without a route drops what nobody near it wants.
    let near = second.client().await;
    until("the other route stands", async || {
        near.publish("sysops.probe", "".into()).await.expect("published");
        let probe = async { while &*next(&mut heard).await.subject != "sysops.probe" {} };
        tokio::time::timeout(Duration::from_millis(200), probe).await.is_ok()
    })
    .await;
    first.kill();
    // Without a stream what is on its way at that moment may be lost; from the next server on nothing is.
    until("another server is found", async || {
        bench.tell(1).await;
        let newest = bench.told;
        let own = async {
            loop {
                let message = next(&mut heard).await;
                // What comes late is of before.
                if &*message.subject != "sysops.probe" && values(&json(&message).0)[0] == newest {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_millis(500), own).await.is_ok()
    })
    .await;
    let killed = bench.told;
    for _ in 0..10 {
        bench.tell(1).await;
    }
    let mut missing: Vec<u64> = (killed + 1..=bench.told).collect();
    while !missing.is_empty() {
        let message = next(&mut heard).await;
        if &*message.subject == "sysops.probe" {
            continue;
        }
        let value = values(&json(&message).0)[0];
        missing.retain(|n| *n != value);
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_is_too_large_for_the_server_goes_in_parts() {
    let Some(server) = Server::start("max_payload: 4096") else { return };
    let mut heard = listen(&server.client().await, "sysops.>").await;
    let home = tempfile::tempdir().expect("a directory");
    for compression in [false, true] {
        let mut config = nats(&server.url());
        (config.nats.batch_size, config.nats.compression) = (10_000, compression);
        let mut bench = Bench::start(&config, terms(&config, home.path())).await;
        bench.tell(2000).await;
        let (mut count, mut parts) = (0, 0);
        while count < 2000 {
            let message = next(&mut heard).await;
            assert!(message.payload.len() <= 4096, "{}", message.payload.len());
            count += values(&json(&message).0).len();
            parts += 1;
        }
        assert!(count == 2000 && (parts > 2 || compression), "{count} in {parts}");
        bench.stop().await;
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_stream_goes_in_parts_or_is_left_out() {
    let Some(server) = Server::start("jetstream { store_dir: STORE }") else { return };
    let client = server.client().await;
    make_stream_of(&client, serde_json::json!({ "max_msg_size": 600 })).await;
    let home = tempfile::tempdir().expect("a directory");
    let mut config = nats(&server.url());
    (config.nats.jetstream, config.nats.compression) = (true, false);
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    bench.tell(20).await;
    bench.tell(20).await;
    until("both rounds are delivered", async || {
        bench.waiting() == 0 && bench.state.up.load(std::sync::atomic::Ordering::Relaxed) == 1
    })
    .await;
    let stored = replay(&client).await;
    assert!(
        stored.len() > 4 && stored.iter().all(|message| message.payload.len() <= 600),
        "{}",
        stored.len()
    );
    let count: usize = stored.iter().map(|message| values(&json(message).0).len()).sum();
    assert_eq!((count, bench.state.too_large.load(std::sync::atomic::Ordering::Relaxed)), (40, 0));
    // One that cannot be split does not hold up what follows it.
    let tiny = serde_json::json!({ "max_msg_size": 60 });
    make_stream_of(&client, tiny).await;
    bench.tell(2).await;
    until("it is left out", async || {
        bench.state.too_large.load(std::sync::atomic::Ordering::Relaxed) == 2 && bench.waiting() == 0
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_reader_that_stands_still_costs_the_others_nothing() {
    use std::io::{Read, Write};
    let Some(server) = Server::start("max_payload: 1000000\nmax_pending: 1000000\nwrite_deadline: \"300ms\"")
    else {
        return;
    };
    let mut slow = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    rustix::net::sockopt::set_socket_recv_buffer_size(&slow, 1 << 16).expect("a small buffer");
    slow.write_all(b"CONNECT {\"verbose\":false}\r\nSUB sysops.> 1\r\nPING\r\n").expect("asked");
    let mut heard = listen(&server.client().await, "sysops.>").await;
    let link = Link::of(&nats(&server.url())).expect("well configured");
    // In all more than the kernel keeps for one connection.
    for n in 0..12 {
        let body = format!("{}{n}", " ".repeat(900_000)).into_bytes();
        let message = Outgoing::plain(link.subject("web-1", "metrics"), body);
        link.deliver(vec![message], false).await.expect("delivered");
        assert!(next(&mut heard).await.payload.ends_with(n.to_string().as_bytes()));
    }
    slow.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut read = 0;
    let mut buf = vec![0; 1 << 16];
    while let Ok(n @ 1..) = slow.read(&mut buf) {
        read += n;
    }
    assert!(read < 12 * 900_000, "the server should have cut it off: {read}");
}

#[tokio::test]
async fn a_server_that_never_answers_holds_up_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let home = tempfile::tempdir().expect("a directory");
    let config = nats(&format!("nats://{}", listener.local_addr().expect("its port")));
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    for _ in 0..5 {
        bench.tell(1).await;
    }
    assert_eq!(bench.waiting(), 4, "one is on its way");
    bench.stop().await;
    assert_eq!(fs::read_dir(home.path()).expect("listed").count(), 5);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_noticed_and_made_anew() {
    let Some(server) = Server::start("") else { return };
    let home = tempfile::tempdir().expect("a directory");
    let config = nats(&server.url());
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    bench.tell(1).await;
    server.freeze(true);
    for _ in 0..5 {
        bench.tell(1).await;
    }
    let failures = Arc::clone(&bench.state);
    until("silence counts as a failure", async || {
        failures.failures.load(std::sync::atomic::Ordering::Relaxed) > 0
    })
    .await;
    // A slow disk of this machine may be a trouble besides.
    assert!(bench.state.troubles().contains(&"metrics do not reach NATS"), "{:?}", bench.state.troubles());
    server.freeze(false);
    let mut heard = listen(&server.client().await, "sysops.>").await;
    until("everything is delivered", async || bench.waiting() == 0).await;
    bench.tell(1).await;
    let mut last = 0;
    while last < bench.told {
        last = last.max(values(&json(&next(&mut heard).await).0)[0]);
    }
    bench.stop().await;
}

#[tokio::test]
async fn without_jetstream_a_message_counts_when_the_server_has_dealt_with_it() {
    let may = |rights: &str| {
        format!(
            "authorization {{ users = [ {{ user: agent, password: agent, permissions: {{ {rights} }} }} ] }}"
        )
    };
    // With the right to hear itself, without the right to speak to itself, without the right to listen.
    for rights in [
        "publish: \">\"",
        "publish: \"sysops.>\", subscribe: \"_INBOX.>\"",
        "publish: \">\", subscribe: \"x\"",
    ] {
        let Some(server) = Server::start(&may(rights)) else { return };
        let mut config = nats(&server.url());
        (config.nats.user, config.nats.password) = ("agent".into(), "agent".into());
        let link = Link::of(&config).expect("well configured");
        let message = || vec![Outgoing::plain(link.subject("web-1", "alerts"), b"{}".to_vec())];
        for _ in 0..3 {
            link.deliver(message(), false).await.unwrap_or_else(|error| panic!("{rights}: {}", error.why()));
        }
        server.freeze(true);
        let error = link.deliver(message(), false).await.expect_err("nobody took it");
        assert!(error.why().contains("did not answer within 10 s"), "{rights}: {}", error.why());
        server.freeze(false);
        let taken = async || link.deliver(message(), false).await.is_ok();
        until("it goes on", taken).await;
    }
}

#[tokio::test]
async fn who_may_not_publish_hears_why_and_loses_nothing() {
    let users = "jetstream { store_dir: STORE }\nauthorization { users = [ { user: agent, password: agent, permissions: \
                 { publish: \"sysops.web-2.>\", subscribe: \"_INBOX.>\" } } ] }";
    let Some(server) = Server::start(users) else { return };
    let home = tempfile::tempdir().expect("a directory");
    let mut config = nats(&server.url());
    (config.nats.user, config.nats.password) = ("agent".into(), "agent".to_owned().into());
    let link = Link::of(&config).expect("well configured");
    let said = async |host: &str, stored: bool| {
        let message = Outgoing::plain(link.subject(host, "metrics"), b"{}".to_vec());
        link.deliver(vec![message], stored).await.err().map_or(String::new(), |error| error.why().to_owned())
    };
    assert_eq!(said("web-2", false).await, "");
    let refused = said("web-1", false).await;
    assert!(refused.contains("does not let this user publish to sysops.web-1.metrics"), "{refused}");
    let refused = said("web-1", true).await;
    assert!(refused.contains("does not let this user publish to sysops.web-1.metrics"), "{refused}");
    let nobody = said("web-2", true).await;
    assert!(nobody.contains("no stream of JetStream") && nobody.contains("nats.jetstream"), "{nobody}");
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    for _ in 0..3 {
        bench.tell(1).await;
    }
    until("they wait", async || bench.waiting() >= 2).await;
    bench.stop().await;
    assert_eq!(fs::read_dir(home.path()).expect("listed").count(), 3);
}

#[tokio::test]
async fn a_bound_on_tries_is_kept() {
    let home = tempfile::tempdir().expect("a directory");
    let mut config = nats(&format!("nats://127.0.0.1:{}", free_port()));
    config.nats.max_reconnect_attempts = 2;
    let mut bench = Bench::start(&config, terms(&config, home.path())).await;
    let failures = |bench: &Bench| bench.state.failures.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..5 {
        bench.tell(1).await;
    }
    until("it gives up", async || failures(&bench) == 3).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    bench.tell(1).await;
    assert_eq!((failures(&bench), bench.waiting()), (3, 6));
    bench.stop().await;
}

#[tokio::test]
#[ignore = "live: mounts a small filesystem"]
async fn on_a_full_disk_the_newest_metrics_stay() {
    if !ready() {
        return;
    }
    let _alone = lab::alone();
    let home = tempfile::tempdir().expect("a directory");
    let small = lab::mounts::Small::mount(home.path(), c"size=64k").expect("mounted");
    fs::write(home.path().join("others"), vec![0; 32 << 10]).expect("written");
    let port = free_port();
    let config = nats(&format!("nats://127.0.0.1:{port}"));
    let mut bench = Bench::start(&config, terms(&config, &home.path().join("spool"))).await;
    for _ in 0..40 {
        bench.tell(5).await;
    }
    let dropped = bench.state.dropped_metrics.load(std::sync::atomic::Ordering::Relaxed);
    assert!(dropped > 25 && bench.waiting() >= 4, "{dropped} dropped, {} wait", bench.waiting());
    assert!(fs::metadata(home.path().join("others")).is_ok_and(|meta| meta.len() == 32 << 10));
    // Full to the last block: memory is what is left, and is said.
    while fs::write(home.path().join(format!("more-{}", bench.told)), vec![0; 4096]).is_ok() {
        bench.tell(5).await;
    }
    bench.tell(5).await;
    bench.tell(5).await;
    let Some(server) = Server::start_on(port, "") else { return };
    let mut heard = listen(&server.client().await, "sysops.>").await;
    until("everything is delivered", async || bench.waiting() == 0).await;
    bench.tell(5).await;
    let mut told = Vec::new();
    while told.last() != Some(&bench.told) {
        told.push(values(&json(&next(&mut heard).await).0)[0]);
    }
    assert!(told.is_sorted_by(|a, b| a < b) && told.contains(&(bench.told - 1)), "{told:?}");
    bench.stop().await;
    drop(small);
}

/// Alerts of an outbox, through the channel alone.
mod alerts {
    use super::*;
    use std::collections::BTreeSet;
    use sysops_agent::alert::{Alert, Severity, Status};
    use sysops_agent::notify::terminal::Screen;
    use sysops_agent::notify::{self, Notifier, Options, Outbox};

    pub(super) fn alert(n: usize) -> Arc<Alert> {
        Arc::new(Alert {
            hostname: "web-1".into(),
            timestamp: "2026-02-22T16:30:00+09:00".into(),
            severity: Severity::Critical,
            metric: "kernel_oom_kills_total".into(),
            value: 1.0,
            threshold: None,
            message: format!("kill {n}"),
            labels: BTreeMap::new(),
            status: Status::Firing,
            id: format!("oom-{n}"),
            fingerprint: format!("oom-{n}"),
            started_at: "2026-02-22T16:30:00+09:00".into(),
            ended_at: None,
            duration_secs: 0,
            rule: "kernel_oom_kill".into(),
            source: vec!["ebpf".into()],
            runbook_url: None,
            context: serde_json::Map::new(),
        })
    }

    /// Alerts go to NATS alone, and none is held back.
    pub(super) fn only_nats(config: &mut Config, dir: &Path) {
        dir.clone_into(&mut config.agent.data_dir);
        config.alerting.syslog.enabled = false;
        config.alerting.min_interval_secs = 0;
        config.alerting.rate_limit_per_minute = 10_000;
        (config.alerting.max_alerts_per_hour, config.alerting.max_alerts_per_hour_total) = (10_000, 10_000);
    }

    pub(super) fn start(config: &Config, dir: &Path, clock: Clock) -> (Notifier, JoinHandle<()>) {
        let (routes, problems) = notify::routes(config, Screen::new(false, &|_| None));
        assert_eq!((routes.len(), problems), (1, vec![]));
        let options = Options::of(config, "web-1", 7).expect("well configured");
        let (outbox, found) = Outbox::open(dir, clock());
        assert_eq!(found.warning, None);
        Notifier::start(options, (outbox, &found), routes, clock)
    }

    #[tokio::test]
    async fn every_alert_is_in_the_stream_once() {
        let Some(mut server) = Server::start("jetstream { store_dir: STORE }") else { return };
        make_stream(&server.client().await, 3600).await;
        let home = tempfile::tempdir().expect("a directory");
        let mut config = nats(&server.url());
        config.nats.jetstream = true;
        only_nats(&mut config, home.path());
        let accept = async |notifier: &Notifier, from: usize| {
            for n in from..from + 10 {
                assert!(notifier.accept(vec![alert(n)]).await, "on disk");
            }
        };
        let (notifier, worker) = start(&config, home.path(), clock::now);
        accept(&notifier, 0).await;
        until("the first arrive", async || stored(&server.client().await).await >= 3).await;
        server.kill();
        accept(&notifier, 10).await;
        // The agent is killed: what it had told and not marked goes again.
        worker.abort();
        drop(notifier);
        let _ = worker.await;
        server.again();
        let (notifier, worker) = start(&config, home.path(), clock::now);
        accept(&notifier, 20).await;
        let client = server.client().await;
        until("all arrive", async || stored(&client).await >= 30).await;
        assert_eq!(notifier.drain(Duration::from_secs(20)).await, 0);
        let all = replay(&client).await;
        let ids: BTreeSet<String> =
            all.iter().map(|m| json(m).0["id"].as_str().expect("an id").to_owned()).collect();
        assert_eq!((all.len(), ids.len()), (30, 30), "each once");
        assert!(
            all.iter().all(|m| m.subject.as_str() == "sysops.web-1.alerts" && m.payload.starts_with(b"{"))
        );
        let _ = worker.await;
    }
}

/// The configuration that is shipped.
mod shipped {
    use super::*;

    fn shipped(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[tokio::test]
    async fn the_shipped_server_takes_a_host_under_its_own_name_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = dir.path().join("hosts.conf");
        fs::write(&hosts, shipped("hosts.conf")).expect("written");
        fs::write(dir.path().join("operators.conf"), shipped("operators.conf")).expect("written");
        let add = || {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nats/add-host");
            std::process::Command::new("sh")
                .arg(script)
                .arg("db-7.example.com")
                .arg(&hosts)
                .output()
                .expect("it runs")
        };
        let made = add();
        assert!(made.status.success() && !add().status.success(), "once");
        let own: toml::Table =
            String::from_utf8(made.stderr).expect("text").parse().expect("TOML for the host");
        let port = free_port();
        let http = free_port();
        let mut text = shipped("nats.conf");
        for (from, to) in [
            ("0.0.0.0:4222", format!("127.0.0.1:{port}")),
            ("127.0.0.1:8222", format!("127.0.0.1:{http}")),
            ("/var/lib/nats/jetstream", dir.path().join("store").display().to_string()),
        ] {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, &to);
        }
        fs::write(dir.path().join("nats.conf"), &text).expect("written");
        let config = dir.path().join("nats.conf");
        let child = std::process::Command::new("nats-server")
            .arg("-c")
            .arg(&config)
            .stderr(std::process::Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return skip("nats-server is missing: apt-get install nats-server") };
        let url = format!("nats://127.0.0.1:{port}");
        let up = wait_for(e2e::nats::SOON, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let done = tokio::spawn(async move { judge(&url, &own).await }).await;
        let _ = child.kill();
        let _ = child.wait();
        assert!(up.is_some(), "the server is not up");
        done.expect("judged");
    }

    /// Sends an alert of its own, and asks that the answer go to another host's subject.
    async fn forge(host: &async_nats::Client) {
        let (own, other) = ("sysops.web-1_example_com.alerts", "sysops.db-7_example_com.alerts");
        host.publish_with_reply(own, other, "{}".into()).await.expect("sent");
        host.flush().await.expect("flushed");
    }

    async fn stored_by_subject(admin: &async_nats::Client) -> Value {
        let ask = serde_json::json!({ "subjects_filter": ">" }).to_string();
        let answer = admin.request("$JS.API.STREAM.INFO.SYSOPS_ALERTS", ask.into()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        answer["state"]["subjects"].clone()
    }

    async fn judge(url: &str, own: &toml::Table) {
        let login = |user: &str, password: &str| {
            async_nats::ConnectOptions::with_user_and_password(user.into(), password.into())
                .connect(url.to_owned())
        };
        let admin = login("admin", "CHANGE-ME-admin").await.expect("admin");
        for name in ["alerts", "metrics", "inventory", "heartbeat"] {
            let stream = shipped(&format!("streams/{name}.json"));
            let subject = format!("$JS.API.STREAM.CREATE.SYSOPS_{}", name.to_uppercase());
            let answer = admin.request(subject, stream.into()).await.expect("an answer");
            let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
            assert!(answer["error"].is_null(), "{name}: {answer}");
        }
        let nats_of = |user: &str, password: &str| {
            let mut config = nats(url);
            (config.nats.user, config.nats.password) = (user.into(), password.to_owned().into());
            Link::of(&config).expect("well configured")
        };
        let say = async |link: &Link, host: &str, what: &str, stored: bool| {
            let mut message = Outgoing::plain(link.subject(host, what), b"{}".to_vec());
            message.id = stored.then(|| format!("{host}-{what}"));
            link.deliver(vec![message], stored).await.map_err(|error| error.why().to_owned())
        };
        let section = own["nats"].as_table().expect("a section");
        let text = |key: &str| section[key].as_str().expect("text");
        let made = nats_of(text("user"), text("password"));
        for what in ["alerts", "metrics", "inventory"] {
            assert_eq!(say(&made, "db-7.example.com", what, true).await, Ok(()), "{what}");
        }
        assert_eq!(say(&made, "db-7.example.com", "heartbeat", false).await, Ok(()));
        assert!(
            say(&made, "web-1.example.com", "metrics", false)
                .await
                .is_err_and(|why| why.contains("does not let"))
        );
        let web = nats_of("web-1_example_com", "CHANGE-ME-web-1");
        assert_eq!(say(&web, "web-1.example.com", "alerts", true).await, Ok(()));
        assert!(say(&web, "db-7.example.com", "alerts", false).await.is_err());
        // What has the same id is stored once, and no answer of a stream is stored as another host's.
        assert_eq!(say(&web, "web-1.example.com", "alerts", true).await, Ok(()));
        forge(&login("web-1_example_com", "CHANGE-ME-web-1").await.expect("a host")).await;
        assert_eq!(say(&web, "web-1.example.com", "inventory", true).await, Ok(()));
        assert_eq!(
            stored_by_subject(&admin).await,
            serde_json::json!({
            "sysops.db-7_example_com.alerts": 1, "sysops.web-1_example_com.alerts": 2 })
        );
        // A host hears nobody: not the others, not their inboxes.
        let host = login("web-1_example_com", "CHANGE-ME-web-1").await.expect("a host");
        let mut all = host.subscribe("sysops.>").await.expect("asked");
        let mut inboxes = host.subscribe("_INBOX.>").await.expect("asked");
        host.flush().await.expect("flushed");
        let console = login("console", "CHANGE-ME-console").await.expect("a console");
        let mut seen = listen(&console, "sysops.>").await;
        console.publish("sysops.web-1_example_com.alerts", "{}".into()).await.expect("sent");
        // What it may not do may cost the console its connection for a moment.
        let mut heard = None;
        for _ in 0..20 {
            assert_eq!(say(&made, "db-7.example.com", "metrics", false).await, Ok(()));
            let soon = Duration::from_millis(500);
            heard = tokio::time::timeout(soon, futures_util::StreamExt::next(&mut seen)).await.ok().flatten();
            if heard.is_some() {
                break;
            }
        }
        let heard = heard.expect("a console hears hosts");
        assert_eq!(heard.subject.as_str(), "sysops.db-7_example_com.metrics", "a console cannot forge");
        let silence = Duration::from_millis(300);
        assert!(
            tokio::time::timeout(silence, futures_util::StreamExt::next(&mut all)).await.is_err_and(|_| true)
        );
        assert!(
            tokio::time::timeout(silence, futures_util::StreamExt::next(&mut inboxes))
                .await
                .is_err_and(|_| true)
        );
    }
}
