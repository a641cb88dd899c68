//! The third witness: the kernel's own count of OOM kills (`oom_kill` in `/proc/vmstat`, since 4.13),
//! compared with the kills somebody told of.

/// Compares the counter with the incidents seen.
#[derive(Debug, Default)]
pub struct OomCounter {
    /// Counter and incidents at the last agreement.
    base: Option<(u64, u64)>,
    /// Kills the previous reading missed; they may still have been on their way.
    suspected: u64,
}

impl OomCounter {
    /// Takes a reading of the counter beside the incidents seen so far. Returns how many kills nobody
    /// told of: those that were missing already at the reading before, so that an event still on
    /// its way is not reported as missed. With `blind` nobody could tell, and nothing is waited for.
    pub fn reading(&mut self, total: u64, seen: u64, blind: bool) -> Option<u64> {
        let Some((base_total, base_seen)) = self.base.filter(|(t, _)| *t <= total) else {
            *self = Self { base: Some((total, seen)), suspected: 0 };
            return None;
        };
        let counted = total - base_total;
        let told = seen.saturating_sub(base_seen);
        let missing = counted.saturating_sub(told);
        let sure = if blind { missing } else { missing.min(self.suspected) };
        self.suspected = missing - sure;
        // Kills told but not counted (the mark of a task that was exiting anyway) do not hide later ones.
        let carried = base_total + told.min(counted) + sure;
        self.base = Some((carried.min(total), seen));
        (sure > 0).then_some(sure)
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
    fn reports_what_nobody_told() {
        check(false, &[(5, 0), (5, 0)], &[0, 0]);
        check(false, &[(5, 0), (6, 0), (6, 0), (6, 0)], &[0, 0, 1, 0]);
        check(false, &[(5, 0), (6, 0), (6, 1), (6, 1)], &[0, 0, 0, 0]);
        check(false, &[(5, 0), (7, 1), (7, 1), (9, 3), (9, 3)], &[0, 0, 1, 0, 0]);
        check(true, &[(5, 0), (8, 0), (8, 0)], &[0, 3, 0]);
        check(false, &[(5, 0), (2, 0), (3, 0), (3, 0)], &[0, 0, 0, 1]);
        check(false, &[(5, 0), (5, 2), (6, 2), (6, 2)], &[0, 0, 0, 1]);
        check(false, &[(0, 0), (500, 480), (500, 500), (500, 500)], &[0, 0, 0, 0]);
    }
}
