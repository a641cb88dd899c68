//! Paths of control groups of which the kernel told the number: the inode of the group's directory.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Host, read_text};
use crate::event::GroupNumber;

/// Groups looked at in a walk; further ones stay unknown.
const MAX_WALK: usize = 4096;
/// Answers kept; when there are more, all are forgotten.
const MAX_KNOWN: usize = 4096;

/// Directories of the roots, the likely one first: of the default hierarchy, and of the memory controller's.
const ROOTS: [&[&str]; 2] = [&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], &["/sys/fs/cgroup/memory"]];

/// Paths found so far, and numbers that belong to no group any more.
#[derive(Debug, Default)]
pub struct GroupIds {
    known: HashMap<GroupNumber, Option<Box<str>>>,
}

impl GroupIds {
    /// Looks for the groups that are not known yet, in one walk of each hierarchy.
    pub fn learn(&mut self, host: &dyn Host, groups: impl IntoIterator<Item = GroupNumber>) {
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let fresh = groups.into_iter().filter(|group| group.id != 0 && !self.known.contains_key(group));
        let fresh: HashSet<GroupNumber> = fresh.take(MAX_KNOWN).collect();
        for of_memory in [false, true] {
            let wanted: HashSet<GroupNumber> =
                fresh.iter().copied().filter(|group| group.of_memory == of_memory).collect();
            let is_root = |root: &&&str| of_memory || exists(host, &format!("{root}/cgroup.controllers"));
            let root = ROOTS[usize::from(of_memory)].iter().find(is_root);
            if let Some(root) = root.filter(|_| !wanted.is_empty()) {
                self.walk(host, root, of_memory, wanted);
            }
        }
        for group in fresh {
            self.known.entry(group).or_default();
        }
    }

    /// Path of a group that [`GroupIds::learn`] found.
    pub fn path(&self, group: GroupNumber) -> Option<&str> {
        self.known.get(&group)?.as_deref()
    }

    fn walk(&mut self, host: &dyn Host, root: &str, of_memory: bool, mut wanted: HashSet<GroupNumber>) {
        let mut waiting = VecDeque::from([String::new()]);
        for _ in 0..MAX_WALK {
            let Some(path) = waiting.pop_front().filter(|_| !wanted.is_empty()) else { return };
            let directory = format!("{root}{path}");
            if let Ok(inode) = host.inode(&directory) {
                let is_it =
                    |group: &GroupNumber| group.id == inode || group.id & u64::from(u32::MAX) == inode;
                if let Some(found) = wanted.iter().copied().find(is_it) {
                    wanted.remove(&found);
                    let shown = if path.is_empty() { "/" } else { &path };
                    self.known.insert(GroupNumber { of_memory, ..found }, Some(shown.into()));
                }
            }
            let left = MAX_WALK - waiting.len().min(MAX_WALK);
            let mut names = Vec::new();
            // It may be gone by now.
            let _ = host.list_dirs(&directory, &mut |name| names.push(format!("{path}/{name}")));
            waiting.extend(names.into_iter().take(left));
        }
    }
}

fn exists(host: &dyn Host, path: &str) -> bool {
    read_text(host, path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    /// Expects the paths of the numbers.
    fn check(files: &str, of_memory: bool, ids: &[u64], expect: &[Option<&str>]) {
        let host = FixtureHost::parse(files).expect("valid");
        let mut groups = GroupIds::default();
        let all: Vec<_> = ids.iter().map(|&id| GroupNumber { of_memory, id }).collect();
        groups.learn(&host, all.clone());
        let got: Vec<_> = all.iter().map(|&group| groups.path(group)).collect();
        assert_eq!(got, expect, "{files}");
    }

    #[test]
    fn groups_have_paths_where_they_are() {
        let v2 = "//- /sys/fs/cgroup/cgroup.controllers\nmemory\n//- inode /sys/fs/cgroup 1\n\
                  //- inode /sys/fs/cgroup/system.slice 7\n//- inode /sys/fs/cgroup/system.slice/a.service 99\n\
                  //- /sys/fs/cgroup/system.slice/a.service/cgroup.procs\n";
        let path = Some("/system.slice/a.service");
        check(v2, false, &[99, 1, 7, 5, 0], &[path, Some("/"), Some("/system.slice"), None, None]);
        check(v2, false, &[(3 << 32) + 99], &[path]);
        check(v2, true, &[99], &[None]);
        let v1 = "//- inode /sys/fs/cgroup/memory 1\n//- inode /sys/fs/cgroup/memory/x 8\n\
                  //- /sys/fs/cgroup/memory/x/tasks\n";
        check(v1, true, &[8, 1], &[Some("/x"), Some("/")]);
        check(v1, false, &[1, 8], &[None, None]);
        let hybrid = "//- /sys/fs/cgroup/unified/cgroup.controllers\n\n//- inode /sys/fs/cgroup/unified/a.service 4\n\
                      //- /sys/fs/cgroup/unified/a.service/cgroup.procs\n";
        check(hybrid, false, &[4], &[Some("/a.service")]);
        check("", false, &[1, u64::MAX], &[None, None]);
    }
}
