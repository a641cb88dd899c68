//! Engine: all state, one pure step.
pub mod condition;
pub mod derive;
pub mod incident;
pub mod series;
pub mod store;
