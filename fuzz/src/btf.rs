//! The kernel's description of its types, which is read as if it were hostile.

use std::cell::Cell;
use std::io;

use sysops_agent::ebpf::btf::{Btf, Shape, Source};
use sysops_agent::ebpf::probes::{PROBES, Probe};

use super::pipe::harmless;

/// What the probes ask for, and what they do not.
const PATHS: [&str; 8] = [
    "request.__sector",
    "request.q",
    "mm_struct.rss_stat[1].count",
    "mm_struct.pgtables_bytes.counter",
    "task_struct.comm",
    "task_struct.in_iowait",
    "task_struct",
    "none.none",
];
const TRACEPOINTS: [&str; 2] = ["block_rq_issue", "mark_victim"];
/// Times that the file may be read over for its index and each question; more is a loop.
const MAX_READS: u64 = 200_000;

/// A file that counts how often it is read.
struct File<'a> {
    bytes: &'a [u8],
    reads: &'a Cell<u64>,
}

impl Source for File<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() < MAX_READS, "the file is read again and again");
        self.bytes.read_at(offset, buf)
    }
}

/// Answers lie where a struct can be, or are refused with a sentence.
pub(crate) fn btf(data: &[u8]) {
    let reads = Cell::new(0);
    let of_probes: Vec<String> = PROBES.iter().flat_map(Probe::names).collect();
    let names = PATHS.into_iter().chain(of_probes.iter().map(String::as_str));
    let mut btf = match Btf::parse(File { bytes: data, reads: &reads }, names) {
        Ok(btf) => btf,
        Err(why) => return harmless("the reason", &why.to_string(), 1024),
    };
    for path in PATHS {
        match btf.place(path) {
            Ok(place) => {
                assert!(place.offset <= u64::from(u32::MAX) * 64, "{path}: {place:?}");
                assert!(
                    !matches!(place.shape, Shape::Number(n) if n > u64::from(u32::MAX)),
                    "{path}: {place:?}"
                );
            }
            Err(why) => assert!(why.to_string().len() < 1024, "{why}"),
        }
    }
    for name in TRACEPOINTS {
        if let Ok(signature) = btf.tracepoint(name) {
            assert!(signature.id > 0 && signature.arguments.len() < 16, "{signature:?}");
            assert!(signature.arguments.iter().all(|of| of.len() <= 1024), "{signature:?}");
        }
    }
    for probe in PROBES {
        if let Ok(facts) = probe.facts(&mut btf) {
            assert_eq!(facts.tracepoints.len(), probe.hooks.len(), "{facts:?}");
        }
    }
}
