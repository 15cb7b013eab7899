//! RGA for as long as it works: found out with the first frame that it could take, told once, and given up for good after a
//! failure, which is told once too. The CPU does what it does not.

use std::sync::atomic::Ordering;

use artifact::Preprocess;

use crate::backend::rknn::Slot;
use crate::pipeline::line::Line;
use crate::pipeline::note::Note;
use crate::preprocess::LetterboxMap;
use crate::preprocess::rga::{Rga, RgaChoice, RgaError};
use crate::sink::Pixels;
use crate::source::Shot;

/// RGA, or where it may be found.
pub struct Scaling {
    recipe: Preprocess,
    state: State,
}

enum State {
    Unknown(RgaChoice),
    Works(Rga),
    Left,
}

impl Scaling {
    /// Frames are to be placed as `recipe` says.
    pub fn new(recipe: Preprocess, choice: RgaChoice) -> Self {
        let state = if choice == RgaChoice::Off { State::Left } else { State::Unknown(choice) };
        Self { recipe, state }
    }

    /// Whether frames are expected to need a processor.
    pub fn pixels(&self) -> Pixels {
        match self.state {
            State::Left => Pixels::Needed,
            State::Unknown(_) | State::Works(_) => Pixels::Unneeded,
        }
    }

    /// Fills `slot` with the frame, where both are in DMA-BUFs and RGA works.
    pub fn fill(&mut self, shot: &Shot, slot: &mut Slot, line: &Line) -> Option<LetterboxMap> {
        let frame = shot.dma.as_ref()?.frame();
        let (target, pad_value) = (slot.dma()?, self.recipe.pad_value);
        let map = LetterboxMap::fit(frame.layout.width_px, frame.layout.height_px, &self.recipe);
        match self
            .state
            .rga()?
            .and_then(|rga| rga.letterbox(&frame, &target, &map, pad_value).map(|()| rga.version()))
        {
            Ok(version) => {
                if line.tally.by_rga.fetch_add(1, Ordering::Relaxed) == 0 {
                    let said = format!("RGA (librga {version}), which is untested on hardware");
                    line.notes.leave(Note::Prepares(said));
                }
                Some(map)
            }
            Err(error) => {
                line.notes.leave(Note::Prepares(format!("the CPU because {}", error.fault.found)));
                self.state = State::Left;
                None
            }
        }
    }
}

impl State {
    /// RGA, or why it cannot be loaded; none where it was given up.
    fn rga(&mut self) -> Option<Result<&mut Rga, RgaError>> {
        if let Self::Unknown(choice) = self {
            match Rga::open(choice) {
                Ok(rga) => *self = Self::Works(rga),
                Err(error) => return Some(Err(error)),
            }
        }
        match self {
            Self::Works(rga) => Some(Ok(rga)),
            Self::Unknown(_) | Self::Left => None,
        }
    }
}
