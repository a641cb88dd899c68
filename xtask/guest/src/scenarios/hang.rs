//! Tasks that hang in the kernel.

use std::thread::sleep;
use std::time::Duration;

use crate::lab::{Lab, Seen, Verdict};
use crate::machine::{self, Frozen};

const RULE: &str = "hung_task";
const PROBE: &str = "ebpf.hung_task";
const DIR: &str = "/mnt";

/// One that the kernel log tells of too.
pub(super) fn told(lab: &mut Lab) -> Verdict {
    hang(lab, "writer", true)
}

/// One after the kernel's last report (`hung_task_warnings` used up): only eBPF can see it.
pub(super) fn silent(lab: &mut Lab) -> Verdict {
    let set = |value| machine::set_sysctl("kernel/hung_task_warnings", value);
    set("0").map_err(|e| format!("hung_task_warnings: {e}"))?;
    let verdict = hang(lab, "silentwriter", false);
    set("10").map_err(|e| format!("hung_task_warnings: {e}"))?;
    verdict
}

fn hang(lab: &mut Lab, name: &str, logged: bool) -> Verdict {
    let fail = |what: &str| format!("{what} does not work");
    let _timeout = Impatient::new().map_err(|e| format!("hung_task_timeout_secs: {e}"))?;
    machine::mount("/dev/vda", DIR, "ext4").map_err(|e| format!("/dev/vda: {e}"))?;
    let frozen = Frozen::new(DIR).map_err(|e| fail(&format!("freezing {DIR} ({e})")))?;
    let writer = lab.writer(name, &format!("{DIR}/{name}"))?;
    let pid = writer.pid();
    let first = lab.first(RULE, PROBE, logged, |a| a.context.get("task_pid") == Some(&pid.into()));
    if logged && lab.is_on(PROBE) {
        // The stack of the eBPF record is named aside, which takes an emulated machine seconds.
        sleep(Duration::from_secs(5));
    }
    drop(frozen);
    writer.end()?;
    machine::unmount(DIR).map_err(|e| format!("{DIR}: {e}"))?;
    let Some(first) = first? else { return Ok(Seen::default()) };
    // A witness that came after the first message is named by the last one.
    let found = lab.whole(first, |a| a.status == "resolved")?;
    found.says("task_comm", name)?.label("process", name)?;
    Ok(found.seen_now())
}

/// Two seconds instead of two minutes.
struct Impatient;

impl Impatient {
    fn new() -> std::io::Result<Self> {
        // 0 (as often as the timeout) is the default; kernels before 4.19 have no such knob.
        let _ = machine::set_sysctl("kernel/hung_task_check_interval_secs", "1");
        machine::set_sysctl("kernel/hung_task_timeout_secs", "2")?;
        Ok(Self)
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        let _ = machine::set_sysctl("kernel/hung_task_timeout_secs", "120");
    }
}
