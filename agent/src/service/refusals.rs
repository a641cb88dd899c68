//! Probes that do not run, for the log: one line a reason, not one a probe.

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    reasons: Vec<Reason>,
}

/// Why and what to do, and the probes it concerns.
#[derive(Debug)]
struct Reason {
    text: String,
    probes: Vec<&'static str>,
    stand_in: String,
    /// Whether all of them wait for what rarely happens.
    rare: bool,
}

impl Refusals {
    /// Adds a probe; `text` is why and what to do.
    pub(super) fn add(&mut self, probe: &'static str, rare: bool, text: &str, stand_in: &str) {
        if let Some(known) = self.reasons.iter_mut().find(|reason| reason.text == text) {
            known.probes.push(probe);
            known.rare &= rare;
            return;
        }
        let (text, stand_in) = (text.to_owned(), stand_in.to_owned());
        self.reasons.push(Reason { text, probes: vec![probe], stand_in, rare });
    }

    /// Whether every probe runs.
    pub(super) fn is_empty(&self) -> bool {
        self.reasons.is_empty()
    }

    /// A line a reason; those that concern only what rarely happens share one.
    pub(super) fn lines(&self) -> Vec<String> {
        let told = self.reasons.iter().filter(|reason| !reason.rare || self.reasons.len() == 1);
        let mut lines: Vec<String> = told
            .map(|Reason { text, probes, stand_in, .. }| match probes.as_slice() {
                [probe] => format!("eBPF probe {probe} does not run: {text}. Instead: {stand_in}"),
                several => format!(
                    "eBPF probes {} do not run: {text}. `sysops-agent doctor` tells what stands in",
                    several.join(", ")
                ),
            })
            .collect();
        let rare = self.reasons.iter().filter(|reason| reason.rare && self.reasons.len() > 1);
        let further: Vec<&str> = rare.flat_map(|reason| &reason.probes).copied().collect();
        if !further.is_empty() {
            let names = further.join(", ");
            lines.push(format!("eBPF probes {names} do not run either; `sysops-agent doctor` tells why"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probe, whether it is rare, reason.
    fn check(refused: &[(&'static str, bool, &str)], expect: &[&str]) {
        let mut refusals = Refusals::default();
        for (probe, rare, text) in refused {
            refusals.add(probe, *rare, text, "the log");
        }
        assert_eq!(
            (refusals.lines().as_slice(), refusals.is_empty()),
            (expect.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>().as_slice(), expect.is_empty(),)
        );
    }

    #[test]
    fn one_line_a_reason() {
        check(&[], &[]);
        check(&[("oom", false, "no. Do")], &["eBPF probe oom does not run: no. Do. Instead: the log"]);
        check(&[("aer", true, "no. Do")], &["eBPF probe aer does not run: no. Do. Instead: the log"]);
        let all = [("oom", false, "no. Do"), ("aer", true, "no. Do"), ("tcp", false, "no. Do")];
        let line = "eBPF probes oom, aer, tcp do not run: no. Do. `sysops-agent doctor` tells what stands in";
        check(&all, &[line]);
        check(
            &[("oom", false, "a"), ("aer", true, "b"), ("mce", true, "c"), ("tcp", false, "d")],
            &[
                "eBPF probe oom does not run: a. Instead: the log",
                "eBPF probe tcp does not run: d. Instead: the log",
                "eBPF probes aer, mce do not run either; `sysops-agent doctor` tells why",
            ],
        );
    }
}
