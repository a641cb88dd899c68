//! `vm-readings COLLECTOR,…`: once a second one line of JSON with every reading of these collectors, and every rate and
//! ratio that the engine computes of them: `{"at": SECONDS, "values": {"cpu_core_usage_percent{1}": 3.5, …}}`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use sysops_agent::collect::runner::{Health, Runner, Sink};
use sysops_agent::config::Config;
use sysops_agent::engine::derive::{Derived, raw_id};
use sysops_agent::engine::series::{Series, SeriesTable};
use sysops_agent::formulas::FORMULAS;
use sysops_agent::host::clock;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::{Batch, SeriesDef, SeriesId};
use sysops_agent::time::SECOND;

const PACE: Duration = Duration::from_secs(1);

fn main() {
    let names: Vec<String> = std::env::args().nth(1).unwrap_or_default().split(',').map(Into::into).collect();
    let mut runner = Runner::new(&config(names), Arc::new(LiveHost::default()), Vec::new(), clock::now());
    let mut engine =
        Engine { table: SeriesTable::default(), derived: Derived::new(FORMULAS), values: BTreeMap::new() };
    loop {
        let begin = clock::now();
        runner.pass(&mut clock::now, &mut engine);
        let values = std::mem::take(&mut engine.values);
        let at = begin.mono_ns as f64 / SECOND as f64;
        let line = serde_json::json!({ "at": at, "values": values });
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return;
        }
        sleep(PACE.saturating_sub(Duration::from_nanos(clock::now().since(begin))));
    }
}

/// All at one pace; no interface or device left out by its name.
fn config(names: Vec<String>) -> Config {
    let mut config = Config::default();
    let section = &mut config.collector;
    section.enabled = names;
    for pace in [
        &mut section.cpu_interval_secs,
        &mut section.memory_interval_secs,
        &mut section.disk_interval_secs,
        &mut section.disk_io_interval_secs,
        &mut section.smart_interval_secs,
        &mut section.network_interval_secs,
        &mut section.process_interval_secs,
        &mut section.fd_interval_secs,
        &mut section.gpu_interval_secs,
    ] {
        *pace = 1;
    }
    config
}

/// As much of the engine as computes.
struct Engine {
    table: SeriesTable,
    derived: Derived,
    /// Of this pass.
    values: BTreeMap<String, f64>,
}

impl Sink for Engine {
    fn batch(&mut self, mut batch: Batch) -> Option<Batch> {
        for id in batch.retired.drain(..).map(raw_id) {
            for gone in self.derived.retire(id).into_iter().chain([id]) {
                self.table.retire(gone);
            }
        }
        for def in batch.defs.drain(..) {
            let def = SeriesDef { id: raw_id(def.id), ..def };
            self.derived.define(def.id, def.metric, &def.labels);
            self.table.define(def);
        }
        for born in self.derived.connect() {
            self.table.define(SeriesDef { id: born.id, metric: born.metric, labels: born.labels });
        }
        let at_ns = batch.at.mono_ns;
        for (id, value) in &batch.samples {
            self.table.read(raw_id(*id), at_ns, *value);
            self.keep(raw_id(*id), *value);
        }
        let mut computed = Vec::new();
        self.derived.evaluate(&self.table, at_ns, SeriesId(0)..=SeriesId(u32::MAX), &mut computed);
        for (id, value) in computed {
            self.keep(id, value);
        }
        Some(batch)
    }

    fn health(&mut self, health: Health) {
        eprintln!("{}: {:?}", health.collector, health.result);
    }
}

impl Engine {
    fn keep(&mut self, id: SeriesId, value: f64) {
        if let Some(series) = self.table.get(id) {
            self.values.insert(name(series), value);
        }
    }
}

fn name(series: &Series) -> String {
    match &*series.labels {
        [] => series.metric.name.to_owned(),
        labels => format!("{}{{{}}}", series.metric.name, labels.join(",")),
    }
}
