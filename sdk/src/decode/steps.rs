//! Where in memory the channels and cells of an output lie, so that each layout is read in place. Never reads anything.

use artifact::{Layout, TensorSpec};

/// Distances between the elements of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    /// Channels that lie in one block.
    block: usize,
    /// From one block of channels to the next.
    block_step: usize,
    /// From one channel of a block to the next.
    channel_step: usize,
    /// From one cell to the next.
    cell_step: usize,
}

impl Steps {
    /// The distances in an output of `spec`.
    pub(super) fn of(spec: &TensorSpec) -> Self {
        let (channels, (height, width)) = (spec.channels(), spec.height_width());
        match spec.layout {
            Layout::Nchw => Self { block: 1, block_step: height * width, channel_step: 0, cell_step: 1 },
            Layout::Nhwc => {
                let block_step = height * width * channels;
                Self { block: channels.max(1), block_step, channel_step: 1, cell_step: channels }
            }
            Layout::Nc1hwc2 { c2, plane } => {
                Self { block: c2.max(1), block_step: plane * c2, channel_step: 1, cell_step: c2 }
            }
        }
    }

    /// Whether every channel and cell lies within the output's elements: blocks may state any plane.
    pub(super) fn fits(spec: &TensorSpec) -> bool {
        let (height, width) = spec.height_width();
        match spec.layout {
            Layout::Nchw | Layout::Nhwc => true,
            Layout::Nc1hwc2 { c2, plane } => {
                c2 > 0 && height.checked_mul(width).is_some_and(|cells| cells <= plane)
            }
        }
    }

    /// Channels that lie side by side in every cell.
    pub(super) fn block(&self) -> usize {
        if self.has_dense_cells() { 1 } else { self.block }
    }

    /// From one block of channels to the next.
    pub(super) fn block_step(&self) -> usize {
        self.block_step
    }

    /// From the output's beginning to the first cell of a channel.
    pub(super) fn channel(&self, channel: usize) -> usize {
        channel / self.block * self.block_step + channel % self.block * self.channel_step
    }

    /// From the first cell of a channel to another of its cells.
    pub(super) fn cell(&self, cell: usize) -> usize {
        cell * self.cell_step
    }

    /// Whether the cells of a channel lie side by side.
    pub(super) fn has_dense_cells(&self) -> bool {
        self.cell_step == 1
    }

    /// How many channels from `channel` on lie side by side, cell by cell; at least 1.
    pub(super) fn dense_channels(&self, channel: usize) -> usize {
        if self.channel_step == 1 { self.block - channel % self.block } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use artifact::DType;

    use super::*;

    fn steps(layout: Layout, shape: [usize; 4]) -> Steps {
        Steps::of(&TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape, quant: None })
    }

    #[test]
    fn planes_that_do_not_hold_their_cells_do_not_fit() {
        let fits = |layout, shape| {
            Steps::fits(&TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape, quant: None })
        };
        assert!(fits(Layout::Nc1hwc2 { c2: 16, plane: 15 }, [1, 21, 3, 5]));
        assert!(!fits(Layout::Nc1hwc2 { c2: 16, plane: 14 }, [1, 21, 3, 5]));
        assert!(!fits(Layout::Nc1hwc2 { c2: 0, plane: 15 }, [1, 21, 3, 5]));
        assert!(!fits(Layout::Nc1hwc2 { c2: 16, plane: 15 }, [1, 21, usize::MAX, 5]));
    }

    #[test]
    fn every_layout_has_its_distances() {
        // 21 channels of 3x5 cells: channel 18 of cell 7.
        let at = |steps: Steps| steps.channel(18) + steps.cell(7);
        assert_eq!(at(steps(Layout::Nchw, [1, 21, 3, 5])), 18 * 15 + 7);
        assert_eq!(at(steps(Layout::Nhwc, [1, 3, 5, 21])), 7 * 21 + 18);
        let blocks = steps(Layout::Nc1hwc2 { c2: 16, plane: 16 }, [1, 21, 3, 5]);
        assert_eq!(at(blocks), (16 + 7) * 16 + 2);
        assert_eq!((blocks.dense_channels(0), blocks.dense_channels(18)), (16, 14));
        assert_eq!(steps(Layout::Nchw, [1, 21, 3, 5]).dense_channels(4), 1);
        assert_eq!(steps(Layout::Nhwc, [1, 3, 5, 21]).dense_channels(4), 17);
    }
}
