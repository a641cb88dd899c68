//! Engine: all state, one pure step.
