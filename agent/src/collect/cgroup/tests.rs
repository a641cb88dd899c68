//! What is read of a host with few groups, and with many.

use std::fmt::Write;

use super::choose::{ALWAYS, MAX_FULL, MAX_SHOWN};
use super::*;
use crate::collect::testing::Bench;
use crate::sample::MAX_GROUP_ROWS;

const V2: &str = "\
//- /sys/fs/cgroup/cgroup.controllers
memory
//- /sys/fs/cgroup/system.slice/memory.max
max
//- /sys/fs/cgroup/system.slice/memory.events
oom_kill 1
//- /sys/fs/cgroup/system.slice/web.service/memory.max
1048576
//- /sys/fs/cgroup/system.slice/web.service/memory.oom.group
1
//- /sys/fs/cgroup/nothing/cgroup.procs

";

fn pass(bench: &mut Bench) -> GroupTable {
    bench.pass().unwrap();
    bench.groups.take().unwrap()
}

#[test]
fn version_2() {
    let mut bench = Bench::new(V2, Cgroup::new());
    let table = pass(&mut bench);
    let rows: Vec<_> = table.rows.iter().map(|r| (&*r.path, r.memory.limit_kb, r.memory.oom_group)).collect();
    assert_eq!(rows, [("/system.slice", None, false), ("/system.slice/web.service", Some(1024), true)]);
    assert!(table.recursive);
    bench.expect(&[("memory_cgroups_count", 2.0), ("memory_cgroups_skipped_count", 0.0)]);
    bench.host.remove("/sys/fs/cgroup/system.slice/web.service");
    assert_eq!(pass(&mut bench).rows.len(), 1, "what is gone is gone");
}

#[test]
fn version_1_below_other_controllers() {
    let text = "//- /sys/fs/cgroup/cpu/docker/cpu.shares\n2\n\
            //- /sys/fs/cgroup/memory/memory.usage_in_bytes\n5\n\
            //- /sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes\n2048\n\
            //- /sys/fs/cgroup/memory/docker/x/memory.oom_control\noom_kill 3\n";
    let table = pass(&mut Bench::new(text, Cgroup::new()));
    assert_eq!(table.rows.len(), 1, "a group without figures has no row: {table:?}");
    assert_eq!((&*table.rows[0].path, table.rows[0].memory.events.oom_kill), ("/docker/x", Some(3)));
    assert!(!table.recursive);
}

#[test]
fn without_the_controller_it_is_absent() {
    for text in ["", "//- /sys/fs/cgroup/cgroup.controllers\ncpu\n"] {
        let mut bench = Bench::new(text, Cgroup::new());
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
    }
}

#[test]
fn the_table_is_bounded_and_says_so() {
    let text = "//- /sys/fs/cgroup/cgroup.controllers\nmemory\n".to_owned();
    let wide = (0..MAX_GROUP_ROWS).map(|n| format!("//- /sys/fs/cgroup/g{n}/memory.max\nmax\n"));
    let deep = (0..5).map(|n| format!("//- /sys/fs/cgroup/g{n}/deep/memory.max\nmax\n"));
    let text: String = std::iter::once(text).chain(wide).chain(deep).collect();
    let table = pass(&mut Bench::new(&text, Cgroup::new()));
    assert_eq!((table.rows.len(), table.skipped), (MAX_GROUP_ROWS, 5));
    assert!(table.rows.iter().all(|row| !row.path.ends_with("deep")));
}

/// Units `u0.service` and so on, the first with most memory.
fn units(count: u64) -> String {
    let mut text = "//- /sys/fs/cgroup/cgroup.controllers\nmemory\n".to_owned();
    for n in 0..count {
        let dir = dir(n);
        write!(text, "//- {dir}/memory.max\nmax\n//- {dir}/memory.current\n{}\n", 4096 * (10_000 - n))
            .unwrap();
        write!(text, "//- {dir}/cpu.stat\nusage_usec 5\n").unwrap();
    }
    text
}

fn dir(n: u64) -> String {
    format!("/sys/fs/cgroup/u{n}.service")
}

fn series(n: u64) -> String {
    format!("cgroup_memory_bytes{{/u{n}.service,unit,u{n}.service}}")
}

/// As many passes as it takes to read each group.
fn sweep(bench: &mut Bench) {
    for _ in 0..=walk::SWEEP_NS / (10 * SECOND) {
        bench.pass().unwrap();
    }
}

#[test]
fn a_small_group_at_its_limit_is_shown() {
    let mut bench = Bench::new(&units(200), Cgroup::new());
    bench.pass().unwrap();
    for (limit, shown) in [(65_536, true), (81_920, true), (409_600, false), (65_536, true)] {
        bench.host.set(&format!("{}/memory.current", dir(199)), "57344");
        bench.host.set(&format!("{}/memory.max", dir(199)), limit.to_string());
        sweep(&mut bench);
        assert_eq!(bench.has(&series(199)), shown, "{limit}");
        bench.expect(&[("cgroups_shown_count", 64.0), ("cgroups_left_out_count", 136.0)]);
    }
    // However many are at their limits, most places are for the largest.
    for n in 100..200 {
        bench.host.set(&format!("{}/memory.max", dir(n)), "4096");
    }
    sweep(&mut bench);
    bench.expect(&[(&series(0), 40_960_000.0)]);
    assert_eq!((100..200).filter(|n| bench.has(&series(*n))).count(), MAX_FULL);
}

#[test]
fn the_largest_are_shown_and_do_not_come_and_go() {
    let mut bench = Bench::new(&units(200), Cgroup::new());
    bench.pass().unwrap();
    bench.expect(&[("cgroups_shown_count", 64.0), ("cgroups_left_out_count", 136.0)]);
    assert!(bench.has(&series(63)) && !bench.has(&series(64)));
    // 64 grows: 63 is the 65th now, which is no reason to change.
    let set = |bench: &Bench, n: u64, memory: &str| {
        bench.host.set(&format!("{}/memory.current", dir(n)), memory);
    };
    set(&bench, 64, &format!("{}\n", 4096 * (10_000 - 62) + 1));
    sweep(&mut bench);
    assert!(bench.has(&series(63)) && !bench.has(&series(64)));
    // It falls far behind.
    set(&bench, 63, "4096\n");
    sweep(&mut bench);
    assert!(!bench.has(&series(63)) && bench.has(&series(64)));
    // One that has more than all others is shown, whoever was before.
    set(&bench, 150, "99999999\n");
    sweep(&mut bench);
    assert!(bench.has(&series(150)) && !bench.has(&series(64)));
    bench.expect(&[("cgroups_shown_count", 64.0)]);
}

#[test]
fn those_that_use_most_cpu_time_are_shown_and_do_not_flap() {
    let mut bench = Bench::new(&units(200), Cgroup::new());
    bench.pass().unwrap();
    let mut used = 0u64;
    let mut begun = 0;
    for turn in 0..60u64 {
        used += 5_000_000;
        // One keeps half a core busy; twice as many as have a sure place take turns with little.
        bench.host.set(&format!("{}/cpu.stat", dir(190)), format!("usage_usec {used}\n"));
        for n in 100..100 + 2 * ALWAYS as u64 {
            let busy = 200_000 * turn + 100_000 * ((n + turn) % 2);
            bench.host.set(&format!("{}/cpu.stat", dir(n)), format!("usage_usec {busy}\n"));
        }
        bench.pass().unwrap();
        if turn > 30 {
            assert!(bench.has(&series(190)) && bench.has(&series(0)));
            begun += bench.begun.len();
        }
    }
    assert_eq!(begun, 0, "series begin again");
    bench.expect(&[("cgroups_shown_count", MAX_SHOWN as f64)]);
}

mod many;
