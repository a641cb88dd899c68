//! Endpoints as their clients meet them, good ones and bad ones.

use super::*;
use crate::host::clock;
use crate::push::object::About;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);
/// More than the kernel takes for the two ends of a connection.
const MANY: usize = 64 << 20;

struct Served {
    bind: SocketAddr,
    newest: watch::Sender<Arc<Newest>>,
    stop: CancellationToken,
    server: Server,
}

/// An address that is free a moment before.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn at(secs_ago: u64) -> Arc<Newest> {
    let (mut newest, now) = (Newest::default(), clock::now());
    newest.begin(now.at_mono(now.mono_ns.saturating_sub(secs_ago * crate::time::SECOND)));
    Arc::new(newest)
}

/// Starts what `change` makes of a configuration whose endpoints share one address.
fn serve(change: impl FnOnce(&mut Config)) -> Served {
    let served = launch(free(), change);
    let up = || TcpStream::connect(served.bind).is_ok().then_some(());
    wait(up).expect("it listens");
    served
}

fn launch(bind: SocketAddr, change: impl FnOnce(&mut Config)) -> Served {
    launch_page(bind, change, 100_000)
}

/// The same with a page of somewhat more than so many bytes.
fn launch_page(bind: SocketAddr, change: impl FnOnce(&mut Config), bytes: usize) -> Served {
    let mut config = Config::default();
    (config.http.bind, config.prometheus.bind) = (bind.to_string(), bind.to_string());
    (config.http.enabled, config.prometheus.enabled) = (true, true);
    change(&mut config);
    let (newest, reader) = watch::channel(at(0));
    let about = About { hostname: "x".repeat(bytes), ..About::default() };
    let source = Source { newest: reader, style: Style { about, ..Style::default() } };
    let stop = CancellationToken::new();
    let server = start(Endpoint::all(&config), source, stop.clone()).expect("a thread");
    Served { bind, newest, stop, server }
}

fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        let found = look();
        if found.is_some() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

impl Served {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.bind).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream
    }

    /// Status (0: no answer) and the whole answer to these bytes.
    fn say(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        // The other side may close before it has read everything.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
    }

    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes())
    }

    fn end(self) {
        self.stop.cancel();
        let begin = Instant::now();
        self.server.thread.join().expect("it has not panicked");
        assert!(begin.elapsed() < Duration::from_secs(2), "it ends at once");
    }
}

#[test]
fn each_endpoint_has_its_form() {
    let check = |served: &Served, path: &str, accept: &str, expect: &str| {
        let (status, answer) = served.get(path, accept);
        assert_eq!(status, 200, "{answer}");
        assert!(answer.contains(&format!("content-type: {expect}")), "{path} {accept}: {answer:.400}");
        assert!(answer.contains("server: sysops-agent/") && answer.contains("connection: close"));
    };
    let shared = serve(|_| {});
    check(&shared, "/metrics", "", "application/json");
    check(&shared, "/metrics", "Accept: text/plain\r\n", "text/plain; version=0.0.4");
    check(
        &shared,
        "/metrics?a=b",
        "Accept: application/openmetrics-text\r\n",
        "application/openmetrics-text",
    );
    shared.end();
    let text = serve(|config| config.http.enabled = false);
    check(&text, "/metrics", "", "text/plain");
    check(&text, "/metrics", "Accept: application/json\r\n", "application/json");
    text.end();
    let apart = serve(|config| config.prometheus.path = "/prom".into());
    check(&apart, "/metrics", "Accept: */*\r\n", "application/json");
    check(&apart, "/prom", "Accept: */*\r\n", "text/plain");
    assert_eq!(apart.get("/healthz", "").0, 200);
    let (status, answer) = apart.get("/elsewhere", "");
    assert!(status == 404 && answer.ends_with("there is: /metrics /prom /healthz /status\n"), "{answer}");
    apart.end();
}

#[test]
fn every_request_needs_the_key() {
    let served = serve(|config| config.http.auth_key = "s3cret".into());
    for path in ["/metrics", "/healthz", "/status", "/", "/x"] {
        for header in
            ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic s3cret\r\n", "X-Key: s3cret\r\n"]
        {
            let (status, answer) = served.get(path, header);
            assert_eq!(status, 401, "{path} {header}");
            assert!(!answer.contains("s3cret") && !answer.contains("xxxx"), "{answer}");
        }
    }
    let key = "Authorization: Bearer s3cret\r\n";
    assert_eq!((served.get("/metrics", key).0, served.get("/healthz", key).0), (200, 200));
    served.end();
}

#[test]
fn bad_requests_are_refused_and_others_are_not_disturbed() {
    let served = serve(|_| {});
    let long = "a".repeat(10_000);
    let many = "X: y\r\n".repeat(100);
    let check = |bytes: &[u8], expect: &[u16]| {
        let (status, answer) = served.say(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(expect.contains(&status), "{status} for {shown:?}: {answer:.200}");
        assert_eq!(served.get("/healthz", "").0, 200, "after {shown:?}");
    };
    // Closed, refused, or a status of its own.
    check(format!("GET /metrics HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n").as_bytes(), &[431, 400, 0]);
    check(format!("GET /metrics HTTP/1.1\r\nHost: h\r\n{many}\r\n").as_bytes(), &[431, 400, 0]);
    check(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(), &[414, 431, 400, 0]);
    check(b"\x16\x03\x01\x02\x00\x01\x00", &[400, 0]);
    check(b"GET /metrics HTTP/9.9\r\n\r\n", &[400, 505, 0]);
    check(b"GET /\0 HTTP/1.1\r\n\r\n", &[400, 0]);
    check(b"\r\n\r\n\r\n\r\n \r\n", &[400, 0]);
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505, 0]);
    check(b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", &[405]);
    check(b"PUT /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\nabc", &[405]);
    check(b"DELETE /status HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", &[405, 400]);
    check(b"GET http://elsewhere/metrics HTTP/1.1\r\nHost: h\r\n\r\n", &[200]);
    check(b"GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", &[404]);
    check(b"GET /metrics/ HTTP/1.1\r\nHost: h\r\n\r\n", &[404]);
    check(b"GET /metrics HTTP/1.0\r\n\r\n", &[200]);
    let (status, head) = served.say(b"HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(status == 200 && head.ends_with("\r\n\r\n"), "no body: {head:.300}");
    served.end();
}

#[test]
fn silent_and_slow_clients_cost_themselves() {
    let served = serve(|_| {});
    // Those who ask and do not read.
    let readers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = served.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").expect("asked");
            stream
        })
        .collect();
    assert_eq!(served.get("/healthz", "").0, 200);
    // Those who say nothing, or a byte now and then; more than there is room for.
    let mut silent: Vec<TcpStream> = (0..200).map(|_| served.connect()).collect();
    let closed = wait(|| {
        let mut shut = 0;
        for stream in &mut silent {
            let _ = stream.set_nonblocking(true);
            let _ = stream.write(b"G");
            shut +=
                usize::from(!matches!(stream.read(&mut [0; 1]), Err(e) if e.kind() == ErrorKind::WouldBlock));
        }
        (shut >= 200 - MAX_CONNECTIONS).then_some(shut)
    });
    assert!(closed.is_some(), "who is over the limit is closed at once");
    let counted = served.server.turned_away.load(std::sync::atomic::Ordering::Relaxed);
    assert!(counted >= (200 - MAX_CONNECTIONS) as u64, "{counted}");
    // The room comes back while they are still there.
    wait(|| (served.get("/healthz", "").0 == 200).then_some(())).expect("others are served again");
    drop((readers, silent));
    served.end();
}

#[test]
fn who_never_reads_is_left_in_the_end() {
    // More than the kernel keeps for both ends of a connection that nobody reads.
    let served = launch_page(free(), |_| {}, 16 << 20);
    wait(|| TcpStream::connect(served.bind).ok()).expect("it listens");
    let mut readers: Vec<TcpStream> = Vec::new();
    let mut crowd = || {
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut stream = served.connect();
            // Over the limit it may be closed already.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            readers.push(stream);
        }
    };
    // On a busy machine the first of them may be left before the last ones have come.
    let full = (0..5).any(|_| {
        crowd();
        let begin = Instant::now();
        std::iter::repeat_with(|| served.get("/healthz", "").0 == 0)
            .take_while(|_| begin.elapsed() < Duration::from_secs(5))
            .any(|refused| refused)
    });
    assert!(full, "they have all the room");
    // One wait is longer than a connection lives; on a busy machine it may take several.
    let is_served = || wait(|| (served.get("/healthz", "").0 == 200).then_some(()));
    assert!((0..3).any(|_| is_served().is_some()), "the room comes back, though none of them has gone");
    drop(readers);
    served.end();
}

#[test]
fn a_large_request_is_not_read_to_its_end() {
    let served = serve(|_| {});
    let check = |head: &str, chunk: &[u8]| {
        let mut stream = served.connect();
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        stream.write_all(head.as_bytes()).expect("said");
        let mut bytes = 0;
        while bytes < MANY && stream.write_all(chunk).is_ok() {
            bytes += chunk.len();
        }
        assert!(bytes < MANY, "{bytes} bytes were taken of {head:?}");
        assert_eq!(served.get("/healthz", "").0, 200, "after {head:?}");
    };
    let plain = vec![b'a'; 64 << 10];
    let header = b"X: y\r\n".repeat(10_000);
    let chunk = [b"10000\r\n", &plain[..], b"\r\n"].concat();
    check("GET /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", &plain);
    check("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", &plain);
    check("GET /metrics HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", &chunk);
    check("GET /metrics HTTP/1.1\r\nHost: h\r\nX: ", &plain);
    check("GET /metrics HTTP/1.1\r\n", &header);
    check("GET /", &plain);
    check("", &plain);
    served.end();
}

#[test]
fn health_is_that_of_the_pipeline() {
    let served = serve(|_| {});
    let check = |newest: Arc<Newest>, expect: u16, words: &str| {
        served.newest.send_replace(newest);
        let (status, answer) = served.get("/healthz", "");
        assert!(status == expect && answer.contains(words), "{answer}");
    };
    check(at(0), 200, "ok: the last reading");
    check(at(29), 200, "29 s ago");
    check(at(100), 503, "100 s ago, more than 30 s");
    check(Arc::default(), 503, "no reading");
    served.end();
}

#[test]
fn the_status_is_asked_for() {
    let mut served = serve(|_| {});
    let bind = served.bind;
    let mut asks = std::mem::replace(&mut served.server.asks, mpsc::channel(1).1);
    let answering = std::thread::spawn(move || {
        for answer in [Ok("{\"version\":\"9\"}".to_owned()), Err("the agent is ending".to_owned())] {
            if let Some(Ask::Status(done)) = asks.blocking_recv() {
                let _ = done.send(answer);
            }
        }
    });
    let (status, answer) = served.get("/status", "");
    assert!(status == 200 && answer.ends_with("{\"version\":\"9\"}"), "{bind}: {answer}");
    let (status, answer) = served.get("/status", "");
    assert!(status == 503 && answer.ends_with("the agent is ending\n"), "{answer}");
    answering.join().expect("answered");
    assert_eq!(served.get("/status", "").0, 503, "nobody is there to ask");
    served.end();
}

#[test]
fn a_taken_port_is_tried_again() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let bind = other.local_addr().expect("its address");
    let served = launch(bind, |_| {});
    std::thread::sleep(Duration::from_millis(200));
    drop(other);
    let ours = || {
        let mut stream = TcpStream::connect(bind).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("sysops-agent").then_some(())
    };
    wait(ours).expect("it listens as soon as it can");
    served.end();
}

#[test]
fn endpoints_of_a_configuration() {
    let of = |json: (bool, &str), text: (bool, &str)| {
        let mut config = Config::default();
        (config.http.enabled, config.http.bind) = (json.0, json.1.into());
        (config.prometheus.enabled, config.prometheus.bind) = (text.0, text.1.into());
        Endpoint::all(&config).iter().map(|e| (e.bind.port(), e.name, e.pages.len())).collect::<Vec<_>>()
    };
    assert_eq!(of((false, "[::1]:1"), (false, "[::1]:2")), []);
    assert_eq!(of((true, "[::1]:1"), (true, "[::1]:2")), [(1, "http", 1), (2, "prometheus", 1)]);
    assert_eq!(of((true, "[::1]:1"), (true, "[::1]:1")), [(1, "http", 2)]);
    assert_eq!(of((true, "nonsense"), (true, "[::1]:2")), [(2, "prometheus", 1)]);
    let taken = refused("127.0.0.1:9100".parse().expect("an address"), &ErrorKind::AddrInUse.into());
    assert!(taken.contains("127.0.0.1:9100") && taken.contains("node_exporter has port 9100"), "{taken}");
}
