//! Other programs: the one place that starts them.

use std::io::{self, Read};
use std::process::{Command, Stdio};

use super::Printed;

/// Output kept of one run, bytes; what comes beyond is read and dropped, so that the program can end.
const MAX_OUTPUT: u64 = 4 << 20;

/// Where programs are looked for: the agent's own `PATH` may be anything. The last ones are where containers get
/// the driver's tools.
const FOLDERS: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/bin",
    "/sbin",
    "/usr/local/bin",
    "/usr/local/nvidia/bin",
    "/run/nvidia/driver/usr/bin",
];

/// Runs a program with nothing but these arguments, and waits for its end. `NotFound`: it is in none of the folders.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(super) fn run(program: &str, args: &[&str]) -> io::Result<Printed> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for folder in FOLDERS {
        let started = Command::new(format!("{folder}/{program}"))
            .args(args)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", FOLDERS.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                refused = error;
                continue;
            }
        };
        let mut text = Vec::new();
        let read = child.stdout.take().map_or(Ok(0), |mut out| {
            out.by_ref().take(MAX_OUTPUT).read_to_end(&mut text)?;
            io::copy(&mut out, &mut io::sink())
        });
        let status = child.wait()?;
        read?;
        return Ok(Printed { text: String::from_utf8_lossy(&text).into_owned(), success: status.success() });
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_read() {
        let printed = run("printf", &["%s", "a b; $PATH"]).unwrap();
        assert_eq!((printed.text.as_str(), printed.success), ("a b; $PATH", true));
        assert!(!run("false", &[]).unwrap().success);
        assert_eq!(run("no-such-program", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn endless_output_is_cut_and_the_program_ends() {
        let printed = run("head", &["-c", "9000000", "/dev/zero"]).unwrap();
        assert_eq!((printed.text.len() as u64, printed.success), (MAX_OUTPUT, true));
    }
}
