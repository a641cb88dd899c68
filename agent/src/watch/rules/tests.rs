//! Rules over lines.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

fn find(rules: &RuleSet, line: &str) -> Vec<LogMatch> {
    let mut out = Vec::new();
    rules.find(line, &mut |found| out.push(found));
    out
}

fn ids(rules: &RuleSet, line: &str) -> Vec<String> {
    find(rules, line).into_iter().map(|found| found.rule).collect()
}

fn built_in() -> RuleSet {
    RuleSet::new(&[], true).unwrap()
}

/// Rules that would both take a line, and which gets it because it is asked first.
const PRECEDENCE: &[(&str, &str)] = &[
    ("discard_refused", "io_error"),
    ("discard_refused", "nvme_error"),
    ("dm_integrity", "device_mapper"),
    ("filesystem_warning", "filesystem_error"),
    ("gpu_ecc", "hardware_error"),
    ("gpu_xid", "gpu_ecc"),
    ("gpu_xid", "hardware_error"),
    ("mount_refused", "filesystem_error"),
    ("mount_refused", "filesystem_warning"),
    ("nic_overheat", "nic_module"),
    ("nvme_error", "io_error"),
    ("removable_io_error", "io_error"),
];

#[test]
fn every_rule_matches_its_lines_and_not_its_near_misses() {
    let set = built_in();
    let mut wrong = Vec::new();
    let mut overlaps = std::collections::BTreeSet::new();
    let compile = |rule: &Rule| RegexBuilder::new(rule.pattern).unicode(false).build().expect(rule.id);
    let all: Vec<(&Rule, Regex)> = catalogue::rules().map(|rule| (rule, compile(rule))).collect();
    for (rule, regex) in &all {
        assert!(!rule.hits.is_empty() && !rule.misses.is_empty(), "{} has no samples", rule.id);
        for line in rule.hits {
            let lower = line.to_lowercase();
            if !regex.is_match(line.as_bytes()) || !rule.literals.iter().any(|l| lower.contains(l)) {
                wrong.push(format!("{} must match {line:?}, pattern and literal", rule.id));
            }
            let expect = if rule.kind == Kind::Assembled { vec![] } else { vec![rule.id.to_owned()] };
            let got = ids(&set, line);
            if got != expect {
                wrong.push(format!("{line:?} is {got:?}, not of {}", rule.id));
            }
            for (other, _) in
                all.iter().filter(|(other, r)| other.id != rule.id && r.is_match(line.as_bytes()))
            {
                if other.literals.iter().any(|l| lower.contains(l)) {
                    overlaps.insert((rule.id, other.id));
                }
            }
        }
        for line in rule.misses.iter().filter(|line| regex.is_match(line.as_bytes())) {
            wrong.push(format!("{} must not match {line:?}", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(overlaps.into_iter().collect::<Vec<_>>(), PRECEDENCE);
}

/// What a user without rights, or who plugs something in, makes the kernel say.
const REPEATED: &[&str] = &[
    "tmpfs: Unknown parameter '{}'",
    "tmpfs: Bad value for '{}'",
    "fuse: Unknown parameter '{}'",
    "overlayfs: unrecognized mount option \"{}\" or missing value",
    "overlayfs: failed to resolve '{}': -2",
    "EXT4-fs (loop0): Unrecognized mount option \"{}\" or missing value",
    "process '/tmp/{}' started with executable stack",
    "usb 1-1: Product: {}",
    "usb 1-1: Manufacturer: {}",
    "usb 1-1: SerialNumber: {}",
    "input: {} as /devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/0003:046D:C077.0001/input/input5",
    "capability: warning: `{}' uses 32-bit capabilities (legacy support in use)",
    "audit: type=1400 audit(1600000000.000:1): apparmor=\"DENIED\" operation=\"open\" name=\"{}\" pid=1 comm=\"x\"",
];

#[test]
fn what_the_kernel_repeats_of_others_is_not_its_own() {
    let set = built_in();
    let mut wrong = Vec::new();
    for shape in REPEATED {
        let own = ids(&set, &shape.replace("{}", "x"));
        for line in catalogue::rules().flat_map(|rule| rule.hits) {
            let repeated = shape.replace("{}", line);
            let got = ids(&set, &repeated);
            if got != own {
                wrong.push(format!("{repeated:?} is {got:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn rules_are_switched_off_and_rated_otherwise() {
    let line =
        "java[1234]: segfault at 0 ip 00007f0c0a5b9d2a sp 00007f0c0a5b9d2a error 4 in libjvm.so[7f0c+e]";
    let severity = BTreeMap::from([("segfault".to_owned(), Severity::Critical)]);
    let disabled = ["segfault".to_owned()];
    let find = |choice| find(&RuleSet::chosen(&[], choice).unwrap(), line);
    assert_eq!(find(Choice::default())[0].severity, Severity::Info);
    assert_eq!(
        find(Choice { severity: Some(&severity), ..Choice::default() })[0].severity,
        Severity::Critical
    );
    assert!(find(Choice { disabled: &disabled, ..Choice::default() }).is_empty());
}

#[test]
fn a_line_says_how_bad_it_is() {
    use Severity::{Critical, Info, Warn};
    let set = built_in();
    for (line, severity, meaning) in [
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
            Critical,
            "fallen off the bus",
        ),
        ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1234, Ch 00000010", Warn, "page fault"),
        ("NVRM: Xid (PCI:0000:3b:00): 45, pid=1234, Ch 00000010", Info, "cleaned up"),
        ("NVRM: Xid (PCI:0000:3b:00): 999, pid=1234", Critical, "(Xid)"),
        ("NVRM: Xid (PCI:0018:01:00): 145, RLW_RXPIPE Nonfatal XC0 i0 Link 13 (0x0409a0c2 0x8)", Warn, ""),
        ("NVRM: Xid (PCI:0019:01:00): 149, NETIR Fatal XC0 i0 Link -1 (0x000fe406 0x0)", Critical, ""),
        // Corrected ones are told like this, too.
        ("mce: [Hardware Error]: Machine check events logged", Warn, ""),
        ("{35}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 4", Warn, ""),
        ("{1}[Hardware Error]: event severity: recoverable", Critical, ""),
        ("EDAC MC0: 1 CE memory read error on DIMM", Warn, ""),
        ("EDAC MC0: 1 UE memory read error on DIMM", Critical, ""),
        ("{1}[Hardware Error]: event severity: corrected", Warn, ""),
        ("{1}[Hardware Error]: event severity: fatal", Critical, ""),
        ("md/raid:md0: read error NOT corrected!! (sector 1234 on sdc1).", Critical, ""),
        ("md/raid:md0: read error corrected (8 sectors at 264 on sdb1)", Warn, ""),
    ] {
        let found = find(&set, line);
        assert_eq!(found[0].severity, severity, "{line}");
        assert!(found[0].meaning.contains(meaning) && !found[0].advice.is_empty(), "{:?}", found[0]);
    }
}

#[test]
fn the_search_for_literals_is_small() {
    let bytes = built_in().literal_bytes();
    assert!(bytes < 64 << 10, "{bytes}");
}

#[test]
fn the_catalogue_is_sound() {
    let mut seen = std::collections::HashSet::new();
    for rule in catalogue::rules() {
        assert!(seen.insert(rule.id), "{} twice", rule.id);
        assert!(rule.literals.iter().all(|l| l.len() >= 6 && *l == l.to_lowercase()), "{}", rule.id);
        for text in [rule.meaning, rule.action, rule.origin] {
            assert!(!text.is_empty() && !text.contains('\n'), "{}", rule.id);
        }
    }
    assert!((60..=usize::from(ASSEMBLED)).contains(&seen.len()), "one bit a rule");
}

#[test]
fn the_nine_rules_have_the_agreed_severities() {
    use Severity::{Critical, Warn};
    for (id, severity) in [
        ("oom_kill", Critical),
        ("hardware_error", Critical),
        ("gpu_xid", Critical),
        ("gpu_ecc", Warn),
        ("filesystem_error", Critical),
        ("nvme_error", Critical),
        ("hung_task", Warn),
        ("network_down", Warn),
        ("pcie_error", Warn),
    ] {
        let rule = catalogue::rules().find(|rule| rule.id == id).expect(id);
        assert_eq!(rule.severity, severity, "{id}");
    }
}

#[test]
fn fields_are_read() {
    let set = built_in();
    for (line, expect) in [
        (
            "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
            "bus=0000:3b:00 xid=79 pid=1234 process=python3",
        ),
        (
            "NVRM: Xid (PCI:0000:cb:00): 13, pid='<unknown>', name=<unknown>, Graphics SM",
            "bus=0000:cb:00 xid=13 process=<unknown>",
        ),
        ("EXT4-fs error (device vda): trigger_test_error:130: comm init: 1", "device=vda"),
        ("XFS (dm-0): Corruption detected. Unmount and run xfs_repair", "device=dm-0"),
        ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "device=nvme0"),
        ("e1000: eth0 NIC Link is Down", "interface=eth0"),
        ("ixgbe 0000:01:00.0 eth0: NIC Link is Down", "interface=eth0"),
        ("mlx5_core 0000:3b:00.0 ens1f0: Link down", "interface=ens1f0"),
        ("bond0: (slave eth0): link status definitely down, disabling slave", "interface=eth0"),
        ("bond0: link status definitely down for interface eth1, disabling it", "interface=eth1"),
        ("pcieport 0000:00:1c.0: AER: Corrected error received: 0000:03:00.0", "device=0000:00:1c.0"),
        (
            "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer, (Receiver ID)",
            "device=0000:00:1c.0 severity=Corrected",
        ),
        ("blk_update_request: critical medium error, dev nvme0n1, sector 7 op", "device=nvme0n1 sector=7"),
        ("Aborting journal on device sda1-8.", "device=sda1-8"),
        ("md/raid1:md0: Disk failure on sdb1, disabling device.", "array=md0 device=sdb1"),
        ("NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", "bus=0000:3b:00.0"),
        ("NVRM: GPU 0000:86:00.0: ECC DBE (double bit error) detected", "bus=0000:86:00.0"),
        ("EDAC MC0: 1 CE memory read error on DIMM", "controller=MC0 class=CE"),
        (
            "watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [a:b:1234]",
            "cpu=3 seconds=22 task=a:b pid=1234",
        ),
        (
            "I/O error, dev vdc, sector 16 op 0x1:(WRITE) flags 0x8800 phys_seg 1 prio class 2",
            "device=vdc sector=16",
        ),
    ] {
        let found = find(&set, line);
        let fields: Vec<_> = found[0].fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(fields.join(" "), expect, "{line}");
    }
}

#[test]
fn gpu_rules_can_be_off() {
    let line = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.";
    assert_eq!(ids(&RuleSet::new(&[], false).unwrap(), line), [""; 0]);
    assert_eq!(ids(&built_in(), line), ["gpu_xid"]);
}

#[test]
fn user_patterns_join_in() {
    let custom = [
        Custom { name: "db_fatal", pattern: "FATAL.*database (?P<db>\\w+)", severity: Severity::Critical },
        Custom { name: "nic", pattern: "(?i)link is down", severity: Severity::Info },
    ];
    let set = RuleSet::new(&custom, true).unwrap();
    let found = find(&set, "FATAL: no database main");
    assert_eq!((found[0].rule.as_str(), found[0].severity), ("db_fatal", Severity::Critical));
    assert_eq!(found[0].fields, [("db".to_owned(), "main".to_owned())]);
    assert_eq!(ids(&set, "e1000: eth0 NIC Link is Down"), ["network_down", "nic"]);
    assert_eq!(ids(&set, "all is well"), [""; 0]);
}

#[test]
fn bad_patterns_are_refused_with_a_sentence() {
    for (pattern, expect) in [
        ("(", "\"(\" is not an expression: unclosed group"),
        ("(?P<a>x)(?P<a>y)", "\"(?P<a>x)(?P<a>y)\" is not an expression: duplicate capture group name"),
        (
            "(\\w{200}){200}",
            "\"(\\\\w{200}){200}\" compiles to more than 1048576 bytes; make its repetitions smaller",
        ),
        (".*", "\".*\" matches an empty line, so it would match every line"),
        ("", "\"\" matches an empty line, so it would match every line"),
    ] {
        assert_eq!(check_pattern(pattern), Err(expect.to_owned()));
    }
    let two = ["(", "["].map(|pattern| Custom { name: "x", pattern, severity: Severity::Info });
    assert_eq!(RuleSet::new(&two, true).unwrap_err().matches("custom pattern").count(), 2);
    let many = [Custom { name: "x", pattern: "x", severity: Severity::Info }; MAX_CUSTOM + 1];
    assert!(RuleSet::new(&many, true).unwrap_err().contains("too many"));
}

#[test]
fn long_lines_and_fields_are_cut_between_characters() {
    let custom = [Custom { name: "long", pattern: "(?P<all>é+)", severity: Severity::Info }];
    let found = find(&RuleSet::new(&custom, true).unwrap(), &"é".repeat(5000));
    assert!(found[0].line.len() <= MAX_LINE && found[0].fields[0].1.len() <= MAX_FIELD);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(NVRM: |Xid |nvme|EXT4-fs|Link is|\\PC|.){0,30}") {
        static SET: LazyLock<RuleSet> = LazyLock::new(built_in);
        prop_assert!(find(&SET, &text).len() <= 1);
    }
}
