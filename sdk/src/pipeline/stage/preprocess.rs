//! Letterbox and conversion into the engine's own memory, where it has any: by RGA where it can, else on the CPU.

use std::sync::atomic::Ordering;
use std::time::Instant;

use artifact::{Manifest, Tensor, TensorSpec};

use crate::backend::{Engine, Room};
use crate::detector::micros;
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::note::Note;
use crate::pipeline::stage::scaling::Scaling;
use crate::preprocess::rga::RgaChoice;
use crate::preprocess::{LetterboxMap, Preprocessor};
use crate::sink::Pixels;
use crate::source::Shot;
use crate::{Error, Picture};

/// Fills rooms.
pub struct Preparing {
    scaling: Scaling,
    preprocessor: Preprocessor,
    spec: TensorSpec,
    /// For rooms that take no pixels as they are.
    spare: Option<Tensor>,
}

impl Preparing {
    /// Fills rooms of `spec` for the model that `manifest` describes, with RGA as `rga` says.
    ///
    /// # Errors
    /// As [`Preprocessor::new`].
    pub fn new(manifest: &Manifest, spec: &TensorSpec, rga: RgaChoice) -> Result<Self, Error> {
        let scaling = Scaling::new(manifest.preprocess, rga);
        let preprocessor = Preprocessor::new(&manifest.preprocess, spec)?;
        Ok(Self { scaling, preprocessor, spec: spec.clone(), spare: None })
    }

    /// Whether the first frame is expected to be read here: RGA, if there is any, fills an NPU's rooms only.
    pub fn pixels(&self, engine: &dyn Engine) -> Pixels {
        if engine.npu_report().is_some() { self.scaling.pixels() } else { Pixels::Needed }
    }

    /// Fills room after room. A frame that cannot be used is lost, and its room is the next one's.
    pub fn run(&mut self, line: &Line) {
        let pulse = line.pulse(Stage::Preprocess);
        while let Some(mut room) = pulse.idle(|| line.rooms.take()) {
            if !line.flow.admit() {
                return;
            }
            let Some(mut parcel) = self.prepare_next(line, &mut room) else { break };
            parcel.room = Some(room);
            if line.prepared.put(parcel).is_err() {
                return;
            }
            line.wake_feeder();
            pulse.beat();
        }
        line.prepared.close();
        line.wake_feeder();
    }

    /// Fills `room` with the next frame that can be used; none when no more will come.
    fn prepare_next(&mut self, line: &Line, room: &mut Room) -> Option<Box<Parcel>> {
        let pulse = line.pulse(Stage::Preprocess);
        loop {
            let mut parcel = pulse.idle(|| line.captured.take())?;
            let began = Instant::now();
            let filled = self.fill_from(&mut parcel.shot, room, line);
            // Its camera may need the buffer.
            parcel.shot.dma = None;
            match filled {
                Ok(map) => {
                    let took = began.elapsed();
                    line.worked(Stage::Preprocess, took);
                    parcel.map = Some(map);
                    parcel.times.preprocess_us = micros(took);
                    return Some(parcel);
                }
                Err(error) => {
                    line.tally.lost.fetch_add(1, Ordering::Relaxed);
                    line.notes.leave(Note::Lost(error.to_string()));
                    line.give_back(parcel);
                }
            }
        }
    }

    fn fill_from(&mut self, shot: &mut Shot, room: &mut Room, line: &Line) -> Result<LetterboxMap, Error> {
        if let Room::Npu(slot) = room
            && let Some(map) = self.scaling.fill(shot, slot, line)
        {
            line.demand.set_preprocess(Pixels::Unneeded);
            return Ok(map);
        }
        if !shot.has_pixels() {
            // Those that follow are read when they are taken, which is a stage of its own.
            line.demand.set_preprocess(Pixels::Needed);
            shot.read()?;
        }
        self.fill(shot.picture()?, room)
    }

    fn fill(&mut self, picture: Picture<'_>, room: &mut Room) -> Result<LetterboxMap, Error> {
        match room {
            Room::Memory(seat) => match seat.input() {
                Some(input) => self.preprocessor.run(picture, input),
                None => self.fill_spare(picture).map(|(map, _)| map),
            },
            Room::Npu(slot) => {
                if let Some(pixels) = slot.pixels() {
                    return self.preprocessor.run_pixels(picture, pixels);
                }
                let (map, input) = self.fill_spare(picture)?;
                slot.write(input)?;
                Ok(map)
            }
        }
    }

    fn fill_spare(&mut self, picture: Picture<'_>) -> Result<(LetterboxMap, &Tensor), Error> {
        let spare = self.spare.get_or_insert_with(|| Tensor::zeroed(&self.spec));
        Ok((self.preprocessor.run(picture, spare)?, spare))
    }
}
