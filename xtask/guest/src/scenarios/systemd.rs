//! The agent as a service of a real systemd, and what kills and fails there.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::inbox::{Alert, now_ns};
use crate::lab::{Lab, Seen, Verdict};
use crate::systemd::{UNIT, property, run, until};

/// Capabilities that the unit gives, as `/proc/PID/status` writes them: those of `deploy/sysops-agent.service`.
const CAPABILITIES: u64 = 1 << 2 | 1 << 19 | 1 << 34 | 1 << 38 | 1 << 39;
/// Within which the agent must have ended; its unit gives it 15.
const STOP: Duration = Duration::from_secs(10);

/// READY=1, own user and capabilities, watchdog, reload, a clean end, and a start after it.
pub(super) fn service(lab: &mut Lab) -> Verdict {
    until("the agent is active", || Ok(property(UNIT, "ActiveState")? == "active"))?;
    let pid = property(UNIT, "MainPID")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| format!("{pid}: {e}"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default().to_owned()
    };
    let user = run("id", &["-u", "sysops-agent"])?;
    same("user", &field("Uid:"), &user)?;
    same("capabilities", &field("CapEff:"), &format!("{CAPABILITIES:016x}"))?;
    same("watchdog", &property(UNIT, "WatchdogUSec")?, "30s")?;
    same("type", &property(UNIT, "Type")?, "notify")?;
    if property(UNIT, "WatchdogTimestampMonotonic")? == "0" {
        return Err("systemd has never heard the watchdog".into());
    }
    for feature in ["journal", "kernel_log", "ebpf.oom"] {
        if !lab.is_on(feature) {
            return Err(format!("{feature} is not on: {:?}", lab.said(feature)));
        }
    }
    reader(&pid)?;
    run("systemctl", &["reload", UNIT])?;
    same("process after a reload", &property(UNIT, "MainPID")?, &pid)?;
    let begin = Instant::now();
    run("systemctl", &["stop", UNIT])?;
    if begin.elapsed() > STOP {
        return Err(format!("it took {} s to stop", begin.elapsed().as_secs()));
    }
    same("result of a stop", &property(UNIT, "Result")?, "success")?;
    same("exit status", &property(UNIT, "ExecMainStatus")?, "0")?;
    run("systemctl", &["start", UNIT])?;
    same("state after the start", &property(UNIT, "ActiveState")?, "active")?;
    Ok(Seen { sources: vec!["yes".into()], latency_ms: None })
}

/// `journalctl` reads with one capability, and can gain none.
fn reader(agent: &str) -> Result<(), String> {
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let mut found = None;
    until("the agent reads the journal", || {
        let all = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten();
        let status = all.filter_map(|process| fs::read_to_string(process.path().join("status")).ok());
        found = { status }.find(|s| field(s, "Name:") == "journalctl" && field(s, "PPid:") == agent);
        Ok(found.is_some())
    })?;
    let status = found.unwrap_or_default();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        same(set, &field(&status, set), &format!("{:016x}", 1 << 2))?;
    }
    same("NoNewPrivs", &field(&status, "NoNewPrivs:"), "1")
}

fn same(what: &str, is: &str, expect: &str) -> Result<(), String> {
    if is == expect { Ok(()) } else { Err(format!("{what}: {is:?}, expected {expect:?}")) }
}

/// Kills the agent as a crash would, and waits for the next one.
fn crash() -> Result<(), String> {
    let pid = property(UNIT, "MainPID")?;
    run("systemctl", &["kill", "--signal=KILL", UNIT])?;
    // Its unit waits ten seconds before it starts it again: that is systemd's to get right.
    until("the agent is gone", || Ok(property(UNIT, "MainPID")? != pid))?;
    run("systemctl", &["start", UNIT])?;
    until("the agent is restarted", || {
        let now = property(UNIT, "MainPID")?;
        Ok(now != pid && now != "0" && property(UNIT, "ActiveState")? == "active")
    })
}

/// systemd-oomd kills a unit that lives in memory pressure.
pub(super) fn oomd(lab: &mut Lab) -> Verdict {
    const HOG: &str = "pressed.service";
    let begin = now_ns();
    let slice = ["--slice=pressed.slice", "--property=MemoryHigh=16M", "--property=MemoryAccounting=yes"];
    run(
        "systemctl",
        &[
            "set-property",
            "--runtime",
            "pressed.slice",
            "ManagedOOMMemoryPressure=kill",
            "ManagedOOMMemoryPressureLimit=1%",
        ],
    )?;
    let mut args = vec!["--quiet", "--collect", "--unit=pressed"];
    args.extend(slice);
    args.extend(["/bin/vm-guest", "press", "presser", "40"]);
    run("systemd-run", &args)?;
    let killer = "systemd-oomd";
    let found = lab.by_journal(killer, |a| a.labels.get("unit").is_some_and(|unit| unit == HOG))?;
    found.label("killer", killer)?.says("victim_cgroup", "/pressed.slice/pressed.service")?;
    let reason = found.alert.context.get("reason").and_then(|r| r.as_str()).unwrap_or_default().to_owned();
    if !reason.contains("memory pressure for /pressed.slice") {
        return Err(format!("it gives another reason: {reason}"));
    }
    run("systemctl", &["stop", "pressed.slice"])?;
    crash()?;
    Ok(found.seen(begin))
}

/// earlyoom only says that it would kill the largest process, and then kills it: one alert, of the second time.
pub(super) fn earlyoom(lab: &mut Lab) -> Verdict {
    let configure = |more: &str| {
        let text = format!("EARLYOOM_ARGS=\"-r 0 -m 60,5 -s 100 --prefer ^hog$ {more}\"\n");
        fs::write("/etc/default/earlyoom", text).map_err(|e| e.to_string())
    };
    configure("--dryrun")?;
    run("systemctl", &["start", "earlyoom"])?;
    run("systemd-run", &["--quiet", "--collect", "--unit=early", "/bin/vm-guest", "eat", "hog", "-", "150"])?;
    until("earlyoom would kill", || {
        Ok(run("journalctl", &["--unit=earlyoom", "--output=cat"])?
            .contains("\ndryrun, not actually sending"))
    })?;
    let begin = now_ns();
    configure("")?;
    run("systemctl", &["restart", "earlyoom"])?;
    let killer = "earlyoom";
    let found = lab.by_journal(killer, |a| a.labels.get("killer").is_some_and(|k| k == killer))?;
    run("systemctl", &["stop", "earlyoom"])?;
    if found.alert.kernel_ns().is_none_or(|at| at < begin) {
        return Err(format!("nobody was killed yet: {}", found.alert.message));
    }
    found.label("process", "hog")?.says("victim_comm", "hog")?.says("signal", "SIGTERM")?;
    let context = &found.alert.context;
    let reason = context.get("reason").and_then(|r| r.as_str()).unwrap_or_default();
    if context.get("victim_pid").and_then(serde_json::Value::as_u64).is_none_or(|pid| pid < 2) {
        return Err(format!("no victim: {context:?}"));
    }
    if !reason.contains("low memory!") {
        return Err(format!("no reason: {context:?}"));
    }
    Ok(found.seen(begin))
}

/// The kernel kills a process that runs into the limit of its unit.
pub(super) fn limit(lab: &mut Lab) -> Verdict {
    let begin = now_ns();
    run(
        "systemd-run",
        &[
            "--quiet",
            "--collect",
            "--unit=limited",
            "--property=MemoryMax=32M",
            "--property=MemorySwapMax=0",
            "/bin/vm-guest",
            "eat",
            "limited",
            "-",
            "200",
        ],
    )?;
    let is_it = |a: &Alert| a.context.get("victim_comm").is_some_and(|comm| comm == "limited");
    let found =
        lab.one("oom_kill", "ebpf.oom", true, is_it)?.ok_or("neither eBPF nor the kernel log works")?;
    found
        .label("unit", "limited.service")?
        .says("constraint", "CONSTRAINT_MEMCG")?
        .says("limit_kb", 32 << 10)?;
    crash()?;
    // What would be told twice is told by now.
    sleep(Duration::from_secs(3));
    Ok(found.seen(begin))
}

/// A service that ends with an error is told with its result, until it is mended.
pub(super) fn failed(lab: &mut Lab) -> Verdict {
    let begin = now_ns();
    run("systemd-run", &["--quiet", "--unit=failing", "/bin/sh", "-c", "exit 3"])?;
    let found = lab.condition("systemd_unit_failed", "unit", "failing.service")?;
    found.label("result", "exit-code")?;
    let message = &found.alert.message;
    if !message.contains("(exit-code, exit status 3) started ") {
        return Err(format!("it does not say why: {message}"));
    }
    run("systemctl", &["reset-failed", "failing.service"])?;
    lab.ends(&found)?;
    Ok(Seen { sources: vec!["metrics".into()], ..found.seen(begin) })
}

/// A service that ends again and again is one alert, however often it is started.
pub(super) fn looping(lab: &mut Lab) -> Verdict {
    const NAME: &str = "looping.service";
    let begin = now_ns();
    let properties =
        ["--property=Restart=always", "--property=RestartSec=100ms", "--property=StartLimitIntervalSec=0"];
    run("systemd-run", &[&["--quiet", "--unit=looping"], &properties[..], &["/bin/sleep", "0.1"]].concat())?;
    let found = lab.condition("systemd_unit_restarts_recent_count", "unit", NAME)?;
    until("it restarts", || Ok(property(NAME, "NRestarts")?.parse::<u32>().is_ok_and(|n| n >= 12)))?;
    run("systemctl", &["stop", NAME])?;
    Ok(Seen { sources: vec!["metrics".into()], ..found.seen(begin) })
}
