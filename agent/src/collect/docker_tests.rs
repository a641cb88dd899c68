use super::*;
use crate::collect::testing::Bench;
use crate::host::live::LiveHost;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Written after the documentation of API 1.41, no recording: states that the podman below does not reach.
fn bench(list: &str, inspected: &[(&str, &str)]) -> Bench {
    let bench = Bench::new("", Docker::new("/d"));
    bench.host.set("/d#/containers/json?all=1", list);
    for (id, body) in inspected {
        bench.host.set(&format!("/d#/containers/{id}/json"), body);
    }
    bench
}

#[test]
fn containers_are_told_with_restarts_and_health() {
    let list = r#"[{"Id":"aa11","Names":["/web"],"Image":"nginx:latest","State":"running","Status":"Up 3 hours (unhealthy)"},
        {"Id":"bb22","Names":["/db"],"Image":"postgres","State":"exited"},
        {"Id":"cc33","Names":null,"Image":"x\u001b[31m","State":"running"},
        {"Id":"../images","Names":["/evil"],"State":"levitating"}]"#;
    let web = r#"{"RestartCount":4,"State":{"OOMKilled":true,"StartedAt":"2026-02-22T16:30:00.123456789Z","FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"unhealthy"}}}"#;
    let db = r#"{"RestartCount":1,"State":{"ExitCode":137,"StartedAt":"2026-02-22T16:30:00Z","FinishedAt":"2026-02-22T17:30:00+01:00","Health":{"Status":""}}}"#;
    let mut bench = bench(list, &[("aa11", web), ("bb22", db)]);
    bench.pass().unwrap();
    bench.expect(&[
        ("docker_containers_count{running}", 2.0),
        ("docker_containers_count{exited}", 1.0),
        ("docker_containers_count{dead}", 0.0),
        ("docker_containers_count{other}", 1.0),
        ("docker_container_running{web,nginx:latest}", 1.0),
        ("docker_container_running{db,postgres}", 0.0),
        ("docker_container_running{cc33,x?[31m}", 1.0),
        ("docker_container_restarts_total{web}", 4.0),
        ("docker_container_restarts_total{db}", 1.0),
        ("docker_container_unhealthy{web}", 1.0),
        ("docker_container_oom_killed{web}", 1.0),
        ("docker_container_info{web,aa11,nginx:latest,running}", 1.0),
        ("docker_container_info{db,bb22,postgres,exited}", 1.0),
        ("docker_container_start_time_seconds{web}", 1_771_777_800.0),
        ("docker_container_end_time_seconds{db}", 1_771_777_800.0),
        ("docker_container_exit_code{db}", 137.0),
        ("docker_stuck", 0.0),
    ]);
    assert!(
        !bench.has("docker_container_end_time_seconds{web}")
            && !bench.has("docker_container_start_time_seconds{db}")
    );
    assert!(!bench.has("docker_container_unhealthy{db}"), "it has no check");
    assert!(!bench.has("docker_container_restarts_total{cc33}"), "it is gone meanwhile");
}

#[test]
fn bad_answers_are_errors() {
    for bad in ["", "{}", "[{}]", "[{\"Id\":1}]", "null", "[", "\u{fffd}"] {
        let mut bench = bench(bad, &[]);
        assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{bad}");
        bench.expect(&[("docker_stuck", 0.0)][..0]);
    }
    let many: Vec<String> =
        (0..2 * MAX_CONTAINERS).map(|n| format!(r#"{{"Id":"a{n}","State":"running"}}"#)).collect();
    let mut bench = bench(&format!("[{}]", many.join(",")), &[]);
    bench.pass().unwrap();
    bench.expect(&[("docker_containers_count{running}", 2.0 * MAX_CONTAINERS as f64)]);
    assert!(bench.readings.len() <= 2 * MAX_CONTAINERS + STATES.len() + 2);
    let mut none = Bench::new("", Docker::new("/none"));
    assert!(matches!(none.pass(), Err(CollectError::Absent { .. })));
}

/// A daemon behind a real socket that answers with these bytes, or not at all.
fn daemon(answer: Option<&'static [u8]>) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            match answer {
                Some(bytes) => {
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(bytes);
                }
                None => kept.push(stream),
            }
        }
    });
    (dir, path)
}

#[test]
fn a_real_socket_is_asked_and_a_dead_daemon_costs_one_wait() {
    let (_dir, path) = daemon(Some(b"HTTP/1.0 200 OK\r\n\r\n[{\"Id\":\"aa\",\"State\":\"paused\"}]"));
    let mut bench = Bench::new("", Docker::new(&path));
    bench.pass_on(&LiveHost::default()).unwrap();
    bench.expect(&[("docker_containers_count{paused}", 1.0)]);

    let (_dir, path) = daemon(None);
    let mut bench = Bench::new("", Docker::new(&path));
    let error = bench.pass_on(&LiveHost::default()).unwrap_err().to_string();
    assert!(error.contains("does not answer"), "{error}");
    bench.expect(&[("docker_stuck", 1.0)]);
    let begin = Instant::now();
    bench.pass_on(&LiveHost::default()).unwrap_err();
    assert!(begin.elapsed() < PATIENCE, "it is not waited for a second time");
}

/// A daemon that answers each question after `pause`, but never one about container `a99`.
fn slow_daemon(containers: usize, pause: Duration) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    let list: Vec<_> = (0..containers)
        .map(|n| format!(r#"{{"Id":"a{n}","Names":["/c{n:03}"],"State":"running"}}"#))
        .collect();
    let list = format!("[{}]", list.join(","));
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut question = [0; 1024];
            let len = stream.read(&mut question).unwrap_or(0);
            let question = String::from_utf8_lossy(&question[..len]).into_owned();
            let body = if question.contains("?all=1") { list.as_str() } else { r#"{"RestartCount":2}"# };
            if question.contains("/a99/") {
                kept.push(stream);
                continue;
            }
            std::thread::sleep(pause);
            let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes());
        }
    });
    (dir, path)
}

#[test]
fn many_containers_of_a_busy_daemon_are_asked_of_in_turn() {
    let (_dir, path) = slow_daemon(100, Duration::from_millis(20));
    let mut bench = Bench::new("", Docker::new(&path));
    let restarts = |bench: &Bench| {
        bench.readings.keys().filter(|key| key.starts_with("docker_container_restarts_total")).count()
    };
    let (begin, mut seen) = (Instant::now(), vec![0]);
    while seen.last() != Some(&99) && begin.elapsed() < Duration::from_secs(30) {
        // The one that hangs is told as an error, and costs the others nothing but time.
        if let Err(error) = bench.pass_on(&LiveHost::default()) {
            assert!(error.to_string().contains("does not answer"), "{error}");
        }
        bench.expect(&[("docker_containers_count{running}", 100.0), ("docker_stuck", 0.0)]);
        seen.push(restarts(&bench));
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(seen.is_sorted() && seen.last() == Some(&99) && seen.len() > 3, "{seen:?}");
    assert!(
        bench.has("docker_container_running{c099,}") && !bench.has("docker_container_restarts_total{c099}")
    );
}

struct Podman(Child);

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real service of podman, with a container that was created from an empty image.
#[test]
#[ignore = "live: needs root and podman"]
fn podman_is_understood() {
    if Command::new("podman").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("SKIPPED: podman is not installed: apt-get install podman");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let podman = |args: &[&str]| {
        let mut command = Command::new("podman");
        command.args(["--root", &at("root"), "--runroot", &at("run"), "--storage-driver", "vfs"]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    std::fs::write(dir.path().join("empty.tar"), [0; 1024]).unwrap();
    assert!(podman(&["import", &at("empty.tar"), "nothing"]).status().unwrap().success());
    let create = ["create", "--name", "sleeper", "--network", "none", "nothing", "/bin/none"];
    assert!(podman(&create).status().unwrap().success());
    let socket = at("s.sock");
    let service = podman(&["system", "service", "--time", "0", &format!("unix://{socket}")]).spawn().unwrap();
    let service = Podman(service);
    let begin = Instant::now();
    while !std::path::Path::new(&socket).exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "podman's service does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut bench = Bench::new("", Docker::new(&socket));
    while bench.pass_on(&LiveHost::default()).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "podman's service does not answer");
    }
    bench.expect(&[
        ("docker_containers_count{created}", 1.0),
        ("docker_containers_count{running}", 0.0),
        ("docker_container_running{sleeper,localhost/nothing:latest}", 0.0),
        ("docker_container_restarts_total{sleeper}", 0.0),
        ("docker_container_oom_killed{sleeper}", 0.0),
    ]);
    drop(service);
}
