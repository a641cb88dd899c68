//! Where the kernel repeats what somebody else gave it: an option of `mount`, the path of a program, what a USB device calls itself.
//!
//! Anybody who may make a user namespace may mount, and so write `tmpfs: Unknown parameter '…'` with words of his own into the
//! kernel's log. The kernel's own words stand before them.

use memchr::memmem;

/// Behind these come the words of a device (`usb_announce`, drivers/usb/core/hub.c; `input_register_device`).
const NAMES: [&str; 4] = [": Product: ", ": Manufacturer: ", ": SerialNumber: ", "input: "];
const QUOTES: [u8; 3] = [b'\'', b'"', b'`'];

/// Where the first such place of a line begins; its length when there is none. A finding that begins behind it is none of the kernel.
pub(super) fn begin(line: &str) -> usize {
    let line = line.as_bytes();
    let opens = |at: &usize| *at > 0 && matches!(line[at - 1], b' ' | b'(' | b'=' | b':' | b'[');
    let quote = memchr::memchr3_iter(QUOTES[0], QUOTES[1], QUOTES[2], line).find(opens);
    let name = NAMES.iter().filter_map(|name| memmem::find(line, name.as_bytes())).min();
    quote.into_iter().chain(name).min().unwrap_or(line.len())
}
