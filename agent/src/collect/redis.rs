//! One Redis server, by its own `INFO`.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;
use crate::text::clean;

metrics! {
    UP: Gauge Count "redis_up" [] "1 where the server answers.", "INFO";
    INFO: Gauge Count "redis_info" ["version"] "1; the label tells the version of the server.", "INFO redis_version";
    UPTIME: Gauge Seconds "redis_uptime_seconds" [] "Time since the server started.", "INFO uptime_in_seconds";
    CLIENTS: Gauge Count "redis_connected_clients_count" [] "Clients that are connected.", "INFO connected_clients";
    BLOCKED: Gauge Count "redis_blocked_clients_count" [] "Clients that wait in a blocking call.", "INFO blocked_clients";
    MEMORY: Gauge Bytes "redis_memory_used_bytes" [] "Memory that the server allocated.", "INFO used_memory";
    MEMORY_MAX: Gauge Bytes "redis_memory_max_bytes" [] "Limit of that memory; 0: none.", "INFO maxmemory";
    CONNECTIONS: Counter Count "redis_connections_total" [] "Connections accepted.", "INFO total_connections_received";
    REJECTED: Counter Count "redis_rejected_connections_total" []
        "Connections refused because of maxclients.", "INFO rejected_connections";
    COMMANDS: Counter Count "redis_commands_total" [] "Commands run.", "INFO total_commands_processed";
    HITS: Counter Count "redis_keyspace_hits_total" [] "Look-ups that found a key.", "INFO keyspace_hits";
    MISSES: Counter Count "redis_keyspace_misses_total" [] "Look-ups that found none.", "INFO keyspace_misses";
    EVICTED: Counter Count "redis_evicted_keys_total" [] "Keys dropped for want of memory.", "INFO evicted_keys";
    EXPIRED: Counter Count "redis_expired_keys_total" [] "Keys whose time was up.", "INFO expired_keys";
    REPLICAS: Gauge Count "redis_connected_replicas_count" [] "Replicas that are connected.", "INFO connected_slaves";
}

static FIELDS: [(&Metric, &str); 13] = [
    (&UPTIME, "uptime_in_seconds"),
    (&CLIENTS, "connected_clients"),
    (&BLOCKED, "blocked_clients"),
    (&MEMORY, "used_memory"),
    (&MEMORY_MAX, "maxmemory"),
    (&CONNECTIONS, "total_connections_received"),
    (&REJECTED, "rejected_connections"),
    (&COMMANDS, "total_commands_processed"),
    (&HITS, "keyspace_hits"),
    (&MISSES, "keyspace_misses"),
    (&EVICTED, "evicted_keys"),
    (&EXPIRED, "expired_keys"),
    (&REPLICAS, "connected_slaves"),
];

/// Longest version told, characters.
const MAX_VERSION: usize = 32;
/// How long the server may take; other collectors wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks the server.
pub struct Redis {
    addr: String,
    password: SecretString,
    aside: Aside<io::Result<String>>,
}

impl Redis {
    /// Asks at `addr`, host and port.
    pub fn new(addr: &str, password: SecretString) -> Self {
        Self { addr: addr.to_owned(), password, aside: Aside::new("redis", 1) }
    }

    fn error(&self, error: &io::Error) -> CollectError {
        let path = format!("Redis at {}", self.addr);
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                CollectError::Denied { path, needs: "the right collector.redis.password" }
            }
            io::ErrorKind::ConnectionRefused => {
                CollectError::Read { path, error: "nobody listens there".to_owned() }
            }
            io::ErrorKind::TimedOut => CollectError::Read { path, error: "it does not answer".to_owned() },
            _ => CollectError::Read { path, error: error.to_string() },
        }
    }
}

impl Collector for Redis {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let (shared, addr, password) = (host.shared(), self.addr.clone(), self.password.clone());
        let question = move || shared.redis_info(&addr, password.expose_secret());
        let answer = match self.aside.ask("", out.at(), PATIENCE, question) {
            Answer::Done(answer) => answer,
            Answer::Stuck { .. } | Answer::NotAsked => Err(io::ErrorKind::TimedOut.into()),
        };
        // One that wants another password answers.
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        out.put(&UP, &[], f64::from(u8::from(answer.as_ref().map_or_else(refused, |_| true))));
        let text = answer.map_err(|error| self.error(&error))?;
        let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
        if let Some(version) = fields.get("redis_version") {
            out.put(&INFO, &[&clean(version.trim(), MAX_VERSION)], 1.0);
        }
        let mut missing = 0;
        for (metric, field) in FIELDS {
            let value = fields.get(field).and_then(|value| value.trim().parse::<u64>().ok());
            match value {
                Some(value) => out.put(metric, &[], value as f64),
                None => missing += 1,
            }
        }
        // Old servers lack some.
        if missing == FIELDS.len() {
            let why = "INFO has none of the known fields".to_owned();
            return Err(CollectError::Parse { path: format!("Redis at {}", self.addr), why });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use crate::host::live::LiveHost;
    use std::net::TcpListener;
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    #[test]
    fn info_is_read_and_nonsense_is_not() {
        let mut bench = Bench::new("", Redis::new("a:1", "".into()));
        assert!(bench.pass().is_err());
        bench.expect(&[("redis_up", 0.0)]);
        let mut text = "# Server\r\nredis_version:7.0.11\r\n".to_owned();
        for (n, (_, field)) in FIELDS.iter().enumerate() {
            text.extend([field, ":", &(n + 1).to_string(), "\r\n"]);
        }
        bench.host.set("a:1#INFO", text);
        bench.pass().unwrap();
        bench.expect(&[("redis_info{7.0.11}", 1.0)]);
        for (n, (metric, _)) in FIELDS.iter().enumerate() {
            bench.expect(&[(metric.name, (n + 1) as f64)]);
        }
        for bad in ["", "\r\n", "uptime_in_seconds:-1", "uptime_in_seconds:x\r\n::::", "uptime_in_seconds"] {
            bench.host.set("a:1#INFO", bad);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{bad:?}");
        }
    }

    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    #[ignore = "live: needs redis-server"]
    fn a_real_server_is_understood() {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("SKIPPED: redis-server is not installed: apt-get install redis-server");
            return;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = free.port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--requirepass", "hunter2"]);
        command.args(["--maxmemory", "100mb"]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        let _server = Server(child);
        let addr = format!("127.0.0.1:{port}");
        let mut bench = Bench::new("", Redis::new(&addr, "hunter2".into()));
        let begin = Instant::now();
        while let Err(error) = bench.pass_on(&LiveHost::default()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{error}");
            std::thread::sleep(Duration::from_millis(20));
        }
        bench.expect(&[("redis_up", 1.0), ("redis_memory_max_bytes", 104_857_600.0)]);
        assert!(bench.value("redis_memory_used_bytes") > 1e5);
        assert!(bench.value("redis_connected_clients_count") >= 1.0);
        assert!(bench.value("redis_connections_total") >= 1.0);
        for password in ["", "hunter3"] {
            let mut bench = Bench::new("", Redis::new(&addr, password.into()));
            let error = bench.pass_on(&LiveHost::default()).unwrap_err();
            assert!(matches!(error, CollectError::Denied { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
        }
    }

    #[test]
    fn a_server_that_never_answers_costs_one_wait() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut bench = Bench::new("", Redis::new(&silent.local_addr().unwrap().to_string(), "".into()));
        assert!(bench.pass_on(&LiveHost::default()).is_err());
        bench.expect(&[("redis_up", 0.0)]);
        let begin = Instant::now();
        assert!(bench.pass_on(&LiveHost::default()).is_err());
        assert!(begin.elapsed() < PATIENCE, "it is not waited for a second time");
    }
}
