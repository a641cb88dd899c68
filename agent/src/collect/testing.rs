//! A collector on a host written as text, and what it read.

use std::collections::{BTreeMap, HashMap};

use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::fixture::FixtureHost;
use crate::sample::{GroupTable, ProcTable, Samples, SeriesId};
use crate::time::Now;

/// The host, the collector and the readings of the newest pass, written `name{label,label}`.
pub(crate) struct Bench {
    pub(crate) host: FixtureHost,
    pub(crate) readings: BTreeMap<String, f64>,
    pub(crate) processes: Option<ProcTable>,
    pub(crate) groups: Option<GroupTable>,
    /// Series that begin with the newest pass.
    pub(crate) begun: Vec<String>,
    collector: Box<dyn Collector>,
    samples: Samples,
    names: HashMap<SeriesId, String>,
    now: Now,
}

impl Bench {
    pub(crate) fn new(text: &str, collector: impl Collector + 'static) -> Self {
        Self {
            host: FixtureHost::parse(text).expect("the fixture is well-formed"),
            readings: BTreeMap::new(),
            processes: None,
            groups: None,
            begun: Vec::new(),
            collector: Box::new(collector),
            samples: Samples::new(100_000),
            names: HashMap::new(),
            now: Now::default(),
        }
    }

    /// One pass, ten seconds after the previous one.
    pub(crate) fn pass(&mut self) -> Result<(), CollectError> {
        let host = self.host.clone();
        self.pass_on(&host)
    }

    /// One pass on another host.
    pub(crate) fn pass_on(&mut self, host: &dyn Host) -> Result<(), CollectError> {
        self.now = self.now.plus_secs(10);
        self.samples.begin("test", self.now, None);
        let result = self.collector.collect(host, &mut self.samples);
        let batch = self.samples.finish();
        self.begun.clear();
        for def in &batch.defs {
            let name = match &*def.labels {
                [] => def.metric.name.to_owned(),
                labels => format!("{}{{{}}}", def.metric.name, labels.join(",")),
            };
            let twice = self.names.iter().any(|(id, known)| *known == name && *id != def.id);
            assert!(!twice, "{name} is put under two metrics");
            self.begun.push(name.clone());
            self.names.insert(def.id, name);
        }
        self.readings.clear();
        for (id, value) in batch.samples {
            let twice = self.readings.insert(self.names[&id].clone(), value);
            assert_eq!(twice, None, "{} is read twice in a pass", self.names[&id]);
        }
        self.processes = batch.processes;
        self.groups = batch.groups;
        result
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.readings.contains_key(name)
    }

    pub(crate) fn value(&self, name: &str) -> f64 {
        *self.readings.get(name).unwrap_or_else(|| panic!("{name} is not in {:#?}", self.readings))
    }

    /// Each of these was read, with this value.
    pub(crate) fn expect(&self, expect: &[(&str, f64)]) {
        for &(name, value) in expect {
            let read = self.value(name);
            let near = (read - value).abs() <= value.abs() * 1e-9;
            assert!(near, "{name} is {read}, not {value}");
        }
    }

    /// Nothing was read.
    pub(crate) fn expect_nothing(&self) {
        assert!(self.readings.is_empty(), "{:#?}", self.readings);
    }
}
