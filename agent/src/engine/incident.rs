//! One incident out of several witnesses. The same kill arrives as an eBPF record and as kernel-log
//! lines, in any order, a few milliseconds apart: it waits at most [`WITNESS_WAIT_NS`] for the
//! second, is told once, and what arrives later fills in what was unknown.

mod body;
mod together;
mod unproven;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::event::{Event, IoError, LogMatch, Oom, Source};
use crate::time::{MILLI, Now, SECOND};

/// Longest wait for a second witness.
pub const WITNESS_WAIT_NS: u64 = 50 * MILLI;
/// Incidents remembered; beyond it the oldest that was told is forgotten, else the oldest is told at once.
pub const MAX_OPEN: usize = 1024;
/// Two reports of one pid that arrive within this time are the same kill.
const OOM_SAME_NS: u64 = 10 * SECOND;
/// Two failures of one sector within this time are the same.
const IO_ERROR_SAME_NS: u64 = 2 * SECOND;
/// Rules of the kernel log whose lines may tell of one failed request.
pub const IO_ERROR_RULES: [&str; 4] = ["io_error", "removable_io_error", "nvme_error", "discard_refused"];
/// The kernel log's clock (`local_clock`) is not disciplined by NTP as `CLOCK_MONOTONIC` is: they drift
/// apart by up to 100 ppm of the uptime.
const DRIFT_PER_UPTIME: u64 = 10_000;

/// What an incident is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// An OOM kill.
    Oom(Box<Oom>),
    /// A failed block request.
    IoError(Box<IoError>),
}

/// An incident as far as it is known.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states")]
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Unique number within this run.
    pub number: u64,
    /// The kernel's time of the first report.
    pub at: Now,
    /// What happened.
    pub body: Body,
    /// Who saw it, in the order of arrival.
    pub sources: Vec<Source>,
    /// At which moment each witness named the (first) victim.
    heard: Vec<(Source, Now)>,
    last_at: Now,
    last_source: Option<Source>,
    seen_ns: u64,
    deadline_ns: u64,
    told: bool,
    /// When what came after it was told is told too: victims of one kill come one by one.
    news_ns: Option<u64>,
    /// Counted as a kill of a whole group.
    counted: bool,
    /// Told by an earlier run of the agent, which knew more of it than is remembered.
    remembered: bool,
    /// A mark without a kill, unless the kernel log says otherwise; not among [`Incidents::oom_seen`].
    unproven: bool,
}

/// An incident to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The incident.
    pub incident: Incident,
    /// It was told before, and more is known now.
    pub update: bool,
}

/// Sources that are up: nobody waits for one that is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Witnesses {
    /// For OOM kills.
    pub oom: Vec<Source>,
    /// For failed block requests.
    pub io_error: Vec<Source>,
}

impl Witnesses {
    /// Notes that a source of the kernel's log is up or down from now on.
    pub fn stands(&mut self, source: Source, is_up: bool) {
        for all in [&mut self.oom, &mut self.io_error] {
            all.retain(|one| *one != source);
            all.extend(is_up.then_some(source));
        }
    }
}

/// Incidents that are open or were told a short while ago.
#[derive(Debug)]
pub struct Incidents {
    open: VecDeque<Incident>,
    witnesses: Witnesses,
    next: u64,
    /// OOM incidents since the start, for the comparison with the kernel's own counter.
    oom_seen: u64,
    /// Kills of whole groups, each once.
    group_kills: u64,
    forgotten: u64,
    /// Marks of exiting tasks since the last call of [`Incidents::dismissed`].
    dismissed: u64,
    /// Kinds of disagreement between the witnesses of incidents that are over.
    disagreed: Vec<&'static str>,
}

impl Incidents {
    /// None yet.
    pub fn new(witnesses: Witnesses) -> Self {
        Self {
            open: VecDeque::new(),
            witnesses,
            next: 0,
            oom_seen: 0,
            group_kills: 0,
            forgotten: 0,
            dismissed: 0,
            disagreed: Vec::new(),
        }
    }

    /// Remembers an OOM kill that an earlier run of the agent told, so that reading the
    /// kernel log again does not tell it twice.
    pub fn remember(&mut self, now: Now, at: Now, body: Body) {
        self.push(now, at, body, Vec::new());
        if let Some(incident) = self.open.back_mut() {
            incident.told = true;
            incident.remembered = true;
        }
    }

    /// Takes an event of one of the kinds an incident is made of; tells what is complete.
    pub fn take(&mut self, now: Now, event: &Event) -> Vec<Report> {
        let Some(body) = Body::of(&event.what) else { return Vec::new() };
        let mut reports = Vec::new();
        let number = |open: &VecDeque<Incident>, index: usize| open.get(index).map(|i| i.number);
        let about = if let Some(index) = self.same(now, event, &body) {
            self.prove(index, now, event.source);
            reports.extend(self.merge(index, now, event, body));
            number(&self.open, index)
        } else if self.is_doubtful(event) {
            reports.extend(self.make_room());
            self.doubt(now, event, body);
            None
        } else if let Some((index, oom)) = self.kill_of(now, event) {
            self.join(index, now, event, oom);
            number(&self.open, index)
        } else {
            self.oom_seen += u64::from(matches!(body, Body::Oom(_)));
            reports.extend(self.make_room());
            self.push(now, event.at, body, vec![event.source]);
            self.open.back().map(|i| i.number)
        };
        self.fold(now, about);
        self.bear_out(now);
        reports.extend(self.tell(now, |_| false));
        reports
    }

    /// The incident that an event tells of once more. Of several kills of one process number it is one that this witness
    /// has not told of: of those that wait for it the oldest, since each tells in the order of the kernel, else the newest.
    fn same(&self, now: Now, event: &Event, body: &Body) -> Option<usize> {
        let same = |i: &Incident| i.is_same(now, event, body);
        let unheard = |i: &Incident| same(i) && i.is_kill_of(body) && i.heard_at(event.source).is_none();
        let waits = |i: &Incident| !i.told && unheard(i);
        let newest = || self.open.iter().rposition(unheard).or_else(|| self.open.iter().rposition(same));
        self.open.iter().position(waits).or_else(newest)
    }

    fn push(&mut self, now: Now, at: Now, body: Body, sources: Vec<Source>) {
        let number = self.next;
        self.next += 1;
        let deadline_ns = now.mono_ns + WITNESS_WAIT_NS;
        self.open.push_back(Incident {
            number,
            at,
            body,
            heard: sources.iter().map(|&source| (source, at)).collect(),
            last_at: at,
            last_source: sources.last().copied(),
            sources,
            seen_ns: now.mono_ns,
            deadline_ns,
            told: false,
            news_ns: None,
            counted: false,
            remembered: false,
            unproven: false,
        });
    }

    fn merge(&mut self, index: usize, now: Now, event: &Event, body: Body) -> Option<Report> {
        let incident = self.open.get_mut(index)?;
        incident.seen_by(now, event);
        if incident.is_kill_of(&body) {
            incident.heard.push((event.source, event.at));
        }
        let before = incident.body.knowledge();
        incident.body.absorb(body);
        let worth_telling = incident.told && !incident.remembered && incident.body.knowledge() > before;
        worth_telling.then(|| Report { incident: incident.clone(), update: true })
    }

    /// Waits for these from now on.
    pub fn heed(&mut self, witnesses: &Witnesses) {
        self.witnesses.clone_from(witnesses);
    }

    /// Tells what has all its witnesses or has waited long enough. For a moment in which nothing is left to be
    /// taken: the second witness may be next in the queue.
    pub fn due(&mut self, now: Now) -> Vec<Report> {
        let overdue = |incident: &Incident| now.mono_ns >= incident.deadline_ns;
        self.fold_unheard(now, overdue);
        let mut reports = self.tell(now, overdue);
        reports.extend(self.news(|at_ns| now.mono_ns >= at_ns));
        reports
    }

    fn news(&mut self, due: impl Fn(u64) -> bool) -> Vec<Report> {
        let fresh = self.open.iter_mut().filter(|i| i.news_ns.is_some_and(&due));
        fresh
            .map(|incident| {
                incident.news_ns = None;
                Report { incident: incident.clone(), update: true }
            })
            .collect()
    }

    /// Kinds of disagreement that became certain since the last call.
    pub fn disagreed(&mut self) -> std::vec::Drain<'_, &'static str> {
        self.disagreed.drain(..)
    }

    /// Tells what is complete or `overdue`, and forgets what is old.
    fn tell(&mut self, now: Now, overdue: impl Fn(&Incident) -> bool) -> Vec<Report> {
        let mut reports = Vec::new();
        self.dismiss(&overdue);
        for incident in self.open.iter_mut().filter(|i| !i.told && !i.unproven) {
            if overdue(incident) || incident.complete(&self.witnesses) {
                incident.told = true;
                reports.push(Report { incident: incident.clone(), update: false });
            }
        }
        let Self { open, witnesses, disagreed, .. } = self;
        open.retain(|i| {
            let waits = !i.told || i.news_ns.is_some();
            let stays = waits || now.mono_ns.saturating_sub(i.seen_ns) < i.body.same_ns();
            disagreed.extend(i.disagreement(witnesses).filter(|_| !stays));
            stays
        });
        reports
    }

    /// Tells what still waits for a witness: the agent is ending.
    pub fn finish(&mut self) -> Vec<Report> {
        let untold = self.open.iter_mut().filter(|i| !i.told);
        let mut reports: Vec<_> = untold
            .map(|incident| {
                incident.told = true;
                Report { incident: incident.clone(), update: false }
            })
            .collect();
        reports.extend(self.news(|_| true));
        reports
    }

    fn make_room(&mut self) -> Option<Report> {
        if self.open.len() < MAX_OPEN {
            return None;
        }
        self.forgotten += 1;
        if let Some(index) = self.open.iter().position(|i| i.told) {
            let gone = self.open.remove(index)?;
            return gone.news_ns.is_some().then_some(Report { incident: gone, update: true });
        }
        let incident = self.open.pop_front()?;
        self.oom_seen += u64::from(incident.unproven);
        Some(Report { incident, update: false })
    }

    /// When the next incident has waited long enough, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.open.iter().filter_map(|i| if i.told { i.news_ns } else { Some(i.deadline_ns) }).min()
    }

    /// OOM kills seen since the start, each once.
    pub fn oom_seen(&self) -> u64 {
        self.oom_seen
    }

    /// Kills of whole groups since the start, each once.
    pub fn group_kills(&self) -> u64 {
        self.group_kills
    }

    /// Incidents forgotten because of [`MAX_OPEN`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Incident {
    fn is_same(&self, now: Now, event: &Event, body: &Body) -> bool {
        let again = self.is_kill_of(body) && self.heard_at(event.source).is_some_and(|at| at != event.at);
        !again && self.is_recent(now, event.at, self.body.same_ns()) && self.body.is_same(body)
    }

    /// Whether it is about a kill of the process that it names first. A witness names that once: with the same number
    /// at another moment it is another process.
    fn is_kill_of(&self, body: &Body) -> bool {
        matches!((&self.body, body), (Body::Oom(a), Body::Oom(b)) if a.victim.pid == b.victim.pid)
    }

    fn heard_at(&self, source: Source) -> Option<Now> {
        self.heard.iter().find(|(who, _)| *who == source).map(|(_, at)| *at)
    }

    fn seen_by(&mut self, now: Now, event: &Event) {
        self.seen_ns = now.mono_ns;
        (self.last_at, self.last_source) = (event.at, Some(event.source));
        if !self.sources.contains(&event.source) {
            self.sources.push(event.source);
        }
    }

    fn is_recent(&self, now: Now, at: Now, same_ns: u64) -> bool {
        let drift = at.mono_ns.max(self.at.mono_ns) / DRIFT_PER_UPTIME;
        now.mono_ns.abs_diff(self.seen_ns) <= same_ns
            && at.mono_ns.abs_diff(self.last_at.mono_ns) <= same_ns + drift
    }

    /// Which witness of a kill said nothing although it was up.
    fn disagreement(&self, witnesses: &Witnesses) -> Option<&'static str> {
        let silent = |source| witnesses.oom.contains(&source) && !self.sources.contains(&source);
        match self.body {
            Body::Oom(_) if self.remembered || self.unproven => None,
            Body::Oom(_) if silent(Source::Ebpf) => Some("log_only"),
            Body::Oom(_) if silent(Source::Kmsg) || silent(Source::Journal) => Some("ebpf_only"),
            // The kernel limits its lines on I/O errors: their absence says nothing.
            Body::Oom(_) | Body::IoError(_) => None,
        }
    }

    /// Nobody who could add something is still to be heard.
    fn complete(&self, witnesses: &Witnesses) -> bool {
        match self.body {
            // The others of its group follow one by one.
            Body::Oom(ref oom) if oom.group.is_some() => false,
            Body::Oom(_) => witnesses.oom.iter().all(|w| self.sources.contains(w)),
            Body::IoError(_) => witnesses.io_error.iter().all(|w| self.sources.contains(w)),
        }
    }
}

/// Whether a line of the kernel log tells of one failed request, and of which.
pub fn is_io_error(line: &LogMatch) -> bool {
    io_error(line).is_some()
}

fn io_error(line: &LogMatch) -> Option<IoError> {
    if IO_ERROR_RULES.contains(&line.rule.as_str()) { IoError::from_log(line) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Task, What};

    fn ms(ms: u64) -> Now {
        Now { mono_ns: 1_000 * SECOND + ms * MILLI, wall_ns: 0 }
    }

    fn oom(source: Source, at: u64, pid: u32, constraint: bool) -> Event {
        let victim = Task { pid: Some(pid), comm: Some("java".into()), ..Task::default() };
        let constraint = constraint.then_some(crate::event::Constraint::Memcg);
        let what = What::Oom(Box::new(Oom { victim, constraint, count: 1, ..Oom::default() }));
        Event { at: ms(at), source, historic: false, what }
    }

    fn both() -> Incidents {
        let all = vec![Source::Ebpf, Source::Kmsg];
        Incidents::new(Witnesses { oom: all.clone(), io_error: all })
    }

    /// Feeds events at their own times, then waits; returns for each report `(pid, sources, update)`.
    fn run(mut incidents: Incidents, events: &[Event]) -> Vec<(u32, usize, bool)> {
        let mut reports = Vec::new();
        for event in events {
            reports.extend(incidents.due(event.at));
            reports.extend(incidents.take(event.at, event));
        }
        let end = events.last().map_or(ms(0), |e| e.at).plus_secs(1);
        reports.extend(incidents.due(end));
        let pid = |b: &Body| match b {
            Body::Oom(o) => o.victim.pid.unwrap_or(0),
            Body::IoError(e) => e.sector as u32,
        };
        reports.iter().map(|r| (pid(&r.incident.body), r.incident.sources.len(), r.update)).collect()
    }

    #[test]
    fn two_witnesses_make_one_incident_at_once() {
        let events = [oom(Source::Ebpf, 0, 7, false), oom(Source::Kmsg, 3, 7, true)];
        let mut incidents = both();
        assert_eq!(incidents.take(ms(0), &events[0]), []);
        assert_eq!(incidents.next_deadline(), Some(ms(50).mono_ns));
        let told = incidents.take(ms(3), &events[1]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].incident.sources, [Source::Ebpf, Source::Kmsg]);
        assert_eq!(incidents.next_deadline(), None);
        assert_eq!(run(both(), &[events[1].clone(), events[0].clone()]), [(7, 2, false)], "any order");
    }

    #[test]
    fn after_a_stall_the_witness_in_the_queue_is_heard_before_the_deadline() {
        let mut incidents = both();
        assert_eq!(incidents.take(ms(0), &oom(Source::Ebpf, 0, 7, false)), []);
        assert_eq!(incidents.take(ms(200), &oom(Source::Kmsg, 150, 8, true)), [], "of another kill");
        let told = incidents.take(ms(200), &oom(Source::Kmsg, 3, 7, true));
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].update, told[0].incident.sources.len()), (false, 2));
        assert_eq!(incidents.due(ms(250)).len(), 1);
    }

    #[test]
    fn a_late_witness_updates_only_with_news() {
        let known = [oom(Source::Ebpf, 0, 7, true), oom(Source::Kmsg, 80, 7, true)];
        assert_eq!(run(both(), &known), [(7, 1, false)]);
        let news = [oom(Source::Ebpf, 0, 7, false), oom(Source::Kmsg, 80, 7, true)];
        assert_eq!(run(both(), &news), [(7, 1, false), (7, 2, true)]);
    }

    #[test]
    fn different_kills_are_different_incidents() {
        let events = [
            oom(Source::Ebpf, 0, 7, true),
            oom(Source::Ebpf, 1, 8, true),
            oom(Source::Ebpf, 20_000, 7, true),
        ];
        assert_eq!(run(both(), &events), [(7, 1, false), (8, 1, false), (7, 1, false)]);
    }

    /// Kills of pid 7 as its witnesses tell of them, in order of arrival: who, at which moment of the kernel (ms), and
    /// when that process started. Expects for each incident how many sources it has in the end.
    fn check_reuse(events: &[(Source, u64, Option<u64>)], expect: &[usize]) {
        let mut incidents = both();
        for &(source, at, start) in events {
            let mut event = oom(source, at, 7, true);
            if let What::Oom(oom) = &mut event.what {
                oom.victim.start_ticks = start;
            }
            incidents.take(ms(at + 1), &event);
        }
        let found: Vec<_> = incidents.open.iter().map(|i| i.sources.len()).collect();
        assert_eq!(found, expect, "{events:?}");
        assert_eq!(incidents.oom_seen(), expect.len() as u64, "{events:?}");
    }

    #[test]
    fn a_process_number_that_is_used_again_is_another_kill() {
        let (ebpf, log) = (Source::Ebpf, Source::Kmsg);
        let no = None;
        check_reuse(&[(ebpf, 0, no), (log, 1, no), (ebpf, 900, no), (log, 901, no)], &[2, 2]);
        check_reuse(&[(ebpf, 0, no), (ebpf, 20, no), (log, 1, no), (log, 21, no)], &[2, 2]);
        check_reuse(&[(log, 1, no), (log, 21, no), (ebpf, 0, no), (ebpf, 20, no)], &[2, 2]);
        check_reuse(&[(ebpf, 0, no), (ebpf, 20, no)], &[1, 1]);
        check_reuse(&[(log, 0, no), (log, 9_000, no), (log, 9_500, no)], &[1, 1, 1]);
        // One record, read twice.
        check_reuse(&[(log, 5, no), (log, 5, no), (ebpf, 4, no)], &[2]);
        // Who knows the start is not misled by the order.
        let (first, second) = (Some(100), Some(130));
        check_reuse(&[(ebpf, 0, first), (ebpf, 20, second), (log, 21, second), (log, 1, no)], &[2, 2]);
        check_reuse(&[(ebpf, 0, first), (log, 5, second)], &[1, 1]);
        check_reuse(&[(ebpf, 0, first), (log, 5, first)], &[2]);
    }

    #[test]
    fn nobody_waits_for_a_source_that_is_down() {
        let mut incidents = Incidents::new(Witnesses { oom: vec![Source::Kmsg], ..Witnesses::default() });
        assert_eq!(incidents.take(ms(0), &oom(Source::Kmsg, 0, 7, true)).len(), 1);
    }

    fn io_error(source: Source, at: u64, device: &str, sector: u64) -> Event {
        let what = if source == Source::Ebpf {
            What::IoError(Box::new(IoError { device: device.into(), sector, ..IoError::default() }))
        } else {
            What::Log(Box::new(LogMatch {
                rule: "io_error".into(),
                severity: crate::alert::Severity::Critical,
                meaning: String::new(),
                line: String::new(),
                fields: vec![("device".into(), device.into()), ("sector".into(), sector.to_string())],
                ..LogMatch::default()
            }))
        };
        Event { at: ms(at), source, historic: false, what }
    }

    #[test]
    fn a_failed_request_is_one_incident_with_its_line_in_the_log() {
        let all = vec![Source::Ebpf, Source::Kmsg];
        let both = || Incidents::new(Witnesses { io_error: all.clone(), ..Witnesses::default() });
        let (log, seen) = (io_error(Source::Kmsg, 0, "sda", 8), io_error(Source::Ebpf, 1, "sda", 8));
        assert_eq!(run(both(), &[log.clone(), seen.clone()]), [(8, 2, false)]);
        assert_eq!(run(both(), &[seen.clone(), log.clone()]), [(8, 2, false)]);
        // The kernel limits its lines: of many errors only some are in the log.
        let other = io_error(Source::Ebpf, 2, "sda", 16);
        assert_eq!(run(both(), &[log.clone(), seen.clone(), other]), [(8, 2, false), (16, 1, false)]);
        let elsewhere = io_error(Source::Ebpf, 1, "sdb", 8);
        assert_eq!(run(both(), &[log, elsewhere]), [(8, 1, false), (8, 1, false)]);
        let again = io_error(Source::Ebpf, 5_000, "sda", 8);
        assert_eq!(run(both(), &[seen, again]), [(8, 1, false), (8, 1, false)]);
    }

    #[test]
    fn what_an_earlier_run_told_is_not_told_again() {
        let mut incidents = both();
        let event = oom(Source::Kmsg, 0, 7, true);
        let What::Oom(body) = &event.what else { unreachable!() };
        incidents.remember(event.at, event.at, Body::Oom(body.clone()));
        assert_eq!(incidents.take(ms(9_000), &event), []);
        assert_eq!(incidents.due(ms(9_100)), []);
        let other = oom(Source::Kmsg, 8_999, 8, true);
        incidents.take(ms(9_000), &other);
        assert_eq!(incidents.due(ms(9_100)).len(), 1);
    }

    #[test]
    fn memory_is_bounded_and_nothing_untold_is_dropped() {
        let mut incidents = both();
        let mut told = 0;
        for pid in 0..3000 {
            told += incidents.take(ms(0), &oom(Source::Ebpf, 0, pid, true)).len();
        }
        assert!(incidents.open.len() <= MAX_OPEN);
        told += incidents.due(ms(51)).len();
        assert_eq!((told, incidents.oom_seen()), (3000, 3000));
    }
}
