//! One alert of a fault of the hardware, however many speak of it: a machine check may be reported by
//! two tracepoints and four lines of the kernel log.
//!
//! Reports belong together when they have the same rule, come within 10 s and contradict each
//! other in no label. The first waits [`WITNESS_WAIT_NS`] for the others. From then on only the witness
//! that leads (a tracepoint, where one spoke) makes it a repetition; what the others say of it is known.

use std::collections::VecDeque;

use super::compose::{Draft, hardware, incident_id, kernel};
use super::incident::WITNESS_WAIT_NS;
use crate::event::{Event, Hardware, LogMatch, Source, What};
use crate::time::{Now, SECOND};

/// Rules whose faults tracepoints report too.
pub const RULES: [&str; 6] =
    ["hardware_error", "pcie_error", "memory_failure", "nic_hang", "thermal_critical", "thermal_throttle"];
/// Faults remembered; beyond it the oldest is forgotten, and told before if it was not.
pub const MAX_FAULTS: usize = 256;
/// How long after its last report a fault is the same.
const SAME_NS: u64 = 10 * SECOND;

/// Faults that wait for a witness or were told a short while ago.
#[derive(Debug)]
pub struct Faults {
    open: VecDeque<Fault>,
    run_ns: i64,
    next: u64,
}

#[derive(Debug)]
struct Fault {
    first: Event,
    /// By tracepoints, the worst first.
    reports: Vec<Hardware>,
    /// Lines of the log, the worst first and leading.
    logs: Vec<LogMatch>,
    sources: Vec<Source>,
    seen_ns: u64,
    deadline_ns: u64,
    told: bool,
}

/// Reports of one fault that are kept, one a tracepoint; and lines, one a set of fields.
const MAX_REPORTS: usize = 4;

impl Faults {
    /// None yet; `run_ns` makes the ids of alerts unique.
    pub fn new(run_ns: i64) -> Self {
        Self { open: VecDeque::new(), run_ns, next: 0 }
    }

    /// Takes a report of a tracepoint, or a line of one of [`RULES`]; `false`: it is neither.
    pub fn take(&mut self, now: Now, event: &Event, drafts: &mut Vec<Draft>) -> bool {
        match &event.what {
            What::Hardware(report) if report.severity.is_none() => return true,
            What::Hardware(_) => {}
            What::Log(found) if RULES.contains(&found.rule.as_str()) => {}
            _ => return false,
        }
        self.open.retain(|f| !f.told || now.mono_ns.saturating_sub(f.seen_ns) <= SAME_NS);
        match self.open.iter().rposition(|fault| fault.is_same(event)) {
            Some(index) => self.merge(now, index, event, drafts),
            None => self.begin(now, event, drafts),
        }
        true
    }

    fn begin(&mut self, now: Now, event: &Event, drafts: &mut Vec<Draft>) {
        if self.open.len() >= MAX_FAULTS
            && let Some(oldest) = self.open.pop_front()
            && !oldest.told
        {
            drafts.push(oldest.draft(&oldest.first, self.id()));
        }
        let mut fault = Fault {
            first: event.clone(),
            reports: Vec::new(),
            logs: Vec::new(),
            sources: Vec::new(),
            seen_ns: now.mono_ns,
            deadline_ns: now.mono_ns + WITNESS_WAIT_NS,
            told: false,
        };
        fault.absorb(event);
        self.open.push_back(fault);
    }

    fn merge(&mut self, now: Now, index: usize, event: &Event, drafts: &mut Vec<Draft>) {
        let Some(fault) = self.open.get_mut(index) else { return };
        let repeats = fault.told && fault.is_led_by(event);
        fault.seen_ns = now.mono_ns;
        fault.absorb(event);
        if repeats {
            let id = self.id();
            drafts.extend(self.open.get(index).map(|fault| fault.draft(event, id)));
        }
    }

    /// Tells what has waited long enough. For a moment in which nothing is left to be taken.
    pub fn due(&mut self, now: Now, drafts: &mut Vec<Draft>) {
        self.tell(|fault| now.mono_ns >= fault.deadline_ns, drafts);
    }

    /// Tells what still waits: the agent is ending.
    pub fn finish(&mut self, drafts: &mut Vec<Draft>) {
        self.tell(|_| true, drafts);
    }

    fn tell(&mut self, due: impl Fn(&Fault) -> bool, drafts: &mut Vec<Draft>) {
        for index in 0..self.open.len() {
            if !self.open[index].told && due(&self.open[index]) {
                let id = self.id();
                let fault = &mut self.open[index];
                fault.told = true;
                drafts.push(fault.draft(&fault.first, id));
            }
        }
    }

    /// When the next fault has waited long enough, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.open.iter().filter(|f| !f.told).map(|f| f.deadline_ns).min()
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("{}-f", incident_id(self.run_ns, self.next))
    }
}

impl Fault {
    fn is_same(&self, event: &Event) -> bool {
        match &event.what {
            What::Hardware(report) => {
                let others = self.reports.iter().all(|mine| same(mine, report));
                others && self.logs.first().is_none_or(|log| agree(report, log))
            }
            What::Log(found) if self.reports.is_empty() => self.is_same_line(found),
            What::Log(found) => self.reports.iter().all(|report| agree(report, found)),
            _ => false,
        }
    }

    /// A line like one of this fault's; or, while it waits, one that contradicts it in nothing: the kernel
    /// writes the lines of a fault in one go.
    fn is_same_line(&self, found: &LogMatch) -> bool {
        let first = self.logs.first().filter(|log| log.rule == found.rule);
        first.is_some_and(|first| !self.told && are_of_one(first, found) || self.knows(found))
    }

    fn knows(&self, found: &LogMatch) -> bool {
        let is_like =
            |log: &LogMatch| log.fields == found.fields && is_uncorrected(log) == is_uncorrected(found);
        self.logs.iter().any(is_like)
    }

    fn is_led_by(&self, event: &Event) -> bool {
        match (&event.what, self.reports.first()) {
            (What::Hardware(report), Some(lead)) => lead.reporter == report.reporter,
            (What::Log(found), None) => self.logs.first().is_none_or(|log| log.fields == found.fields),
            _ => false,
        }
    }

    fn absorb(&mut self, event: &Event) {
        if !self.sources.contains(&event.source) {
            self.sources.push(event.source);
        }
        match &event.what {
            What::Hardware(report) => self.absorb_report(report),
            What::Log(found) if self.logs.len() < MAX_REPORTS && !self.knows(found) => {
                // The worst leads: it is what the alert says.
                let first = self.logs.first();
                let leads = !self.told && is_uncorrected(found) && !first.is_some_and(is_uncorrected);
                let at = if leads { 0 } else { self.logs.len() };
                self.logs.insert(at, (**found).clone());
            }
            _ => {}
        }
    }

    fn absorb_report(&mut self, report: &Hardware) {
        if let Some(mine) = self.reports.iter_mut().find(|mine| mine.reporter == report.reporter) {
            *mine = report.clone();
        } else if self.reports.len() < MAX_REPORTS {
            self.reports.push(report.clone());
            if !self.told {
                self.reports.sort_by_key(|report| std::cmp::Reverse(report.severity));
            }
        }
    }

    fn draft(&self, event: &Event, id: String) -> Draft {
        match (&self.reports[..], self.logs.first()) {
            ([], Some(found)) => kernel::log(event, found, id),
            (reports, log) => hardware::draft(event, reports, log, &self.sources, id),
        }
    }
}

/// Reports of two tracepoints of one fault, or of one tracepoint about the same thing.
fn same(a: &Hardware, b: &Hardware) -> bool {
    let value = |name: &str| b.labels.iter().find(|(n, _)| *n == name).map(|(_, v)| v);
    let agree = a.labels.iter().all(|(name, mine)| value(name).is_none_or(|theirs| theirs == mine));
    a.rule == b.rule && agree && (a.reporter != b.reporter || a.labels == b.labels)
}

/// Whether a line can be of the reported fault: it names nothing else and is no worse. A line may name the port
/// that reports before the device at fault: that counts, too.
fn agree(report: &Hardware, log: &LogMatch) -> bool {
    report.rule == log.rule
        && !(is_corrected(report) && is_uncorrected(log))
        && report.labels.iter().all(|(name, mine)| {
            field(log, name)
                .is_none_or(|theirs| theirs == mine || is_place(name) && has_word(&log.line, mine))
        })
}

/// Whether two lines contradict each other in nothing: the port that reports names the device at fault. Who wrote
/// the line (`kernel_device`, of the record, not of its text) is none of the fault's properties.
fn are_of_one(a: &LogMatch, b: &LogMatch) -> bool {
    a.fields.iter().filter(|(name, _)| name != "kernel_device").all(|(name, mine)| {
        field(b, name).is_none_or(|theirs| {
            theirs == mine || is_place(name) && (has_word(&a.line, theirs) || has_word(&b.line, mine))
        })
    })
}

fn field<'a>(log: &'a LogMatch, name: &str) -> Option<&'a str> {
    log.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// Fields whose value says what it is wherever it stands in a line: not a bare number, not a class.
fn is_place(name: &str) -> bool {
    matches!(name, "device" | "controller")
}

/// Whether the line has this word, and not only as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let ends = |next: Option<char>| !next.is_some_and(char::is_alphanumeric);
    !word.is_empty()
        && line.match_indices(word).any(|(at, _)| {
            ends(line[..at].chars().next_back()) && ends(line[at + word.len()..].chars().next())
        })
}

fn is_corrected(report: &Hardware) -> bool {
    let is_severity = |name: &str| matches!(name, "severity" | "type");
    report.labels.iter().any(|(name, value)| *name == "class" && value == "CE")
        || report.details.iter().any(|(name, value)| is_severity(name) && value == "corrected")
}

/// Whether a line tells of damage, in its fields or, where it has none for that, in its words.
fn is_uncorrected(log: &LogMatch) -> bool {
    const WORDS: [&str; 8] =
        ["Exception", "Uncorrected", "Uncorrectable", "UE", "fatal", "Fatal", "recoverable", "Deferred"];
    let said = field(log, "class").or_else(|| field(log, "severity")).unwrap_or(&log.line);
    WORDS.iter().any(|word| has_word(said, word))
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
