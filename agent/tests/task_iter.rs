//! The task iterator beside `/proc`, on this machine: the same processes, with the same figures. As root:
//! `cargo test -p sysops-agent --test task_iter -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "looks at the machine by itself")]

mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc;
use std::thread;

use agent_common::task::{PF_KTHREAD, ProcessRecord, ThreadRecord, letter};
use sysops_agent::collect::stat_line::StatLine;
use sysops_agent::ebpf::tasks::TaskIter;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::tasks::Tasks;

/// A process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    comm: String,
    state: u8,
    start_ticks: u64,
    cpu_ticks: u64,
    threads: u64,
    rss_pages: u64,
    /// What the kernel counts (from 6.2 on): also those that a thread which waits in `accept` has set aside.
    open_files: Option<u64>,
    tids: usize,
}

fn proc_look() -> BTreeMap<u32, Shown> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let shown = pids.filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = StatLine::parse(&line)?;
        let count = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map(Iterator::count);
        let shown = Shown {
            comm: String::from_utf8_lossy(stat.comm).into_owned(),
            state: stat.state,
            start_ticks: stat.start_ticks,
            cpu_ticks: stat.cpu_ticks,
            threads: stat.threads,
            rss_pages: stat.rss_pages,
            open_files: fs::metadata(format!("/proc/{pid}/fd")).ok().map(|folder| folder.len()),
            tids: count("task").unwrap_or(0),
        };
        Some((pid, shown))
    });
    shown.collect()
}

/// What the iterator tells of a process, all its threads added up.
#[derive(Clone, Debug, Default)]
struct Told {
    process: ProcessRecord,
    thread: ThreadRecord,
    runtime_ns: u64,
    tids: usize,
}

fn iter_look(iter: &mut TaskIter) -> BTreeMap<u32, Told> {
    let mut told: BTreeMap<u32, Told> = BTreeMap::new();
    iter.scan(&mut |thread, process| {
        let of = told.entry(thread.tgid).or_default();
        of.tids += 1;
        of.runtime_ns += thread.runtime_ns;
        if let Some(process) = process {
            of.runtime_ns += process.ended_ns;
            (of.process, of.thread) = (*process, *thread);
        }
    })
    .expect("the iterator runs");
    told
}

/// One figure beside the two that `/proc` showed before and after.
fn between(told: u64, shown: [u64; 2], slack: u64) -> bool {
    let (least, most) = (shown[0].min(shown[1]), shown[0].max(shown[1]));
    (least.saturating_sub(slack)..=most + slack).contains(&told)
}

/// What differs; figures that `/proc` itself saw change are compared with both.
fn differences(told: &Told, before: &Shown, after: &Shown) -> Vec<String> {
    const NS_PER_TICK: u64 = 10_000_000;
    let Told { process, thread, runtime_ns, tids } = told;
    let comm = process.comm.split(|&b| b == 0).next().unwrap_or_default();
    let comm = String::from_utf8_lossy(comm).into_owned();
    let kernel = process.flags & PF_KTHREAD != 0;
    // The kernel adds to the names of its workers what they work on, and keeps long names of its threads elsewhere.
    let same_name =
        if kernel { before.comm.starts_with(&comm) } else { [&before.comm, &after.comm].contains(&&comm) };
    let state = letter(thread.state, thread.exit_state);
    let files = [before, after].map(|shown| shown.open_files.unwrap_or(0));
    let mut wrong = Vec::new();
    let mut check = |good: bool, what: &str, told: String| {
        if !good {
            wrong.push(format!("{what} is {told}: {before:?}, then {after:?}"));
        }
    };
    check(same_name, "comm", comm);
    check(process.start_ns / NS_PER_TICK == before.start_ticks, "start", process.start_ns.to_string());
    // Each of the two times of `/proc` is cut to whole ticks.
    let ticks = runtime_ns / NS_PER_TICK;
    check((before.cpu_ticks..=after.cpu_ticks + 2).contains(&ticks), "CPU", format!("{ticks} ticks"));
    check(
        between(process.threads.into(), [before.threads, after.threads], 0),
        "threads",
        process.threads.to_string(),
    );
    check(
        between(*tids as u64, [before.tids as u64, after.tids as u64], 0),
        "threads seen",
        tids.to_string(),
    );
    check(
        between(process.rss_pages, [before.rss_pages, after.rss_pages], 0),
        "rss",
        process.rss_pages.to_string(),
    );
    check(
        files == [0, 0] || between(process.open_files.into(), files, 0),
        "open files",
        process.open_files.to_string(),
    );
    let states = [before.state, after.state];
    check(states[0] != states[1] || states.contains(&state), "state", char::from(state).to_string());
    wrong
}

#[test]
#[ignore = "live: runs an eBPF program"]
fn every_process_is_as_proc_shows_it() {
    if !lab::ready() {
        return;
    }
    let mut iter = match TaskIter::load(&LiveHost::default()) {
        Ok(iter) => iter,
        Err(refused) => return lab::skip(&format!("{refused:?}")),
    };
    // Something besides what happens to run: threads that have ended, threads that live, many open files, a zombie.
    let (tell, told) = mpsc::channel::<()>();
    let files: Vec<_> = (0..300).map(|_| fs::File::open("/dev/null").expect("/dev/null")).collect();
    thread::spawn(|| (0..3_000_000u64).fold(0, |sum, n| sum ^ std::hint::black_box(n)))
        .join()
        .expect("it ends");
    let waiting = thread::spawn(move || told.recv());
    let mut zombie = std::process::Command::new("true").spawn().expect("true");
    lab::wait_for(std::time::Duration::from_secs(5), || {
        let line = fs::read(format!("/proc/{}/stat", zombie.id())).ok()?;
        (StatLine::parse(&line)?.state == b'Z').then_some(())
    })
    .expect("it ends");

    // What moves between two readings is looked at again: a difference must stay to be one.
    let mut wrong = Vec::new();
    for _ in 0..5 {
        let before = proc_look();
        let told = iter_look(&mut iter);
        let after = proc_look();
        let own = &told[&std::process::id()];
        assert!(own.process.open_files > 300 && own.process.threads >= 3, "{own:?}");
        assert_eq!(letter(told[&zombie.id()].thread.state, told[&zombie.id()].thread.exit_state), b'Z');
        wrong.clear();
        for (pid, before) in &before {
            let Some(after) = after.get(pid).filter(|after| after.start_ticks == before.start_ticks) else {
                continue;
            };
            match told.get(pid) {
                Some(told) => {
                    wrong.extend(differences(told, before, after).iter().map(|w| format!("{pid}: {w}")));
                }
                // Such a kernel exists; the collector reads that one from `/proc`.
                None if *pid == 1 => println!("this kernel keeps process 1 from BPF"),
                None => wrong.push(format!("{pid} is not seen: {before:?}")),
            }
        }
        println!("{} processes compared, {} differences", told.len(), wrong.len());
        if wrong.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(tell);
    let _ = waiting.join();
    drop(files);
    let _ = zombie.wait();
}

/// Whether a process is told of in full; `None`: it is not told of.
fn in_full(iter: &mut TaskIter, brief: bool, pid: u32) -> Option<bool> {
    let mut found = None;
    let each = &mut |thread: &ThreadRecord, process: Option<&ProcessRecord>| {
        if thread.pid == pid {
            assert_eq!(found.replace(process.is_some()), None, "{pid} is told of twice");
        }
    };
    let result = if brief { iter.scan_brief(each) } else { iter.scan(each) };
    result.expect("the iterator runs");
    found
}

#[test]
#[ignore = "live: runs an eBPF program"]
fn who_has_not_run_is_told_in_brief() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    if !lab::ready() {
        return;
    }
    let mut iter = match TaskIter::load_brief(&LiveHost::default()) {
        Ok(iter) => iter,
        Err(refused) => return lab::skip(&format!("{refused:?}")),
    };
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    let mut ask = cat.stdin.take().expect("piped");
    let mut answer = cat.stdout.take().expect("piped");
    let mut wake = || {
        ask.write_all(b"x").and_then(|()| answer.read_exact(&mut [0])).expect("it answers");
    };
    let asleep = |iter: &mut TaskIter| {
        // It is a while on its way to sleep, and twice in brief says that it is there.
        let patience = std::time::Duration::from_secs(20);
        let looks = || (0..2).all(|_| in_full(iter, true, cat.id()) == Some(false)).then_some(());
        lab::wait_for(patience, looks).expect("it is told in brief when it sleeps");
    };
    for _ in 0..3 {
        wake();
        asleep(&mut iter);
        wake();
        assert_eq!(in_full(&mut iter, true, cat.id()), Some(true), "it has run");
        asleep(&mut iter);
        assert_eq!(in_full(&mut iter, false, cat.id()), Some(true), "all are told of");
    }
    // Of one with several threads it is not known which of them have run.
    let (tell, told) = mpsc::channel::<()>();
    let waiting = thread::spawn(move || told.recv());
    for brief in [false, true, true] {
        assert_eq!(in_full(&mut iter, brief, std::process::id()), Some(true));
    }
    drop(tell);
    let _ = waiting.join();
    // Nobody is left out.
    let (mut brief, mut all) = (Vec::new(), Vec::new());
    iter.scan_brief(&mut |thread, _| brief.push(thread.pid)).expect("it runs");
    iter.scan(&mut |thread, _| all.push(thread.pid)).expect("it runs");
    let both = brief.iter().filter(|pid| all.contains(pid)).count();
    assert!(brief.contains(&cat.id()) && both * 10 > all.len() * 9, "{both} of {}", all.len());
    drop(ask);
    let _ = cat.wait();
}

#[test]
#[ignore = "live: runs an eBPF program"]
fn of_those_asleep_nobody_is_left_out_and_no_other_told() {
    if !lab::ready() {
        return;
    }
    let mut iter = match TaskIter::load_asleep(&LiveHost::default()) {
        Ok(iter) => iter,
        Err(refused) => return lab::skip(&format!("{refused:?}")),
    };
    let parent = lab::vfork::vfork_parent(3);
    let mut look = || {
        let mut found = Vec::new();
        iter.scan(&mut |thread, process| {
            assert!(process.is_none());
            assert_eq!(letter(thread.state, thread.exit_state), b'D', "{thread:?}");
            found.push(thread.tgid);
        })
        .expect("it runs");
        found.contains(&std::process::id()).then_some(())
    };
    let seen = lab::wait_for(std::time::Duration::from_secs(30), &mut look);
    let _ = parent.join();
    seen.expect("the parent is told of");
}
