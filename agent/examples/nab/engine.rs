//! A series through the agent's own engine.

use std::collections::BTreeMap;
use std::error::Error;

use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use sysops_agent::config::Config;
use sysops_agent::engine::compose::{Identity, analysis};
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::{Engine, Input, Output};
use sysops_agent::metric::{Kind, Metric, Unit};
use sysops_agent::sample::Samples;
use sysops_agent::service;
use sysops_agent::time::Now;

use crate::series::Series;

/// A series of which nothing is known but its values.
static VALUE: Metric = Metric {
    name: "value",
    prometheus: "",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "A series of a file.",
    source: "a file",
};

/// Rows at which an alert of the detector came out, and the nanoseconds that all took.
pub(crate) fn run(series: &Series) -> Result<(Vec<usize>, f64), Box<dyn Error>> {
    let config = Config::default();
    let identity = Identity {
        hostname: "nab".to_owned(),
        zone: TimeZone::UTC,
        boot_id: String::new(),
        labels: BTreeMap::new(),
    };
    let start = series.rows.first().ok_or("a series without rows")?.0;
    // Before it, the engine has warmed up.
    let mut now = Now { mono_ns: 1_000_000_000, wall_ns: 0 };
    let mut engine = Engine::new(service::settings(&config, identity, Witnesses::default()), now);
    let (mut samples, mut told, mut out, mut spare) = (Samples::new(1), Vec::new(), Vec::new(), None);
    let begin = cpu_ns();
    for (nth, (at, value)) in series.rows.iter().enumerate() {
        let secs = at - start + 86_400;
        let mono_ns = (secs as u64 * 1_000_000_000).max(now.mono_ns + 1);
        now = Now { mono_ns, wall_ns: mono_ns as i64 };
        samples.begin("file", now, spare.take());
        samples.put(&VALUE, &[], *value);
        let mut batch = samples.finish();
        engine.step(now, Input::Batch(&mut batch), &mut out);
        spare = Some(batch);
        let is_told = |output: Output| match output {
            Output::Alert(alert) => alert.rule == analysis::ANOMALY,
            _ => false,
        };
        if out.drain(..).filter_map(|output| is_told(output).then_some(())).count() > 0 {
            told.push(nth);
        }
    }
    Ok((told, cpu_ns() - begin))
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
