//! Images of Motion JPEG, one after the other: nothing is allocated for those that cameras send, once there was one of their size. Others
//! are decoded as image files are.

use super::header::{Header, Tables};
use super::pack::Packer;
use super::scan::{Scan, Strips};
use super::{Sides, decode_into, has_tables, length};

/// How pixels are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Rgb,
    /// With BT.601 and values of 0 to 255, as [`Self::Yuyv`].
    Nv12,
    Yuyv,
}

impl Packing {
    /// Bytes of a frame.
    pub(super) fn bytes(self, [width_px, height_px]: [usize; 2]) -> usize {
        let pixels = width_px * height_px;
        match self {
            Self::Rgb => pixels * 3,
            Self::Nv12 => pixels * 3 / 2,
            Self::Yuyv => pixels * 2,
        }
    }
}

/// Decodes images, with memory that is used again.
#[derive(Debug, Default)]
pub(crate) struct Motion {
    tables: Box<Tables>,
    strips: Strips,
    chroma: [Vec<u8>; 2],
    /// An image that is put together with what it left out.
    whole: Vec<u8>,
}

impl Motion {
    /// Decodes the image that `bytes` begin with into `frame`, whose memory does not grow for an image of other sides than those. As the
    /// image lies: a frame of video is not turned.
    ///
    /// # Errors
    /// A sentence, when it is damaged or has other sides.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        sides: Sides,
        frame: &mut Vec<u8>,
    ) -> Result<([usize; 2], Packing), String> {
        let Some(header) = Header::read(bytes, &mut self.tables) else {
            return self.decode_other(bytes, sides, frame);
        };
        let length = length(bytes).ok_or("JPEG: the image has no end marker")?;
        sides.check(header.sides_px, length)?;
        let bits = bytes.get(header.scan_at..length).unwrap_or_default();
        let mut scan = Scan::new(&header, &self.tables, bits, &mut self.strips);
        let mut packer = Packer::new(&header, frame, &mut self.chroma);
        let decoded = scan.run(&mut self.strips, |row, strips| packer.pack(row, strips));
        decoded.map_err(|(damage, [row, rows])| {
            format!("JPEG: {} in row {row} of {rows} rows of blocks", damage.sentence())
        })?;
        Ok((header.sides_px, super::pack::packing(&header)))
    }

    /// Has zune-jpeg decode what is not sequential, or not in 8 bits, or sampled otherwise, and say what is wrong with a header.
    fn decode_other(
        &mut self,
        bytes: &[u8],
        sides: Sides,
        frame: &mut Vec<u8>,
    ) -> Result<([usize; 2], Packing), String> {
        if has_tables(bytes) {
            return decode_into(bytes, sides, frame).map(|sides_px| (sides_px, Packing::Rgb));
        }
        let length = length(bytes).ok_or("JPEG: the image has no end marker")?;
        self.whole.clear();
        for part in [&bytes[..2], &AVI, &bytes[2..length]] {
            self.whole.extend_from_slice(part);
        }
        decode_into(&self.whole, sides, frame).map(|sides_px| (sides_px, Packing::Rgb))
    }
}

#[cfg(test)]
impl Motion {
    /// Bytes of memory that it grew by.
    pub(crate) fn capacity(&self) -> usize {
        let chroma: usize = self.chroma.iter().map(Vec::capacity).sum();
        self.strips.capacity() + chroma + self.whole.capacity()
    }
}

/// The segment by which AVI files mark images that leave the tables out (Library of Congress, "MJPEG", fdd000063); the
/// decoder then puts in those of ITU-T T.81, K.3.
const AVI: [u8; 9] = *b"\xff\xe0\x00\x07AVI1\0";
