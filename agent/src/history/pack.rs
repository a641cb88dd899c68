//! Whole numbers in few bits.
//!
//! What is left of a number once a guess is taken away is small: the guess is a straight line through the frame (level is
//! one), or the number before. Which of them is found out for each frame, and each group of numbers has the width it needs,
//! so that a spike costs its own group only. Zeros that all of them end in are left out (bytes that come in pages).
//! Arithmetic wraps: any 64 bits come back as they were.

use super::bytes::{Reader, Writer};

/// Numbers in a frame at most.
pub(super) const FRAME: usize = 60;
/// Numbers with a width of their own.
const GROUP: usize = 15;
const GROUPS: usize = FRAME / GROUP;

/// Flags of a packed frame. Guess: the number before; else a line, which is level but for [`SLOPED`].
const DELTA: u8 = 1;
const SLOPED: u8 = 2;
/// Nothing is left.
const FLAT: u8 = 4;
/// What is left may be negative.
const SIGNED: u8 = 8;
/// What is left ends in zeros, whose number follows.
const ZEROS: u8 = 16;

/// How what is left is written.
#[derive(Clone, Copy)]
struct Plan {
    centre: i64,
    signed: bool,
    zeros: u32,
    widths: [u8; GROUPS],
    bits: usize,
}

fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

impl Plan {
    /// The cheapest centre: the least number, or the middle of a group, with signs for what lies below it.
    fn of(numbers: &[i64]) -> Self {
        let first = numbers.first().copied().unwrap_or_default();
        let differ = numbers.iter().fold(0, |all, n| all | n.wrapping_sub(first));
        let zeros = if differ == 0 { 0 } else { differ.trailing_zeros() };
        let mut spans = [(0, 0); GROUPS];
        for (span, group) in spans.iter_mut().zip(numbers.chunks(GROUP)) {
            *span = group.iter().fold((i64::MAX, i64::MIN), |(min, max), &n| (min.min(n), max.max(n)));
        }
        let spans = &spans[..numbers.len().div_ceil(GROUP).min(GROUPS)];
        let least = spans.iter().map(|s| s.0).min().unwrap_or_default();
        let greatest = spans.iter().map(|s| s.1).max().unwrap_or_default();
        let mut best = Self { centre: least, signed: false, zeros, widths: [0; GROUPS], bits: 0 }.fit(spans);
        if best.bits > 0 && greatest.checked_sub(least).is_some_and(|range| range < 1 << 61) {
            for &(low, high) in spans {
                let middle = (low - first + (high - low) / 2) >> zeros << zeros;
                let plan = Self { centre: first + middle, signed: true, ..best }.fit(spans);
                if plan.bits < best.bits {
                    best = plan;
                }
            }
        }
        best
    }

    fn fit(mut self, spans: &[(i64, i64)]) -> Self {
        self.bits = 0;
        for (width, &(low, high)) in self.widths.iter_mut().zip(spans) {
            let most = code(self.centre, self.signed, self.zeros, low).max(code(
                self.centre,
                self.signed,
                self.zeros,
                high,
            ));
            *width = (64 - most.leading_zeros()) as u8;
            self.bits += usize::from(*width) * GROUP;
        }
        self
    }
}

#[inline]
fn code(centre: i64, signed: bool, zeros: u32, number: i64) -> u64 {
    let off = number.wrapping_sub(centre);
    if signed { zigzag(off >> zeros) } else { off as u64 >> zeros }
}

/// Writes at most [`FRAME`] numbers, at least one.
pub(super) fn pack(numbers: &[i64], out: &mut Writer) {
    let count = numbers.len().min(FRAME);
    let numbers = &numbers[..count];
    let (first, last) =
        (numbers.first().copied().unwrap_or_default(), numbers.last().copied().unwrap_or_default());
    let mut deltas = [0; FRAME];
    for (delta, pair) in deltas.iter_mut().zip(numbers.windows(2)) {
        *delta = pair[1].wrapping_sub(pair[0]);
    }
    let deltas = &deltas[..count.saturating_sub(1)];
    let (mut flags, mut plan, mut left) = (0, Plan::of(numbers), numbers);
    if plan.bits > 0 {
        let step = Plan::of(deltas);
        if step.bits + 16 < plan.bits {
            (flags, plan, left) = (DELTA, step, deltas);
        }
    }
    let slope = if count > 1 { last.wrapping_sub(first) / (count as i64 - 1) } else { 0 };
    let mut sloped = [0; FRAME];
    if slope != 0 && plan.bits > 0 {
        for (i, (off, number)) in sloped.iter_mut().zip(numbers).enumerate() {
            *off = number.wrapping_sub(slope.wrapping_mul(i as i64));
        }
        let line = Plan::of(&sloped[..count]);
        if line.bits + 16 < plan.bits {
            (flags, plan, left) = (SLOPED, line, &sloped[..count]);
        }
    }
    flags |= if plan.bits == 0 { FLAT } else { 0 };
    flags |= if plan.signed { SIGNED } else { 0 };
    flags |= if plan.zeros > 0 && plan.bits > 0 { ZEROS } else { 0 };
    out.byte(flags);
    match flags & (DELTA | SLOPED) {
        DELTA => out.number(zigzag(first)),
        SLOPED => out.number(zigzag(slope)),
        _ => {}
    }
    out.number(zigzag(plan.centre));
    if plan.bits > 0 {
        write(left, &plan, out);
    }
}

fn write(left: &[i64], plan: &Plan, out: &mut Writer) {
    if plan.zeros > 0 {
        out.byte(plan.zeros as u8);
    }
    let groups = left.len().div_ceil(GROUP);
    plan.widths.iter().take(groups).for_each(|width| out.byte(*width));
    for (group, width) in left.chunks(GROUP).zip(plan.widths) {
        for number in group {
            out.bits(code(plan.centre, plan.signed, plan.zeros, *number), width);
        }
    }
    out.align();
}

/// Reads as many numbers as `numbers` has room for, as many as were written. `None`: these are not such numbers.
pub(super) fn unpack(from: &mut Reader, numbers: &mut [i64]) -> Option<()> {
    let flags = from.byte()?;
    let extra = if flags & (DELTA | SLOPED) == 0 { 0 } else { unzigzag(from.number()?) };
    let centre = unzigzag(from.number()?);
    let delta = flags & DELTA != 0;
    let left = if delta { numbers.split_first_mut()?.1 } else { &mut *numbers };
    if flags & FLAT == 0 {
        read(from, flags, centre, left)?;
    } else {
        left.fill(centre);
    }
    if delta {
        let mut last = extra;
        *numbers.first_mut()? = last;
        for number in &mut numbers[1..] {
            last = last.wrapping_add(*number);
            *number = last;
        }
    } else if extra != 0 {
        let mut line = 0_i64;
        for number in numbers {
            *number = number.wrapping_add(line);
            line = line.wrapping_add(extra);
        }
    }
    Some(())
}

fn read(from: &mut Reader, flags: u8, centre: i64, left: &mut [i64]) -> Option<()> {
    let zeros = if flags & ZEROS == 0 { 0 } else { u32::from(from.byte()?) };
    let mut widths = [0; GROUPS];
    for width in widths.iter_mut().take(left.len().div_ceil(GROUP)) {
        *width = from.byte()?;
    }
    if zeros > 63 || widths.iter().any(|width| *width > 64) {
        return None;
    }
    let mut bit = 0;
    let mut codes = [0; GROUP];
    for (group, width) in left.chunks_mut(GROUP).zip(widths) {
        let codes = &mut codes[..group.len()];
        from.bits(bit, width, codes);
        bit += group.len() * usize::from(width);
        for (number, code) in group.iter_mut().zip(codes) {
            let off = if flags & SIGNED == 0 { *code as i64 } else { unzigzag(*code) };
            *number = centre.wrapping_add(off << zeros);
        }
    }
    from.pass(bit);
    Some(())
}
