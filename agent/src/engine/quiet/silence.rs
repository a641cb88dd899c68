//! Silences: what somebody wants not to hear for a while. Each ends by itself.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::super::compose::{Draft, rfc3339};
use super::super::control::{NewSilence, SilenceView};
use crate::text::{clean, span};
use crate::time::{Now, SECOND};

/// Silences at once; a further one is refused.
pub const MAX_SILENCES: usize = 256;
/// Longest silence, seconds: 30 days.
pub const LONGEST_SECS: u64 = 30 * 86_400;
/// Labels of one silence.
const MAX_LABELS: usize = 16;
/// Characters of a name, a label, a reason.
const MAX_TEXT: usize = 200;

/// A silence that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub id: u64,
    matcher: String,
    labels: BTreeMap<String, String>,
    /// When it ends, monotonic nanoseconds of this boot.
    pub until_ns: u64,
    reason: String,
    by: String,
    held: u64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silences {
    all: Vec<Silence>,
    last_id: u64,
}

impl Silences {
    /// Adds one.
    ///
    /// # Errors
    /// A sentence: no end, too long, too many, nothing to match.
    pub fn add(&mut self, now: Now, new: NewSilence) -> Result<u64, String> {
        let NewSilence { matcher, labels, secs, reason, by, .. } = new;
        if matcher.is_empty() {
            return Err("A silence needs the name of a metric or a rule, or `*` for all alerts.".into());
        }
        if secs == 0 {
            return Err("A silence needs an end: say for how long, as in `--for 2h`.".into());
        }
        if secs > LONGEST_SECS {
            let longest = span(LONGEST_SECS);
            return Err(format!("A silence of {} is too long; {longest} is the longest.", span(secs)));
        }
        if labels.len() > MAX_LABELS {
            return Err(format!("A silence has at most {MAX_LABELS} labels."));
        }
        self.expire(now);
        if self.all.len() >= MAX_SILENCES {
            return Err(format!("There are {MAX_SILENCES} silences already; revoke one first."));
        }
        self.last_id += 1;
        let text = |text: &str| clean(text, MAX_TEXT);
        self.all.push(Silence {
            id: self.last_id,
            matcher: text(&matcher),
            labels: labels.iter().map(|(name, value)| (text(name), text(value))).collect(),
            until_ns: now.plus_secs(secs).mono_ns,
            reason: text(&reason),
            by: text(&by),
            held: 0,
        });
        Ok(self.last_id)
    }

    /// Ends one.
    ///
    /// # Errors
    /// A sentence: there is none of that number.
    pub fn revoke(&mut self, id: u64) -> Result<Silence, String> {
        let at = self.all.iter().position(|silence| silence.id == id);
        let at = at.ok_or_else(|| format!("There is no silence {id}; it may have ended by itself."))?;
        Ok(self.all.remove(at))
    }

    /// Forgets those that are over.
    pub fn expire(&mut self, now: Now) {
        self.all.retain(|silence| silence.until_ns > now.mono_ns);
    }

    /// The silence that holds `draft` back. `own` are the labels that every alert of this host has.
    pub fn of(&mut self, now: Now, draft: &Draft, own: &BTreeMap<String, String>) -> Option<&mut Silence> {
        self.all.iter_mut().find(|silence| silence.until_ns > now.mono_ns && silence.matches(draft, own))
    }

    /// When the next one ends, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.all.iter().map(|silence| silence.until_ns).min()
    }

    /// All that stand.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Silence> {
        self.all.iter_mut()
    }

    /// For people.
    pub fn view(&self, now: Now, zone: &TimeZone) -> Vec<SilenceView> {
        let stands = self.all.iter().filter(|silence| silence.until_ns > now.mono_ns);
        stands.map(|silence| silence.view(now, zone)).collect()
    }
}

impl Silence {
    fn matches(&self, draft: &Draft, own: &BTreeMap<String, String>) -> bool {
        let named = self.matcher == "*" || self.matcher == draft.rule || self.matcher == draft.metric;
        let has = |name| draft.labels.get(name).or_else(|| own.get(name));
        named && self.labels.iter().all(|(name, value)| has(name) == Some(value))
    }

    /// It held one back.
    pub fn count(&mut self) {
        self.held += 1;
    }

    /// For people.
    pub fn view(&self, now: Now, zone: &TimeZone) -> SilenceView {
        SilenceView {
            id: self.id,
            matcher: self.matcher.clone(),
            labels: self.labels.clone(),
            until: rfc3339(now.at_mono(self.until_ns), zone),
            left_secs: self.until_ns.saturating_sub(now.mono_ns) / SECOND,
            reason: self.reason.clone(),
            by: self.by.clone(),
            held: self.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    fn new(matcher: &str, secs: u64) -> NewSilence {
        NewSilence { matcher: matcher.into(), secs, ..NewSilence::default() }
    }

    #[test]
    fn a_silence_ends_and_is_refused_without_an_end() {
        let mut silences = Silences::default();
        for (matcher, secs, part) in [
            ("", 10, "needs the name of a metric"),
            ("x", 0, "needs an end"),
            ("x", LONGEST_SECS + 1, "is too long; 30 d is the longest"),
            ("x", u64::MAX, "is too long"),
        ] {
            let why = silences.add(at(1), new(matcher, secs)).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        assert_eq!(silences.add(at(1), new("x", 10)), Ok(1));
        assert_eq!(silences.add(at(1), new("a\nb", LONGEST_SECS)), Ok(2));
        let view = silences.view(at(5), &TimeZone::UTC);
        assert_eq!((view.len(), view[0].left_secs, &*view[0].until), (2, 6, "1970-01-01T00:00:11.000+00:00"));
        assert_eq!(view[1].matcher, "a?b");
        assert_eq!(silences.view(at(11), &TimeZone::UTC).len(), 1);
        assert!(silences.revoke(2).is_ok());
        assert!(silences.revoke(2).unwrap_err().contains("no silence 2"));
    }

    #[test]
    fn their_number_is_limited_and_ended_ones_make_room() {
        let mut silences = Silences::default();
        for _ in 0..MAX_SILENCES {
            assert!(silences.add(at(1), new("x", 10)).is_ok());
        }
        assert!(silences.add(at(1), new("x", 10)).unwrap_err().contains("256 silences already"));
        assert!(silences.add(at(11), new("x", 10)).is_ok());
        assert_eq!(silences.all.len(), 1);
    }
}
