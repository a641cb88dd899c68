//! The way from a victim's control group to the root, as the kernel's names of it.

use agent_common::{OomRecord, PATH_CUT, PATH_LEN};

use crate::cgroup::CUT;

/// Names, innermost first.
pub(super) struct Way<'a> {
    names: Vec<&'a [u8]>,
    cut: bool,
    known: bool,
}

impl<'a> Way<'a> {
    pub(super) fn of(record: &'a OomRecord) -> Self {
        let length = record.path_len as usize;
        let bytes = &record.path[..length.min(PATH_LEN)];
        let mut names: Vec<&[u8]> = bytes.split(|&byte| byte == 0).collect();
        // What stands behind the last NUL is nothing, or a name without its end.
        let torn = names.pop().is_some_and(|rest| !rest.is_empty());
        Self { names, cut: record.flags & PATH_CUT != 0 || torn, known: length != 0 || record.cgroup_id != 0 }
    }

    /// Path of the group so many levels above the innermost, if it is known; a cut one begins with [`CUT`].
    pub(super) fn path(&self, level: usize) -> Option<String> {
        let names = self.names.get(level..)?;
        let begin = match (self.known, self.cut, names) {
            (false, _, _) | (_, true, []) => return None,
            (_, false, []) => return Some("/".to_owned()),
            (_, true, _) => CUT,
            (_, false, _) => "",
        };
        let part = |name: &&[u8]| format!("/{}", String::from_utf8_lossy(name));
        Some(std::iter::once(begin.to_owned()).chain(names.iter().rev().map(part)).collect())
    }
}
