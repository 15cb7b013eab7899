//! What plans weigh against each other, found by trying on a processor with the unit.

use crate::simd::Isa;

/// Costs on a unit, and how much of an image is taken at a time.
#[derive(Debug)]
pub struct Costs {
    /// Floats that an item of a direct convolution reads and writes, which stay in L2 beside its weights.
    pub direct: usize,
    /// Floats of an item's patches and products, which stay in L2 likewise.
    pub filtered: usize,
    /// Fewest tiles of an item, so that weights are used often enough for each time they are read.
    pub min_tiles: usize,
    /// What a product of Winograd's filtering costs against one of a direct convolution, transforms included.
    pub stride_1: f64,
    /// The same of large tiles, whose weights and patches are nearly twice as many.
    pub large_stride_1: f64,
    /// The same for stride 2.
    pub stride_2: f64,
    /// Whether a first convolution that could filters nothing, but reads the caller's planes as they lie.
    pub reads_planes: bool,
}

impl Costs {
    /// Of `isa`.
    pub fn of(isa: Isa) -> Self {
        if isa.has_wide_registers() { Self::WIDE } else { Self::NARROW }
    }

    /// *Measured* on Zen 3: large tiles pay by 1 to 14 % at 160 rows and more of a YOLOv5, would cost 3 to 30 % at 80 rows and below,
    /// where many reach over the border, and make no difference worth telling where smaller images are multiples of six. First
    /// convolutions read from planes take 1.06 (to 16 channels) and 1.27 (to 32) of the time of a copy and a filtered one (measured with
    /// AVX2 on Emerald Rapids).
    const NARROW: Self = Self {
        direct: 96 * 1024,
        filtered: 96 * 1024,
        min_tiles: 18,
        stride_1: 1.5,
        large_stride_1: 1.8,
        stride_2: 1.5,
        reads_planes: false,
    };

    /// *Measured* on Emerald Rapids, whose L2 has 2 MB and whose products take half the time, while transforms and memory take as
    /// long: filtering for stride 2 would cost 10 to 40 %, large tiles 15 to 35 %; a first convolution read from planes takes 0.83 to
    /// 0.86 of the time of a copy and a filtered one.
    const WIDE: Self = Self {
        direct: 320 * 1024,
        filtered: 96 * 1024,
        min_tiles: 48,
        stride_1: 2.0,
        large_stride_1: 4.0,
        stride_2: 2.0,
        reads_planes: true,
    };
}
