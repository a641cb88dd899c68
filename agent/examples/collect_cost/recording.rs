//! What a collector reads at a pass, from a run of its own on a host that remembers it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sysops_agent::host::live::LiveHost;
use sysops_agent::host::recorder::{Record, Recorder};

use crate::WARM_UP;
use crate::line::Passes;

/// Something that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// A file.
    Read(String),
    /// A folder.
    List(String),
    /// A symbolic link.
    Link(String),
    /// Figures of a mount.
    Stat(String),
    /// How many files a process has open.
    Count(String),
}

/// All that a pass reads when it is not the first one.
pub(crate) fn record(mut passes: Passes) -> BTreeSet<Access> {
    let recorder = Recorder::new(Arc::new(LiveHost::default()));
    (0..WARM_UP).for_each(|_| passes.pass(&recorder));
    recorder.take();
    passes.pass(&recorder);
    let record = recorder.take();
    if record.left_out > 0 {
        eprintln!("{} things that were read had no room: the floor lacks them", record.left_out);
    }
    accesses(&record)
}

fn accesses(record: &Record) -> BTreeSet<Access> {
    let is_file = |path: &&String| path.starts_with('/') && !path.contains('#');
    let read = record.files.iter().filter(|(_, content)| content.is_ok()).map(|(path, _)| path);
    let read = read.filter(is_file).cloned().map(Access::Read);
    // A folder of open files is not listed where its size is their count.
    let list = record.dirs.keys().cloned();
    let list = list.map(|path| if path.ends_with("/fd") { Access::Count(path) } else { Access::List(path) });
    // The recorder itself follows the links in the folders that are listed.
    let listed = |path: &&String| path.rsplit_once('/').is_some_and(|(dir, _)| record.dirs.contains_key(dir));
    let links = record.links.keys().filter(|path| !listed(path)).cloned().map(Access::Link);
    let stat = record.filesystems.iter().filter(|(_, stat)| stat.is_ok());
    let stat = stat.map(|(path, _)| Access::Stat(path.clone()));
    read.chain(list).chain(links).chain(stat).collect()
}
