//! The real agent as a child process with a directory of its own, as systemd would start it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::confine::Confine;
use crate::lab::wait_for;

/// Longest start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Where an agent lives: configuration, data and logs. Outlives its runs.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// An empty one, with a configuration that tells every event to `url` at once and without limits, and
    /// nothing else to anybody. `more` is TOML that adds to it and overrides it.
    pub(crate) fn new(url: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        // Also for an agent of another user.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("open to all");
        let home = Self { dir };
        home.configure(url, more);
        home
    }

    /// Writes the configuration anew.
    pub(crate) fn configure(&self, url: &str, more: &str) {
        let mut config: toml::Table = toml::from_str(&format!(
            r#"
            [agent]
            hostname = "lab"
            data_dir = "{}"
            pid_file = ""
            log_level = "debug"
            [ebpf]
            io_latency_threshold_ms = 300
            [alerting]
            min_interval_secs = 0
            dedup_window_secs = 0
            rate_limit_per_minute = 10000
            max_alerts_per_hour = 100000
            max_alerts_per_hour_total = 100000
            # Levels are left out: the machine may be busy.
            state_warmup_secs = 86400
            [alerting.grouping]
            enabled = false
            [alerting.terminal]
            enabled = "off"
            [alerting.syslog]
            enabled = false
            [alerting.webhook]
            enabled = true
            url = "{url}"
            timeout_secs = 5
            "#,
            self.data().display()
        ))
        .expect("TOML");
        merge(&mut config, toml::from_str(more).expect("TOML"));
        fs::write(self.config(), config.to_string()).expect("written");
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// `agent.data_dir`.
    pub(crate) fn data(&self) -> PathBuf {
        self.file("data")
    }

    /// What the agent has written to its outbox.
    pub(crate) fn outbox(&self) -> String {
        fs::read_to_string(self.data().join("outbox/alerts.log")).unwrap_or_default()
    }

    /// What the agent has logged, over all runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// What the agent has printed, over all runs.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.file("printed")).unwrap_or_default()
    }

    /// The agent's command line under `confine`, with its configuration.
    pub(crate) fn command(&self, confine: &Confine, args: &[&str]) -> Command {
        let mut command = confine.command(&self.program(confine));
        command.arg("--config").arg(self.config()).args(args);
        command
    }

    /// The program, where other users can run it.
    fn program(&self, confine: &Confine) -> PathBuf {
        let built = other_build().unwrap_or_else(|| env!("CARGO_BIN_EXE_sysops-agent").into());
        if matches!(confine, Confine::No | Confine::NoBpf) {
            return built;
        }
        let copy = self.file("sysops-agent");
        if !copy.exists() {
            fs::copy(built, &copy).expect("a copy of the program");
        }
        copy
    }

    /// Features by name, as `doctor --json` says under `confine`.
    pub(crate) fn doctor(&self, confine: &Confine) -> Features {
        let done = self.command(confine, &["doctor", "--json"]).output().expect("doctor runs");
        assert!(done.status.success(), "{}", words(&done));
        Features(serde_json::from_slice(&done.stdout).expect("JSON"))
    }

    /// Starts the agent; it is ready when this returns.
    pub(crate) fn start(&self, confine: &Confine) -> Agent {
        let mut agent = self.launch(confine, |_| {});
        agent.await_ready();
        // The kernel log of before has been read: from here on every line is news.
        if self.log_is_read() {
            let read = wait_for(START, || self.data().join("kmsg-position").exists().then_some(()));
            assert!(read.is_some(), "the kernel log is not read: {}", self.log());
        }
        agent
    }

    fn log_is_read(&self) -> bool {
        wait_for(START, || self.printed().contains("alerts to").then_some(())).expect("the summary");
        self.printed().lines().any(|l| l.starts_with("  kernel_log") && !l.contains("OFF"))
    }

    /// Starts the agent without its configuration and does not wait.
    pub(crate) fn launch_without_file(&self, confine: &Confine) -> Agent {
        self.spawn(confine.command(&self.program(confine)))
    }

    /// Starts the agent and does not wait.
    pub(crate) fn launch(&self, confine: &Confine, change: impl FnOnce(&mut Command)) -> Agent {
        let mut command = self.command(confine, &[]);
        change(&mut command);
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Agent {
        let socket = self.file("notify");
        let _ = fs::remove_file(&socket);
        let _ = fs::remove_file(self.file("printed"));
        let notify = UnixDatagram::bind(&socket).expect("a socket");
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).expect("open to all");
        let append = |name| File::options().append(true).create(true).open(self.file(name)).expect("a log");
        command.env("NOTIFY_SOCKET", &socket).stdout(append("printed")).stderr(append("log"));
        let started = Instant::now();
        let child = command.spawn().expect("the agent starts");
        Agent { child, notify, told: Vec::new(), log: self.file("log"), started }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}\n--- and output\n{}", self.log(), self.printed());
        }
    }
}

/// `SYSOPS_AGENT_BUILD`: another build of the program, with the default features, for figures of an optimised one.
pub(crate) fn other_build() -> Option<PathBuf> {
    std::env::var_os("SYSOPS_AGENT_BUILD").map(PathBuf::from)
}

/// Standard output and error.
pub(crate) fn words(done: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(mine)), toml::Value::Table(theirs)) => merge(mine, theirs),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

/// What `doctor --json` says.
#[derive(Debug)]
pub(crate) struct Features(Value);

impl Features {
    /// A field of a feature; empty where there is none.
    pub(crate) fn get(&self, name: &str, field: &str) -> &str {
        let all = self.0.as_array().expect("a list");
        let feature = all.iter().find(|f| f["name"] == name).unwrap_or_else(|| panic!("no {name}: {all:#?}"));
        feature[field].as_str().unwrap_or_default()
    }

    /// Whether a feature is fully on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name, "state") == "on"
    }

    /// A feature does not work for a reason and has a remedy, which contain these.
    pub(crate) fn check_refused(&self, name: &str, why: &str, remedy: &str) {
        assert!(!self.is_on(name), "{name}: {self:#?}");
        assert!(self.get(name, "reason").contains(why), "{name}: {:?}", self.get(name, "reason"));
        assert!(self.get(name, "remedy").contains(remedy), "{name}: {:?}", self.get(name, "remedy"));
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    notify: UnixDatagram,
    /// Notifications and when they came, since the start.
    pub(crate) told: Vec<(Duration, String)>,
    log: PathBuf,
    started: Instant,
}

impl Agent {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it lives");
    }

    /// Waits for a line on the notify socket.
    pub(crate) fn await_told(&mut self, line: &str, at_most: Duration) -> bool {
        self.notify.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        wait_for(at_most, || {
            let mut buf = [0; 4096];
            if let Ok(n) = self.notify.recv(&mut buf) {
                let at = self.started.elapsed();
                let text = String::from_utf8_lossy(&buf[..n]);
                self.told.extend(text.lines().map(|line| (at, line.to_owned())));
            }
            self.has_told(line).then_some(())
        })
        .is_some()
    }

    /// Whether such a line came.
    pub(crate) fn has_told(&self, line: &str) -> bool {
        self.told.iter().any(|(_, told)| told == line)
    }

    /// Waits until systemd would take it for started.
    pub(crate) fn await_ready(&mut self) {
        assert!(self.await_told("READY=1", START), "not ready: {}", self.logged());
    }

    /// Waits for its end.
    pub(crate) fn await_end(&mut self, at_most: Duration) -> Option<ExitStatus> {
        wait_for(at_most, || self.child.try_wait().expect("its status"))
    }

    /// Stops it as systemd does; it must end in time and in order.
    pub(crate) fn stop(mut self) -> Duration {
        let begin = Instant::now();
        self.signal(Signal::TERM);
        let status = self.await_end(Duration::from_secs(30)).expect("it ends");
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", self.logged());
        begin.elapsed()
    }

    /// Kills it without a warning.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("it ends");
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // Not for ever: it may hang in a filesystem that a guard behind this one is to thaw.
        self.await_end(Duration::from_secs(15));
    }
}
