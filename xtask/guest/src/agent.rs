//! The agent under test, as a child with some rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::plan::{AGENT, GUEST, Rights};
use crate::report::{Doctor, Feature};

/// Longest start: emulated processors are slow.
const START: Duration = Duration::from_secs(30);
/// Longest stop; the agent itself says 5 s.
const STOP: Duration = Duration::from_secs(15);

/// Where an agent lives and whom it tells.
#[derive(Debug)]
pub struct Home {
    rights: Rights,
    dir: PathBuf,
}

impl Home {
    /// A folder with a configuration that tells every event at once and without limits to this port.
    pub fn new(rights: Rights, port: u16) -> Result<Self, String> {
        let dir = PathBuf::from(match rights {
            Rights::Root => "/run/agent-root",
            Rights::Capable => "/run/agent-capable",
            Rights::Unit => return Err("its unit has a home for it".into()),
        });
        let fail = |e| format!("{}: {e}", dir.display());
        fs::create_dir_all(dir.join("data")).map_err(fail)?;
        for open in [dir.clone(), dir.join("data")] {
            fs::set_permissions(open, Permissions::from_mode(0o777)).map_err(fail)?;
        }
        let config = format!(
            r#"
            [agent]
            hostname = "guest"
            data_dir = "{data}"
            [collector]
            process_interval_secs = 2
            [ebpf]
            io_latency_threshold_ms = 150
            run_queue = true
            [alerting]
            min_interval_secs = 0
            dedup_window_secs = 0
            rate_limit_per_minute = 10000
            max_alerts_per_hour = 100000
            max_alerts_per_hour_total = 100000
            # Levels are left out: an emulated machine is busy.
            state_warmup_secs = 86400
            grouping = {{ enabled = false }}
            terminal = {{ enabled = "off" }}
            syslog = {{ enabled = false }}
            webhook = {{ enabled = true, url = "http://127.0.0.1:{port}/", timeout_secs = 5 }}
            "#,
            data = dir.join("data").display()
        );
        fs::write(dir.join("config.toml"), config).map_err(fail)?;
        Ok(Self { rights, dir })
    }

    /// The agent's command line.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.rights {
            Rights::Root | Rights::Unit => Command::new(AGENT),
            Rights::Capable => {
                let mut command = Command::new(GUEST);
                command.args(["capable", AGENT]);
                command
            }
        };
        command.arg("--config").arg(self.dir.join("config.toml")).args(args).stdin(Stdio::null());
        command
    }

    /// What the agent says of itself on this kernel.
    pub fn doctor(&self) -> Result<Doctor, String> {
        let out = self.command(&["doctor", "--json"]).output();
        let out = out.map_err(|e| format!("the agent cannot be started: {e}"))?;
        let features: Vec<Feature> = serde_json::from_slice(&out.stdout).map_err(|e| {
            let said = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            format!("doctor --json told no features ({e}, {}): {said:?}", out.status)
        })?;
        Ok(Doctor { rights: self.rights, features })
    }

    /// Starts the agent and waits until it says that it watches.
    pub fn start(&self) -> Result<Agent, String> {
        let path = self.dir.join("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let fail = |e| format!("{}: {e}", path.display());
        fs::set_permissions(&path, Permissions::from_mode(0o777)).map_err(fail)?;
        socket.set_read_timeout(Some(START)).map_err(fail)?;
        let child = self.command(&[]).env("NOTIFY_SOCKET", &path).spawn();
        let agent = Agent { child: child.map_err(|e| format!("the agent cannot be started: {e}"))?, socket };
        // As its unit has it: the one that tells of an OOM kill must not be its victim.
        let score = format!("/proc/{}/oom_score_adj", agent.child.id());
        fs::write(&score, "-900").map_err(|e| format!("{score}: {e}"))?;
        agent.ready()?;
        agent.settle();
        Ok(agent)
    }
}

/// A running agent; killed when it goes out of scope.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    socket: UnixDatagram,
}

impl Agent {
    fn ready(&self) -> Result<(), String> {
        let (begin, mut message) = (Instant::now(), [0; 1024]);
        while begin.elapsed() < START {
            let length =
                self.socket.recv(&mut message).map_err(|e| format!("the agent says nothing: {e}"))?;
            if String::from_utf8_lossy(&message[..length]).lines().any(|l| l == "READY=1") {
                return Ok(());
            }
        }
        Err(format!("the agent was not ready within {} s", START.as_secs()))
    }

    /// Waits until it has nothing to do: what the kernel log held at its start is history to it, and a kill that
    /// came while it still reads that would be history too.
    fn settle(&self) {
        let begin = Instant::now();
        let mut spent = ticks(self.child.id());
        while begin.elapsed() < START {
            std::thread::sleep(Duration::from_millis(300));
            let now = ticks(self.child.id());
            if now.saturating_sub(spent) <= 2 {
                return;
            }
            spent = now;
        }
    }

    /// Ends it as systemd would, and says so if it does not end well.
    pub fn stop(mut self) -> Result<(), String> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            kill_process(pid, Signal::TERM).map_err(|e| format!("the agent is gone: {e}"))?;
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(format!("the agent ended badly: {status} (core: {})", status.core_dumped()));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(format!("the agent cannot be waited for: {error}")),
            }
        }
        Err(format!("the agent did not stop within {} s", STOP.as_secs()))
    }
}

/// Processor time of a process, in ticks of 10 ms: utime and stime, behind a name that may hold anything.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
