//! The real agent as its user runs it: a child process with a configuration file, and a server that its
//! alerts go to. Beside it `lab` makes the trouble.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests run programs and look at the machine"
)]

pub(crate) mod agent;
pub(crate) mod collector;
pub(crate) mod confine;
#[cfg(feature = "nats")]
pub(crate) mod nats;
pub(crate) mod scene;
pub(crate) mod webhook;
