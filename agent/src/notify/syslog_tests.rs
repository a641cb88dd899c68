use super::*;
use crate::notify::tests::gpu;

fn options(target: Target) -> Options {
    Options {
        facility: 3,
        tag: "sysops-agent".into(),
        target,
        zone: TimeZone::fixed(jiff::tz::offset(9)),
        pid: 42,
    }
}

fn local() -> Options {
    options(Target::Local("/dev/log".into()))
}

#[test]
fn the_traditional_form() {
    let check = |text: &str, expect: &str| assert_eq!(traditional(&gpu(), text, &local()), expect);
    check("hot", "<26>Feb 22 16:30:00 sysops-agent[42]: hot");
    check("a\nb\x1b[31m", "<26>Feb 22 16:30:00 sysops-agent[42]: a?b?[31m");
    let utc = Options { zone: TimeZone::UTC, facility: 16, tag: "a b\n".into(), ..local() };
    assert_eq!(traditional(&gpu(), "", &utc), "<130>Feb 22 07:30:00 ab[42]: ");
    let single_digit = Alert { timestamp: "2026-02-02T01:02:03Z".into(), ..gpu() };
    assert_eq!(traditional(&single_digit, "", &utc), "<130>Feb  2 01:02:03 ab[42]: ");
    let no_time = Alert { timestamp: "now".into(), ..gpu() };
    assert_eq!(traditional(&no_time, "", &utc), "<130>Jan  1 00:00:00 ab[42]: ");
}

#[test]
fn severities_have_their_levels() {
    for (severity, priority_) in
        [(Severity::Info, 30), (Severity::Warn, 28), (Severity::Critical, 26), (Severity::Emergency, 24)]
    {
        assert_eq!(priority(&Alert { severity, ..gpu() }, &local()), priority_);
    }
    let local7 = Options { facility: 23, ..local() };
    assert_eq!(priority(&gpu(), &local7), 186);
}

#[test]
fn the_form_of_rfc_5424() {
    let text = rfc5424(&gpu(), "hot", &local());
    assert_eq!(
        text,
        "<26>1 2026-02-22T07:30:00.000000Z gpu-server-01 sysops-agent 42 gpu_temperature_celsius [alert@32473 \
         severity=\"critical\" status=\"firing\" value=\"87\" threshold=\"85\" rule=\"gpu_temperature_celsius\" \
         id=\"gpu-1\" fingerprint=\"gpu_temperature_celsius\"] \u{feff}hot"
    );
    let evil = Alert {
        hostname: " \n".into(),
        metric: "x".repeat(99),
        timestamp: "never".into(),
        rule: "a\"b\\c]d\n".into(),
        threshold: None,
        ..gpu()
    };
    let text = rfc5424(&evil, "", &local());
    assert!(text.starts_with(&format!("<26>1 - - sysops-agent 42 {} [alert@", "x".repeat(32))), "{text}");
    assert!(text.contains(r#" rule="a\"b\\c\]d?" "#) && !text.contains("threshold"), "{text}");
}

#[test]
fn long_texts_are_cut_between_characters() {
    for text in ["é".repeat(3000), "x".repeat(3000), "日本".repeat(2000), format!("x{}", "🦀".repeat(1000))]
    {
        let cut = line(&text);
        assert!(cut.len() <= MAX_TEXT + '…'.len_utf8() && cut.len() > MAX_TEXT - 8, "{}", cut.len());
        assert!(cut.ends_with('…') && text.starts_with(cut.trim_end_matches('…')));
    }
    assert_eq!(line("short"), "short");
}

#[test]
fn addresses_are_judged() {
    let socket = Path::new("/dev/log");
    let ok =
        |address: &str, expect: Target| assert_eq!(Target::parse(address, socket), Ok(expect), "{address}");
    ok("", Target::Local("/dev/log".into()));
    ok("udp://logs:5514", Target::Udp("logs:5514".into()));
    ok("udp://logs", Target::Udp("logs:514".into()));
    ok("tcp://10.0.0.1:601/", Target::Tcp("10.0.0.1:601".into()));
    ok("tcp://[::1]:601", Target::Tcp("[::1]:601".into()));
    ok("udp://[fe80::1]", Target::Udp("[fe80::1]:514".into()));
    for address in [
        "logs",
        "logs:514",
        "udp://",
        "udp://:514",
        "udp://logs:",
        "udp://logs:0",
        "udp://logs:70000",
        "http://logs",
        "udp://a/b",
        "udp://user@logs",
        "udp://a b",
        "udp://::1",
        "://x",
        "udp://logs:51x4",
    ] {
        let why = Target::parse(address, socket).unwrap_err();
        assert!(why.contains("neither udp://host:port nor tcp://host:port"), "{address}: {why}");
    }
}
