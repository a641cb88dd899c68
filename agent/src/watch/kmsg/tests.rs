use std::os::unix::net::UnixDatagram;

use super::*;
use crate::alert::Severity;
use crate::event::{Event, KmsgMark, What};
use crate::watch::rules::{Custom, RuleSet};
use crate::watch::scan::Resume;
use tokio::sync::mpsc;

fn clock() -> Now {
    Now { mono_ns: 1_000_000_000_000, wall_ns: 0 }
}

fn scanner() -> Scanner {
    Scanner::new(Arc::new(RuleSet::new(&[], true).unwrap()), Resume::Fresh)
}

/// A socket gives one record a read, as the device does.
fn device() -> (UnixDatagram, OwnedFd) {
    let (write, read) = UnixDatagram::pair().unwrap();
    read.set_nonblocking(true).unwrap();
    (write, read.into())
}

async fn next(rx: &mut mpsc::Receiver<Event>) -> Event {
    tokio::time::timeout(Duration::from_secs(10), rx.recv()).await.expect("an event in time").expect("open")
}

#[tokio::test]
async fn old_records_are_historic_and_new_ones_live() {
    let (write, fd) = device();
    write.send(b"3,1,1,-;nvme nvme0: I/O error").unwrap();
    let (tx, mut rx) = mpsc::channel::<Event>(1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(KmsgWatch::from_fd("test", fd, scanner(), clock).run(tx, stop.clone()));
    assert!(next(&mut rx).await.historic);
    assert_eq!(next(&mut rx).await.what, What::KmsgMark(KmsgMark { seq: 1 }));
    write.send(b"3,2,1,-;nvme nvme1: I/O error").unwrap();
    let event = next(&mut rx).await;
    assert!(!event.historic && matches!(event.what, What::Log(_)));
    assert_eq!(next(&mut rx).await.what, What::KmsgMark(KmsgMark { seq: 2 }));
    stop.cancel();
    assert_eq!(task.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_flood_is_told_as_far_as_it_came_at_a_stop() {
    let (write, fd) = device();
    let (tx, mut rx) = mpsc::channel::<Event>(1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(KmsgWatch::from_fd("test", fd, scanner(), clock).run(tx, stop.clone()));
    write.send(b"6,1,1,-;booted").unwrap();
    assert_eq!(next(&mut rx).await.what, What::KmsgMark(KmsgMark { seq: 1 }));
    let mut told = Vec::new();
    for seq in 2..=151 {
        write.send(format!("3,{seq},1,-;EXT4-fs error (device sda1): e:1: inode #2: x").as_bytes()).unwrap();
        loop {
            match next(&mut rx).await.what {
                What::KmsgMark(mark) if mark.seq == seq => break,
                What::Log(found) => told.push(found.repeats.map(|repeats| repeats.count)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(told, [None; 100]);
    stop.cancel();
    let What::Log(found) = next(&mut rx).await.what else { panic!("a line") };
    assert_eq!(found.repeats.map(|repeats| repeats.count), Some(50));
    assert_eq!(rx.recv().await, None);
    assert_eq!(task.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stack_is_told_when_the_log_is_quiet() {
    let (write, fd) = device();
    let (tx, mut rx) = mpsc::channel::<Event>(8);
    tokio::spawn(KmsgWatch::from_fd("test", fd, scanner(), clock).run(tx, CancellationToken::new()));
    tokio::task::yield_now().await;
    for line in [
        "INFO: task a:1 blocked for more than 9 seconds.",
        "Call Trace:",
        " schedule+0x1/0x2",
        " down+0x1/0x2",
    ] {
        write.send(format!("3,1,1,-;{line}").as_bytes()).unwrap();
    }
    let mut stacks = Vec::new();
    while stacks.len() < 2 {
        if let What::Hang(hang) = next(&mut rx).await.what {
            stacks.push(hang.stack.len());
        }
    }
    assert_eq!(stacks, [0, 2]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_it() {
    let (write, fd) = device();
    let (tx, rx) = mpsc::channel::<Event>(1);
    let task =
        tokio::spawn(KmsgWatch::from_fd("test", fd, scanner(), clock).run(tx, CancellationToken::new()));
    tokio::task::yield_now().await;
    drop(rx);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap(), Ok(()));
    drop(write);
}

#[tokio::test]
async fn a_stop_is_heard_while_the_channel_is_full() {
    let (write, fd) = device();
    let (tx, _rx) = mpsc::channel::<Event>(1);
    for seq in 1..9 {
        write.send(format!("3,{seq},1,-;nvme nvme0: I/O error").as_bytes()).unwrap();
    }
    let stop = CancellationToken::new();
    let task = tokio::spawn(KmsgWatch::from_fd("test", fd, scanner(), clock).run(tx, stop.clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    stop.cancel();
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap(), Ok(()));
}

#[tokio::test]
async fn the_end_of_the_device_is_an_error() {
    let (write, fd) = device();
    write.send(b"").unwrap();
    let (tx, _rx) = mpsc::channel::<Event>(1);
    let watch = KmsgWatch::from_fd("/dev/kmsg", fd, scanner(), clock);
    let error = watch.run(tx, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "/dev/kmsg cannot be followed: unexpected end of file");
}

#[test]
fn refusals_say_what_to_do() {
    let text = |error| refused("/dev/kmsg", error).to_string();
    let remedy = |error| refused("/dev/kmsg", error).remedy(false);
    assert_eq!(text(Errno::PERM), "/dev/kmsg may not be read (Operation not permitted (os error 1))");
    assert!(remedy(Errno::PERM).contains("AmbientCapabilities=CAP_SYSLOG"));
    assert!(remedy(Errno::PERM).contains("sysctl kernel.dmesg_restrict=0"));
    assert!(matches!(refused("x", Errno::ACCESS), KmsgError::Denied { .. }));
    assert!(remedy(Errno::NOENT).contains("docker run --device /dev/kmsg"));
    assert_eq!(text(Errno::IO), "/dev/kmsg cannot be followed: Input/output error (os error 5)");
    for other in ["/dev/null", "/dev/zero", "/proc/version"] {
        let error = KmsgWatch::open(other, scanner(), clock).err().expect(other);
        assert!(error.to_string().contains("is not the kernel log"), "{error}");
    }
    let allowed = refused("/dev/kmsg", Errno::PERM).remedy(true);
    assert!(allowed.contains("DeviceAllow=char-mem r"), "{allowed}");
    let missing = KmsgWatch::open("/nonexistent/kmsg", scanner(), clock).err();
    assert_eq!(missing, Some(KmsgError::Absent { path: "/nonexistent/kmsg".to_owned() }));
}

/// Writes a record of its own into the kernel log of this machine and waits for it.
#[tokio::test]
async fn the_real_log() {
    let mark = format!("sysops-agent-test-{}", std::process::id());
    let pattern = format!("{mark} (?P<word>\\w+)");
    let custom = [Custom { name: "mark", pattern: &pattern, severity: Severity::Info }];
    let scanner =
        Scanner::new(Arc::new(RuleSet::new(&custom, true).unwrap()), Resume::Fresh).trust_any_facility();
    let write = || rustix::fs::open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let (watch, log) = match (KmsgWatch::open("/dev/kmsg", scanner, clock::now), write()) {
        (Ok(watch), Ok(log)) => (watch, log),
        (watch, log) => {
            let (watch, log) = (watch.err(), log.err());
            assert!(option_env!("CI").is_none(), "no kernel log in CI: {watch:?} {log:?}");
            println!("skipped: no kernel log to read and write here: {watch:?} {log:?}");
            return;
        }
    };
    let (tx, mut rx) = mpsc::channel::<Event>(64);
    let stop = CancellationToken::new();
    let task = tokio::spawn(watch.run(tx, stop.clone()));
    let first = loop {
        if let What::KmsgMark(mark) = next(&mut rx).await.what {
            break mark.seq;
        }
    };
    // Without its line break a record stays open and nobody gets to see it.
    for word in ["\u{1b}red", "green"] {
        rustix::io::write(&log, format!("<4>{mark} {word}\n").as_bytes()).unwrap();
    }
    let event = loop {
        let event = next(&mut rx).await;
        if matches!(&event.what, What::Log(found) if found.rule == "mark") {
            break event;
        }
    };
    let What::Log(found) = &event.what else { unreachable!() };
    assert_eq!(found.fields, [("word".to_owned(), "green".to_owned())]);
    assert!(!event.historic);
    let age = clock::now().since(event.at);
    assert!(age < 60_000_000_000, "{age} ns old");
    loop {
        if let What::KmsgMark(mark) = next(&mut rx).await.what {
            assert!(mark.seq > first);
            break;
        }
    }
    stop.cancel();
    assert_eq!(task.await.unwrap(), Ok(()));
}

fn stream(clock: fn() -> Now) -> Stream<Event> {
    Stream {
        scanner: scanner(),
        clock,
        enricher: None,
        records: None,
        caught_up: true,
        woken: None,
        lost: None,
        allowance: Allowance::default(),
        cpu_ns: 0,
        out: Vec::new(),
        is_sending: false,
        tx: mpsc::channel(1).0,
    }
}

/// How long that took, by the clock of the runtime.
async fn took(work: impl Future<Output = ()>) -> Duration {
    let start = tokio::time::Instant::now();
    work.await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_is_woken_again_and_again_rests_unless_something_was_lost() {
    let mut stream = stream(clock);
    let before = |ns: u64| Some(Now { mono_ns: clock().mono_ns - ns, ..Now::default() });
    for (woken, lost, rests) in [
        (None, None, false),
        (before(10 * REST.as_nanos() as u64), None, false),
        (before(1000), None, true),
        (before(1000), before(HURRY_NS / 2), false),
        (before(1000), before(2 * HURRY_NS), true),
    ] {
        (stream.woken, stream.lost) = (woken, lost);
        let long = took(stream.rest()).await >= REST;
        assert_eq!(long, rests, "{woken:?} {lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_minutes_pauses_but_not_what_was_there_at_the_start() {
    let mut stream = stream(clock);
    // As if the thread had read since it began, for a minute.
    stream.allowance.take(clock(), 60 * SECOND);
    assert!(took(stream.pause()).await >= Duration::from_millis(50));
    stream.caught_up = false;
    assert!(took(stream.pause()).await < Duration::from_millis(50));
}
