//! The first process of the virtual machines of `cargo xtask vm`.
//!
//! It reads its [`plan::Plan`], starts the agent, causes one kernel event after the other, judges the alerts
//! that the agent delivers, and tells the host in [`report::Line`]s. The host shares these types and the
//! table of [`scenarios`].
//!
//! ```text
//! init → machine (mounts, modules) → for each rights: Agent → scenarios::ALL (cause, then judge) → report
//!                                                       └ alerts → inbox ┘
//! ```

pub mod agent;
pub mod inbox;
pub mod init;
pub mod lab;
pub mod machine;
pub mod md;
pub mod plan;
pub mod readings;
pub mod report;
pub mod roles;
pub mod scenarios;
mod sys;
pub mod systemd;
