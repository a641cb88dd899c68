use std::fmt::Write as _;

use super::*;
use crate::service::recording::{self, write};

/// What is printed, what is said beside it, and the sentence if it fails.
fn replay(input: &[u8], json: bool) -> (String, Vec<String>, Option<String>) {
    let (mut out, mut said) = (Vec::new(), Vec::new());
    let options = Options { json, ends: false };
    let done = run(&Config::default(), input, options, &mut out, &mut |line| said.push(line.to_owned()));
    let problem = match done {
        Ok(_) => None,
        Err(Trouble::Input(problem)) => Some(problem),
        Err(Trouble::Output(error)) => panic!("{error}"),
    };
    (String::from_utf8(out).expect("text"), said, problem)
}

/// Parts of what is said, in order, and the failure, if it is one.
fn check(input: impl AsRef<[u8]>, said: &[&str], fails: Option<&str>) {
    let (out, all, problem) = replay(input.as_ref(), true);
    let mut left = all.iter();
    for part in said {
        assert!(left.any(|line| line.contains(part)), "{part} is not in {all:?}, {problem:?}, {out}");
    }
    let shown = String::from_utf8_lossy(&input.as_ref()[..input.as_ref().len().min(80)]).into_owned();
    assert_eq!(problem.is_some(), fails.is_some(), "{shown}: {problem:?}");
    assert!(problem.unwrap_or_default().contains(fails.unwrap_or_default()), "{shown}");
}

#[test]
fn what_is_no_input_is_told_in_a_sentence() {
    check("", &[], Some("empty"));
    check("\n \n\n", &[], Some("empty"));
    check("timestamp,value\n", &[], Some("nothing in it"));
    check([0x7f, b'E', b'L', b'F', 0, 0, 1], &[], Some("binary"));
    check([0x1f, 0x8b, 8, 0], &[], Some("gzip"));
    check([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3], &[], Some("unpacked"));
    check("hello\nworld\n", &[], Some("neither a recording"));
    check("timestamp,a,b\n2014-04-15 23:05:00,1,2\n", &[], Some("3 columns"));
    check("2014-04-15 23:05:00;1;;2\n", &[], Some("4 columns"));
    check("{\n", &["line 1: is no JSON object"], Some("nothing in it"));
    check("{}\n", &["line 1: has no time"], Some("nothing in it"));
    check(
        r#"{"recording":{"version":99,"agent":"","hostname":"","boot_id":"","utc_offset_secs":0,
        "witnesses":{"oom":[],"io_error":[]},"beside_journal":false,"at":{"mono_ns":1,"wall_ns":1}}}"#
            .replace('\n', ""),
        &[],
        Some("newer"),
    );
}

#[test]
fn rows_that_cannot_be_used_are_named() {
    const HEAD: &str = "timestamp,value\n";
    let row = |rows: &str| format!("{HEAD}{rows}");
    check(row("2014-04-01 00:00:00,1\n"), &["1 readings"], None);
    check("2014-04-01 00:00:00,1\n", &["1 readings"], None);
    check("\u{feff}timestamp,value\r\n1396310400,1\r\n", &["1 readings"], None);
    check("timestamp;value\n1;1\n2;1,5\n", &["line 3: \"2;1,5\" is no row", "1 readings"], None);
    check("time\tvalue\n2014-04-01 00:00:00\t1\n", &["1 readings"], None);
    check("[    1.000000] x: out of time, y\n[    2.000000] x, y\n", &["2 events"], None);
    check(
        row("1,NaN\n2,1e308\n3,inf\n4,\n"),
        &["line 2: \"NaN\" is no number; left out (3 times in all)", "1 readings"],
        None,
    );
    check(row("1,1\n2,1,1\n3,1\n"), &["line 3: \"2,1,1\" is no row", "2 readings"], None);
    check(row("1,1\nsoon,1\n-3,1\n"), &["(2 times in all)"], None);
    check(row("100,1\n110,2\n50,3\n60,4\n"), &["line 4: the time goes back by 1 min", "4 readings"], None);
    check(row("100,1\n100,2\n"), &["line 3: the same time", "2 readings"], None);
    check(row("100,1\n110,2\n4000000000,3\n"), &["line 4: the time jumps ahead", "3 readings"], None);
    check(row("1,\u{1}\u{202e}\n2,1\n"), &["line 2: \"??\" is no number"], None);
    check(
        format!("{HEAD}1,{}\n2,1\n", "9".repeat(5 << 20)),
        &["line 2: longer than 4 MiB", "1 readings"],
        None,
    );
    let mut bytes = row("1,1\n").into_bytes();
    bytes.extend(b"2,\xff\xfe\n3,1\n");
    check(bytes, &["line 3: is no text", "2 readings"], None);
}

#[test]
fn readings_of_many_series_are_taken_up_to_the_limit() {
    let line = |n: usize| {
        format!(
            "{{\"timestamp\":{},\"metric\":\"m\",\"labels\":{{\"n\":\"{n}\"}},\"value\":1}}\n",
            100 + n / 10_000
        )
    };
    let all: String = (0..10_000).map(line).collect();
    check(
        &all,
        &[
            "more than 4000 series: further ones are left out; collector.max_series raises the limit (6000 times in all)",
            "10000 readings",
        ],
        None,
    );
    let name = |n: usize| format!("{{\"t\":1,\"metric\":\"m{n}\",\"value\":1}}\n");
    let names: String = (0..1500).map(name).collect();
    check(&names, &["more than 1000 metrics that the agent does not know", "1000 readings"], None);
    check(
        "{\"t\":1,\"metric\":\"disk_used_percent\",\"labels\":{\"x\":\"y\"},\"value\":1}\n{\"t\":1,\"metric\":\"a\",\"value\":\"x\"}\n\
         {\"t\":-1,\"metric\":\"a\",\"value\":1}\n{\"t\":2,\"value\":1}\n{\"t\":2,\"metric\":\"a\",\"value\":2}\nnonsense\n",
        &[
            "line 1: disk_used_percent has no label x",
            "line 2: has no value",
            "line 3: has no time",
            "line 4: has no metric",
            "line 6: is no JSON",
            "1 readings",
        ],
        None,
    );
    check(
        "{\"t\":1,\"metric\":\"cpu_busy_seconds_total\",\"value\":1}\n{\"t\":1,\"metric\":\"cpu_usage_percent\",\"value\":100}\n",
        &["line 2: cpu_usage_percent is computed anew", "1 readings"],
        None,
    );
}

/// A CPU that is busy from the tenth minute on.
fn busy() -> String {
    (0..120).fold("timestamp,cpu_usage_percent\n".to_owned(), |mut rows, n| {
        let (minute, second) = (n / 6, n % 6 * 10);
        let value = if minute < 10 { 20 } else { 99 };
        let _ = writeln!(rows, "2026-11-22 10:{minute:02}:{second:02},{value}");
        rows
    })
}

#[test]
fn a_metric_of_the_agent_is_judged_as_such_with_the_time_of_its_row() {
    let (out, said, problem) = replay(busy().as_bytes(), true);
    assert_eq!(problem, None);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().expect("an alert")).expect("JSON");
    assert_eq!(
        ["timestamp", "severity", "metric", "analyzer"].map(|key| first[key].as_str().unwrap_or_default()),
        ["2026-11-22 10:10:20", "critical", "cpu_usage_percent", "threshold"],
        "{first}"
    );
    assert!(first["message"].as_str().is_some_and(|text| text.contains("99 %")), "{first}");
    assert!(said.iter().any(|line| line.contains("1 critical  cpu_usage_percent")), "{said:?}");
    assert_eq!(replay(busy().as_bytes(), true).0, out, "the same again");
    let (text, ..) = replay(busy().as_bytes(), false);
    assert!(
        text.contains("2026-11-22 10:10:20 critical  firing   cpu_usage_percent: CPU usage is 99 %"),
        "{text}"
    );
    assert!(text.contains("120 readings and 0 events: 1 alerts"), "{text}");
}

#[test]
fn packed_files_are_unpacked_and_torn_ones_told() {
    let packed = zstd::encode_all(busy().as_bytes(), 3).expect("packed");
    let (out, _, problem) = replay(&packed, true);
    assert_eq!((out, problem), (replay(busy().as_bytes(), true).0, None));
    let row = |n: usize| format!("{},{}\n", 1000 + n, n * 7919 % 1009);
    let long: String = (0..200_000).map(row).collect();
    let packed = zstd::encode_all(long.as_bytes(), 3).expect("packed");
    check(&packed, &["200000 readings"], None);
    check(&packed[..packed.len() / 2], &["the file is torn here"], None);
}

#[test]
fn a_log_goes_through_rules_and_engine() {
    let dmesg = include_str!("../../watch/testdata/6.1.dmesg");
    let (out, _, problem) = replay(dmesg.as_bytes(), true);
    assert_eq!(problem, None);
    let told: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(told.iter().any(|alert| alert["rule"] == "oom_kill" && alert["analyzer"] == "event"), "{out}");
    assert!(told.iter().any(|alert| alert["rule"] == "hung_task"), "{out}");
    let line = "Nov 22 13:45:29 h kernel: EXT4-fs error (device sda1): x\n";
    let (out, ..) = replay(line.as_bytes(), true);
    assert!(out.contains("\"timestamp\":\"Nov 22 13:45:29\"") && out.contains("filesystem_error"), "{out}");
}

/// A recording with what a source of every kind gave.
fn recorded() -> String {
    use crate::event::{Event, Oom, Source, Task, What};
    use crate::sample::Samples;
    use crate::time::{Now, SECOND};
    let at = |secs: u64| Now { mono_ns: 0, wall_ns: 1_795_000_000_000_000_000 }.plus_secs(secs);
    assert_eq!(at(1).mono_ns, SECOND);
    let mut text = String::new();
    let header = recording::Header {
        version: recording::VERSION,
        agent: "0".into(),
        hostname: "web1".into(),
        boot_id: "b".into(),
        utc_offset_secs: 3600,
        witnesses: crate::engine::incident::Witnesses { oom: vec![Source::Ebpf], io_error: Vec::new() },
        beside_journal: false,
        at: at(100),
    };
    write::header(&header, &mut text);
    let mut samples = Samples::new(10);
    for n in 0..20 {
        samples.begin("memory", at(110 + 10 * n), None);
        samples.put(&crate::collect::memory::USED_PERCENT, &[], 99.5);
        samples.put(&crate::collect::agent::LOAD, &[], 50.0);
        write::pass(&samples.finish(), &mut text);
    }
    let victim = Task { pid: Some(7), comm: Some("java".into()), ..Task::default() };
    let what = What::Oom(Box::new(Oom { victim, count: 1, ..Oom::default() }));
    write::event(at(400), &Event { at: at(400), source: Source::Ebpf, historic: false, what }, &mut text);
    write::log(at(401), b"3,7000,401000000,-;EXT4-fs error (device sda1): x", &mut text);
    write::end("the time is up", &mut text);
    text
}

#[test]
fn a_recording_is_told_as_on_its_host() {
    let text = recorded();
    let (out, said, problem) = replay(text.as_bytes(), true);
    assert_eq!(problem, None);
    for part in
        ["\"hostname\":\"web1\"", "+01:00", "oom_kill", "java", "filesystem_error", "memory_used_percent"]
    {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    assert!(said.iter().all(|line| !line.starts_with("line ")), "{said:?}");
    assert!(said[0].starts_with("40 readings and 2 events"), "{said:?}");
    assert!(!out.contains("agent_cpu_percent"), "the recorder is no agent: {out}");
    // Without its last line, and without the end of the last but one.
    let whole = text.trim_end().rsplit_once('\n').expect("lines").0;
    check(whole, &["the recording was not ended"], None);
    check(&whole[..whole.len() - 5], &["the last line is torn"], None);
}

/// 36 minutes of a machine with two processors on which several builds run at once, package installs among them: the passes
/// of its main collectors, without log, with names of processes that say nothing of anybody.
const BUILDS: &[u8] = include_bytes!("../../../tests/replay/builds.zst");
/// What its replay tells; `UPDATE_REPLAY=1` writes it anew.
const TOLD: &str = "tests/replay/builds.told";
/// The same of the minutes after it.
const ECHO_TOLD: &str = "tests/replay/echo.told";

#[test]
fn a_machine_at_work_is_told_twice_the_same_and_no_page() {
    told_twice_the_same_and_no_page(BUILDS, TOLD);
}

/// The recording, and ten minutes in which all builds are over: nobody waits, and the load average fades.
fn builds_and_echo() -> Vec<u8> {
    let text = zstd::decode_all(BUILDS).expect("unpacked");
    let mut text = String::from_utf8(text).expect("text");
    let passes = ["cpu", "load", "pressure"].map(|pass| -> serde_json::Value {
        let line = text.lines().rfind(|line| line.contains(&format!("\"pass\":\"{pass}\""))).expect(pass);
        serde_json::from_str(line).expect(line)
    });
    // Its end is the last line.
    text.truncate(text.trim_end().rfind('\n').expect("lines") + 1);
    for secs in (10..600_u32).step_by(10) {
        for pass in &passes {
            let share = if pass["pass"] == "load" { (-f64::from(secs) / 60.0).exp() } else { 1.0 };
            let mut pass = pass.clone();
            for clock in pass["at"].as_array_mut().expect("clocks") {
                *clock = (clock.as_u64().expect("ns") + u64::from(secs) * 1_000_000_000).into();
            }
            for row in pass["values"].as_array_mut().expect("values") {
                row[1] = (row[1].as_f64().expect("a number") * share).into();
            }
            let _ = writeln!(text, "{pass}");
        }
    }
    write::end("the time is up", &mut text);
    text.into_bytes()
}

#[test]
fn the_echo_of_work_is_no_page() {
    told_twice_the_same_and_no_page(&builds_and_echo(), ECHO_TOLD);
}

fn told_twice_the_same_and_no_page(input: &[u8], golden: &str) {
    let ((out, said, problem), again) = (replay(input, true), replay(input, true));
    assert_eq!(problem, None);
    assert_eq!((&out, &said), (&again.0, &again.1), "not the same twice");
    let all = format!("{out}{}\n", said.join("\n"));
    if std::env::var_os("UPDATE_REPLAY").is_some() {
        std::fs::write(golden, &all).expect("written");
    }
    assert_eq!(all, std::fs::read_to_string(golden).expect(golden));
    for line in out.lines() {
        let alert: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(alert["severity"], "info", "{line}");
        let must = ["timestamp", "severity", "metric", "analyzer", "message"];
        assert!(must.iter().all(|key| alert[*key].is_string()), "{line}");
    }
}

#[test]
fn the_same_machine_with_limits_of_the_user_is_told_as_they_are_written() {
    let (mut out, mut said) = (Vec::new(), Vec::new());
    let mut config = Config::default();
    config.thresholds.cpu_percent.is_builtin = false;
    let options = Options { json: true, ends: false };
    assert!(run(&config, BUILDS, options, &mut out, &mut |line| said.push(line.to_owned())).is_ok());
    let out = String::from_utf8(out).expect("text");
    assert!(out.contains("\"severity\":\"critical\""), "{out}");
}
