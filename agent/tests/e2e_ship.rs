//! The log shipper against a collector that goes away, refuses and hangs, while real files are rotated under it:
//! every line arrives; twice only after a kill, and only what was taken within the second before it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests write files, run programs, take the time"
)]

mod e2e;
mod lab;
mod ship;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::agent::{Home, words};
use e2e::confine::Confine;
use lab::wait_for;
use ship::{Bench, Collector, Writer};
use sysops_agent::host::clock;
use sysops_agent::host::tail::Mark;
use sysops_agent::ship::files::MAX_FILES;
use sysops_agent::ship::keep::Keep;
use sysops_agent::ship::places::encode;

/// Longest wait for what is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_comes_is_sent_by_number_and_by_age() {
    let bench =
        Bench::new(&["app.log"], |section| (section.buffer_count, section.flush_interval_secs) = (5, 2));
    bench.write("app.log", "of before\n");
    let bench = bench.started();
    let begin = Instant::now();
    bench.write("app.log", "a\nb\nc\nd\ne\n");
    bench.await_lines(&["a", "b", "c", "d", "e"]);
    assert!(begin.elapsed() < Duration::from_secs(2), "five lines do not wait");
    let begin = Instant::now();
    bench.write("app.log", "f\nnot complete");
    bench.await_lines(&["a", "b", "c", "d", "e", "f"]);
    assert!(begin.elapsed() > Duration::from_millis(1500), "one line waits: {:?}", begin.elapsed());
    bench.write("app.log", " until now\n");
    bench.await_lines(&["a", "b", "c", "d", "e", "f", "not complete until now"]);
    for body in bench.collector.bodies() {
        assert_eq!(body["agent_id"], "id-7");
        assert_eq!(body.as_object().expect("an object").len(), 2, "{body}");
    }
    bench.stop();
}

#[test]
fn files_come_and_go_whatever_they_are_called() {
    let mut bench = Bench::new(&["*/app*.log*", "one"], |_| ());
    bench.folder("x");
    bench.write("x/app.log", "of before\n");
    bench = bench.started();
    bench.write("one", "1\n");
    bench.await_lines(&["1"]);
    // What appears later is read from its start, also in a new folder.
    bench.folder("y\n\u{1b}[2J\"%");
    let name = std::ffi::OsStr::from_bytes(b"y\n\x1b[2J\"%/app \xff\n.log");
    fs::write(bench.path(name), "2\n").expect("written");
    bench.await_lines(&["1", "2"]);
    // Packed, rotated, hidden and linked ones are no files of their own.
    bench.write("x/app.log.1", "old\n");
    bench.write("x/app.log.2.gz", "packed\n");
    fs::hard_link(bench.path("x/app.log"), bench.path("x/app-again.log")).expect("linked");
    bench.write("x/.app.log", "hidden\n");
    bench.folder("x/app.log.d");
    bench.write("x/app.log", "3\n");
    bench.await_lines(&["1", "2", "3"]);
    // Gone and back: as another file, and as the same.
    fs::remove_file(bench.path("x/app-again.log")).expect("there");
    fs::remove_file(bench.path("x/app.log")).expect("there");
    bench.write("x/app.log", "4\n");
    bench.await_lines(&["1", "2", "3", "4"]);
    fs::rename(bench.path("one"), bench.path("else")).expect("renamed");
    std::thread::sleep(Duration::from_millis(300));
    fs::rename(bench.path("else"), bench.path("one")).expect("renamed");
    bench.write("one", "5\n");
    bench.await_lines(&["1", "2", "3", "4", "5"]);
    assert_eq!(bench.view().lost_bytes, 0);
    bench.stop();
}

#[test]
fn long_lines_are_split_and_others_made_text() {
    let bench = Bench::new(&["a"], |section| section.from_start = true);
    let long = "ü".repeat(300_000);
    fs::write(bench.path("a"), [b"caf\xe9\n", long.as_bytes(), b"\nend\n"].concat()).expect("written");
    let bench = bench.started();
    bench.await_view("all", |view| view.lines > 0 && view.unread_bytes == 0 && view.pending == 0);
    let lines = bench.collector.lines();
    assert_eq!((lines[0].as_str(), lines.last().map(String::as_str)), ("caf\u{fffd}", Some("end")));
    assert_eq!(lines[1..lines.len() - 1].concat(), long);
    assert!(lines.iter().all(|line| line.len() <= 64 << 10));
    let view = bench.view();
    assert_eq!((view.not_utf8, view.split), (1, lines.len() as u64 - 3));
    bench.stop();
}

#[test]
fn too_many_files_are_left_out_and_said() {
    let bench = Bench::new(&["*.log"], |section| section.from_start = true);
    (0..MAX_FILES + 9).for_each(|n| bench.write(&format!("{n}.log"), "x\n"));
    let bench = bench.started();
    bench.await_view("all", |view| view.lines == MAX_FILES as u64);
    assert_eq!((bench.view().files, bench.view().left_out), (MAX_FILES as u64, 9));
    bench.stop();
}

#[test]
fn a_server_that_is_away_or_refuses_costs_nothing() {
    let bench = Bench::new(&["log"], |section| section.from_start = true).started();
    let lines: Vec<String> = (0..400).map(|n| format!("line {n}")).collect();
    let wanted: Vec<&str> = lines.iter().map(String::as_str).collect();
    bench.collector.answer(503);
    bench.write("log", &format!("{}\n", lines[..200].join("\n")));
    bench.await_view("failing", |view| view.failing >= 2 && !view.up);
    // Rotated away and deleted meanwhile, twice: the lines are still there.
    for part in [&lines[200..300], &lines[300..]] {
        let rotations = bench.view().rotations;
        fs::rename(bench.path("log"), bench.path("log.1")).expect("renamed");
        bench.write("log", &format!("{}\n", part.join("\n")));
        bench.await_view("the rotation is seen", |view| view.rotations > rotations);
        fs::remove_file(bench.path("log.1")).expect("there");
    }
    assert_eq!(bench.collector.lines(), Vec::<String>::new());
    assert!(bench.view().unread_bytes > 1000, "{:?}", bench.view());
    bench.collector.answer(413);
    bench.await_view("refused", |view| view.failing >= 3);
    bench.collector.take_at_most(7);
    bench.await_lines(&wanted);
    assert_eq!((bench.view().lost_bytes, bench.view().refused), (0, 0));
    bench.stop();
}

#[test]
fn what_nobody_can_read_any_more_is_counted() {
    let mut bench = Bench::new(&["log"], |section| section.from_start = true);
    bench.write("log", "1\n2\n");
    bench = bench.started();
    bench.await_lines(&["1", "2"]);
    bench.collector.answer(500);
    bench.write("log", "3\n4\n");
    bench.await_view("failing", |view| view.failing >= 1);
    bench.stop_in_place();
    fs::remove_file(bench.path("log")).expect("there");
    bench.write("log", "5\n");
    bench.collector.answer(200);
    bench = bench.started();
    bench.await_lines(&["1", "2", "5"]);
    // As of the last look before the end.
    assert!(bench.view().lost_bytes >= 2, "{:?}", bench.view());
    bench.stop();
}

#[test]
fn places_are_kept_over_restarts_and_damage_costs_one_file() {
    let mut bench = Bench::new(&["a", "b*"], |section| section.from_start = true);
    bench.write("a", "a1\n");
    bench.write("b", "b1\n");
    bench = bench.started();
    bench.await_sorted(&["a1", "b1"]);
    bench.stop_in_place();
    let places = bench.data().join("ship-places");
    let content = fs::read(&places).expect("kept");
    // Two rotations, a file that appears, and one without a file at its path while nobody looks.
    bench.write("a", "a2\n");
    fs::rename(bench.path("a"), bench.path("a.2")).expect("renamed");
    std::thread::sleep(Duration::from_millis(30));
    bench.write("a.1", "a3\n");
    bench.write("a", "a4\n");
    bench.write("b", "b2\n");
    fs::rename(bench.path("b"), bench.path("b.1")).expect("renamed");
    bench.write("b-new", "n1\n");
    bench = bench.started();
    bench.await_sorted(&["a1", "a2", "a3", "a4", "b1", "b2", "n1"]);
    let all = bench.collector.lines();
    let of_a: Vec<_> = all.iter().filter(|line| line.starts_with('a')).collect();
    assert_eq!(of_a, ["a1", "a2", "a3", "a4"]);
    bench.stop_in_place();
    // Torn anywhere: it starts, and what is whole is used.
    for cut in [0, 1, content.len() / 2, content.len() - 1] {
        fs::write(&places, &content[..cut]).expect("written");
        bench = bench.started();
        bench.await_view("it looks", |view| view.files >= 2);
        bench.stop_in_place();
    }
}

#[test]
fn places_of_files_that_are_gone_take_nobodys_place() {
    let bench = Bench::new(&["*.log"], |_| ());
    let mark = "1 2 0000000000000001/2";
    let gone =
        (0..300).map(|n| (bench.path(format!("gone-{n:03}x.log")), (Mark::parse(mark).expect("one"), None)));
    let gone: Vec<_> = gone.collect();
    for n in 0..20 {
        bench.write(&format!("there-{n:02}x.log"), "of before\n");
    }
    // After the files were made: they are no news.
    std::thread::sleep(Duration::from_millis(30));
    fs::write(bench.data().join("ship-places"), encode(clock::now().wall_ns, &gone)).expect("written");
    let bench = bench.started();
    bench.await_view("it follows those that are there", |view| (view.files, view.left_out) == (20, 0));
    for n in 0..20 {
        bench.write(&format!("there-{n:02}x.log"), &format!("{n:02}\n"));
    }
    let lines: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    bench.await_sorted(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    // One of them comes back as another file.
    bench.write("gone-007x.log", "back\n");
    let mut lines = lines;
    lines.push("back".into());
    bench.await_sorted(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    bench.stop();
}

#[test]
#[ignore = "live: mounts a small filesystem"]
fn a_full_disk_for_the_places_is_said_and_passes() {
    if !lab::ready() {
        return;
    }
    let _alone = lab::alone();
    lab::mounts::apart(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let small = lab::mounts::Small::mount(dir.path(), c"size=64k").expect("mounted");
        let (mut keep, none) = Keep::open(dir.path());
        assert_eq!(none, None);
        let mark = Mark::parse("7 9 00000000000000ff/12").expect("a mark");
        let places = |n: usize| vec![(PathBuf::from(format!("/log{n}")), (mark, None))];
        let now = clock::now;
        keep.reached(places(1));
        keep.write(now());
        assert_eq!(keep.trouble, None);
        fs::write(dir.path().join("fill"), vec![0; 1 << 20]).expect_err("no room");
        keep.reached(places(2));
        keep.write(now());
        assert!(keep.trouble.as_ref().is_some_and(|why| why.contains("free space")), "{:?}", keep.trouble);
        // What was there is still there, and it is tried again.
        let (_, kept) = Keep::open(dir.path());
        assert_eq!(kept.expect("kept").files[0].0, PathBuf::from("/log1"));
        assert!(keep.due_ns().is_some());
        fs::remove_file(dir.path().join("fill")).expect("there");
        keep.write(now());
        assert_eq!((keep.trouble.clone(), keep.due_ns()), (None, None));
        drop(small);
        assert!(encode(0, &places(3)).len() < 200);
    });
}

/// Real logrotate in every way that keeps the lines, while four writers number theirs and the server comes and goes.
/// `copytruncate` has a race of its own (lines between its copy and its cut are in neither): there the writer holds
/// still while logrotate runs, so that what a follower can see is all there is. It packs only with `delaycompress`,
/// else the copy is gone before anybody can see it.
#[test]
fn logrotate_doing_its_worst() {
    if std::process::Command::new("logrotate").arg("--version").output().is_err() {
        return lab::skip("logrotate is not installed");
    }
    let bench = Bench::new(&["create.log", "nocreate.log", "copy.log", "glob/*"], |_| ());
    bench.folder("glob");
    let names = ["create.log", "nocreate.log", "copy.log", "glob/copy"];
    for name in names {
        bench.write(name, "");
    }
    bench.write(
        "rotate.conf",
        &[
            ("create.log", "rotate 3\ncreate 0644 root root\ncompress"),
            ("nocreate.log", "rotate 100\nnocreate\ncompress\ndelaycompress"),
            ("copy.log", "rotate 3\ncopytruncate\ncompress\ndelaycompress"),
            ("glob/copy", "rotate 3\ncopytruncate\nextension .log"),
        ]
        .map(|(name, how)| format!("{} {{\n{how}\nmissingok\n}}\n", bench.path(name).display()))
        .concat(),
    );
    let bench = bench.started();
    bench.await_view("all", |view| view.files == 4);
    let writers = names.map(|name| Writer::start(bench.path(name), name.contains("copy")));
    let mut rotations = 0;
    for round in 0..24 {
        // 503 for ten rounds, then it hangs for one.
        match round {
            4 => bench.collector.answer(503),
            14 => bench.collector.hang(),
            15 => bench.collector.answer(200),
            _ => {}
        }
        for writer in &writers {
            writer.await_more(5);
        }
        let still: Vec<_> = writers.iter().map(Writer::hold_still).collect();
        let args =
            ["--force", "--state", &bench.text("state"), &bench.text("rotate.conf")].map(str::to_owned);
        let done = std::process::Command::new("logrotate").args(args).output().expect("logrotate runs");
        assert!(done.status.success(), "{}", words(&done));
        drop(still);
        for writer in &writers {
            writer.await_more(1);
        }
        rotations += names.len() as u64;
        // The next one comes when this one was seen: two within one look, which is a tenth of a second, are possible
        // to follow only while the files keep names that tell.
        bench.await_view("the rotations are seen", |view| view.rotations >= rotations);
    }
    let written: BTreeMap<String, u64> = writers.into_iter().map(Writer::stop).collect();
    let all: u64 = written.values().sum();
    let came = wait_for(PATIENCE, || (bench.view().lines >= all).then_some(()));
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for line in bench.collector.lines() {
        let (name, number) = ship::numbered(&line);
        let expect = next.entry(name).or_default();
        assert_eq!(number, *expect, "{line}: each once, in order");
        *expect += 1;
    }
    assert_eq!((&next, came), (&written, Some(())), "{:#?}", bench.view());
    println!("{all} lines over {rotations} rotations: each once; {} bodies failed", bench.view().failures);
    assert_eq!(bench.view().lost_bytes, 0);
    bench.stop();
}

/// The whole agent, killed at random moments while its log is written and rotated.
#[test]
fn killed_at_random_moments() {
    let collector = Collector::start();
    let home = Home::new(
        "http://127.0.0.1:9/",
        &format!(
            "[ebpf]\nenabled = \"off\"\n[log_analyzer]\nenabled = false\n[inventory]\nenabled = false\n\
             [push]\nlog_url = \"{}\"\nagent_id = \"id-7\"\n",
            collector.url()
        ),
    );
    let log = home.file("app.log");
    let config = fs::read_to_string(home.config()).expect("readable");
    let section = format!("\n[log_shipper]\nenabled = true\nfrom_start = true\nfiles = [{log:?}]\n");
    fs::write(home.config(), config + &section).expect("written");
    let writer = Writer::start(log.clone(), false);
    let (mut killed, mut dice) =
        (Vec::new(), sysops_agent::notify::backoff::Dice(u64::from(std::process::id())));
    let begin = Instant::now();
    for round in 0..10 {
        let agent = home.launch(&Confine::No, |_| {});
        std::thread::sleep(Duration::from_millis(300 + (dice.roll() * 3000.0) as u64));
        killed.push(Instant::now());
        agent.kill();
        for _ in 0..round % 3 {
            writer.await_more(20);
            let to = format!("app.log-20261122-{}", begin.elapsed().as_nanos());
            fs::rename(&log, home.file(&to)).expect("renamed");
            writer.await_more(20);
        }
    }
    let mut agent = home.launch(&Confine::No, |_| {});
    agent.await_ready();
    let (_, written) = writer.stop();
    let missing = || {
        let told = collector.numbers();
        (0..written).filter(|n| !told.contains_key(n)).take(10).collect::<Vec<_>>()
    };
    let all = wait_for(PATIENCE, || missing().is_empty().then_some(()));
    assert!(all.is_some(), "lost: {:?} of {written}", missing());
    // What was taken within a second before a kill may come again; a busy machine takes its time to write the place.
    let window = Duration::from_secs(4);
    let (mut again, mut most) = (0, Duration::ZERO);
    for (number, times) in collector.numbers() {
        for time in &times[..times.len() - 1] {
            let kill = killed.iter().find(|kill| *kill >= time).expect("a kill behind it");
            again += 1;
            most = most.max(*kill - *time);
            assert!(*kill - *time < window, "{number} came again, {:?} before the kill", *kill - *time);
        }
    }
    println!(
        "{} kills, {written} lines, each came; {again} again, taken at most {most:?} before a kill",
        killed.len()
    );
    let status = home.command(&Confine::No, &["status"]).output().expect("status runs");
    let status = words(&status);
    assert!(status.contains("log shipper  1 files to 127.0.0.1:"), "{status}");
    assert_eq!(home.doctor(&Confine::No).get("log_shipper", "state"), "on");
    agent.stop();
}
