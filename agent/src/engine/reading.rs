//! What collectors read: series that come and go, and their values, through formulas, history, judge and analyzers.

use super::Engine;
use super::compose::Draft;
use super::derive::raw_id;
use crate::metric::Kind;
use crate::sample::{Batch, SeriesDef, SeriesId};
use crate::time::Now;

impl Engine {
    /// Takes in what collectors read in one go.
    pub(super) fn batch(&mut self, now: Now, batch: &mut Batch, drafts: &mut Vec<Draft>) {
        self.tally.batches += 1;
        for id in batch.retired.drain(..) {
            self.retire(raw_id(id), now, drafts);
        }
        for def in batch.defs.drain(..) {
            self.define(&SeriesDef { id: raw_id(def.id), ..def });
        }
        for born in self.derived.connect() {
            let def = SeriesDef { id: born.id, metric: born.metric, labels: born.labels };
            self.store.claim(def.id, def.metric.name, &def.labels);
            self.judge.define(&def, &self.settings.rules, &mut self.table);
            self.analysis.define(&def, &self.settings.analysis);
        }
        let at_ns = batch.at.mono_ns;
        self.passes.take(batch);
        let mut read = SeriesId(u32::MAX)..=SeriesId(0);
        for (id, value) in &batch.samples {
            let id = raw_id(*id);
            self.table.read(id, at_ns, *value);
            read = id.min(*read.start())..=id.max(*read.end());
        }
        let mut computed = std::mem::take(&mut self.computed);
        computed.clear();
        self.derived.evaluate(&self.table, at_ns, read, &mut computed);
        self.rooms.evaluate(&self.table, at_ns, self.settings.analysis.trend_ns, &mut computed);
        for (id, value) in &computed {
            self.table.read(*id, at_ns, *value);
        }
        if batch.processes.is_some() {
            // The old one goes back with the batch, for its buffers.
            std::mem::swap(&mut self.processes, &mut batch.processes);
        }
        if let Some(groups) = batch.groups.take() {
            self.groups.take(batch.at, groups);
        }
        let raw = batch.samples.iter().map(|(id, value)| (raw_id(*id), *value));
        for (id, value) in raw.chain(computed.iter().copied()) {
            self.sample(now, at_ns, id, value, drafts);
        }
        self.computed = computed;
        let learning = self.learning(now);
        let windows = batch.disks.drain(..);
        self.disks.take((now, at_ns), windows, &self.settings.disks, learning, drafts);
    }

    fn define(&mut self, def: &SeriesDef) {
        self.store.forget(def.id);
        self.store.claim(def.id, def.metric.name, &def.labels);
        self.derived.define(def.id, def.metric, &def.labels);
        self.judge.define(def, &self.settings.rules, &mut self.table);
        self.analysis.define(def, &self.settings.analysis);
        if let Some(hours) = self.rooms.define(def, &mut self.derived) {
            self.store.forget(hours.id);
            self.judge.define(&hours, &self.settings.rules, &mut self.table);
        }
    }

    fn retire(&mut self, id: SeriesId, now: Now, drafts: &mut Vec<Draft>) {
        let hours = self.rooms.retire(id, &mut self.derived);
        for gone in self.derived.retire(id).into_iter().chain(hours).chain([id]) {
            let (judge, scene) = self.judging(now);
            judge.retire(now, gone, &scene, drafts);
            self.store.forget(gone);
            self.table.retire(gone);
            self.analysis.retire(gone);
        }
    }

    fn sample(&mut self, now: Now, at_ns: u64, id: SeriesId, value: f64, drafts: &mut Vec<Draft>) {
        let Some(series) = self.table.get(id) else { return };
        if series.metric.kind == Kind::Gauge {
            self.store.append(id, at_ns, value);
        }
        if series.metric.name == self.settings.oom_counter {
            self.count_ooms(now, value as u64, drafts);
            return;
        }
        let (judge, scene) = self.judging(now);
        if let Some(series) = scene.table.get(id) {
            judge.observe(now, (id, series), &scene, drafts);
        }
        self.analyze(now, id, drafts);
    }
}
