use super::*;
use crate::ebpf::format::Format;

fn format(kernel: &str, hook: &Hook) -> Format {
    let path = format!(
        "{}/src/ebpf/testdata/{kernel}/{}/{}/format",
        env!("CARGO_MANIFEST_DIR"),
        hook.category,
        hook.event
    );
    Format::parse(&std::fs::read_to_string(&path).expect(&path)).expect(&path)
}

fn has(kernel: &str, hook: &Hook) -> bool {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ebpf/testdata");
    std::path::Path::new(&format!("{dir}/{kernel}/{}/{}/format", hook.category, hook.event)).exists()
}

fn number(constants: &[Constant], name: &str) -> Option<u16> {
    let bytes = &constants.iter().find(|c| c.name == name)?.bytes;
    Some(match bytes[..] {
        [one] => u16::from(one),
        [low, high] => u16::from_ne_bytes([low, high]),
        _ => panic!("{name}: {bytes:?}"),
    })
}

fn check(kernel: &str, hook: &Hook, expect: &[(&str, Option<u16>)]) {
    let constants = hook.constants(&format(kernel, hook)).expect(kernel);
    for &(name, value) in expect {
        assert_eq!(number(&constants, name), value, "{kernel} {name}");
    }
}

#[test]
fn every_kernel_gives_each_probe_what_it_needs() {
    for probe in PROBES {
        let mut kernels = 0;
        for kernel in ["5.10", "6.1", "6.12", "6.18", "7.2", "7.3"] {
            // Not every kernel has the rare ones.
            if probe.rare && !probe.hooks.iter().all(|hook| has(kernel, hook)) {
                continue;
            }
            kernels += 1;
            for hook in probe.hooks.iter().filter(|hook| !hook.is_function()) {
                // 5.10 has no `block_rq_error`; two others are at hand from one kernel only.
                let at_hand = match hook.program(Mode::Classic) {
                    names::IO_ERROR => kernel != "5.10",
                    names::IO_REQUEUE | names::IO_MERGE => kernel == "6.18",
                    _ => true,
                };
                if !at_hand {
                    assert!(lacking(hook.program(Mode::Classic)).is_some());
                    continue;
                }
                let constants = hook.constants(&format(kernel, hook)).expect(kernel);
                assert!(constants.len() >= hook.fields.iter().filter(|f| f.required).count());
                let all = kernel == "5.10" && !probe.rare || probe.name == "tcp";
                let names = hook.fields.iter().filter(|f| !matches!(f.shape, Shape::Name(_)));
                assert!(all || constants.len() >= names.count(), "{kernel} {}: a field is gone", hook.event);
            }
        }
        assert!(kernels >= 4, "{}: {kernels} kernels", probe.name);
    }
}

#[test]
fn offsets_follow_the_kernel() {
    let [oom, _] = oom::PROBE.hooks else { panic!("two hooks") };
    check("5.10", oom, &[("OOM_PID", Some(8)), ("OOM_COMM", None), ("OOM_COMM_BY_REF", None)]);
    check("6.18", oom, &[("OOM_PID", Some(8)), ("OOM_COMM", Some(12)), ("OOM_COMM_BY_REF", Some(1))]);
    check("6.18", oom, &[("OOM_SCORE_ADJ", Some(64)), ("OOM_PGTABLES", Some(56))]);
    let [hang] = hung_task::PROBE.hooks else { panic!("one hook") };
    check("6.12", hang, &[("HANG_PID", Some(24)), ("HANG_COMM", Some(8)), ("HANG_COMM_BY_REF", Some(0))]);
    check("6.18", hang, &[("HANG_PID", Some(12)), ("HANG_COMM", Some(8)), ("HANG_COMM_BY_REF", Some(1))]);
    let [_, _, reset] = tcp::PROBE.hooks else { panic!("three hooks") };
    check("5.10", reset, &[("RESET_OUT_REMOTE", Some(56)), ("RESET_OUT_ADDRESS", None)]);
    check("7.3", reset, &[("RESET_OUT_REMOTE", None), ("RESET_OUT_ADDRESS", Some(60))]);
    let [mce] = hardware::MACHINE_CHECK.hooks else { panic!("one hook") };
    check("6.1", mce, &[("MCE_BANK", Some(105)), ("MCE_STATUS", Some(24))]);
    check("7.3", mce, &[("MCE_BANK", Some(113)), ("MCE_STATUS", Some(24))]);
    let [insert, _, requeue, _, complete, error] = block_io::PROBE.hooks else { panic!("six hooks") };
    check("6.18", requeue, &[("REQUEUE_SECTOR", Some(16)), ("REQUEUE_RWBS", Some(30))]);
    check("5.10", insert, &[("INSERT_SECTOR", Some(16)), ("INSERT_RWBS", Some(32))]);
    check("6.18", error, &[("ERROR_ERROR", Some(28)), ("ERROR_RWBS", Some(34))]);
    check("6.1", complete, &[("COMPLETE_RWBS", Some(32)), ("COMPLETE_ERROR", Some(28))]);
    check("7.3", complete, &[("COMPLETE_RWBS", Some(34)), ("COMPLETE_SECTOR", Some(16))]);
}

fn fields(lines: &[&str]) -> Format {
    let text: Vec<String> = lines.iter().map(|l| format!("field:{l}")).collect();
    Format::parse(&format!("ID: 1\n{}", text.join("\n"))).expect("valid")
}

#[test]
fn a_strange_format_fails_the_probe_only_where_it_must() {
    let [hang] = hung_task::PROBE.hooks else { panic!("one hook") };
    let pid = "pid_t pid; offset:24; size:4; signed:1;";
    for (lines, expect) in [
        (vec![], Err("it has no field `pid`")),
        (vec!["pid_t pid; offset:24; size:8; signed:1;"], Err("another type than known (number of 8 bytes)")),
        (vec!["pid_t pid[4]; offset:24; size:4; signed:1;"], Err("(array of 4 bytes)")),
        (vec![pid], Ok(1)),
        (vec![pid, "char comm[8]; offset:8; size:8; signed:0;"], Ok(1)),
        (vec![pid, "int comm; offset:8; size:4; signed:0;"], Ok(1)),
        (vec![pid, "__data_loc char[] comm; offset:8; size:8; signed:0;"], Ok(1)),
        (vec![pid, "char comm[16]; offset:8; size:16; signed:0;"], Ok(3)),
    ] {
        match (hang.constants(&fields(&lines)), expect) {
            (Ok(constants), Ok(count)) => assert_eq!(constants.len(), count, "{lines:?}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{lines:?}: {error}"),
            (got, _) => panic!("{lines:?}: {got:?}"),
        }
    }
}
