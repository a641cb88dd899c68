//! Publish: what the agent knows, told to a server again and again.
//!
//! ```text
//! newest values ─ every metrics_interval ──► payload ─► round ─┬─► courier ─► NATS
//! inventory ───── every inventory_interval ─► payload ─► round ─┴─► spool on disk, while there is no server
//! ```
//!
//! Alerts do not come this way: they have the outbox (`notify`), which syncs each of them. A round is what is told at one
//! moment. It goes straight to the server; what cannot be delivered waits in the spool and goes first, in order, once the
//! server is there. Delivery is at least once, and an id of each message lets the other side see a second one.

#[cfg(feature = "nats")]
pub mod courier;
pub mod message;
pub mod pace;
#[cfg(feature = "nats")]
pub mod payload;
#[cfg(feature = "nats")]
pub mod publisher;
#[cfg(feature = "nats")]
pub mod split;
pub mod spool;
pub mod state;
pub mod visits;

#[cfg(feature = "nats")]
pub use publisher::{Publisher, Sources, Terms};
