//! Watch: streams of kernel events.
//!
//! `record` reads one record of `/dev/kmsg`; `scan` judges records with `rules`, `oom_text` and
//! `hang_text`; `kmsg` is the file descriptor around it. `enrich` asks `/proc` about a task that an
//! event names, `owner` reads a cgroup path, and `counter` compares with what the kernel counted.

pub mod catalogue;
pub mod counter;
pub mod enrich;
pub mod hang_text;
pub mod kmsg;
pub mod oom_text;
pub mod owner;
pub mod record;
pub mod rules;
pub mod scan;
