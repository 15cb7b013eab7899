//! How images lie in memory: in blocks of eight channels, each block a plane of pixels of eight floats. So vectors run
//! along channels, any kernel size and stride reads whole vectors, and a slice of channels is a range of planes. Stored values of
//! int8 models lie as bytes, sixteen channels where four floats would be.

/// Channels of a block of floats, and floats of a pixel.
pub const BLOCK: usize = 8;

/// What an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Floats.
    Real,
    /// Stored values of an int8 model.
    Stored,
}

impl Kind {
    /// Channels of a block.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Self::Real => BLOCK,
            Self::Stored => 2 * BLOCK,
        }
    }

    /// Floats that a pixel of a block takes the place of.
    pub(crate) const fn floats(self) -> usize {
        match self {
            Self::Real => BLOCK,
            Self::Stored => 2 * BLOCK / size_of::<f32>(),
        }
    }
}

/// Size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Number of values.
    pub fn len(self) -> usize {
        self.channels * self.pixels()
    }

    /// Whether there are no values.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Number of blocks of floats; the lanes beyond the channels of the last are zero.
    pub fn blocks(self) -> usize {
        self.channels.div_ceil(BLOCK)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Where an image lies, in floats from the start of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its size.
    pub shape: Shape,
    /// What it holds.
    pub kind: Kind,
    /// Its first float.
    pub offset: usize,
    /// From a block to the next.
    pub block_stride: usize,
}

impl View {
    /// An image of `shape` in one piece at `offset`.
    pub fn whole(shape: Shape, kind: Kind, offset: usize) -> Self {
        Self { shape, kind, offset, block_stride: block_stride(shape, kind) }
    }

    /// Floats that [`View::whole`] takes.
    pub fn floats(shape: Shape, kind: Kind) -> usize {
        shape.channels.div_ceil(kind.lanes()) * block_stride(shape, kind)
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.shape.channels.div_ceil(self.kind.lanes())
    }

    /// Floats of a pixel of all its blocks.
    pub fn pixel(&self) -> usize {
        self.blocks() * self.kind.floats()
    }

    /// First float of `block`.
    pub fn block(&self, block: usize) -> usize {
        self.offset + block * self.block_stride
    }

    /// The channels from `first` on, of which there are `channels`; `first` is a multiple of a block's.
    pub fn channels(&self, first: usize, channels: usize) -> Self {
        let shape = Shape { channels, ..self.shape };
        Self { shape, offset: self.block(first / self.kind.lanes()), ..*self }
    }
}

/// One cache line more than a plane has: planes of equal position in sets of a cache would evict each other.
fn block_stride(shape: Shape, kind: Kind) -> usize {
    shape.pixels() * kind.floats() + 2 * BLOCK
}
