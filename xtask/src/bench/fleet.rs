//! `cargo xtask bench fleet`: what a host tells a real nats-server in an hour, with and without zstd, into docs/FLEET.md.
//!
//! Two agents with the default configuration run beside each other on this host, and one subscriber counts what the server
//! hands on. Bytes do not depend on how the agent was built.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::vm::page;
use crate::{packages, probe_cost, sh};

/// Long enough for ten rounds of metrics and one inventory.
const LENGTH: Duration = Duration::from_secs(345);
/// Messages of one round follow each other faster, rounds of one host slower.
const GAP: Duration = Duration::from_secs(5);
/// Longest start of the server.
const START: Duration = Duration::from_secs(30);
/// Most bytes of a line of the protocol, and of a message.
const MAX_LINE: u64 = 8 << 10;
const MAX_MESSAGE: usize = 8 << 20;
/// The agents' names, and whether they compress.
const HOSTS: [(&str, bool); 2] = [("plain", false), ("zstd", true)];
/// What is told, and how often in an hour by default.
const KINDS: [(&str, f64); 3] = [("metrics", 120.0), ("inventory", 12.0), ("heartbeat", 60.0)];

/// A program that is ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Self).map_err(|e| format!("{} cannot be started: {e}", command.get_program().display()))
    }
}

/// What one host told of one kind: rounds are messages that follow each other.
#[derive(Default)]
struct Told {
    rounds: Vec<Round>,
    last: Option<Instant>,
}

/// Bytes of bodies, and of all that the protocol adds to them.
#[derive(Clone, Copy, Default)]
struct Round {
    messages: usize,
    body: usize,
    wire: usize,
    series: usize,
}

impl Told {
    fn take(&mut self, message: Round, now: Instant) {
        if self.last.is_none_or(|last| now.duration_since(last) > GAP) {
            self.rounds.push(Round::default());
        }
        self.last = Some(now);
        if let Some(round) = self.rounds.last_mut() {
            round.messages += 1;
            round.body += message.body;
            round.wire += message.wire;
            round.series += message.series;
        }
    }

    /// A mean of all rounds but the first, whose rates are not known yet.
    fn mean(&self, of: impl Fn(&Round) -> usize) -> f64 {
        let rounds = if self.rounds.len() > 1 { &self.rounds[1..] } else { &self.rounds[..] };
        rounds.iter().map(of).sum::<usize>() as f64 / rounds.len().max(1) as f64
    }
}

/// Measures and writes the table.
pub(super) fn run() -> Result<(), String> {
    if let Some(missing) = packages::ensure(packages::FOR_TESTS).into_iter().next() {
        return Err(missing);
    }
    let build =
        ["build", "--package", "sysops-agent", "--features", sh::ALL_FEATURES, "--bin", "sysops-agent"];
    sh::run(&mut sh::cargo(&build))?;
    let agent = sh::target_dir().join("debug/sysops-agent");
    let home = sh::target_dir().join("bench/fleet");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).map_err(|e| format!("{} cannot be made: {e}", home.display()))?;
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|e| format!("no free port: {e}"))?.to_string();
    let _server =
        Running::start(Command::new("nats-server").args(["-a", "127.0.0.1", "-p"]).arg(port(&address)))?;
    let mut reader = subscribe(&address)?;
    let mut agents = Vec::new();
    for (name, compression) in HOSTS {
        agents.push(start(&agent, &home, &address, (name, compression))?);
    }
    let told = count(&mut reader).map_err(|e| format!("nats-server: {e}"))?;
    drop(agents);
    let table = table(&told)?;
    println!("{table}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("FLEET.md", "cost", &format!("{machine}.\n\n{table}"))
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or("", |(_, port)| port)
}

fn start(
    agent: &Path,
    home: &Path,
    address: &str,
    (name, compression): (&str, bool),
) -> Result<Running, String> {
    let config = home.join(format!("{name}.toml"));
    let text = format!(
        "[agent]\nhostname = \"{name}\"\ndata_dir = \"{}\"\n[alerting]\nterminal = {{ enabled = \"off\" }}\n\
         syslog = {{ enabled = false }}\n[nats]\nenabled = true\nurl = \"nats://{address}\"\ncompression = {compression}\n",
        home.join(name).display()
    );
    fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    Running::start(Command::new(agent).arg("--config").arg(&config))
}

/// Asks for everything, in the protocol's own words.
fn subscribe(address: &str) -> Result<BufReader<TcpStream>, String> {
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(address) {
            Ok(stream) => break stream,
            Err(error) if begin.elapsed() > START => {
                return Err(format!("nats-server does not answer: {error}"));
            }
            Err(_) => sleep(Duration::from_millis(100)),
        }
    };
    let asked = stream
        .write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB sysops.> 1\r\n")
        .and_then(|()| stream.set_read_timeout(Some(Duration::from_secs(1))));
    asked.map_err(|e| format!("nats-server: {e}"))?;
    Ok(BufReader::new(stream))
}

type All = BTreeMap<(String, String), Told>;

/// Counts for [`LENGTH`].
fn count(reader: &mut BufReader<TcpStream>) -> io::Result<All> {
    let (begin, mut all, mut line) = (Instant::now(), All::new(), String::new());
    while begin.elapsed() < LENGTH {
        // After a time without anything the beginning of a line is still there.
        match reader.by_ref().take(MAX_LINE).read_line(&mut line) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Err(io::Error::other("a line too long")),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        }
        if line.starts_with("PING") {
            reader.get_mut().write_all(b"PONG\r\n")?;
        } else if let Some((subject, head, total)) = message(&line) {
            let mut body = vec![0; total + 2];
            reader.get_mut().set_read_timeout(Some(START))?;
            reader.read_exact(&mut body)?;
            reader.get_mut().set_read_timeout(Some(Duration::from_secs(1)))?;
            let wire = line.len() + body.len();
            let body = &body[head..total];
            let told = Round { messages: 1, body: body.len(), wire, series: series(body) };
            let mut tokens = subject.split('.').skip(1).map(str::to_owned);
            if let (Some(host), Some(kind)) = (tokens.next(), tokens.next()) {
                all.entry((host, kind)).or_default().take(told, Instant::now());
            }
        }
        line.clear();
    }
    Ok(all)
}

/// Subject, bytes of the headers and of all, of the first line of a message.
fn message(line: &str) -> Option<(&str, usize, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let total = words.last()?.parse().ok().filter(|total| *total <= MAX_MESSAGE)?;
    let head = match *words.first()? {
        "MSG" => 0,
        "HMSG" => words.get(words.len().checked_sub(2)?)?.parse().ok()?,
        _ => return None,
    };
    (head <= total).then_some((*words.get(1)?, head, total))
}

/// Of a body that is not compressed.
fn series(body: &[u8]) -> usize {
    let body: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    body.and_then(|body| body["metrics"].as_array().map(Vec::len)).unwrap_or(0)
}

fn table(all: &All) -> Result<String, String> {
    let told = |host: &str, kind: &str| {
        let told = all.get(&(host.to_owned(), kind.to_owned()));
        told.ok_or_else(|| format!("nothing came at sysops.{host}.{kind}"))
    };
    let series = told("plain", "metrics")?.mean(|round| round.series);
    let mut table = "| bytes | plain | zstd |\n|---|---|---|\n".to_owned();
    let mut row = |name: &str, of: &dyn Fn(&str) -> Result<String, String>| {
        let [plain, zstd] = HOSTS.map(|(host, _)| of(host));
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {name} | {} | {} |", plain?, zstd?);
        Ok::<(), String>(())
    };
    row("a message of metrics", &|host| {
        let metrics = told(host, "metrics")?;
        Ok(format!("{:.0}", metrics.mean(|round| round.body) / metrics.mean(|round| round.messages).max(1.0)))
    })?;
    row(&format!("a round of {series:.0} series"), &|host| {
        Ok(format!("{:.0}", told(host, "metrics")?.mean(|round| round.body)))
    })?;
    for (name, kind) in [("an inventory", "inventory"), ("a heartbeat", "heartbeat")] {
        row(name, &|host| Ok(format!("{:.0}", told(host, kind)?.mean(|round| round.body))))?;
    }
    let hour = |host: &str, of: fn(&Round) -> usize| {
        let kinds = KINDS.iter().map(|(kind, times)| Ok(told(host, kind)?.mean(of) * times));
        kinds.sum::<Result<f64, String>>()
    };
    let mib = |bytes: f64| format!("{:.2} MiB", bytes / f64::from(1 << 20));
    row("**an hour**", &|host| Ok(mib(hour(host, |round| round.body)?)))?;
    row("an hour, with subjects and headers", &|host| Ok(mib(hour(host, |round| round.wire)?)))?;
    row("an hour of each series", &|host| {
        Ok(format!("{:.0}", hour(host, |round| round.body)? / series.max(1.0)))
    })?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_protocol() {
        assert_eq!(message("MSG sysops.a.alerts 1 12\r\n"), Some(("sysops.a.alerts", 0, 12)));
        assert_eq!(message("HMSG sysops.a.metrics 1 reply 30 500\r\n"), Some(("sysops.a.metrics", 30, 500)));
        for other in [
            "",
            "+OK\r\n",
            "INFO {}\r\n",
            "MSG\r\n",
            "HMSG 5\r\n",
            "HMSG a 1 9 5\r\n",
            "MSG a 1 99999999999\r\n",
        ] {
            assert_eq!(message(other), None, "{other}");
        }
    }

    #[test]
    fn messages_that_follow_each_other_are_a_round() {
        let (mut told, begin) = (Told::default(), Instant::now());
        for (secs, body) in [(0, 1), (30, 10), (30, 30), (60, 20)] {
            told.take(Round { messages: 1, body, ..Round::default() }, begin + Duration::from_secs(secs));
        }
        assert_eq!(told.rounds.len(), 3);
        assert!((told.mean(|round| round.body) - 30.0).abs() < 1e-9, "the first does not count");
    }
}
