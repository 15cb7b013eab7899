//! Why RGA does not do what is asked of it. Each says what was found and what to do; all mean that the CPU goes on.

use artifact::Fault;

use super::ffi::Refused;

/// What kept RGA from it, to match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RgaFailure {
    /// There is no librga on this machine.
    MissingLibrary,
    /// The library lacks a function.
    MissingFunction,
    /// The library is older than [`OLDEST`](super::OLDEST), of another major version, or does not tell.
    Version,
    /// A color that RGA does not turn into RGB.
    Color,
    /// Sides that are odd, too small, too large, or not those of the letterbox.
    Sides,
    /// Rows that do not begin where RGA can read or write them.
    Stride,
    /// More than 16 times smaller or larger.
    Scale,
    /// A buffer that is shorter than its rows.
    ShortBuffer,
    /// A buffer that its driver does not take.
    Import,
    /// Work that failed.
    Call,
}

/// What kept RGA from it, and what to tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct RgaError {
    /// To match on.
    pub failure: RgaFailure,
    /// To tell.
    pub fault: Fault,
}

impl RgaFailure {
    /// With what was found.
    pub(super) fn with(self, found: impl Into<String>) -> RgaError {
        let (expected, hint) = self.advice();
        RgaError { failure: self, fault: Fault::new(found, expected, hint) }
    }

    fn advice(self) -> (&'static str, &'static str) {
        match self {
            Self::MissingLibrary => (
                "librga.so, which boards' images of Rockchip bring",
                "install librga, or go on: the CPU prepares frames where there is none",
            ),
            Self::MissingFunction | Self::Version => {
                ("librga 1.9.0 or a newer 1.x", "update librga; until then the CPU prepares frames")
            }
            Self::Color => (
                "BT.601, or BT.709 of limited range",
                "set the camera to another color space; until then the CPU prepares frames",
            ),
            Self::Sides => (
                "frames of even sides from 2 to 8176 pixels, and a model input of at most 4096 that the letterbox fits",
                "choose another size of frames; until then the CPU prepares frames",
            ),
            Self::Stride => (
                "rows of whole pixels, a multiple of 16 of them from one to the next",
                "choose a size of frames or model whose width is a multiple of 16",
            ),
            Self::Scale => ("1/16 to 16 times the size", "choose another size of frames"),
            Self::ShortBuffer => ("a buffer as long as its rows need", "report it, with the camera's format"),
            Self::Import | Self::Call => (
                "a buffer within reach of RGA: RGA2, which also fills bars on RK3588, reaches 4 GiB",
                "see the kernel's messages (`dmesg`); until then the CPU prepares frames",
            ),
        }
    }
}

impl From<Refused> for RgaError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Missing(name) => RgaFailure::MissingFunction.with(format!("a librga without {name}")),
            Refused::Short { bytes } => RgaFailure::ShortBuffer.with(format!("a buffer of {bytes} bytes")),
            Refused::Status { call, status, words } => {
                let failure = if call == "importbuffer_fd" { RgaFailure::Import } else { RgaFailure::Call };
                failure.with(format!("RGA failed at {call}: status {status} {words}").trim_end())
            }
        }
    }
}
