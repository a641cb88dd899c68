//! `/proc/stat`: where the CPUs' time went, and how busy the scheduler was.

use super::kept::Kept;
use super::topology::{Topology, Wanted};
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{key, lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    MODE: Counter Seconds "cpu_mode_seconds_total" ["mode"]
        "Time all CPUs together spent in a mode; user and nice contain guest time.", "/proc/stat cpu";
    GUEST: Counter Seconds "cpu_guest_seconds_total" ["mode"]
        "Time all CPUs together ran virtual machines; part of the mode of the same name.", "/proc/stat cpu";
    BUSY: Counter Seconds "cpu_busy_seconds_total" []
        "Time all CPUs together were not idle and not waiting for I/O.", "/proc/stat cpu";
    ALL: Counter Seconds "cpu_all_seconds_total" []
        "Time of all CPUs together, whatever they did.", "/proc/stat cpu";
    CORE_MODE: Counter Seconds "cpu_seconds_total" ["cpu", "mode"]
        "Time one CPU spent in a mode; on hosts with at most 64 CPUs.", "/proc/stat cpuN";
    CORE_BUSY: Counter Seconds "cpu_core_busy_seconds_total" ["cpu"]
        "Time one CPU was not idle and not waiting for I/O.", "/proc/stat cpuN";
    CORE_ALL: Counter Seconds "cpu_core_all_seconds_total" ["cpu"]
        "Time of one CPU, whatever it did.", "/proc/stat cpuN";
    ONLINE: Gauge Count "cpu_online_count" [] "CPUs (hardware threads) online.", "/proc/stat cpuN";
    INTERRUPTS: Counter Count "interrupts_total" [] "Interrupts served.", "/proc/stat intr";
    SOFTIRQS: Counter Count "softirqs_total" ["type"] "Soft interrupts served.", "/proc/stat softirq";
    CONTEXT_SWITCHES: Counter Count "context_switches_total" [] "Switches between tasks.", "/proc/stat ctxt";
    FORKS: Counter Count "forks_total" [] "Processes and threads created.", "/proc/stat processes";
    RUNNING: Gauge Count "processes_running_count" [] "Tasks that run or wait for a CPU.", "/proc/stat procs_running";
    BLOCKED: Gauge Count "processes_blocked_count" [] "Tasks that wait for I/O.", "/proc/stat procs_blocked";
    BOOT_TIME: Gauge Seconds "boot_time_seconds" [] "Unix time of the boot.", "/proc/stat btime";
    SOCKET_BUSY: Counter Seconds "cpu_socket_busy_seconds_total" ["socket"]
        "Time the CPUs of a socket were in use since the agent started; on hosts with several sockets of several CPUs.",
        "/proc/stat cpuN, /sys/devices/system/cpu/cpu*/topology/physical_package_id";
    SOCKET_ALL: Counter Seconds "cpu_socket_all_seconds_total" ["socket"]
        "Time of the CPUs of a socket since the agent started, whatever they did.", "the same";
    SOCKET_CPUS: Gauge Count "cpu_socket_cpus_count" ["socket"] "CPUs of a socket that are online.", "the same";
    NODE_BUSY: Counter Seconds "cpu_numa_busy_seconds_total" ["node"]
        "Time the CPUs of a NUMA node were in use since the agent started; on hosts with several nodes.",
        "/proc/stat cpuN, /sys/devices/system/node/node*/cpulist";
    NODE_ALL: Counter Seconds "cpu_numa_all_seconds_total" ["node"]
        "Time of the CPUs of a NUMA node since the agent started, whatever they did.", "the same";
    NODE_CPUS: Gauge Count "cpu_numa_cpus_count" ["node"] "CPUs of a NUMA node that are online.", "the same";
}

/// Columns of a `cpu` line that add up to all time, in the kernel's order; user and nice contain
/// the guest columns behind them (`account_guest_time`, `kernel/sched/cputime.c`).
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;
const GUEST_MODES: [&str; 2] = ["user", "nice"];

/// Columns of the `softirq` line after the total (`softirq_to_name`, `kernel/softirq.c`).
const SOFTIRQ_TYPES: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"];

/// CPUs up to which each has a series per mode: 64 x 8 of the 4000 series of the default limit.
const MAX_MODE_CORES: usize = 64;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Each core too.
    pub per_core: bool,
    /// Sockets and NUMA nodes too.
    pub groups: Wanted,
}

/// Reads `/proc/stat`.
pub struct Cpu {
    options: Options,
    stat: Kept,
    topology: Topology,
}

impl Cpu {
    /// Reads nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options, stat: Kept::new("/proc/stat"), topology: Topology::new(options.groups) }
    }
}

/// One `cpu` line in seconds.
struct Times {
    modes: [f64; MODES.len()],
    guest: [f64; GUEST_MODES.len()],
}

impl Times {
    /// `None` where a column is not a number; columns an old kernel does not have are 0.
    fn parse(columns: &[u8], ticks_per_second: f64) -> Option<Self> {
        let mut ticks = [0; MODES.len() + GUEST_MODES.len()];
        let mut words = words(columns);
        ticks[0] = number(words.next()?)?;
        for (slot, word) in ticks[1..].iter_mut().zip(words) {
            *slot = number(word)?;
        }
        let seconds = ticks.map(|t| t as f64 / ticks_per_second);
        let (modes, guest) = seconds.split_at(MODES.len());
        Some(Self { modes: modes.try_into().ok()?, guest: guest.try_into().ok()? })
    }

    fn all(&self) -> f64 {
        self.modes.iter().sum()
    }

    fn busy(&self) -> f64 {
        self.all() - self.modes[IDLE] - self.modes[IOWAIT]
    }
}

impl Collector for Cpu {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let hertz = host.ticks_per_second() as f64;
        let mut cores = 0u32;
        let mut whole = false;
        let text = self.stat.read(host)?;
        let with_modes = lines(text).skip(1).take_while(|l| l.starts_with(b"cpu")).count() <= MAX_MODE_CORES;
        for line in lines(text) {
            let (name, columns) = key(line);
            match name {
                b"cpu" => whole |= put_host(columns, hertz, out),
                b"intr" => put_first(&INTERRUPTS, columns, out),
                b"softirq" => put_softirqs(columns, out),
                b"ctxt" => put_first(&CONTEXT_SWITCHES, columns, out),
                b"processes" => put_first(&FORKS, columns, out),
                b"procs_running" => put_first(&RUNNING, columns, out),
                b"procs_blocked" => put_first(&BLOCKED, columns, out),
                b"btime" => put_first(&BOOT_TIME, columns, out),
                _ => {
                    let Some((number, cpu)) = core_number(name) else { continue };
                    cores += 1;
                    let Some(times) = Times::parse(columns, hertz) else { continue };
                    self.topology.read(number, times.busy(), times.all());
                    if self.options.per_core {
                        put_core(cpu, &times, with_modes, out);
                    }
                }
            }
        }
        self.topology.put(host, out);
        if cores > 0 {
            out.put(&ONLINE, &[], f64::from(cores));
        }
        if whole { Ok(()) } else { Err(self.stat.parse_error("it has no line `cpu` with times")) }
    }
}

fn core_number(name: &[u8]) -> Option<(u64, &str)> {
    let digits = name.strip_prefix(b"cpu")?;
    Some((number(digits)?, std::str::from_utf8(digits).ok()?))
}

fn put_host(columns: &[u8], hertz: f64, out: &mut Samples) -> bool {
    let Some(times) = Times::parse(columns, hertz) else { return false };
    for (mode, seconds) in MODES.iter().zip(times.modes) {
        out.put(&MODE, &[mode], seconds);
    }
    for (mode, seconds) in GUEST_MODES.iter().zip(times.guest) {
        out.put(&GUEST, &[mode], seconds);
    }
    out.put(&BUSY, &[], times.busy());
    out.put(&ALL, &[], times.all());
    true
}

fn put_core(cpu: &str, times: &Times, with_modes: bool, out: &mut Samples) {
    if with_modes {
        for (mode, seconds) in MODES.iter().zip(times.modes) {
            out.put(&CORE_MODE, &[cpu, mode], seconds);
        }
    }
    out.put(&CORE_BUSY, &[cpu], times.busy());
    out.put(&CORE_ALL, &[cpu], times.all());
}

fn put_softirqs(columns: &[u8], out: &mut Samples) {
    for (name, word) in SOFTIRQ_TYPES.iter().zip(words(columns).skip(1)) {
        if let Some(count) = number(word) {
            out.put(&SOFTIRQS, &[name], count as f64);
        }
    }
}

fn put_first(metric: &'static Metric, columns: &[u8], out: &mut Samples) {
    if let Some(value) = words(columns).next().and_then(number) {
        out.put(metric, &[], value as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use std::fmt::Write;

    /// Rocky 8 (4.18) with two CPUs and one virtual machine.
    const STAT: &str = "\
//- /proc/stat
cpu  1000 200 300 4000 500 60 70 80 90 10
cpu0 600 100 200 2000 250 30 35 40 90 10
cpu1 400 100 100 2000 250 30 35 40 0 0
intr 243142 0 9 0
ctxt 294159
btime 1795291452
processes 9127
procs_running 4
procs_blocked 1
softirq 131861 1 23673 5 5332 15730 0 204 38504 0 48413
";

    fn bench(text: &str) -> Bench {
        Bench::new(text, Cpu::new(Options { per_core: true, groups: Wanted::default() }))
    }

    #[test]
    fn a_host_is_read() {
        let mut bench = bench(STAT);
        bench.pass().unwrap();
        bench.expect(&[
            ("cpu_mode_seconds_total{user}", 10.0),
            ("cpu_mode_seconds_total{iowait}", 5.0),
            ("cpu_mode_seconds_total{steal}", 0.8),
            ("cpu_guest_seconds_total{user}", 0.9),
            ("cpu_all_seconds_total", 62.1),
            ("cpu_busy_seconds_total", 17.1),
            ("cpu_seconds_total{1,system}", 1.0),
            ("cpu_core_busy_seconds_total{0}", 10.05),
            ("cpu_core_all_seconds_total{1}", 29.55),
            ("cpu_online_count", 2.0),
            ("interrupts_total", 243_142.0),
            ("softirqs_total{rcu}", 48_413.0),
            ("softirqs_total{net_rx}", 5332.0),
            ("context_switches_total", 294_159.0),
            ("forks_total", 9127.0),
            ("processes_running_count", 4.0),
            ("processes_blocked_count", 1.0),
            ("boot_time_seconds", 1_795_291_452.0),
        ]);
        let modes: f64 = MODES.iter().map(|m| bench.value(&format!("cpu_mode_seconds_total{{{m}}}"))).sum();
        assert!((modes - bench.value("cpu_all_seconds_total")).abs() < 1e-9, "guest is counted once");
    }

    #[test]
    fn cores_can_be_left_out() {
        let mut bench = Bench::new(STAT, Cpu::new(Options { per_core: false, groups: Wanted::default() }));
        bench.pass().unwrap();
        assert!(!bench.has("cpu_core_all_seconds_total{0}") && !bench.has("cpu_seconds_total{0,user}"));
        bench.expect(&[("cpu_online_count", 2.0)]);
    }

    #[test]
    fn columns_that_do_not_exist_are_zero() {
        let mut bench = bench("//- /proc/stat\ncpu  100 0 100 800\ncpu0 100 0 100 800\n");
        bench.pass().unwrap();
        bench.expect(&[("cpu_busy_seconds_total", 2.0), ("cpu_mode_seconds_total{steal}", 0.0)]);
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for content in
            ["", "cpu", "cpu  ", "cpu  -1 2 3 4", "cpu  1 x 3", "cpu  18446744073709551616 1", "ctxt 5"]
        {
            let mut bench = bench(&format!("//- /proc/stat\n{content}"));
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content}");
        }
        let mut bench =
            bench("//- /proc/stat\ncpu 1 2 3 4\ncpux 1 2\ncpu0 1 -2\nctxt\nintr x\nsoftirq 5\nbtime -1\n");
        bench.pass().unwrap();
        bench.expect(&[("cpu_online_count", 1.0)]);
        for none in [
            "cpu_core_all_seconds_total{0}",
            "context_switches_total",
            "interrupts_total",
            "boot_time_seconds",
        ] {
            assert!(!bench.has(none), "{none}");
        }
        bench.host.set("/proc/stat", b"cpu 1 2 3 4\n\xff\xfe 1\ncpu\xff 7\nctxt 5");
        bench.pass().unwrap();
        bench.expect(&[("context_switches_total", 5.0)]);
    }

    #[test]
    fn many_cpus_have_no_series_per_mode() {
        let mut text = "//- /proc/stat\ncpu  512 0 0 512\n".to_owned();
        for cpu in 0..512 {
            writeln!(text, "cpu{cpu} 1 0 0 1 0 0 0 0 0 0").unwrap();
        }
        let mut bench = bench(&text);
        bench.pass().unwrap();
        bench.pass().unwrap();
        bench.expect(&[("cpu_online_count", 512.0), ("cpu_core_all_seconds_total{511}", 0.02)]);
        assert!(!bench.has("cpu_seconds_total{511,user}"));
    }
}
