//! LOG-RULES.md, made of the catalogue.

use std::fmt::Write;

use super::{XIDS, rules};
use crate::watch::rules::{Class, Grade, Kind, Rule};

const HEAD: &str = "\
# Kernel-log rules

This file is generated from the catalogue in the code (`agent/src/watch/catalogue`). A line belongs to the first rule that
matches it, in the order of this page. Every rule is tested with lines it must match, of several kernel generations, and
with near misses that no rule, or another one, may claim.

A rule is switched off with `log_analyzer.disabled_rules`, and rated otherwise with `log_analyzer.severity`; patterns of
your own are `log_analyzer.custom_patterns` ([CONFIGURATION](CONFIGURATION.md)). Events are counted in
`kernel_events_total{rule}`. `oom_kill` and `hung_task` are no matter of the log alone: hold them back with `sysops-agent silence`.

A rule believes the kernel's own words only: what it repeats of others in quotes (the option of a `mount`, the path of a
program) or as the name of a device is for no rule, whatever it says.
";

const OWN: &str = include_str!("own.md");
const CHECKED: &str = include_str!("checked.md");

/// The text of LOG-RULES.md.
pub fn rules_doc() -> String {
    let mut doc = String::from(HEAD);
    for class in Class::ALL {
        let _ = write!(
            doc,
            "\n## {}\n\n| rule | severity | meaning | what to do | fields | text from |\n|---|---|---|---|---|---|\n",
            class.title()
        );
        for rule in rules().filter(|rule| rule.class == class) {
            row(&mut doc, rule);
        }
    }
    doc.push_str(
        "\n## NVIDIA Xids\n\nRule `gpu_xid` takes severity, meaning and advice from this table; a code that is not in it is critical.\n\n\
         | Xid | severity | meaning | what to do |\n|---|---|---|---|\n",
    );
    for xid in XIDS {
        let codes =
            if xid.from == xid.to { xid.from.to_string() } else { format!("{}-{}", xid.from, xid.to) };
        let _ = writeln!(
            doc,
            "| {codes} | {} | {} | {} |",
            xid.severity.name(),
            cell(xid.meaning),
            cell(xid.action)
        );
    }
    doc.push_str("\n## Examples\n\nOne line of each rule.\n\n```text\n");
    for rule in rules() {
        let _ = writeln!(doc, "{:24} {}", rule.id, rule.hits.first().unwrap_or(&""));
    }
    doc.push_str("```\n\n");
    doc.push_str(OWN);
    doc.push_str(CHECKED);
    doc
}

fn row(doc: &mut String, rule: &Rule) {
    let mut severity = rule.severity.name().to_owned();
    match rule.grade {
        Grade::Fixed => {}
        Grade::Fields(fields) => {
            for (field, value, graded) in fields {
                let _ = write!(severity, "; {} if `{field}` is {value}", graded.name());
            }
        }
        Grade::Xid => severity.push_str("; by code, see below"),
    }
    let note = match rule.kind {
        Kind::Plain => "",
        Kind::Gpu => " Off with `gpu_xid_monitoring`.",
        Kind::Assembled => " Put together of several lines.",
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        doc,
        "| `{}` | {severity} | {}.{note} | {} | {} | {} |",
        rule.id,
        cell(rule.meaning),
        cell(rule.action),
        fields(rule.pattern).join(", "),
        cell(rule.origin),
    );
}

/// Names of the groups of a pattern, each once.
fn fields(pattern: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for rest in pattern.split("(?P<").skip(1) {
        let name = rest.split('>').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Text that is no end of a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::watch::rules::{Custom, RuleSet};

    #[test]
    fn every_rule_and_xid_has_a_row() {
        let doc = rules_doc();
        for rule in rules() {
            assert_eq!(doc.matches(&format!("\n| `{}` |", rule.id)).count(), 1, "{}", rule.id);
        }
        assert_eq!(doc.matches("\n| 79 |").count(), 1);
    }

    #[test]
    fn fields_are_listed_once() {
        assert_eq!(fields("(?P<device>a)|(?P<device2>b)(?P<xid>c)"), ["device", "xid"]);
        assert_eq!(fields("x"), [""; 0]);
    }

    #[test]
    fn the_example_of_own_patterns_finds_what_it_says() {
        let value = |key: &str| -> Vec<&str> {
            let values = OWN.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            values.map(|value| value.trim_matches(['"', '\''])).collect()
        };
        let (names, patterns) = (value("name"), value("pattern"));
        let custom: Vec<Custom<'_>> = names
            .iter()
            .zip(&patterns)
            .map(|(name, pattern)| Custom { name, pattern, severity: Severity::Info })
            .collect();
        let rules = RuleSet::new(&custom, false).expect("patterns");
        for (line, expect) in [
            ("Failed password for invalid user admin from 192.0.2.7 port 4711 ssh2", "ssh_brute_force"),
            (
                "pam_unix(sudo:auth): authentication failure; logname=eve uid=1000 tty=/dev/pts/0 user=eve",
                "sudo_brute_force",
            ),
            ("app.service: A process of this unit has been killed by the OOM killer.", "unit_oom"),
            ("app.service: Failed with result 'oom-kill'.", "unit_oom"),
            ("Accepted publickey for deploy from 192.0.2.7 port 4711 ssh2", ""),
        ] {
            let mut found = Vec::new();
            rules.find_custom(line, &mut |one| found.push(one.rule));
            assert_eq!(found.concat(), expect, "{line}");
        }
    }
}
