//! The heap of this process, where the C library is glibc. Others have one heap and give back what is free.

/// From this size on memory is asked of the kernel by itself, and given back by itself, bytes: the C library's own begin. Left
/// alone it raises that to the largest block that was ever freed, and what a storm of alerts needed stays.
#[cfg(target_env = "gnu")]
const OWN_PAGES: libc::c_int = 128 << 10;

/// From now on all threads share one arena, not one each: after a storm of alerts their empty pages are three of forty megabytes,
/// and threads that hardly ever allocate at once have nothing to wait for.
pub fn share() {
    #[cfg(target_env = "gnu")]
    for (what, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, OWN_PAGES), (libc::M_TRIM_THRESHOLD, OWN_PAGES)]
    {
        // SAFETY: it sets a number; nobody else calls it, and the program has one thread yet.
        let _ = unsafe { libc::mallopt(what, value) };
    }
}

/// Gives the kernel the pages in which nothing is any more, also those between what is in use.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the lock of the heap as every allocation does, and changes nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}
