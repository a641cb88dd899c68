//! eBPF: loading, attaching and reading the programs.
