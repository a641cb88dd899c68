use super::*;
use crate::event::LogMatch;

fn window(p99_ms: f64) -> DiskWindow {
    DiskWindow {
        device: "nvme0n1".into(),
        op: "write",
        errors: 3,
        latency: Some(Latency { requests: 900, p99_ms, max_ms: 2.0 * p99_ms, ..Latency::default() }),
        queue: Some(Latency { requests: 20, p99_ms: 7.0, ..Latency::default() }),
        scene: None,
    }
}

fn scene() -> DiskScene {
    let task = |pid, comm: &str, cgroup: &str| Task {
        pid: Some(pid),
        comm: Some(comm.into()),
        cgroup: Some(cgroup.into()),
        ..Task::default()
    };
    let issuers = vec![
        Issuer { task: task(4711, "postgres", "/system.slice/postgresql.service"), requests: 812, bytes: 9 },
        Issuer { task: task(7, "x\n\x1b[31m@everyone", "/"), requests: 88, bytes: 8 },
    ];
    let group = |path: &str, requests| IssuerGroup { path: path.into(), requests, bytes: 9 };
    let groups = vec![group("/", 910), group("/system.slice/postgresql.service", 820)];
    let (model, in_flight) = (Some("SAMSUNG MZQL2\n".into()), Some((3, 9)));
    DiskScene { model, in_flight, issuers, groups, requests: 1031, issuers_secs: 9 }
}

fn told(severity: Severity, limit_ms: Option<f64>, scene: Option<&DiskScene>) -> Draft {
    let window = window(640.0);
    let now = Now { mono_ns: 100 * SECOND, wall_ns: 0 };
    let started = Now { mono_ns: 70 * SECOND, wall_ns: 0 };
    let (status, usual_ms) = (Status::Firing, Some(16.0));
    let finding = Finding { window: &window, scene, severity, status, limit_ms, usual_ms, started };
    slow_disk(&finding, "id".into(), now)
}

#[test]
fn a_slow_disk_names_what_a_person_asks_first() {
    let draft = told(Severity::Warn, Some(500.0), Some(&scene()));
    assert_eq!(
        draft.message,
        "Slow disk: the slowest 1 % of writes on nvme0n1 (SAMSUNG MZQL2) took 640 ms or more, over 500 ms for 30 s; \
         12 in flight; 3 errors; most requests by postgres (pid 4711, postgresql.service): 812 of 1031; \
         most from postgresql.service: 820 of 1031"
    );
    assert_eq!(
        draft.labels,
        BTreeMap::from([("device".into(), "nvme0n1".into()), ("op".into(), "write".into())])
    );
    assert_eq!(
        (&*draft.metric, draft.value, draft.threshold),
        ("block_io_latency_p99_ms", 640.0, Some(500.0))
    );
    let issuers = draft.context["issuers"].as_array().expect("a list");
    assert_eq!(issuers[0]["unit"], "postgresql.service");
    assert_eq!(draft.context["issuer_groups"][1]["unit"], "postgresql.service");
    assert_eq!(draft.context["queue_time"]["p99_ms"], 7.0);
    assert_eq!(draft.context["in_flight"]["writes"], 9);
    assert_eq!(draft.context["usual_p99_ms"], 16.0);
}

#[test]
fn without_a_scene_it_says_less() {
    let draft = told(Severity::Info, None, None);
    let expect = "Slow disk: the slowest 1 % of writes on nvme0n1 took 640 ms or more, 40 times the usual 16 ms, for \
                  30 s; 3 errors";
    assert_eq!((draft.message.as_str(), draft.threshold), (expect, None));
    assert!(!draft.context.contains_key("issuers"));
}

#[test]
fn hostile_names_stay_on_their_line() {
    let mut hostile = scene();
    hostile.issuers.remove(0);
    hostile.groups[1].path = "/x\n\x1b[31m".into();
    let draft = told(Severity::Warn, Some(500.0), Some(&hostile));
    assert!(draft.message.contains("by x??[31m@everyone (pid 7)"), "{}", draft.message);
    assert!(!draft.message.contains(['\n', '\x1b']));
}

fn error_of(io: &IoError, sources: &[crate::event::Source]) -> Draft {
    use crate::engine::incident::{Incidents, Witnesses};
    use crate::event::What;
    let mut incidents = Incidents::new(Witnesses::default());
    let now = Now { mono_ns: SECOND, wall_ns: 0 };
    let event =
        Event { at: now, source: sources[0], historic: false, what: What::IoError(Box::new(io.clone())) };
    let report = incidents.take(now, &event).pop().expect("told at once");
    let zone = jiff::tz::TimeZone::UTC;
    let identity = Identity { hostname: "h".into(), zone, boot_id: "b".into(), labels: BTreeMap::new() };
    error(&report, io, "id".into(), &identity)
}

#[test]
fn an_error_says_where_and_why() {
    let seen = IoError {
        device: "sda".into(),
        model: Some("WDC".into()),
        op: Some("read"),
        sector: 4656,
        bytes: Some(4096),
        error: Some(-61),
        log: None,
    };
    let draft = error_of(&seen, &[crate::event::Source::Ebpf]);
    assert_eq!(
        draft.message,
        "Disk error: a read at sector 4656 of sda (WDC) failed: a disk could not read or write (medium error (-61))"
    );
    assert_eq!((draft.rule.as_str(), draft.severity), ("io_error", Severity::Critical));
    for (device, rule, severity) in [
        ("nvme0n1", "nvme_error", Severity::Critical),
        ("sr0", "removable_io_error", Severity::Info),
        ("fd0", "removable_io_error", Severity::Info),
        ("8:16", "io_error", Severity::Critical),
    ] {
        let draft =
            error_of(&IoError { device: device.into(), ..seen.clone() }, &[crate::event::Source::Ebpf]);
        assert_eq!((draft.rule.as_str(), draft.severity), (rule, severity), "{device}");
    }
    let draft = error_of(&IoError { op: Some("discard"), ..seen }, &[crate::event::Source::Ebpf]);
    assert_eq!((draft.rule.as_str(), draft.severity), ("discard_refused", Severity::Info));
}

#[test]
fn the_log_alone_is_enough() {
    let line = "I/O error, dev vdc, sector 16 op 0x1:(WRITE) flags 0x8800 phys_seg 1 prio class 2";
    let log = LogMatch {
        rule: "io_error".into(),
        severity: Severity::Critical,
        meaning: "a disk could not read or write".into(),
        line: line.into(),
        fields: vec![("device".into(), "vdc".into()), ("sector".into(), "16".into())],
        ..LogMatch::default()
    };
    let io = IoError::from_log(&log).expect("device and sector");
    assert_eq!((io.op, io.sector), (Some("write"), 16));
    let draft = error_of(&io, &[crate::event::Source::Kmsg]);
    assert_eq!(
        draft.message,
        format!("Disk error: a write at sector 16 of vdc failed: a disk could not read or write ({line})")
    );
    assert_eq!(draft.context["unknown"], json!(["bytes", "error"]));
}

#[test]
fn lines_without_a_place_are_not_of_one_request() {
    let log = |fields: &[(&str, &str)], line: &str| LogMatch {
        rule: "io_error".into(),
        severity: Severity::Critical,
        meaning: String::new(),
        line: line.into(),
        fields: fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..LogMatch::default()
    };
    for fields in [&[][..], &[("device", "sda")], &[("sector", "1")], &[("device", "sda"), ("sector", "x")]] {
        assert_eq!(IoError::from_log(&log(fields, "")), None, "{fields:?}");
    }
    let odd = IoError::from_log(&log(&[("device", "sda"), ("sector", "1")], ":( :( )"));
    assert_eq!(odd.map(|io| io.op), Some(Some("other")));
}
