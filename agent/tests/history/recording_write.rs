//! A recording into a file.

use super::recording::{CONSTANT, COUNTER, MAGIC, Recorded, Recording, WHOLE};

impl Recording {
    /// As a file.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put(&mut out, self.times.len() as u64);
        for times in &self.times {
            put(&mut out, times.len() as u64);
            let mut last = 0;
            for time in times {
                put(&mut out, time - last);
                last = *time;
            }
        }
        put(&mut out, self.series.len() as u64);
        for series in &self.series {
            series.write(&mut out);
        }
        out
    }
}

impl Recorded {
    fn write(&self, out: &mut Vec<u8>) {
        let constant = self.values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
        let whole = self.values.iter().all(|v| v.fract() == 0.0 && v.abs() < 9e18);
        let flag = |is: bool, flag: u64| if is { flag } else { 0 };
        put(out, self.metric.len() as u64);
        out.extend(self.metric.as_bytes());
        put(out, self.times as u64);
        put(out, flag(whole, WHOLE) | flag(constant, CONSTANT) | flag(self.counter, COUNTER));
        let values = if constant { &self.values[..self.values.len().min(1)] } else { &self.values };
        let mut last = 0;
        for &value in values {
            if whole {
                let delta = value as i64 - last;
                put(out, (delta << 1 ^ delta >> 63) as u64);
                last = value as i64;
            } else {
                out.extend((value as f32).to_le_bytes());
            }
        }
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
