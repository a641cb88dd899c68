use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::event::{Constraint, Source};
use crate::host::{FsStat, HostFile, NicDriver, Uname};
use crate::time::Now;

/// Files as text, and what was read of them: how many of a task. Clones show the same.
#[derive(Clone, Default)]
struct Files(Arc<Tree>);

#[derive(Default)]
struct Tree {
    texts: HashMap<&'static str, &'static str>,
    reads: AtomicUsize,
    cmdline: AtomicBool,
    astray: AtomicBool,
    /// A command line whose reader waits until the lock is free.
    locked: &'static str,
    lock: Mutex<()>,
}

impl Files {
    fn new(files: &[(&'static str, &'static str)]) -> Self {
        Self(Arc::new(Tree { texts: files.iter().copied().collect(), ..Tree::default() }))
    }
}

impl Host for Files {
    fn open(&self, _: &str) -> io::Result<Box<dyn HostFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        let of_task =
            path.strip_prefix("/proc/").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        self.0.reads.fetch_add(usize::from(of_task), Relaxed);
        self.0.cmdline.fetch_or(path.ends_with("/cmdline"), Relaxed);
        self.0.astray.fetch_or(path.contains("..") || path.contains("relative"), Relaxed);
        if path == self.0.locked {
            drop(self.0.lock.lock());
        }
        buf.clear();
        buf.extend_from_slice(self.0.texts.get(path).ok_or(io::ErrorKind::NotFound)?.as_bytes());
        Ok(())
    }
    fn list(&self, _: &str, _: &mut dyn FnMut(&str)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read_link(&self, _: &str) -> io::Result<String> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn statvfs(&self, _: &Path) -> io::Result<FsStat> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn nic_driver(&self, _: &str) -> io::Result<NicDriver> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn uname(&self) -> Uname {
        Uname::default()
    }
    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }
}

const STAT: &str =
    "7 (java) R 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4711 1000 200 18446744073709551615 1 1\n";
const STATUS: &str =
    "Name:\tjava\nUmask:\t0022\nState:\tR (running)\nTgid:\t7\nPid:\t7\nUid:\t33\t33\t33\t33\n";

fn task(pid: u32, comm: Option<&str>) -> Task {
    Task { pid: Some(pid), comm: comm.map(str::to_owned), ..Task::default() }
}

/// One that a busy machine does not make give up.
fn patient(host: &Files) -> Enricher {
    Enricher { patience: Duration::from_secs(10), ..Enricher::new(host.shared()) }
}

fn oom(host: &Files, oom: Oom) -> Oom {
    let mut event =
        Event { at: Now::default(), source: Source::Ebpf, historic: false, what: What::Oom(Box::new(oom)) };
    patient(host).enrich(&mut event);
    let What::Oom(oom) = event.what else { panic!() };
    *oom
}

fn hang(host: &Files, hang: Hang) -> Hang {
    let mut event =
        Event { at: Now::default(), source: Source::Kmsg, historic: false, what: What::Hang(Box::new(hang)) };
    patient(host).enrich(&mut event);
    let What::Hang(hang) = event.what else { panic!() };
    *hang
}

#[test]
fn a_victim_that_still_stands() {
    let host = Files::new(&[
        ("/proc/7/stat", STAT),
        ("/proc/7/status", STATUS),
        ("/proc/7/cgroup", "0::/system.slice/app.service\n"),
        ("/proc/7/cmdline", "java\0-jar\0app.jar\0\0"),
        ("/sys/fs/cgroup/system.slice/app.service/memory.max", "33554432\n"),
        ("/sys/fs/cgroup/system.slice/app.service/memory.current", "33550336\n"),
        (
            "/sys/fs/cgroup/system.slice/app.service/memory.events",
            "low 0\nhigh 0\nmax 35\noom 1\noom_kill 1\n",
        ),
    ]);
    let oom = oom(&host, Oom { victim: task(7, None), ..Oom::default() });
    let expect = Task {
        pid: Some(7),
        comm: Some("java".into()),
        cmdline: Some("java -jar app.jar".into()),
        uid: Some(33),
        start_ticks: Some(4711),
        cgroup: Some("/system.slice/app.service".into()),
    };
    assert_eq!(oom.victim, expect);
    assert_eq!((oom.limit_kb, oom.usage_kb, oom.failcnt), (Some(32_768), Some(32_764), Some(35)));
    assert_eq!((oom.constraint, oom.oom_memcg.as_deref()), (None, Some("/system.slice/app.service")));
}

#[test]
fn what_is_known_stays() {
    let host =
        Files::new(&[("/proc/7/stat", STAT), ("/proc/7/status", STATUS), ("/proc/7/cgroup", "0::/other\n")]);
    let known =
        Task { uid: Some(1), cgroup: Some("/a".into()), cmdline: Some("j".into()), ..task(7, Some("java")) };
    let oom = oom(&host, Oom { victim: known.clone(), limit_kb: Some(5), ..Oom::default() });
    assert_eq!(oom.victim, Task { start_ticks: Some(4711), ..known });
    assert_eq!((oom.limit_kb, oom.usage_kb), (Some(5), None));
}

#[test]
fn another_process_with_that_pid_gives_nothing() {
    let host = Files::new(&[
        ("/proc/7/stat", STAT),
        ("/proc/7/status", STATUS),
        ("/proc/7/cgroup", "0::/x\n"),
        ("/proc/7/cmdline", "x"),
    ]);
    for other in [task(7, Some("mysqld")), Task { start_ticks: Some(1), ..task(7, Some("java")) }] {
        assert_eq!(oom(&host, Oom { victim: other.clone(), ..Oom::default() }).victim, other);
    }
}

#[test]
fn a_process_that_is_gone_or_a_broken_file_gives_nothing() {
    for stat in [None, Some(""), Some("7"), Some("7 (java"), Some("7 (java) "), Some("7 (java) R 1 2 3")] {
        let files: Vec<_> = stat.map(|stat| ("/proc/7/stat", stat)).into_iter().collect();
        let victim = task(7, Some("java"));
        assert_eq!(oom(&Files::new(&files), Oom { victim: victim.clone(), ..Oom::default() }).victim, victim);
    }
}

#[test]
fn historic_events_and_pid_0_are_left_alone() {
    let host = Files::new(&[("/proc/0/stat", STAT)]);
    let what = What::Oom(Box::new(Oom { victim: task(7, None), ..Oom::default() }));
    let mut event = Event { at: Now::default(), source: Source::Kmsg, historic: true, what };
    patient(&host).enrich(&mut event);
    oom(&host, Oom { victim: task(0, None), ..Oom::default() });
    assert_eq!(host.0.reads.load(Relaxed), 0);
}

#[test]
fn names_with_brackets() {
    for (text, comm) in [("1 (a) b) S", "a) b"), ("1 ()) S", ")"), ("1 (() S", "("), ("1 ( (x) S", " (x")] {
        let stat = Stat::parse(&format!("{text} {}", "1 ".repeat(30))).unwrap();
        assert_eq!((stat.comm.as_str(), stat.state, stat.start_ticks), (comm, b'S', 1));
    }
}

#[test]
fn names_of_kernel_threads() {
    for (event, proc, expect) in [
        ("java", "java", true),
        ("java", "javac", false),
        ("kworker/0:1H", "kworker/0:1H-kblockd", true),
        ("a_very_long_nam", "a_very_long_name_of_a_kernel_thread", true),
        ("", "x", false),
    ] {
        assert_eq!(same_name(event, proc), expect, "{event} {proc}");
    }
}

#[test]
fn a_thread_stands_for_its_process() {
    let host = Files::new(&[
        ("/proc/8/stat", "8 (pool-1) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4799 1 1\n"),
        ("/proc/8/status", STATUS),
    ]);
    let oom = oom(&host, Oom { trigger: task(8, Some("pool-1")), ..Oom::default() });
    assert_eq!((oom.trigger.pid, oom.trigger.start_ticks, oom.trigger.uid), (Some(7), None, Some(33)));
}

#[test]
fn a_victim_keeps_the_number_that_a_later_witness_will_name() {
    let host = Files::new(&[
        ("/proc/8/stat", "8 (pool-1) S 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4799 1 1\n"),
        ("/proc/8/status", STATUS),
    ]);
    let oom = oom(&host, Oom { victim: task(8, Some("pool-1")), ..Oom::default() });
    assert_eq!((oom.victim.pid, oom.victim.uid), (Some(8), Some(33)));
}

#[test]
fn a_victim_that_ran_into_its_own_limit_is_asked_once() {
    let host = Files::new(&[
        ("/proc/7/stat", STAT),
        ("/proc/7/status", STATUS),
        ("/proc/7/cgroup", "0::/\n"),
        ("/proc/7/cmdline", "j"),
    ]);
    let oom = oom(
        &host,
        Oom {
            victim: task(7, Some("java")),
            trigger: task(7, Some("java")),
            limit_kb: Some(1),
            ..Oom::default()
        },
    );
    assert_eq!(oom.trigger, oom.victim);
    // Each file once, but `stat` before and after the command line: it must be the same process.
    assert_eq!(host.0.reads.load(Relaxed), 5);
}

#[test]
fn a_hang_keeps_its_thread_and_never_asks_for_the_command_line() {
    let host = Files::new(&[
        ("/proc/8/stat", "8 (dd) D 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4799 1 1\n"),
        ("/proc/8/status", STATUS),
        ("/proc/8/cgroup", "0::/\n"),
        ("/proc/8/wchan", "percpu_rwsem_wait"),
        ("/proc/8/cmdline", "dd"),
    ]);
    let hang = hang(&host, Hang { task: task(8, Some("dd")), ..Hang::default() });
    assert_eq!(
        (hang.task.pid, hang.task.start_ticks, hang.task.cgroup.as_deref()),
        (Some(8), Some(4799), Some("/"))
    );
    assert_eq!(hang.wchan.as_deref(), Some("percpu_rwsem_wait"));
    assert_eq!(hang.tgid, Some(7));
    assert!(!host.0.cmdline.load(Relaxed));
    let hidden = Files::new(&[
        ("/proc/8/stat", "8 (dd) D 1 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4799 1 1\n"),
        ("/proc/8/wchan", "0"),
    ]);
    assert_eq!(self::hang(&hidden, Hang { task: task(8, Some("dd")), ..Hang::default() }).wchan, None);
}

#[test]
fn the_command_line_of_a_blocked_or_dead_process_is_asked_for_of_victims_only() {
    for state in ["D", "Z", "X"] {
        let stat: &'static str = Box::leak(STAT.replace(" R ", &format!(" {state} ")).into_boxed_str());
        let host = Files::new(&[("/proc/7/stat", stat), ("/proc/7/cmdline", "x")]);
        assert_eq!(oom(&host, Oom { trigger: task(7, None), ..Oom::default() }).trigger.cmdline, None);
        assert!(!host.0.cmdline.load(Relaxed));
        let victim = oom(&host, Oom { victim: task(7, None), ..Oom::default() }).victim;
        assert_eq!(victim.cmdline.as_deref(), Some("x"));
    }
}

#[test]
fn an_exiting_task_is_not_believed_to_be_in_the_root() {
    let exiting: &'static str = Box::leak(STAT.replace("4194560", "4194564").into_boxed_str());
    for (stat, path, expect) in
        [(STAT, "4:memory:/\n", Some("/")), (exiting, "4:memory:/\n", None), (exiting, "0::/a\n", Some("/a"))]
    {
        let host = Files::new(&[("/proc/7/stat", stat), ("/proc/7/cgroup", path)]);
        let victim = oom(&host, Oom { victim: task(7, None), ..Oom::default() }).victim;
        assert_eq!(victim.cgroup.as_deref(), expect, "{stat} {path}");
    }
}

fn group_of(
    files: &[(&'static str, &'static str)],
    constraint: Option<Constraint>,
    memcg: Option<&str>,
) -> Oom {
    let victim = Task { cgroup: Some("/a/b/c".into()), ..Task::default() };
    oom(&Files::new(files), Oom { victim, constraint, oom_memcg: memcg.map(str::to_owned), ..Oom::default() })
}

/// `/a` is full, `/a/b` has room, `/a/b/c` has no limit.
const V2: &[(&str, &str)] = &[
    ("/sys/fs/cgroup/a/memory.max", "1048576"),
    ("/sys/fs/cgroup/a/memory.current", "1040384"),
    ("/sys/fs/cgroup/a/memory.events", "max 3\noom_kill 1\n"),
    ("/sys/fs/cgroup/a/b/memory.max", "9048576"),
    ("/sys/fs/cgroup/a/b/memory.current", "1040384"),
    ("/sys/fs/cgroup/a/b/memory.events", "max 0\n"),
    ("/sys/fs/cgroup/a/b/c/memory.max", "max"),
    ("/sys/fs/cgroup/a/b/c/memory.current", "1036288"),
];

#[test]
fn the_group_whose_limit_was_hit() {
    let oom = group_of(V2, None, None);
    assert_eq!((oom.oom_memcg.as_deref(), oom.limit_kb, oom.failcnt), (Some("/a"), Some(1024), Some(3)));
    assert_eq!(oom.constraint, None, "a full group is no proof");
    let oom = group_of(V2, Some(Constraint::Memcg), Some("/a/b"));
    assert_eq!((oom.oom_memcg.as_deref(), oom.limit_kb), (Some("/a/b"), Some(8836)));
}

#[test]
fn a_kill_of_the_whole_machine_has_no_group() {
    for constraint in [Constraint::None, Constraint::Cpuset, Constraint::MemoryPolicy] {
        let oom = group_of(V2, Some(constraint), None);
        assert_eq!((oom.oom_memcg, oom.limit_kb, oom.usage_kb), (None, None, None));
    }
}

#[test]
fn a_limit_that_was_not_hit_is_shown_but_not_blamed() {
    let files =
        [("/sys/fs/cgroup/a/b/c/memory.max", "1048576"), ("/sys/fs/cgroup/a/b/c/memory.current", "4096")];
    let oom = group_of(&files, None, None);
    assert_eq!((oom.oom_memcg, oom.limit_kb, oom.usage_kb), (None, Some(1024), Some(4)));
}

#[test]
fn the_victims_own_limit_is_not_the_one_that_a_process_elsewhere_hit() {
    let full = |path: &'static str, limit: &'static str| {
        [
            (&*format!("/sys/fs/cgroup/r{path}/memory.max").leak(), limit),
            (&*format!("/sys/fs/cgroup/r{path}/memory.current").leak(), limit),
            (&*format!("/sys/fs/cgroup/r{path}/memory.events").leak(), "max 3\noom_kill 1\n"),
        ]
    };
    let at = |path: &str| Task { cgroup: Some(path.into()), ..Task::default() };
    let check = |files: &[(&'static str, &'static str)], expect: (Option<&str>, Option<u64>)| {
        let found =
            oom(&Files::new(files), Oom { victim: at("/r/a"), trigger: at("/r/b"), ..Oom::default() });
        assert_eq!((found.oom_memcg.as_deref(), found.limit_kb), expect, "{files:?}");
        assert_eq!(found.memcg_guessed, expect.0.is_some(), "figures are no proof");
    };
    let (own, around) = (full("/a", "1048576"), full("", "2097152"));
    check(&own, (None, None));
    check(&[own, around].concat(), (Some("/r"), Some(2048)));
}

#[test]
fn v1_groups() {
    let files = [
        ("/sys/fs/cgroup/memory/a/b/c/memory.limit_in_bytes", "33554432\n"),
        ("/sys/fs/cgroup/memory/a/b/c/memory.usage_in_bytes", "33554432\n"),
        ("/sys/fs/cgroup/memory/a/b/c/memory.failcnt", "173\n"),
        ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    let oom = group_of(&files, None, None);
    assert_eq!(
        (oom.oom_memcg.as_deref(), oom.limit_kb, oom.failcnt),
        (Some("/a/b/c"), Some(32_768), Some(173))
    );
    let oom = group_of(&files, Some(Constraint::Memcg), Some("/a"));
    assert_eq!((oom.limit_kb, oom.failcnt), (None, None));
}

#[test]
fn counters_of_the_group_and_memory_of_the_machine() {
    let mut files = V2.to_vec();
    files.push((
        "/proc/meminfo",
        "MemTotal: 1000 kB\nMemFree: 5 kB\nMemAvailable: 70 kB\nSwapTotal: 50 kB\nSwapFree: 20 kB\n",
    ));
    files.push((
        "/proc/pressure/memory",
        "some avg10=12.50 avg60=0 avg300=0 total=1\nfull avg10=x avg60=0 avg300=0 total=1\n",
    ));
    let oom = group_of(&files, None, None);
    assert_eq!(oom.events.known().collect::<Vec<_>>(), [("max", 3), ("oom_kill", 1)]);
    let host = oom.host.unwrap();
    assert_eq!((host.total_kb, host.available_kb), (Some(1000), Some(70)));
    assert_eq!((host.swap_total_kb, host.swap_used_kb), (Some(50), Some(30)));
    assert_eq!((host.some_avg10, host.full_avg10), (Some(12.5), None));
    let host = group_of(V2, None, None).host.unwrap();
    assert_eq!(host, crate::event::HostMemory::default(), "nothing is guessed");
}

#[test]
fn what_the_kernel_log_told_of_the_limit_stays() {
    let told = Oom {
        limit_kb: Some(7),
        constraint: Some(Constraint::Memcg),
        oom_memcg: Some("/a".into()),
        ..Oom::default()
    };
    let oom = oom(&Files::new(V2), told);
    assert_eq!(
        (oom.limit_kb, oom.usage_kb, oom.failcnt, oom.events.oom_kill),
        (Some(7), None, None, Some(1))
    );
}

#[test]
fn a_group_that_dies_together_is_known_before_the_kernel_says_so() {
    let mut files = V2.to_vec();
    files.push(("/sys/fs/cgroup/a/b/memory.oom.group", "1\n"));
    let path = |oom: Oom| oom.group.and_then(|group| group.path);
    assert_eq!(path(group_of(&files, None, None)).as_deref(), Some("/a/b"));
    assert_eq!(
        path(group_of(&files, Some(Constraint::None), None)).as_deref(),
        Some("/a/b"),
        "global kills too"
    );
    assert_eq!(
        path(group_of(&files, Some(Constraint::Memcg), Some("/a/b/c"))),
        None,
        "above whose limit was hit"
    );
    assert_eq!(path(group_of(V2, None, None)), None);
}

#[test]
fn paths_out_of_sight_are_not_followed() {
    for path in ["/../secret", "/a/../b", "relative", ""] {
        let host = Files::default();
        let victim = Task { cgroup: Some(path.into()), ..Task::default() };
        oom(&host, Oom { victim, ..Oom::default() });
        assert!(!host.0.astray.load(Relaxed), "{path}");
    }
}

#[test]
fn long_command_lines_are_cut() {
    let long: &'static str = Box::leak("é\0".repeat(9000).into_boxed_str());
    let host = Files::new(&[("/proc/7/stat", STAT), ("/proc/7/cmdline", long)]);
    let cmdline = oom(&host, Oom { victim: task(7, None), ..Oom::default() }).victim.cmdline.unwrap();
    assert!(cmdline.len() <= MAX_CMDLINE + 3 && cmdline.starts_with("é é é"));
}

/// A kill at a second, and its victim after the look at it.
fn killed(enricher: &mut Enricher, pid: u32, sec: u64) -> Task {
    let what = What::Oom(Box::new(Oom { victim: task(pid, None), ..Oom::default() }));
    let at = Now::default().plus_secs(sec);
    let mut event = Event { at, source: Source::Ebpf, historic: false, what };
    enricher.enrich(&mut event);
    let What::Oom(oom) = event.what else { panic!() };
    oom.victim
}

#[test]
fn a_command_line_that_cannot_be_read_costs_nothing_else() {
    let other: &'static str = Box::leak(STAT.replace("7 (java)", "8 (bash)").into_boxed_str());
    let texts = [
        ("/proc/7/stat", STAT),
        ("/proc/7/status", STATUS),
        ("/proc/7/cmdline", "java"),
        ("/proc/8/stat", other),
        ("/proc/8/cmdline", "bash"),
    ];
    let tree = Tree { texts: texts.into(), locked: "/proc/7/cmdline", ..Tree::default() };
    let host = Files(Arc::new(tree));
    let mut enricher = Enricher { patience: PATIENCE, ..patient(&host) };
    let held = host.0.lock.lock().unwrap();
    let victim = killed(&mut enricher, 7, 1);
    assert_eq!((victim.cmdline, victim.comm.as_deref(), victim.uid), (None, Some("java"), Some(33)));
    assert_eq!(enricher.cmdlines.stuck(), 1);
    enricher.patience = patient(&host).patience;
    assert_eq!(killed(&mut enricher, 8, 2).cmdline.as_deref(), Some("bash"), "others are read");
    assert_eq!(killed(&mut enricher, 7, 3).cmdline, None);
    assert_eq!(enricher.cmdlines.stuck(), 1, "asked once");
    drop(held);
    let late = (4..4000).find_map(|sec| {
        std::thread::sleep(Duration::from_millis(1));
        killed(&mut enricher, 7, sec).cmdline
    });
    assert_eq!((late.as_deref(), enricher.cmdlines.stuck()), (Some("java"), 0));
}

#[test]
fn a_late_command_line_is_not_told_of_another_process() {
    let tree = Tree { texts: [("/proc/7/stat", STAT)].into(), ..Tree::default() };
    let mut enricher = patient(&Files(Arc::new(tree)));
    let asked = Now::default().plus_secs(1);
    let late = move || {
        std::thread::sleep(Duration::from_millis(20));
        (asked, Some("of the one before".to_owned()))
    };
    enricher.cmdlines.ask("7", asked, Duration::ZERO, late);
    for sec in 2..4000 {
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(killed(&mut enricher, 7, sec).cmdline, None);
        if enricher.cmdlines.stuck() == 0 {
            return;
        }
    }
    panic!("the answer never came");
}

#[test]
fn a_path_that_cannot_be_read_costs_nothing_else() {
    let texts = [
        ("/proc/7/stat", STAT),
        ("/proc/7/status", STATUS),
        ("/proc/7/cmdline", "java"),
        ("/proc/7/cgroup", "0::/a\n"),
    ];
    let tree = Tree { texts: texts.into(), locked: "/proc/7/cgroup", ..Tree::default() };
    let host = Files(Arc::new(tree));
    let mut enricher = Enricher { patience: PATIENCE, ..patient(&host) };
    let held = host.0.lock.lock().unwrap();
    let victim = killed(&mut enricher, 7, 1);
    let known = (victim.cgroup, victim.cmdline.as_deref(), victim.uid);
    assert_eq!(known, (None, Some("java"), Some(33)));
    assert_eq!((enricher.cgroups.stuck(), enricher.cmdlines.stuck()), (1, 0));
    drop(held);
    enricher.patience = patient(&host).patience;
    let late = (4..4000).find_map(|sec| {
        std::thread::sleep(Duration::from_millis(1));
        killed(&mut enricher, 7, sec).cgroup
    });
    assert_eq!(late.as_deref(), Some("/a"));
}

#[test]
fn the_memory_of_a_victim_is_left_alone_where_memory_is_short() {
    let check = |meminfo: &'static str, constraint: Option<Constraint>, expect: bool| {
        let texts = [("/proc/7/stat", STAT), ("/proc/7/cmdline", "java"), ("/proc/meminfo", meminfo)];
        let host = Files::new(&texts);
        let victim = oom(&host, Oom { victim: task(7, None), constraint, ..Oom::default() }).victim;
        assert_eq!((victim.cmdline.is_some(), victim.start_ticks), (expect, Some(4711)), "{meminfo}");
        assert_eq!(host.0.cmdline.load(Relaxed), expect, "{meminfo}");
    };
    let memcg = || Some(Constraint::Memcg);
    check("MemTotal: 1600 kB\nMemAvailable: 100 kB\n", memcg(), true);
    check("MemTotal: 1600 kB\nMemAvailable: 99 kB\n", memcg(), false);
    check("MemTotal: 1600 kB\nMemAvailable: 99 kB\n", None, false);
    check("MemTotal: 160000000 kB\nMemAvailable: 524288 kB\n", None, true);
    check("MemTotal: 160000000 kB\nMemAvailable: 524287 kB\n", None, false);
    check("MemTotal: 1600 kB\n", None, true);
    check("", memcg(), true);
    check("MemTotal: 1600 kB\nMemAvailable: 1600 kB\n", Some(Constraint::None), false);
}

#[test]
fn a_command_line_that_the_kernel_told_is_not_asked_for() {
    let host = Files::new(&[("/proc/7/stat", STAT), ("/proc/7/cmdline", "java")]);
    let victim = Task { cmdline: Some("java -jar".into()), ..task(7, None) };
    assert_eq!(oom(&host, Oom { victim, ..Oom::default() }).victim.cmdline.as_deref(), Some("java -jar"));
    assert!(!host.0.cmdline.load(Relaxed));
}

#[test]
fn an_error_of_a_gpu_names_board_and_container() {
    let host = crate::host::fixture::FixtureHost::parse(
        "//- /proc/driver/nvidia/gpus/0000:3b:00.0/information\nModel: \t\t NVIDIA H100\nGPU UUID: \t GPU-1\n\
         //- /proc/42/cgroup\n0::/system.slice/docker-83c3e2e7b893f0a9d6f3f7c1b5a4e2d1c0b9a8f7e6d5c4b3a291807060504030.scope\n",
    )
    .unwrap();
    let mut enricher = Enricher { patience: Duration::from_secs(10), ..Enricher::new(host.shared()) };
    let fields = |rule: &str, enricher: &mut Enricher| {
        let found = LogMatch {
            rule: rule.into(),
            severity: crate::alert::Severity::Critical,
            meaning: String::new(),
            line: String::new(),
            fields: [("bus", "0000:3b:00"), ("xid", "79"), ("pid", "42")]
                .map(|(n, v)| (n.into(), v.into()))
                .into(),
            ..LogMatch::default()
        };
        let what = What::Log(Box::new(found));
        let mut event =
            Event { at: Now::default().plus_secs(5), source: Source::Kmsg, historic: false, what };
        enricher.enrich(&mut event);
        let What::Log(found) = event.what else { unreachable!() };
        found
            .fields
            .iter()
            .skip(3)
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let expect = "gpu=0 model=NVIDIA H100 uuid=GPU-1 container=83c3e2e7b893";
    // The boards are read aside; a moment after the start they are known.
    let told = (0..1000).map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        fields("gpu_xid", &mut enricher)
    });
    assert_eq!(told.into_iter().find(|fields| fields.starts_with("gpu=")).as_deref(), Some(expect));
    assert_eq!(fields("segfault", &mut enricher), "");
}
