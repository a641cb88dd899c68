//! The agent is killed at random moments, again and again, while the server fails, hangs and dies as it likes: every line of the kernel log is told, and seldom twice.
//! As root: `cargo test --test e2e_kill9 -- --ignored`; rounds by `SYSOPS_KILL9_ROUNDS`.
#![expect(clippy::disallowed_methods, reason = "writes to the kernel log and counts by itself")]

mod e2e;
mod lab;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::webhook::{Mood, Webhook, known};
use lab::{LoopDevice, skip, wait_for};
use sysops_agent::notify::backoff::Dice;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 40;
/// Longest life of an agent.
const LIFE_MS: f64 = 900.0;
/// How the server meets requests, one of these at each change.
const MOODS: [Mood; 8] = [
    Mood::Answer(200),
    Mood::Answer(200),
    Mood::Answer(200),
    Mood::Answer(500),
    Mood::Answer(503),
    Mood::Answer(429),
    Mood::Hang,
    Mood::Gone,
];

/// Sectors of our disks begin here; each run has a range of its own.
fn first_sector() -> u64 {
    5_000_000 + u64::from(std::process::id()) * 10_000
}

/// A line of its own in the kernel log: `loop0: detected capacity change from 0 to SECTORS`. The kernel leaves out
/// some beyond ten in five seconds.
fn write_line(image: &tempfile::NamedTempFile, sectors: u64) -> std::io::Result<()> {
    image.as_file().set_len(sectors * 512)?;
    LoopDevice::over(image.path()).map(drop)
}

fn sectors(line: &str) -> Option<u64> {
    let (_, sectors) = line.split_once("detected capacity change from 0 to ")?;
    sectors.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Those of our lines that the kernel log has.
fn logged(ours: &Range<u64>) -> Vec<u64> {
    let mut options = OpenOptions::new();
    let mut log =
        options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").expect("the kernel log");
    let (mut all, mut record) = (Vec::new(), [0; 8192]);
    loop {
        match log.read(&mut record) {
            Ok(n) => all.extend(sectors(&String::from_utf8_lossy(&record[..n])).filter(|n| ours.contains(n))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            // Overwritten meanwhile: the next read goes on behind it.
            Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}"),
        }
    }
}

#[test]
#[ignore = "live: writes to the kernel log"]
fn no_alert_is_lost_over_many_kills() {
    let image = tempfile::NamedTempFile::new().expect("a file");
    let rounds = std::env::var("SYSOPS_KILL9_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let ours = first_sector() + 1..first_sector() + 1 + rounds;
    if write_line(&image, first_sector()).is_err() {
        return skip("no loop device can be made");
    }
    let webhook = Webhook::start();
    let home = Home::new(
        &webhook.url(),
        "[agent]\nlog_level = \"warn\"\n[ebpf]\nenabled = \"off\"\n[log_analyzer]\nsources = [\"dmesg\"]\n\
         custom_patterns = [{ pattern = \"capacity change from 0 to [1-9]\", severity = \"critical\", name = \"kill9\" }]",
    );
    // A copy of the program, which a build beside this test does not change.
    let confine = Confine::Rights(vec!["--inh-caps", "-all"]);
    // From here on every line is news.
    home.start(&confine).kill();
    let told = || {
        let mut told: BTreeMap<u64, u64> = BTreeMap::new();
        for alert in webhook.taken(|alert| alert.rule == "kill9") {
            let sectors = sectors(known(&alert, "line").as_str().unwrap_or_default());
            *told.entry(sectors.filter(|n| ours.contains(n)).unwrap_or_default()).or_default() += 1;
        }
        told.remove(&0);
        told
    };
    let begin = Instant::now();
    let mut dice = Dice(u64::from(std::process::id()));
    for line in ours.clone() {
        let agent = home.launch(&confine, |_| {});
        let life = Duration::from_millis((dice.roll() * LIFE_MS) as u64);
        let before = life.mul_f64(dice.roll());
        let mut change = || webhook.set(MOODS[(dice.roll() * MOODS.len() as f64) as usize % MOODS.len()]);
        change();
        std::thread::sleep(before);
        write_line(&image, line).expect("written");
        change();
        std::thread::sleep(life.saturating_sub(before));
        agent.kill();
    }
    webhook.set(Mood::Answer(200));
    let agent = home.launch(&confine, |_| {});
    let written = logged(&ours);
    let missing = || {
        let told = told();
        written.iter().copied().filter(|line| !told.contains_key(line)).collect::<Vec<_>>()
    };
    let all = wait_for(Duration::from_mins(1), || missing().is_empty().then_some(()));
    let twice: u64 = told().values().map(|count| count - 1).sum();
    println!(
        "{rounds} kills in {:?}: {} lines, {} told, {twice} told again, at most {} times",
        begin.elapsed(),
        written.len(),
        told().len(),
        told().values().max().copied().unwrap_or(0)
    );
    assert!(written.len() as u64 >= rounds / 4, "the kernel log has too few lines: {}", written.len());
    assert!(all.is_some(), "lost: {:?}", missing());
    // At each kill at most what is under way, or told and not yet noted, is told again.
    assert!(twice <= rounds, "{twice} told again");
    agent.kill();
}
