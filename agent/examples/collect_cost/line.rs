//! A collector beside its floor.

use sysops_agent::collect::Collector;
use sysops_agent::host::Host;
use sysops_agent::host::clock::now;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::{Batch, Samples};

use crate::floor::Floor;
use crate::recording::record;

/// Makes a collector; each call another one.
pub(crate) type Make = Box<dyn Fn() -> Box<dyn Collector>>;

/// A collector, and what it needs for pass after pass.
pub(crate) struct Passes {
    name: &'static str,
    collector: Box<dyn Collector>,
    samples: Samples,
    spare: Option<Batch>,
}

impl Passes {
    fn new(name: &'static str, collector: Box<dyn Collector>) -> Self {
        Self { name, collector, samples: Samples::new(100_000), spare: None }
    }

    pub(crate) fn pass(&mut self, host: &dyn Host) {
        self.samples.begin(self.name, now(), self.spare.take());
        // What this machine lacks is told by `doctor`.
        let _ = self.collector.collect(host, &mut self.samples);
        self.spare = Some(self.samples.finish());
    }
}

/// A collector on this machine and what only reads the same.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    make: Make,
    passes: Passes,
    host: LiveHost,
    pub(crate) floor: Floor,
}

impl Line {
    pub(crate) fn new(name: &'static str, make: Make) -> Self {
        let passes = Passes::new(name, make());
        Self { name, make, passes, host: LiveHost::default(), floor: Floor::default() }
    }

    pub(crate) fn pass(&mut self) {
        self.passes.pass(&self.host);
    }

    /// Lets another collector of the kind say what it reads, and makes the floor of it.
    pub(crate) fn record(&mut self) {
        self.floor = Floor::of(record(Passes::new(self.name, (self.make)())));
    }
}
