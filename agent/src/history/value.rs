//! Values as whole numbers: what makes them small.

use super::bytes::{Reader, Writer};
use super::pack::{self, FRAME};

/// How the values of a frame became whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// They are whole: exact.
    Whole,
    /// Times ten to this power: at least five significant digits of each.
    Decimal(i8),
    /// Sign, exponent and 17 bits of the fraction, counted from just below the least that is not zero: five significant
    /// digits of each, however far apart they are.
    Float(i64),
    /// All bits.
    Raw,
}

/// Bits of the fraction that a float gives up.
const CUT: u32 = 35;
/// The greatest finite one.
const MOST: i64 = (f64::INFINITY.to_bits() >> CUT) as i64 - 1;
/// Powers of ten on each side of 1.
const POWERS: i8 = 18;
/// Adding and taking away this rounds what is below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Greatest that rounds so.
const ROUNDS: f64 = 2_251_799_813_685_248.0;
/// Whole numbers whose differences do not overflow.
const WHOLE: f64 = 4e18;

const TENS: [f64; 19] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];

fn scale(value: f64, power: i8) -> f64 {
    let ten = TENS[usize::from(power.unsigned_abs()).min(18)];
    if power < 0 { value / ten } else { value * ten }
}

/// Writes at most [`FRAME`] values.
pub(super) fn write(values: &[f64], out: &mut Writer) {
    let mut numbers = [0; FRAME];
    let numbers = &mut numbers[..values.len().min(FRAME)];
    let form = choose(values, numbers);
    let (code, extra) = match form {
        Form::Whole => (0, None),
        Form::Decimal(power) => (1, Some(u64::from(power as u8))),
        Form::Float(least) => (2, Some(least as u64)),
        Form::Raw => (3, None),
    };
    out.byte(code);
    if let Some(extra) = extra {
        out.number(extra);
    }
    pack::pack(numbers, out);
}

/// Reads as many values as there is room for. `None`: this is no such frame.
pub(super) fn read(from: &mut Reader, values: &mut [f64]) -> Option<()> {
    let form = match from.byte()? {
        0 => Form::Whole,
        1 => Form::Decimal(Some(from.number()? as i8).filter(|power| power.unsigned_abs() <= 18)?),
        2 => Form::Float(from.number()? as i64),
        3 => Form::Raw,
        _ => return None,
    };
    let mut numbers = [0; FRAME];
    let numbers = numbers.get_mut(..values.len())?;
    pack::unpack(from, numbers)?;
    let pairs = values.iter_mut().zip(numbers);
    match form {
        Form::Whole => pairs.for_each(|(value, n)| *value = *n as f64),
        Form::Decimal(power) => {
            let ten = TENS[usize::from(power.unsigned_abs()).min(18)];
            if power < 0 {
                pairs.for_each(|(value, n)| *value = *n as f64 * ten);
            } else {
                pairs.for_each(|(value, n)| *value = *n as f64 / ten);
            }
        }
        Form::Float(least) => pairs.for_each(|(value, n)| *value = from_float(*n, least)),
        Form::Raw => pairs.for_each(|(value, n)| *value = f64::from_bits(*n as u64)),
    }
    Some(())
}

#[expect(clippy::float_cmp, reason = "exact is what is meant")]
fn choose(values: &[f64], numbers: &mut [i64]) -> Form {
    let mut whole = true;
    let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
    for (number, &value) in numbers.iter_mut().zip(values) {
        *number = value as i64;
        whole &= *number as f64 == value && value.abs() < WHOLE;
        let size = value.abs();
        if !size.is_finite() {
            greatest = f64::INFINITY;
        } else if size > 0.0 {
            least = least.min(size);
            greatest = greatest.max(size);
        }
    }
    if whole {
        return Form::Whole;
    }
    let form = if greatest.is_infinite() || least < f64::MIN_POSITIVE {
        Form::Raw
    } else {
        real(values, least, greatest)
    };
    for (number, &value) in numbers.iter_mut().zip(values) {
        *number = match form {
            Form::Decimal(power) => (scale(value, power) + ROUND - ROUND) as i64,
            Form::Float(least) => to_float(value, least),
            Form::Raw | Form::Whole => value.to_bits() as i64,
        };
    }
    form
}

/// Decimal or float, whichever spans the smaller range. Not all whole, all finite.
fn real(values: &[f64], least: f64, greatest: f64) -> Form {
    let float = Form::Float(cut(least) - 1);
    let Some(power) = power(values, greatest) else { return float };
    let (min, max) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(*v), max.max(*v)));
    let bias = cut(least) - 1;
    let floats = (to_float(max, bias) - to_float(min, bias)) as f64;
    if scale(max, power) - scale(min, power) <= floats { Form::Decimal(power) } else { float }
}

/// The least power of ten that leaves five significant digits, or all there are, of each value.
fn power(values: &[f64], greatest: f64) -> Option<i8> {
    let digits = greatest.log10().floor();
    let mut power = (4.0 - digits).clamp(-f64::from(POWERS), 0.0) as i8;
    let mut ten = scale(1.0, power);
    for &value in values {
        loop {
            let scaled = value * ten;
            let size = scaled.abs();
            if size >= ROUNDS || power > POWERS {
                return None;
            }
            // Half a unit of the fifth digit.
            let allowed = match size {
                1e4.. => 0.5,
                1e3.. => 0.05,
                1e2.. => 0.005,
                1e1.. => 0.0005,
                1e0.. => 0.00005,
                _ => 0.0,
            };
            if (scaled - (scaled + ROUND - ROUND)).abs() <= allowed {
                break;
            }
            power += 1;
            ten = scale(1.0, power);
        }
    }
    Some(power)
}

fn cut(size: f64) -> i64 {
    ((size.to_bits() + (1 << (CUT - 1))) >> CUT).min(MOST as u64) as i64
}

fn to_float(value: f64, least: i64) -> i64 {
    if value == 0.0 {
        return 0;
    }
    let size = cut(value.abs()) - least;
    if value < 0.0 { -size } else { size }
}

fn from_float(number: i64, least: i64) -> f64 {
    if number == 0 {
        return 0.0;
    }
    let size = number.unsigned_abs().wrapping_add(least as u64).min(MOST as u64);
    let size = f64::from_bits(size << CUT);
    if number < 0 { -size } else { size }
}
