//! Waits of a thread: begun at one tracepoint, ended at another, remembered in a small table without
//! collisions lists: a slot a thread number modulo the size. A newer wait takes the slot of an older
//! one, whose end then counts for nothing. That bounds memory, needs no lock and no search, and
//! costs a load and a store.

/// Bits of a slot that hold the moment; the others hold the thread. 2^42 ns are 73 minutes.
const MOMENT_BITS: u32 = 42;
const MOMENT: u64 = (1 << MOMENT_BITS) - 1;

/// What a slot holds while a thread waits. Thread numbers have 22 bits (`PID_MAX_LIMIT`, `include/linux/threads.h`).
#[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
#[inline(always)]
pub const fn begun(thread: u32, now_ns: u64) -> u64 {
    (thread as u64) << MOMENT_BITS | now_ns & MOMENT
}

/// How long the thread has waited, if the slot is its own.
#[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
#[inline(always)]
pub const fn ended(slot: u64, thread: u32, now_ns: u64) -> Option<u64> {
    if slot >> MOMENT_BITS != thread as u64 || slot == 0 {
        return None;
    }
    Some(now_ns.wrapping_sub(slot) & MOMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_the_threads_own() {
        for (thread, from, to, of, expect) in [
            (7, 1000, 3500, 7, Some(2500)),
            (7, 1000, 3500, 8, None),
            (7, 1000, 3500, 7 + 1024, None),
            ((1 << 22) - 1, 0, 1, (1 << 22) - 1, Some(1)),
            (7, MOMENT, MOMENT + 5, 7, Some(5)),
            (7, u64::MAX - 1, 1, 7, Some(3)),
            (7, 5 << MOMENT_BITS, (5 << MOMENT_BITS) + 9, 7, Some(9)),
        ] {
            assert_eq!(ended(begun(thread, from), of, to), expect, "{thread} {from} {to} {of}");
        }
        assert_eq!(ended(0, 0, 9), None, "an empty slot is nobody's");
    }
}
