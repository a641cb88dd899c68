//! Whether a guest's report is what it must be.

use super::guest::{Guest, LOCKED, USER_MODE};
use super::machine::Report;

/// A guest, its report, and what is wrong with it.
#[derive(Debug)]
pub struct Judged {
    /// The guest.
    pub guest: Guest,
    /// Package and version of its kernel.
    pub package: String,
    /// What it said.
    pub report: Report,
    /// Everything that is wrong.
    pub problems: Vec<String>,
}

/// States of the agent's features that are not simply `on`: guest (empty: all), beginning of the feature's name,
/// state, and why. The first row that fits counts.
const STATES: &[(&str, &str, &str, &str)] = &[
    (USER_MODE, "ebpf.", "degraded", "no BPF: the kernel log stands in"),
    (USER_MODE, "process_iterator", "degraded", "no BPF: /proc stands in"),
    (LOCKED, "process_iterator", "degraded", "no reading of kernel memory: /proc stands in"),
    (LOCKED, "ebpf.memory_failure", "off", "as 6.1"),
    (LOCKED, "ebpf.mce_record", "off", "as 6.1"),
    (LOCKED, "ebpf.extlog_mem_event", "off", "as all"),
    (LOCKED, "ebpf.direct_reclaim", "on", "attached by BTF, reads no kernel memory"),
    (LOCKED, "ebpf.cgroup_reclaim", "on", "attached by BTF, reads no kernel memory"),
    (LOCKED, "ebpf.compaction", "on", "attached by BTF, reads no kernel memory"),
    (LOCKED, "ebpf.", "degraded", "no events in tracefs, no reading of kernel memory"),
    (LOCKED, "process_iterator", "degraded", "no reading of kernel memory: /proc stands in"),
    ("5.10", "ebpf.memory_failure", "off", "Debian's cloud kernel is built without"),
    ("5.10", "ebpf.mce_record", "off", "Debian's cloud kernel is built without"),
    ("6.1", "ebpf.memory_failure", "off", "Debian's cloud kernel is built without"),
    ("6.1", "ebpf.mce_record", "off", "Debian's cloud kernel is built without"),
    ("", "ebpf.extlog_mem_event", "off", "comes with acpi_extlog, for firmware that logs errors"),
];

/// The state a feature must have.
fn expected(guest: &Guest, feature: &str) -> &'static str {
    let fits = |(name, begin, ..): &&(&str, &str, &str, &str)| {
        (name.is_empty() || *name == guest.name) && feature.starts_with(begin)
    };
    STATES.iter().find(fits).map_or("on", |row| row.2)
}

/// Whether the table shows this feature: those that depend on kernel and rights.
pub fn is_shown(feature: &str) -> bool {
    feature.starts_with("ebpf") || ["kernel_log", "process_iterator"].contains(&feature)
}

/// A guest that did not run.
pub fn absent(guest: Guest, why: String) -> Judged {
    Judged { guest, package: String::new(), report: Report::default(), problems: vec![why] }
}

/// Compares a report with what must be in it.
pub fn judge(guest: Guest, package: String, report: Report) -> Judged {
    let mut problems = report.problems.clone();
    for rights in &guest.rights {
        match report.doctors.iter().find(|d| d.rights == *rights) {
            None => problems.push(format!("no word from the agent as {}", rights.name())),
            Some(doctor) => {
                for feature in doctor.features.iter().filter(|f| is_shown(&f.name)) {
                    let expect = expected(&guest, &feature.name);
                    if feature.state != expect {
                        problems.push(format!(
                            "as {}: {} is {}, expected {expect}: {}",
                            rights.name(),
                            feature.name,
                            feature.state,
                            feature.reason
                        ));
                    }
                }
            }
        }
        for scenario in &guest.scenarios {
            let outcome = report.outcomes.iter().find(|o| o.rights == *rights && o.scenario == *scenario);
            let problem = outcome.map_or(Some("did not run".to_owned()), |o| o.problem.clone());
            problems.extend(problem.map(|why| format!("as {}: {scenario}: {why}", rights.name())));
        }
    }
    Judged { guest, package, report, problems }
}

impl Judged {
    /// A line for each scenario, and the console where something is wrong.
    pub fn print(&self) {
        use std::fmt::Write as _;
        let name = &self.guest.name;
        let mut out = format!("\n{name}: {} in {:.0} s\n", self.package, self.report.took.as_secs_f64());
        if let Some(k) = &self.report.kernel {
            let _ = writeln!(
                out,
                "  kernel {} up after {:.1} s, BTF: {}, tracefs: {}, perf_event_paranoid: {:?}",
                k.release, k.uptime_secs, k.btf, k.tracefs, k.perf_event_paranoid
            );
        }
        for doctor in &self.report.doctors {
            let features: Vec<String> = doctor
                .features
                .iter()
                .filter(|f| is_shown(&f.name))
                .map(|f| format!("{} {}", f.name, f.state))
                .collect();
            let _ = writeln!(out, "  as {}: {}", doctor.rights.name(), features.join(", "));
        }
        for o in &self.report.outcomes {
            let latency = o.latency_ms.map(|ms| format!("{ms:.0} ms")).unwrap_or_default();
            let said = if o.sources.is_empty() { "nobody".into() } else { o.sources.join(" + ") };
            let state = o.problem.as_deref().unwrap_or("one alert as expected");
            let _ = writeln!(
                out,
                "  {:<16} {:<16} {said:<14} {latency:>9}  {state}",
                o.rights.name(),
                o.scenario
            );
        }
        if !self.problems.is_empty() {
            for line in &self.report.console {
                let _ = writeln!(out, "  | {line}");
            }
            for problem in &self.problems {
                let _ = writeln!(out, "  WRONG: {problem}");
            }
        }
        print!("{out}");
    }
}

#[cfg(test)]
mod tests {
    use vm_guest::plan::Rights;
    use vm_guest::report::{Doctor, Feature, Outcome};

    use super::*;
    use crate::vm::guest;

    fn doctor(rights: Rights, states: &[(&str, &str)]) -> Doctor {
        let feature = |(name, state): &(&str, &str)| Feature {
            name: (*name).into(),
            state: (*state).into(),
            reason: "why".into(),
        };
        Doctor { rights, features: states.iter().map(feature).collect() }
    }

    fn outcome(rights: Rights, scenario: &str, problem: Option<&str>) -> Outcome {
        let problem = problem.map(str::to_owned);
        Outcome { rights, scenario: scenario.into(), sources: Vec::new(), latency_ms: None, problem }
    }

    #[test]
    fn everything_that_is_not_as_it_must_be_is_told() {
        let check = |doctors: &[Doctor], outcomes: &[Outcome], expect: &[&str]| {
            let report =
                Report { doctors: doctors.to_vec(), outcomes: outcomes.to_vec(), ..Report::default() };
            let told = judge(guest::user_mode(), String::new(), report).problems;
            assert_eq!(told, expect);
        };
        let fine = [("ebpf.oom", "degraded"), ("kernel_log", "on"), ("collector.gpu", "off")];
        let doctors = [doctor(Rights::Root, &fine), doctor(Rights::Capable, &fine)];
        let outcomes = [Rights::Root, Rights::Capable].map(|r| outcome(r, "oom-global", None));
        check(&doctors, &outcomes, &[]);
        check(&doctors[1..], &outcomes, &["no word from the agent as root"]);
        check(&doctors, &outcomes[..1], &["as 4 capabilities: oom-global: did not run"]);
        let wrong = [outcomes[0].clone(), outcome(Rights::Capable, "oom-global", Some("two alerts"))];
        check(&doctors, &wrong, &["as 4 capabilities: oom-global: two alerts"]);
        let blind = [doctor(Rights::Root, &[("kernel_log", "off")]), doctors[1].clone()];
        check(&blind, &outcomes, &["as root: kernel_log is off, expected on: why"]);
        // A feature that should not work is as suspicious as one that should.
        let magic = [doctor(Rights::Root, &[("ebpf.oom", "on")]), doctors[1].clone()];
        check(&magic, &outcomes, &["as root: ebpf.oom is on, expected degraded: why"]);
    }

    #[test]
    fn a_feature_must_be_on_unless_a_row_says_otherwise() {
        let ordinary = guest::ordinary("6.1", "6.1", crate::vm::kernel::Flavour::Cloud);
        assert_eq!(expected(&ordinary, "ebpf.oom"), "on");
        assert_eq!(expected(&guest::user_mode(), "ebpf.oom"), "degraded");
        assert_eq!(expected(&guest::locked(), "ebpf.oom"), "degraded");
        assert_eq!(expected(&guest::locked(), "kernel_log"), "on");
    }
}
