//! The scan of an image (ITU-T T.81, F.2): bits to samples, a row of MCUs at a time, in memory that is used again. A code that
//! cannot be, or bits that end early, end the image: nothing is guessed.

use multiversion::multiversion;

use super::bits::Bits;
use super::header::{Component, Header, Tables};
use super::huffman::Table;
use super::idct;

/// Samples in a block's row or column.
const BLOCK: usize = 8;
/// Most blocks of an MCU: four for each component.
const UNITS: usize = 12;

/// Where coefficients, in the order in which they are coded, lie in a block that is turned, see [`idct`].
const ZIGZAG: [u8; 64] = [
    0, 8, 1, 2, 9, 16, 24, 17, 10, 3, 4, 11, 18, 25, 32, 40, 33, 26, 19, 12, 5, 6, 13, 20, 27, 34, 41, 48,
    56, 49, 42, 35, 28, 21, 14, 7, 15, 22, 29, 36, 43, 50, 57, 58, 51, 44, 37, 30, 23, 31, 38, 45, 52, 59,
    60, 53, 46, 39, 47, 54, 61, 62, 55, 63,
];
/// Of those that are coded first, how many lie in the upper left 4 rows and columns.
const CORNER: usize = 10;

/// Why bits are no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    Code,
    Block,
    End,
    Restart,
}

impl Damage {
    /// What was found, and what was expected.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Code => "bits that are no code of its tables",
            Self::Block => "a block of more than 64 coefficients",
            Self::End => "the end of its bits where blocks were expected",
            Self::Restart => "no restart marker where one was expected",
        }
    }
}

/// Samples of a row of MCUs, for each component.
#[derive(Debug, Clone, Default)]
pub(super) struct Strips([Strip; 3]);

#[derive(Debug, Clone, Default)]
pub(super) struct Strip {
    samples: Vec<u8>,
    stride: usize,
}

#[cfg(test)]
impl Strips {
    pub(super) fn capacity(&self) -> usize {
        self.0.iter().map(|strip| strip.samples.capacity()).sum()
    }
}

impl Strip {
    /// The first `len` samples of a row.
    pub(super) fn row(&self, number: usize, len: usize) -> &[u8] {
        &self.samples[number * self.stride..][..len]
    }
}

/// A block of an MCU.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    component: usize,
    /// Where it is in the strip's first MCU, and how much further in each that follows.
    first: usize,
    step: usize,
}

/// Goes through a scan.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    tables: &'a Tables,
    components: [Component; 3],
    units: [Unit; UNITS],
    unit_count: usize,
    /// MCUs in a row, and rows.
    mcus: [usize; 2],
    restart_interval: usize,
    /// MCUs until the next restart marker.
    until_restart: usize,
    /// What DC coefficients are told from.
    predictions: [i32; 3],
}

impl<'a> Scan<'a> {
    /// Makes room in `strips`.
    pub(super) fn new(header: &Header, tables: &'a Tables, bits: &'a [u8], strips: &mut Strips) -> Self {
        let mcu_px = header.mcu_blocks().map(|blocks| blocks * BLOCK);
        let mcus = [0, 1].map(|side| header.sides_px[side].div_ceil(mcu_px[side]));
        let (mut units, mut unit_count) = ([Unit::default(); UNITS], 0);
        for (component, &Component { blocks: [across, down], .. }) in header.components().iter().enumerate() {
            let strip = &mut strips.0[component];
            strip.stride = mcus[0] * across * BLOCK;
            strip.samples.resize(strip.stride * down * BLOCK, 0);
            for at in 0..across * down {
                let first = (at / across * strip.stride + at % across) * BLOCK;
                units[unit_count] = Unit { component, first, step: across * BLOCK };
                unit_count += 1;
            }
        }
        let restart_interval = header.restart_interval;
        Self {
            bits: Bits::new(bits),
            tables,
            components: header.components,
            units,
            unit_count,
            mcus,
            restart_interval,
            until_restart: restart_interval,
            predictions: [0; 3],
        }
    }

    /// Gives each row of MCUs with its number to `sink`, in `strips`.
    ///
    /// # Errors
    /// What is wrong, and in which row of how many.
    pub(super) fn run(
        &mut self,
        strips: &mut Strips,
        mut sink: impl FnMut(usize, &[Strip; 3]),
    ) -> Result<(), (Damage, [usize; 2])> {
        let rows = self.mcus[1];
        for row in 0..rows {
            decode_row(self, strips).map_err(|damage| (damage, [row, rows]))?;
            sink(row, &strips.0);
        }
        Ok(())
    }

    #[cold]
    fn restarted(&mut self, bits: Bits<'a>) -> Result<Bits<'a>, Damage> {
        if bits.is_overdrawn() {
            return Err(Damage::End);
        }
        self.until_restart = self.restart_interval;
        self.predictions = [0; 3];
        bits.restarted().ok_or(Damage::Restart)
    }
}

#[multiversion(targets("x86_64+avx2+bmi1+bmi2"))]
fn decode_row(scan: &mut Scan<'_>, strips: &mut Strips) -> Result<(), Damage> {
    let (mut bits, mut block) = (scan.bits, [[0; BLOCK]; BLOCK]);
    for mcu in 0..scan.mcus[0] {
        if scan.restart_interval > 0 {
            if scan.until_restart == 0 {
                bits = scan.restarted(bits)?;
            }
            scan.until_restart -= 1;
        }
        for unit in scan.units.iter().take(scan.unit_count) {
            let component = &scan.components[unit.component];
            let coding = Coding {
                dc: &scan.tables.dc[component.dc],
                ac: &scan.tables.ac[component.ac],
                steps: &scan.tables.quantizers[component.quantizer].0,
            };
            let prediction = &mut scan.predictions[unit.component];
            let count = coding.read(&mut bits, prediction, &mut block)?;
            let samples = match count {
                1 => [[idct::flat(block[0][0]); BLOCK]; BLOCK],
                2..=CORNER => idct::samples::<4>(&block),
                _ => idct::samples::<8>(&block),
            };
            block = [[0; BLOCK]; BLOCK];
            let Strip { samples: strip, stride } = &mut strips.0[unit.component];
            let strip = &mut strip[unit.first + mcu * unit.step..];
            for (row, samples) in samples.iter().enumerate() {
                strip[row * *stride..][..BLOCK].copy_from_slice(samples);
            }
        }
    }
    scan.bits = bits;
    if bits.is_overdrawn() { Err(Damage::End) } else { Ok(()) }
}

/// How a component's blocks are coded.
struct Coding<'a> {
    dc: &'a Table,
    ac: &'a Table,
    steps: &'a [i32; 64],
}

impl Coding<'_> {
    /// Reads the coefficients of a block that has none, and gives how many may be other than 0, in the order in which they are coded.
    #[inline(always)]
    fn read(
        &self,
        bits: &mut Bits<'_>,
        prediction: &mut i32,
        block: &mut idct::Block<i16>,
    ) -> Result<usize, Damage> {
        let block = block.as_flattened_mut();
        bits.fill();
        let difference = self.dc.read(bits).ok_or(Damage::Code)?.number;
        *prediction = prediction.wrapping_add(difference);
        block[0] = dequantized(*prediction, self.steps[0]);
        let mut count = 1;
        while count < 64 {
            bits.fill();
            let coded = self.ac.read(bits).ok_or(Damage::Code)?;
            if coded.number == 0 && coded.run < 15 {
                return Ok(count);
            }
            let at = count + coded.run;
            let Some(&step) = self.steps.get(at) else { return Err(Damage::Block) };
            block[usize::from(ZIGZAG[at] & 63)] = dequantized(coded.number, step);
            count = at + 1;
        }
        Ok(count)
    }
}

/// As much of it as 16 bits hold: sound images have no more.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "sound images fit")]
fn dequantized(number: i32, step: i32) -> i16 {
    number.wrapping_mul(step) as i16
}
