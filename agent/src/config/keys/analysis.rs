//! Closer looks: processors, analyzers, storage, the kernel log.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeTable;

use crate::alert::Severity;
use crate::config::must::Must::{LogRule, Real, Regex, Whole, Word};
use crate::config::reader::Reader;
use crate::config::section::{choice, section};
use crate::config::value::Node;

section! {
    /// Hosts with several processors and error-correcting memory.
    pub struct Cpu {
        /// Whether each processor socket is measured.
        per_socket_monitoring: bool = true;
        /// Whether each NUMA node is measured.
        numa_monitoring: bool = true;
        /// Whether memory errors are counted.
        ecc_monitoring: bool = true;
    }
}

section! {
    /// What judges the course of a series, beside the fixed limits.
    pub struct Analyzer {
        /// Samples of the window of the z-score; at 10 s, 360 are an hour.
        zscore_window: usize = 360 => Whole(10, 100_000);
        /// Deviations from which a value is unusual: standard deviations of the window, mean deviations from the moving average.
        zscore_threshold: f64 = 3.0 => Real(0.5, 100.0);
        /// Weight of the newest sample in the moving average.
        ema_alpha: f64 = 0.1 => Real(0.001, 1.0);
        /// Hours that a trend looks back.
        trend_window_hours: f64 = 6.0 => Real(0.001, 168.0);
        /// Hours for which something must grow before it is a leak.
        leak_min_observation_hours: f64 = 1.0 => Real(0.001, 168.0);
        /// How straight its growth must be: R², 0 to 1.
        leak_r_squared_threshold: f64 = 0.8 => Real(0.0, 1.0);
        /// How bad an unusual course of a series is, as means of five minutes show it after half a day: context, unless you raise it.
        anomaly_severity: Loudness = Loudness::Info;
        /// How bad readings are that stay beyond `zscore_threshold` of their window. Where it is off, other alerts still say so.
        zscore_severity: Loudness = Loudness::Off;
        /// How bad readings are that stay beyond `zscore_threshold` of their moving average. Where it is off, other alerts still say so.
        ema_severity: Loudness = Loudness::Off;
        /// How bad a leak is that is sure: it grew for a day, or will soon have taken all. Before that it is an info. "off": neither.
        leak_severity: Loudness = Loudness::Warn;
    }
}

choice! {
    /// How bad a finding is.
    pub enum Loudness = Off {
        /// It is not told.
        Off = "off";
        /// An info.
        Info = "info";
        /// A warning.
        Warn = "warn";
        /// Critical.
        Critical = "critical";
    }
}

impl Loudness {
    /// The severity; none where it is not told.
    pub const fn severity(self) -> Option<Severity> {
        match self {
            Self::Off => None,
            Self::Info => Some(Severity::Info),
            Self::Warn => Some(Severity::Warn),
            Self::Critical => Some(Severity::Critical),
        }
    }
}

section! {
    /// History of the series.
    pub struct Storage {
        /// Samples kept in memory for each series; at 10 s, 8640 are a day. Their files in `data_dir/history` keep that time over a restart.
        ring_buffer_capacity: usize = 8640 => Whole(1, 10_000_000);
        /// Whether one-minute averages are kept in an SQLite file.
        sqlite_enabled: bool = false, feature "sqlite";
        /// The file they are kept in.
        sqlite_path: PathBuf = "/var/lib/sysops-agent/metrics.db", feature "sqlite";
        /// Days for which they are kept.
        sqlite_retention_days: u64 = 30 => Whole(1, 3650), feature "sqlite";
    }
}

choice! {
    /// Where log lines come from.
    pub enum LogSource = Dmesg {
        /// The kernel's own buffer, /dev/kmsg.
        Dmesg = "dmesg";
        /// The file at `syslog_path`: patterns of your own, and the kernel's lines where neither /dev/kmsg nor the journal can be read.
        Syslog = "syslog";
        /// The systemd journal: what systemd-oomd and earlyoom kill, and the kernel's lines where /dev/kmsg is closed.
        Journal = "journal";
    }
}

section! {
    /// What the kernel writes about trouble, and patterns of your own.
    pub struct LogAnalyzer, check distinct_patterns {
        /// Whether logs are read.
        enabled: bool = true;
        /// Which logs are read. What is not on a host is passed over. The kernel's lines are taken from /dev/kmsg, where it may be
        /// read, whichever is named; "syslog" and "journal" bring them where it may not, and lines of programs for `custom_patterns`.
        sources: Vec<LogSource> = &[LogSource::Dmesg, LogSource::Syslog, LogSource::Journal];
        /// The file of the source "syslog". Where the default is missing, /var/log/messages is read.
        syslog_path: PathBuf = "/var/log/syslog";
        /// Whether errors reported by the NVIDIA driver (Xid) are alerts.
        gpu_xid_monitoring: bool = true;
        /// Built-in rules that are off, by id (docs/LOG-RULES.md).
        disabled_rules: Vec<String> = &[] => LogRule;
        /// How bad built-in rules are here, by id, whatever a line says: `{ segfault = "warn" }`.
        severity: BTreeMap<String, Severity>;
        /// Patterns that are alerts beside the built-in ones: `{ pattern, severity, name }`.
        custom_patterns: Vec<CustomPattern> = &[];
    }
}

section! {
    /// A pattern of your own in the logs.
    pub struct CustomPattern, needs ["name", "pattern"] {
        /// Name of the rule in alerts.
        name: String = "" => Word;
        /// What a line must contain.
        pattern: String = "" => Regex;
        /// How bad it is.
        severity: Severity = Severity::Warn;
    }
}

/// Patterns of the user at most: each runs on every line that any of them may want.
pub const MAX_CUSTOM_PATTERNS: usize = 256;

fn distinct_patterns(_: &LogAnalyzer, _: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    cx.distinct(table, "custom_patterns", "name");
    cx.no_rules(table, "custom_patterns", "name");
    cx.selective(table, "custom_patterns", "pattern", MAX_CUSTOM_PATTERNS);
    cx.known_keys(table, "severity", LogRule);
}
