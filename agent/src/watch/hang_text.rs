//! From the kernel's words about a hung task (`kernel/hung_task.c`) to [`Hang`]s.
//!
//! `INFO: task NAME:PID blocked for more than N seconds.` is told at once; when the stack follows, the
//! same hang is told again with it.

use super::rules::cut;
use crate::event::{Hang, Task};

/// Frames kept, innermost first.
const MAX_FRAMES: usize = 16;
/// Longest frame kept, bytes; a symbol has at most 512 (`KSYM_NAME_LEN`), few more than 60.
const MAX_FRAME: usize = 256;
/// Lines of others that may stand between those of one stack.
const MAX_FOREIGN: u8 = 8;

/// Functions of the scheduler: what a task waits in is the first one that is none of these.
const SCHEDULER: [&str; 9] = [
    "__schedule",
    "__switch_to",
    "io_schedule",
    "io_schedule_timeout",
    "preempt_schedule_common",
    "schedule",
    "schedule_hrtimeout_range",
    "schedule_preempt_disabled",
    "schedule_timeout",
];

/// Puts the lines of hung tasks together. Its memory is one `Pending`.
#[derive(Debug, Default)]
pub struct HangText {
    pending: Option<Box<Pending>>,
}

/// A hang whose stack may follow.
#[derive(Debug)]
struct Pending {
    time_us: u64,
    hang: Hang,
    at: At,
    foreign: u8,
}

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the stack.
    Head,
    /// In the stack.
    Stack,
    /// Behind it; the line about what the task waits for may follow (since 6.16).
    End,
}

impl HangText {
    /// Takes the text of one record of the kernel's own; `tell` gets a hang and the kernel time of its
    /// first line.
    pub fn line(&mut self, time_us: u64, text: &str, tell: &mut dyn FnMut(u64, Hang)) {
        if let Some(info) = text.strip_prefix("INFO: task ") {
            if let Some(hang) = blocked(info) {
                self.flush(tell);
                tell(time_us, hang.clone());
                self.pending = Some(Box::new(Pending { time_us, hang, at: At::Head, foreign: 0 }));
                return;
            }
            if let Some(pending) = self.pending.as_mut()
                && let Some(why) = blocker(info, &pending.hang)
            {
                pending.hang.stack.push(cut(&why, MAX_FRAME).to_owned());
                self.flush(tell);
                return;
            }
        }
        let Some(pending) = self.pending.as_mut() else { return };
        pending.line(text);
        let patience = if pending.at == At::End { 0 } else { MAX_FOREIGN };
        if pending.foreign > patience {
            self.flush(tell);
        }
    }

    /// Whether a stack is being read.
    pub fn pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The log is quiet: what has come of a stack is all there is.
    pub fn flush(&mut self, tell: &mut dyn FnMut(u64, Hang)) {
        if let Some(pending) = self.pending.take()
            && !pending.hang.stack.is_empty()
        {
            let Pending { time_us, mut hang, .. } = *pending;
            hang.wchan = wchan(&hang.stack);
            tell(time_us, hang);
        }
    }
}

impl Pending {
    fn line(&mut self, text: &str) {
        let before = self.at;
        let known = match before {
            At::Head => self.head(text),
            At::Stack => self.frame(text),
            // The rest of the frames, and the registers of the system call.
            At::End => text.starts_with([' ', 'R']),
        };
        if self.at != before {
            self.foreign = 0;
        } else if !known {
            self.foreign += 1;
        }
    }

    /// Whether a line before the stack is known.
    fn head(&mut self, text: &str) -> bool {
        if let Some(rest) = text.strip_prefix("task:") {
            // The state of another task: the holder of the lock (since 6.16).
            if rest.rsplit_once(" pid:").and_then(|(_, pid)| number(pid)) != self.hang.task.pid {
                self.at = At::End;
            }
        } else if text.starts_with("Call Trace:") || text.starts_with("Call trace:") {
            self.at = At::Stack;
        } else {
            // `      Not tainted 6.1.0`, `"echo 0 > …`, and the raw stack of 3.10.
            return text.starts_with([' ', '"']);
        }
        true
    }

    /// Whether a line within the stack is known.
    fn frame(&mut self, text: &str) -> bool {
        if text == " </TASK>" || text.starts_with("RIP: ") {
            self.at = At::End;
        } else if let Some(frame) = frame(text) {
            if !frame.starts_with("? ") {
                self.hang.stack.push(cut(frame, MAX_FRAME).to_owned());
            }
            if self.hang.stack.len() >= MAX_FRAMES {
                self.at = At::End;
            }
        } else {
            return text == " <TASK>";
        }
        true
    }
}

/// `NAME:PID blocked for more than N seconds.`, since 6.19 also `blocked in I/O wait for …`.
fn blocked(info: &str) -> Option<Hang> {
    let (task, rest) = info.rsplit_once(" blocked ")?;
    let rest = rest.strip_prefix("in I/O wait ").unwrap_or(rest);
    let secs = rest.strip_prefix("for more than ")?.strip_suffix(" seconds.")?;
    let (comm, pid) = task.rsplit_once(':')?;
    let task = Task { pid: Some(pid.parse().ok()?), comm: Some(comm.to_owned()), ..Task::default() };
    Some(Hang { task, blocked_secs: Some(secs.parse().ok()?), ..Hang::default() })
}

/// `NAME:PID is blocked on a mutex likely owned by task OTHER:PID.` about this hang.
fn blocker(info: &str, hang: &Hang) -> Option<String> {
    let (task, why) = info.split_once(" is blocked on ")?;
    let (_, pid) = task.rsplit_once(':')?;
    (pid.parse().ok() == hang.task.pid).then(|| format!("blocked on {}", why.trim_end_matches('.')))
}

/// ` schedule+0x23/0xa0` or ` [<ffffffff816c40a9>] schedule+0x29/0x70`.
fn frame(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let text = match text.strip_prefix("[<") {
        Some(address) => address.split_once(">] ")?.1,
        None => text,
    };
    let name = text.strip_prefix("? ").unwrap_or(text);
    let (name, offset) = name.split_once("+0x")?;
    (!name.contains(' ') && offset.contains("/0x")).then_some(text)
}

fn wchan(stack: &[String]) -> Option<String> {
    let mut names = stack.iter().filter_map(|frame| Some(frame.split_once("+0x")?.0));
    names.find(|name| !SCHEDULER.contains(name)).map(str::to_owned)
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tell(log: &str) -> Vec<Hang> {
        let mut out = Vec::new();
        let mut text = HangText::default();
        for line in log.lines() {
            text.line(1, line, &mut |_, hang| out.push(hang));
        }
        text.flush(&mut |_, hang| out.push(hang));
        out
    }

    fn first(line: &str) -> Option<(String, u32, u64)> {
        let hang = tell(line).into_iter().next()?;
        Some((hang.task.comm?, hang.task.pid?, hang.blocked_secs?))
    }

    #[test]
    fn first_lines() {
        for (line, expect) in [
            ("INFO: task java:1234 blocked for more than 120 seconds.", Some(("java", 1234, 120))),
            (
                "INFO: task kworker/u146:16:495 blocked for more than 120 seconds.",
                Some(("kworker/u146:16", 495, 120)),
            ),
            ("INFO: task dd:5 blocked in I/O wait for more than 9 seconds.", Some(("dd", 5, 9))),
            ("INFO: task a blocked b:7 blocked for more than 2 seconds.", Some(("a blocked b", 7, 2))),
            ("INFO: task :7 blocked for more than 2 seconds.", Some(("", 7, 2))),
            ("INFO: task java blocked for more than 120 seconds.", None),
            ("INFO: task java:x blocked for more than 120 seconds.", None),
            ("INFO: task java:1 blocked for more than x seconds.", None),
            ("INFO: task java:99999999999 blocked for more than 1 seconds.", None),
            ("INFO: rcu_sched self-detected stall on CPU", None),
            (" INFO: task java:1 blocked for more than 1 seconds.", None),
        ] {
            let expect = expect.map(|(comm, pid, secs)| (comm.to_owned(), pid, secs));
            assert_eq!(first(line), expect, "{line}");
        }
    }

    #[test]
    fn a_stack_of_3_10() {
        let hangs = tell(
            "INFO: task glusterfsd:26120 blocked for more than 120 seconds.\n\
             \"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.\n\
             glusterfsd      D ffff8817dddf80b0     0 26120  26119 0x00000080\n \
             ffff882fd0627c70 0000000000000086 ffff880844fe8fb0 ffff882fd0627fd8\n\
             Call Trace:\n \
             [<ffffffff8168c889>] schedule_preempt_disabled+0x29/0x70\n \
             [<ffffffff8168a4e5>] __mutex_lock_slowpath+0xc5/0x1c0\n \
             [<ffffffff8168994f>] ? unsure+0x1f/0x2f\n \
             [<ffffffff8168994f>] mutex_lock+0x1f/0x2f\n",
        );
        assert_eq!(hangs.len(), 2);
        assert!(hangs[0].stack.is_empty());
        let frames = [
            "schedule_preempt_disabled+0x29/0x70",
            "__mutex_lock_slowpath+0xc5/0x1c0",
            "mutex_lock+0x1f/0x2f",
        ];
        assert_eq!(hangs[1].stack, frames);
        assert_eq!(hangs[1].wchan.as_deref(), Some("__mutex_lock_slowpath"));
        assert_eq!(hangs[1].task, hangs[0].task);
    }

    #[test]
    fn what_it_waits_for_is_told_and_the_holders_stack_is_not_taken() {
        let hangs = tell(
            "INFO: task a:1 blocked for more than 9 seconds.\n\
             task:a state:D stack:0 pid:1 tgid:1 ppid:0 task_flags:0x0 flags:0x0\n\
             Call Trace:\n <TASK>\n __schedule+0x1/0x2\n mutex_lock+0x1/0x2\n </TASK>\n\
             INFO: task a:1 is blocked on a mutex likely owned by task b:2.\n\
             task:b state:S stack:0 pid:2 tgid:2 ppid:0 task_flags:0x0 flags:0x0\n\
             Call Trace:\n <TASK>\n __schedule+0x1/0x2\n msleep+0x1/0x2\n </TASK>\n",
        );
        assert_eq!(hangs.len(), 2);
        let stack =
            ["__schedule+0x1/0x2", "mutex_lock+0x1/0x2", "blocked on a mutex likely owned by task b:2"];
        assert_eq!(hangs[1].stack, stack);
        assert_eq!(hangs[1].wchan.as_deref(), Some("mutex_lock"));
    }

    #[test]
    fn two_tasks_one_after_the_other() {
        let hangs = tell(
            "INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n schedule+0x1/0x2\n down+0x1/0x2\n\
             INFO: task b:2 blocked for more than 9 seconds.\nCall Trace:\n schedule+0x1/0x2\n wait+0x1/0x2\n",
        );
        let told: Vec<_> = hangs.iter().map(|h| (h.task.pid.unwrap(), h.wchan.as_deref())).collect();
        assert_eq!(told, [(1, None), (1, Some("down")), (2, None), (2, Some("wait"))]);
    }

    #[test]
    fn lines_of_others_do_not_cut_a_stack_until_they_are_many() {
        let noise = "usb 1-1: new device\n";
        let log = |n| {
            let noise = noise.repeat(n);
            format!(
                "INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n down+0x1/0x2\n{noise} up+0x1/0x2\n"
            )
        };
        assert_eq!(tell(&log(2))[1].stack.len(), 2);
        assert_eq!(tell(&log(50))[1].stack.len(), 1);
    }

    #[test]
    fn a_deep_stack_is_cut() {
        let frames = " f+0x1/0x2\n".repeat(99);
        let hangs = tell(&format!("INFO: task a:1 blocked for more than 9 seconds.\nCall Trace:\n{frames}"));
        assert_eq!((hangs.len(), hangs[1].stack.len()), (2, MAX_FRAMES));
    }

    #[test]
    fn not_frames() {
        for line in
            [" <TASK>", "RIP: 0033:0x7f179cefd011", " RAX: 0 RBX: 0", " a b+0x1/0x2", " f+0x1", " [<f", ""]
        {
            assert_eq!(frame(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_lines_make_it_panic_or_grow(lines in proptest::collection::vec("(INFO: task |task:|Call Trace:| f\\+0x1/0x2|a:1 |is blocked on | blocked for more than 1 seconds\\.| pid:1|[ -~é]){0,5}", 0..30)) {
            let hangs = tell(&lines.join("\n"));
            prop_assert!(hangs.len() <= 2 * lines.len());
            prop_assert!(hangs.iter().all(|h| h.stack.len() <= MAX_FRAMES + 1));
        }
    }
}
