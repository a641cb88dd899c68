//! The small readers that every Linux has: `free`, `df`, `vmstat -s`, `ss`, `ps`, `uptime`, `nproc`.

use std::collections::BTreeMap;
use std::process::Command;

use sysops_agent::config::Config;
use sysops_agent::host::glob::Globs;
use sysops_agent::sample::ProcTable;

use super::rows::{Allowed, Theirs};

/// What a program prints, in no language.
pub(crate) fn printed(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).env("LC_ALL", "C").env("S_TIME_FORMAT", "ISO").output();
    let out = out.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn number(word: &str) -> f64 {
    word.trim_end_matches(['%', ',']).parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}

/// Pages come and go between two readings.
const PAGES: Allowed = Allowed::By(64e6);
const MOMENT: &str = "the moment differs: memory is taken and given back between the readings";

/// `free -b`: total, used, free, shared, buff/cache, available.
pub(crate) fn free() -> Vec<Theirs> {
    let text = printed("free", &["-b"]);
    let row = |name: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.split_whitespace().map(number).collect()
    };
    let (memory, swap) = (row("Mem:"), row("Swap:"));
    let one = |what: &str, value: f64, ours: &str, allowed| Theirs {
        tool: "free",
        what: what.into(),
        ours: ours.into(),
        value,
        allowed,
        why: MOMENT,
    };
    let mut all = vec![
        one("total", memory[0], "memory_total_bytes", Allowed::Nothing),
        one("used", memory[1], "memory_used_bytes", PAGES),
        one("free", memory[2], "memory_free_bytes", PAGES),
        one("shared", memory[3], "memory_shared_bytes", PAGES),
        one(
            "buff/cache",
            memory[4],
            "memory_buffers_bytes + memory_cached_bytes + memory_slab_reclaimable_bytes",
            PAGES,
        ),
        one("available", memory[5], "memory_available_bytes", PAGES),
        one("swap total", swap[0], "swap_total_bytes", Allowed::Nothing),
    ];
    if swap[0] > 0.0 {
        all.push(one("swap used", swap[1], "swap_used_bytes", PAGES));
        all.push(one("swap free", swap[2], "swap_free_bytes", PAGES));
    }
    all
}

/// `df` with inodes, for all that the configuration does not leave out.
pub(crate) fn df() -> Vec<Theirs> {
    const ROUNDED: &str = "df rounds up to whole percent";
    const WRITTEN: &str = "the moment differs: files are written between the readings";
    const COLUMNS: &str = "--output=source,fstype,size,used,avail,pcent,itotal,iused,iavail,ipcent,target";
    let exclude = Globs::new(&Config::default().collector.exclude_fstypes);
    let mut all = Vec::new();
    for line in printed("df", &["-B1", COLUMNS]).lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [source, fstype, numbers @ .., target] = &words[..] else { panic!("{line}") };
        if exclude.matches(fstype) {
            continue;
        }
        let used = |at: usize, ours: &str, allowed, why| {
            let ours = format!("{ours}{{{target},{source},{fstype}}}");
            let what = format!(
                "{} of {target}",
                ["size", "used", "avail", "pcent", "itotal", "iused", "iavail", "ipcent"][at]
            );
            Theirs { tool: "df", what, ours, value: number(numbers[at]), allowed, why }
        };
        all.extend([
            used(0, "disk_total_bytes", Allowed::Nothing, ""),
            used(1, "disk_used_bytes", PAGES, WRITTEN),
            used(2, "disk_available_bytes", PAGES, WRITTEN),
            used(3, "disk_used_percent", Allowed::By(1.0), ROUNDED),
        ]);
        if numbers[4] != "0" {
            all.extend([
                used(4, "disk_inodes_count", Allowed::Nothing, ""),
                used(6, "disk_inodes_free_count", Allowed::By(1000.0), WRITTEN),
                used(7, "disk_inode_used_percent", Allowed::By(1.0), ROUNDED),
            ]);
        }
    }
    all
}

/// Line of `vmstat -s`, our name, and what one of theirs is of ours.
const VMSTAT: [(&str, &str, f64); 17] = [
    ("non-nice user cpu ticks", "cpu_mode_seconds_total{user}", 0.01),
    ("nice user cpu ticks", "cpu_mode_seconds_total{nice}", 0.01),
    ("system cpu ticks", "cpu_mode_seconds_total{system}", 0.01),
    ("idle cpu ticks", "cpu_mode_seconds_total{idle}", 0.01),
    ("IO-wait cpu ticks", "cpu_mode_seconds_total{iowait}", 0.01),
    ("IRQ cpu ticks", "cpu_mode_seconds_total{irq}", 0.01),
    ("softirq cpu ticks", "cpu_mode_seconds_total{softirq}", 0.01),
    ("stolen cpu ticks", "cpu_mode_seconds_total{steal}", 0.01),
    ("non-nice guest cpu ticks", "cpu_guest_seconds_total{user}", 0.01),
    ("K paged in", "paged_in_bytes_total", 1024.0),
    ("K paged out", "paged_out_bytes_total", 1024.0),
    ("pages swapped in", "swap_in_bytes_total", 4096.0),
    ("pages swapped out", "swap_out_bytes_total", 4096.0),
    ("interrupts", "interrupts_total", 1.0),
    ("CPU context switches", "context_switches_total", 1.0),
    ("boot time", "boot_time_seconds", 1.0),
    ("forks", "forks_total", 1.0),
];

/// `vmstat -s`: counters since the boot.
pub(crate) fn vmstat() -> Vec<Theirs> {
    let text = printed("vmstat", &["-s"]);
    let find = |what: &str| {
        let line = text.lines().find(|line| {
            line.trim_start().split_once(' ').is_some_and(|(_, rest)| rest.trim_start() == what)
        });
        number(line.expect(what).split_whitespace().next().expect(what))
    };
    VMSTAT
        .iter()
        .map(|(what, ours, scale)| Theirs {
            tool: "vmstat -s",
            what: (*what).into(),
            ours: (*ours).into(),
            value: find(what) * scale,
            // The kernel adds idle and waiting time up by guess where a CPU sleeps: it may go back a tick.
            allowed: if what.contains("cpu ticks") { Allowed::By(0.05) } else { Allowed::Nothing },
            why: "idle and waiting time of a sleeping CPU is counted when it wakes up",
        })
        .collect()
}

/// States as `ss` writes them, and our names.
const STATES: [(&str, &str); 9] = [
    ("LISTEN", "listen"),
    ("ESTAB", "established"),
    ("TIME-WAIT", "time_wait"),
    ("CLOSE-WAIT", "close_wait"),
    ("SYN-SENT", "syn_sent"),
    ("FIN-WAIT-1", "fin_wait1"),
    ("FIN-WAIT-2", "fin_wait2"),
    ("LAST-ACK", "last_ack"),
    ("CLOSING", "closing"),
];

/// `ss`: TCP sockets by state; what some processes listen on, with the length of its queue. Those of others may be gone
/// at any moment.
pub(crate) fn ss(pids: &[u32]) -> Vec<Theirs> {
    const MOMENT: &str = "the moment differs: connections come and go between the readings";
    let text = printed("ss", &["-tanH"]);
    let count = |state: &str| text.lines().filter(|line| line.starts_with(state)).count() as f64;
    let mut all: Vec<Theirs> = STATES
        .iter()
        .map(|(theirs, ours)| Theirs {
            tool: "ss",
            what: (*theirs).into(),
            ours: format!("tcp_sockets_count{{{ours}}}"),
            value: count(theirs),
            allowed: Allowed::By(2.0),
            why: MOMENT,
        })
        .collect();
    let mut ports: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    let own = |line: &&str| pids.iter().any(|pid| line.contains(&format!(",pid={pid},")));
    for line in printed("ss", &["-ltnpH"]).lines().filter(own) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, port) = words[3].rsplit_once(':').expect("an address");
        let address = match address.trim_matches(['[', ']']) {
            "*" => "::",
            address => address.split('%').next().expect("an address"),
        };
        let process = line.split("users:((\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
        let sums = ports.entry(format!("{{{port},{address},{process}}}")).or_default();
        sums[0] += number(words[1]);
        sums[1] = sums[1].max(number(words[2]));
    }
    for (labels, [queued, most]) in ports {
        for (what, value) in [("queue", queued), ("queue_max", most)] {
            all.push(Theirs {
                tool: "ss",
                what: format!("{what} of {labels}"),
                ours: format!("listening_port_{what}_count{labels}"),
                value,
                allowed: Allowed::Nothing,
                why: "",
            });
        }
    }
    all
}

/// `ps`: processes, threads, states.
pub(crate) fn ps() -> Vec<Theirs> {
    const ITSELF: &str = "ps counts itself; processes come and go between the readings";
    let text = printed("ps", &["-eo", "stat=,nlwp="]);
    let rows: Vec<(&str, f64)> =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(s, n)| (s, number(n.trim()))).collect();
    let one = |what: &str, ours: &str, value: f64, allowed| Theirs {
        tool: "ps",
        what: what.into(),
        ours: ours.into(),
        value,
        allowed: Allowed::By(allowed),
        why: ITSELF,
    };
    let state = |letters: &str| {
        rows.iter().filter(|(state, _)| state.starts_with(|c| letters.contains(c))).count() as f64
    };
    vec![
        one("processes", "processes_count", rows.len() as f64, 5.0),
        one("threads", "processes_threads_count", rows.iter().map(|(_, n)| n).sum(), 20.0),
        one("state S", "processes_state_count{sleeping}", state("S"), 5.0),
        one("state I", "processes_state_count{idle}", state("I"), 5.0),
        one("state Z", "processes_state_count{zombie}", state("Z"), 2.0),
        one("state T", "processes_state_count{stopped}", state("Tt"), 2.0),
    ]
}

/// Resident memory of some processes, under the names that `rss` gives ours.
pub(crate) fn ps_memory(pids: &[u32]) -> Vec<Theirs> {
    const COUNTED: &str =
        "/proc/PID/stat leaves out what each CPU has counted by itself, up to 32 pages a counter";
    let list = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let text = printed("ps", &["-o", "pid=,comm=,rss=", "-p", &list]);
    // Files, anonymous and shared memory are counted apart.
    let apart = 3.0 * 32.0 * 4096.0 * number(printed("nproc", &["--all"]).trim());
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [pid, comm, .., kib] = &words[..] else { panic!("{line}") };
            Theirs {
                tool: "ps",
                what: format!("rss of {comm}"),
                ours: format!("rss of pid {pid}"),
                value: number(kib) * 1024.0,
                allowed: Allowed::By(apart + 1e6),
                why: COUNTED,
            }
        })
        .collect()
}

/// Resident memory of all processes as ours are named there.
pub(crate) fn rss(processes: &ProcTable) -> impl Iterator<Item = (String, f64)> + '_ {
    processes.rows.iter().map(|row| (format!("rss of pid {}", row.pid), row.rss_bytes as f64))
}

/// `uptime`, `uptime -s`, `nproc`.
pub(crate) fn uptime() -> Vec<Theirs> {
    const OLD: &str = "uptime rounds to two decimals; the average moves every five seconds";
    let text = printed("uptime", &[]);
    let averages = text.rsplit_once("load average: ").expect("averages").1;
    let mut all: Vec<Theirs> = ["load_1min", "load_5min", "load_15min"]
        .iter()
        .zip(averages.split(", "))
        .map(|(ours, value)| Theirs {
            tool: "uptime",
            what: ours.replace("load_", "load average of "),
            ours: (*ours).into(),
            value: number(value.trim()),
            allowed: Allowed::By(0.01),
            why: OLD,
        })
        .collect();
    let since = printed("uptime", &["-s"]);
    let since: jiff::civil::DateTime = since.trim().replace(' ', "T").parse().expect("a date");
    let zone = since.to_zoned(jiff::tz::TimeZone::system()).expect("a moment");
    all.push(Theirs {
        tool: "uptime",
        what: "since".into(),
        ours: "boot_time_seconds".into(),
        value: zone.timestamp().as_second() as f64,
        allowed: Allowed::By(1.0),
        why: "uptime takes the time since the boot from the clock of now, and rounds",
    });
    all.push(Theirs {
        tool: "nproc",
        what: "CPUs".into(),
        ours: "cpu_online_count".into(),
        value: number(printed("nproc", &[]).trim()),
        allowed: Allowed::Nothing,
        why: "",
    });
    all
}
