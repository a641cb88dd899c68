//! Fixed limits.

use toml::de::{DeTable, DeValue};

use super::WEEK;
use crate::config::changes::Entry;
use crate::config::must::Must::{self, Limit, Whole};
use crate::config::reader::Reader;
use crate::config::section::section;
use crate::config::value::{Node, Value};

/// Seconds for which a value must be over its limit unless the file says otherwise: three readings at 10 s.
const FOR_SECS: u64 = 30;

/// Limits of one metric. A value beyond a limit for `for_secs` is an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// Limit of a warning, in the metric's unit. None: there is no warning.
    pub warn: Option<f64>,
    /// Limit of a critical alert, in the metric's unit. None: there is none.
    pub critical: Option<f64>,
    /// Seconds for which the value must be beyond the limit, and back for the all-clear.
    pub for_secs: u64,
    /// Value at which the alert is over. None: 5 % before the limit.
    pub clear: Option<f64>,
    /// The file says nothing of it.
    pub is_builtin: bool,
}

/// No limits.
const OFF: Option<(f64, f64)> = None;

impl Threshold {
    /// Where an alert at this limit is over: at `clear`, else 5 % on the good side of the limit.
    pub fn clears_at(&self, limit: f64, falling: bool) -> f64 {
        self.clear.unwrap_or(if falling { limit * 1.05 } else { limit * 0.95 })
    }

    /// Whether there is any limit.
    pub fn is_on(&self) -> bool {
        self.warn.is_some() || self.critical.is_some()
    }
}

const PERCENT: Must = Limit { from: 0.0, to: 100.0, falling: false };
const HOURS: Must = Limit { from: 0.0, to: 8760.0, falling: true };
const MILLISECONDS: Must = Limit { from: 0.0, to: 600_000.0, falling: false };
const MULTIPLE: Must = Limit { from: 0.0, to: 1000.0, falling: false };
const SHARE: Must = Limit { from: 0.0, to: 1.0, falling: false };
/// Of one CPU; a process may use several.
const PERCENT_OF_ONE: Must = Limit { from: 0.0, to: 100_000.0, falling: false };
const MEGABYTES: Must = Limit { from: 0.0, to: 1_048_576.0, falling: false };
const CELSIUS: Must = Limit { from: 0.0, to: 150.0, falling: false };

section! {
    /// Fixed limits. A number is the critical limit alone; `{ warn, critical, for_secs, clear }` says more;
    /// `"off"` removes it.
    pub struct Thresholds {
        /// Processor time in use, of the whole host.
        cpu_percent: Threshold = Some((80.0, 95.0)) => PERCENT;
        /// Processor time in use, of one socket, on hosts with several.
        cpu_per_socket_percent: Threshold = Some((80.0, 95.0)) => PERCENT;
        /// Processor time spent waiting for disks.
        iowait_percent: Threshold = Some((30.0, 60.0)) => PERCENT;
        /// Processor time taken by the hypervisor.
        steal_percent: Threshold = Some((10.0, 30.0)) => PERCENT;
        /// Load average of one minute, as a multiple of the number of CPU threads.
        load_avg_multiplier: Threshold = Some((2.0, 4.0)) => MULTIPLE;
        /// Memory that is not available.
        memory_percent: Threshold = Some((80.0, 90.0)) => PERCENT;
        /// Swap in use.
        swap_percent: Threshold = Some((50.0, 80.0)) => PERCENT;
        /// Hours until memory is exhausted, when it goes on like this.
        memory_exhausted_hours: Threshold = Some((24.0, 6.0)) => HOURS;
        /// Space in use, of each file system.
        disk_percent: Threshold = Some((80.0, 90.0)) => PERCENT;
        /// Inodes in use, of each file system.
        disk_inode_percent: Threshold = Some((80.0, 95.0)) => PERCENT;
        /// Hours until a file system is full, when it goes on like this.
        disk_full_hours: Threshold = Some((72.0, 24.0)) => HOURS;
        /// Time for which a block device is busy.
        disk_busy_percent: Threshold = Some((80.0, 95.0)) => PERCENT;
        /// Milliseconds a request to a block device takes on average.
        disk_await_ms: Threshold = Some((100.0, 500.0)) => MILLISECONDS;
        /// Milliseconds that the slowest hundredth of the requests to a block device take at least, of one
        /// kind (read, write, flush, discard), from issue to completion. Measured with eBPF.
        disk_p99_ms: Threshold = Some((500.0, 2000.0)) => MILLISECONDS;
        /// File descriptors in use, of the system's limit.
        fd_percent: Threshold = Some((80.0, 95.0)) => PERCENT;
        /// Errors per packet of a network interface over the interval.
        network_error_rate: Threshold = Some((0.01, 0.05)) => SHARE;
        /// Load of a GPU.
        gpu_utilization_percent: Threshold = OFF => PERCENT;
        /// Memory in use, of a GPU.
        gpu_memory_percent: Threshold = Some((90.0, 97.0)) => PERCENT;
        /// Temperature of a GPU.
        gpu_temperature_celsius: Threshold = Some((80.0, 85.0)) => CELSIUS;
        /// Power of a GPU, of its limit.
        gpu_power_percent: Threshold = Some((95.0, 99.0)) => PERCENT;
        /// Processor time the agent itself uses, percent of one processor over five minutes.
        agent_cpu_percent: Threshold = Some((1.0, 25.0)) => PERCENT_OF_ONE;
        /// Memory the agent itself takes, that of its BPF maps included, in units of 2^20 bytes.
        agent_memory_mb: Threshold = Some((50.0, 200.0)) => MEGABYTES;
    }
}

section! {
    /// The table form of a limit.
    pub(super) struct Limits {
        /// Limit of a warning.
        warn: Option<f64>;
        /// Limit of a critical alert.
        critical: Option<f64>;
        /// Seconds for which the value must be beyond it.
        for_secs: u64 = FOR_SECS => Whole(0, WEEK);
        /// Value at which the alert is over.
        clear: Option<f64>;
    }
}

impl Value for Threshold {
    type Literal = Option<(f64, f64)>;

    fn form(must: &Must) -> String {
        format!("{}, a table {{ warn, critical, for_secs, clear }}, or \"off\"", must.number("a number"))
    }

    fn preset(pair: Option<(f64, f64)>) -> Self {
        Self {
            warn: pair.map(|p| p.0),
            critical: pair.map(|p| p.1),
            for_secs: FOR_SECS,
            clear: None,
            is_builtin: true,
        }
    }

    fn show(&self) -> String {
        let limits = [("warn", self.warn), ("critical", self.critical)];
        let limits: Vec<_> =
            limits.iter().filter_map(|(name, limit)| Some(format!("{name} = {:?}", (*limit)?))).collect();
        if limits.is_empty() { "\"off\"".to_owned() } else { format!("{{ {} }}", limits.join(", ")) }
    }

    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        let Self { for_secs, clear, .. } = self;
        let clear = clear.map_or(String::new(), |clear| format!(", clear = {clear:?}"));
        out.push(Entry::new(path, format!("{}, for_secs = {for_secs}{clear}", self.show())));
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        let mut out = Self::preset(OFF);
        out.update(node, cx);
        Some(out)
    }

    fn update(&mut self, node: &Node<'_>, cx: &mut Reader<'_>) {
        self.is_builtin = false;
        match node.get_ref() {
            DeValue::Table(table) => self.update_from_table(node, table, cx),
            DeValue::String(word) if word == "off" => *self = Self { is_builtin: false, ..Self::preset(OFF) },
            DeValue::Integer(_) | DeValue::Float(_) => {
                if let Some(critical) = f64::read(node, cx) {
                    *self = Self { critical: Some(critical), is_builtin: false, ..Self::preset(OFF) };
                }
            }
            _ => drop(cx.wrong_type::<()>(node)),
        }
    }
}

impl Threshold {
    /// A table that names a limit has just the limits it names; one that names none keeps the built-in ones.
    fn update_from_table(&mut self, node: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
        let Some(limits) = Limits::read(node, cx) else { return };
        let falling = matches!(cx.must(), Limit { falling: true, .. });
        for (name, limit) in [("warn", limits.warn), ("critical", limits.critical)] {
            if let (Some(limit), Some(node)) = (limit, table.get(name))
                && !cx.must().takes_real(limit)
            {
                cx.within(format!(".{name}"), |cx| cx.out_of_range::<()>(node));
            }
        }
        if limits.warn.is_some() || limits.critical.is_some() {
            (self.warn, self.critical) = (limits.warn, limits.critical);
        }
        (self.for_secs, self.clear) = (limits.for_secs, limits.clear);
        let order = if falling { Order::Falling } else { Order::Rising };
        in_order(order, (self.warn, self.critical, self.clear), table, cx);
    }
}

/// Which way a value gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Rising,
    Falling,
}

/// Reports a warning that would come after the critical alert, and an all-clear beyond the first limit.
pub(super) fn in_order(
    order: Order,
    (warn, critical, clear): (Option<f64>, Option<f64>, Option<f64>),
    table: &DeTable<'_>,
    cx: &mut Reader<'_>,
) {
    let (beyond, worse): (fn(f64, f64) -> bool, _) = match order {
        Order::Rising => (|a, b| a > b, "above"),
        Order::Falling => (|a, b| a < b, "below"),
    };
    if let (Some(warn), Some(critical), Some(node)) = (warn, critical, table.get("warn"))
        && beyond(warn, critical)
    {
        let what = format!("`{}` warns only {worse} its critical limit.", cx.place());
        cx.finding(node.span(), what, "Swap `warn` and `critical`, or leave `warn` out.");
    } else if let (Some(first), Some(clear), Some(node)) = (warn.or(critical), clear, table.get("clear"))
        && beyond(clear, first)
    {
        let what = format!("`clear` of `{}` lies {worse} its limit.", cx.place());
        let side = if order == Order::Rising { "below" } else { "above" };
        cx.finding(node.span(), what, format!("Put `clear` {side} {first:?}, or leave it out."));
    }
}
