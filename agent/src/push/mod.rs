//! Push: the newest values and signs of life to an HTTP collector, as its API wants them. `[push]`.
//!
//! ```text
//! newest values ─ every interval ─► object ─► line ─► poster: sign, POST ─► collector
//!                                    │  ▲
//!                   retry_count wait ▼  │ oldest first, once it answers
//!                                   backup files
//! heart ─ every minute ──────────────────────► poster
//! ```
//!
//! Delivery is at least once and in order. What the collector has not taken waits: in memory, and beyond `retry_count`
//! payloads on disk.

pub mod backup;
mod container;
pub mod files;
pub mod heart;
pub mod line;
pub mod object;
pub mod poster;
pub mod pusher;
pub mod state;
