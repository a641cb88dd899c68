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

/// What of this process is in memory, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Heap, stacks, data.
    pub own: u64,
    /// Mapped files: the program's code and libraries.
    pub of_files: u64,
}

/// As of now: the second and third number of `statm` (`proc_pid_statm(5)`), which the kernel counts per processor and so
/// knows to some 100 KiB.
///
/// # Errors
/// /proc is not there.
#[expect(clippy::disallowed_methods, reason = "of the process, not of the machine")]
pub fn resident() -> io::Result<Resident> {
    parse_statm(&std::fs::read_to_string("/proc/self/statm")?, rustix::param::page_size() as u64)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_statm(statm: &str, page: u64) -> Option<Resident> {
    let mut pages = statm.split_ascii_whitespace().skip(1).map(|pages| pages.parse::<u64>().ok());
    let (all, of_files) = (pages.next()??, pages.next()??);
    Some(Resident {
        own: all.checked_sub(of_files)?.checked_mul(page)?,
        of_files: of_files.checked_mul(page)?,
    })
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
    use super::{Resident, code, drop_code, parse_statm, resident};

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
    fn memory_of_files_is_told_from_ones_own() {
        let expected = Resident { own: (9000 - 4000) * 4096, of_files: 4000 * 4096 };
        assert_eq!(parse_statm("20000 9000 4000 3000 0 8000 0\n", 4096), Some(expected));
        for wrong in ["", "1 2", "1 2 3 4", "1 x 3", "1 18446744073709551615 0"] {
            assert_eq!(parse_statm(wrong, 4096), None, "{wrong}");
        }
        let now = resident().expect("own memory");
        assert!(now.own > 0 && now.of_files > 0, "{now:?}");
    }

    #[test]
    fn the_program_goes_on() {
        assert!(drop_code().expect("own memory") > 4096);
        assert!(drop_code().expect("again") > 4096);
    }
}
