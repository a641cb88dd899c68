//! Files of `/proc` and `/sys`: every collector, the inventory and the questions about a task, on a machine written
//! as text (`//- /proc/stat`, then its content).

use std::sync::Arc;
use std::time::Duration;

use sysops_agent::cgroup::owner;
use sysops_agent::collect::{COLLECTORS, Entry};
use sysops_agent::config::Config;
use sysops_agent::engine::series::Series;
use sysops_agent::engine::{Engine, Input};
use sysops_agent::event::{Event, Hang, Oom, Source, Task, What};
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::parse::{count_of_list, decimal, number};
use sysops_agent::inventory::{self, changes::Parts};
use sysops_agent::metric::Unit;
use sysops_agent::sample::Samples;
use sysops_agent::watch::enrich::{Enricher, MAX_CMDLINE};

use super::pipe::{NOW, alerts, engine, tell};

/// Series of a pass at most; more are refused, as on a real machine.
const MAX_SERIES: usize = 2000;
/// Longest value of a label, bytes: a path may be long.
const MAX_LABEL: usize = 16 << 10;

/// All files but the table of mounts.
pub(crate) fn files(data: &[u8]) {
    let host = host(data);
    collect([&host, &turned(data)], |entry| entry.name != "filesystem");
    let options = inventory::Options::of(&Config::default());
    let found = inventory::collect(&host, &options, NOW);
    let json = serde_json::to_vec(&found).expect("an inventory is JSON");
    assert!(json.len() <= 64 * data.len() + 4096, "{} bytes of {}", json.len(), data.len());
    tell(tasks(&host));
}

/// The firmware's tables, and what has changed where there were none before.
pub(crate) fn smbios(data: &[u8]) {
    let host = FixtureHost::default();
    let options = inventory::Options::of(&Config::default());
    let parts = |host: &FixtureHost| {
        let found = inventory::collect(host, &options, NOW);
        let json = serde_json::to_vec(&found).expect("an inventory is JSON");
        // An empty string costs a table two bytes, and the shortest module some twenty.
        assert!(json.len() <= 64 * data.len() + 4096, "{} bytes of {}", json.len(), data.len());
        Parts::of(host, &found, String::new())
    };
    host.set("/sys/firmware/dmi/tables/DMI", [17, 4, 0, 0, 0, 0]);
    let before = parts(&host);
    host.set("/sys/firmware/dmi/tables/DMI", data);
    let mut after = parts(&host);
    if let Some(change) = before.change_to(&mut after) {
        let what = What::HostChange(Box::new(change));
        tell(vec![Event { at: NOW, source: Source::Inventory, historic: false, what }]);
    }
    assert_eq!(after.change_to(&mut after.clone()), None);
}

/// CHECK POWER MODE, SMART READ DATA, SMART RETURN STATUS.
const ATA_COMMANDS: [&str; 3] = [
    "8506200000000000000000000000e500",
    "85080e00d000010000004f00c200b000",
    "85062000da00000000004f00c200b000",
];

/// LOG SENSE of the pages that are looked at.
const SCSI_PAGES: [u8; 8] = [0x00, 0x02, 0x03, 0x05, 0x0d, 0x0e, 0x15, 0x2f];
/// REQUEST SENSE and READ DEFECT DATA.
const SCSI_COMMANDS: [&str; 2] = ["03000000120000000000000000000000", "37000b00000000000400000000000000"];

/// What disks answer: a log page, and after it a length and the sense data of every ATA command, and all answers of a SCSI
/// disk, whose list of pages is whole.
pub(crate) fn disk_health(data: &[u8]) {
    let host = FixtureHost::default();
    host.set("/sys/block/nvme0n1/size", "1");
    host.set("/sys/block/sda/device/vendor", "ATA");
    host.set("/sys/block/sda/queue/rotational", "1");
    host.set("/dev/nvme0n1#log2", data);
    for command in ATA_COMMANDS {
        host.set(&format!("/dev/sda#{command}"), data);
    }
    host.set("/sys/block/sdb/device/type", "0");
    host.set("/sys/block/sdb/queue/rotational", if data.len().is_multiple_of(2) { "1" } else { "0" });
    for command in SCSI_COMMANDS {
        host.set(&format!("/dev/sdb#{command}"), data);
    }
    let list = [&[0, 0, 0, 0, 8][..], &SCSI_PAGES].concat();
    for page in SCSI_PAGES {
        let answer = if page == 0 { &list[..] } else { data };
        host.set(&format!("/dev/sdb#4d00{:02x}0000000000fc{:0<14}", 0x40 | page, ""), answer);
    }
    let entry = COLLECTORS.iter().find(|entry| entry.name == "smart").expect("it is in the table");
    pass_twice([&host, &host], entry, &Config::default(), (&mut engine(), &mut Samples::new(MAX_SERIES)));
}

/// The table of mounts. Asks for each in a thread of its own, so it stands apart.
pub(crate) fn mounts(data: &[u8]) {
    collect([&host(data), &turned(data)], |entry| entry.name == "filesystem");
}

/// The machine with every digit turned (0 for 9, 1 for 8 …) in what its files hold: counters that grew, shrank, wrapped.
fn turned(data: &[u8]) -> FixtureHost {
    let turn = |line: &[u8]| -> Vec<u8> {
        if line.starts_with(b"//-") {
            return line.to_vec();
        }
        line.iter().map(|byte| if byte.is_ascii_digit() { b'0' + b'9' - byte } else { *byte }).collect()
    };
    let lines: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(turn).collect();
    host(&lines.join(&b'\n'))
}

/// Two passes, ten seconds apart, and what the engine makes of them.
fn collect(hosts: [&FixtureHost; 2], wanted: impl Fn(&Entry) -> bool) {
    let config = Config::default();
    // One table of series for all, as in the agent: their numbers are the engine's.
    let (mut engine, mut samples) = (engine(), Samples::new(MAX_SERIES));
    for entry in COLLECTORS.iter().filter(|entry| wanted(entry)) {
        pass_twice(hosts, entry, &config, (&mut engine, &mut samples));
    }
}

fn pass_twice(
    hosts: [&FixtureHost; 2],
    entry: &Entry,
    config: &Config,
    (engine, samples): (&mut Engine, &mut Samples),
) {
    assert!((entry.pace)(config) > Duration::ZERO);
    let mut collector = (entry.make)(config);
    for (pass, host) in (1..).zip(hosts) {
        samples.begin(entry.name, NOW.plus_secs(10 * pass), None);
        if let Err(why) = collector.collect(host, samples) {
            super::pipe::harmless("the reason", &why.to_string(), 1024);
        }
        digest(engine, samples);
    }
}

fn digest(engine: &mut Engine, samples: &mut Samples) {
    let mut batch = samples.finish();
    assert!(samples.len() <= MAX_SERIES);
    for def in &batch.defs {
        assert!(def.labels.iter().all(|value| value.len() <= MAX_LABEL), "{def:?}");
    }
    assert!(batch.samples.iter().all(|(_, value)| value.is_finite()), "{:?}", batch.samples);
    let mut out = Vec::new();
    let at = batch.at;
    engine.step(at, Input::Batch(&mut batch), &mut out);
    alerts(out);
    for (_, series) in engine.series().iter().filter(|(_, series)| series.at_ns == at.mono_ns) {
        possible(series);
    }
}

/// Shares that may rightly exceed 100 %: of one CPU, of a promised life, of a limit that is no hard one.
const MAY_EXCEED: [&str; 5] = [
    "cgroup_cpu_percent",
    "cgroup_cpu_throttled_percent",
    "process_cpu_percent",
    "smart_used_percent",
    "gpu_power_percent",
];

/// No rate is negative, and no share outside of 0 to 100 %.
fn possible(series: &Series) {
    let (metric, value) = (series.metric, series.value);
    let rate = matches!(metric.unit, Unit::PerSecond | Unit::BytesPerSecond);
    assert!(!rate || value >= 0.0, "{} is {value}", metric.name);
    let share = metric.unit == Unit::Percent && !MAY_EXCEED.contains(&metric.name);
    assert!(!share || (0.0..=100.0).contains(&value), "{} is {value}", metric.name);
}

/// A kill and a hang of tasks of this machine, with what `/proc` tells of them.
fn tasks(host: &FixtureHost) -> Vec<Event> {
    let mut enricher = Enricher::new(Arc::new(host.clone()));
    let task = |pid| Task { pid: Some(pid), ..Task::default() };
    let oom = Oom { victim: task(7), trigger: task(8), count: 1, ..Oom::default() };
    let named = Oom { victim: task(9), oom_memcg: Some("/a".into()), count: 1, ..Oom::default() };
    let hang = Hang { task: task(8), ..Hang::default() };
    let all = [What::Oom(Box::new(oom)), What::Oom(Box::new(named)), What::Hang(Box::new(hang))];
    all.into_iter()
        .map(|what| {
            let mut event = Event { at: NOW, source: Source::Ebpf, historic: false, what };
            enricher.enrich(&mut event);
            if let What::Oom(oom) = &event.what {
                let cmdline = oom.victim.cmdline.as_ref();
                assert!(cmdline.is_none_or(|line| line.len() <= 3 * MAX_CMDLINE), "{cmdline:?}");
            }
            event
        })
        .collect()
}

/// The machine that the input describes. A file's content is taken as it is, any bytes.
pub(crate) fn host(data: &[u8]) -> FixtureHost {
    let host = FixtureHost::default();
    let mut file: Option<(String, Vec<u8>)> = None;
    let store = |file: Option<(String, Vec<u8>)>| file.map(|(path, content)| host.set(&path, content));
    for line in data.split_inclusive(|&b| b == b'\n') {
        let header = line.strip_prefix(b"//- ").and_then(|rest| std::str::from_utf8(rest).ok());
        match (header.map(str::trim), &mut file) {
            (Some(path), _) if path.starts_with('/') && !path.contains(char::is_whitespace) => {
                store(file.replace((path.to_owned(), Vec::new())));
            }
            // A filesystem that hangs would hang this too.
            (Some(other), _) if !other.contains("hang") => {
                store(file.take());
                let _ = host.apply(&format!("//- {other}"));
            }
            (_, Some((_, content))) => content.extend_from_slice(line),
            (_, None) => {}
        }
    }
    store(file);
    host
}

/// Paths of control groups, one a line.
pub(crate) fn cgroup_path(data: &[u8]) {
    for path in String::from_utf8_lossy(data).lines().take(64) {
        let owner = owner(path);
        for part in [&owner.unit, &owner.slice].into_iter().flatten() {
            assert!(path.contains(part.as_str()), "{part:?} is not of {path:?}");
        }
        if let Some(container) = &owner.container {
            assert!(container.short_id().len() <= container.id.len() && !container.runtime.is_empty());
            assert!(container.id.len() <= path.len() * 3, "{container:?}");
        }
        if let Some(uid) = &owner.pod_uid {
            assert!(matches!(uid.len(), 32 | 36) && uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
        }
        let victim = Task { pid: Some(1), cgroup: Some(path.to_owned()), ..Task::default() };
        let oom =
            Oom { victim: victim.clone(), oom_memcg: Some(path.to_owned()), count: 1, ..Oom::default() };
        let hang = Hang { task: victim, ..Hang::default() };
        let all = [What::Oom(Box::new(oom)), What::Hang(Box::new(hang))];
        tell(all.map(|what| Event { at: NOW, source: Source::Ebpf, historic: false, what }).into());
    }
}

/// Words and lists of numbers, compared with other ways to read them.
pub(crate) fn numbers(data: &[u8]) {
    for word in data.split(|&b| b == b'\n').take(64) {
        let text = std::str::from_utf8(word).unwrap_or("x");
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        assert_eq!(number(word), if digits { text.parse().ok() } else { None }, "{text}");
        assert!(decimal(word).is_none_or(|value| value >= 0.0 && text.parse::<f64>() == Ok(value)), "{text}");
        let count = |range: &str| -> Option<u64> {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(last.as_bytes())?.checked_sub(number(first.as_bytes())?)?.checked_add(1)
        };
        let list = text.trim_matches(|c: char| c.is_ascii_whitespace()).split(',');
        let all = list.map(count).try_fold(0_u64, |sum, n| sum.checked_add(n?));
        assert_eq!(count_of_list(word), all, "{text}");
    }
}
