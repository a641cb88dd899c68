//! From records of the kernel log to events. Pure: bytes and the time in, events out.

use std::sync::Arc;

use super::flood::Flood;
use super::hang_text::HangText;
use super::killer_text;
use super::killers::{Killers, Saying};
use super::oom_text::OomText;
use super::record::{Part, Record};
use super::rules::{Hits, MAX_FIELD, RuleSet, cut};
use crate::event::{Event, Hang, KmsgMark, LogMatch, Lost, MAX_LINE, Source, What};
use crate::time::{Now, SECOND};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// What the buffer holds at the start happened before this agent: it is counted, not alerted.
    Fresh,
    /// What comes after this record is news, however old: the agent was away for a while. Only for a
    /// mark of this boot (`/proc/sys/kernel/random/boot_id`); sequence numbers begin anew with each.
    After {
        /// Last record that was read.
        seq: u64,
    },
}

/// A log that is written faster than it is read never comes to an end. What carries a time this long
/// after the beginning is news all the same; the two clocks may be some seconds apart.
const STORM_NS: u64 = 10 * SECOND;

/// Longest line put together from fragments, bytes.
const MAX_JOINED: usize = 4 * MAX_LINE;

/// Judges records one after the other.
#[derive(Debug)]
pub struct Scanner {
    rules: Arc<RuleSet>,
    oom: OomText,
    hang: HangText,
    /// Up to here events are not told.
    skip: Option<u64>,
    historic: bool,
    began_ns: Option<u64>,
    any_facility: bool,
    /// The journal tells what systemd-oomd and earlyoom say, and who vouches for it.
    only_oomd: bool,
    killers: Killers,
    flood: Flood,
    /// Of what patterns of the user find.
    own: Flood,
    last_seq: Option<u64>,
    marked: Option<u64>,
    /// A fragment whose rest may come.
    held: Option<Held>,
    unreadable: u64,
}

#[derive(Debug)]
struct Held {
    seq: u64,
    time_us: u64,
    text: String,
    device: [Option<String>; 2],
}

/// Dictionary keys kept as fields, and the names they get there.
const DICTIONARY: [(&str, &str); 2] = [("SUBSYSTEM", "subsystem"), ("DEVICE", "kernel_device")];

impl Scanner {
    /// A scanner that begins at `resume`.
    pub fn new(rules: Arc<RuleSet>, resume: Resume) -> Self {
        let skip = match resume {
            Resume::Fresh => None,
            Resume::After { seq } => Some(seq),
        };
        Self {
            rules,
            oom: OomText::default(),
            hang: HangText::default(),
            skip,
            historic: skip.is_none(),
            began_ns: None,
            any_facility: false,
            only_oomd: false,
            killers: Killers::default(),
            flood: Flood::of(Source::Kmsg),
            own: Flood::of(Source::Kmsg),
            last_seq: skip,
            marked: None,
            held: None,
            unreadable: 0,
        }
    }

    /// Takes records that a process wrote for the kernel's. Only for tests: it lets anybody forge events.
    #[doc(hidden)]
    #[must_use]
    pub fn trust_any_facility(mut self) -> Self {
        self.any_facility = true;
        self
    }

    /// Leaves the words of killers that have a unit to the journal.
    #[must_use]
    pub fn beside_journal(mut self, is_read: bool) -> Self {
        self.only_oomd = is_read;
        self
    }

    /// Says of floods that they came from there.
    #[must_use]
    pub fn out_of(mut self, source: Source) -> Self {
        (self.flood, self.own) = (Flood::of(source), Flood::of(source));
        self
    }

    /// Takes a whole line of the kernel that came another way than through `/dev/kmsg`.
    pub fn relayed(
        &mut self,
        time_us: u64,
        text: &str,
        device: &dyn Fn(usize) -> Option<String>,
        now: Now,
        out: &mut Vec<Event>,
    ) {
        // No record of the device: behind every one that was read.
        self.line(u64::MAX, time_us, text, device, now, out);
    }

    /// Takes what one `read` of `/dev/kmsg` gave.
    pub fn record(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Event>) {
        let Ok(record) = Record::parse(bytes) else {
            self.unreadable += 1;
            return;
        };
        self.began_ns.get_or_insert(now.mono_ns);
        self.gap(record.seq, now, out);
        if !record.from_kernel() && !self.any_facility {
            self.user_line(&record, now, out);
            return;
        }
        match (record.part, self.held.as_mut()) {
            (Part::Next, Some(held)) => {
                let room = MAX_JOINED.saturating_sub(held.text.len());
                held.text.push_str(cut(&record.text(), room));
                return;
            }
            (Part::Fragment, _) => {
                self.release(now, out);
                let device = DICTIONARY.map(|(key, _)| record.value(key).map(Into::into));
                let (seq, time_us) = (record.seq, record.time_us);
                self.held = Some(Held { seq, time_us, text: record.text().into_owned(), device });
                return;
            }
            (_, held) => {
                if held.is_some() {
                    self.release(now, out);
                }
            }
        }
        let value = |i: usize| record.value(DICTIONARY[i].0).map(Into::into);
        self.line(record.seq, record.time_us, &record.text(), &value, now, out);
    }

    /// What a process wrote is believed in one thing: that a killer in user space says it killed.
    fn user_line(&mut self, record: &Record<'_>, now: Now, out: &mut Vec<Event>) {
        if !killer_text::begins(record.written()) {
            return;
        }
        let (historic, told) = self.standing(record.seq, record.time_us, now);
        let Some((killer, pid, word)) = killer_text::kmsg_line(&record.text()).filter(|_| !told) else {
            return;
        };
        if !self.only_oomd || killer == "oomd" {
            let at = moment(record.time_us, now);
            let by = Saying { killer, pid, at, source: Source::UserLog, historic };
            self.killers.hear(&by, word, now, out);
        }
    }

    /// Whether a record is of before the agent, and whether it was told by an earlier run.
    fn standing(&mut self, seq: u64, time_us: u64, now: Now) -> (bool, bool) {
        let began_ns = *self.began_ns.get_or_insert(now.mono_ns);
        let historic = self.historic && ns(time_us) < began_ns.saturating_add(STORM_NS);
        (historic, self.skip.is_some_and(|skip| seq <= skip))
    }

    /// Everything there was has been read. `settled`: and nothing came for a while, so that what was
    /// begun is complete.
    pub fn drained(&mut self, settled: bool, now: Now, out: &mut Vec<Event>) {
        self.killers.expire(now, out);
        self.flood.due(now, false, out);
        self.own.due(now, false, out);
        if settled {
            self.release(now, out);
            self.killers.settle(out);
            let at = |time_us| moment(time_us, now);
            let historic = self.historic;
            self.hang.flush(&mut |time_us, hang| out.push(hang_event(at(time_us), historic, hang)));
        }
        // A mark beyond the newest record is of another boot: what comes is news.
        self.skip = None;
        self.historic = false;
        if let Some(seq) = self.last_seq.filter(|_| self.last_seq != self.marked) {
            self.marked = Some(seq);
            out.push(event(now, false, What::KmsgMark(KmsgMark { seq })));
        }
    }

    /// Whether something was begun that [`drained`](Self::drained) with `settled` would complete.
    pub fn pending(&self) -> bool {
        self.held.is_some() || self.hang.pending() || self.killers.due_ns().is_some()
    }

    /// When something that waits must be told by [`drained`](Self::drained), monotonic nanoseconds.
    pub fn due_ns(&self) -> Option<u64> {
        [self.killers.due_ns(), self.flood.due_ns(), self.own.due_ns()].into_iter().flatten().min()
    }

    /// Tells of a flood that is still counted: nothing comes any more.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Event>) {
        self.drained(true, now, out);
        self.flood.due(now, true, out);
        self.own.due(now, true, out);
    }

    /// Records that are not as the kernel writes them, since the start.
    pub fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Tells of records that were overwritten before they could be read.
    fn gap(&mut self, seq: u64, now: Now, out: &mut Vec<Event>) {
        if let Some(last) = self.last_seq
            && let Some(count) = seq.checked_sub(last).filter(|&step| step > 1).map(|step| step - 1)
        {
            out.push(event(now, false, What::Lost(Lost { part: "kmsg", count, reason: "overwritten" })));
        }
        self.last_seq = Some(seq);
    }

    fn release(&mut self, now: Now, out: &mut Vec<Event>) {
        if let Some(Held { seq, time_us, text, device }) = self.held.take() {
            self.line(seq, time_us, &text, &|i| device[i].clone(), now, out);
        }
    }

    fn line(
        &mut self,
        seq: u64,
        time_us: u64,
        text: &str,
        device: &dyn Fn(usize) -> Option<String>,
        now: Now,
        out: &mut Vec<Event>,
    ) {
        // What was told before is still read: a kill may have its first lines there.
        let (historic, told) = self.standing(seq, time_us, now);
        let at = moment(time_us, now);
        let found = |mut found: LogMatch| {
            for (i, (_, name)) in DICTIONARY.iter().enumerate() {
                found
                    .fields
                    .extend(device(i).map(|value| ((*name).to_owned(), cut(&value, MAX_FIELD).to_owned())));
            }
            event(at, historic, What::Log(Box::new(found)))
        };
        // First of all: a line of a flood is not even searched. What begins a report is never one.
        if historic || told || self.assembles() || !self.flood.again(text, at, now) {
            let hits = self.rules.hits(text.as_bytes());
            if hits.opens() || self.assembles() {
                self.assemble(time_us, text, (historic, told), now, out);
            }
            if told {
                return;
            }
            self.judge(hits, text, historic, &found, now, out);
        }
        let Self { rules, own, .. } = self;
        if historic {
            rules.find_custom(text, &mut |one| out.push(found(one)));
        } else if rules.has_custom() {
            for one in own.own(rules, text, now) {
                out.extend(own.pass(found(one), false, now));
            }
        }
    }

    /// Asks the rules whose literals are there.
    fn judge(
        &mut self,
        hits: Hits,
        text: &str,
        historic: bool,
        found: &dyn Fn(LogMatch) -> Event,
        now: Now,
        out: &mut Vec<Event>,
    ) {
        if hits.is_empty() {
            return;
        }
        let Self { rules, flood, .. } = self;
        if historic {
            rules.find_hit(hits, text, &mut |one| out.push(found(one)));
            return;
        }
        let (asked, is_one_left_out) = flood.asked(hits, |rule| rules.may_be_worse(rule, text), now);
        let mut event = None;
        match rules.find_hit(asked, text, &mut |one| event = Some(found(one))) {
            Some(rule) => flood.matched(rule),
            None if is_one_left_out => flood.left_out(),
            None => {}
        }
        // A line that begins a report is for more than its rule.
        out.extend(event.and_then(|event| flood.pass(event, !hits.opens(), now)));
    }

    /// What is put together of several lines.
    fn assemble(
        &mut self,
        time_us: u64,
        text: &str,
        (historic, told): (bool, bool),
        now: Now,
        out: &mut Vec<Event>,
    ) {
        if let Some(oom) = self.oom.line(time_us, text)
            && !told
        {
            out.push(event(moment(time_us, now), historic, What::Oom(Box::new(oom))));
        }
        self.hang.line(time_us, text, &mut |began_us, hang| {
            if !told {
                out.push(hang_event(moment(began_us, now), historic, hang));
            }
        });
    }

    /// Whether any line of the kernel may be part of something that was begun.
    pub fn assembles(&self) -> bool {
        self.oom.is_open() || self.hang.pending()
    }
}

fn ns(time_us: u64) -> u64 {
    time_us.saturating_mul(1000)
}

/// The moment of a record. Its time is of `local_clock`, which starts with `CLOCK_MONOTONIC` but is not
/// disciplined by NTP: over weeks the two drift apart by seconds. Never later than now.
fn moment(time_us: u64, now: Now) -> Now {
    now.at_mono(ns(time_us).min(now.mono_ns))
}

fn event(at: Now, historic: bool, what: What) -> Event {
    Event { at, source: Source::Kmsg, historic, what }
}

fn hang_event(at: Now, historic: bool, hang: Hang) -> Event {
    event(at, historic, What::Hang(Box::new(hang)))
}

#[cfg(test)]
mod tests;
