//! Two questions to other daemons: HTTP over a Unix socket (Docker, podman), and `INFO` of Redis.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a daemon may be silent.
const SILENCE: Duration = Duration::from_secs(5);
/// Largest answer, bytes.
const MAX_ANSWER: u64 = 8 << 20;
/// Lines of the answer's head at most.
const MAX_HEADERS: usize = 64;

/// Body of the answer to `GET path`. Anything but 200 is an error.
pub(super) fn http_get(socket: &str, path: &str) -> io::Result<Vec<u8>> {
    exchange(socket, path).map_err(|error| match error.kind() {
        // What `read` says when its time is up.
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}

fn exchange(socket: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    // 1.0: the answer comes in one piece and ends with the connection.
    let question = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER + 1).read_to_end(&mut answer)?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "its answer is larger than 8 MiB"));
    }
    body(answer)
}

fn body(mut answer: Vec<u8>) -> io::Result<Vec<u8>> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    match (head.parse(&answer), head.code) {
        (Ok(httparse::Status::Complete(length)), Some(200)) => {
            let told = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
            let told = told.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse::<usize>().ok());
            let body = answer.split_off(length);
            if told.is_some_and(|told| told != body.len()) {
                return Err(invalid("its answer is cut short"));
            }
            Ok(body)
        }
        (Ok(httparse::Status::Complete(_)), Some(404)) => Err(io::ErrorKind::NotFound.into()),
        (Ok(httparse::Status::Complete(_)), code) => {
            Err(invalid(&format!("it answers with status {}", code.unwrap_or(0))))
        }
        _ => Err(invalid("its answer is not HTTP")),
    }
}

/// The text of `INFO`. The error names neither address nor password.
pub(super) fn redis_info(addr: &str, password: &str) -> io::Result<String> {
    use redis::IntoConnectionInfo;
    let other = |error: &redis::RedisError| {
        let refused = matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        let kind = match error.kind() {
            redis::ErrorKind::AuthenticationFailed => io::ErrorKind::PermissionDenied,
            _ if refused => io::ErrorKind::PermissionDenied,
            _ if error.is_timeout() => io::ErrorKind::TimedOut,
            _ if error.is_connection_refusal() => io::ErrorKind::ConnectionRefused,
            _ => io::ErrorKind::Other,
        };
        // Only the category and the server's own code: nothing that was sent.
        io::Error::new(kind, error.code().map_or_else(|| error.category().to_owned(), str::to_owned))
    };
    let (host, port) = addr.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let info = redis::ConnectionAddr::Tcp(host.trim_matches(['[', ']']).to_owned(), port);
    let info = info.into_connection_info().map_err(|error| other(&error))?;
    let mut login = redis::RedisConnectionInfo::default();
    if !password.is_empty() {
        login = login.set_password(password);
    }
    let client = redis::Client::open(info.set_redis_settings(login)).map_err(|error| other(&error))?;
    let mut connection = client.get_connection_with_timeout(SILENCE).map_err(|error| other(&error))?;
    connection.set_read_timeout(Some(SILENCE)).map_err(|error| other(&error))?;
    connection.set_write_timeout(Some(SILENCE)).map_err(|error| other(&error))?;
    redis::cmd("INFO").query(&mut connection).map_err(|error| other(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        for (answer, expect) in [
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n[]", Ok("[]")),
            ("HTTP/1.0 200 OK\r\n\r\n[]", Ok("[]")),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n[]", Err("its answer is cut short")),
            ("HTTP/1.1 500 Oops\r\n\r\n{}", Err("it answers with status 500")),
            ("HTTP/1.0 200 OK\r\nContent", Err("its answer is not HTTP")),
            ("SSH-2.0-OpenSSH\r\n", Err("its answer is not HTTP")),
            ("", Err("its answer is not HTTP")),
        ] {
            let told = body(answer.into()).map_err(|error| error.to_string());
            assert_eq!(
                told,
                expect.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned),
                "{answer:?}"
            );
        }
        let many = format!("HTTP/1.0 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(body(many.into()).is_err());
    }
}
