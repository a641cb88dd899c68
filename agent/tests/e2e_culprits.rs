//! Who is named beside a condition on this machine: memory with what is shared counted by share, who reads and writes, and
//! pools of huge pages. As root: `cargo test --test e2e_culprits -- --ignored --nocapture`.
#![expect(clippy::disallowed_methods, reason = "runs the agent and processes of its own")]

mod e2e;
mod lab;

use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::Webhook;
use lab::{Sysctl, skip, wait_for};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(90);

/// All at a pace of a second, and limits that are always exceeded.
const CONFIG: &str = r"
    [collector]
    memory_interval_secs = 1
    disk_io_interval_secs = 1
    process_interval_secs = 1
    [inventory]
    enabled = false
    [log_analyzer]
    enabled = false
    [thresholds]
    memory_percent = { warn = 0.1, critical = 100.0, for_secs = 4, clear = 0.05 }
    disk_busy_percent = { warn = 0.2, critical = 100.0, for_secs = 13, clear = 0.1 }
    [alerting]
    state_warmup_secs = 0
";

/// The first process that an alert of a rule names and that `pick` is content with.
fn named(webhook: &Webhook, rule: &str, pick: impl Fn(&Value) -> bool) -> Value {
    let processes = || -> Vec<Value> {
        let alerts = webhook.taken(|alert| alert.rule == rule);
        let of = |alert| serde_json::to_value(alert).ok()?["context"]["top_processes"].as_array().cloned();
        alerts.iter().filter_map(of).flatten().collect()
    };
    let found = wait_for(SOON, || processes().into_iter().find(|process| pick(process)));
    found.unwrap_or_else(|| panic!("not among them: {:#?}; {:#?}", processes(), webhook.messages()))
}

#[test]
#[ignore = "live: takes 1.5 GiB of memory for some seconds"]
fn the_largest_process_is_named_with_its_share() {
    // Of zeroes nothing would be taken.
    let hog = vec![1u8; 3 << 29];
    let Some((scene, agent)) = Scene::running(CONFIG) else { return };
    let found = named(&scene.webhook, "memory_used_percent", |process| !process["pss_kb"].is_null());
    println!("{found}");
    let number = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("no {name}: {found}"));
    // It was asked for a moment before.
    assert!(number("pss_kb") > 0 && number("pss_kb") <= number("rss_kb") * 3 / 2, "{found}");
    // On a machine that is busy with greater things, that is another one.
    if number("pid") == u64::from(std::process::id()) {
        assert!(number("pss_kb") >= hog.len() as u64 / 1024, "{found}");
    }
    assert_eq!(hog[hog.len() / 2], 1);
    agent.stop();
}

/// Writes the same 4 MiB to the disk again and again until it is dropped: an ordinary writer of a fixed amount is done
/// before the alert on a fast disk and is not on a slow one.
struct Writer {
    stop: Arc<AtomicBool>,
    at_work: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Writer {
    fn start(path: PathBuf) -> Self {
        let mut open = std::fs::OpenOptions::new();
        let opened = open.create(true).truncate(true).write(true).custom_flags(libc::O_DSYNC).open(&path);
        let file = opened.expect("a file to write to");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let write = move || {
            for offset in (0..1024_u64).map(|page| page * 4096).cycle() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                file.write_all_at(&[7; 4096], offset).expect("the disk takes it");
            }
        };
        Self { stop, at_work: Some(std::thread::spawn(write)), path }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.at_work.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
#[ignore = "live: writes to a disk for some seconds"]
fn who_writes_is_named_beside_a_busy_disk() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    let _writer = Writer::start(std::env::current_dir().expect("a directory").join("../target/e2e-culprits"));
    let agent = scene.home.start(&Confine::No);
    // On a machine that is busy with greater things, one of those is named first.
    let moves =
        |process: &Value| process["written_bytes_per_second"].as_f64().is_some_and(|bytes| bytes > 100_000.0);
    println!("{}", named(&scene.webhook, "disk_busy_percent", moves));
    agent.stop();
}

#[test]
#[ignore = "live: changes vm.nr_hugepages"]
fn pools_of_huge_pages_are_read() {
    let Ok(_pages) = Sysctl::set("vm/nr_hugepages", "3") else { return skip("no huge pages here") };
    let size = std::fs::read_to_string("/proc/meminfo").expect("it can be read");
    let number = |name: &str| {
        let line = size.lines().find_map(|line| line.strip_prefix(name)).expect("such a line");
        line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).expect("a number")
    };
    if number("HugePages_Total:") < 3.0 {
        return skip("the kernel has no memory for huge pages");
    }
    let Some((scene, agent)) = Scene::running(CONFIG) else { return };
    for metric in ["hugepages_pool_count", "hugepages_pool_free_count"] {
        let newest = || {
            let args = ["query", metric, "--since", "1m", "--json"];
            let done = scene.home.command(&Confine::No, &args).output().expect("it runs");
            let said: Value = serde_json::from_slice(&done.stdout).ok()?;
            println!("{said}");
            said["series"][0]["points"].as_array()?.last()?["value"].as_f64()
        };
        assert_eq!(wait_for(SOON, newest), Some(3.0), "{metric}");
    }
    agent.stop();
}
