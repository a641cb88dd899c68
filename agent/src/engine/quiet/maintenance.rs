//! Maintenance windows: times of the week in which alerts are held back.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::compose::Draft;
use super::super::control::MaintenanceView;
use crate::config::{Maintenance, Schedule};
use crate::text::clean;
use crate::time::Now;

/// Characters of a name.
const MAX_NAME: usize = 100;

/// A window of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Name of the window.
    pub name: String,
    /// When it is open, in the host's local time.
    pub schedule: Schedule,
    /// Labels an alert must have.
    pub labels: Vec<(String, String)>,
}

/// The windows of the configuration, which has checked their schedules.
pub fn windows(all: &[Maintenance]) -> Vec<Window> {
    let window = |window: &Maintenance| {
        let schedule = Schedule::parse(&window.schedule).ok()?;
        let labels = window.labels.clone().into_iter().collect();
        Some(Window { name: clean(&window.name, MAX_NAME), schedule, labels })
    };
    all.iter().filter_map(window).collect()
}

/// The open window that holds `draft` back. `own` are the labels that every alert of this host has.
pub fn of<'a>(
    windows: &'a [Window],
    now: Now,
    zone: &TimeZone,
    draft: &Draft,
    own: &std::collections::BTreeMap<String, String>,
) -> Option<&'a Window> {
    let has = |(name, value): &(String, String)| {
        draft.labels.get(name).or_else(|| own.get(name)).is_some_and(|given| given == value)
    };
    windows.iter().find(|w| w.labels.iter().all(has) && w.left_min(now, zone).is_some())
}

/// Those that are open, for people.
pub fn view(windows: &[Window], now: Now, zone: &TimeZone) -> Vec<MaintenanceView> {
    let open = windows.iter().filter_map(|window| Some((window, window.left_min(now, zone)?)));
    open.map(|(window, left)| MaintenanceView {
        name: window.name.clone(),
        labels: window.labels.iter().cloned().collect(),
        left_secs: u64::from(left) * 60,
    })
    .collect()
}

impl Window {
    fn left_min(&self, now: Now, zone: &TimeZone) -> Option<u16> {
        let at = Timestamp::from_nanosecond(i128::from(now.wall_ns)).ok()?.to_zoned(zone.clone());
        let day = usize::from(at.weekday().to_monday_zero_offset().unsigned_abs());
        let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
        self.schedule.left_min(day, minute)
    }
}
