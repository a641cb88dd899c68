use super::*;
use crate::alert::Severity;
use crate::time::MILLI;

fn ms(ms: u64) -> Now {
    Now { mono_ns: 1_000 * SECOND + ms * MILLI, wall_ns: 0 }
}

fn seen(at: u64, source: Source, what: What) -> Event {
    Event { at: ms(at), source, historic: false, what }
}

fn report(at: u64, rule: &'static str, reporter: &'static str, labels: &[(&'static str, &str)]) -> Event {
    let labels = labels.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    let severity = Some(Severity::Warn);
    let text = format!("by {reporter}");
    let report = Hardware { rule, reporter, severity, text, labels, meaning: "m", ..Hardware::default() };
    seen(at, Source::Ebpf, What::Hardware(Box::new(report)))
}

fn log(at: u64, rule: &str, line: &str, fields: &[(&str, &str)]) -> Event {
    let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let found = LogMatch {
        rule: rule.into(),
        severity: Severity::Critical,
        meaning: "m".into(),
        line: line.into(),
        fields,
        ..LogMatch::default()
    };
    seen(at, Source::Kmsg, What::Log(Box::new(found)))
}

fn mce(at: u64, class: &str, bank: &str) -> Event {
    report(at, "hardware_error", "mce:mce_record", &[("class", class), ("bank", bank)])
}

fn edac(at: u64, class: &str) -> Event {
    let labels = [("controller", "MC0"), ("class", class), ("dimm", "A1")];
    report(at, "hardware_error", "ras:mc_event", &labels)
}

fn edac_line(at: u64, class: &str) -> Event {
    let line = format!("EDAC MC0: 1 {class} memory read error on A1");
    log(at, "hardware_error", &line, &[("controller", "MC0"), ("class", class)])
}

fn logged(at: u64) -> Event {
    log(at, "hardware_error", "mce: [Hardware Error]: Machine check events logged", &[])
}

fn aer(at: u64, device: &str) -> Event {
    report(at, "pcie_error", "ras:aer_event", &[("device", device)])
}

/// Feeds events at their own times, then waits; a draft as `severity [sources] message`.
fn run(events: &[Event]) -> Vec<String> {
    let (mut faults, mut drafts) = (Faults::new(0), Vec::new());
    for event in events {
        faults.due(event.at, &mut drafts);
        assert!(faults.take(event.at, event, &mut drafts), "{event:?}");
    }
    faults.due(events.last().map_or(ms(0), |e| e.at).plus_secs(1), &mut drafts);
    assert_eq!(faults.next_deadline(), None);
    let shown = |d: &Draft| {
        let sources: Vec<_> = d.sources.iter().map(|s| s.name()).collect();
        format!("{} [{}] {}", d.severity.name(), sources.join(" "), d.message)
    };
    drafts.iter().map(shown).collect()
}

fn check(events: &[Event], expect: &[&str]) {
    assert_eq!(run(events), expect, "{events:#?}");
}

#[test]
fn many_witnesses_make_one_alert() {
    let all = [mce(0, "CE", "1"), edac(1, "CE"), edac_line(2, "CE"), logged(3)];
    check(&all, &["warn [ebpf kmsg] m: by mce:mce_record"]);
    check(&[logged(0), edac(1, "CE")], &["warn [kmsg ebpf] m: by ras:mc_event"]);
    check(&[edac_line(0, "CE"), edac(30, "CE")], &["warn [kmsg ebpf] m: by ras:mc_event"]);
    check(&[edac(0, "CE"), edac_line(9_000, "CE")], &["warn [ebpf] m: by ras:mc_event"]);
}

#[test]
fn what_contradicts_is_another_fault() {
    let two = ["warn [ebpf] m: by mce:mce_record", "warn [ebpf] m: by mce:mce_record"];
    check(&[mce(0, "CE", "1"), mce(1, "CE", "2")], &two);
    let other =
        ["warn [ebpf] m: by ras:mc_event", "critical [kmsg] m: EDAC MC0: 1 UE memory read error on A1"];
    check(&[edac(0, "CE"), edac_line(1, "UE")], &other);
    check(
        &[edac(0, "CE"), edac_line(20_000, "CE")],
        &["warn [ebpf] m: by ras:mc_event", "critical [kmsg] m: EDAC MC0: 1 CE memory read error on A1"],
    );
    check(
        &[mce(0, "CE", "1"), aer(1, "0000:01:00.0")],
        &["warn [ebpf] m: by mce:mce_record", "warn [ebpf] m: by ras:aer_event"],
    );
}

#[test]
fn a_port_that_reports_for_a_device_is_no_other_fault() {
    let line = "pcieport 0000:00:1c.0: AER: Corrected error received: 0000:03:00.0";
    let port = log(1, "pcie_error", line, &[("device", "0000:00:1c.0")]);
    let device = log(2, "pcie_error", "nvme 0000:03:00.0: PCIe Bus Error", &[("device", "0000:03:00.0")]);
    let other = log(3, "pcie_error", "nvme 0000:04:00.0: PCIe Bus Error", &[("device", "0000:04:00.0")]);
    check(
        &[aer(0, "0000:03:00.0"), port, device, other],
        &["warn [ebpf kmsg] m: by ras:aer_event", "critical [kmsg] m: nvme 0000:04:00.0: PCIe Bus Error"],
    );
}

#[test]
fn values_are_compared_whole() {
    let bank = |at, cpu: &str, bank: &str| {
        let line =
            format!("mce: [Hardware Error]: CPU {cpu}: Machine Check: 0 Bank {bank}: 9c00000000000151");
        log(at, "hardware_error", &line, &[("cpu", cpu), ("mcg", "0"), ("bank", bank)])
    };
    let told = |cpu: &str, bank: &str| {
        format!(
            "critical [kmsg] m: mce: [Hardware Error]: CPU {cpu}: Machine Check: 0 Bank {bank}: 9c00000000000151"
        )
    };
    check(&[bank(0, "0", "1"), bank(1, "0", "12")], &[&told("0", "1"), &told("0", "12")]);
    check(&[bank(0, "0", "1"), bank(20, "4", "5")], &[&told("0", "1"), &told("4", "5")]);
    check(&[bank(0, "0", "1"), bank(1, "1", "1")], &[&told("0", "1"), &told("1", "1")]);
    check(&[mce(0, "CE", "1"), bank(1, "0", "12")], &["warn [ebpf] m: by mce:mce_record", &told("0", "12")]);
    let page = |at, page: &str| {
        let line = format!("Memory failure: {page}: recovery action for dirty LRU page: Recovered");
        log(at, "memory_failure", &line, &[("page", page)])
    };
    assert_eq!(run(&[page(0, "0x2f0a"), page(1, "0x2f0a4")]).len(), 2);
    let reported = report(0, "memory_failure", "ras:memory_failure_event", &[("page", "0x2f0a")]);
    assert_eq!(run(&[reported, page(1, "0x2f0a4")]).len(), 2);
    assert!(
        has_word("AER: from 0000:03:00.0", "0000:03:00.0") && !has_word("at 0000:03:00.01", "0000:03:00.0")
    );
    assert!(!has_word("anything", "") && !has_word("Bank 12", "1") && has_word("sbridge MC0:", "MC0"));
}

#[test]
fn a_worse_line_is_never_swallowed() {
    let exception = "mce: [Hardware Error]: CPU 4: Machine Check Exception: 5 Bank 12: b200000000070f0f";
    let fields = [("cpu", "4"), ("mcg", "5"), ("bank", "12")];
    let told = format!("critical [kmsg] m: {exception}");
    for at in [1, 5_000] {
        let line = log(at, "hardware_error", exception, &fields);
        check(&[mce(0, "CE", "1"), line], &["warn [ebpf] m: by mce:mce_record", &told]);
        // Even if it names nothing else.
        let line = log(at, "hardware_error", exception, &[]);
        check(&[mce(0, "CE", "1"), line], &["warn [ebpf] m: by mce:mce_record", &told]);
    }
    check(
        &[log(0, "hardware_error", exception, &[]), mce(1, "CE", "1")],
        &[&told, "warn [ebpf] m: by mce:mce_record"],
    );
    check(
        &[mce(0, "FATAL", "12"), log(1, "hardware_error", exception, &fields)],
        &["warn [ebpf kmsg] m: by mce:mce_record"],
    );
    // Of lines written in one go the worst is told.
    check(&[logged(0), log(1, "hardware_error", exception, &fields)], &[&told]);
    let both = ["critical [kmsg] m: mce: [Hardware Error]: Machine check events logged", &told];
    check(&[logged(0), log(5_000, "hardware_error", exception, &[])], &both);
}

#[test]
fn lines_written_in_one_go_are_one_fault() {
    let line = "pcieport 0000:00:02.0: AER: Correctable error message received from 0000:01:00.0";
    let port = |at| {
        log(at, "pcie_error", line, &[("device", "0000:00:02.0"), ("kernel_device", "+pci:0000:00:02.0")])
    };
    let line = "virtio-pci 0000:01:00.0: PCIe Bus Error: severity=Correctable";
    let device = |at| {
        log(
            at,
            "pcie_error",
            line,
            &[
                ("device", "0000:01:00.0"),
                ("kernel_device", "+pci:0000:01:00.0"),
                ("severity", "Correctable"),
            ],
        )
    };
    let told = format!(
        "critical [kmsg] m: {}",
        "pcieport 0000:00:02.0: AER: Correctable error message received from 0000:01:00.0"
    );
    check(&[port(0), device(1), aer(2, "0000:01:00.0")], &["warn [kmsg ebpf] m: by ras:aer_event"]);
    check(&[port(0), device(1)], &[&told]);
    // Later, it may be another fault.
    check(&[port(0), device(100)], &[&told, &format!("critical [kmsg] m: {line}")]);
    let other = log(1, "pcie_error", "x 0000:04:00.0: PCIe Bus Error", &[("device", "0000:04:00.0")]);
    check(&[port(0), other], &[&told, "critical [kmsg] m: x 0000:04:00.0: PCIe Bus Error"]);
    let bank = |at| log(at, "hardware_error", "CPU 0: Machine Check: 0 Bank 1: 9c", &[("bank", "1")]);
    let both = "critical [kmsg] m: mce: [Hardware Error]: Machine check events logged";
    check(&[logged(0), bank(1)], &[both]);
    check(&[logged(0), bank(1), logged(1000), bank(1001)], &[both, both]);
}

#[test]
fn only_the_leading_witness_repeats() {
    let round = |at| [mce(at, "CE", "1"), edac(at, "CE"), logged(at + 2)];
    let events: Vec<_> = (0..3).flat_map(|n| round(n * 1000)).collect();
    let told = run(&events);
    assert_eq!(told.len(), 3, "{told:#?}");
    let lines: Vec<_> = (0..3).map(|n| logged(n * 1000)).collect();
    assert_eq!(run(&lines).len(), 3, "the log alone");
}

#[test]
fn repetitions_have_one_fingerprint_and_all_is_told_at_the_end() {
    let (mut faults, mut drafts) = (Faults::new(0), Vec::new());
    for event in [edac(0, "CE"), logged(60), edac(100, "CE"), edac(200, "CE")] {
        faults.due(event.at, &mut drafts);
        faults.take(event.at, &event, &mut drafts);
    }
    assert_eq!(drafts.len(), 3);
    assert!(drafts.iter().all(|d| d.fingerprint == drafts[0].fingerprint));
    faults.take(ms(300), &aer(300, "x"), &mut drafts);
    assert!(faults.next_deadline().is_some());
    faults.finish(&mut drafts);
    assert_eq!((drafts.len(), faults.next_deadline()), (4, None));
}

#[test]
fn others_are_not_taken() {
    let (mut faults, mut drafts) = (Faults::new(0), Vec::new());
    assert!(!faults.take(ms(0), &log(0, "filesystem_error", "x", &[]), &mut drafts));
    let fan = Hardware { rule: "thermal_throttle", ..Hardware::default() };
    let fan = seen(0, Source::Ebpf, What::Hardware(Box::new(fan)));
    assert!(faults.take(ms(0), &fan, &mut drafts), "in order: counted only");
    assert_eq!((drafts.len(), faults.next_deadline()), (0, None));
}

#[test]
fn memory_is_bounded_and_nothing_untold_is_dropped() {
    let (mut faults, mut drafts) = (Faults::new(0), Vec::new());
    for bank in 0..1000 {
        faults.take(ms(0), &mce(0, "CE", &bank.to_string()), &mut drafts);
    }
    assert!(faults.open.len() <= MAX_FAULTS);
    faults.due(ms(60), &mut drafts);
    assert_eq!(drafts.len(), 1000);
}

#[test]
fn the_alert_names_the_place_and_what_to_do_and_nothing_hostile() {
    let mut event = edac(0, "CE");
    let What::Hardware(report) = &mut event.what else { panic!("kind") };
    report.labels[2].1 = "A1\x1b[31m\n@everyone".into();
    report.details = vec![("message", "x\ny".into()), ("count", 3.into())];
    report.advice = "replace it";
    let (mut faults, mut drafts) = (Faults::new(0), Vec::new());
    faults.take(ms(0), &event, &mut drafts);
    faults.finish(&mut drafts);
    let draft = &drafts[0];
    assert_eq!(draft.labels["dimm"], "A1?[31m?@everyone");
    assert_eq!((draft.labels["rule"].as_str(), draft.rule.as_str()), ("hardware_error", "hardware_error"));
    assert_eq!(draft.context["what_to_do"], "replace it");
    assert_eq!(draft.context["ras:mc_event"], serde_json::json!({"message": "x?y", "count": 3}));
}
