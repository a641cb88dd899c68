//! Rates over the same two seconds: `vmstat`, `iostat`, `sar` beside our own.

use std::process::{Child, Command, Stdio};

use super::rows::{Allowed, Theirs};

/// Seconds they look.
const SECONDS: &str = "2";

/// Starts a program that looks for so long.
fn start(program: &str, args: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env("S_TIME_FORMAT", "ISO").stdout(Stdio::piped());
    command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn end(child: Child) -> String {
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const WINDOW: &str = "they begin and end some milliseconds later than we do";

fn one(tool: &'static str, what: &str, ours: String, value: f64, allowed: Allowed) -> Theirs {
    Theirs { tool, what: what.to_owned(), ours, value, allowed, why: WINDOW }
}

/// All three at once.
pub(crate) fn read(disk: &str) -> Vec<Theirs> {
    let vmstat = start("vmstat", &["-y", "-w", SECONDS, "1"]);
    let iostat = start("iostat", &["-x", "-k", "-y", "-d", "-o", "JSON", disk, SECONDS, "1"]);
    let sar = start("sar", &["-n", "DEV", SECONDS, "1"]);
    let (vmstat, iostat, sar) = (end(vmstat), end(iostat), end(sar));
    let mut all = of_vmstat(&vmstat);
    all.extend(of_iostat(&iostat, disk));
    all.extend(of_sar(&sar, "lo"));
    all
}

fn of_vmstat(text: &str) -> Vec<Theirs> {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let names = lines.iter().find(|words| words.contains(&"us")).expect("names");
    let values = lines.last().expect("values");
    let value = |name: &str| -> f64 {
        let at = names.iter().position(|known| *known == name).expect(name);
        values[at].parse().expect("a number")
    };
    let percent = |name: &str, ours: &str| {
        let ours = ours.split(' ').map(|mode| format!("cpu_mode_percent{{{mode}}}")).collect::<Vec<_>>();
        Theirs {
            why: "vmstat rounds to whole percent, and looks some milliseconds later",
            ..one("vmstat", name, ours.join(" + "), value(name), Allowed::By(5.0))
        }
    };
    let rate =
        |name: &str, ours: &str| one("vmstat", name, ours.to_owned(), value(name), Allowed::Share(0.2));
    vec![
        percent("us", "user nice"),
        percent("sy", "system irq softirq"),
        percent("id", "idle"),
        percent("wa", "iowait"),
        percent("st", "steal"),
        rate("in", "interrupts_per_second"),
        rate("cs", "context_switches_per_second"),
        rate("si", "swap_in_bytes_per_second"),
        rate("so", "swap_out_bytes_per_second"),
    ]
}

fn of_iostat(text: &str, disk: &str) -> Vec<Theirs> {
    let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let row = &json["sysstat"]["hosts"][0]["statistics"][0]["disk"][0];
    assert_eq!(row["disk_device"], disk, "{text}");
    let pair = |name: &str, ours: &str, scale: f64, allowed| {
        let value = row[name].as_f64().unwrap_or_else(|| panic!("{name}: {text}"));
        one("iostat", name, format!("{ours}{{{disk}}}"), value * scale, allowed)
    };
    vec![
        pair("r/s", "disk_reads_per_second", 1.0, Allowed::Share(0.1)),
        pair("w/s", "disk_writes_per_second", 1.0, Allowed::Share(0.1)),
        pair("rkB/s", "disk_read_bytes_per_second", 1024.0, Allowed::Share(0.1)),
        pair("wkB/s", "disk_written_bytes_per_second", 1024.0, Allowed::Share(0.1)),
        pair("r_await", "disk_read_await_ms", 1.0, Allowed::By(0.5)),
        pair("w_await", "disk_write_await_ms", 1.0, Allowed::By(0.5)),
        pair("util", "disk_busy_percent", 1.0, Allowed::By(5.0)),
    ]
}

fn of_sar(text: &str, interface: &str) -> Vec<Theirs> {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Average:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let names = lines.first().expect("names");
    let values = lines.iter().find(|words| words[1] == interface).expect("the interface");
    let pair = |name: &str, ours: &str, scale: f64| {
        let at = names.iter().position(|known| *known == name).expect(name);
        let value: f64 = values[at].parse().expect("a number");
        one(
            "sar",
            &format!("{name} of {interface}"),
            format!("{ours}{{{interface}}}"),
            value * scale,
            Allowed::Share(0.1),
        )
    };
    vec![
        pair("rxpck/s", "network_receive_packets_per_second", 1.0),
        pair("txpck/s", "network_transmit_packets_per_second", 1.0),
        pair("rxkB/s", "network_receive_bytes_per_second", 1024.0),
        pair("txkB/s", "network_transmit_bytes_per_second", 1024.0),
    ]
}
