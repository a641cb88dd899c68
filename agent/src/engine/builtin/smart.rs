//! What disks say of their own health.

use super::super::limits::Rule;
use super::states::State;

pub(super) const METRIC: &str = "smart_warning";

/// A value of the label `warning`, whether it is critical, what it means, what its end means, and what to do.
const WARNINGS: &[(&str, bool, &str, &str, &str)] = &[
    (
        "failing",
        true,
        "says that it is about to fail",
        "no longer says that it is about to fail",
        "Save its data and replace it",
    ),
    (
        "reliability",
        true,
        "says that it has too many errors to be relied on",
        "says that it can be relied on again",
        "Save its data and replace it",
    ),
    ("spare", true, "has used up its spare cells", "has spare cells again", "Replace it"),
    ("read_only", true, "takes no more writes: it has become read-only", "takes writes again", "Replace it"),
    (
        "backup",
        true,
        "would lose its cache when power fails: its backup power does not work",
        "has backup power for its cache again",
        "Replace it",
    ),
    (
        "memory_region",
        false,
        "takes no more writes to its persistent memory region",
        "takes writes to its persistent memory region again",
        "",
    ),
    (
        "temperature",
        false,
        "says that it is too hot or too cold",
        "is neither too hot nor too cold any more",
        "Look at fans, dust and the air that comes in",
    ),
];

pub(super) fn rules() -> impl Iterator<Item = Rule> {
    WARNINGS.iter().map(|&(warning, is_critical, bad, good, hint)| {
        let rule = State {
            metric: METRIC,
            subject: "Disk",
            shown: &["device"],
            bad,
            good,
            noun: "disk health alerts",
            is_critical,
            hint,
        }
        .rule();
        Rule {
            name: format!("{METRIC}_{warning}"),
            labels: vec![("warning".to_owned(), warning.to_owned())],
            ..rule
        }
    })
}
