//! Servers that answer 200, and then anything.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::host::clock;

/// Longer than a test may take: who waits for this has not bounded itself.
const TIMEOUT_SECS: u64 = 300;
/// Patience on a busy machine.
const SOON: Duration = Duration::from_mins(1);
/// What the kernel may take for both ends of a connection before the client's bound shows.
const MAX_UNREAD: usize = 32 << 20;

/// Takes a request to its end, then has `say` answer it. Returns the address and how many bytes were answered to each.
fn server(say: impl Fn(&mut TcpStream) -> usize + Send + 'static) -> (String, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{\"a\":1}") {
                let mut some = [0; 1024];
                match stream.read(&mut some) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&some[..read]),
                }
            }
            if request.ends_with(b"{\"a\":1}") && sender.send(say(&mut stream)).is_err() {
                return;
            }
        }
    });
    (url, said)
}

fn poster(url: String) -> Poster {
    let mut config = Config::default();
    config.push.timeout_secs = TIMEOUT_SECS;
    Poster::of(&config, "push.metrics_url", &url.into()).unwrap().unwrap()
}

/// Posts twice to whoever answers this; the outcome of the second.
async fn twice(answer: &'static [u8]) -> (Result<(), SendError>, bool) {
    let (url, _said) = server(move |stream| {
        let _ = stream.write_all(answer);
        answer.len()
    });
    let poster = poster(url);
    let mut last = Ok(());
    for _ in 0..2 {
        let post = poster.post(b"{\"a\":1}".to_vec(), clock::now());
        last = tokio::time::timeout(SOON, post).await.expect("it does not wait for more");
    }
    (last, poster.told.load(Relaxed))
}

#[tokio::test]
async fn success_is_success_whatever_the_body_says() {
    let check = async |answer: &'static str, is_page: bool| {
        let (last, told) = twice(answer.as_bytes()).await;
        assert_eq!((last, told), (Ok(()), is_page), "{answer}");
    };
    check("HTTP/1.1 204 No Content\r\n\r\n", false).await;
    check("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", false).await;
    // The JSON is cut, by its length and by a chunk of nonsense.
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"agent_id\":",
        false,
    )
    .await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\0\0", false).await;
    check("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\0\u{1}\u{2}\u{3}", false)
        .await;
    check("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone", false).await;
    check("HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=x\r\nContent-Length: 0\r\n\r\n", true).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n\r\n <!DOCTYPE HTML><title>", true).await;
}

#[tokio::test]
async fn what_is_no_answer_is_tried_again() {
    let check = async |answer: &'static str| {
        let (last, _) = twice(answer.as_bytes()).await;
        assert!(matches!(last, Err(SendError::Retry { .. })), "{answer}: {last:?}");
    };
    check("").await;
    check("HTTP/1.1 200").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").await;
    check("<html>200 OK</html>").await;
    check("\u{16}\u{3}\u{1}\0\u{2}").await;
}

#[tokio::test]
async fn a_body_without_end_is_left_alone() {
    let (url, said) = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
        let chunk = vec![b'x'; 64 << 10];
        let begin = Instant::now();
        let mut bytes = 0;
        while bytes < 4 * MAX_UNREAD && begin.elapsed() < SOON && stream.write_all(&chunk).is_ok() {
            bytes += chunk.len();
        }
        bytes
    });
    let poster = poster(url);
    let post = poster.post(b"{\"a\":1}".to_vec(), clock::now());
    assert_eq!(tokio::time::timeout(SOON, post).await.expect("in time"), Ok(()));
    let bytes = tokio::task::spawn_blocking(move || said.recv_timeout(SOON)).await.unwrap();
    let bytes = bytes.expect("the connection is closed");
    assert!(bytes < MAX_UNREAD, "{bytes} bytes were taken");
}

#[tokio::test]
async fn a_body_that_drips_holds_up_nobody() {
    let (url, _said) = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        let begin = Instant::now();
        while begin.elapsed() < 2 * SOON && stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        0
    });
    let poster = poster(url);
    let post = poster.post(b"{\"a\":1}".to_vec(), clock::now());
    assert_eq!(tokio::time::timeout(SOON, post).await.expect("in time"), Ok(()));
}
