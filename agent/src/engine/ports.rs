//! What shapes an engine, what goes in and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use super::absent::Absence;
use super::analysis::{Plan, rooms::Room};
use super::board::Escalation;
use super::compose::Identity;
use super::derive::Formula;
use super::disk::DiskPolicy;
use super::hangs::Follow;
use super::incident::Witnesses;
use super::limits::Rule;
use super::quiet::maintenance::Window;
use super::snapshot::Snapshot;
use super::speak::Manners;
use crate::alert::Alert;
use crate::event::{Event, JournalMark, KmsgMark, SyslogMark};
use crate::sample::Batch;

/// Names of the labels that alerts may have.
#[derive(Debug, Default)]
pub struct KnownLabels {
    /// Any alert.
    pub any: BTreeSet<String>,
    /// Those on a metric that is measured, by its name.
    pub of: BTreeMap<String, BTreeSet<String>>,
}

/// All that shapes an engine.
#[derive(Debug)]
pub struct Settings {
    /// Who speaks.
    pub identity: Identity,
    /// Names that alerts may have besides those of the rules here: metrics, rules of events. Empty: not known.
    pub known: Vec<String>,
    /// Labels that alerts may have. Empty: not known.
    pub labels: KnownLabels,
    /// Threshold rules.
    pub rules: Vec<Rule>,
    /// What is expected to be there.
    pub absences: Vec<Absence>,
    /// Maintenance windows.
    pub maintenance: Vec<Window>,
    /// When a severity is raised.
    pub escalation: Escalation,
    /// De-duplication and grouping.
    pub manners: Manners,
    /// Sources that are up.
    pub witnesses: Witnesses,
    /// Seconds after the start in which levels are learned and only events speak.
    pub warmup_secs: u64,
    /// Samples kept per series.
    pub history_capacity: usize,
    /// Rates and ratios.
    pub formulas: &'static [Formula],
    /// What the analyzers are held to.
    pub analysis: Plan,
    /// What may be used up.
    pub rooms: &'static [Room],
    /// What block devices are held to.
    pub disks: DiskPolicy,
    /// Wire name of the kernel's own count of OOM kills.
    pub oom_counter: &'static str,
}

/// What goes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// One pass of a collector.
    Batch(&'a mut Batch),
    /// Something happened.
    Event(Event),
    /// Time passed, and nothing else is left to be taken.
    Tick,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// To be told; must arrive.
    Alert(Box<Alert>),
    /// Everything the kernel log said up to here has been turned into alerts that came out before.
    Mark(KmsgMark),
    /// The same of the journal.
    JournalMark(JournalMark),
    /// The same of the syslog file.
    SyslogMark(SyslogMark),
    /// So many kills of the kernel's own count (`oom_kill`) are accounted for by the mark that follows.
    Accounted(u64),
    /// What is to be kept over a restart, now that the alerts before it came out.
    Keep(Box<Snapshot>),
    /// For the agent's own log.
    Notice(String),
    /// A hung task whose end is to be watched for.
    Follow(Box<Follow>),
}
