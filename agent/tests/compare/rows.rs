//! One value that somebody else read, and ours before and after it.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Our readings, as `Bench::readings` names them.
pub(crate) type Readings = BTreeMap<String, f64>;

/// How far from ours another reader may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Allowed {
    /// Between our reading before and ours after, both included.
    Nothing,
    /// So much outside of them.
    By(f64),
    /// So much of the value outside of them.
    Share(f64),
}

/// What another reader says.
#[derive(Clone, Debug)]
pub(crate) struct Theirs {
    pub(crate) tool: &'static str,
    /// Their name of it.
    pub(crate) what: String,
    /// Ours: names with ` + ` between them; one that ends in `*}` stands for all that begin like it.
    pub(crate) ours: String,
    pub(crate) value: f64,
    pub(crate) allowed: Allowed,
    /// Why it may be off.
    pub(crate) why: &'static str,
}

/// A comparison.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) theirs: Theirs,
    before: f64,
    after: f64,
    /// How far theirs is outside of ours.
    off: f64,
}

/// One row for each value; of several attempts the best counts: a wrong reading is wrong each time, a moment between
/// two readings is not.
#[derive(Default)]
pub(crate) struct Rows {
    rows: BTreeMap<(&'static str, String), Row>,
    /// What they read and we do not.
    missing: BTreeMap<(&'static str, String), String>,
}

/// Decimals that are lost in printing and adding up.
const ROUNDING: f64 = 1e-9;

/// Our value under a name.
pub(crate) fn value(readings: &Readings, name: &str) -> Option<f64> {
    let one = |name: &str| match name.strip_suffix("*}") {
        Some(begin) => {
            let fit: Vec<f64> =
                readings.iter().filter(|(name, _)| name.starts_with(begin)).map(|(_, v)| *v).collect();
            (!fit.is_empty()).then(|| fit.iter().sum())
        }
        None => readings.get(name).copied(),
    };
    name.split(" + ").map(one).sum()
}

impl Rows {
    /// Takes what one reader said between two of our readings.
    pub(crate) fn take(&mut self, before: &Readings, theirs: Vec<Theirs>, after: &Readings) {
        for theirs in theirs {
            let key = (theirs.tool, theirs.what.clone());
            let (Some(first), Some(last)) = (value(before, &theirs.ours), value(after, &theirs.ours)) else {
                self.missing.insert(key, theirs.ours);
                continue;
            };
            self.missing.remove(&key);
            let (low, high) = (first.min(last), first.max(last));
            let off = (low - theirs.value).max(theirs.value - high);
            let off = if off > theirs.value.abs() * ROUNDING { off } else { 0.0 };
            let row = Row { theirs, before: first, after: last, off };
            match self.rows.get(&key) {
                Some(known) if known.excess() <= row.excess() => {}
                _ => drop(self.rows.insert(key, row)),
            }
        }
    }

    /// How many values were compared.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many values of one tool were compared.
    pub(crate) fn of(&self, tool: &str) -> usize {
        self.rows.keys().filter(|(of, _)| *of == tool).count()
    }

    /// What is wrong of one tool.
    pub(crate) fn wrong(&self, tool: &str) -> Vec<String> {
        let off = self.rows.values().filter(|row| row.theirs.tool == tool && row.excess() > 1.0);
        let missing = self.missing.iter().filter(|((of, _), _)| *of == tool);
        off.map(Row::told)
            .chain(missing.map(|((tool, what), ours)| format!("{tool}: {what}: we have no {ours}")))
            .collect()
    }

    /// The tools, in the order of the alphabet.
    pub(crate) fn tools(&self) -> Vec<&'static str> {
        let mut tools: Vec<_> = self.rows.keys().chain(self.missing.keys()).map(|(tool, _)| *tool).collect();
        tools.sort_unstable();
        tools.dedup();
        tools
    }

    /// How many rows of a tool agree, and the table of those that are off, largest difference first.
    pub(crate) fn table(&self, most: usize) -> String {
        let mut text =
            String::from("| reader | values | the same | off, within what is allowed |\n|---|---|---|---|\n");
        for tool in self.tools() {
            let same = self.rows.values().filter(|row| row.theirs.tool == tool && row.off == 0.0).count();
            let all = self.of(tool);
            let _ = writeln!(text, "| `{tool}` | {all} | {same} | {} |", all - same);
        }
        let mut off: Vec<&Row> = self.rows.values().filter(|row| row.off > 0.0).collect();
        off.sort_by(|a, b| b.share().total_cmp(&a.share()));
        let _ = write!(
            text,
            "\nThe largest differences:\n\n| reader | value | ours before – after | theirs | off by | allowed | reason |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for row in off.iter().take(most) {
            let Theirs { tool, what, ours, value, allowed, why } = &row.theirs;
            let allowed = match allowed {
                Allowed::Nothing => "nothing".to_owned(),
                Allowed::By(by) => brief(*by),
                Allowed::Share(share) => format!("{} %", brief(100.0 * share)),
            };
            let (before, after, value) = (brief(row.before), brief(row.after), brief(*value));
            let off = format!("{} ({:.2} %)", brief(row.off), 100.0 * row.share());
            let _ = writeln!(
                text,
                "| `{tool}` {what} | `{ours}` | {before} – {after} | {value} | {off} | {allowed} | {why} |"
            );
        }
        text
    }
}

impl Row {
    /// How often what is allowed; more than 1: wrong.
    fn excess(&self) -> f64 {
        let scale = self.theirs.value.abs().max(self.before.abs());
        let allowed = match self.theirs.allowed {
            Allowed::Nothing => 0.0,
            Allowed::By(by) => by,
            Allowed::Share(share) => share * scale,
        };
        if self.off == 0.0 { 0.0 } else { self.off / allowed.max(f64::MIN_POSITIVE) }
    }

    /// The difference as a share of the value.
    fn share(&self) -> f64 {
        self.off / self.theirs.value.abs().max(self.before.abs()).max(f64::MIN_POSITIVE)
    }

    fn told(&self) -> String {
        let Theirs { tool, what, ours, value, allowed, .. } = &self.theirs;
        let (before, after) = (self.before, self.after);
        format!(
            "{tool}: {what} is {value}, {ours} was {before} before and {after} after; allowed: {allowed:?}"
        )
    }
}

/// A number with six digits.
fn brief(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return format!("{value}");
    }
    let digits = 6 - (value.abs().log10().floor() as i32 + 1).clamp(0, 6);
    format!("{value:.*}", digits.max(2) as usize)
}

#[test]
fn differences_are_told_from_moments() {
    let readings = |free: f64| Readings::from([("free".to_owned(), free), ("a{x,1}".to_owned(), 2.0)]);
    let theirs =
        |value, allowed| Theirs { tool: "t", what: "w".into(), ours: "free".into(), value, allowed, why: "" };
    let check = |value, allowed, fine: bool| {
        let mut rows = Rows::default();
        rows.take(&readings(100.0), vec![theirs(value, allowed)], &readings(110.0));
        assert_eq!(rows.wrong("t").is_empty(), fine, "{value} {allowed:?}");
        // A later attempt that is better counts, a worse one does not.
        rows.take(&readings(5.0), vec![theirs(5.0, allowed)], &readings(5.0));
        assert!(rows.wrong("t").is_empty());
        rows.take(&readings(5.0), vec![theirs(500.0, allowed)], &readings(5.0));
        assert!(rows.wrong("t").is_empty());
    };
    check(100.0, Allowed::Nothing, true);
    check(105.0, Allowed::Nothing, true);
    check(110.0 + 1e-8, Allowed::Nothing, true);
    check(110.1, Allowed::Nothing, false);
    check(99.0, Allowed::Nothing, false);
    check(111.0, Allowed::By(1.0), true);
    check(111.1, Allowed::By(1.0), false);
    check(121.0, Allowed::Share(0.1), true);
    check(130.0, Allowed::Share(0.1), false);
    assert_eq!(value(&readings(1.0), "free + a{x,*}"), Some(3.0));
    assert_eq!(value(&readings(1.0), "free + b"), None);
    assert_eq!(value(&readings(1.0), "a{y,*}"), None);
    let mut rows = Rows::default();
    rows.take(&Readings::new(), vec![theirs(1.0, Allowed::Nothing)], &Readings::new());
    assert_eq!(rows.wrong("t"), ["t: w: we have no free"]);
}
