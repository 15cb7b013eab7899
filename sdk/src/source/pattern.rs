//! A test pattern that moves: the same frames on every machine, so that what is found and how fast can be compared.

use std::time::Duration;

use super::reel::Reel;
use super::{Arrival, Format, Rewound, Shot, Source};
use crate::Error;
use crate::frame::YuvColor;

/// Squares in the pattern.
const SQUARES: usize = 3;
/// Pixels that a square moves a frame.
const STEP_PX: usize = 4;
/// Y, U and V of the squares: red, green and blue of BT.601.
const COLORS: [[u8; 3]; SQUARES] = [[81, 90, 240], [145, 54, 34], [41, 240, 110]];
/// Y of the darkest and the brightest column behind them.
const RAMP: [usize; 2] = [40, 200];

/// Three squares that run to and fro over a gray ramp, as NV12 and as if filmed at 30 frames a second.
#[derive(Debug, Clone)]
pub struct Pattern {
    width_px: usize,
    height_px: usize,
    next: u64,
    reel: Reel,
}

impl Pattern {
    /// Frames of this size, each side rounded up to an even number, of at least 16.
    pub fn new(width_px: usize, height_px: usize) -> Self {
        let side = |px: usize| px.max(16).next_multiple_of(2);
        Self { width_px: side(width_px), height_px: side(height_px), next: 0, reel: Reel::default() }
    }

    /// Left edge, top edge and side of square `index` in frame `number`, all even.
    fn square(&self, index: usize, number: u64) -> [usize; 3] {
        // Half the width at most: a square that fills a row has no way to go.
        let side = (self.height_px / 5).min(self.width_px / 2).next_multiple_of(2);
        let way = self.width_px - side;
        let passed =
            usize::try_from(number % (2 * way as u64)).unwrap_or(0) * STEP_PX * (index + 1) % (2 * way);
        let left = if passed <= way { passed } else { 2 * way - passed };
        let top = (self.height_px * (2 * index + 1) / (2 * SQUARES)).saturating_sub(side / 2);
        [left & !1, top & !1, side]
    }
}

impl Source for Pattern {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        let (width, height) = (self.width_px, self.height_px);
        let format = Format::Nv12(YuvColor::default());
        let bytes = shot.make_room((width, height), format, width * height * 3 / 2);
        let (luma, chroma) = bytes.split_at_mut(width * height);
        let (first, others) = luma.split_at_mut(width);
        for (column, y) in first.iter_mut().enumerate() {
            let value = RAMP[0] + (RAMP[1] - RAMP[0]) * column / width;
            *y = u8::try_from(value).unwrap_or(u8::MAX);
        }
        others.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(first));
        chroma.fill(128);
        for (index, [y, u, v]) in COLORS.into_iter().enumerate() {
            let [left, top, side] = self.square(index, self.next);
            for row in luma.chunks_exact_mut(width).skip(top).take(side) {
                row[left..left + side].fill(y);
            }
            for row in chroma.chunks_exact_mut(width).skip(top / 2).take(side / 2) {
                row[left..left + side].as_chunks_mut::<2>().0.fill([u, v]);
            }
        }
        shot.number = self.next;
        shot.filmed_at = Some(self.reel.advance());
        shot.name.clear();
        self.next += 1;
        Ok(Arrival::Frame)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.next = 0;
        Ok(Rewound::Yes)
    }

    fn describe(&self) -> String {
        format!("test pattern of {}x{} pixels", self.width_px, self.height_px)
    }
}
