//! Bits, bytes and numbers of variable length, in and out of a slice. Nothing here panics: who runs out of room is told.

/// Writes into a slice.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    pending: u128,
    bits: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0, pending: 0, bits: 0 }
    }

    /// Bytes written. More than the room there was: nothing written is of use.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.at) {
            *place = byte;
        }
        self.at += 1;
    }

    /// 7 bits a byte, least first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    /// The lowest `width` bits; those above are zero.
    pub(super) fn bits(&mut self, number: u64, width: u8) {
        self.pending |= u128::from(number) << self.bits;
        self.bits += u32::from(width);
        if self.bits >= 64 {
            if let Some(place) = self.out.get_mut(self.at..self.at + 8) {
                place.copy_from_slice(&(self.pending as u64).to_le_bytes());
            }
            self.at += 8;
            self.pending >>= 64;
            self.bits -= 64;
        }
    }

    /// Ends a run of bits at the next whole byte.
    pub(super) fn align(&mut self) {
        while self.bits > 0 {
            self.byte(self.pending as u8);
            self.pending >>= 8;
            self.bits = self.bits.saturating_sub(8);
        }
        self.pending = 0;
    }
}

/// Reads out of a slice.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = *self.data.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// So many bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.data.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Calls `take` with `count` numbers of `width` bits that begin `bit` bits from here.
    pub(super) fn bits(&self, bit: usize, width: u8, out: &mut [u64]) {
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let mut bit = self.at * 8 + bit;
        for number in out {
            let (byte, rest) = (bit / 8, (bit % 8) as u32);
            *number = match self.data.get(byte..byte + 8).and_then(|bytes| bytes.as_array()) {
                Some(bytes) if width <= 57 => u64::from_le_bytes(*bytes) >> rest & mask,
                _ => (self.near(byte) >> rest) as u64 & mask,
            };
            bit += usize::from(width);
        }
    }

    /// 16 bytes from there on, zeros where there are none.
    fn near(&self, byte: usize) -> u128 {
        let mut near = [0; 16];
        for (to, from) in near.iter_mut().zip(self.data.get(byte..).unwrap_or_default()) {
            *to = *from;
        }
        u128::from_le_bytes(near)
    }

    /// Passes so many bits and what is left of the last byte.
    pub(super) fn pass(&mut self, bits: usize) {
        self.at += bits.div_ceil(8);
    }
}
