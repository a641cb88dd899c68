//! The way out of the host: proxies, authorities of one's own, secrets in files, and the push to a collector. Needs no
//! rights but for the full disk.
#![cfg(feature = "tls-rustls")]
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the other end is the test's own")]

#[path = "notify_support/certificates.rs"]
mod certificates;
mod e2e;
#[path = "notify_support/https.rs"]
mod https;
mod lab;
mod push;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use certificates::Certificates;
use e2e::agent::{Home, words};
use e2e::confine::Confine;
use e2e::webhook::Webhook;
use https::Https;

/// A proxy that notes what it is asked, tunnels, and answers plain requests by itself.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                thread::spawn(move || serve(stream, &noted));
            }
        });
        Self { port, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<Vec<String>>) {
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    noted.lock().unwrap().push(head.clone());
    let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        from.read_exact(&mut vec![0; length]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        return;
    };
    let port = target.rsplit(':').next().unwrap();
    let mut there = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let mut back = (there.try_clone().unwrap(), stream.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut from, &mut there);
    let _ = there.shutdown(Shutdown::Both);
}

/// The path of the next request, which has to be the test alert.
fn next_path(server: &Https) -> String {
    let told = server.told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(told["rule"], "test_alert");
    told["path"].as_str().unwrap().to_owned()
}

/// `test-alert` with this environment, and its exit code.
fn test_alert(home: &Home, env: &[(&str, &str)], code: i32) -> String {
    let mut command = home.command(&Confine::No, &["test-alert"]);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ] {
        command.env_remove(name);
    }
    let done = command.envs(env.iter().copied()).output().unwrap();
    assert_eq!(done.status.code(), Some(code), "{}", words(&done));
    words(&done)
}

#[test]
fn plain_requests_go_through_the_proxy() {
    let (proxy, webhook) = (Proxy::start(), Webhook::start());
    let port = proxy.port;
    let of = |url: &str, proxy: &str| Home::new(url, &format!("[alerting]\nproxy = {proxy:?}"));
    let home = of("http://collector.invalid/hook", &format!("http://ops:pr0xy-pass@127.0.0.1:{port}"));
    test_alert(&home, &[], 0);
    let head = proxy.heads().remove(0);
    assert!(head.starts_with("POST http://collector.invalid/hook HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic b3bzonbymhh5lxbhc3m="), "{head}");
    // As the environment says, and not for what it excepts.
    let home = of("http://collector.invalid/hook", "");
    test_alert(&home, &[("HTTP_PROXY", &format!("http://127.0.0.1:{port}"))], 0);
    assert_eq!(proxy.heads().len(), 2);
    let home = of(&webhook.url(), &format!("http://127.0.0.1:{port}"));
    test_alert(&home, &[("NO_PROXY", "127.0.0.1")], 0);
    assert_eq!((proxy.heads().len(), webhook.arrived().len()), (2, 1));
    // One that is not there is named, without its password.
    let home = of("http://collector.invalid/hook", "http://ops:pr0xy-pass@127.0.0.1:9");
    let why = test_alert(&home, &[], 1);
    assert!(
        why.contains("collector.invalid through the proxy 127.0.0.1:9") && !why.contains("pr0xy"),
        "{why}"
    );
    // So is one that wants another.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let strict = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let home = of("http://collector.invalid/hook", &format!("http://127.0.0.1:{port}"));
    let why = test_alert(&home, &[], 1);
    assert!(
        why.contains(&format!("collector.invalid through the proxy 127.0.0.1:{port} answered 407")),
        "{why}"
    );
    strict.join().unwrap();
}

#[test]
fn an_authority_of_ones_own_is_trusted_directly_and_through_a_proxy() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(server) = Https::start(&certificates) else { return };
    let url = format!("https://localhost:{}/hook", server.port);
    let refused = test_alert(&Home::new(&url, ""), &[], 1);
    assert!(refused.contains("ertificate"), "{refused}");
    let ca = certificates.path("ca.pem");
    let trusting = format!("[alerting]\nca_file = {ca:?}\n");
    test_alert(&Home::new(&url, &trusting), &[], 0);
    assert_eq!(next_path(&server), "/hook");
    let proxy = Proxy::start();
    let port = proxy.port;
    test_alert(&Home::new(&url, &format!("{trusting}proxy = \"http://127.0.0.1:{port}\"")), &[], 0);
    test_alert(&Home::new(&url, &trusting), &[("HTTPS_PROXY", &format!("http://127.0.0.1:{port}"))], 0);
    let expect = format!("CONNECT localhost:{} HTTP/1.1", server.port);
    assert!(proxy.heads().len() == 2 && proxy.heads().iter().all(|head| head.starts_with(&expect)));
    // A file that is none.
    let none = test_alert(&Home::new(&url, "[alerting]\nca_file = \"/dev/null\""), &[], 1);
    assert!(none.contains("alerting.ca_file /dev/null holds no certificates"), "{none}");
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let webhook = Webhook::start();
    let home = Home::new("${file:/nowhere/url}", "");
    let secret = home.file("url");
    let refused = test_alert(&home, &[], 1);
    assert!(
        refused.contains("alerting.webhook.url needs file:/nowhere/url, which cannot be read"),
        "{refused}"
    );
    assert!(refused.contains("/nowhere/url: cannot be read: No such file"), "{refused}");
    // The file alone is fine: the secret may be on another host.
    let valid = home.command(&Confine::No, &["--validate"]).output().unwrap();
    assert!(
        valid.status.success() && words(&valid).contains("warning: /nowhere/url: cannot be read"),
        "{}",
        words(&valid)
    );

    fs::write(&secret, format!("{}\n", webhook.url())).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    home.configure(&format!("${{file:{}}}", secret.display()), "");
    let fine = test_alert(&home, &[], 0);
    assert!(!fine.contains("everybody"), "{fine}");
    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let warned = test_alert(&home, &[], 0);
    assert!(warned.contains("a secret that everybody on this host can read"), "{warned}");
    fs::write(&secret, "\n").unwrap();
    assert!(test_alert(&home, &[], 1).contains("is empty: the secret is missing"));

    fs::write(home.file("hook-url"), webhook.url()).unwrap();
    home.configure("${credential:hook-url}", "");
    assert!(test_alert(&home, &[], 1).contains("without credentials; see LoadCredential="));
    let dir = home.file("");
    test_alert(&home, &[("CREDENTIALS_DIRECTORY", dir.to_str().unwrap())], 0);
    assert_eq!(webhook.arrived().len(), 3);
}
