//! Lines of every daemon that is known, and of none.

use super::*;

fn check(line: &str, program: &str, pid: Option<u32>, text: &str) {
    let parsed = Line::parse(line);
    assert_eq!((parsed.program, parsed.pid, parsed.text), (program, pid, text), "{line:?}");
}

#[test]
fn lines_of_all_daemons() {
    check("Nov 22 13:45:29 web-1 kernel: [  123.456789] eth0: x", "kernel", None, "[  123.456789] eth0: x");
    check("Nov  2 13:45:29 web-1 sshd[4711]: Failed password", "sshd", Some(4711), "Failed password");
    check("<13>Nov  2 13:45:29 web-1 sshd[4711]: Failed", "sshd", Some(4711), "Failed");
    check("2026-11-22T13:45:29.123456+00:00 web-1 kernel: a b", "kernel", None, "a b");
    check("2026-11-22T13:45:29Z web-1 cron[1]: x", "cron", Some(1), "x");
    check("2026-11-22 13:45:29 web-1 app: x", "app", None, "x");
    check("Nov 22 2026 13:45:29 web-1 app: x", "app", None, "x");
    check("Nov 22 13:45:29 kernel: no host", "kernel", None, "no host");
    check("Nov 22 13:45:29 web-1 no tag here", "", None, "no tag here");
    check("Nov 22 13:45:29 web-1 systemd-oomd[7]: Killed /a", "systemd-oomd", Some(7), "Killed /a");
    check(
        "<165>1 2026-11-22T13:45:29.003Z web-1 evntslog 812 ID47 [x@1 a=\"b\\\"]c\"][y] text here",
        "evntslog",
        Some(812),
        "text here",
    );
    check("1 2026-11-22T13:45:29Z web-1 kernel - - - \u{feff}oops", "kernel", None, "oops");
    check("<0>1 - - - - - -", "", None, "");
}

#[test]
fn what_is_no_syslog_line_is_text() {
    for line in [
        "",
        " ",
        "hello",
        "Nov",
        "Nov 33 99:99:99 x y: z",
        "1 x",
        "<>1 - -",
        "2026-13-01T00:00:00Z a b: c",
        "[12.5] x",
        "Now is the time: come",
    ] {
        check(line, "", None, line);
    }
    // A sequence number, some bytes of a head.
    check("1 2026-11-22T13:45:29Z a b c d [unended", "", None, "1 2026-11-22T13:45:29Z a b c d [unended");
}

#[test]
fn who_may_be_the_kernel() {
    let says = |line: &str| Line::parse(line).says_kernel();
    assert!(says("Nov 22 13:45:29 h kernel: x"));
    assert!(says("2026-11-22T13:45:29Z h kernel: x"));
    for other in [
        "Nov 22 13:45:29 h kernel[1]: x",
        "Nov 22 13:45:29 h app: kernel: x",
        "kernel: x",
        "Nov 22 13:45:29 h Kernel: x",
    ] {
        assert!(!says(other), "{other}");
    }
}

#[test]
fn the_kernels_own_time_is_read() {
    let check = |text: &str, expect: (Option<u64>, &str)| {
        let line = format!("Nov 22 13:45:29 h kernel: {text}");
        assert_eq!(Line::parse(&line).kernel_time(), expect, "{text}");
    };
    check("[  123.456789] eth0: x", (Some(123_456_789), "eth0: x"));
    check("[0.000001] x", (Some(1), "x"));
    check("[12.5] x", (None, "[12.5] x"));
    check("[Hardware Error]: x", (None, "[Hardware Error]: x"));
    check("[99999999999999999999.123456] x", (None, "[99999999999999999999.123456] x"));
    check("x", (None, "x"));
}

/// The moment of a line that is read at `now`.
fn when(line: &str, now: &str, zone: &TimeZone) -> Option<String> {
    let now: Timestamp = now.parse().expect("a time");
    let ns = Line::parse(line).stamp.wall_ns(now.as_nanosecond() as i64, zone)?;
    Some(Timestamp::from_nanosecond(i128::from(ns)).expect("a time").to_string())
}

#[test]
fn times_have_the_year_and_zone_that_fit() {
    let check = |line: &str, now: &str, zone: &TimeZone, expect: Option<&str>| {
        assert_eq!(when(&format!("{line} h a: x"), now, zone).as_deref(), expect, "{line} at {now}");
    };
    let utc = TimeZone::UTC;
    let seoul = TimeZone::fixed(jiff::tz::offset(9));
    check("Nov 22 13:45:29", "2026-11-22T13:45:30Z", &utc, Some("2026-11-22T13:45:29Z"));
    check("Nov 22 13:45:29", "2026-11-22T13:45:30Z", &seoul, Some("2026-11-22T04:45:29Z"));
    // New Year's Eve, read a second later; and a clock that is a little behind.
    check("Dec 31 23:59:59", "2027-01-01T00:00:01Z", &utc, Some("2026-12-31T23:59:59Z"));
    check("Jan  1 00:00:01", "2026-12-31T23:59:59Z", &utc, Some("2026-01-01T00:00:01Z"));
    check("Jan  1 08:59:59", "2026-12-31T23:59:58Z", &seoul, Some("2026-12-31T23:59:59Z"));
    check("Feb 29 12:00:00", "2027-03-01T00:00:00Z", &utc, Some("2024-02-29T12:00:00Z"));
    check("Feb 30 12:00:00", "2027-03-01T00:00:00Z", &utc, None);
    check("2026-11-22T13:45:29+09:00", "2026-11-22T13:45:30Z", &utc, Some("2026-11-22T04:45:29Z"));
    check("2026-11-22T13:45:29.5", "2026-11-22T13:45:30Z", &seoul, Some("2026-11-22T04:45:29.5Z"));
    check("Nov 22 13:45:29.250", "2026-11-22T13:45:30Z", &utc, Some("2026-11-22T13:45:29.25Z"));
    check("Nov 22 13:45:60", "2026-11-22T13:45:30Z", &utc, Some("2026-11-22T13:45:59Z"));
    check("hello", "2026-11-22T13:45:30Z", &utc, None);
}
