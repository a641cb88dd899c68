//! Process 1: does what the plan says, then switches the machine off.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::system::{RebootCommand, reboot, uname};

use crate::agent::Home;
use crate::inbox::Inbox;
use crate::lab::Lab;
use crate::plan::{self, Plan, Rights};
use crate::report::{Broken, Doctor, Kernel, Line, MARK, Outcome};
use crate::{machine, scenarios, systemd};

/// The way to the host. Clones write to the same device.
#[derive(Clone, Debug)]
pub struct Reporter(Arc<Mutex<File>>);

impl Reporter {
    /// Sends one line. A host that went away is not our problem.
    pub fn tell(&self, line: &Line) {
        let json = serde_json::to_string(line).unwrap_or_default();
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(format!("\n{MARK}{json}\n").as_bytes());
    }
}

/// Runs as process 1; does not return unless the machine cannot be switched off.
pub fn run() {
    machine::mount_all();
    if let Err(why) = work() {
        println!("the guest gives up: {why}");
    }
    let _ = reboot(RebootCommand::PowerOff);
}

fn work() -> Result<(), String> {
    let plan = read_plan()?;
    if plan.systemd && !plan.shell {
        load_modules(&plan);
        return systemd::hand_over();
    }
    let report = OpenOptions::new().write(true).open(&plan.report);
    let reporter = Reporter(Arc::new(Mutex::new(report.map_err(|e| format!("{}: {e}", plan.report))?)));
    load_modules(&plan);
    if plan.shell {
        return shell();
    }
    end_at(&plan);
    reporter.tell(&Line::Kernel(kernel()));
    for rights in &plan.rights {
        if let Err(why) = with_agent(&plan, *rights, &reporter) {
            println!("{}", machine::kernel_log());
            reporter.tell(&Line::Broken(Broken { why: format!("as {}: {why}", rights.name()) }));
        }
    }
    reporter.tell(&Line::Done);
    // The last line must have left the machine before it is switched off.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

/// The same as a service of a systemd that the first process has become.
pub fn serve() -> Result<(), String> {
    let plan = read_plan()?;
    let report = OpenOptions::new().write(true).open(&plan.report);
    let reporter = Reporter(Arc::new(Mutex::new(report.map_err(|e| format!("{}: {e}", plan.report))?)));
    end_at(&plan);
    reporter.tell(&Line::Kernel(kernel()));
    if let Err(why) = systemd::work(&plan, &reporter) {
        println!("{}", systemd::run("journalctl", &["--no-pager", "--lines=100"]).unwrap_or_default());
        reporter.tell(&Line::Broken(Broken { why: format!("as {}: {why}", Rights::Unit.name()) }));
    }
    reporter.tell(&Line::Done);
    thread::sleep(Duration::from_millis(300));
    let _ = reboot(RebootCommand::PowerOff);
    Ok(())
}

fn read_plan() -> Result<Plan, String> {
    let text = fs::read_to_string(plan::PATH).map_err(|e| format!("{}: {e}", plan::PATH))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: {e}", plan::PATH))
}

fn load_modules(plan: &Plan) {
    for module in plan.modules.iter().filter(|m| machine::has_module(m)) {
        if let Err(error) = machine::load(module, "") {
            println!("module {module}: {error}");
        }
    }
}

/// Switches the machine off when its time is up.
fn end_at(plan: &Plan) {
    let deadline = Duration::from_secs(plan.deadline_secs);
    thread::spawn(move || {
        thread::sleep(deadline);
        println!("the guest's time is up");
        let _ = reboot(RebootCommand::PowerOff);
    });
}

fn kernel() -> Kernel {
    let (name, read) = (uname(), fs::read_to_string::<&str>);
    let uptime = read("/proc/uptime").unwrap_or_default();
    Kernel {
        release: name.release().to_string_lossy().into_owned(),
        version: name.version().to_string_lossy().into_owned(),
        btf: fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false),
        perf_event_paranoid: machine::sysctl("kernel/perf_event_paranoid").ok().and_then(|v| v.parse().ok()),
        tracefs: fs::exists("/sys/kernel/tracing/events/oom").unwrap_or(false),
        uptime_secs: uptime.split(' ').next().and_then(|v| v.parse().ok()).unwrap_or(0.0),
    }
}

fn with_agent(plan: &Plan, rights: Rights, reporter: &Reporter) -> Result<(), String> {
    let (inbox, port) = Inbox::start().map_err(|e| format!("no web server: {e}"))?;
    let home = Home::new(rights, port)?;
    let doctor: Doctor = home.doctor()?;
    reporter.tell(&Line::Doctor(doctor.clone()));
    let agent = home.start()?;
    let mut lab = Lab::new(doctor, inbox, reporter.clone());
    play(plan, rights, &mut lab, reporter)?;
    // What is on its way is delivered before the end; what comes twice would be told by then.
    let stopped = agent.stop();
    surplus_of(&lab)?;
    stopped
}

/// Fails for alerts that no scenario has caused.
pub(crate) fn surplus_of(lab: &Lab) -> Result<(), String> {
    let surplus: Vec<String> =
        lab.surplus().into_iter().map(|a| format!("{}: {}", a.rule, a.message)).collect();
    if surplus.is_empty() {
        Ok(())
    } else {
        Err(format!("alerts that nothing led to: {}", surplus.join("; ")))
    }
}

/// Plays the scenarios of the plan, one after the other, and tells how each went.
pub(crate) fn play(plan: &Plan, rights: Rights, lab: &mut Lab, reporter: &Reporter) -> Result<(), String> {
    for name in &plan.scenarios {
        let scenario = scenarios::find(name).ok_or_else(|| format!("there is no scenario {name}"))?;
        println!("=== {name} as {}", rights.name());
        let verdict = (scenario.play)(lab);
        if verdict.is_err() {
            println!("{}", machine::kernel_log());
        }
        let problem = verdict.as_ref().err().cloned();
        let seen = verdict.unwrap_or_default();
        reporter.tell(&Line::Outcome(Outcome {
            rights,
            scenario: name.clone(),
            sources: seen.sources,
            latency_ms: seen.latency_ms,
            problem,
        }));
    }
    Ok(())
}

fn shell() -> Result<(), String> {
    let console = || OpenOptions::new().read(true).write(true).open("/dev/console").map(Stdio::from);
    let fail = |e| format!("no shell: {e}");
    Command::new("/bin/busybox")
        .args(["sh", "-c", "busybox --install -s /bin; exec setsid -c sh -l"])
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .stdin(console().map_err(fail)?)
        .stdout(console().map_err(fail)?)
        .stderr(console().map_err(fail)?)
        .status()
        .map_err(fail)?;
    Ok(())
}
