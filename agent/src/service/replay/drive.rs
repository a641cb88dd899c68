//! The engine, and time that passes for it as it would have on the host.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::tz::TimeZone;

use super::report::Report;
use crate::config::Config;
use crate::engine::compose::Identity;
use crate::engine::incident::Witnesses;
use crate::engine::{Engine, Input, Output};
use crate::event::Event;
use crate::sample::Batch;
use crate::time::{Now, SECOND};

/// Pause after which the engine is woken without a reason, as in the service.
const IDLE_NS: u64 = 10 * SECOND;
/// Such pauses, after which they become longer: a gap of years is no work.
const PATIENCE: u32 = 360;
/// What the process that writes a recording takes.
const OWN: [&str; 2] = ["agent_cpu_percent", "agent_memory_bytes"];
/// Steps within one gap at most.
const MAX_STEPS: u32 = 10_000;

/// The engine at full speed.
pub(super) struct Drive {
    engine: Engine,
    now: Now,
    out: Vec<Output>,
}

/// Whose samples these are.
#[derive(Clone, Debug, Default)]
pub(super) struct Whose {
    /// Host.
    pub(super) hostname: String,
    /// Its boot.
    pub(super) boot_id: String,
    /// Seconds its clock is ahead of UTC.
    pub(super) utc_offset_secs: i32,
    /// Sources that were up.
    pub(super) witnesses: Witnesses,
    /// All of a host is there: what is expected and does not come is missing.
    pub(super) whole: bool,
}

impl Drive {
    /// An engine with this configuration, that starts at `now`.
    pub(super) fn new(config: &Config, whose: Whose, now: Now) -> Self {
        let zone =
            jiff::tz::Offset::from_seconds(whose.utc_offset_secs).map_or(TimeZone::UTC, TimeZone::fixed);
        let labels: BTreeMap<String, String> = config.agent.labels.clone();
        let identity = Identity { hostname: whose.hostname, zone, boot_id: whose.boot_id, labels };
        let mut settings = crate::service::settings(config, identity, whose.witnesses);
        if whose.whole {
            // What a recording has of the agent is the recorder's, which writes down what an agent only reads.
            settings.rules.retain(|rule| !OWN.contains(&rule.metric.as_str()));
        } else {
            settings.absences.clear();
        }
        Self { engine: Engine::new(settings, now), now, out: Vec::new() }
    }

    /// The moment it is.
    pub(super) fn now(&self) -> Now {
        self.now
    }

    /// When the engine itself wants to be woken next, monotonic nanoseconds.
    fn due(&self) -> u64 {
        self.engine.next_deadline().unwrap_or(u64::MAX).max(self.now.mono_ns + 1)
    }

    /// Lets time pass until `to`.
    pub(super) fn pass(&mut self, to: Now, report: &mut Report<impl Write>) -> io::Result<()> {
        let (mut pause, mut idle) = (IDLE_NS, 0);
        for _ in 0..MAX_STEPS {
            let (due, woken) = (self.due(), self.now.mono_ns.saturating_add(pause));
            let next = due.min(woken);
            if next >= to.mono_ns {
                break;
            }
            if woken <= due {
                idle += 1;
                pause = if idle > PATIENCE { pause.saturating_mul(2) } else { pause };
            }
            self.now = self.now.at_mono(next);
            self.engine.step(self.now, Input::Tick, &mut self.out);
            self.tell(report)?;
        }
        self.now = to;
        Ok(())
    }

    /// One pass of a collector, now.
    pub(super) fn batch(&mut self, batch: &mut Batch, report: &mut Report<impl Write>) -> io::Result<()> {
        self.engine.step(self.now, Input::Batch(batch), &mut self.out);
        self.tell(report)
    }

    /// Something happened, and is heard now.
    pub(super) fn event(&mut self, mut event: Event, report: &mut Report<impl Write>) -> io::Result<()> {
        // What is told of the future cannot be.
        event.at.mono_ns = event.at.mono_ns.clamp(1, self.now.mono_ns);
        event.at.wall_ns = event.at.wall_ns.clamp(0, i64::MAX / 2);
        self.engine.step(self.now, Input::Event(event), &mut self.out);
        self.tell(report)
    }

    /// No more comes.
    pub(super) fn finish(&mut self, report: &mut Report<impl Write>) -> io::Result<()> {
        self.engine.finish(self.now, &mut self.out);
        self.tell(report)
    }

    fn tell(&mut self, report: &mut Report<impl Write>) -> io::Result<()> {
        for output in self.out.drain(..) {
            if let Output::Alert(alert) = output {
                report.alert(&alert)?;
            }
        }
        Ok(())
    }
}
