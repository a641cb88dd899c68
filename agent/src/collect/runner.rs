//! The thread that runs the collectors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::schedule::Schedule;
use super::{CollectError, Collector, enabled};
use crate::config::Config;
use crate::host::{Host, clock};
use crate::metric::metrics;
use crate::sample::{Batch, OWN_SERIES, Samples};
use crate::time::{Now, SECOND};

metrics! {
    DURATION: Gauge Seconds "collector_duration_seconds" ["collector"]
        "Time the newest pass of a collector took.", "the agent";
    UP: Gauge Count "collector_up" ["collector"]
        "1 where the newest pass of a collector read everything.", "the agent";
    REFUSED: Counter Count "series_refused_total" []
        "Readings left out because there are as many series as collector.max_series allows.", "the agent";
    LIMITED: Gauge Count "series_limit_reached" []
        "1 where within ten minutes readings were left out because of collector.max_series.", "the agent";
    SERIES: Gauge Count "series_count" [] "Series of all collectors.", "the agent";
}

/// A collector to run: its name, how often, and itself.
pub type Item = (&'static str, Duration, Box<dyn Collector>);

/// What became of a collector's pass; told only when it differs from that of the pass before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Name in the table of collectors.
    pub collector: &'static str,
    /// Whether all could be read, and if not, why.
    pub result: Result<(), CollectError>,
}

/// Where a runner's output goes.
pub trait Sink {
    /// Takes one pass of one collector. A batch that is no longer used comes back, for its buffers.
    fn batch(&mut self, batch: Batch) -> Option<Batch>;
    /// Takes news of a collector.
    fn health(&mut self, health: Health);
    /// All that was due has been taken.
    fn round(&mut self) {}
}

/// Which collector runs, for who looks at the thread from outside.
#[derive(Debug)]
pub struct Progress {
    names: Vec<&'static str>,
    /// Index of the one that runs, from 1; 0: none does.
    running: AtomicUsize,
    /// When its pass began, monotonic nanoseconds.
    since_ns: AtomicU64,
}

impl Progress {
    fn new(names: Vec<&'static str>) -> Self {
        Self { names, running: AtomicUsize::new(0), since_ns: AtomicU64::new(0) }
    }

    fn begin(&self, index: usize, now: Now) {
        self.since_ns.store(now.mono_ns, Ordering::Relaxed);
        self.running.store(index + 1, Ordering::Release);
    }

    fn end(&self) {
        self.running.store(0, Ordering::Release);
    }

    /// The collector that runs, and since when, monotonic nanoseconds. One that panicked runs for ever.
    pub fn running(&self) -> Option<(&'static str, u64)> {
        let index = self.running.load(Ordering::Acquire).checked_sub(1)?;
        Some((*self.names.get(index)?, self.since_ns.load(Ordering::Relaxed)))
    }
}

/// The collectors and all they need.
pub struct Runner {
    host: Arc<dyn Host>,
    lines: Vec<Line>,
    schedule: Schedule,
    progress: Arc<Progress>,
    samples: Samples,
    spare: Option<Batch>,
    /// Readings refused when it was last looked at, and when there were more.
    refused: (u64, Option<Now>),
    /// When the first pass was.
    begun: Option<Now>,
}

/// For how long a refused reading makes the limit count as reached: longer than what is read least often.
const LIMITED_SECS: u64 = 600;
/// All but the slowest have been read several times.
const SURE_SECS: u64 = 60;

/// What to do about too many series.
pub const FULL: &str = "new ones are left out, and series_refused_total counts them: raise it, or leave out what you do not want \
     (collector.exclude_*, collector.disabled, collector.per_core)";

struct Line {
    name: &'static str,
    collector: Box<dyn Collector>,
    told: Option<Result<(), CollectError>>,
}

impl Runner {
    /// The enabled collectors of the table, and `extra` ones, which also take the place of those with their name; all
    /// are due at `start`.
    pub fn new(config: &Config, host: Arc<dyn Host>, extra: Vec<Item>, start: Now) -> Self {
        let replaced: Vec<&str> = extra.iter().map(|(name, ..)| *name).collect();
        let table = enabled(config).filter(|entry| !replaced.contains(&entry.name));
        let table = table.map(|entry| (entry.name, (entry.pace)(config), (entry.make)(config)));
        Self::of(table.chain(extra), config.collector.max_series, host, start)
    }

    /// These collectors and no others.
    pub fn of(items: impl Iterator<Item = Item>, max_series: usize, host: Arc<dyn Host>, start: Now) -> Self {
        let mut paces = Vec::new();
        let mut lines = Vec::new();
        for (name, pace, collector) in items {
            paces.push(pace);
            lines.push(Line { name, collector, told: None });
        }
        let schedule = Schedule::new(paces, start);
        let progress = Arc::new(Progress::new(lines.iter().map(|line| line.name).collect()));
        let names = lines.iter().map(|line| line.name);
        let samples = Samples::beginning(OWN_SERIES, max_series).shared_by(names);
        Self { host, lines, schedule, progress, samples, spare: None, refused: (0, None), begun: None }
    }

    /// Which of them runs.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Series that there would be without a limit, after a first round.
    pub fn wanted(&self) -> u64 {
        self.samples.wanted()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Runs until the other end of `stop` says so or is dropped.
    pub fn run(mut self, stop: &Receiver<()>, sink: &mut impl Sink) {
        loop {
            self.pass(&mut clock::now, sink);
            let idle = self.schedule.idle(clock::now()).unwrap_or(Duration::MAX);
            match stop.recv_timeout(idle) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Runs all collectors that are due, each once.
    pub fn pass(&mut self, clock: &mut impl FnMut() -> Now, sink: &mut impl Sink) {
        let woken = clock();
        for index in 0..self.lines.len() {
            if self.schedule.is_due(index, woken) {
                self.schedule.ran(index, woken);
                self.collect(index, clock, sink);
            }
        }
        sink.round();
    }

    fn collect(&mut self, index: usize, clock: &mut impl FnMut() -> Now, sink: &mut impl Sink) {
        let Some(line) = self.lines.get_mut(index) else { return };
        let start = clock();
        self.samples.begin(line.name, start, self.spare.take());
        self.progress.begin(index, start);
        let result = line.collector.collect(&*self.host, &mut self.samples);
        self.progress.end();
        let took = clock().since(start) as f64 / SECOND as f64;
        self.samples.put_always(&DURATION, &[line.name], took);
        self.samples.put_always(&UP, &[line.name], f64::from(u8::from(result.is_ok())));
        if index == 0 {
            let (refused, since) = self.refused;
            let recent = since.is_some_and(|since| start.since(since) < LIMITED_SECS * SECOND);
            self.samples.put_always(&REFUSED, &[], refused as f64);
            // Whether it is reached again shows after a restart in the first minute.
            if recent || start.since(*self.begun.get_or_insert(start)) >= SURE_SECS * SECOND {
                self.samples.put_always(&LIMITED, &[], f64::from(u8::from(recent)));
            }
            self.samples.put_always(&SERIES, &[], self.samples.len() as f64);
        }
        self.spare = sink.batch(self.samples.finish());
        if line.told.as_ref() != Some(&result) {
            line.told = Some(result.clone());
            sink.health(Health { collector: line.name, result });
        }
        if self.samples.refused() > self.refused.0 {
            if self.refused.0 == 0 {
                tracing::warn!("there are more series than collector.max_series allows; {FULL}");
            }
            self.refused = (self.samples.refused(), Some(start));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use std::sync::{OnceLock, mpsc};
    use std::thread;

    #[derive(Default)]
    struct Seen {
        batches: Vec<(&'static str, Vec<(&'static str, f64)>)>,
        health: Vec<Health>,
        capacity: usize,
    }

    impl Sink for Seen {
        fn batch(&mut self, batch: Batch) -> Option<Batch> {
            let name = |id| batch.defs.iter().find(|def| def.id == id).map_or("known", |def| def.metric.name);
            let samples = batch.samples.iter().map(|&(id, value)| (name(id), value)).collect();
            self.batches.push((batch.collector, samples));
            self.capacity = batch.samples.capacity();
            Some(batch)
        }

        fn health(&mut self, health: Health) {
            self.health.push(health);
        }
    }

    fn config(names: &[&str]) -> Config {
        let mut config = Config::default();
        config.collector.enabled = names.iter().map(|&name| name.to_owned()).collect();
        config
    }

    /// A clock that moves a quarter of a second at every look.
    fn ticking(mut now: Now) -> impl FnMut() -> Now {
        move || {
            now = now.at_mono(now.mono_ns + SECOND / 4);
            now
        }
    }

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    #[test]
    fn passes_are_sent_with_their_duration() {
        let host = Arc::new(FixtureHost::parse("//- /proc/uptime\n7.0 1\n").unwrap());
        let mut runner = Runner::new(&config(&["uptime"]), host, Vec::new(), at(0));
        let mut seen = Seen::default();
        runner.pass(&mut ticking(at(0)), &mut seen);
        let expect = vec![
            ("host_uptime_seconds", 7.0),
            ("collector_duration_seconds", 0.25),
            ("collector_up", 1.0),
            ("series_refused_total", 0.0),
            ("series_count", 4.0),
        ];
        assert_eq!(seen.batches, [("uptime", expect)]);
        runner.pass(&mut ticking(at(5)), &mut seen);
        assert_eq!(seen.batches.len(), 1, "not due yet");
        runner.pass(&mut ticking(at(10)), &mut seen);
        assert_eq!(seen.batches.len(), 2);
        assert!(seen.capacity > 5, "the spare batch is used again");
    }

    #[test]
    fn health_is_told_on_change_only() {
        let host = FixtureHost::parse("//- /proc/uptime\n7.0 1\n").unwrap();
        let mut runner = Runner::new(&config(&["uptime"]), Arc::new(host.clone()), Vec::new(), at(0));
        let mut seen = Seen::default();
        let mut secs = 0;
        for (content, told) in [
            (Some("7.0 1"), 1),
            (Some("8.0 1"), 1),
            (Some("bad"), 2),
            (Some("worse"), 2),
            (None, 3),
            (None, 3),
            (Some("9.0 1"), 4),
        ] {
            host.remove("/proc");
            content.inspect(|content| host.set("/proc/uptime", content));
            runner.pass(&mut ticking(at(secs)), &mut seen);
            assert_eq!(seen.health.len(), told, "{content:?}: {:?}", seen.health);
            secs += 10;
        }
        let ok: Vec<_> = seen.health.iter().map(|health| health.result.is_ok()).collect();
        assert_eq!(ok, [true, false, false, true]);
    }

    /// Looks at the runner from inside.
    struct Looking(mpsc::SyncSender<Option<(&'static str, u64)>>, Arc<OnceLock<Arc<Progress>>>);
    impl Collector for Looking {
        fn collect(&mut self, _: &dyn Host, _: &mut Samples) -> Result<(), CollectError> {
            self.0.send(self.1.get().unwrap().running()).unwrap();
            Ok(())
        }
    }

    #[test]
    fn who_runs_is_seen_from_outside() {
        let ((saw, seen), progress) = (mpsc::sync_channel(2), Arc::new(OnceLock::new()));
        let looking = |name| -> Item {
            (name, Duration::from_secs(1), Box::new(Looking(saw.clone(), Arc::clone(&progress))))
        };
        let host = Arc::new(FixtureHost::parse("").unwrap());
        let mut runner = Runner::of([looking("a"), looking("b")].into_iter(), 10, host, at(0));
        progress.set(runner.progress()).unwrap();
        assert_eq!(runner.progress().running(), None);
        runner.pass(&mut || at(7), &mut Seen::default());
        let running: Vec<_> = seen.try_iter().collect();
        assert_eq!(running, ["a", "b"].map(|name| Some((name, at(7).mono_ns))));
        assert_eq!(runner.progress().running(), None);
    }

    struct Extra;
    impl Collector for Extra {
        fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
            out.put(&UP, &["inside"], 5.0);
            Ok(())
        }
    }

    #[test]
    fn extra_collectors_run_at_their_own_pace() {
        let extra: Vec<Item> = vec![("extra", Duration::from_secs(1), Box::new(Extra))];
        let host = Arc::new(FixtureHost::parse("").unwrap());
        let mut config = config(&[]);
        config.collector.disabled =
            super::super::COLLECTORS.iter().map(|entry| entry.name.to_owned()).collect();
        let mut runner = Runner::new(&config, host, extra, at(0));
        let mut seen = Seen::default();
        for secs in 0..3 {
            runner.pass(&mut ticking(at(secs)), &mut seen);
        }
        assert_eq!(seen.batches.len(), 3);
        assert!(seen.batches.iter().all(|(name, samples)| *name == "extra" && samples.len() >= 3));
    }

    #[test]
    fn it_stops_at_once() {
        for drop_it in [true, false] {
            let (stop, stopped) = mpsc::channel();
            let host = Arc::new(FixtureHost::parse("//- /proc/uptime\n7.0 1\n").unwrap());
            let runner = Runner::new(&config(&["uptime"]), host, Vec::new(), clock::now());
            let thread = thread::spawn(move || {
                let mut seen = Seen::default();
                runner.run(&stopped, &mut seen);
                seen.batches.len()
            });
            if drop_it {
                drop(stop);
            } else {
                stop.send(()).unwrap();
            }
            assert_eq!(thread.join().unwrap(), 1);
        }
    }
}
