//! Processor time of a pass and of its floor, each in two states of the processor's caches.
//!
//! *Warm*: the same pass over and over, the least of several means. *Swept*: once after 16 MiB of other memory were written, all
//! collectors in turn, then in the same way all floors; the median. A pass each second lies between the two, nearer to the second.

use rustix::time::{ClockId, clock_gettime};

use crate::floor::Floor;
use crate::is_file;
use crate::line::Line;

/// How often everything is measured with swept caches.
const ROUNDS: usize = 15;
/// Means that the least is taken of.
const MEANS: usize = 100;
/// Processor time that one mean is taken over: short enough that on a busy machine some are not interrupted.
const SPAN_NS: u64 = 300_000;
/// More than the caches that belong to one processor.
const SWEPT: usize = 16 << 20;

/// A row of the table: nanoseconds.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) warm: u64,
    pub(crate) warm_floor: u64,
    pub(crate) swept: u64,
    pub(crate) swept_floor: u64,
}

/// Name of the row of all that are files.
pub(crate) const WHOLE: &str = "**all host files**";

/// Measures each line, and all that read files together.
pub(crate) fn all(lines: &mut [Line], mut whole: Floor) -> Vec<Row> {
    let mut rows: Vec<Row> = lines.iter_mut().map(warm).collect();
    rows.push(warm_files(lines, &mut whole));
    swept(lines, &mut whole, &mut rows);
    rows
}

fn warm(line: &mut Line) -> Row {
    let name = line.name;
    let (mut pass, mut floor) = (Least::default(), Least::default());
    for _ in 0..MEANS {
        pass.take(|| line.pass());
        floor.take(|| line.floor.pass());
    }
    Row { name, warm: pass.ns, warm_floor: floor.ns, ..Row::default() }
}

fn warm_files(lines: &mut [Line], whole: &mut Floor) -> Row {
    let (mut pass, mut floor) = (Least::default(), Least::default());
    for _ in 0..MEANS {
        pass.take(|| lines.iter_mut().filter(|line| is_file(line.name)).for_each(Line::pass));
        floor.take(|| whole.pass());
    }
    Row { name: WHOLE, warm: pass.ns, warm_floor: floor.ns, ..Row::default() }
}

fn swept(lines: &mut [Line], whole: &mut Floor, rows: &mut [Row]) {
    let mut memory = vec![0u8; SWEPT];
    let mut times = vec![(Vec::new(), Vec::new()); rows.len()];
    for _ in 0..ROUNDS {
        sweep(&mut memory);
        for (line, (passes, _)) in lines.iter_mut().zip(&mut times) {
            passes.push(cost(|| line.pass()));
        }
        sweep(&mut memory);
        for (line, (_, floors)) in lines.iter_mut().zip(&mut times) {
            floors.push(cost(|| line.floor.pass()));
        }
        sweep(&mut memory);
        if let Some((_, floors)) = times.last_mut() {
            floors.push(cost(|| whole.pass()));
        }
    }
    for ((passes, floors), row) in times.iter_mut().zip(&mut *rows) {
        (row.swept, row.swept_floor) = (median(passes), median(floors));
    }
    let sum = rows.iter().filter(|row| row.name != WHOLE && is_file(row.name)).map(|row| row.swept).sum();
    if let Some(row) = rows.last_mut() {
        row.swept = sum;
    }
}

fn sweep(memory: &mut [u8]) {
    for _ in 0..2 {
        memory.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
    }
    std::hint::black_box(memory);
}

/// The least of means.
struct Least {
    ns: u64,
}

impl Default for Least {
    fn default() -> Self {
        Self { ns: u64::MAX }
    }
}

impl Least {
    fn take(&mut self, mut work: impl FnMut()) {
        let one = cost(&mut work).max(1);
        let times = (SPAN_NS / one).clamp(1, 10_000);
        let all = cost(|| (0..times).for_each(|_| work()));
        self.ns = self.ns.min(all / times);
    }
}

/// Processor time of all threads of this process, nanoseconds.
fn cost(work: impl FnOnce()) -> u64 {
    let time = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let start = time();
    work();
    time() - start
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
