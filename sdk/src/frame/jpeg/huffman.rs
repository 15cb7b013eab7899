//! Huffman tables (ITU-T T.81, C and F.2.2.3). Most codes are looked up together with the number behind them.

use super::bits::{Bits, extend};

/// Codes of so many bits are looked up at once.
const LOOKAHEAD: u32 = 10;
const LONGEST: u32 = 16;

/// What codes mean.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// By the next bits: the code that they begin with, see [`Entry`].
    entries: [Entry; 1 << LOOKAHEAD],
    /// For each length of code, what the next 16 bits are below if their code is no longer.
    ends: [u32; LONGEST as usize + 1],
    /// For each length, what added to a code gives the place of its symbol.
    offsets: [u32; LONGEST as usize + 1],
    symbols: [u8; 256],
}

/// A code, and what is behind it where both are short. From the lowest: 8 bits for how many bits to pass over, none where the code is
/// longer than looked at; 4 for the size of the number that is yet to be read; 4 for zeros in front of it; 16 for the number, where
/// that was short.
#[derive(Debug, Clone, Copy, Default)]
struct Entry(u32);

impl Entry {
    fn new(symbol: u8, length: u32, bits: u64) -> Self {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 || length + size > LOOKAHEAD {
            return Self(run << 12 | size << 8 | length);
        }
        Self((extend(bits << length, size) << 16).cast_unsigned() | run << 12 | (length + size))
    }
}

/// What came of a code: zeros, and the number behind them; a 0 is the end of the block or, behind 15 zeros, one more of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded {
    pub(super) run: usize,
    pub(super) number: i32,
}

impl Default for Table {
    fn default() -> Self {
        let lengths = [0; LONGEST as usize + 1];
        Self { entries: [Entry(0); 1 << LOOKAHEAD], ends: lengths, offsets: lengths, symbols: [0; 256] }
    }
}

impl Table {
    /// Makes the table of so many codes of 1 to 16 bits for `symbols`; says whether there is such a table.
    pub(super) fn set(&mut self, counts: &[u8; 16], symbols: &[u8]) -> bool {
        let Some(known) = self.symbols.get_mut(..symbols.len()) else { return false };
        known.copy_from_slice(symbols);
        self.entries.fill(Entry(0));
        let (mut code, mut place) = (0_u32, 0_u32);
        for (length, &count) in (1..).zip(counts) {
            self.offsets[length as usize] = place.wrapping_sub(code);
            for _ in 0..count {
                let Some(&symbol) = symbols.get(place as usize) else { return false };
                self.enter(code, length, symbol);
                (code, place) = (code + 1, place + 1);
            }
            // No code is all ones.
            if code >= 1 << length {
                return false;
            }
            self.ends[length as usize] = code << (LONGEST - length);
            code <<= 1;
        }
        place as usize == symbols.len()
    }

    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        let Some(rest) = LOOKAHEAD.checked_sub(length) else { return };
        let first = code << rest;
        for (bits, entry) in (first..).zip(self.entries.iter_mut().skip(first as usize).take(1 << rest)) {
            *entry = Entry::new(symbol, length, u64::from(bits) << (64 - LOOKAHEAD));
        }
    }

    /// Reads a code and the number behind it, for which `bits` were filled; none where there is no such code.
    #[inline(always)]
    pub(super) fn read(&self, bits: &mut Bits<'_>) -> Option<Coded> {
        let Entry(entry) = self.entries[(bits.peek() >> (64 - LOOKAHEAD)) as usize];
        let (length, run, number) = (entry & 0xff, entry >> 12 & 15, entry.cast_signed() >> 16);
        if number != 0 {
            bits.skip(length);
            return Some(Coded { run: run as usize, number });
        }
        let (run, size) = if length == 0 {
            let symbol = self.read_long(bits)?;
            (u32::from(symbol >> 4), u32::from(symbol & 15))
        } else {
            bits.skip(length);
            (run, entry >> 8 & 15)
        };
        Some(Coded { run: run as usize, number: if size == 0 { 0 } else { bits.number(size) } })
    }

    #[cold]
    fn read_long(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let next = (bits.peek() >> (64 - LONGEST)) as u32;
        let length = (LOOKAHEAD + 1..=LONGEST).find(|length| next < self.ends[*length as usize])?;
        let place = (next >> (LONGEST - length)).wrapping_add(self.offsets[length as usize]);
        bits.skip(length);
        self.symbols.get(place as usize).copied()
    }
}
