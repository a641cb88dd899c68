//! Series of the hours until something is used up, made of the series of what is left and of the whole.
//!
//! They are series like computed ones: rules judge them, history keeps them, endpoints tell them.

use crate::analyze::ahead::Ahead;
use crate::engine::derive::Derived;
use crate::engine::series::{Series, SeriesTable};
use crate::metric::Metric;
use crate::sample::{SeriesDef, SeriesId};

/// What may be used up, at most; further ones are counted.
pub const MAX_ROOMS: usize = 256;

/// Something that is used up.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What is left of it.
    pub free: &'static Metric,
    /// All there is, with the same labels.
    pub size: &'static Metric,
    /// Hours until nothing is left.
    pub out: &'static Metric,
}

#[derive(Debug)]
struct Instance {
    room: &'static Room,
    labels: Box<[Box<str>]>,
    free: SeriesId,
    size: Option<SeriesId>,
    out: SeriesId,
    ahead: Ahead,
}

/// All of them.
#[derive(Debug)]
pub struct Rooms {
    kinds: &'static [Room],
    instances: Vec<Instance>,
    refused: u64,
}

impl Rooms {
    /// None yet.
    pub fn new(rooms: &'static [Room]) -> Self {
        Self { kinds: rooms, instances: Vec::new(), refused: 0 }
    }

    /// Tells of a series; returns the one that comes of it. The number is `derived`'s.
    pub fn define(&mut self, def: &SeriesDef, derived: &mut Derived) -> Option<SeriesDef> {
        let room = self.kinds.iter().find(|room| room.free.name == def.metric.name)?;
        if let Some(known) = self.instances.iter_mut().find(|instance| instance.free == def.id) {
            // Something else by the same name.
            known.ahead = Ahead::default();
            return None;
        }
        if self.instances.len() >= MAX_ROOMS {
            self.refused += 1;
            return None;
        }
        let (labels, out) = (def.labels.clone(), derived.lend());
        let ahead = Ahead::default();
        self.instances.push(Instance { room, labels: labels.clone(), free: def.id, size: None, out, ahead });
        Some(SeriesDef { id: out, metric: room.out, labels })
    }

    /// Tells that a series is gone; returns the one that went with it.
    pub fn retire(&mut self, id: SeriesId, derived: &mut Derived) -> Option<SeriesId> {
        for instance in &mut self.instances {
            instance.size.take_if(|size| *size == id);
        }
        let at = self.instances.iter().position(|instance| instance.free == id)?;
        let out = self.instances.swap_remove(at).out;
        derived.give(out);
        Some(out)
    }

    /// Computes all that was read at `at_ns`.
    pub fn evaluate(
        &mut self,
        table: &SeriesTable,
        at_ns: u64,
        window_ns: u64,
        out: &mut Vec<(SeriesId, f64)>,
    ) {
        for instance in &mut self.instances {
            let Some(free) = table.get(instance.free).filter(|series| series.at_ns == at_ns) else {
                continue;
            };
            instance.size = instance.size.or_else(|| instance.find_size(table));
            let size = instance.size.and_then(|size| table.get(size)).map(|series| series.value);
            let Some(size) = size else { continue };
            out.push((instance.out, instance.ahead.step(at_ns, free.value, size, window_ns)));
        }
    }

    /// Things that are not looked at because of [`MAX_ROOMS`].
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Instance {
    fn find_size(&self, table: &SeriesTable) -> Option<SeriesId> {
        let is =
            |series: &Series| series.metric.name == self.room.size.name && *series.labels == *self.labels;
        table.iter().find(|(_, series)| is(series)).map(|(id, _)| id)
    }
}
