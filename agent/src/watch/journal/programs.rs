//! Lines of programs out of the journal, which the patterns of the user are asked about. Pure.

use std::sync::Arc;

use crate::event::{Event, MAX_LINE, Source, What};
use crate::time::Now;
use crate::watch::flood::Flood;
use crate::watch::rules::{RuleSet, cut};

/// Bytes of a label.
const MAX_LABEL: usize = 64;
/// The agent's own unit.
const OURS: &str = "sysops-agent.service";

/// What a program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What it calls itself; any program may take any name.
    pub name: Option<String>,
    /// Its unit, as journald knows it.
    pub unit: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// What it said.
    pub text: String,
}

/// Asks the patterns.
#[derive(Debug)]
pub struct Programs {
    rules: Arc<RuleSet>,
    flood: Flood,
    pid: u32,
}

impl Programs {
    /// With the patterns in `rules`; the lines of process `pid` are the agent's own, which must not lead to more of them.
    pub fn new(rules: Arc<RuleSet>, pid: u32) -> Self {
        Self { rules, flood: Flood::of(Source::Journal), pid }
    }

    pub(super) fn hear(&mut self, line: &Line, at: Now, now: Now, out: &mut Vec<Event>) {
        let is_own = line.pid == Some(self.pid) || line.unit.as_deref() == Some(OURS);
        if is_own {
            return;
        }
        for mut found in self.flood.own(&self.rules, cut(&line.text, MAX_LINE), now) {
            for (label, value) in [("program", &line.name), ("unit", &line.unit)] {
                // A group of the pattern by that name says more.
                let value = value.as_ref().filter(|_| !found.fields.iter().any(|(name, _)| name == label));
                found.fields.extend(value.map(|value| (label.to_owned(), cut(value, MAX_LABEL).to_owned())));
            }
            let what = What::Log(Box::new(found));
            let event = Event { at, source: Source::Journal, historic: false, what };
            out.extend(self.flood.pass(event, false, now));
        }
    }

    pub(super) fn due(&mut self, now: Now, out: &mut Vec<Event>) {
        self.flood.due(now, false, out);
    }

    pub(super) fn finish(&mut self, now: Now, out: &mut Vec<Event>) {
        self.flood.due(now, true, out);
    }

    pub(super) fn due_ns(&self) -> Option<u64> {
        self.flood.due_ns()
    }
}
