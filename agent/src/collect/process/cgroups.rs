//! Control groups of the largest processes.

use std::sync::Arc;
use std::time::Duration;

use crate::cgroup::path_of;
use crate::host::aside::{Answer, Aside};
use crate::host::{Host, read_text};
use crate::sample::{ProcRow, ROWS_WITH_CGROUP};
use crate::time::{Now, SECOND};

/// How long all are waited for: before 6.7 each takes the lock of all control groups. A test waits for its own machine,
/// however busy.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 100 });
/// For how long a process is taken to be where it was, where its moves are not seen.
const UNSEEN_NS: u64 = 10 * SECOND;

/// A process by number and start.
type Key = (u32, u64);
type Path = Option<Arc<str>>;

/// Those of the newest table. A process that has not moved is not asked again, where it is known to have not.
pub(super) struct Cgroups {
    known: Vec<Known>,
    before: Vec<Known>,
    /// The one question: where all are.
    aside: Aside<Vec<Known>>,
    patience: Duration,
}

/// A process, where it was and when that was asked, and the path of that.
#[derive(Clone)]
struct Known {
    key: Key,
    /// `None`: it is to be asked again.
    asked: Option<Now>,
    groups: u64,
    path: Path,
}

impl Default for Cgroups {
    fn default() -> Self {
        Self { known: Vec::new(), before: Vec::new(), aside: Aside::new("cgroups", 1), patience: PATIENCE }
    }
}

impl Cgroups {
    /// Fills the first rows; `groups` is what [`super::rows::Row::groups`] says of them. While the kernel does not
    /// answer they are where they were.
    pub(super) fn fill(
        &mut self,
        host: &dyn Host,
        now: Now,
        rows: &mut [ProcRow],
        groups: impl Iterator<Item = u64>,
    ) {
        std::mem::swap(&mut self.known, &mut self.before);
        self.known.clear();
        let mut unknown = Vec::new();
        let head = || rows.iter().take(ROWS_WITH_CGROUP);
        for (row, groups) in head().zip(groups) {
            let key = (row.pid, row.start_ticks);
            let known = self.before.iter().find(|known| known.key == key).cloned();
            let mut known = known.unwrap_or(Known { key, asked: None, groups, path: None });
            let stays = known.groups == groups
                && known.asked.is_some_and(|asked| groups != 0 || now.since(asked) < UNSEEN_NS);
            if row.rss_bytes > 0 && !stays {
                known.asked = None;
                unknown.push((key, groups));
            }
            self.known.push(known);
        }
        let answers = self.ask(host, now, unknown);
        for (row, known) in rows.iter_mut().zip(&mut self.known).filter(|(row, _)| row.rss_bytes > 0) {
            if let Some(answer) = answers.iter().find(|answer| answer.key == known.key) {
                known.clone_from(answer);
            }
            row.cgroup.clone_from(&known.path);
        }
    }

    fn ask(&mut self, host: &dyn Host, now: Now, asked: Vec<(Key, u64)>) -> Vec<Known> {
        if asked.is_empty() {
            return Vec::new();
        }
        let host = host.shared();
        let look = move |(key, groups): (Key, u64)| Known {
            key,
            asked: Some(now),
            groups,
            path: read(&*host, key.0),
        };
        let read = move || asked.into_iter().map(look).collect();
        match self.aside.ask("all", now, self.patience, read) {
            // Maybe late, and then of some that are no longer asked for.
            Answer::Done(answers) => answers,
            Answer::Stuck { .. } | Answer::NotAsked => Vec::new(),
        }
    }
}

fn read(host: &dyn Host, pid: u32) -> Path {
    let text = read_text(host, &format!("/proc/{pid}/cgroup")).ok()?;
    path_of(&text).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn a_kernel_that_does_not_answer_leaves_them_where_they_were() {
        let host = FixtureHost::parse("//- /proc/5/cgroup\n0::/a\n").unwrap();
        let mut cgroups = Cgroups { patience: Duration::from_millis(20), ..Cgroups::default() };
        let mut fill = |groups: [u64; 2]| {
            let row = |pid| ProcRow { pid, rss_bytes: 1, ..ProcRow::default() };
            let mut rows = [row(5), row(6)];
            cgroups.fill(&host, Now::default(), &mut rows, groups.into_iter());
            rows.map(|row| row.cgroup.as_deref().unwrap_or("-").to_owned())
        };
        // A busy machine may be late with the first answer.
        let again = |_: &i32| std::thread::sleep(Duration::from_millis(2));
        assert!((0..1000).inspect(|nth| again(nth)).any(|_| fill([1, 1]) == ["/a", "-"]));
        host.set("/proc/6/cgroup", "0::/b\n");
        host.set("/proc/5/cgroup", "0::/c\n");
        assert!((0..3).all(|_| fill([1, 1]) == ["/a", "-"]), "who has not moved is not asked");
        host.apply("//- hang /proc/5/cgroup").unwrap();
        for _ in 0..3 {
            assert_eq!(fill([2, 2]), ["/a", "-"]);
        }
        host.release();
        let asked = (0..1000).inspect(|nth| again(nth)).any(|_| fill([2, 2]) == ["/c", "/b"]);
        assert!(asked, "all are asked in the end");
    }
}
