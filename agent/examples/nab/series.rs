//! A series with its labelled windows, and the benchmark's rules of scoring.

/// Name of a profile, what a false alarm costs, what a missed window does.
pub(crate) const PROFILES: [(&str, f64, f64); 3] =
    [("standard", 0.11, 1.0), ("low-FP", 0.22, 1.0), ("low-FN", 0.11, 2.0)];
/// Rows that are not scored, at most: a share, and a number.
const PROBATION: (f64, usize) = (0.15, 750);

/// One series.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// `GROUP/NAME.csv`.
    pub(crate) name: String,
    /// Seconds since 1970 on the file's clock, and the value.
    pub(crate) rows: Vec<(i64, f64)>,
    /// First and last row of each anomaly.
    pub(crate) windows: Vec<(usize, usize)>,
}

/// What a detector came to, of one series or of many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Sum of the weights, by profile.
    pub(crate) sums: [f64; 3],
    /// Windows, and those of them that were hit.
    pub(crate) windows: usize,
    pub(crate) hits: usize,
    pub(crate) false_alarms: usize,
    /// Length of all series.
    pub(crate) days: f64,
}

impl Tally {
    /// Of both.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sums = std::array::from_fn(|nth| self.sums[nth] + other.sums[nth]);
        self.windows += other.windows;
        self.hits += other.hits;
        self.false_alarms += other.false_alarms;
        self.days += other.days;
    }

    /// 0: a silent detector, 100: a perfect one; by profile.
    pub(crate) fn scores(&self) -> [f64; 3] {
        std::array::from_fn(|nth| {
            let (all, silent) = (self.windows as f64, -PROFILES[nth].2 * self.windows as f64);
            100.0 * (self.sums[nth] - silent) / (all - silent)
        })
    }

    /// False alarms per series-day.
    pub(crate) fn rate(&self) -> f64 {
        self.false_alarms as f64 / self.days
    }
}

impl Series {
    /// First row that is scored.
    pub(crate) fn probation(&self) -> usize {
        ((PROBATION.0 * self.rows.len() as f64) as usize).min(PROBATION.1)
    }

    /// What alarms at these rows come to.
    pub(crate) fn tally(&self, told: &[usize]) -> Tally {
        let mut tally = Tally { windows: self.windows.len(), days: self.days(), ..Tally::default() };
        for (nth, (_, false_alarm, miss)) in PROFILES.iter().enumerate() {
            (tally.sums[nth], tally.false_alarms, tally.hits) = self.score(told, *false_alarm, *miss);
        }
        tally
    }

    fn days(&self) -> f64 {
        let ends = self.rows.first().zip(self.rows.last());
        ends.map_or(0.0, |(first, last)| (last.0 - first.0) as f64 / 86_400.0)
    }

    /// Sum of the weights, false alarms, windows hit.
    fn score(&self, told: &[usize], false_alarm: f64, miss: f64) -> (f64, usize, usize) {
        let probation = self.probation();
        let mut best = vec![None::<f64>; self.windows.len()];
        let (mut total, mut wrong) = (0.0, 0);
        for &row in told.iter().filter(|row| **row >= probation) {
            if let Some(nth) = self.windows.iter().position(|(first, last)| (*first..=*last).contains(&row)) {
                let (first, last) = self.windows[nth];
                let weight = sigmoid(-((last - row + 1) as f64) / (last - first + 1) as f64) / sigmoid(-1.0);
                best[nth] = Some(best[nth].map_or(weight, |best| best.max(weight)));
                continue;
            }
            wrong += 1;
            let before = self.windows.iter().rfind(|(_, last)| *last < row);
            total += before.map_or(-false_alarm, |(first, last)| {
                false_alarm * sigmoid((row - last) as f64 / (last - first).max(1) as f64)
            });
        }
        let hits = best.iter().flatten().count();
        (total + best.iter().map(|best| best.unwrap_or(-miss)).sum::<f64>(), wrong, hits)
    }
}

fn sigmoid(relative: f64) -> f64 {
    if relative > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * relative).exp()) - 1.0 }
}
