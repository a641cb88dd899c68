//! The process collector on this machine while processes come and go faster than it reads: those that vanish between
//! listing and reading are no fault, and no number is impossible. Needs no rights. And sockets of the host, seen from another
//! network, which needs root.
#![expect(clippy::disallowed_methods, reason = "starts processes and looks at the clock")]

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sysops_agent::collect::process::{Options, Process};
use sysops_agent::collect::{CollectError, Collector};
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::{Host, TcpSocket, TcpState, clock};
use sysops_agent::sample::{Samples, SeriesId};

/// How long it goes on, and how many passes and processes there must be by then.
const WHILE: Duration = Duration::from_secs(2);
const LEAST_PASSES: usize = 5;
const LEAST_PROCESSES: usize = 50;

#[test]
fn processes_that_come_and_go_are_no_fault() {
    let over = Arc::new(AtomicBool::new(false));
    let born = Arc::new(AtomicUsize::new(0));
    let (stop, count) = (Arc::clone(&over), Arc::clone(&born));
    let spawner = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let children: Vec<_> =
                (0..8).filter_map(|_| Command::new("true").stdout(Stdio::null()).spawn().ok()).collect();
            count.fetch_add(children.len(), Ordering::Relaxed);
            for mut child in children {
                drop(child.wait());
            }
        }
    });
    let mut process = Process::new(&Options { top_n: 20, ..Options::default() }, None);
    let (mut samples, mut names) = (Samples::new(100_000), HashMap::<SeriesId, &'static str>::new());
    let (begin, mut passes) = (Instant::now(), 0);
    let mut faults = Vec::new();
    while begin.elapsed() < WHILE || passes < LEAST_PASSES || born.load(Ordering::Relaxed) < LEAST_PROCESSES {
        samples.begin("process", clock::now(), None);
        let result = process.collect(&LiveHost::default(), &mut samples);
        let batch = samples.finish();
        names.extend(batch.defs.iter().map(|def| (def.id, def.metric.name)));
        for (id, value) in &batch.samples {
            let name = names.get(id).copied().unwrap_or("?");
            if *value < 0.0 || !value.is_finite() {
                faults.push(format!("{name} is {value}"));
            }
        }
        let table = batch.processes.expect("a table of processes");
        faults.extend(table.rows.iter().filter(|row| row.cpu_percent < 0.0).map(|row| format!("{row:?}")));
        match result {
            // Without rights the files of others may not be read.
            Ok(()) | Err(CollectError::Denied { .. }) => {}
            Err(error) => faults.push(error.to_string()),
        }
        passes += 1;
    }
    over.store(true, Ordering::Relaxed);
    spawner.join().expect("it ends");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Port that the host listens on; set in the run of this test that has a network of its own.
const PORT: &str = "LIVE_TEST_PORT_OF_THE_HOST";

#[test]
fn sockets_of_the_host_are_seen_from_another_network() {
    if let Ok(port) = std::env::var(PORT) {
        return from_another_network(port.parse().expect("a port"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let _open = TcpStream::connect(address).expect("a connection");
    let own = std::env::current_exe().expect("this program");
    let name = "sockets_of_the_host_are_seen_from_another_network";
    let again = Command::new("unshare")
        .arg("--net")
        .arg(own)
        .args(["--exact", name, "--nocapture"])
        .env(PORT, address.port().to_string())
        .output()
        .expect("unshare of util-linux");
    let said = String::from_utf8_lossy(&again.stderr);
    if said.contains("Operation not permitted") {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped in CI: {said}");
        eprintln!("SKIPPED: no right to make a network");
        return;
    }
    assert!(again.status.success(), "{}{said}", String::from_utf8_lossy(&again.stdout));
}

fn from_another_network(port: u16) {
    let host = LiveHost::default();
    let find = |state: TcpState| {
        let mut found = Vec::new();
        let each = &mut |socket: &TcpSocket| {
            found.extend((socket.port == port).then_some(*socket));
            true
        };
        host.tcp_sockets(state.mask(), each).expect("sockets");
        found
    };
    let [listening] = find(TcpState::Listen)[..] else { panic!("{:?}", find(TcpState::Listen)) };
    assert_eq!((listening.address, listening.queued), ("127.0.0.1".parse().expect("an address"), 1));
    assert_eq!(find(TcpState::Established).len(), 1, "the end that was connected to");
}
