//! How strange a reading is for its series, whatever the series: streaming, constant time and memory, no limit to set.
//!
//! ```text
//! reading ─► ten views (level, jump, means, spreads) ─► how rare each is ─► added up ─► beyond the bar? ─► told, and the bar rises
//! ```
//!
//! Evidence counts in decimal logarithms of rarity: one view that shows the rarest in ten million readings is as
//! strange as several that show the rarest in some thousands at once. It fades within some readings, so that views that notice one thing
//! a little apart are added. What was told raises the bar for a while: a strange hour is told once, unless it gets stranger.

mod tail;
mod views;

pub use views::View;

use tail::Tail;
use views::{VIEWS, Window};

/// Before anything is said: readings of five minutes, as many as are half a day where they are slower, and never fewer than the least.
const LEARN: f64 = 150.0;
const LEARN_LEAST: f64 = 30.0;
/// Evidence that is told, of readings of five minutes. It is rarity in time that counts: of slower readings there are fewer
/// that chance could make strange, and what is told once in so many days needs less.
const BAR: f64 = 8.0;
/// What the other views count beside the strangest: they are not independent of it.
const OTHERS: f64 = 0.5;
/// What is left of a view's evidence at the next reading.
const FADE: f64 = 0.85;
/// Readings within which the bar falls back after something was told, and in which nothing more is told at all. A longer rest hides
/// what follows: a series that began restless would be deaf for a day.
const REST: f64 = 100.0;
const SILENT: u32 = 40;

/// Something strange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strange {
    /// Evidence, decimal logarithms of rarity.
    pub evidence: f64,
    /// What shows it most.
    pub view: View,
    /// The level that is strange: the newest reading, or the mean that shows it.
    pub level: f64,
    /// Mean of the last `views::SPREAD` readings or so, weighted: the level that is usual.
    pub usual: f64,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Detector {
    window: Window,
    tails: [Tail; VIEWS.len()],
    evidence: [f64; VIEWS.len()],
    readings: u32,
    /// Evidence last told, and readings since.
    told: Option<(f64, u32)>,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            window: Window::new(),
            tails: [const { Tail::new() }; VIEWS.len()],
            evidence: [0.0; VIEWS.len()],
            readings: 0,
            told: None,
        }
    }
}

impl Detector {
    /// Takes a reading, which stands for so many nanoseconds, and is told if it is strange. What is not finite says nothing.
    pub fn step(&mut self, value: f64, stands_ns: u64) -> Option<Strange> {
        if !value.is_finite() {
            return None;
        }
        let views = self.window.step(value, stands_ns)?;
        self.readings = self.readings.saturating_add(1);
        for ((evidence, tail), view) in self.evidence.iter_mut().zip(&mut self.tails).zip(views) {
            *evidence = tail.step(view).max(*evidence * FADE);
        }
        let pace = self.window.pace();
        if f64::from(self.readings) < (LEARN / pace).max(LEARN_LEAST) {
            self.evidence = [0.0; VIEWS.len()];
            return None;
        }
        let bar = self.bar(BAR - pace.log10());
        let (evidence, view) = self.strangest();
        if evidence <= bar {
            return None;
        }
        self.told = Some((evidence, 0));
        Some(Strange { evidence, view, level: self.window.level(view), usual: self.window.usual() })
    }

    fn strangest(&self) -> (f64, View) {
        let sum: f64 = self.evidence.iter().sum();
        let rows = self.evidence.iter().copied().zip(VIEWS);
        let (most, view) = rows.fold((0.0, View::High), |best, row| if row.0 > best.0 { row } else { best });
        (most + OTHERS * (sum - most), view)
    }

    /// What evidence has to exceed now, where it is `bar` after a rest.
    fn bar(&mut self, bar: f64) -> f64 {
        let Some((told, since)) = &mut self.told else { return bar };
        *since = since.saturating_add(1);
        if *since < SILENT {
            return f64::INFINITY;
        }
        bar + (*told - bar).max(0.0) * (1.0 - f64::from(*since) / REST).max(0.0)
    }
}

#[cfg(test)]
mod tests;
