//! Every kind of event is counted under its own name.

use super::*;
use crate::event::{Change, Hardware, HostChange, IoError, UserKill};

/// Counters of events, and what one of each kind makes of them.
const COUNTED: [(&str, &str, u64); 15] = [
    ("kernel_oom_kills_total", "", 2),
    ("oom_witness_disagreements_total", "log_only", 1),
    ("oom_marks_of_dying_total", "", 1),
    ("user_oom_kills_total", "earlyoom", 1),
    ("kernel_hung_tasks_total", "", 1),
    ("kernel_events_total", "oom_kill", 2),
    ("kernel_events_total", "hung_task", 1),
    ("kernel_events_total", "page_allocation_failure", 2),
    ("kernel_log_events_total", "page_allocation_failure", 2),
    ("kernel_log_events_explained_total", "page_allocation_failure", 1),
    ("kernel_hardware_events_total", "edac_corrected", 1),
    ("inventory_changes_total", "", 4),
    ("kernel_events_lost_total", "overwritten", 7),
    ("block_io_slow_total", "sda", 1),
    ("kernel_io_errors_total", "sdb", 1),
];

fn failure(task: &str) -> What {
    What::Log(Box::new(LogMatch {
        rule: "page_allocation_failure".into(),
        severity: Severity::Warn,
        meaning: "no memory".into(),
        line: format!("{task}: page allocation failure: order:0"),
        fields: [("task", task), ("order", "0")].map(|(n, v)| (n.into(), v.into())).into(),
        ..LogMatch::default()
    }))
}

#[test]
fn one_of_each() {
    let mut r = run(0);
    let What::Oom(mut mark) = oom(1) else { unreachable!() };
    mark.uncounted = true;
    r.kills(5).event(Source::Ebpf, What::Oom(mark)).wait_ms(500).kills(5).kills(5);
    let What::Oom(mut global) = oom(2) else { unreachable!() };
    global.constraint = Some(Constraint::None);
    r.event(Source::Ebpf, What::Oom(global.clone())).event(Source::Kmsg, What::Oom(global)).wait_ms(20);
    r.event(Source::Kmsg, failure("java")).event(Source::Kmsg, failure("sshd")).kills(6).kills(6);
    r.event(Source::Kmsg, oom(3)).wait_ms(30_000).kills(7).kills(7);
    r.event(
        Source::UserLog,
        What::UserKill(Box::new(UserKill { killer: "earlyoom", ..UserKill::default() })),
    );
    r.event(Source::Watch, hang(7, "f"));
    let report = Hardware { rule: "edac_corrected", severity: Some(Severity::Warn), ..Hardware::default() };
    r.event(Source::Ebpf, What::Hardware(Box::new(report)));
    let change = Change { part: "disk", text: "a disk is gone".into() };
    r.event(Source::Inventory, What::HostChange(Box::new(HostChange { changes: vec![change], left_out: 3 })));
    r.event(Source::Kmsg, What::Lost(Lost { part: "kmsg", count: 7, reason: "overwritten" }));
    // Left out on purpose.
    r.event(Source::Ebpf, What::Lost(Lost { part: "block_io", count: 9, reason: "kernel_rate_limit" }));
    r.event(Source::Ebpf, slow("sda"));
    let error = IoError { device: "sdb".into(), sector: 8, error: Some(-5), ..IoError::default() };
    r.event(Source::Ebpf, What::IoError(Box::new(error))).wait_ms(30_000);
    let tally = &r.engine.tally().events;
    for (name, label, count) in COUNTED {
        assert_eq!(tally.get(&(name, label.to_owned())), Some(&count), "{name}: {tally:?}");
        assert!(events::METRICS.iter().any(|metric| metric.name == name), "{name} is in the table");
    }
    // One is on alerts only, one of the analyzers (`engine::analysis`).
    let counted: std::collections::BTreeSet<_> = COUNTED.iter().map(|(name, ..)| name).collect();
    assert_eq!(counted.len() + 2, events::METRICS.len());
    let latency = r.alerts().into_iter().find(|alert| alert.metric == "block_io_latency_ms").map(|a| a.value);
    assert_eq!(latency, Some(700.0), "{:?}", r.told());
}
