//! Log shipper: lines of files to `push.log_url`, every one at least once, in the order of each file.
//!
//! ```text
//! inotify ──► files (look, read) ──► flow: what next? ──► one POST at a time ──► place, on disk
//! ```
//!
//! Nothing is read ahead: while the server takes nothing, the lines stay in their files. A place moves only after the
//! server has taken everything before it.

pub mod files;
pub mod flow;
pub mod keep;
pub mod lines;
pub mod places;
pub mod shipper;
pub mod view;
mod wake;

pub use shipper::Shipper;
