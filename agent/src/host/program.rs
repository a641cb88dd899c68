//! The program itself in memory.

use std::io;
use std::ops::Range;

/// Gives the pages of the program's code back that are mapped now. What runs on is mapped again from the page cache; what only
/// the start needed (reading the configuration, probes, certificates) stays out: a third of what is resident.
/// Answers how many bytes of code there are.
///
/// # Errors
/// The kernel does not show or not give back the mapping: nothing has changed.
#[expect(clippy::disallowed_methods, reason = "of the process, not of the machine")]
pub fn drop_code() -> io::Result<usize> {
    let here = drop_code as fn() -> io::Result<usize> as usize;
    let Some(code) = code(&std::fs::read_to_string("/proc/self/maps")?, here) else {
        return Ok(0);
    };
    // SAFETY: a mapping of this program's file that is never written to, so all its pages can be had from the file again.
    match unsafe { libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED) } {
        0 => Ok(code.len()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How much of this process is in memory now, bytes: the second number of `statm` (`proc_pid_statm(5)`), which the kernel
/// counts per processor and so knows to some 100 KiB.
///
/// # Errors
/// /proc is not there.
#[expect(clippy::disallowed_methods, reason = "of the process, not of the machine")]
pub fn resident() -> io::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = pages.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    let page = rustix::param::page_size() as u64;
    pages.and_then(|pages| pages.checked_mul(page)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The mapping of a file that holds `address` and can be run and not written to, of a list as `proc_pid_maps(5)` has it.
fn code(maps: &str, address: usize) -> Option<Range<usize>> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
        let (rights, _offset, _device, inode) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_code = rights.contains('x') && !rights.contains('w') && inode != "0";
        (is_code && range.contains(&address)).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::{code, drop_code, resident};

    const MAPS: &str = "\
55bf2ee64000-55bf2f1df000 r--p 00000000 fe:00 10010673                   /usr/bin/sysops-agent
55bf2f1df000-55bf2ffdf000 r-xp 0037a000 fe:00 10010673                   /usr/bin/sysops-agent (deleted)
55bf2ffdf000-55bf30078000 r--p 01179000 fe:00 10010673                   /usr/bin/sysops-agent
55bf40000000-55bf41000000 rwxp 00000000 00:00 0
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
nonsense
";

    #[test]
    fn only_code_of_a_file_is_given_back() {
        assert_eq!(code(MAPS, 0x55bf_2f1d_f000), Some(0x55bf_2f1d_f000..0x55bf_2ffd_f000));
        for other in [0x55bf_2ee6_4000, 0x55bf_2ffd_f000, 0x55bf_4000_0001, 0x7ffd_0000_0000, 0] {
            assert_eq!(code(MAPS, other), None, "{other:x}");
        }
    }

    #[test]
    fn a_process_knows_what_it_has_in_memory() {
        let (before, much) = (resident().expect("own memory"), vec![1_u8; 64 << 20]);
        let now = resident().expect("own memory");
        assert!(now > before + (32 << 20), "{before} and {now} with {} bytes", much.len());
    }

    #[test]
    fn the_program_goes_on() {
        assert!(drop_code().expect("own memory") > 4096);
        assert!(drop_code().expect("again") > 4096);
    }
}
