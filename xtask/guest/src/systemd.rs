//! A guest with a real systemd: the first process hands over to it, and this program comes again as one of its services, with
//! the agent installed by its own script and run by its own unit.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::inbox::Inbox;
use crate::init::{Reporter, play, surplus_of};
use crate::lab::Lab;
use crate::machine;
use crate::plan::{self, AGENT, GUEST, Plan, Rights};
use crate::report::{Doctor, Feature, Line};

/// The root file system's disk, and where it is mounted before it is one.
const DISK: &str = "/dev/vda";
const ROOT: &str = "/mnt";
/// Folder of the script that installs the agent.
pub const DEPLOY: &str = "/deploy";
/// The agent's unit.
pub const UNIT: &str = "sysops-agent.service";
/// Until a unit is as it must be, on an emulated machine that may be one of several on a busy one.
pub const SOON: Duration = Duration::from_mins(3);

/// Runs this program again in the new system.
const SERVICE: &str = "[Unit]\nDescription=What happens in this machine\nAfter=multi-user.target dbus.service systemd-oomd.service\n\n\
    [Service]\nType=exec\nExecStart=/bin/vm-guest systemd\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS0\n\
    OOMScoreAdjust=-1000\n\n[Install]\nWantedBy=multi-user.target\n";

/// Small limits, so that systemd-oomd kills within seconds.
const OOMD: &str = "[OOM]\nDefaultMemoryPressureDurationSec=2s\n";

/// Becomes systemd; returns only if that fails.
pub fn hand_over() -> Result<(), String> {
    machine::mount(DISK, ROOT, "ext4").map_err(|e| format!("{DISK}: {e}"))?;
    let below = |path: &str| format!("{ROOT}{path}");
    for (from, to) in [(AGENT, "/opt/sysops-agent"), (GUEST, GUEST), (plan::PATH, plan::PATH)] {
        fs::copy(from, below(to)).map_err(|e| format!("{from}: {e}"))?;
        fs::set_permissions(below(to), Permissions::from_mode(0o755)).map_err(|e| format!("{to}: {e}"))?;
    }
    fs::create_dir_all(below(DEPLOY)).map_err(|e| e.to_string())?;
    for file in fs::read_dir(DEPLOY).map_err(|e| format!("{DEPLOY}: {e}"))?.flatten() {
        let to = Path::new(ROOT).join(DEPLOY.trim_start_matches('/')).join(file.file_name());
        fs::copy(file.path(), to).map_err(|e| format!("{}: {e}", file.path().display()))?;
    }
    let write = |path: &str, text: &str| {
        let path = below(path);
        let parent = Path::new(&path).parent().map_or(Ok(()), fs::create_dir_all);
        parent.and_then(|()| fs::write(&path, text)).map_err(|e| format!("{path}: {e}"))
    };
    write("/etc/systemd/system/vm-guest.service", SERVICE)?;
    write("/etc/systemd/oomd.conf.d/soon.conf", OOMD)?;
    let wants = below("/etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).map_err(|e| format!("{wants}: {e}"))?;
    for (unit, target) in
        [("vm-guest.service", "/etc/systemd/system"), ("systemd-oomd.service", "/usr/lib/systemd/system")]
    {
        let _ = symlink(format!("{target}/{unit}"), format!("{wants}/{unit}"));
    }
    for unit in ["earlyoom.service", "serial-getty@ttyS0.service"] {
        let _ = fs::remove_file(format!("{wants}/{unit}"));
    }
    let _ = symlink("/dev/null", below("/etc/systemd/system/serial-getty@ttyS0.service"));
    switch_root().map_err(|e| format!("the root cannot be changed: {e}"))?;
    let error = std::os::unix::process::CommandExt::exec(&mut Command::new("/sbin/init"));
    Err(format!("/sbin/init: {error}"))
}

/// What was mounted here is systemd's to mount anew.
fn switch_root() -> rustix::io::Result<()> {
    for at in [
        "/run",
        "/sys/fs/cgroup",
        "/sys/kernel/security",
        "/sys/kernel/debug",
        "/sys/kernel/tracing",
        "/dev",
        "/sys",
        "/proc",
    ] {
        let _ = unmount(at, UnmountFlags::DETACH);
    }
    rustix::process::chdir(ROOT)?;
    mount_change("/", MountPropagationFlags::PRIVATE)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}

/// This program as a service: installs the agent, plays the scenarios, tells, switches the machine off.
pub fn work(plan: &Plan, reporter: &Reporter) -> Result<(), String> {
    let (inbox, port) = Inbox::start().map_err(|e| format!("no web server: {e}"))?;
    install(port)?;
    let doctor = doctor()?;
    reporter.tell(&Line::Doctor(doctor.clone()));
    let mut lab = Lab::new(doctor, inbox, reporter.clone());
    play(plan, Rights::Unit, &mut lab, reporter)?;
    let stopped = run("systemctl", &["stop", UNIT]).map(drop);
    surplus_of(&lab)?;
    stopped
}

fn install(port: u16) -> Result<(), String> {
    // Levels of an emulated machine say nothing: only what the scenarios are about is read.
    let config = format!(
        r#"
        [agent]
        hostname = "guest"
        [collector]
        enabled = ["process", "cgroup", "vmstat", "systemd"]
        process_interval_secs = 2
        memory_interval_secs = 2
        systemd_interval_secs = 3
        [ebpf]
        run_queue = true
        [inventory]
        enabled = false
        [alerting]
        min_interval_secs = 0
        state_warmup_secs = 0
        rate_limit_per_minute = 10000
        max_alerts_per_hour = 100000
        max_alerts_per_hour_total = 100000
        grouping = {{ enabled = false }}
        terminal = {{ enabled = "off" }}
        syslog = {{ enabled = false }}
        webhook = {{ enabled = true, url = "http://127.0.0.1:{port}/", timeout_secs = 5 }}
        "#
    );
    // As the script would have it; its owner follows.
    fs::create_dir_all("/etc/sysops-agent").map_err(|e| e.to_string())?;
    fs::write("/etc/sysops-agent/config.toml", config).map_err(|e| e.to_string())?;
    run("sh", &[&format!("{DEPLOY}/install.sh"), "--binary", "/opt/sysops-agent", "--no-start"])?;
    run("chown", &["-R", "sysops-agent:sysops-agent", "/etc/sysops-agent"])?;
    run("systemctl", &["enable", "--now", UNIT]).map(drop)
}

/// What the agent says of itself with the rights of its unit.
fn doctor() -> Result<Doctor, String> {
    let same = ["User", "Group", "SupplementaryGroups", "AmbientCapabilities", "CapabilityBoundingSet"];
    let unit = fs::read_to_string("/etc/systemd/system/sysops-agent.service").map_err(|e| e.to_string())?;
    let mut args = vec!["--quiet".to_owned(), "--wait".into(), "--pipe".into()];
    let lines = unit.lines().filter(|line| same.iter().any(|key| line.starts_with(&format!("{key}="))));
    args.extend(lines.map(|line| format!("--property={line}")));
    args.extend(["/usr/local/bin/sysops-agent", "doctor", "--json"].map(str::to_owned));
    let out = output("systemd-run", &args.iter().map(String::as_str).collect::<Vec<_>>())?;
    let features: Vec<Feature> = serde_json::from_slice(&out.stdout).map_err(|e| {
        format!("doctor --json told no features ({e}): {}", String::from_utf8_lossy(&out.stderr))
    })?;
    Ok(Doctor { rights: Rights::Unit, features })
}

fn output(program: &str, args: &[&str]) -> Result<Output, String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output();
    out.map_err(|e| format!("{program}: {e}"))
}

/// Runs a program to its end; what it printed.
pub fn run(program: &str, args: &[&str]) -> Result<String, String> {
    let out = output(program, args)?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() {
        return Ok(said(&out.stdout));
    }
    Err(format!(
        "`{program} {}`: {}: {} {}",
        args.join(" "),
        out.status,
        said(&out.stdout),
        said(&out.stderr)
    ))
}

/// One property of a unit.
pub fn property(unit: &str, name: &str) -> Result<String, String> {
    run("systemctl", &["show", "--value", &format!("--property={name}"), unit])
}

/// Waits until `is` is true.
pub fn until(what: &str, mut is: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        if is()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
    Err(format!("{what}: not within {} s", SOON.as_secs()))
}
