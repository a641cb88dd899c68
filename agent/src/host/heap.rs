//! The heap of this process.

/// From now on all threads share one arena of the C library, not one each: after a storm of alerts their empty pages are three
/// of forty megabytes, and threads that hardly ever allocate at once have nothing to wait for. Other C libraries have one heap.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number; nobody else calls it, and the program has one thread yet.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}
