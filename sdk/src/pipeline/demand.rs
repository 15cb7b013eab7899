//! Who reads the pixels of frames on a processor core. While nobody does, frames stay in the camera's buffers, and RGA reads them
//! there.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::sink::Pixels;

/// Kept by those who may read pixels, and heeded where frames are taken.
#[derive(Debug)]
pub(super) struct Demand {
    preprocess_reads: AtomicBool,
    sinks_read: AtomicBool,
}

impl Demand {
    /// What holds for the first frame.
    pub(super) fn new(preprocess: Pixels, sinks: Pixels) -> Self {
        let [preprocess_reads, sinks_read] =
            [preprocess, sinks].map(|pixels| AtomicBool::new(pixels == Pixels::Needed));
        Self { preprocess_reads, sinks_read }
    }

    /// What the letterbox needs from now on.
    pub(super) fn set_preprocess(&self, pixels: Pixels) {
        self.preprocess_reads.store(pixels == Pixels::Needed, Ordering::Relaxed);
    }

    /// What the sinks, and the overlay for them, need from now on.
    pub(super) fn set_sinks(&self, pixels: Pixels) {
        self.sinks_read.store(pixels == Pixels::Needed, Ordering::Relaxed);
    }

    /// What the next frame is taken with.
    pub(super) fn pixels(&self) -> Pixels {
        let is_read = [&self.preprocess_reads, &self.sinks_read].map(|reads| reads.load(Ordering::Relaxed));
        if is_read.contains(&true) { Pixels::Needed } else { Pixels::Unneeded }
    }
}

#[cfg(test)]
mod tests {
    use Pixels::{Needed, Unneeded};

    use super::*;

    #[test]
    fn pixels_are_read_where_anybody_needs_them() {
        for (preprocess, sinks, all) in [
            (Unneeded, Unneeded, Unneeded),
            (Unneeded, Needed, Needed),
            (Needed, Unneeded, Needed),
            (Needed, Needed, Needed),
        ] {
            assert_eq!(Demand::new(preprocess, sinks).pixels(), all);
            let demand = Demand::new(sinks, preprocess);
            demand.set_preprocess(preprocess);
            demand.set_sinks(sinks);
            assert_eq!(demand.pixels(), all);
        }
    }
}
