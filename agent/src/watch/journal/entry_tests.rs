//! Entries, most of them forged or broken.

use super::*;
use proptest::prelude::*;

const HEAD: &str = r#""__CURSOR":"s=1d;i=6;b=e7;m=8a;t=66;x=15","__MONOTONIC_TIMESTAMP":"5000001""#;

/// An entry of these fields; expects `who|text`.
fn check(fields: &str, expect: &str) {
    let line = format!("{{{HEAD},{fields}}}");
    let entry = Entry::parse(line.as_bytes());
    let is = match entry.map(|entry| entry.said) {
        Ok(Said::Killer { name, pid, text }) => format!("{name} {}|{text}", pid.unwrap_or(0)),
        Ok(Said::Kernel { time_us, text, device: [subsystem, device] }) => {
            let device = subsystem.into_iter().chain(device).collect::<Vec<_>>().join(",");
            format!("kernel {time_us}{device}|{text}")
        }
        Ok(Said::Systemd { text }) => format!("systemd|{text}"),
        Ok(Said::Kmsg { text }) => format!("kmsg|{text}"),
        Ok(Said::Program(line)) => {
            format!("{} in {}|{}", line.name.unwrap_or_default(), line.unit.unwrap_or_default(), line.text)
        }
        Ok(Said::Nothing) => "nothing".into(),
        Err(error) => error.to_string(),
    };
    assert_eq!(is, expect, "{fields}");
}

#[test]
fn who_speaks_is_told_by_trusted_fields_only() {
    for (fields, expect) in [
        (
            r#""_SYSTEMD_UNIT":"systemd-oomd.service","_PID":"7","MESSAGE":"Killed /a due to b""#,
            "systemd-oomd 7|Killed /a due to b",
        ),
        (r#""_SYSTEMD_UNIT":"earlyoom.service","MESSAGE":"sending""#, "earlyoom 0|sending"),
        (r#""_SYSTEMD_UNIT":"earlyoom@a.service","_COMM":"earlyoom","MESSAGE":"a""#, "earlyoom 0|a"),
        // What it starts writes into the same unit.
        (r#""_SYSTEMD_UNIT":"earlyoom.service","_COMM":"notify.sh","MESSAGE":"a""#, "nothing"),
        (r#""_SYSTEMD_UNIT":"earlyoom.service","_COMM":["earlyoom","x"],"MESSAGE":"a""#, "nothing"),
        (r#""_SYSTEMD_UNIT":"earlyoom-x.service","_COMM":"earlyoom","MESSAGE":"a""#, "nothing"),
        (r#""_SYSTEMD_UNIT":"earlyoom@.slice","_COMM":"earlyoom","MESSAGE":"a""#, "nothing"),
        (r#""_PID":"1","MESSAGE_ID":"d989611b15e44c9dbf31e3c81256e4ed","MESSAGE":"a""#, "systemd|a"),
        (r#""_PID":"2","MESSAGE_ID":"d989611b15e44c9dbf31e3c81256e4ed","MESSAGE":"a""#, "nothing"),
        (r#""PID":"1","MESSAGE_ID":"d989611b15e44c9dbf31e3c81256e4ed","MESSAGE":"a""#, "nothing"),
        (r#""_PID":"1","MESSAGE_ID":"d989611b15e44c9dbf31e3c81256e4ee","MESSAGE":"a""#, "nothing"),
        (r#""_SYSTEMD_UNIT":"earlyoom.service","_PID":"-1","MESSAGE":"a""#, "earlyoom 0|a"),
        (
            r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","_SOURCE_MONOTONIC_TIMESTAMP":"4","_KERNEL_SUBSYSTEM":"pci","_KERNEL_DEVICE":"+pci:1","MESSAGE":"x""#,
            "kernel 4pci,+pci:1|x",
        ),
        (r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"x""#, "kernel 5000001|x"),
        // What a process wrote into /dev/kmsg has another facility.
        (
            r#""_TRANSPORT":"kernel","SYSLOG_FACILITY":"3","MESSAGE":"Out of memory: Killed process 1""#,
            "kmsg|Out of memory: Killed process 1",
        ),
        (r#""_TRANSPORT":"kernel","MESSAGE":"x""#, "kmsg|x"),
        // What anybody may claim.
        (
            r#""SYSLOG_IDENTIFIER":"systemd-oomd","_COMM":"systemd-oomd","UNIT":"systemd-oomd.service","MESSAGE":"Killed /a due to b""#,
            "nothing",
        ),
        (
            r#""_SYSTEMD_USER_UNIT":"earlyoom.service","_SYSTEMD_UNIT":"user@1000.service","MESSAGE":"x""#,
            "nothing",
        ),
        (r#""TRANSPORT":"kernel","SYSLOG_FACILITY":"0","MESSAGE":"x""#, "nothing"),
        (r#""_TRANSPORT":"syslog","SYSLOG_FACILITY":"0","MESSAGE":"x""#, " in |x"),
        // A trusted field comes once.
        (r#""_SYSTEMD_UNIT":["earlyoom.service","x"],"MESSAGE":"x""#, "nothing"),
        (r#""_SYSTEMD_UNIT":"earlyoom.service\n","MESSAGE":"x""#, "nothing"),
        (r#""_SYSTEMD_UNIT":null,"MESSAGE":"x""#, "nothing"),
    ] {
        check(fields, expect);
    }
    let twice = r#""_SYSTEMD_UNIT":"x.service","_SYSTEMD_UNIT":"earlyoom.service","MESSAGE":"x""#;
    let error = Entry::parse(format!("{{{HEAD},{twice}}}").as_bytes()).unwrap_err();
    assert!(error.to_string().contains("duplicate field"), "{error}");
}

#[test]
fn messages_of_all_kinds() {
    let unit = |message: &str| format!(r#""_SYSTEMD_UNIT":"earlyoom.service","MESSAGE":{message}"#);
    check(&unit(r#""a\u001b[31mb\nc\u0000""#), "earlyoom 0|a\u{1b}[31mb\nc\0");
    check(&unit("[97,255,98]"), "earlyoom 0|a\u{fffd}b");
    check(&unit(r#"["two","messages"]"#), "nothing");
    check(&unit("[97,256]"), "nothing");
    check(&unit("null"), "nothing");
    check(&unit("7"), "nothing");
    check(&unit(r#"{"a":1}"#), "nothing");
}

#[test]
fn what_is_no_entry_is_an_error() {
    let check = |line: &[u8], expect: &str| {
        let error = Entry::parse(line).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    for line in [&b""[..], b"{", b"[]x", b"\xff", b"-- No entries --", b"{\"MESSAGE\":\"a\xff\"}"] {
        check(line, "no entry of the journal");
    }
    for line in [
        r"{}",
        r#"{"__CURSOR":"s=1"}"#,
        r#"{"__CURSOR":"s=1","__MONOTONIC_TIMESTAMP":"x"}"#,
        r#"{"__CURSOR":"s=1","__MONOTONIC_TIMESTAMP":5}"#,
        r#"{"__CURSOR":"@1","__MONOTONIC_TIMESTAMP":"5"}"#,
        r#"{"__CURSOR":"s=1 --file=/x","__MONOTONIC_TIMESTAMP":"5"}"#,
        r#"{"__CURSOR":["s=1"],"__MONOTONIC_TIMESTAMP":"5"}"#,
    ] {
        check(line.as_bytes(), "no place in the journal");
    }
    // Nesting ends at serde_json's limit.
    let deep = format!("{{{HEAD},\"MESSAGE\":{}", "[".repeat(30_000));
    check(deep.as_bytes(), "no entry of the journal");
}

#[test]
fn lines_longer_than_the_limit_are_passed_over() {
    let mut lines = Lines::default();
    let mut seen = Vec::new();
    let big = vec![b'x'; 1 << 20];
    for part in [&b"one\ntw"[..], b"o\n", &big, b"y\nthree\n\nfour"] {
        lines.take(part, &mut |line| seen.push(String::from_utf8_lossy(line).into_owned()));
    }
    assert_eq!(seen, ["one", "two", "three", ""]);
    assert_eq!((lines.too_long, lines.begun.len()), (1, 4));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\{|\\}|\\[|\\]|\"|,|:|__CURSOR|s=1|MESSAGE|_TRANSPORT|kernel|null|5|\\PC){0,40}") {
        let _ = Entry::parse(text.as_bytes());
        let _ = Entry::parse(format!("{{{HEAD},{text}}}").as_bytes());
    }

    #[test]
    fn however_the_bytes_arrive_the_lines_are_the_same(text in "[a\n]{0,60}", cut in 0usize..60) {
        let read = |parts: &[&[u8]]| {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for part in parts {
                lines.take(part, &mut |line| seen.push(line.to_vec()));
            }
            seen
        };
        let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
        let expect: Vec<Vec<u8>> = text.split('\n').map(Into::into).collect();
        prop_assert_eq!(read(&[head, tail]), &expect[..expect.len() - 1]);
    }
}
