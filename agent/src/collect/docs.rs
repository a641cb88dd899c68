//! METRICS.md, made of the tables of metrics.

use std::fmt::Write;

use super::{COLLECTORS, runner};
use crate::metric::Metric;

/// The text of METRICS.md: the collectors' metrics, then `extra` ones (what the engine computes and
/// what events count).
pub fn metrics_doc(extra: &[&Metric]) -> String {
    let mut doc = String::from(HEAD);
    for entry in COLLECTORS {
        let metrics: Vec<_> = entry.all_metrics().collect();
        section(&mut doc, &format!("Collector `{}`", entry.name), &metrics);
    }
    section(&mut doc, "All collectors", runner::METRICS);
    section(&mut doc, "Computed, and counted events", extra);
    doc
}

const HEAD: &str = "\
# Metrics

This file is generated from the tables in the code.

The name on the wire (NATS, JSON, rules, `sysops-agent query`) is in the first column; the Prometheus
endpoint uses the second; rates have none there, since Prometheus computes its own. Counters grow from the start of
their source and may begin again at 0; rates are computed from them and have rows of their own. Histograms are on the
endpoint only.
";

fn section(doc: &mut String, title: &str, metrics: &[&Metric]) {
    if metrics.is_empty() {
        return;
    }
    // Writing to a string does not fail.
    let _ = write!(
        doc,
        "\n## {title}\n\n\
         | name | Prometheus | kind | unit | labels | meaning | source |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for metric in metrics {
        let _ = writeln!(
            doc,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            metric.name,
            prometheus(metric),
            metric.kind.name(),
            metric.unit.name(),
            metric.labels.join(", "),
            cell(metric.help),
            cell(metric.source),
        );
    }
}

fn prometheus(metric: &Metric) -> String {
    if metric.prometheus.is_empty() { String::new() } else { format!("`sysops_{}`", metric.prometheus) }
}

/// Text that is neither the end of a cell nor markup.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Unit};

    #[test]
    fn every_metric_has_a_row() {
        static RATE: Metric = Metric {
            name: "x_per_second",
            prometheus: "",
            kind: Kind::Gauge,
            unit: Unit::PerSecond,
            labels: &["a", "b"],
            help: "One | two *.",
            source: "x",
        };
        let doc = metrics_doc(&[&RATE]);
        assert!(doc.contains("| `x_per_second` |  | gauge | 1/s | a, b | One \\| two \\*. | x |\n"), "{doc}");
        for metric in super::super::metrics() {
            let row = format!("| `{}` | `sysops_{}` |", metric.name, metric.prometheus);
            assert_eq!(doc.matches(&row).count(), 1, "{row}");
        }
        assert!(!metrics_doc(&[]).contains("Computed"));
    }
}
