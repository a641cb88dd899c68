//! The built-in rules as data, most telling first: a line belongs to the first rule that matches it.
//!
//! To add one: a row with its samples in the file of its class, then `cargo xtask docs`; nothing else.

mod bus;
mod disk;
mod disk_more;
mod docs;
mod filesystem;
mod gpu;
mod kernel;
mod kernel_more;
mod memory;
mod network;
mod network_more;
mod process;
mod processor;
mod processor_more;
mod xid;

use super::rules::Rule;
pub use docs::rules_doc;
pub use xid::{XIDS, Xid, xid};

/// All built-in rules, in the order in which they are asked.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    const ALL: &[&[Rule]] = &[
        gpu::RULES,
        memory::RULES,
        processor::RULES,
        processor_more::RULES,
        bus::RULES,
        filesystem::RULES,
        disk::RULES,
        disk_more::RULES,
        network::RULES,
        network_more::RULES,
        kernel::RULES,
        kernel_more::RULES,
        process::RULES,
    ];
    ALL.iter().copied().flatten()
}
