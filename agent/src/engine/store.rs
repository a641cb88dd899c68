//! History as the engine uses it: [`crate::history`].

pub use crate::history::{Store, Summary};
