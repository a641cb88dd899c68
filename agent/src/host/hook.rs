//! A program of the user's own, started for one alert: no shell, no environment of ours, an end to its time.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// Bytes kept of what it says; the rest is read and dropped, so that it can end.
const MAX_SAID: u64 = 4096;
/// How long its last words are waited for once it has ended: something it left behind may hold them open.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard error, cut.
    pub said: String,
}

/// Runs a program with its arguments, `input` on standard input. `Ok(None)`: its time was over, and it was killed with
/// all that it started in its process group.
///
/// # Errors
/// That it could not be started.
pub async fn run(command: &[String], input: &[u8], limit: Duration) -> io::Result<Option<Ended>> {
    let [program, arguments @ ..] = command else { return Err(io::ErrorKind::NotFound.into()) };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let ended = timeout(limit, attend(&mut child, input)).await;
    if let Ok(ended) = ended {
        // What it left running on purpose may stay.
        std::mem::forget(group);
        return ended.map(Some);
    }
    drop(group);
    // Reaped here, so that no zombie stays.
    let _ = timeout(LAST_WORDS, child.wait()).await;
    Ok(None)
}

/// Kills the group when it is dropped, also with a caller that waits no longer.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn attend(child: &mut Child, input: &[u8]) -> io::Result<Ended> {
    let stderr = child.stderr.take();
    let mut words = tokio::spawn(listen(stderr));
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // Who does not read it need not.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), status) = tokio::join!(feed, child.wait());
    let said = timeout(LAST_WORDS, &mut words).await;
    words.abort();
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    Ok(Ended { code: status?.code(), said })
}

async fn listen(stderr: Option<ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut said = Vec::new();
    let _ = (&mut stderr).take(MAX_SAID).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, input: &[u8], limit: Duration) -> Option<Ended> {
        run(&["/bin/sh".into(), "-c".into(), script.into()], input, limit).await.unwrap()
    }

    fn ended(code: i32, said: &str) -> Ended {
        Ended { code: Some(code), said: said.into() }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_gets_its_input_and_tells_its_end() {
        assert_eq!(sh("cat >&2; exit 3", b"in put", LONG).await, Some(ended(3, "in put")));
        assert_eq!(sh("exit 0", &vec![b'x'; 1 << 20], LONG).await, Some(ended(0, "")));
        assert_eq!(sh("kill -9 $$", b"", LONG).await, Some(Ended { code: None, said: String::new() }));
        assert_eq!(sh("echo $HOME$USER; pwd >&2", b"", LONG).await, Some(ended(0, "/\n")));
        let none = run(&["/no/such/hook".into()], b"", LONG).await;
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn its_words_and_its_time_have_an_end() {
        let long = sh("head -c 1000000 /dev/zero | tr '\\0' x >&2", b"", LONG).await.unwrap();
        assert_eq!((long.code, long.said.len()), (Some(0), 4096));
        assert_eq!(sh("sleep 100 & sleep 100", b"", Duration::from_millis(100)).await, None);
        // Something left behind holds standard error; nobody waits for it.
        assert_eq!(sh("sleep 3 & exit 0", b"", LONG).await, Some(ended(0, "")));
    }
}
