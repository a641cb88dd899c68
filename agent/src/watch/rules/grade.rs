//! How bad a line is by what stands in it.

use memchr::memmem;

use super::Grade;
use crate::alert::Severity;
use crate::event::LogMatch;
use crate::watch::catalogue::xid;

impl Grade {
    /// Rates what was found.
    pub(super) fn apply(self, found: &mut LogMatch) {
        let field =
            |name: &str| found.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        match self {
            Self::Fixed => {}
            Self::Fields(table) => {
                let graded = table.iter().find(|(name, value, _)| field(name) == Some(value));
                found.severity = graded.map_or(found.severity, |(_, _, severity)| *severity);
            }
            Self::Xid => {
                let is_fatal = field("class") != Some("Nonfatal");
                if let Some(known) = field("xid").and_then(|code| xid(code.parse().ok()?)) {
                    found.severity =
                        if is_fatal { known.severity } else { known.severity.min(Severity::Warn) };
                    found.meaning = format!("{}: {}", found.meaning, known.meaning);
                    found.advice = known.action;
                }
            }
        }
    }

    /// Whether a line may be worse than others of a rule of this severity, as far as its words say.
    pub(super) fn may_be_worse(self, severity: Severity, line: &[u8]) -> bool {
        let has = |text: &str| has_word(line, text.as_bytes());
        match self {
            Self::Fixed => false,
            Self::Fields(table) => {
                let worst = table.iter().map(|(.., graded)| *graded).fold(severity, Severity::max);
                let is_named = table.iter().any(|(_, value, graded)| *graded == worst && has(value));
                is_named || severity == worst && !table.iter().any(|(_, value, _)| has(value))
            }
            Self::Xid => {
                code(line).is_some_and(|code| xid(code).is_none_or(|xid| xid.severity >= Severity::Critical))
            }
        }
    }
}

/// Whether a text stands in a line as a word, or as some.
fn has_word(line: &[u8], text: &[u8]) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    memmem::find_iter(line, text)
        .any(|at| !is_letter(line[..at].last()) && !is_letter(line.get(at + text.len())))
}

/// The code in `NVRM: Xid (PCI:0000:3b:00): 79, …`.
fn code(line: &[u8]) -> Option<u16> {
    let rest = &line[memmem::find(line, b"): ")? + 3..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::watch::rules::RuleSet;

    #[test]
    fn what_may_be_worse_is_seen_without_the_expression() {
        let rules = RuleSet::new(&[], true).expect("the built-in rules");
        let check = |line: &str, expect: bool| {
            let rule = rules.find_hit(rules.hits(line.as_bytes()), line, &mut |_| {}).expect(line);
            assert_eq!(rules.may_be_worse(rule, line), expect, "{line}");
        };
        check("NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.", true);
        check("NVRM: Xid (PCI:0000:cb:00): 13, pid=1, Graphics SM Warp Exception", false);
        check("NVRM: Xid (PCI:0000:cb:00): 31, Ch 00000010, intr 10000000", false);
        check("pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer", false);
        check(
            "pcieport 0000:00:1c.0: PCIe Bus Error: severity=Uncorrected (Fatal), type=Transaction Layer",
            true,
        );
        check("EXT4-fs error (device sda1): ext4_lookup:1: inode #2: x", false);
        check("EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#0_DIMM#0", false);
        check("EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#0_DIMM#0", true);
    }
}
