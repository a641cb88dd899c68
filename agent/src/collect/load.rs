//! `/proc/loadavg`: how many tasks want to run.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{count_of_list, decimal, number, words};
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::Now;

metrics! {
    LOAD_1: Gauge Ratio "load_1min" []
        "Tasks that run, wait for a CPU or sleep uninterruptibly; average of 1 minute.", "/proc/loadavg";
    LOAD_5: Gauge Ratio "load_5min" []
        "Tasks that run, wait for a CPU or sleep uninterruptibly; average of 5 minutes.", "/proc/loadavg";
    LOAD_15: Gauge Ratio "load_15min" []
        "Tasks that run, wait for a CPU or sleep uninterruptibly; average of 15 minutes.", "/proc/loadavg";
    PER_CPU: Gauge Ratio "load_average_per_cpu" []
        "The 1-minute load divided by the CPUs (hardware threads) online.",
        "/proc/loadavg, /sys/devices/system/cpu/online";
    RUNNABLE: Gauge Count "tasks_runnable_count" [] "Tasks that run or wait for a CPU.", "/proc/loadavg";
    TASKS: Gauge Count "tasks_count" [] "Tasks (threads) that exist.", "/proc/loadavg";
    MAX_TASKS: Gauge Count "tasks_max_count" []
        "Tasks that may exist: the smaller of pid_max and threads-max.",
        "/proc/sys/kernel/pid_max, /proc/sys/kernel/threads-max";
    TASKS_USED: Gauge Percent "tasks_used_percent" []
        "Share of the tasks that may exist; at 100 no process can be started.",
        "/proc/loadavg, /proc/sys/kernel/pid_max, /proc/sys/kernel/threads-max";
}

/// Reads `/proc/loadavg`.
pub struct Load {
    loadavg: Kept,
    online: Kept,
    pid_max: Kept,
    threads_max: Kept,
}

impl Load {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            loadavg: Kept::new("/proc/loadavg"),
            online: Kept::new("/sys/devices/system/cpu/online"),
            pid_max: Kept::new("/proc/sys/kernel/pid_max"),
            threads_max: Kept::new("/proc/sys/kernel/threads-max"),
        }
    }

    fn max_tasks(&mut self, host: &dyn Host, now: Now) -> Option<u64> {
        let limits = [&mut self.pid_max, &mut self.threads_max].into_iter();
        limits.filter_map(|file| number(file.seldom(host, now).ok()?.trim_ascii())).min()
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Load {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let Some(line) = Line::parse(self.loadavg.read(host)?) else {
            return Err(self.loadavg.parse_error("it does not begin with three load averages and tasks"));
        };
        let [one, five, fifteen] = line.loads;
        out.put(&LOAD_1, &[], one);
        out.put(&LOAD_5, &[], five);
        out.put(&LOAD_15, &[], fifteen);
        out.put(&RUNNABLE, &[], line.runnable as f64);
        out.put(&TASKS, &[], line.tasks as f64);
        if let Some(max) = self.max_tasks(host, out.at()).filter(|&max| max > 0) {
            out.put(&MAX_TASKS, &[], max as f64);
            // The limit may be lowered below what there is.
            out.put(&TASKS_USED, &[], (100.0 * line.tasks as f64 / max as f64).min(100.0));
        }
        let online = self.online.seldom(host, out.at())?;
        let Some(cpus) = count_of_list(online) else {
            return Err(self.online.parse_error("it is not a list of CPU numbers"));
        };
        out.put(&PER_CPU, &[], one / cpus as f64);
        Ok(())
    }
}

/// `0.54 0.35 0.27 1/92 9127`
struct Line {
    loads: [f64; 3],
    runnable: u64,
    tasks: u64,
}

impl Line {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = words(text.trim_ascii());
        let mut load = || decimal(words.next()?);
        let loads = [load()?, load()?, load()?];
        let mut tasks = words.next()?.splitn(2, |&b| b == b'/').map(number);
        Some(Self { loads, runnable: tasks.next()??, tasks: tasks.next()?? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /proc/loadavg
4.00 0.35 0.27 1/92 9127
//- /sys/devices/system/cpu/online
0-3,6-9
//- /proc/sys/kernel/pid_max
32768
//- /proc/sys/kernel/threads-max
1840
";

    #[test]
    fn a_host_is_read() {
        let mut bench = Bench::new(HOST, Load::new());
        bench.pass().unwrap();
        bench.expect(&[
            ("load_1min", 4.0),
            ("load_5min", 0.35),
            ("load_15min", 0.27),
            ("load_average_per_cpu", 0.5),
            ("tasks_runnable_count", 1.0),
            ("tasks_count", 92.0),
            ("tasks_max_count", 1840.0),
            ("tasks_used_percent", 5.0),
        ]);
    }

    #[test]
    fn bad_content_is_an_error() {
        for content in [
            "",
            "1.0 2.0",
            "1.0 2.0 3.0",
            "-1.0 2.0 3.0 1/2 3",
            "nan 1 1 1/2 3",
            "1 1 1 12 3",
            "1 1 1 1/ 3",
            "\u{fe}",
        ] {
            let mut bench = Bench::new(HOST, Load::new());
            bench.host.set("/proc/loadavg", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}");
            bench.expect_nothing();
        }
    }

    #[test]
    fn without_sys_the_loads_remain() {
        let mut bench = Bench::new(HOST, Load::new());
        bench.host.remove("/sys");
        bench.host.remove("/proc/sys");
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        bench.expect(&[("load_1min", 4.0)]);
        assert!(!bench.has("tasks_used_percent"));
        bench.host.set("/sys/devices/system/cpu/online", "\n");
        assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })));
    }
}
