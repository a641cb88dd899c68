//! Watch: streams of kernel events.
