//! A host written as text.
