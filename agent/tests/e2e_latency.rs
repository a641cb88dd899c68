//! How long from the kernel's kill to the alert at the receiver, and whether any of many is lost or told
//! twice. As root: `cargo test --test e2e_latency -- --ignored --nocapture`.
#![cfg(feature = "ebpf")]

mod e2e;
mod lab;

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::scene::Scene;
use e2e::webhook::{Arrived, known};
use lab::{MemoryCgroup, wait_for};
use sysops_agent::alert::Status;

const KILLS: usize = 500;
/// The least in which a shell can start the victim.
const LIMIT: u64 = 2 << 20;

#[test]
#[ignore = "live: kills 500 processes for lack of memory"]
fn oom_latency() {
    let Some((scene, agent)) = Scene::running("[agent]\nlog_level = \"warn\"") else { return };
    let webhook = &scene.webhook;
    let group = MemoryCgroup::new("sysops-e2e-latency", LIMIT).expect("cgroup");
    let pids: Vec<u32> = (0..KILLS).map(|_| group.oom_victim().expect("a kill")).collect();
    let all = |alerts: &[Arrived]| pids.iter().all(|pid| alerts.iter().any(|a| victim(a) == Some(*pid)));
    wait_for(Duration::from_secs(20), || all(&webhook.arrived()).then_some(()));
    // A second message about one of them, or one of the counter alone, would come now.
    std::thread::sleep(Duration::from_secs(3));

    let arrived = webhook.arrived();
    let mut times: BTreeMap<u32, Vec<&Arrived>> = pids.iter().map(|pid| (*pid, Vec::new())).collect();
    for one in arrived.iter().filter(|a| a.alert.rule == "oom_kill") {
        let pid = victim(one).unwrap_or_else(|| panic!("a kill without a victim: {:#?}", one.alert));
        times.entry(pid).or_default().push(one);
    }
    let missing: Vec<&u32> = pids.iter().filter(|pid| times[pid].is_empty()).collect();
    assert!(missing.is_empty(), "{} kills were not told: {missing:?}", missing.len());
    let mine = pids.iter().map(|pid| times[pid][0]);
    let mut ms: Vec<f64> = mine.clone().map(latency_ms).collect();
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| ms[((ms.len() - 1) as f64 * share).round() as usize];
    let both = mine.filter(|a| a.alert.source.len() == 2).count();
    println!(
        "oom latency: p50 {:.2} ms p99 {:.2} ms max {:.2} ms ({KILLS} kills, {both} with both witnesses)",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let twice: Vec<_> = times.values().filter(|a| a.len() > 1).collect();
    assert!(twice.is_empty(), "{} kills were told more than once: {:#?}", twice.len(), twice.first());
    assert!(times.values().flatten().all(|a| a.alert.status == Status::Firing && a.taken));
    assert!(at(0.99) < 1000.0, "{ms:?}");
    agent.stop();
}

fn victim(arrived: &Arrived) -> Option<u32> {
    known(&arrived.alert, "victim_pid").as_u64()?.try_into().ok()
}

/// From the kernel's own time of the kill to the receiver's.
fn latency_ms(arrived: &Arrived) -> f64 {
    let at_ns = known(&arrived.alert, "incident")["kernel_time_ns"].as_u64().expect("the kernel's time");
    arrived.at_ns.saturating_sub(at_ns) as f64 / 1e6
}
