//! What a pickle costs, in bytes of memory, in a reader that copies where Python refers. `pytorch-reader` is one: whatever is
//! put into the memo or taken out of it is copied whole, so that a few kilobytes can ask for gigabytes. A pickle is charged
//! for that before such a reader sees it. The figures are upper bounds for `pytorch-reader` 0.22 on 64-bit machines.

use crate::Result;
use crate::import::pt::refuse;

/// Most a pickle may cost. A training checkpoint of yolov5x costs less than half of it.
const MAX_BYTES: u64 = 160 << 20;

/// A value in a list or on the stack: 96 bytes, and room to grow.
pub(super) const VALUE: u64 = 128;
/// What a text costs on top of its own length.
pub(super) const TEXT: u64 = 48;
/// What a value costs on top as an entry of a hash table, which is between 7/16 and 7/8 full and twice there while it grows.
pub(super) const TABLE_ENTRY: u64 = 360;
/// What a tensor costs on top: shape, strides, names, a closure.
pub(super) const TENSOR: u64 = 400;

/// Adds up what a pickle costs.
#[derive(Default)]
pub(super) struct Cost {
    bytes: u64,
}

impl Cost {
    /// Charges `bytes`.
    pub fn add(&mut self, bytes: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MAX_BYTES {
            return Ok(());
        }
        Err(refuse(
            format!("a pickle that unfolds to more than {MAX_BYTES} bytes"),
            "a YOLOv5 checkpoint, whose description takes a fraction of that",
        ))
    }
}
