//! What works on this host, what does not, why, and what would make it work.

use serde::{Deserialize, Serialize};

use crate::text::clean;

/// How a feature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All of it works.
    On,
    /// A part works, or something replaces it.
    Degraded,
    /// Nothing of it works, or it is not wanted.
    Off,
}

impl State {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Degraded => "degraded",
            Self::Off => "off",
        }
    }
}

/// One feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Name, e.g. `ebpf.oom` or `collector.cpu`.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// How it works, or why it does not.
    pub reason: String,
    /// What would make it work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Feature {
    /// A feature that works.
    pub fn on(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::On, reason: reason.into(), remedy: None }
    }

    /// A feature that is not wanted, or that this host has no use for.
    pub fn off(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Off, reason: reason.into(), remedy: None }
    }

    /// A feature that works in part.
    pub fn degraded(name: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Degraded, reason: reason.into(), remedy: Some(remedy.into()) }
    }

    /// A feature that does not work.
    pub fn broken(name: impl Into<String>, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Off, reason: reason.into(), remedy: Some(remedy.into()) }
    }
}

/// Longest sentence of a table row, characters.
const MAX_CELL: usize = 400;

/// The table of `doctor`.
pub fn table(features: &[Feature]) -> String {
    use std::fmt::Write as _;
    let width = features.iter().map(|f| f.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for feature in features {
        let reason = clean(&feature.reason, MAX_CELL);
        let _ = writeln!(out, "{:width$}  {:8}  {reason}", feature.name, feature.state.name());
        if let Some(remedy) = &feature.remedy {
            let _ = writeln!(out, "{:width$}  {:8}  -> {}", "", "", clean(remedy, MAX_CELL));
        }
    }
    out
}

/// The same as JSON.
pub fn json(features: &[Feature]) -> String {
    serde_json::to_string_pretty(features).unwrap_or_else(|_| "[]".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_feature_and_its_remedy_below() {
        let features = [
            Feature::on("ebpf.oom", "tracepoint oom:mark_victim"),
            Feature::degraded("kmsg", "denied\x1b[2J", "give CAP_SYSLOG"),
        ];
        let expect = "ebpf.oom  on        tracepoint oom:mark_victim\n\
                      kmsg      degraded  denied?[2J\n                    -> give CAP_SYSLOG\n";
        assert_eq!(table(&features), expect);
        assert!(json(&features).contains("\"state\": \"degraded\""));
        assert!(!json(&features[..1]).contains("remedy"));
    }
}
