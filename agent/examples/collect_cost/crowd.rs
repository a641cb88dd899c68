//! Sleeping processes. They die with the process that wanted them, however that ends.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::Failure;

/// Most that anybody may ask for.
const MAX: usize = 20_000;

/// So many processes that sleep.
pub(crate) struct Crowd {
    child: Child,
}

impl Crowd {
    /// Starts them and waits until they are there.
    pub(crate) fn gather(count: usize) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--crowd", &count.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut crowd = Self { child: command.spawn()? };
        let mut said = String::new();
        crowd.child.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        if said.trim() == "ready" { Ok(crowd) } else { Err("the crowd is not ready".into()) }
    }
}

/// Processes of the whole machine.
pub(crate) fn processes() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit()).count()
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Its children get a signal from the kernel when it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes `count` processes: one that waits for the end of its input, and its sleeping children.
pub(crate) fn be(count: usize) -> Result<(), Failure> {
    if count > MAX {
        return Err(format!("at most {MAX}").into());
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    for _ in 1..count {
        // SAFETY: this process has one thread, and the child calls nothing but the system.
        match unsafe { libc::fork() } {
            0 => {
                let _ = set_parent_process_death_signal(Some(Signal::KILL));
                // SAFETY: closes descriptors that only the parent uses: whoever reads its output waits for the end of it.
                unsafe { libc::close_range(0, 2, 0) };
                loop {
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            }
            -1 => return Err(std::io::Error::last_os_error().into()),
            _ => {}
        }
    }
    println!("ready");
    std::io::stdout().flush()?;
    // The reader waits for the end of the output.
    // SAFETY: nobody writes to it any more.
    unsafe { libc::close(1) };
    let _ = std::io::stdin().read(&mut [0]);
    Ok(())
}
