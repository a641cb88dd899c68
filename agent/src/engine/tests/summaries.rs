//! What is told at once, what a summary tells, and how much of it.

use super::held::hold;
use super::*;
use crate::engine::speak::{MAX_PLACES, MAX_WHOLE};

/// A kill of `comm` in `group`; `None`: of the machine.
fn kill(pid: u32, group: Option<&str>, comm: &str) -> What {
    let What::Oom(mut oom) = oom(pid) else { unreachable!() };
    oom.victim.comm = Some(comm.into());
    oom.oom_memcg = group.map(str::to_owned);
    oom.victim.cgroup = Some(group.unwrap_or("/somewhere").into());
    oom.constraint = Some(if group.is_some() { Constraint::Memcg } else { Constraint::None });
    What::Oom(oom)
}

fn kill_in(r: &mut Run, pid: u32, group: Option<&str>, comm: &str) {
    r.event(Source::Ebpf, kill(pid, group, comm)).event(Source::Kmsg, kill(pid, group, comm)).wait_ms(5);
}

#[test]
fn a_crash_loop_does_not_hide_the_kills_of_others() {
    let mut r = run(30);
    for pid in 0..20 {
        kill_in(&mut r, pid, Some("/loop"), "perl");
    }
    kill_in(&mut r, 100, Some("/b"), "java");
    kill_in(&mut r, 101, None, "mysqld");
    let pids: Vec<_> = r.alerts().iter().map(|a| a.context["victim_pid"].clone()).collect();
    assert_eq!(pids, [0, 100, 101], "each place is told at once, and in full");
    r.wait_ms(60_000);
    assert_eq!(r.told()[3], "firing critical 19 more OOM kills within 30 s: perl ×19");
    assert_eq!(r.told().len(), 4);
}

#[test]
fn beyond_the_limit_further_places_share_a_group() {
    let mut r = run(30);
    for pid in 0..300 {
        kill_in(&mut r, pid, Some(&format!("/c{pid}")), "perl");
    }
    r.wait_ms(60_000);
    let told = r.told();
    assert_eq!(told.len(), MAX_PLACES + 2, "{told:#?}");
    assert_eq!(
        told[MAX_PLACES + 1],
        "firing critical 295 more OOM kills within 30 s: perl ×256, and 39 more"
    );
    // A place that is quiet again makes room for another.
    kill_in(&mut r, 1000, Some("/new"), "perl");
    assert_eq!(r.told().len(), MAX_PLACES + 3);
}

#[test]
fn a_summary_carries_its_alerts() {
    let mut r = run(30);
    for pid in 0..4 {
        kill_in(&mut r, pid, Some("/a"), if pid == 3 { "java" } else { "perl" });
    }
    r.wait_ms(60_000);
    let alert = r.alerts()[1];
    assert_eq!(alert.message, "3 more OOM kills within 30 s: perl ×2, java");
    let whole = alert.context["alerts"].as_array().unwrap();
    let pids: Vec<_> = whole.iter().map(|a| a["context"]["victim_pid"].clone()).collect();
    assert_eq!(pids, [1, 2, 3]);
    assert!(whole[2]["message"].as_str().unwrap().contains("cgroup /a reached its limit of 4.0 MiB"));
    assert_eq!((&whole[0]["labels"]["process"], &whole[0]["status"]), (&"perl".into(), &"firing".into()));
    assert_eq!(whole[0]["id"], alert.context["members"][0]);
    assert!(!alert.context.contains_key("alerts_left_out"));
    let labels: Vec<_> = alert.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("env", "prod"), ("scope", "memcg")], "what they have in common");
}

#[test]
fn a_summary_fits_into_a_record() {
    for length in [1, 300, 3000, 100_000] {
        let mut r = run(30);
        let path = format!("/{}", "\u{1}x".repeat(length / 2));
        for pid in 0..400 {
            kill_in(&mut r, u32::MAX - pid, Some(&path), "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"");
        }
        r.wait_ms(60_000);
        let alert = *r.alerts().last().unwrap();
        assert_eq!(alert.context["grouped"], 399);
        let bytes = serde_json::to_vec(alert).unwrap().len();
        assert!(bytes < 60 << 10, "{length}: {bytes}");
        let len = |name: &str| alert.context[name].as_array().unwrap().len();
        assert_eq!(len("members"), 256);
        assert!(len("incidents") > 200 && len("alerts") <= MAX_WHOLE, "{}", len("incidents"));
        assert_eq!(len("alerts") > 0, length < 3000);
        assert_eq!(alert.context["alerts_left_out"], 399 - len("alerts"));
    }
}

fn frozen(pid: u32, mount: &str) -> What {
    let What::Hang(mut hang) = hang(pid, mount) else { unreachable!() };
    hang.place.mount = Some(mount.into());
    What::Hang(hang)
}

#[test]
fn hangs_of_another_mount_are_told_at_once() {
    let mut r = run(30);
    r.event(Source::Watch, frozen(7, "/a")).event(Source::Watch, frozen(8, "/b")).wait_ms(1000);
    assert_eq!(r.told().len(), 2, "{:#?}", r.told());
}

#[test]
fn a_held_hang_that_is_over_is_told_once_as_over() {
    let mut r = run(30);
    r.event(Source::Watch, hang(7, "f")).event(Source::Watch, hang(8, "g"));
    r.wait_ms(6000).event(Source::Watch, released(8)).wait_ms(60_000);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1], "resolved warn Hang cleared after 36 s: dd (pid 8) goes on, having waited in g");
    let alert = r.alerts()[1];
    assert!(alert.is_only_message() && alert.ended_at.is_some());
    assert_eq!((alert.duration_secs, &alert.context["tasks_count"]), (36, &1.into()));
    assert_eq!(alert.context["wait_channel"], "g");
}

#[test]
fn held_hangs_that_are_all_over_are_one_end() {
    let mut r = run(30);
    r.event(Source::Watch, hang(7, "f"))
        .event(Source::Watch, hang(8, "g"))
        .event(Source::Watch, hang(9, "h"));
    r.wait_ms(6000).event(Source::Watch, released(8)).wait_ms(1000).event(Source::Watch, released(9));
    r.wait_ms(60_000);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(
        told[1],
        "resolved warn 2 more hangs within 30 s: dd (pid 8) cleared after 36 s, dd (pid 9) cleared after 37 s"
    );
    assert!(r.alerts()[1].is_only_message() && r.alerts()[1].ended_at.is_some());
}

#[test]
fn a_summary_of_what_lasts_is_closed_with_the_last_of_it() {
    let mut r = run(30);
    let all = |value: f64| ["/a", "/b", "/c", "/d"].map(|mount| (mount, value));
    for _ in 0..10 {
        r.disks(&all(85.0));
    }
    let summary = r.alerts().into_iter().find(|a| a.id.ends_with("-g")).cloned().expect("a summary");
    assert!(summary.context.contains_key("stands"), "{summary:#?}");
    r.disks(&[("/a", 10.0), ("/b", 10.0), ("/c", 10.0)]);
    hold(&mut r, 6, "/d", 85.0);
    let over = |r: &Run| -> Vec<String> {
        let alerts = r.alerts();
        alerts.iter().flat_map(|a| a.also_over().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    assert!(!over(&r).contains(&summary.id), "one of them still stands");
    hold(&mut r, 10, "/d", 10.0);
    let over = over(&r);
    assert_eq!(over.iter().filter(|id| **id == summary.id).count(), 1, "{:#?}", r.alerts());
}

#[test]
fn the_worst_of_a_summary_is_named_first() {
    let mut r = run(30);
    let names: Vec<String> = (0..40).map(|nth| format!("/{nth:02}")).collect();
    let mut rows: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 85.0)).collect();
    rows[35].1 = 95.0;
    rows[39].1 = 95.0;
    for _ in 0..10 {
        r.disks(&rows);
    }
    let told = r.told();
    let summary = told.iter().find(|line| line.contains("more disk alerts within")).expect("a summary");
    assert!(summary.starts_with("firing critical"), "{summary}");
    assert!(
        summary.contains(
            "within 30 s: Disk usage of /35 (95 %), Disk usage of /39 (95 %), Disk usage of /01 (85 %)"
        ),
        "{summary}"
    );
}

/// Two conditions that end within one window: their ends as told.
fn ends(join: bool) -> Vec<String> {
    let mut r = rules::with(|settings| {
        settings.manners.group_secs = 30;
        settings.manners.join_ends = join;
    });
    let mounts = ["/a", "/b", "/c", "/d"];
    for _ in 0..12 {
        r.disks(&mounts.map(|mount| (mount, 85.0)));
    }
    for _ in 0..8 {
        r.disks(&mounts.map(|mount| (mount, 10.0)));
    }
    r.told().into_iter().filter(|told| told.starts_with("resolved")).collect()
}

#[test]
fn ends_are_joined_unless_each_is_wanted() {
    let joined = ends(true);
    assert_eq!(joined.len(), 2, "{joined:#?}");
    assert!(joined[1].contains("3 disk alerts are over: "), "{joined:#?}");
    let single = ends(false);
    assert_eq!(single.len(), 4, "{single:#?}");
    assert!(single.iter().all(|told| told.contains("is back to 10 % after")), "{single:#?}");
}
