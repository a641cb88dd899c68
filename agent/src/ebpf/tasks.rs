//! All threads of the machine through the task iterator (`agent-ebpf/src/task.rs`): a few system calls a look, and a
//! quarter of the time. Where it cannot run, `/proc` is read.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_common::limits::TASK_SLOTS;
use agent_common::names;
use agent_common::task::BRIEF;
use aya::maps::MapData;

use super::loading::plan::{BTF, Reason, open_btf};
use super::object::{Loader, Sizes};
use super::probes::{Constant, MemberUse, Shape};
use super::remedy::{Circumstances, Failure, Step, explain};
use super::sys::{self, For};
use crate::collect::stat_line::StatLine;
use crate::host::Host;
use crate::host::tasks::{ProcessRecord, Tasks, ThreadRecord};
use crate::time::SECOND;

/// The function the iterator calls.
const FUNCTION: &str = "bpf_iter_task";
/// Read at once: as much as the kernel writes for one `read` (`bpf_seq_read`, `kernel/bpf/bpf_iter.c`: eight pages).
const ROOM: usize = 32 << 10;
/// Both records of a process.
const LONGEST: usize = size_of::<ThreadRecord>() + size_of::<ProcessRecord>();
/// Times in a row that the kernel may want a breath: it takes one after a million threads (`MAX_ITER_OBJECTS`, same file).
const MAX_PAUSES: u32 = 16;

const fn member(paths: &'static [&'static str], constant: &'static str, shape: Shape) -> MemberUse {
    MemberUse { paths, constant, shape }
}

/// What the program reads; without one of them it would tell half.
const MEMBERS: &[MemberUse] = &[
    member(&["task_struct.pid"], "ITER_TASK_PID", Shape::Number(4)),
    member(&["task_struct.tgid"], "ITER_TASK_TGID", Shape::Number(4)),
    // Renamed and narrowed in 5.14 (2f064a59a11f).
    member(&["task_struct.__state", "task_struct.state"], "ITER_TASK_STATE", Shape::Low(4)),
    member(&["task_struct.exit_state"], "ITER_TASK_EXIT_STATE", Shape::Number(4)),
    member(&["task_struct.se.sum_exec_runtime"], "ITER_TASK_RUNTIME", Shape::Number(8)),
    member(&["task_struct.nvcsw"], "ITER_TASK_NVCSW", Shape::Number(8)),
    member(&["task_struct.nivcsw"], "ITER_TASK_NIVCSW", Shape::Number(8)),
    member(&["task_struct.start_boottime"], "ITER_TASK_START", Shape::Number(8)),
    member(&["task_struct.flags"], "ITER_TASK_FLAGS", Shape::Number(4)),
    member(&["task_struct.comm"], "ITER_TASK_COMM", Shape::Letters(16)),
    member(&["task_struct.cgroups"], "ITER_TASK_CGROUPS", Shape::Number(8)),
    member(&["task_struct.signal"], "ITER_TASK_SIGNAL", Shape::Number(8)),
    member(&["task_struct.files"], "ITER_TASK_FILES", Shape::Number(8)),
    member(&["task_struct.mm"], "ITER_TASK_MM", Shape::Number(8)),
    member(&["signal_struct.sum_sched_runtime"], "ITER_SIGNAL_ENDED", Shape::Number(8)),
    member(&["signal_struct.nr_threads"], "ITER_SIGNAL_THREADS", Shape::Number(4)),
    member(&["files_struct.fdt"], "ITER_FILES_FDT", Shape::Number(8)),
    member(&["files_struct.open_fds_init[0]"], "ITER_FILES_FIRST", Shape::Number(8)),
    member(&["fdtable.max_fds"], "ITER_FDT_MAX", Shape::Number(4)),
    member(&["fdtable.open_fds"], "ITER_FDT_OPEN", Shape::Number(8)),
];

/// Resident pages of files, of programs and shared ones. As in `probes::oom`: their type changed in 6.2 (f1a7941243c1).
const PAGES: [MemberUse; 3] = [
    member(&["mm_struct.rss_stat[0].count"], "ITER_MM_FILE", Shape::Number(8)),
    member(&["mm_struct.rss_stat[1].count"], "ITER_MM_ANON", Shape::Number(8)),
    member(&["mm_struct.rss_stat[3].count"], "ITER_MM_SHMEM", Shape::Number(8)),
];

/// The first of four in a row, before.
const OLD_PAGES: MemberUse =
    member(&["mm_struct.rss_stat.count[0].counter"], "ITER_MM_COUNTS", Shape::Number(8));

/// A loaded iterator. Clones share the program.
#[derive(Clone)]
pub struct TaskIter {
    link: Arc<OwnedFd>,
    buf: Vec<u8>,
    told: Option<Told>,
}

/// The map of what was told, and whether the next look may be brief. Of clones only one may look.
#[derive(Clone)]
struct Told {
    map: Arc<MapData>,
    brief: bool,
}

impl Told {
    fn set(&mut self, brief: bool) -> io::Result<()> {
        if self.brief != brief {
            sys::set_word(self.map.fd().as_fd(), TASK_SLOTS, u64::from(brief))?;
            self.brief = brief;
        }
        Ok(())
    }
}

/// Why it cannot run, and what to do: sentences without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { why: reason.why, remedy: reason.remedy }
    }
}

impl TaskIter {
    /// Loads it and compares what it says of this process with `/proc`.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub fn load(host: &dyn Host) -> Result<Self, Refused> {
        Self::load_as(host, &[], false)
    }

    /// The same for whoever looks often: [`Tasks::scan_brief`] leaves out what has not changed, which takes some memory of the
    /// kernel ([`TASK_SLOTS`]).
    ///
    /// # Errors
    /// Why it cannot run here.
    pub fn load_brief(host: &dyn Host) -> Result<Self, Refused> {
        Self::load_as(host, &["ITER_BRIEF"], true)
    }

    /// Another one, for whoever only wants threads in uninterruptible sleep: a look hands out no others, and nothing of processes.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub fn load_asleep(host: &dyn Host) -> Result<Self, Refused> {
        Self::load_as(host, &["ITER_ASLEEP"], false)
    }

    fn load_as(host: &dyn Host, switches: &[&'static str], brief: bool) -> Result<Self, Refused> {
        same_numbers(host)?;
        let (function, mut constants) = facts(host)?;
        constants.extend(
            ["ITER_BRIEF", "ITER_ASLEEP"]
                .map(|switch| Constant::new(switch, u16::from(switches.contains(&switch)).to_ne_bytes())),
        );
        let refused = |failure: Failure| {
            let (why, remedy) = explain(&failure, &Circumstances::of(host));
            Refused { why, remedy }
        };
        let (link, told) = load(function, &constants, brief).map_err(refused)?;
        let told = told.map(|map| Told { map: Arc::new(map), brief: false });
        let mut iter = Self { link: Arc::new(link), buf: vec![0; ROOM], told };
        // One that hands out few has nothing to compare; the other one did.
        if !switches.contains(&"ITER_ASLEEP") {
            iter.check(host)?;
        }
        Ok(iter)
    }

    /// It must know this process as `/proc` does: a kernel of another kind would show here.
    fn check(&mut self, host: &dyn Host) -> Result<(), Refused> {
        let mut line = Vec::new();
        let known = host.read("/proc/self/stat", &mut line).ok().and_then(|()| StatLine::parse(&line));
        let mut found = None;
        let own = std::process::id();
        let failed = |error| {
            let (why, remedy) = explain(&Failure::at(Step::Iterate)(error), &Circumstances::of(host));
            Refused { why, remedy }
        };
        self.scan(&mut |thread, process| {
            if thread.pid == own {
                found = process.copied();
            }
        })
        .map_err(failed)?;
        match (found, known) {
            (Some(process), Some(stat)) if agrees(&process, &stat, host) => Ok(()),
            _ => Err(Refused {
                why: "the BPF iterator does not know this process as /proc does".to_owned(),
                remedy: "please report it with `uname -r`".to_owned(),
            }),
        }
    }
}

/// Threads and memory may have changed meanwhile, but not by much.
fn agrees(told: &ProcessRecord, shown: &StatLine<'_>, host: &dyn Host) -> bool {
    let comm = told.comm.split(|&byte| byte == 0).next().unwrap_or_default();
    told.start_ns / (SECOND / host.ticks_per_second()) == shown.start_ticks
        && comm == shown.comm
        && u64::from(told.threads).abs_diff(shown.threads) <= 8
        && told.rss_pages.abs_diff(shown.rss_pages) <= shown.rss_pages / 2
        && told.open_files > 0
}

/// The kernel counts processes as its first namespace does: `/proc` must, too.
fn same_numbers(host: &dyn Host) -> Result<(), Refused> {
    /// `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
    const FIRST: &str = "pid:[4026531836]";
    let own = std::process::id().to_string();
    if host.read_link("/proc/self/ns/pid").is_ok_and(|link| link == FIRST)
        && host.read_link("/proc/self").is_ok_and(|link| link == own)
    {
        return Ok(());
    }
    Err(Refused {
        why: "the agent lives in a PID namespace of its own, where processes have other numbers".to_owned(),
        remedy: "for a container, give it the host's (`--pid=host`, `hostPID: true`)".to_owned(),
    })
}

/// The function's type, and where things lie.
fn facts(host: &dyn Host) -> Result<(u32, Vec<Constant>), Refused> {
    const ELSE: &str = "nothing short of another kernel";
    let unfit = |why: String| Reason::new(format!("{BTF} does not serve: {why}"), ELSE);
    let members = MEMBERS.iter().chain(&PAGES).chain([&OLD_PAGES]);
    let paths = members.flat_map(|member| member.paths).copied();
    let mut btf = open_btf(host, paths.chain([FUNCTION]))?;
    let function = btf
        .function(FUNCTION)
        .map_err(|_| Reason::new("this kernel has no task iterator, which came with Linux 5.8", ELSE))?
        .id;
    let mut find = |member: &MemberUse| {
        let found = member.find(&mut btf).map_err(|error| unfit(error.to_string()))?;
        found.ok_or_else(|| unfit(format!("it does not tell the place of {}", member.paths[0])))
    };
    let mut constants = Vec::new();
    // In the program an offset where the member must be there, and one more where it need not.
    if let Ok(offset) = find(&OLD_PAGES) {
        constants.push(Constant::new(OLD_PAGES.constant, (offset + 1).to_ne_bytes()));
    }
    let pages = if constants.is_empty() { &PAGES[..] } else { &[] };
    for member in MEMBERS.iter().chain(pages) {
        constants.push(Constant::new(member.constant, find(member)?.to_ne_bytes()));
    }
    Ok((function, constants))
}

fn load(function: u32, constants: &[Constant], brief: bool) -> Result<(OwnedFd, Option<MapData>), Failure> {
    let tasks_told = if brief { TASK_SLOTS + 1 } else { 1 };
    let mut loader = Loader::new(Sizes { tasks_told, ..Sizes::of(1, 0) })?;
    loader.make_constants(constants)?;
    loader.make_map(names::TASKS_TOLD)?;
    loader.relocate(&HashSet::from([names::LIST_TASKS]), None)?;
    let program = loader.load(names::LIST_TASKS, For::Iterator(function))?;
    let link = sys::link_iterator(program.as_fd()).map_err(Failure::at(Step::Iterate))?;
    Ok((link, loader.take_map(names::TASKS_TOLD).filter(|_| brief)))
}

impl Tasks for TaskIter {
    fn scan(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> io::Result<()> {
        self.told.as_mut().map_or(Ok(()), |told| told.set(false))?;
        self.run(each)
    }

    fn scan_brief(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> io::Result<()> {
        self.told.as_mut().map_or(Ok(()), |told| told.set(true))?;
        self.run(each)
    }
}

impl TaskIter {
    fn run(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> io::Result<()> {
        let run = sys::run_iterator(self.link.as_fd())?;
        let (mut rest, mut pauses) = (0, 0);
        loop {
            match rustix::io::read(&run, &mut self.buf[rest..]) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    let filled = rest + count;
                    let used = parse(&self.buf[..filled], each);
                    self.buf.copy_within(used..filled, 0);
                    (rest, pauses) = (filled - used, 0);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if pauses < MAX_PAUSES => pauses += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Hands out the whole records at the beginning of `bytes`, and says how many bytes they take.
fn parse(bytes: &[u8], each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> usize {
    let mut rest = bytes;
    while let Some((thread, behind)) = record::<ThreadRecord>(rest) {
        if thread.pid != thread.tgid || thread.exit_state & BRIEF != 0 {
            each(&ThreadRecord { exit_state: thread.exit_state & !BRIEF, ..thread }, None);
            rest = behind;
            continue;
        }
        let Some((process, behind)) = record::<ProcessRecord>(behind) else { break };
        each(&thread, Some(&process));
        rest = behind;
    }
    bytes.len() - rest.len()
}

fn record<T: bytemuck::Pod>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (head, behind) = bytes.split_at_checked(size_of::<T>())?;
    Some((bytemuck::pod_read_unaligned(head), behind))
}

const _: () = assert!(LONGEST < ROOM);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    fn thread(pid: u32, tgid: u32) -> Vec<u8> {
        bytemuck::bytes_of(&ThreadRecord { pid, tgid, ..ThreadRecord::default() }).to_vec()
    }

    fn process(pid: u32, threads: u32) -> Vec<u8> {
        let record = ProcessRecord { threads, ..ProcessRecord::default() };
        [thread(pid, pid), bytemuck::bytes_of(&record).to_vec()].concat()
    }

    /// Pids, and of processes their threads; the bytes that were left.
    fn check(bytes: &[u8], expect: &[(u32, Option<u32>)], left: usize) {
        let mut found = Vec::new();
        let used = parse(bytes, &mut |thread, process| found.push((thread.pid, process.map(|p| p.threads))));
        assert_eq!((found.as_slice(), bytes.len() - used), (expect, left));
    }

    #[test]
    fn records_that_are_cut_wait_for_their_rest() {
        let all = [process(1, 1), process(7, 2), thread(8, 7), process(9, 1)].concat();
        let (one, two, eight, nine) = ((1, Some(1)), (7, Some(2)), (8, None), (9, Some(1)));
        check(&all, &[one, two, eight, nine], 0);
        check(&all[..all.len() - 1], &[one, two, eight], 95);
        check(&all[..all.len() - 64], &[one, two, eight], 32);
        check(&all[..96 + 33], &[one], 33);
        check(&all[..224], &[one, two, eight], 0);
        check(&all[..5], &[], 5);
        check(&[], &[], 0);
        let brief = ThreadRecord { pid: 9, tgid: 9, exit_state: BRIEF, ..ThreadRecord::default() };
        let brief = bytemuck::bytes_of(&brief).to_vec();
        check(&[process(1, 1), brief.clone(), process(9, 1)].concat(), &[one, (9, None), nine], 0);
        check(&brief[..31], &[], 31);
        // No kernel writes this; it ends all the same.
        check(&[0; 200], &[(0, Some(0)), (0, Some(0))], 8);
    }

    #[test]
    fn another_kernel_shows_at_once() {
        let line = b"9 (agent) S 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 3 0 25 4096 1000 18 1";
        let stat = StatLine::parse(line).unwrap();
        let comm = *b"agent\0\0\0\0\0\0\0\0\0\0\0";
        let right = ProcessRecord {
            start_ns: 259_999_999,
            comm,
            threads: 3,
            rss_pages: 900,
            open_files: 7,
            ..ProcessRecord::default()
        };
        let check = |told: ProcessRecord, expect| {
            assert_eq!(agrees(&told, &stat, &FixtureHost::default()), expect, "{told:?}");
        };
        check(right, true);
        check(ProcessRecord { start_ns: 260_000_000, ..right }, false);
        check(ProcessRecord { comm: [0; 16], ..right }, false);
        check(ProcessRecord { threads: 300, ..right }, false);
        check(ProcessRecord { rss_pages: 0, ..right }, false);
        check(ProcessRecord { rss_pages: u64::MAX, ..right }, false);
        check(ProcessRecord { open_files: 0, ..right }, false);
    }

    #[test]
    fn a_namespace_of_its_own_is_said() {
        let refused = TaskIter::load(&FixtureHost::default()).err().expect("no /proc");
        assert!(
            refused.why.contains("PID namespace") && refused.remedy.contains("--pid=host"),
            "{refused:?}"
        );
        let text =
            format!("//- /proc/self -> {}\n//- /proc/self/ns/pid -> pid:[4026531836]\n", std::process::id());
        let refused = TaskIter::load(&FixtureHost::parse(&text).unwrap()).err().expect("no BTF");
        assert!(refused.why.contains("does not describe its types"), "{refused:?}");
    }
}
