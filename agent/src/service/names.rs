//! The names that alerts go by: what a silence can mean.

use crate::config::Config;
use crate::edge::{self, labels};
use crate::engine::KnownLabels;
use crate::engine::compose::{analysis, hang, inventory, io, lost, oom, user_kill};
use crate::watch::catalogue;

/// Rules of events that are no line of the kernel log alone.
const EVENTS: &[&str] = &[
    oom::RULE,
    analysis::ANOMALY,
    analysis::ZSCORE,
    analysis::EMA,
    analysis::LEAK,
    user_kill::RULE,
    hang::RULE,
    io::SLOW_RULE,
    io::P99,
    io::ERROR_RULE,
    lost::RULE,
    inventory::RULE,
];

/// Labels that alerts may have.
pub(super) fn labels(config: &Config) -> KnownLabels {
    let of = labels::of_metrics(config).into_iter().map(|(name, all)| (name.to_owned(), all));
    KnownLabels { any: labels::all(config), of: of.collect() }
}

/// All metrics, the rules of events, and the user's patterns; the rules on values are the engine's own.
pub(super) fn known(config: &Config) -> Vec<String> {
    let metrics = edge::metrics().into_iter().map(|metric| metric.name);
    let lines = catalogue::rules().map(|rule| rule.id);
    let patterns = config.log_analyzer.custom_patterns.iter().map(|pattern| pattern.name.clone());
    metrics.chain(lines).chain(EVENTS.iter().copied()).map(str::to_owned).chain(patterns).collect()
}
