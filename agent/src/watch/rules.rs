//! Rules over kernel-log lines: the built-in [`catalogue`] and the user's patterns in one engine.
//!
//! A line is first searched once for all literals of the catalogue; only a rule whose literal is
//! there runs its expression, which is compiled at its first use. A line that nobody wants costs one
//! pass over its bytes and no allocation. User patterns have no literals and run on every line.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::catalogue;
use crate::alert::Severity;
use crate::event::{LogMatch, MAX_LINE};

/// A built-in rule.
#[derive(Debug)]
pub struct Rule {
    /// Name in alerts and in the configuration.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// What switches it off, or who else tells of it.
    pub kind: Kind,
    /// Lower-case texts of which one is in every line that matches; case does not matter.
    pub literals: &'static [&'static str],
    /// Expression over bytes; named groups become fields, digits at the end of a name left out.
    pub pattern: &'static str,
    /// Lines that must match.
    pub hits: &'static [&'static str],
    /// Lines that must not match, the nearer the better.
    pub misses: &'static [&'static str],
}

/// What is special about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Off when `log_analyzer.gpu_xid_monitoring` is.
    Gpu,
    /// Several lines are put together elsewhere ([`super::oom_text`], [`super::hang_text`]); one line is no event.
    Assembled,
}

/// A pattern of the user.
#[derive(Clone, Copy, Debug)]
pub struct Custom<'a> {
    /// Name in alerts.
    pub name: &'a str,
    /// Expression.
    pub pattern: &'a str,
    /// How bad.
    pub severity: Severity,
}

/// Compiled size of one user pattern, bytes; refused beyond it.
const MAX_PATTERN: usize = 1 << 20;
/// User patterns at most: each runs on every line.
pub const MAX_CUSTOM: usize = 100;
/// Longest value of a field, bytes.
pub(super) const MAX_FIELD: usize = 128;
/// Fields that a pattern may give an event; further groups are left out.
const MAX_FIELDS: usize = 12;

/// All rules that are on.
#[derive(Debug)]
pub struct RuleSet {
    literals: Option<AhoCorasick>,
    /// Rule of each literal.
    owners: Vec<u8>,
    built_in: Vec<Lazy>,
    custom: Vec<(String, Severity, Regex)>,
}

#[derive(Debug)]
struct Lazy {
    rule: &'static Rule,
    regex: OnceLock<Option<Regex>>,
}

impl RuleSet {
    /// The catalogue (without the GPU rules unless `gpu`) and the user's patterns. The error names every
    /// pattern that cannot be used, one sentence each.
    pub fn new(custom: &[Custom<'_>], gpu: bool) -> Result<Self, String> {
        let built_in: Vec<Lazy> = catalogue::rules()
            .filter(|rule| rule.kind == Kind::Plain || gpu && rule.kind == Kind::Gpu)
            .map(|rule| Lazy { rule, regex: OnceLock::new() })
            .collect();
        let mut texts: Vec<&str> = Vec::new();
        let mut owners = Vec::new();
        for (i, lazy) in built_in.iter().enumerate() {
            texts.extend(lazy.rule.literals);
            owners.resize(texts.len(), i as u8);
        }
        let literals = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(texts)
            .map_err(|error| format!("the built-in rules do not compile: {error}"))?;
        let custom = compile(custom)?;
        Ok(Self { literals: Some(literals), owners, built_in, custom })
    }

    /// Calls `tell` for the first built-in rule that wants the line, and for every user pattern.
    pub fn find(&self, line: &str, tell: &mut dyn FnMut(LogMatch)) {
        let mut wanted: u128 = 0;
        if let Some(literals) = &self.literals {
            for hit in literals.find_overlapping_iter(line) {
                wanted |= 1 << self.owners[hit.pattern().as_usize()];
            }
        }
        while wanted != 0 {
            let lazy = &self.built_in[wanted.trailing_zeros() as usize];
            wanted &= wanted - 1;
            if let Some(regex) = lazy.regex()
                && regex.is_match(line.as_bytes())
                && let Some(captures) = regex.captures(line.as_bytes())
            {
                let Rule { id, severity, meaning, .. } = lazy.rule;
                tell(log_match(id, *severity, meaning, line, regex, &captures));
                break;
            }
        }
        for (name, severity, regex) in &self.custom {
            // Only `captures` allocates.
            if regex.is_match(line.as_bytes())
                && let Some(captures) = regex.captures(line.as_bytes())
            {
                tell(log_match(name, *severity, "matches a pattern of your own", line, regex, &captures));
            }
        }
    }
}

impl Lazy {
    fn regex(&self) -> Option<&Regex> {
        let compile = || RegexBuilder::new(self.rule.pattern).unicode(false).build().ok();
        self.regex.get_or_init(compile).as_ref()
    }
}

/// Whether a user pattern can be used; the error is a sentence.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    compile_one(pattern).map(|_| ())
}

fn compile(custom: &[Custom<'_>]) -> Result<Vec<(String, Severity, Regex)>, String> {
    if custom.len() > MAX_CUSTOM {
        return Err(format!(
            "{} custom patterns are too many: each runs on every line, {MAX_CUSTOM} may",
            custom.len()
        ));
    }
    let mut out = Vec::new();
    let mut errors = Vec::new();
    for Custom { name, pattern, severity } in custom {
        match compile_one(pattern) {
            Ok(regex) => out.push(((*name).to_owned(), *severity, regex)),
            Err(error) => errors.push(format!("custom pattern {name:?}: {error}")),
        }
    }
    if errors.is_empty() { Ok(out) } else { Err(errors.join("; ")) }
}

fn compile_one(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("{pattern:?} compiles to more than {MAX_PATTERN} bytes; make its repetitions smaller")
        }
        other => format!("{pattern:?} is not an expression: {}", one_line(&other.to_string())),
    })?;
    if regex.is_match(b"") {
        return Err(format!("{pattern:?} matches an empty line, so it would match every line"));
    }
    Ok(regex)
}

/// The reason alone, of an error that also draws the pattern with a caret below it.
fn one_line(error: &str) -> String {
    error.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(error).to_owned()
}

fn log_match(
    rule: &str,
    severity: Severity,
    meaning: &str,
    line: &str,
    regex: &Regex,
    captures: &Captures<'_>,
) -> LogMatch {
    let field = |name: &str| {
        let value = String::from_utf8_lossy(captures.name(name)?.as_bytes());
        // A name may stand once in an expression: `device2` is another place for `device`.
        Some((
            name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(),
            cut(&value, MAX_FIELD).to_owned(),
        ))
    };
    LogMatch {
        rule: rule.to_owned(),
        severity,
        meaning: meaning.to_owned(),
        line: cut(line, MAX_LINE).to_owned(),
        fields: regex.capture_names().flatten().filter_map(field).take(MAX_FIELDS).collect(),
    }
}

/// At most `max` bytes of a text.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_rule_matches_its_lines_and_not_its_near_misses() {
        let set = built_in();
        for rule in catalogue::rules() {
            let regex = RegexBuilder::new(rule.pattern).unicode(false).build().expect(rule.id);
            assert!(!rule.hits.is_empty() && !rule.misses.is_empty(), "{} has no samples", rule.id);
            for line in rule.hits {
                assert!(regex.is_match(line.as_bytes()), "{} must match {line:?}", rule.id);
                let lower = line.to_lowercase();
                assert!(
                    rule.literals.iter().any(|l| lower.contains(l)),
                    "{}: no literal in {line:?}",
                    rule.id
                );
                if rule.kind == Kind::Assembled {
                    assert_eq!(ids(&set, line), [""; 0], "{line:?}");
                } else {
                    assert_eq!(ids(&set, line), [rule.id], "{line:?}");
                }
            }
            for line in rule.misses {
                assert!(!regex.is_match(line.as_bytes()), "{} must not match {line:?}", rule.id);
            }
        }
    }

    #[test]
    fn the_catalogue_is_sound() {
        let mut seen = std::collections::HashSet::new();
        for rule in catalogue::rules() {
            assert!(seen.insert(rule.id), "{} twice", rule.id);
            assert!(rule.literals.iter().all(|l| l.len() > 2 && *l == l.to_lowercase()), "{}", rule.id);
            assert!(!rule.meaning.is_empty() && !rule.meaning.contains('\n'), "{}", rule.id);
        }
        assert!(seen.len() <= u128::BITS as usize, "find() keeps one bit a rule");
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
            (
                "blk_update_request: critical medium error, dev nvme0n1, sector 7 op",
                "device=nvme0n1 sector=7",
            ),
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
            Custom {
                name: "db_fatal",
                pattern: "FATAL.*database (?P<db>\\w+)",
                severity: Severity::Critical,
            },
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
}
