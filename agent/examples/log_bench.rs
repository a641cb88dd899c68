//! What the log rules cost: bytes a second of text that nobody wants, and nanoseconds a line that a rule names.
//! `cargo xtask bench logs` builds and runs it.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use jiff::tz::TimeZone;
use sysops_agent::time::{Now, SECOND};
use sysops_agent::watch::catalogue;
use sysops_agent::watch::rules::{Custom, RuleSet};
use sysops_agent::watch::scan::{Resume, Scanner};
use sysops_agent::watch::syslog::read::Reader;

/// Bytes of text that are looked at in a run.
const TEXT: usize = 64 << 20;
/// Runs, of which the best counts.
const RUNS: usize = 5;
const NOW: Now = Now { mono_ns: 100_000 * SECOND, wall_ns: 1_795_355_130_000_000_000 };

const KERNEL: &[&str] = &[
    "usb 1-1: new high-speed USB device number 2 using xhci_hcd",
    "EXT4-fs (sda1): mounted filesystem with ordered data mode. Opts: (null)",
    "IPv6: ADDRCONF(NETDEV_CHANGE): eth0: carrier becomes ready",
    "br0: port 1(veth1a2b3c) entered forwarding state",
    "audit: type=1400 audit(1632312312.123:457): apparmor=\"ALLOWED\" operation=\"open\" pid=1 comm=\"x\" requested_mask=\"r\"",
    "pci 0000:00:1f.3: [8086:a348] type 00 class 0x040300",
    "systemd[1]: Mounted Kernel Configuration File System.",
    "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x2b3e459bf4c, max_idle_ns: 440795289890 ns",
];
const PROGRAMS: &[&str] = &[
    "sshd[4711]: Accepted publickey for deploy from 10.0.0.7 port 51234 ssh2: ED25519 SHA256:abcdefghijklmnopqrstuvwxyz",
    "CRON[812]: (root) CMD (test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily ))",
    "systemd[1]: Started Daily apt download activities.",
    "nginx: 10.0.0.9 - - \"GET /api/v1/items?page=3 HTTP/1.1\" 200 5120 \"-\" \"curl/8.5.0\"",
];

fn main() {
    let rules = RuleSet::new(&[], true).expect("the built-in rules");
    println!(
        "{} rules, {} KiB for their literals\n",
        catalogue::rules().count(),
        rules.literal_bytes() >> 10
    );
    println!("| text | MB/s | ns a line |\n|---|---|---|");
    let kernel = text(KERNEL, "");
    row("kernel, no line is for a rule", kernel.len(), lines(&kernel), || {
        kernel.lines().for_each(|line| rules.find(line, &mut |found| drop(black_box(found))));
    });
    let mut scanner = Scanner::new(
        Arc::new(RuleSet::new(&[], true).expect("the built-in rules")),
        Resume::After { seq: 0 },
    );
    let mut events = Vec::new();
    row("kernel, as records of /dev/kmsg are judged", kernel.len(), lines(&kernel), || {
        kernel.lines().for_each(|line| scanner.relayed(90_000_000_000, line, &|_| None, NOW, &mut events));
    });
    assert!(events.is_empty(), "{events:?}");
    let of_kernel = text(KERNEL, "Nov 22 13:45:29 web-1 kernel: [99000.000001] ");
    let mut reader = Reader::new(Arc::new(RuleSet::new(&[], true).expect("rules")), true, TimeZone::UTC);
    row("syslog of the kernel, no line is for a rule", of_kernel.len(), lines(&of_kernel), || {
        of_kernel.as_bytes().chunks(256 << 10).for_each(|block| reader.take(block, NOW, &mut events));
    });
    let mixed = text(PROGRAMS, "Nov 22 13:45:29 web-1 ");
    let syslog = |name: &str, custom: &[Custom<'_>]| {
        let rules = Arc::new(RuleSet::new(custom, true).expect("patterns"));
        let mut reader = Reader::new(rules, true, TimeZone::UTC);
        let mut out = Vec::new();
        row(name, mixed.len(), lines(&mixed), || {
            mixed.as_bytes().chunks(256 << 10).for_each(|block| reader.take(block, NOW, &mut out));
        });
    };
    syslog("syslog of programs, no pattern", &[]);
    let own =
        Custom { name: "own", pattern: "FATAL.*database", severity: sysops_agent::alert::Severity::Warn };
    syslog("syslog of programs, one pattern that no line matches", &[own]);
    let hits: Vec<&str> = catalogue::rules().flat_map(|rule| rule.hits).copied().collect();
    let all = text(&hits, "");
    let all: String = all.split_inclusive('\n').take(100_000).collect();
    row("kernel, every line is for a rule", all.len(), lines(&all), || {
        all.lines().for_each(|line| rules.find(line, &mut |found| drop(black_box(found))));
    });
    let flood = "Nov 22 13:45:29 web-1 kernel: [99000.000001] EXT4-fs error (device sda1): ext4_lookup:1: inode #2: x\n";
    let flood = flood.repeat(100_000);
    let mut reader = Reader::new(Arc::new(rules), true, TimeZone::UTC);
    let mut out = Vec::new();
    row("syslog, a flood of one error", flood.len(), lines(&flood), || {
        reader.take(flood.as_bytes(), NOW, &mut out);
    });
    println!("\n{} events of {} lines of the flood", out.len(), (RUNS + 1) * lines(&flood));
}

/// Lines over and over, each with its number.
fn text(lines: &[&str], head: &str) -> String {
    let mut text = String::with_capacity(TEXT + 1024);
    for (n, line) in lines.iter().cycle().enumerate() {
        if text.len() >= TEXT {
            break;
        }
        text.push_str(head);
        text.push_str(line);
        if head.is_empty() && lines.len() > 100 {
            text.push('\n');
        } else {
            // Writing to a string cannot fail.
            let _ = writeln!(text, " {n}");
        }
    }
    text
}

fn lines(text: &str) -> usize {
    text.lines().count()
}

/// Processor time of this thread, seconds: what else runs on the machine is not counted.
fn processor_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn row(name: &str, bytes: usize, lines: usize, mut run: impl FnMut()) {
    run();
    let best = (0..RUNS).map(|_| {
        let begin = processor_time();
        run();
        processor_time() - begin
    });
    let best = best.fold(f64::MAX, f64::min);
    println!("| {name} | {:.0} | {:.0} |", bytes as f64 / best / 1e6, best * 1e9 / lines as f64);
}
