//! The agent is killed at random moments, again and again: every line of the kernel log is told, and seldom twice.
//! As root: `cargo test --test e2e_kill9 -- --ignored`; rounds by `SYSOPS_KILL9_ROUNDS`.
#![expect(clippy::disallowed_methods, reason = "writes to the kernel log and counts by itself")]

mod e2e;
mod lab;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::webhook::{Webhook, known};
use lab::{skip, wait_for};
use sysops_agent::notify::backoff::Dice;

/// Rounds, unless the environment says otherwise.
const ROUNDS: u64 = 40;
/// Longest life of an agent.
const LIFE_MS: f64 = 900.0;

/// A line of its own in the kernel log. The kernel limits the lines of each opening of the device.
fn write_line(line: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(line.as_bytes())
}

#[test]
#[ignore = "live: writes to the kernel log"]
fn no_alert_is_lost_over_many_kills() {
    let run = std::process::id();
    let mark = format!("sysops-kill9-{run}");
    if write_line(&format!("<6>{mark} begins\n")).is_err() {
        return skip("the kernel log cannot be written to");
    }
    let rounds = std::env::var("SYSOPS_KILL9_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let webhook = Webhook::start();
    let home = Home::new(
        &webhook.url(),
        &format!(
            "[agent]\nlog_level = \"warn\"\n[ebpf]\nenabled = \"off\"\n[log_analyzer]\nsources = [\"dmesg\"]\n\
             custom_patterns = [{{ pattern = \"{mark} fault\", severity = \"critical\", name = \"kill9\" }}]"
        ),
    );
    // A copy of the program, which a build beside this test does not change.
    let confine = Confine::Rights(vec!["--inh-caps", "-all"]);
    // From here on every line is news.
    home.start(&confine).kill();
    let told = || {
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        for alert in webhook.taken(|alert| alert.rule == "kill9") {
            let line = known(&alert, "line").as_str().unwrap_or_default().to_owned();
            let fault = line.split("fault ").nth(1).unwrap_or("?").split_whitespace().next().unwrap_or("?");
            *told.entry(fault.to_owned()).or_default() += 1;
        }
        told
    };
    let begin = Instant::now();
    let (mut dice, mut written) = (Dice(u64::from(run)), 0_u64);
    for _ in 0..rounds {
        let agent = home.launch(&confine, |_| {});
        let life = Duration::from_millis((dice.roll() * LIFE_MS) as u64);
        let half = life.mul_f64(dice.roll());
        for pause in [half, life.saturating_sub(half)] {
            write_line(&format!("<3>{mark} fault {written}\n")).expect("written");
            written += 1;
            std::thread::sleep(pause);
        }
        agent.kill();
    }
    let agent = home.launch(&confine, |_| {});
    let all = wait_for(Duration::from_secs(60), || (told().len() as u64 >= written).then_some(()));
    let told = told();
    let missing: Vec<u64> = (0..written).filter(|n| !told.contains_key(&n.to_string())).collect();
    let twice: u64 = told.values().map(|count| count - 1).sum();
    println!(
        "{rounds} kills in {:?}: {written} lines, {} told, {twice} told again, at most {} times",
        begin.elapsed(),
        told.len(),
        told.values().max().copied().unwrap_or(0)
    );
    assert!(all.is_some() && missing.is_empty(), "lost: {missing:?}");
    // At each kill at most what is under way, or told and not yet noted, is told again.
    assert!(twice <= 2 * rounds, "{twice} told again");
    agent.stop();
}
