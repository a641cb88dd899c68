//! A hundred thousand findings within a minute against one running agent with its default limits and every channel on:
//! kills of different victims, hung tasks, disks, filesystems, links, crashes, and hundreds of sensors over their limits.
//! As root: `cargo test --features nats --test e2e_flood -- --ignored --nocapture`.
#![expect(clippy::disallowed_methods, reason = "runs the agent and looks at the machine by itself")]

mod e2e;
mod ends;
mod lab;

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::agent::{Home, other_build};
use e2e::confine::Confine;
use ends::Ends;
use lab::{ready, skip, wait_for};
use rustix::fs::{OFlags, fcntl_setfl};
use sysops_agent::config::Config;
use sysops_agent::event::MAX_FOLLOWED;
use sysops_agent::host::clock;

/// What the kernel says. A program that was not optimised needs some 20 times as long for each.
const FINDINGS: u64 = 100_000;
const FINDINGS_OF_A_DEBUG_BUILD: u64 = 10_000;
/// Sensors that are over their limits, and fans that fail.
const SENSORS: usize = 120;
/// Longest flood.
const MINUTE: Duration = Duration::from_mins(1);
/// Its length: in less, a rule finds something in more lines of ten seconds than it is asked about (`flood::MAX_TOLD`).
const FLOOD: Duration = Duration::from_secs(56);
/// Most messages on a channel.
const MAX_MESSAGES: usize = 20;
/// Resident memory that the agent may ever have, kB.
const MAX_RSS_KB: u64 = 40 << 10;
/// Share of one processor that it may take afterwards.
const MAX_CPU: f64 = 0.1;
/// How long after the flood that is looked at: groups end after 30 s.
const SETTLE: Duration = Duration::from_secs(40);
const WATCHED: Duration = Duration::from_secs(10);

#[test]
#[ignore = "live: two minutes of a flooded kernel log"]
fn a_hundred_thousand_findings_become_few_messages_on_every_channel() {
    if !ready() {
        return;
    }
    if !Path::new("/usr/bin/journalctl").exists() {
        skip("journalctl is missing: apt-get install systemd");
        return;
    }
    let ends = Ends::start();
    let home = Home::new("http://127.0.0.1:9/", &ends.config());
    let (fifo, sensors) = (home.file("fifo"), home.file("sys"));
    make_sensors(&sensors, 99);
    home.configure("http://127.0.0.1:9/", &format!("{}\n{}", ends.config(), default_limits(&sensors)));
    let confine = journal_from(&home, &fifo);
    let mut agent = home.launch(&confine, |_| {});
    agent.await_ready();
    // Refused until somebody reads.
    let open = || File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).ok();
    let log = wait_for(Duration::from_secs(30), open).expect("the agent reads its journal");
    fcntl_setfl(&log, OFlags::empty()).expect("it waits from here on");
    let mut log = BufWriter::new(log);

    let is_optimised = !cfg!(debug_assertions) || other_build().is_some();
    let findings = if is_optimised { FINDINGS } else { FINDINGS_OF_A_DEBUG_BUILD };
    let begin = Instant::now();
    let mut caused = [0_u64; KINDS.len()];
    for n in 0..findings {
        let kind = (n % 10) as usize;
        let kind = [0, 0, 0, 1, 7, 2, 3, 4, 5, 6][kind];
        caused[kind] += 1;
        let mut lines = String::new();
        write_lines(kind, n, &mut lines);
        log.write_all(lines.as_bytes()).expect("taken");
        if is_optimised && n % 100 == 0 {
            sleep((FLOOD * n as u32 / findings as u32).saturating_sub(begin.elapsed()));
        }
        if n == findings / 2 {
            make_sensors(&sensors, 20);
        }
    }
    log.flush().expect("taken");
    let written = begin.elapsed();
    let then = rss(agent.pid());
    sleep(SETTLE);
    let (before, at) = (cpu(agent.pid()), Instant::now());
    sleep(WATCHED);
    let used = (cpu(agent.pid()) - before) / at.elapsed().as_secs_f64();
    let memory = rss(agent.pid());
    drop(log);
    agent.stop();

    let said = home.log();
    let total = |name: &str| total(&said, name);
    let counted =
        total("kernel_oom_kills_total") + total("kernel_hung_tasks_total") + total("kernel_log_events_total");
    println!(
        "{findings} findings written in {:.1} s (counted {counted}), resident {} kB then, {} kB {} s later \
         ({} kB of its own), {} kB at most; {:.1} % of a processor afterwards",
        written.as_secs_f64(),
        then.now,
        memory.now,
        SETTLE.as_secs(),
        memory.own,
        memory.peak,
        used * 100.0,
    );
    for (kind, n) in KINDS.iter().zip(caused) {
        println!("  caused {n} {}", kind.0);
    }
    println!("  counted: {}", said.lines().find(|l| l.contains("counted since")).unwrap_or_default());
    for channel in Ends::channels() {
        println!("{channel}: {} messages", ends.on(channel).len());
    }
    for message in ends.on("webhook") {
        let alert: sysops_agent::alert::Alert = serde_json::from_str(&message).expect("an alert");
        let cut: String = alert.message.chars().take(300).collect();
        println!("  {} {} {cut}", alert.status.name(), alert.rule);
    }
    assert!(written < MINUTE, "{written:?}");
    assert_eq!(total("lost"), 0, "findings were lost");
    for ((_, rule), n) in KINDS.iter().zip(caused) {
        let of_it = match *rule {
            "oom_kill" => total("kernel_oom_kills_total"),
            "hung_task" => total("kernel_hung_tasks_total"),
            rule => total(&format!("kernel_log_events_total{{{rule}}}")),
        };
        // Of so many that hang at once some are only in the incident.
        let least = if *rule == "hung_task" { n.min(MAX_FOLLOWED as u64) } else { n };
        assert!(of_it >= least, "{rule}: {of_it} of {n}");
    }
    for channel in Ends::channels() {
        let told = ends.on(channel);
        assert!((1..=MAX_MESSAGES).contains(&told.len()), "{channel}: {} messages", told.len());
        // Also those that are told of the worst alone.
        assert!(told.iter().any(|text| text.contains("OOM kill")), "{channel} names no cause: {told:#?}");
    }
    // Of a program that was not optimised half is the program itself.
    let memory = if is_optimised { memory.peak } else { memory.own };
    assert!(memory <= MAX_RSS_KB, "{memory} kB");
    assert!(used <= MAX_CPU, "{used}");
}

/// What is caused, and the rule that names it.
const KINDS: [(&str, &str); 8] = [
    ("OOM kills", "oom_kill"),
    ("hung tasks", "hung_task"),
    ("failed requests", "io_error"),
    ("damaged filesystems", "filesystem_error"),
    ("lost links", "network_down"),
    ("failed sends", "nic_hang"),
    ("failed allocations", "page_allocation_failure"),
    // An emergency each: no limit holds them back.
    ("panics", "kernel_panic"),
];

/// The kernel's words for one finding, each time of somebody else.
fn write_lines(kind: usize, n: u64, out: &mut String) {
    let (pid, group) = (1000 + n, n % 997);
    match kind {
        0 => {
            entry(
                n,
                0,
                &format!(
                    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/shop/{group},task_memcg=/shop/{group},task=worker{group},pid={pid},uid=0"
                ),
                out,
            );
            entry(
                n,
                1,
                &format!(
                    "Memory cgroup out of memory: Killed process {pid} (worker{group}) total-vm:33764kB, anon-rss:32416kB, file-rss:4kB, shmem-rss:632kB, UID:0 pgtables:104kB oom_score_adj:0"
                ),
                out,
            );
        }
        1 => entry(
            n,
            0,
            &format!("INFO: task writer{group}:{} blocked for more than 120 seconds.", 100_000 + n),
            out,
        ),
        2 => entry(
            n,
            0,
            &format!("I/O error, dev sd{group}, sector {n} op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 0"),
            out,
        ),
        3 => entry(
            n,
            0,
            &format!(
                "EXT4-fs error (device dm-{group}): ext4_lookup:1855: inode #2: comm app: deleted inode referenced: {n}"
            ),
            out,
        ),
        4 => entry(n, 0, &format!("igb 0000:01:00.0 eth{group}: NIC Link is Down"), out),
        5 => entry(n, 0, &format!("NETDEV WATCHDOG: eth{group} (ixgbe): transmit queue 3 timed out"), out),
        7 => entry(n, 0, &format!("Kernel panic - not syncing: Fatal exception in worker{group}"), out),
        _ => entry(
            n,
            0,
            &format!(
                "app{group}: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)"
            ),
            out,
        ),
    }
}

/// An entry of the journal, as `journalctl --output=json` prints it.
fn entry(n: u64, part: u64, message: &str, out: &mut String) {
    let us = clock::now().mono_ns / 1000;
    let _ = writeln!(
        out,
        r#"{{"__CURSOR":"s=1;i={n}{part}","__MONOTONIC_TIMESTAMP":"{us}","_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","_SOURCE_MONOTONIC_TIMESTAMP":"{us}","MESSAGE":"{message}"}}"#
    );
}

/// The agent sees a journal of which `journalctl` prints what is written into `fifo`.
fn journal_from(home: &Home, fifo: &Path) -> Confine {
    assert!(Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
    let fake = home.file("journalctl");
    fs::write(&fake, format!("#!/bin/sh\ncase \"$*\" in *--follow*) exec cat {};; esac\n", fifo.display()))
        .expect("written");
    fs::set_permissions(&fake, Permissions::from_mode(0o755)).expect("a program");
    let script = format!(
        "mount --bind /dev/null /dev/kmsg && mount --bind {} /usr/bin/journalctl && mount -t tmpfs tmpfs /var/log && \
         mkdir -p /var/log/journal/$(cat /etc/machine-id) && : > /var/log/journal/$(cat /etc/machine-id)/system.journal",
        fake.display()
    );
    // Once a run of the test.
    Confine::Mounts(Box::leak(script.into_boxed_str()), vec!["--no-new-privs"])
}

/// As without a configuration, but with a log of the test's own, its sensors, and levels from the first reading on.
fn default_limits(sys: &Path) -> String {
    let a = &Config::default().alerting;
    format!(
        "[agent]\nlog_level = \"info\"\nsys_root = \"{}\"\n[log_analyzer]\nsources = [\"journal\"]\n\
         [alerting]\nstate_warmup_secs = 0\nmin_interval_secs = {}\nrate_limit_per_minute = {}\nmax_alerts_per_hour = {}\n\
         max_alerts_per_hour_total = {}\ndedup_window_secs = 600\n\
         [alerting.grouping]\nenabled = {}\nwindow_secs = {}",
        sys.display(),
        a.min_interval_secs,
        a.rate_limit_per_minute,
        a.max_alerts_per_hour,
        a.max_alerts_per_hour_total,
        a.grouping.enabled,
        a.grouping.window_secs,
    )
}

/// A `/sys` that is the machine's own but for its sensors.
fn make_sensors(root: &Path, celsius: u64) {
    let class = root.join("class");
    fs::create_dir_all(&class).expect("a directory");
    link_all(Path::new("/sys"), root, "class");
    link_all(Path::new("/sys/class"), &class, "hwmon");
    for n in 0..SENSORS {
        let chip = class.join(format!("hwmon/hwmon{n}"));
        fs::create_dir_all(&chip).expect("a directory");
        let fault = u8::from(celsius > 50);
        for (file, text) in [
            ("name", format!("chip{n}")),
            ("temp1_input", format!("{celsius}000")),
            ("temp1_crit", "100000".to_owned()),
            ("fan1_input", "0".to_owned()),
            ("fan1_fault", fault.to_string()),
        ] {
            fs::write(chip.join(file), text).expect("written");
        }
    }
}

fn link_all(from: &Path, to: &Path, but: &str) {
    for entry in fs::read_dir(from).expect("sysfs").flatten().filter(|e| e.file_name() != but) {
        let there: PathBuf = to.join(entry.file_name());
        if !there.exists() {
            symlink(entry.path(), there).expect("a link");
        }
    }
}

/// The sum of the counters whose name begins so, as the agent's last words tell them.
fn total(log: &str, name: &str) -> u64 {
    let (_, counted) = log.rsplit_once("counted since the start: ").expect("the last words");
    let counters = counted.lines().next().unwrap_or_default().split(", ");
    counters.filter(|c| c.starts_with(name)).filter_map(|c| c.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Resident memory of a process, kB.
struct Memory {
    now: u64,
    peak: u64,
    /// Without what is read of files.
    own: u64,
}

fn rss(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let value = |key: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(key)?.trim().trim_end_matches(" kB").parse().ok())
            .expect("kB")
    };
    Memory { now: value("VmRSS:"), peak: value("VmHWM:"), own: value("RssAnon:") }
}

/// Processor time of a process, seconds.
fn cpu(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let after = text.rsplit_once(") ").expect("a name").1;
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
