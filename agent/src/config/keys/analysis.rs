//! Closer looks: processors, analyzers, storage, the kernel log.

use std::path::PathBuf;

use toml::de::DeTable;

use crate::alert::Severity;
use crate::config::must::Must::{Real, Regex, Whole, Word};
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
    pub struct Analyzer, later "statistical analysis" {
        /// Samples of the window of the z-score; at 10 s, 360 are an hour.
        zscore_window: usize = 360 => Whole(10, 100_000);
        /// Standard deviations from which a value is unusual.
        zscore_threshold: f64 = 3.0 => Real(0.5, 100.0);
        /// Weight of the newest sample in the moving average.
        ema_alpha: f64 = 0.1 => Real(0.001, 1.0);
        /// Hours that a trend looks back.
        trend_window_hours: u64 = 6 => Whole(1, 168);
        /// Hours for which something must grow before it is a leak.
        leak_min_observation_hours: u64 = 1 => Whole(1, 168);
        /// How straight its growth must be: R², 0 to 1.
        leak_r_squared_threshold: f64 = 0.8 => Real(0.0, 1.0);
    }
}

section! {
    /// History of the series.
    pub struct Storage {
        /// Samples kept in memory for each series; at 10 s, 8640 are a day.
        ring_buffer_capacity: usize = 8640 => Whole(1, 10_000_000);
        /// Whether one-minute averages are kept on disk.
        sqlite_enabled: bool = false, later "the history on disk";
        /// The file they are kept in.
        sqlite_path: PathBuf = "/var/lib/sysops-agent/metrics.db", later "the history on disk";
        /// Days for which they are kept.
        sqlite_retention_days: u64 = 30 => Whole(1, 3650), later "the history on disk";
    }
}

choice! {
    /// Where log lines come from.
    pub enum LogSource = Dmesg {
        /// The kernel's own buffer, /dev/kmsg.
        Dmesg = "dmesg";
        /// The file at `syslog_path`.
        Syslog = "syslog", later "syslog as a log source";
        /// The systemd journal: what systemd-oomd and earlyoom kill, and the kernel's lines where /dev/kmsg is closed.
        Journal = "journal";
    }
}

section! {
    /// What the kernel writes about trouble, and patterns of your own.
    pub struct LogAnalyzer, check distinct_patterns {
        /// Whether logs are read.
        enabled: bool = true;
        /// Which logs are read. What is not on a host is passed over.
        sources: Vec<LogSource> = &[LogSource::Dmesg, LogSource::Journal];
        /// The file of the source "syslog".
        syslog_path: PathBuf = "/var/log/syslog", later "syslog as a log source";
        /// Whether errors reported by the NVIDIA driver (Xid) are alerts.
        gpu_xid_monitoring: bool = true;
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

fn distinct_patterns(_: &LogAnalyzer, _: &Node<'_>, table: &DeTable<'_>, cx: &mut Reader<'_>) {
    cx.distinct(table, "custom_patterns", "name");
}
