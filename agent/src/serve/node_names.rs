//! The names by which existing dashboards know what `node_exporter` reads too. Pure.
//!
//! A row says which of our series has the value, what its labels are called there, and how the number differs. A name is
//! told where our reading is the same as that of `node_exporter`; `agent/tests/e2e_endpoints.rs` compares them.

mod table;

use std::collections::HashMap;

use super::prometheus::Family;
use super::text::{Label, Page};
use crate::metric::Kind;
use crate::sample::newest::Row;
use crate::time::{Now, SECOND};

use table::NAMES;

/// What of the host is in names of theirs and in no series of ours.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Bytes of a page of memory.
    pub page_bytes: u32,
    /// `(domainname)` where there is none, as the kernel says.
    pub domainname: String,
    /// Machine, e.g. `x86_64`.
    pub machine: String,
    /// Host name.
    pub nodename: String,
    /// Kernel release.
    pub release: String,
    /// When and how the kernel was built.
    pub version: String,
}

/// What becomes of one of our labels.
enum Take {
    /// It is called so there.
    As(&'static str, &'static str),
    /// Only series with this value are meant, and there is no such label there.
    Is(&'static str, &'static str),
}

/// One name.
struct Name {
    theirs: &'static str,
    /// Our name on the wire.
    ours: &'static str,
    /// Labels that differ.
    take: &'static [Take],
    /// A label there that we have not.
    put: Option<(&'static str, &'static str)>,
    /// Theirs is ours times this …
    factor: Factor,
    /// … plus this.
    plus: f64,
}

/// How numbers differ.
#[derive(Clone, Copy)]
enum Factor {
    Times(f64),
    /// They count pages, we bytes.
    Pages,
}

impl Factor {
    fn of(self, value: f64, facts: &Facts) -> f64 {
        match self {
            Self::Times(factor) => value * factor,
            Self::Pages => value / f64::from(facts.page_bytes.max(1)),
        }
    }
}

impl Name {
    fn fits(&self, row: &Row) -> bool {
        self.take.iter().all(|take| match take {
            Take::As(..) => true,
            Take::Is(label, value) => of(row).any(|(name, text)| name == *label && text == *value),
        })
    }

    fn renamed<'a>(&'a self, (name, value): Label<'a>) -> Option<Label<'a>> {
        let take = self
            .take
            .iter()
            .find(|take| matches!(take, Take::As(ours, _) | Take::Is(ours, _) if *ours == name));
        match take {
            None => Some((name, value)),
            Some(Take::As(_, theirs)) => Some((theirs, value)),
            Some(Take::Is(..)) => None,
        }
    }
}

fn of(row: &Row) -> impl Iterator<Item = Label<'_>> + Clone {
    row.metric.labels.iter().zip(&row.labels[..]).map(|(name, value)| (*name, &**value))
}

/// Adds them to a page.
pub(super) fn render(page: &mut Page<'_>, families: &[Family<'_>], facts: &Facts, at: Now) {
    let ours: HashMap<&str, Family<'_>> =
        families.iter().filter_map(|family| Some((family.first()?.metric.name, *family))).collect();
    let mut head = "";
    for name in NAMES {
        let Some(family) = ours.get(name.ours) else { continue };
        for row in family.iter().filter(|row| name.fits(row)) {
            if head != name.theirs {
                head = name.theirs;
                page.family(head, kind(head, row.metric.kind), row.metric.help);
            }
            let labels = of(row).filter_map(|label| name.renamed(label)).chain(name.put);
            page.sample(&[head], &labels, name.factor.of(row.value, facts) + name.plus);
        }
    }
    own(page, facts, at);
}

/// Their counters without `_total` are no counters for Prometheus.
fn kind(theirs: &str, kind: Kind) -> &'static str {
    match kind {
        Kind::Counter if !theirs.ends_with("_total") => "unknown",
        kind => kind.name(),
    }
}

fn own(page: &mut Page<'_>, facts: &Facts, at: Now) {
    page.family("node_time_seconds", "gauge", "Time of the host's clock at the newest reading.");
    page.sample(&["node_time_seconds"], &[].into_iter(), at.wall_ns as f64 / SECOND as f64);
    let Facts { domainname, machine, nodename, release, version, .. } = facts;
    let labels: [Label<'_>; 6] = [
        ("domainname", domainname),
        ("machine", machine),
        ("nodename", nodename),
        ("release", release),
        ("sysname", "Linux"),
        ("version", version),
    ];
    page.family("node_uname_info", "gauge", "1; what uname tells.");
    page.sample(&["node_uname_info"], &labels.into_iter(), 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Names used by the dashboards most people have, with how often.
    const DASHBOARDS: &str = include_str!("node_names/dashboards.txt");

    #[test]
    fn dashboards_find_most_of_their_names() {
        let ours: BTreeSet<&str> = NAMES.iter().map(|name| name.theirs).collect();
        let asked = DASHBOARDS.lines().filter_map(|line| line.split_whitespace().last());
        let found = asked.filter(|name| ours.contains(name) || OWN.contains(name)).count();
        assert!(found >= 150, "{found}");
    }

    const OWN: [&str; 2] = ["node_time_seconds", "node_uname_info"];

    #[test]
    fn a_family_is_one_block() {
        let mut blocks: Vec<&str> = NAMES.iter().map(|name| name.theirs).collect();
        blocks.dedup();
        let unique: BTreeSet<&str> = blocks.iter().copied().collect();
        assert_eq!(unique.len(), blocks.len(), "a name's rows follow each other");
    }
}
