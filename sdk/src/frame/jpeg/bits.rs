//! The bits of a scan (ITU-T T.81, F.2.2.5): most significant first, a zero behind each `FF`, and zeros once a marker comes. Never
//! passes over a marker by itself.

/// Reads bits, with some of them in a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte that is not counted in `count`.
    at: usize,
    /// The next bits, from the top. Below the first `count` there may be some of those that follow, and nothing else.
    next: u64,
    count: u32,
    /// Zeros at the end of `next` that stand for what is not there.
    missing: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, next: 0, count: 0, missing: 0 }
    }

    /// Has at least 32 bits at hand, which are enough for a code and what follows it.
    #[inline(always)]
    pub(super) fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(word) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let word = u64::from_be_bytes(*word);
            if !has_ff(word) {
                let taken = (63 - self.count) / 8;
                self.next |= word >> self.count;
                self.count += 8 * taken;
                self.at += taken as usize;
                return;
            }
        }
        // By value, so that all of it stays in registers otherwise.
        *self = self.filled_by_bytes();
    }

    #[cold]
    #[inline(never)]
    fn filled_by_bytes(mut self) -> Self {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                Some([0xff, ..] | []) | None => {
                    self.missing += 8;
                    0
                }
                Some([byte, ..]) => {
                    self.at += 1;
                    *byte
                }
            };
            self.next |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        self
    }

    /// The next bits, from the top.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.next
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, count: u32) {
        self.next <<= count;
        self.count -= count;
    }

    /// A number of `size` bits, 1 to 16, where the lower half of what they can say stands for negative ones (F.2.2.1, EXTEND).
    #[inline(always)]
    pub(super) fn number(&mut self, size: u32) -> i32 {
        let number = extend(self.next, size);
        self.skip(size);
        number
    }

    /// Whether bits were used that are not there.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.missing > self.count
    }

    /// The bits behind the restart marker that is next; none where there is none. Bytes in front of it are passed over.
    pub(super) fn restarted(self) -> Option<Self> {
        let rest = self.bytes.get(self.at..)?;
        let (super::RST0..=super::RST7, after) = super::next_marker(rest)? else { return None };
        Some(Self { at: self.bytes.len() - after.len(), ..Self::new(self.bytes) })
    }
}

/// The number that the uppermost `size` bits of `bits` stand for.
#[inline(always)]
pub(super) fn extend(bits: u64, size: u32) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "of at most 16 bits")]
    let number = (bits >> (64 - size)) as i32;
    // All ones where the first bit is 0.
    let is_negative = i32::from(bits.cast_signed() >= 0).wrapping_neg();
    number + (is_negative & (1 - (1 << size)))
}

/// Whether a byte of `word` is `FF`.
#[inline(always)]
pub(super) fn has_ff(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The top bit of a byte comes out where the byte has it and loses it to the addition.
    word & !word.wrapping_add(ONES) & (ONES << 7) != 0
}
