use super::*;
use crate::notify::tests::{alert, gpu};
use serde_json::json;

fn oom() -> Alert {
    let mut alert = gpu();
    alert.metric = "kernel_oom_kills_total".into();
    (alert.value, alert.threshold, alert.duration_secs) = (1.0, None, 0);
    alert.message =
        "OOM kill: java (pid 1234) of container shop-api was killed; its limit of 2.0 GiB was reached".into();
    alert.labels = [("comm".to_owned(), "java".to_owned())].into();
    alert.source = vec!["ebpf".into(), "kmsg".into()];
    alert.runbook_url = Some("https://wiki/oom".into());
    alert.context = json!({
        "victim": { "comm": "java", "pid": 1234, "rss_kb": 2_050_000, "uid": 999 },
        "cgroup": "/kubepods/shop-api",
        "limit_bytes": 2_147_483_648_u64,
        "top": [ { "comm": "java", "rss_kb": 2_050_000 }, { "comm": "log", "rss_kb": 12_000 } ],
        "comm": "java",
        "empty": null,
        "late_secs": 500,
    })
    .as_object()
    .cloned()
    .unwrap();
    alert
}

#[test]
fn a_reading_over_its_limit() {
    insta::assert_snapshot!(render(&gpu(), false, 100), @"
    2026-02-22 16:30:00+09:00  CRITICAL  gpu-server-01
              GPU 0 temperature 87°C exceeds threshold 85°C
              gpu_temperature_celsius = 87 °C (limit 85 °C), for 40 s
              trend              rising
              gpu                0
              model              A100
              seen by            nvml
    ");
}

#[test]
fn an_event_with_its_facts() {
    insta::assert_snapshot!(render(&oom(), false, 80));
}

#[test]
fn a_narrow_terminal() {
    insta::assert_snapshot!(render(&oom(), false, 0));
}

#[test]
fn recoveries_and_updates_are_named() {
    let first = |status| {
        let text = render(&alert("x", Severity::Emergency, status), false, 80);
        text.lines().next().unwrap().to_owned()
    };
    assert_eq!(first(Status::Resolved), "2026-02-22 16:30:00+09:00  RESOLVED  gpu-server-01");
    assert_eq!(first(Status::Updated), "2026-02-22 16:30:00+09:00  EMERGENCY  gpu-server-01  (update)");
}

#[test]
fn colours_only_on_the_badge() {
    let plain = render(&gpu(), false, 80);
    assert!(!plain.contains('\x1b'));
    let coloured = render(&gpu(), true, 80);
    assert_eq!(coloured.replace("\x1b[97;41m CRITICAL \x1b[0m", "CRITICAL"), plain);
}

#[test]
fn hostile_and_huge_alerts_stay_within_their_lines() {
    let evil = "\x1b[2J\r\n\u{202e}x ".repeat(500);
    let mut alert = oom();
    (alert.message, alert.hostname, alert.metric) = (evil.clone(), evil.clone(), evil.clone());
    (alert.timestamp, alert.runbook_url) = (evil.clone(), Some(evil.clone()));
    alert.source = vec![evil.clone(); 50];
    for n in 0..100 {
        alert.labels.insert(format!("{evil}{n}"), evil.clone());
        alert.context.insert(format!("{n}{evil}"), json!([[evil, evil], { &evil: evil }]));
    }
    let text = render(&alert, false, 80);
    assert_eq!(text.lines().count(), MAX_LINES);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("more facts"));
}

#[test]
fn words_break_at_spaces() {
    assert_eq!(wrap("aa bb cc", 5, 3), ["aa bb", "cc"]);
    assert_eq!(wrap("aaaaaaaaaa b", 5, 3), ["aaaaaaaaaa", "b"]);
    assert_eq!(wrap("a b c d", 1, 2), ["a", "b c d"]);
    assert_eq!(wrap("", 5, 3), [""]);
    assert_eq!(cut("abcdef", 5), "abcd…");
    assert_eq!(cut("abcde", 5), "abcde");
}

struct Broken;
impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes its time.
struct Slow;
impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const OPTIONS: Options = Options { colour: false, width: 80, template: false };

#[tokio::test]
async fn a_terminal_that_is_gone_is_final() {
    let gone = Terminal::new(OPTIONS, || Box::new(Broken));
    let error = gone.send(&gpu(), "").await.unwrap_err();
    assert!(
        matches!(&error, SendError::Refused { why } if why.starts_with("the terminal is gone")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_terminal_that_nobody_reads_takes_one_thread_at_most() {
    let slow = Terminal::new(OPTIONS, || Box::new(Slow));
    let alert = gpu();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(50), slow.send(&alert, "")).await;
    assert!(given_up.is_err());
    let error = slow.send(&alert, "").await.unwrap_err();
    assert!(matches!(error, SendError::Retry { .. }), "{error:?}");
    for _ in 0..100 {
        if slow.send(&alert, "").await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it works again once somebody reads");
}

#[test]
fn colours_are_for_those_who_can_see_them() {
    let check = |tty, env: &[(&str, &str)], colour, width| {
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        assert_eq!(Screen::new(tty, &lookup), Screen { tty, colour, width }, "{env:?}");
    };
    check(true, &[], true, WIDTH);
    check(false, &[], false, WIDTH);
    check(true, &[("NO_COLOR", "1")], false, WIDTH);
    check(true, &[("NO_COLOR", "")], true, WIDTH);
    check(true, &[("TERM", "dumb")], false, WIDTH);
    check(true, &[("TERM", "xterm"), ("COLUMNS", "66")], true, 66);
    check(true, &[("COLUMNS", "wide")], true, WIDTH);
}
