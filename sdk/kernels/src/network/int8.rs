//! Convolutions of int8 models as data: exact integer sums and what becomes of them.

use crate::Unsupported;
use crate::layout::Kind;

use super::Windows;

/// What stored values mean: `(q − zero_point) · scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quant {
    /// Real value of a step.
    pub scale: f32,
    /// What 0 is stored as.
    pub zero_point: i32,
}

impl Quant {
    /// Least and most steps that can be stored.
    #[expect(clippy::cast_precision_loss, reason = "zero points are stored values")]
    pub(crate) fn bounds(self) -> [f32; 2] {
        [-128 - self.zero_point, 127 - self.zero_point].map(|bound| bound as f32)
    }
}

/// A convolution of stored values without groups or dilation, over an image with its zero point around. Sums are those of
/// `(q − zero_point) · w`, modulo 2³².
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerConvolution {
    /// Output channels × input channels × rows × columns.
    pub weights: Vec<i8>,
    /// Where it stands over its input.
    pub windows: Windows,
    /// The input's.
    pub zero_point: i8,
    /// What becomes of sums.
    pub ending: Ending,
}

/// What becomes of integer sums; vectors have an entry for each output channel.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// `round((sum + bias) · multiplier)` steps, halves to even, stored as `codes` says.
    Stored {
        /// In units of the sums.
        bias: Vec<i32>,
        /// From sums to steps; finite.
        multipliers: Vec<f32>,
        /// How steps are stored.
        codes: Codes,
    },
    /// `sum · scale + bias`, rounded after each operation.
    Real {
        /// Real value of a step.
        scales: Vec<f32>,
        /// A real value.
        bias: Vec<f32>,
    },
}

/// How steps are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Codes {
    /// Itself plus the zero point, saturated.
    Shifted {
        /// What 0 is stored as.
        zero_point: i8,
    },
    /// What a table has for them; before its first entry and behind its last, these.
    Table {
        /// Steps of the first entry.
        first: i32,
        /// At least one.
        entries: Vec<i8>,
    },
}

impl Ending {
    /// What the output holds.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Stored { .. } => Kind::Stored,
            Self::Real { .. } => Kind::Real,
        }
    }
}

/// Farthest step of a table from 0: floats have to hold twice as many exactly.
const MAX_STEPS: i32 = 1 << 21;

impl IntegerConvolution {
    /// Number of output channels.
    pub(crate) fn channels(&self) -> Result<usize, Unsupported> {
        let (channels, others, tables) = match &self.ending {
            Ending::Stored { bias, multipliers, codes } => (bias.len(), multipliers.len(), codes.fit()),
            Ending::Real { scales, bias } => (bias.len(), scales.len(), true),
        };
        let finite = match &self.ending {
            Ending::Stored { multipliers, .. } => multipliers.iter().all(|factor| factor.is_finite()),
            Ending::Real { .. } => true,
        };
        if channels != others || !tables || !finite {
            return Err(Unsupported::new(format!(
                "an ending of {channels} biases and {others} factors, or a table out of bounds"
            )));
        }
        Ok(channels)
    }
}

impl Codes {
    /// Whether floats hold all steps of a table.
    fn fit(&self) -> bool {
        let Self::Table { first, entries } = self else { return true };
        let last = i32::try_from(entries.len()).ok().and_then(|count| first.checked_add(count - 1));
        !entries.is_empty() && *first >= -MAX_STEPS && last.is_some_and(|last| last <= MAX_STEPS)
    }
}
