//! `/proc/self`: what the agent itself takes.

use super::kept::{Kept, failure};
use super::stat_line::StatLine;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    CPU: Counter Seconds "agent_cpu_seconds_total" [] "CPU time of the agent.", "/proc/self/stat";
    RSS: Gauge Bytes "agent_resident_memory_bytes" []
        "Resident memory of the agent; BPF maps are not in it.", "/proc/self/stat";
    VIRTUAL: Gauge Bytes "agent_virtual_memory_bytes" [] "Address space of the agent.", "/proc/self/stat";
    THREADS: Gauge Count "agent_threads_count" [] "Threads of the agent.", "/proc/self/stat";
    FDS: Gauge Count "agent_open_fds_count" [] "Open file descriptors of the agent.", "/proc/self/fd";
}

/// Reads `/proc/self`.
pub struct Agent {
    stat: Kept,
}

impl Agent {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self { stat: Kept::new("/proc/self/stat") }
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
        out.put(&CPU, &[], stat.cpu_ticks as f64 / host.ticks_per_second() as f64);
        out.put(&RSS, &[], stat.rss_pages.saturating_mul(host.page_size()) as f64);
        out.put(&VIRTUAL, &[], stat.virtual_bytes as f64);
        out.put(&THREADS, &[], stat.threads as f64);
        let fds = host.count_fds(FD_DIR).map_err(|error| failure(FD_DIR, &error))?;
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
        let mut bench = Bench::new(HOST, Agent::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("agent_cpu_seconds_total", 0.42),
            ("agent_resident_memory_bytes", 382.0 * 4096.0),
            ("agent_virtual_memory_bytes", 3_133_440.0),
            ("agent_threads_count", 3.0),
            ("agent_open_fds_count", 2.0),
        ]);
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
