//! What a metric is. Every metric is one `const` beside the collector that reads it, or in
//! [`crate::engine::derive`] when the engine computes it.

/// How a metric's values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a reset.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many were how long; travels beside the series ([`crate::sample::histogram`]), to endpoints only.
    Histogram,
}

impl Kind {
    /// Name in tables, and on the Prometheus endpoint.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Unit of a metric's values on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 0-100.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Events per second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Hours; seconds on the Prometheus endpoint.
    Hours,
    /// Milliseconds.
    Milliseconds,
    /// A plain count.
    Count,
    /// One number per another.
    Ratio,
    /// Degrees Celsius.
    Celsius,
    /// Watts.
    Watts,
    /// 10^6 per second; hertz on the Prometheus endpoint.
    Megahertz,
    /// 2^30 bytes, `_gb` in names; bytes on the Prometheus endpoint.
    Gibibytes,
}

/// One metric: the row from which METRICS.md, HELP and TYPE lines and the check of metric
/// names in the configuration are made.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name on the wire: snake case, unit last.
    pub name: &'static str,
    /// Name on the Prometheus endpoint without its `sysops_` prefix; base units, counters end in `_total`.
    /// Empty: not exposed there (rates, which Prometheus computes itself).
    pub prometheus: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Unit of the values on the wire.
    pub unit: Unit,
    /// Label names, in the order in which label values are given.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
    /// File, and field where that is not plain.
    pub source: &'static str,
}

impl Unit {
    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes/s",
            Self::PerSecond => "1/s",
            Self::Seconds => "seconds",
            Self::Hours => "hours",
            Self::Milliseconds => "milliseconds",
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Celsius => "celsius",
            Self::Watts => "watts",
            Self::Megahertz => "megahertz",
            Self::Gibibytes => "2^30 bytes",
        }
    }
}

/// Name on the Prometheus endpoint of a metric that gives none of its own: the same, without `_count`, which belongs to
/// histograms there. Rates have none.
pub(crate) const fn exposed(wire: &'static str, unit: Unit) -> &'static str {
    const COUNT: &[u8] = b"_count";
    if matches!(unit, Unit::PerSecond | Unit::BytesPerSecond) {
        return "";
    }
    let bytes = wire.as_bytes();
    if bytes.len() < COUNT.len() {
        return wire;
    }
    let (start, mut at) = (bytes.len() - COUNT.len(), 0);
    while at < COUNT.len() {
        if bytes[start + at] != COUNT[at] {
            return wire;
        }
        at += 1;
    }
    wire.split_at(start).0
}

impl Metric {
    /// Whether each of its series is of one process, and ends with it.
    pub fn is_of_process(&self) -> bool {
        self.labels.contains(&"pid")
    }
}

/// Declares the metrics of a file, one row each, and their list `METRICS`:
/// `NAME: Kind Unit "wire_name" as "prometheus_name" ["label"] "Help.", "source";`
/// Without `as` the name on the Prometheus endpoint is that of [`exposed`].
macro_rules! metrics {
    (@prometheus $unit:ident $wire:literal) => {
        $crate::metric::exposed($wire, $crate::metric::Unit::$unit)
    };
    (@prometheus $unit:ident $wire:literal $prometheus:literal) => { $prometheus };
    ($($name:ident: $kind:ident $unit:ident $wire:literal $(as $prometheus:literal)?
       [$($label:literal),*] $help:literal, $source:literal;)*) => {
        $(
            #[doc = concat!("`", $wire, "`")]
            pub static $name: $crate::metric::Metric = $crate::metric::Metric {
                name: $wire,
                prometheus: $crate::metric::metrics!(@prometheus $unit $wire $($prometheus)?),
                kind: $crate::metric::Kind::$kind,
                unit: $crate::metric::Unit::$unit,
                labels: &[$($label),*],
                help: $help,
                source: $source,
            };
        )*
        /// All metrics of this file.
        pub static METRICS: &[&$crate::metric::Metric] = &[$(&$name),*];
    };
}
pub(crate) use metrics;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_endpoint() {
        let check = |wire, unit, expect: &str| assert_eq!(exposed(wire, unit), expect, "{wire}");
        check("cpu_online_count", Unit::Count, "cpu_online");
        check("count", Unit::Count, "count");
        check("a_count", Unit::Count, "a");
        check("count_a", Unit::Count, "count_a");
        check("disk_used_percent", Unit::Percent, "disk_used_percent");
        check("forks_per_second", Unit::PerSecond, "");
        check("disk_read_bytes_per_second", Unit::BytesPerSecond, "");
        check("", Unit::Count, "");
    }
}
