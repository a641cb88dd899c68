//! Inventory: what hardware and software the host is made of.
