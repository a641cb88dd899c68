//! `/proc/self`: what the agent itself takes.

use std::collections::VecDeque;

use super::kept::{Kept, failure};
use super::stat_line::StatLine;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::SECOND;

metrics! {
    CPU: Counter Seconds "agent_cpu_seconds_total" [] "CPU time of the agent.", "/proc/self/stat";
    RSS: Gauge Bytes "agent_resident_memory_bytes" []
        "Resident memory of the agent; BPF maps are not in it.", "/proc/self/stat";
    VIRTUAL: Gauge Bytes "agent_virtual_memory_bytes" [] "Address space of the agent.", "/proc/self/stat";
    THREADS: Gauge Count "agent_threads_count" [] "Threads of the agent.", "/proc/self/stat";
    MEMORY: Gauge Bytes "agent_memory_bytes" []
        "Memory of the agent: resident, and that of its BPF maps and buffers.", "/proc/self/stat, and ebpf_map_bytes";
    LOAD: Gauge Percent "agent_cpu_percent" []
        "CPU use of the agent over the last five minutes, percent of one CPU; not told before they are over.", "/proc/self/stat";
    FDS: Gauge Count "agent_open_fds_count" [] "Open file descriptors of the agent.", "/proc/self/fd";
}

/// What `agent_cpu_percent` looks back to, nanoseconds.
const WINDOW_NS: u64 = 300 * SECOND;
/// Least time between two readings it remembers, nanoseconds: so there are some thirty.
const STEP_NS: u64 = 10 * SECOND;

/// Reads `/proc/self`.
pub struct Agent {
    stat: Kept,
    /// Memory of BPF maps and buffers, bytes.
    maps: u64,
    /// Moments of the last minutes and CPU seconds at them, oldest first.
    past: VecDeque<(u64, f64)>,
}

impl Agent {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self::beside(0)
    }

    /// The same of an agent whose BPF maps and buffers take so many bytes.
    pub const fn beside(maps: u64) -> Self {
        Self { stat: Kept::new("/proc/self/stat"), maps, past: VecDeque::new() }
    }

    /// Mean use over the window, percent of one CPU; nothing before it is over.
    fn load(&mut self, at_ns: u64, cpu_secs: f64) -> Option<f64> {
        while self.past.get(1).is_some_and(|(then, _)| at_ns.saturating_sub(*then) >= WINDOW_NS) {
            self.past.pop_front();
        }
        if self.past.back().is_none_or(|(then, _)| at_ns.saturating_sub(*then) >= STEP_NS) {
            self.past.push_back((at_ns, cpu_secs));
        }
        let (then_ns, then_secs) = *self.past.front()?;
        let past_ns = at_ns.saturating_sub(then_ns);
        let used = (cpu_secs - then_secs).max(0.0);
        (past_ns >= WINDOW_NS).then(|| used * 100.0 / (past_ns as f64 / SECOND as f64))
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::new()
    }
}

const FD_DIR: &str = "/proc/self/fd";

impl Collector for Agent {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let Some(stat) = StatLine::parse(self.stat.read(host)?) else {
            return Err(self.stat.parse_error("it has fewer than 24 fields"));
        };
        let cpu_secs = stat.cpu_ticks as f64 / host.ticks_per_second() as f64;
        let resident = stat.rss_pages.saturating_mul(host.page_size());
        out.put(&CPU, &[], cpu_secs);
        out.put(&RSS, &[], resident as f64);
        out.put(&MEMORY, &[], resident.saturating_add(self.maps) as f64);
        out.put(&VIRTUAL, &[], stat.virtual_bytes as f64);
        out.put(&THREADS, &[], stat.threads as f64);
        let fds = host.count_fds(FD_DIR).map_err(|error| failure(FD_DIR, &error))?;
        if let Some(load) = self.load(out.at().mono_ns, cpu_secs) {
            out.put(&LOAD, &[], load);
        }
        out.put(&FDS, &[], fds as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /proc/self/stat
9180 (agent) S 1 1 1 0 -1 0 97 0 0 0 30 12 0 0 20 0 3 0 110189 3133440 382 1844
//- /proc/self/fd/0 -> /dev/null
//- /proc/self/fd/1 -> /dev/null
//- /proc/self/fd/3 -> /proc/self/fd
";

    #[test]
    fn the_agent_is_read() {
        let mut bench = Bench::new(HOST, Agent::beside(1000));
        bench.pass().unwrap();
        bench.expect(&[
            ("agent_memory_bytes", 382.0 * 4096.0 + 1000.0),
            ("agent_cpu_seconds_total", 0.42),
            ("agent_resident_memory_bytes", 382.0 * 4096.0),
            ("agent_virtual_memory_bytes", 3_133_440.0),
            ("agent_threads_count", 3.0),
            ("agent_open_fds_count", 2.0),
        ]);
    }

    #[test]
    fn the_load_is_that_of_five_minutes() {
        let mut bench = Bench::new(HOST, Agent::new());
        // A second of CPU time in every third reading, later none: no single interval decides.
        let mut ticks = 0;
        let mut seen = Vec::new();
        for reading in 0..70_u32 {
            ticks += if reading < 35 && reading % 3 == 0 { 100 } else { 0 };
            let stat = format!(
                "9180 (agent) S 1 1 1 0 -1 0 97 0 0 0 {ticks} 0 0 0 20 0 3 0 110189 3133440 382 1844"
            );
            bench.host.set("/proc/self/stat", &stat);
            bench.pass().unwrap();
            seen.push(bench.readings.get("agent_cpu_percent").map(|load| (load * 100.0).round() / 100.0));
        }
        assert_eq!(seen[..30], [None; 30]);
        assert_eq!((seen[30], seen[34], seen[50], seen[69]), (Some(3.33), Some(3.33), Some(1.67), Some(0.0)));
        bench
            .host
            .set("/proc/self/stat", "9180 (agent) S 1 1 1 0 -1 0 97 0 0 0 1 0 0 0 20 0 3 0 110189 1 1 1");
        bench.pass().unwrap();
        bench.expect(&[("agent_cpu_percent", 0.0)]);
    }

    #[test]
    fn bad_content_is_an_error() {
        for content in ["", "1 (a) S 1", "no"] {
            let mut bench = Bench::new(HOST, Agent::new());
            bench.host.set("/proc/self/stat", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}");
        }
        let mut bench = Bench::new(HOST, Agent::new());
        bench.host.remove("/proc/self/fd");
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
    }
}
