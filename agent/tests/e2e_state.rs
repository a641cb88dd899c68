//! A condition that fires, an agent that is killed, a recovery that nobody saw: one begin, one end, one id.
#![expect(clippy::disallowed_methods, reason = "runs the agent and a process of its own")]

mod e2e;
mod lab;

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use e2e::agent::Home;
use e2e::confine::Confine;
use e2e::webhook::Webhook;
use lab::wait_for;
use sysops_agent::alert::{Alert, Status};

const SOON: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"
    [collector]
    process_interval_secs = 1
    track_patterns = ["^sysops-e2e-st$"]
    [ebpf]
    enabled = "off"
    [log_analyzer]
    enabled = false
    [inventory]
    enabled = false
    [alerting]
    state_warmup_secs = 0
    [[alerting.rules]]
    name = "e2e-runs"
    metric = "tracked_processes_count"
    labels = { pattern = "^sysops-e2e-st$" }
    op = ">="
    warn = 1
    for_secs = 0
    clear = 0.5
"#;

struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeper(home: &Home) -> Sleeper {
    let program = home.file("sysops-e2e-st");
    std::fs::copy("/bin/sleep", &program).expect("a copy of sleep");
    Sleeper(Command::new(program).arg("600").spawn().expect("it runs"))
}

fn ours(alert: &Alert) -> bool {
    alert.rule == "e2e-runs"
}

fn await_count(webhook: &Webhook, count: usize) -> Vec<Alert> {
    let arrived = || Some(webhook.taken(ours)).filter(|alerts| alerts.len() >= count);
    wait_for(SOON, arrived).unwrap_or_else(|| panic!("{count} alerts: {:#?}", webhook.messages()))
}

#[test]
fn a_condition_goes_on_over_a_kill_and_its_end_is_told_once() {
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), CONFIG);
    let runs = sleeper(&home);
    let agent = home.start(&Confine::No);
    let first = await_count(&webhook, 1).remove(0);
    let kept = || std::fs::read_to_string(home.data().join("engine-state.json")).ok();
    wait_for(SOON, || kept().filter(|json| json.contains(&first.id))).expect("it is kept");
    agent.kill();
    // It still stands: not a word.
    let agent = home.start(&Confine::No);
    webhook.exactly_one("the begin", SOON, Duration::from_secs(3), ours);
    agent.kill();
    drop(runs);
    let agent = home.start(&Confine::No);
    let told = await_count(&webhook, 2);
    assert_eq!((told[1].status, &told[1].id), (Status::Resolved, &first.id), "{told:#?}");
    assert_eq!(told[1].started_at, first.started_at);
    agent.stop();
    // A torn file is put aside, and the agent starts.
    std::fs::write(home.data().join("engine-state.json"), "{\"version\":1,").expect("written");
    let agent = home.start(&Confine::No);
    assert!(home.data().join("engine-state.bad").exists(), "{}", home.log());
    agent.stop();
    assert_eq!(webhook.taken(ours).len(), 2, "{:#?}", webhook.messages());
}

const LEAKS: &str = r#"
    [collector]
    process_interval_secs = 1
    track_patterns = ["^sysops-e2e-"]
    [analyzer]
    # An hour in 18 s.
    leak_min_observation_hours = 0.005
    [ebpf]
    enabled = "off"
    [log_analyzer]
    enabled = false
    [inventory]
    enabled = false
    [alerting]
    state_warmup_secs = 0
"#;

/// The same.
const SHORTEST: Duration = Duration::from_secs(18);

/// What the copies of this program below do: take memory, and give it back or not.
const KEEPS: &str = "SYSOPS_E2E_KEEPS";

#[test]
#[ignore = "no test: a process of the one below"]
fn a_process_that_takes_memory() {
    // Run as a test it has nothing to do.
    let Some(keeps) = std::env::var_os(KEEPS) else { return };
    let keeps = keeps == "yes";
    let mut taken: Vec<Vec<u8>> = Vec::new();
    // Ends by itself when nobody ends it.
    for turn in 0..1200 {
        taken.push(vec![u8::try_from(turn % 251).unwrap_or(1); 512 << 10]);
        if !keeps && turn % 12 == 11 {
            taken.clear();
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}

fn taker(home: &Home, name: &str, keeps: &str) -> Sleeper {
    let program = home.file(name);
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy of it");
    let mut command = Command::new(program);
    command.args(["--exact", "a_process_that_takes_memory", "--ignored"]).env(KEEPS, keeps);
    Sleeper(command.spawn().expect("it runs"))
}

/// `cargo test -p sysops-agent --test e2e_state leaks -- --nocapture` prints the time to detection.
#[test]
fn a_process_that_leaks_is_told_and_one_that_gives_back_is_not() {
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), LEAKS);
    let _leaks = taker(&home, "sysops-e2e-leak", "yes");
    let _collects = taker(&home, "sysops-e2e-gc", "no");
    let start = Instant::now();
    let _agent = home.start(&Confine::No);
    let of = |name: &'static str| {
        move |a: &Alert| a.rule == "leak" && a.labels.get("comm").is_some_and(|comm| comm == name)
    };
    let leak = wait_for(Duration::from_mins(2), || webhook.taken(of("sysops-e2e-leak")).pop());
    let leak = leak.unwrap_or_else(|| panic!("no leak: {:#?}", webhook.messages()));
    assert_eq!(leak.metric, "process_resident_memory_bytes");
    assert!(leak.message.starts_with("The memory of sysops-e2e-leak (pid "), "{}", leak.message);
    let per_hour = leak.context["per_hour"].as_f64().expect("its rate");
    let true_rate = f64::from(512 << 10) * 4.0 * 3600.0;
    assert!((0.3..1.3).contains(&(per_hour / true_rate)), "{per_hour} instead of {true_rate}");
    let detected = start.elapsed();
    // Nor is the other one told within twice the time that was enough for a leak.
    std::thread::sleep(detected);
    assert_eq!(webhook.taken(of("sysops-e2e-gc")), []);
    println!(
        "| live process | leaks | told | time to detection |\n|---|---|---|---|\n\
         | takes 2 MiB a second | yes | {} | {:.0} s ({:.1} times the shortest observation) |\n\
         | gives back each 3 s | no | no | watched for {:.0} s |",
        leak.severity.name(),
        detected.as_secs_f64(),
        detected.as_secs_f64() / SHORTEST.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
}

fn silence(home: &Home, args: &[&str]) -> String {
    let args: Vec<&str> = ["silence"].into_iter().chain(args.iter().copied()).collect();
    let done = home.command(&Confine::No, &args).output().expect("it runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn a_silence_that_was_confirmed_survives_a_kill_at_that_very_moment() {
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), CONFIG);
    for round in 1..=5 {
        let agent = home.start(&Confine::No);
        let said = silence(&home, &["disk_used_percent", "--for", "2h", "--reason", "a move"]);
        agent.kill();
        assert!(!said.contains("restarted"), "{said}");
        let agent = home.start(&Confine::No);
        let listed = silence(&home, &["--list"]);
        assert_eq!(listed.matches("a move").count(), round, "{listed}");
        // Nor does one come back that was revoked.
        let made = silence(&home, &["disk_used_percent", "--for", "2h", "--reason", "a slip"]);
        let id = made.split([' ', ':']).nth(1).expect("its number").to_owned();
        let said = silence(&home, &["--revoke", &id]);
        agent.kill();
        assert!(said.contains("is over") && !said.contains("restart"), "{said}");
        let agent = home.start(&Confine::No);
        assert!(!silence(&home, &["--list"]).contains("a slip"));
        agent.stop();
    }
}

#[test]
fn a_silence_that_cannot_be_kept_says_so() {
    let webhook = Webhook::start();
    let home = Home::new(&webhook.url(), CONFIG);
    let agent = home.start(&Confine::No);
    let file = home.data().join("engine-state.json");
    let _ = std::fs::remove_file(&file);
    // Nothing can be moved in the place of a directory that holds something.
    std::fs::create_dir_all(file.join("in the way")).expect("a directory");
    let said = silence(&home, &["disk_used_percent", "--for", "2h", "--reason", "a move"]);
    assert!(
        said.starts_with("silence 1: ") && said.contains("it holds only until the agent is restarted"),
        "{said}"
    );
    assert!(silence(&home, &["--list"]).contains("a move"), "it stands all the same");
    let said = silence(&home, &["--revoke", "1"]);
    assert!(said.contains("is over") && said.contains("a restart of the agent may bring it back"), "{said}");
    agent.stop();
}
