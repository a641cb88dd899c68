//! `sysops-agent`.
fn main() {}
