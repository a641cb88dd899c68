//! The third witness: the kernel's own count of OOM kills (`oom_kill` in `/proc/vmstat`, since 4.13),
//! compared with the kills somebody told of.

use crate::time::{Now, SECOND};

/// Compares the counter with the incidents seen.
///
/// The two are never read at one moment: an event may still be on its way when the counter has it, and a
/// kill may happen between the reading of the counter and its arrival here. So a difference is believed
/// only if all that came since the reading before does not make up for it.
#[derive(Debug, Default)]
pub struct OomCounter {
    /// Counter and incidents at the last agreement.
    base: Option<(u64, u64)>,
    /// Kills counted but not told, as of the previous reading.
    suspected: u64,
    /// Kills told but not counted, as of the previous reading.
    ahead: u64,
    /// What was handed out as accounted for.
    handed_out: Option<u64>,
}

impl OomCounter {
    /// Goes on where an earlier run of this boot ended: it had accounted for `kills` of the counter.
    pub fn resume(&mut self, kills: u64) {
        *self = Self { base: Some((kills, 0)), ..Self::default() };
    }

    /// How many of the counter's kills are accounted for when `seen` incidents were; unknown before the first reading.
    pub fn accounted(&self, seen: u64) -> Option<u64> {
        let (base_total, base_seen) = self.base?;
        Some(base_total + seen.saturating_sub(base_seen))
    }

    /// Whether counter and incidents agreed at the newest reading.
    pub fn agrees(&self) -> bool {
        self.base.is_some() && self.suspected == 0 && self.ahead == 0
    }

    /// `kills`, if that is another number than the last time.
    pub fn news(&mut self, kills: Option<u64>) -> Option<u64> {
        let before = std::mem::replace(&mut self.handed_out, kills);
        kills.filter(|_| kills != before)
    }

    /// Takes a reading of the counter beside the incidents seen so far. Returns how many kills nobody
    /// told of. With `blind` nobody could tell, and nothing is waited for.
    pub fn reading(&mut self, total: u64, seen: u64, blind: bool) -> Option<u64> {
        let Some((base_total, base_seen)) = self.base.filter(|(t, _)| *t <= total) else {
            *self = Self { base: Some((total, seen)), ..Self::default() };
            return None;
        };
        let (counted, told) = (total - base_total, seen.saturating_sub(base_seen));
        let (missing, ahead) = (counted.saturating_sub(told), told.saturating_sub(counted));
        let sure = if blind { missing } else { self.suspected.saturating_sub(told) };
        self.suspected = missing - sure;
        // What is told and never counted (the mark of a task that was exiting anyway) must not hide later kills.
        self.ahead = ahead - self.ahead.saturating_sub(counted);
        self.base = Some((total - self.suspected, seen - self.ahead));
        (sure > 0).then_some(sure)
    }
}

/// How long a kill of a group excuses what the counter has too many: some readings of it.
const TWICE_NS: u64 = 60 * SECOND;

/// Kills that the kernel counts twice: of a group with `memory.oom.group` it kills the chosen victim, then every
/// member, and the victim again if it still stands (`oom_kill_memcg_member`, `mm/oom_kill.c`).
#[derive(Debug, Default)]
pub struct Twice {
    /// Kills of whole groups, as of the newest look.
    groups: u64,
    excuses: u64,
    until_ns: u64,
}

impl Twice {
    /// Excuses that nothing has asked for yet.
    pub fn open(&self) -> u64 {
        self.excuses
    }

    /// Takes note of how many groups were killed since the start.
    pub fn note(&mut self, now: Now, groups: u64) {
        let fresh = groups.saturating_sub(self.groups);
        self.groups = groups;
        if fresh > 0 {
            self.excuses = self.excuses.saturating_add(fresh);
            self.until_ns = now.mono_ns + TWICE_NS;
        }
    }

    /// How many of `missing` kills are excused.
    pub fn excuse(&mut self, now: Now, missing: u64) -> u64 {
        if now.mono_ns >= self.until_ns {
            self.excuses = 0;
        }
        let excused = missing.min(self.excuses);
        self.excuses -= excused;
        excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings as `(counter, seen)`; expects what each reports.
    fn check(blind: bool, readings: &[(u64, u64)], expect: &[u64]) {
        let mut counter = OomCounter::default();
        let got: Vec<u64> =
            readings.iter().map(|(t, s)| counter.reading(*t, *s, blind).unwrap_or(0)).collect();
        assert_eq!(got, expect, "{readings:?}");
    }

    #[test]
    fn a_group_excuses_its_own_number_for_a_while() {
        let at = |secs| Now { mono_ns: secs * SECOND, wall_ns: 0 };
        let mut twice = Twice::default();
        assert_eq!(twice.excuse(at(1), 5), 0);
        twice.note(at(1), 3);
        twice.note(at(2), 3);
        assert_eq!((twice.excuse(at(2), 2), twice.excuse(at(3), 2), twice.excuse(at(4), 2)), (2, 1, 0));
        twice.note(at(5), 2);
        twice.note(at(5), 3);
        assert_eq!(twice.excuse(at(65), 1), 0, "too late");
    }

    #[test]
    fn reports_what_nobody_told() {
        check(false, &[(5, 0), (5, 0)], &[0, 0]);
        check(false, &[(5, 0), (6, 0), (6, 0), (6, 0)], &[0, 0, 1, 0]);
        check(false, &[(5, 0), (6, 0), (6, 1), (6, 1)], &[0, 0, 0, 0]);
        check(false, &[(5, 0), (7, 1), (7, 1), (9, 3), (9, 3)], &[0, 0, 1, 0, 0]);
        check(true, &[(5, 0), (8, 0), (8, 0)], &[0, 3, 0]);
        check(false, &[(5, 0), (2, 0), (3, 0), (3, 0)], &[0, 0, 0, 1]);
        check(false, &[(5, 0), (5, 2), (5, 2), (6, 2), (6, 2)], &[0, 0, 0, 0, 1]);
        check(false, &[(5, 0), (5, 2), (6, 2), (8, 2), (8, 2)], &[0, 0, 0, 0, 2]);
        check(false, &[(0, 0), (500, 480), (500, 500), (500, 500)], &[0, 0, 0, 0]);
    }

    #[test]
    fn a_later_run_goes_on_where_the_earlier_ended() {
        let check = |readings: &[(u64, u64)], expect: &[u64]| {
            let mut counter = OomCounter::default();
            counter.resume(5);
            let got: Vec<u64> =
                readings.iter().map(|(t, s)| counter.reading(*t, *s, false).unwrap_or(0)).collect();
            assert_eq!(got, expect, "{readings:?}");
        };
        check(&[(5, 0), (5, 0)], &[0, 0]);
        check(&[(7, 0), (7, 0), (7, 0)], &[0, 2, 0]);
        // Read in the log, before the first reading of the counter or after it.
        check(&[(7, 2), (7, 2)], &[0, 0]);
        check(&[(7, 0), (7, 2), (7, 2)], &[0, 0, 0]);
        check(&[(7, 1), (7, 1)], &[0, 1]);
        check(&[(3, 0), (3, 0)], &[0, 0]);
    }

    #[test]
    fn what_is_accounted_for_follows_what_is_told() {
        let mut counter = OomCounter::default();
        assert_eq!(counter.accounted(3), None);
        counter.reading(10, 3, false);
        assert_eq!((counter.accounted(3), counter.accounted(4)), (Some(10), Some(11)));
        counter.reading(12, 4, false);
        assert_eq!(counter.accounted(4), Some(11), "one is suspected");
        counter.reading(12, 4, false);
        assert_eq!(counter.accounted(4), Some(12), "and told");
    }

    #[test]
    fn a_kill_between_the_reading_and_its_arrival_is_not_missed() {
        check(false, &[(5, 0), (5, 1), (6, 1), (6, 1), (6, 1)], &[0; 5]);
        check(false, &[(0, 0), (100, 105), (200, 203), (203, 203), (203, 203)], &[0; 5]);
        check(false, &[(0, 0), (100, 105), (205, 200), (300, 290), (300, 300), (300, 300)], &[0; 6]);
    }
}
