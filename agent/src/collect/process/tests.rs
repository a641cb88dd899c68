use super::*;
use crate::collect::testing::Bench;
use crate::sample::ROWS_WITH_CMDLINE;

fn stat(pid: u32, comm: &str, state: char, ticks: u64, start: u64, rss: i64) -> String {
    format!("{pid} ({comm}) {state} 1 1 1 0 -1 0 9 0 0 0 {ticks} 0 0 0 20 0 2 0 {start} 4096 {rss} 18 1\n")
}

fn bench(top_n: usize, processes: &[String]) -> Bench {
    let bench = Bench::new("", Process::new(&Options { top_n, ..Options::default() }, None));
    bench.host.set("/proc/uptime", "1 1");
    for line in processes {
        set(&bench, line);
    }
    bench
}

fn set(bench: &Bench, line: &str) {
    let pid = line.split(' ').next().unwrap();
    bench.host.set(&format!("/proc/{pid}/stat"), line);
}

#[test]
fn processes_are_counted() {
    let mut bench = bench(
        0,
        &[
            stat(1, "init", 'S', 0, 1, 10),
            stat(2, "kthreadd", 'I', 0, 1, 0),
            stat(7, "dd", 'D', 0, 5, 1),
            stat(8, "gone", 'Z', 0, 5, 0),
            stat(9, "gdb", 't', 0, 5, 0),
            stat(10, "new", '?', 0, 5, 0),
        ],
    );
    bench.pass().unwrap();
    bench.expect(&[
        ("processes_count", 6.0),
        ("processes_threads_count", 12.0),
        ("processes_skipped_count", 0.0),
        ("processes_state_count{sleeping}", 1.0),
        ("processes_state_count{uninterruptible}", 1.0),
        ("processes_state_count{zombie}", 1.0),
        ("processes_state_count{stopped}", 1.0),
        ("processes_state_count{idle}", 1.0),
        ("processes_state_count{other}", 1.0),
        ("processes_state_count{running}", 0.0),
    ]);
    assert!(!bench.readings.keys().any(|name| name.starts_with("process_")), "top 0");
}

#[test]
fn the_largest_have_series() {
    let mut bench = bench(
        1,
        &[
            stat(1, "init", 'S', 900, 1, 10),
            stat(5, "fat (x)", 'S', 1, 1, 100),
            stat(6, "busy\n", 'R', 100, 1, 20),
            stat(7, "neither", 'S', 10, 1, 30),
        ],
    );
    bench.pass().unwrap();
    bench.expect(&[
        ("process_cpu_seconds_total{1,init}", 9.0),
        ("process_resident_memory_bytes{5,fat (x)}", 409_600.0),
    ]);
    assert!(!bench.has("process_cpu_seconds_total{6,busy?}"));
    set(&bench, &stat(6, "busy\n", 'R', 600, 1, 20));
    bench.pass().unwrap();
    bench.expect(&[
        ("process_cpu_seconds_total{6,busy?}", 6.0),
        ("process_resident_memory_bytes{6,busy?}", 81_920.0),
        ("process_resident_memory_bytes{5,fat (x)}", 409_600.0),
    ]);
    assert!(
        !bench.has("process_cpu_seconds_total{1,init}") && !bench.has("process_cpu_seconds_total{7,neither}")
    );
}

#[test]
fn the_table_has_use_since_the_previous_pass() {
    let mut bench = bench(5, &[stat(1, "init", 'S', 900, 1, 10), stat(5, "java", 'S', 100, 7, 100)]);
    bench.pass().unwrap();
    let table = bench.processes.take().unwrap();
    assert_eq!(
        table.rows.iter().map(|row| (row.pid, row.cpu_percent)).collect::<Vec<_>>(),
        [(5, 0.0), (1, 0.0)]
    );
    // Ten seconds later: half a core; a pid used again; a process that ended and a new one.
    set(&bench, &stat(5, "java", 'R', 600, 7, 100));
    set(&bench, &stat(1, "init", 'S', 300, 999, 10));
    set(&bench, &stat(6, "new", 'R', 1000, 1500, 5));
    bench.pass().unwrap();
    let table = bench.processes.take().unwrap();
    let rows: Vec<_> = table.rows.iter().map(|row| (row.pid, &*row.comm, row.cpu_percent)).collect();
    assert_eq!(rows, [(5, "java", 50.0), (1, "init", 30.0), (6, "new", 100.0)]);
    assert_eq!((table.total, table.rows[0].rss_bytes, table.rows[0].start_ticks), (3, 409_600, 7));
}

#[test]
fn the_largest_know_their_group() {
    let many: Vec<_> = (1..=20).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
    let mut bench = bench(2, &many);
    for pid in 2..=20 {
        bench.host.set(&format!("/proc/{pid}/cgroup"), format!("4:memory:/g/{pid}\n0::/u\n"));
    }
    bench.host.set("/proc/19/cgroup", "nonsense");
    bench.pass().unwrap();
    let table = bench.processes.take().unwrap();
    let groups: Vec<_> = table.rows.iter().filter_map(|row| row.cgroup.as_deref()).collect();
    assert_eq!(groups, ["/g/20", "/g/18", "/g/17", "/g/16", "/g/15", "/g/14", "/g/13"]);
}

#[test]
fn the_largest_know_their_command_line() {
    let many: Vec<_> = (1..=80).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
    let mut bench = bench(2, &many);
    bench.host.set("/proc/80/cmdline", "java\0-jar\0a b\0");
    bench.host.set("/proc/79/cmdline", "");
    bench.host.set("/proc/2/cmdline", "small");
    bench.host.set("/proc/70/cmdline", "x".repeat(9000));
    let look = |bench: &mut Bench, pid: u32| {
        bench.pass().unwrap();
        let table = bench.processes.take().unwrap();
        assert_eq!(table.cmdlines.len(), ROWS_WITH_CMDLINE);
        table.find(pid).and_then(|(_, line)| line.map(str::to_owned))
    };
    assert_eq!(look(&mut bench, 80).as_deref(), Some("java -jar a b"));
    assert_eq!((look(&mut bench, 79), look(&mut bench, 2), look(&mut bench, 1000)), (None, None, None));
    assert_eq!(look(&mut bench, 70).map(|line| line.len()), Some(512));
    bench.host.set("/proc/80/cmdline", "not read again");
    assert_eq!(look(&mut bench, 80).as_deref(), Some("java -jar a b"));
    set(&bench, &stat(80, "y", 'S', 0, 1, 80));
    assert_eq!(look(&mut bench, 80).as_deref(), Some("not read again"), "exec");
    bench.host.set("/proc/80/cmdline", "another");
    set(&bench, &stat(80, "y", 'D', 0, 2, 80));
    assert_eq!(look(&mut bench, 80), None, "another process, and its memory may be locked");
    set(&bench, &stat(80, "y", 'S', 0, 2, 80));
    assert_eq!(look(&mut bench, 80).as_deref(), Some("another"));
}

#[test]
fn vanished_and_broken_processes() {
    let mut bench = bench(5, &[stat(1, "init", 'S', 0, 1, 10)]);
    bench.host.apply("//- /proc/7/cmdline\n//- error /proc/8/stat 3\n//- /proc/9/stat\n").unwrap();
    bench.pass().unwrap();
    bench.expect(&[("processes_count", 1.0)]);
    bench.host.set("/proc/10/stat", "10 (cut) S 1 2");
    assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })));
    bench.expect(&[("processes_count", 1.0)]);
    bench.host.remove("/proc/10");
    bench.host.apply("//- denied /proc/11/stat").unwrap();
    assert!(matches!(bench.pass(), Err(CollectError::Denied { needs: NEEDS, .. })));
}

#[test]
fn hidden_processes_are_said() {
    let mut bench = bench(5, &[stat(70, "agent", 'S', 0, 1, 10)]);
    let error = bench.pass().unwrap_err();
    assert!(matches!(&error, CollectError::Denied { path, .. } if path == "/proc/1"), "{error}");
    bench.expect(&[("processes_count", 1.0)]);
    let mut nothing = Bench::new("", Process::new(&Options { top_n: 1, ..Options::default() }, None));
    assert!(matches!(nothing.pass(), Err(CollectError::Absent { .. })));
}

#[test]
fn the_table_is_bounded() {
    let many: Vec<_> =
        (1..=MAX_PROC_ROWS as u32 + 5).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
    let mut bench = bench(2, &many);
    bench.pass().unwrap();
    let table = bench.processes.take().unwrap();
    assert_eq!((table.rows.len(), table.total), (MAX_PROC_ROWS, MAX_PROC_ROWS + 5));
    assert!(table.rows.iter().all(|row| row.pid > 5), "those with least memory are left out");
    assert!(table.rows[..ROWS_IN_ORDER].is_sorted_by_key(|row| Reverse(row.pid)));
}

fn following(patterns: &[&str], processes: &[String]) -> Bench {
    let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let bench = Bench::new("", Process::new(&Options { top_n: 0, patterns }, None));
    bench.host.set("/proc/uptime", "100.0 1");
    for line in processes {
        set(&bench, line);
    }
    bench
}

#[test]
fn whose_name_matches_is_followed() {
    let mut bench = following(
        &["^postgres", "ngin.$", "absent"],
        &[
            stat(1, "init", 'S', 0, 1, 10),
            stat(5, "postgres", 'S', 100, 2000, 30),
            stat(6, "postgres: wal", 'S', 300, 5000, 20),
            stat(7, "nginx", 'S', 50, 9000, 0),
        ],
    );
    bench.pass().unwrap();
    bench.expect(&[
        ("tracked_processes_count{^postgres}", 2.0),
        ("tracked_processes_threads_count{^postgres}", 4.0),
        ("tracked_processes_cpu_seconds_total{^postgres}", 4.0),
        ("tracked_processes_resident_memory_bytes{^postgres}", 50.0 * 4096.0),
        ("tracked_processes_oldest_seconds{^postgres}", 80.0),
        ("tracked_processes_count{ngin.$}", 1.0),
        ("tracked_processes_count{absent}", 0.0),
        ("process_cpu_seconds_total{5,postgres}", 1.0),
        ("process_resident_memory_bytes{7,nginx}", 0.0),
    ]);
    assert!(
        !bench.has("process_cpu_seconds_total{1,init}")
            && !bench.has("tracked_processes_oldest_seconds{absent}")
    );
    // One ends, one is another program now, one went on: what was used stays counted.
    bench.host.remove("/proc/6");
    set(&bench, &stat(7, "sh", 'S', 60, 9000, 1));
    set(&bench, &stat(5, "postgres", 'S', 150, 2000, 30));
    bench.pass().unwrap();
    bench.expect(&[
        ("tracked_processes_count{^postgres}", 1.0),
        ("tracked_processes_cpu_seconds_total{^postgres}", 4.5),
        ("tracked_processes_count{ngin.$}", 0.0),
        ("tracked_processes_cpu_seconds_total{ngin.$}", 0.5),
    ]);
}

#[test]
fn of_many_that_match_the_largest_have_series() {
    let processes: Vec<_> = (1..=200).map(|pid| stat(pid, "php-fpm", 'S', 1, 1, i64::from(pid))).collect();
    let mut bench = following(&["php"], &processes);
    bench.pass().unwrap();
    bench.expect(&[("tracked_processes_count{php}", 200.0)]);
    let shown: Vec<_> = bench.readings.keys().filter(|name| name.starts_with("process_cpu_")).collect();
    assert_eq!(shown.len(), 64, "{shown:?}");
    assert!(
        bench.has("process_cpu_seconds_total{200,php-fpm}")
            && !bench.has("process_cpu_seconds_total{136,php-fpm}")
    );
}
