//! The made parts of docs/KERNELS.md: what lies between `<!-- NAME -->` and `<!-- end of NAME -->`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use vm_guest::plan::Rights;
use vm_guest::scenarios::{self, Scenario};

use super::guest::{FAULTY, SYSTEMD};
use super::judge::{Judged, is_shown};
use crate::{docs, sh};

const FILE: &str = "KERNELS.md";
/// States and witnesses on stable kernels: the same on every machine, so CI compares it.
const MATRIX: &str = "matrix";
/// Faults of the hardware, on the one guest that has them; compared too.
const FAULTS: &str = "hardware faults";
/// A real systemd, in the one guest that has it; compared too.
const SERVICES: &str = "a real systemd";
/// The same on kernels whose packages come and go.
const NEWER: &str = "newer kernels";
/// What differs from run to run.
const FIGURES: &str = "figures";

/// Writes the page after a run of all guests; with `check` compares what must be the same.
pub fn kernels(judged: &[Judged], check: bool) -> Result<(), String> {
    let (faulty, others): (Vec<&Judged>, Vec<&Judged>) = judged.iter().partition(|j| j.guest.name == FAULTY);
    let (services, ordinary): (Vec<&Judged>, Vec<&Judged>) =
        others.into_iter().partition(|j| j.guest.name == SYSTEMD);
    let (stable, newer): (Vec<&Judged>, Vec<&Judged>) = ordinary.iter().partition(|j| j.guest.stable);
    let mut same =
        vec![(MATRIX, tables(&stable)), (FAULTS, events("fault", scenarios::FAULTS, &columns(&faulty)))];
    if !services.is_empty() {
        same.push((SERVICES, events("what", scenarios::SYSTEMD, &columns(&services))));
    }
    if check {
        return same.iter().try_for_each(|(part, fresh)| compare(part, fresh));
    }
    for (part, fresh) in same {
        write(part, &fresh)?;
    }
    write(NEWER, &if newer.is_empty() { "None was in the pool.\n".into() } else { tables(&newer) })?;
    write(FIGURES, &figures(judged, &columns(&ordinary)))
}

fn compare(part: &str, fresh: &str) -> Result<(), String> {
    let text = read(FILE)?;
    let (from, to) = place(FILE, &text, part)?;
    let (old, fresh) = (text[from..to].trim(), fresh.trim());
    if old != fresh {
        return Err(format!("{}\nto mend it: cargo xtask vm", docs::difference(FILE, old, fresh)));
    }
    println!("docs/{FILE}, {part}: says what ran");
    Ok(())
}

/// Replaces one made part of the page.
pub fn write(name: &str, body: &str) -> Result<(), String> {
    write_to(FILE, name, body)
}

/// The same of another page in docs/.
pub fn write_to(file: &str, name: &str, body: &str) -> Result<(), String> {
    let text = read(file)?;
    let (from, to) = place(file, &text, name)?;
    let fresh = format!("{}\n{}\n{}", &text[..from], body.trim(), &text[to..]);
    let path = sh::root().join("docs").join(file);
    fs::write(&path, fresh).map_err(|e| format!("docs/{file} cannot be written: {e}"))
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(sh::root().join("docs").join(file))
        .map_err(|e| format!("docs/{file} cannot be read: {e}"))
}

/// Where the part `name` begins and ends.
fn place(file: &str, text: &str, name: &str) -> Result<(usize, usize), String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let find = || {
        let from = text.find(&begin)? + begin.len();
        Some((from, from + text[from..].find(&end)?))
    };
    find().ok_or_else(|| format!("docs/{file} has no part between `{}` and `{end}`", begin.trim()))
}

/// One column: a guest, and the agent's rights.
type Column<'a> = (&'a Judged, Rights);

fn columns<'a>(judged: &[&'a Judged]) -> Vec<Column<'a>> {
    judged.iter().flat_map(|j| j.guest.rights.iter().map(|r| (*j, *r))).collect()
}

fn tables(judged: &[&Judged]) -> String {
    let columns = columns(judged);
    let mut features = BTreeSet::new();
    for doctor in judged.iter().flat_map(|j| &j.report.doctors) {
        features.extend(doctor.features.iter().map(|f| f.name.as_str()).filter(|f| is_shown(f)));
    }
    let mut out = head("feature", &columns);
    for feature in features {
        row(&mut out, &format!("`{feature}`"), &columns, |column| state(column, feature));
    }
    out += "\n";
    out += &events("event", scenarios::ALL.iter().filter(|s| s.everywhere), &columns);
    out
}

/// Who saw each of the scenarios.
fn events<'a>(first: &str, rows: impl IntoIterator<Item = &'a Scenario>, columns: &[Column<'_>]) -> String {
    let mut out = head(first, columns);
    for scenario in rows {
        row(&mut out, scenario.title, columns, |column| witnesses(column, scenario.name));
    }
    out
}

fn head(first: &str, columns: &[Column<'_>]) -> String {
    let mut out = String::new();
    row(&mut out, first, columns, |(j, rights)| format!("{}, {}", j.guest.name, rights.name()));
    row(&mut out, "---", columns, |_| "---".into());
    out
}

fn row(out: &mut String, first: &str, columns: &[Column<'_>], cell: impl Fn(Column<'_>) -> String) {
    let cells: Vec<String> = columns.iter().map(|c| cell(*c)).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "| {first} | {} |", cells.join(" | "));
}

fn state((judged, rights): Column<'_>, feature: &str) -> String {
    let doctor = judged.report.doctors.iter().find(|d| d.rights == rights);
    let found = doctor.and_then(|d| d.features.iter().find(|f| f.name == feature));
    match found {
        None => "?".into(),
        // How a probe works: mode and transport. Behind it stands why not otherwise.
        Some(f) if f.state == "on" && feature.starts_with("ebpf.") => {
            f.reason.split(';').next().unwrap_or_default().replace('|', " ")
        }
        Some(f) => f.state.clone(),
    }
}

fn witnesses((judged, rights): Column<'_>, scenario: &str) -> String {
    if !judged.guest.scenarios.contains(&scenario) {
        return "–".into();
    }
    let outcomes = &judged.report.outcomes;
    match outcomes.iter().find(|o| o.rights == rights && o.scenario == scenario) {
        None => "did not run".into(),
        Some(outcome) if outcome.problem.is_some() => "**wrong**".into(),
        Some(outcome) if outcome.sources.is_empty() => "not seen".into(),
        Some(outcome) => {
            let mut sources = outcome.sources.clone();
            sources.sort();
            sources.join(" + ")
        }
    }
}

fn figures(judged: &[Judged], columns: &[Column<'_>]) -> String {
    let mut out = String::from(
        "| guest | kernel | package | BTF | perf_event_paranoid | up after | whole run |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for j in judged {
        let took = j.report.took.as_secs_f64();
        let _ = match &j.report.kernel {
            None => writeln!(out, "| {} | did not boot | {} | | | | |", j.guest.name, j.package),
            Some(k) => {
                let paranoid = k.perf_event_paranoid.map_or("–".into(), |p| p.to_string());
                let btf = if k.btf { "yes" } else { "no" };
                let up = k.uptime_secs;
                writeln!(
                    out,
                    "| {} | {} | {} | {btf} | {paranoid} | {up:.1} s | {took:.0} s |",
                    j.guest.name, k.release, j.package
                )
            }
        };
    }
    out += "\nFrom the kernel's event to the delivered alert, milliseconds:\n\n";
    out += &head("event", columns);
    for scenario in scenarios::ALL.iter().filter(|s| s.everywhere) {
        row(&mut out, scenario.title, columns, |(j, rights)| {
            let mut outcomes = j.report.outcomes.iter();
            let found = outcomes.find(|o| o.rights == rights && o.scenario == scenario.name);
            found.and_then(|o| o.latency_ms).map(|ms| format!("{ms:.0}")).unwrap_or_default()
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lies_between_its_marks() {
        let check = |text: &str, expect: Option<&str>| {
            let found = place("X.md", text, "x").ok().map(|(from, to)| text[from..to].to_owned());
            assert_eq!(found.as_deref(), expect, "{text:?}");
        };
        check("a\n<!-- x -->\nbody\n<!-- end of x -->\nb", Some("body\n"));
        check("<!-- x -->\n<!-- end of x -->", Some(""));
        check("<!-- end of x -->\n<!-- x -->\nbody", None);
        check("<!-- x -->\nbody\n<!-- end of y -->", None);
        check("", None);
    }
}
