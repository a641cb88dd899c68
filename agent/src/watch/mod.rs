//! Watch: streams of kernel events.
//!
//! `record` reads one record of `/dev/kmsg`; `scan` judges records with `rules`, `oom_text` and
//! `hang_text`; `kmsg` is the file descriptor around it. `enrich` asks `/proc` about a task that an
//! event names.

pub mod catalogue;
pub mod dstate;
pub mod enrich;
pub mod hang_facts;
pub mod hang_text;
pub mod kmsg;
pub mod oom_text;
pub mod record;
pub mod rules;
pub mod scan;
pub mod wait;
