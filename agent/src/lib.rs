//! `sysops-agent`: from the kernel's events and counters to alerts that arrive.
//!
//! The data flow, and the order in which modules may know each other, is in `docs/DESIGN.md`.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests read files and clocks")
)]

pub mod alert;
pub mod analyze;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod collect;
pub mod command;
pub mod config;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod edge;
pub mod engine;
pub mod event;
pub mod formulas;
pub mod history;
pub mod host;
pub mod inventory;
pub mod metric;
pub mod notify;
pub mod publish;
pub mod push;
pub mod sample;
#[cfg(feature = "prometheus")]
pub mod serve;
pub mod service;
pub mod ship;
pub mod text;
pub mod time;
pub mod watch;
