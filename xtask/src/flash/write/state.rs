//! What a disk holds after something went wrong, in words that say what to do; it knows no more than what was done.

use std::error::Error;
use std::fmt;

/// What a disk holds after something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// What it held before.
    Untouched,
    /// What it held before, or a piece of the image over it: the first write failed, and nobody tells how far it came.
    Begun,
    /// The first part of the image over what it held before, and perhaps a piece of the write that failed.
    Partly {
        /// Bytes that are on it for certain.
        written: u64,
        /// Bytes that should have been.
        total: u64,
    },
    /// The first part of the image, and more of it in an unknown number of places: it took bytes that it did not settle.
    Unsettled {
        /// Bytes that are on it for certain.
        written: u64,
        /// Bytes that should have been.
        total: u64,
    },
    /// The image, which is on it as far as it says; it could not be read back whole.
    Unread,
    /// Something else than was written.
    Unlike {
        /// Where the first run of bytes starts that differs.
        start: u64,
        /// How many bytes it has.
        bytes: u64,
    },
}

/// An image that was not written, or not whole, or not as it is.
#[derive(Debug)]
pub struct Interrupted {
    /// What the disk holds.
    pub state: State,
    pub(super) cause: anyhow::Error,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => out.write_str("nothing was written, it holds what it held before"),
            Self::Begun => out.write_str(
                "it holds what it held before, or a piece of the new image over that; write it again",
            ),
            Self::Partly { written, total } => write!(
                out,
                "it took {written} of {total} bytes of the new image over the old content, perhaps a piece more, and boots \
                 neither; write it again"
            ),
            Self::Unsettled { written, total } => write!(
                out,
                "{written} of {total} bytes of the new image are on it for certain; of those that followed an unknown part \
                 lies over the old content, so that it may boot neither; write it again"
            ),
            Self::Unread => {
                out.write_str("all was written, but what it holds was not confirmed; write it again")
            }
            Self::Unlike { start, bytes } => write!(
                out,
                "it holds something else than was written within the {bytes} bytes from {start} on, and may not boot; \
                 write it again, and if that ends the same, the disk is worn, or smaller than it says"
            ),
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#}\n  state of the disk: {}", self.cause, self.state)
    }
}

impl Error for Interrupted {}
