//! Watch: streams of kernel events.
//!
//! `record` reads one record of `/dev/kmsg`; `scan` judges records with `rules`, `oom_text`,
//! `hang_text` and, where a process wrote them, `killer_text` and `killers`; `kmsg` is the file descriptor around it. `journal` follows the journal, `syslog` a file. `flood` counts like lines. `enrich` asks `/proc` about a task that an
//! event names.

pub mod catalogue;
pub mod dstate;
pub mod enrich;
pub mod flood;
pub mod hang_facts;
pub mod hang_text;
pub mod journal;
pub mod killer_text;
pub mod killers;
pub mod kmsg;
pub mod oom_text;
pub mod record;
pub mod rules;
pub mod scan;
pub mod syslog;
pub mod wait;
