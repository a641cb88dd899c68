//! From a reading to the alert of what was found.

use super::{Analysis, Scene};
use crate::engine::compose::{Draft, analysis as compose};
use crate::engine::{Engine, events};
use crate::sample::SeriesId;
use crate::time::Now;

impl Engine {
    /// What is usual in each series.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    pub(in crate::engine) fn analyze(&mut self, now: Now, id: SeriesId, drafts: &mut Vec<Draft>) {
        let learning = self.learning(now);
        let Self { analysis, table, processes, settings, judge, tally, .. } = self;
        let Some(series) = table.get(id) else { return };
        let (plan, scene) = (&settings.analysis, Scene { table, processes: processes.as_ref() });
        let Some(finding) = analysis.observe((id, series), plan, scene) else { return };
        if learning {
            return;
        }
        if let Some(draft) = compose::draft(series, &finding, plan, judge.next_id(), now) {
            tally.count(events::FINDINGS.name, compose::analyzer(&finding), 1);
            drafts.push(draft);
        }
    }
}
