//! From raw outputs to objects, followed from frame to frame where asked for, and drawn where a sink shows pixels.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use artifact::{Manifest, Tensor, TensorSpec};

use crate::Error;
use crate::backend::Outcome;
use crate::decode::{Decoder, Detection, Limits};
use crate::detector::{decoder, micros};
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::vitals::Rate;
use crate::pipeline::{Following, Overlay};
use crate::preprocess::LetterboxMap;
use crate::sink::{Controls, Object, Vitals};
use crate::track::{TrackSettings, Tracker};

/// Least score at which an object that is followed is still believed, as a part of the score that shows one.
const BELIEVED: f32 = 0.4;
/// How long an object that is not seen is remembered.
const MEMORY: Duration = Duration::from_secs(1);

/// What outlives a change of engines.
pub struct Seeing {
    pub(in crate::pipeline) tracker: Option<Tracker>,
    pub(in crate::pipeline) overlay: Option<Box<dyn Overlay>>,
    pub(in crate::pipeline) controls: Controls,
    /// Scores that decoder and tracker heed.
    confidence: f32,
    begun: Instant,
    rate: Rate,
}

/// Makes objects of outputs.
pub struct Decoding {
    pub(in crate::pipeline) seeing: Seeing,
    decoder: Decoder,
    classes: Vec<String>,
}

impl Seeing {
    /// Nothing was seen yet.
    ///
    /// # Errors
    /// [`Error::Input`] when the controls' score is out of range.
    pub fn new(
        following: Following,
        overlay: Option<Box<dyn Overlay>>,
        controls: Controls,
    ) -> Result<Self, Error> {
        let confidence = controls.confidence();
        let tracker = match following {
            Following::Off => None,
            Following::On => Some(Tracker::new(track_settings(confidence))?),
        };
        Ok(Self { tracker, overlay, controls, confidence, begun: Instant::now(), rate: Rate::default() })
    }

    /// What the decoder must give.
    fn least_score(&self) -> f32 {
        if self.tracker.is_some() { BELIEVED * self.confidence } else { self.confidence }
    }

    /// When the frame shows what it shows. That of a recording does not depend on how fast it is read.
    fn moment(&self, parcel: &Parcel) -> Duration {
        let since_begun = parcel.arrived.saturating_duration_since(self.begun);
        parcel.shot.filmed_at.unwrap_or(since_begun)
    }

    fn follow(&mut self, parcel: &mut Parcel, found: &[Detection]) {
        let at = self.moment(parcel);
        let objects = &mut parcel.objects;
        objects.clear();
        match &mut self.tracker {
            None => objects.extend(found.iter().map(|it| Object { track: None, detection: *it })),
            Some(tracker) => {
                let tracked = tracker.update(at, found).iter();
                objects.extend(tracked.map(|it| Object { track: Some(it.id), detection: it.detection }));
            }
        }
    }
}

fn track_settings(confidence: f32) -> TrackSettings {
    TrackSettings {
        high_score: confidence,
        new_score: confidence,
        low_score: BELIEVED * confidence,
        memory: MEMORY,
    }
}

impl Decoding {
    /// Decodes `outputs` of the model that `manifest` describes.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn new(seeing: Seeing, manifest: &Manifest, outputs: &[TensorSpec]) -> Result<Self, Error> {
        let limits = Limits::device(seeing.least_score(), manifest.iou);
        Ok(Self { decoder: decoder(manifest, outputs, limits)?, seeing, classes: manifest.classes.clone() })
    }

    /// Decodes frame after frame.
    ///
    /// # Errors
    /// [`Error::Input`] when outputs are of another form than the engine said.
    pub fn run(&mut self, line: &Line) -> Result<(), Error> {
        let pulse = line.pulse(Stage::Decode);
        while let Some(mut parcel) = pulse.idle(|| line.inferred.take()) {
            let began = Instant::now();
            self.heed_controls()?;
            self.see(&mut parcel, line)?;
            self.draw(&mut parcel, line);
            line.worked(Stage::Decode, began.elapsed());
            if line.decoded.put(parcel).is_err() {
                return Ok(());
            }
            pulse.beat();
        }
        line.decoded.close();
        Ok(())
    }

    fn heed_controls(&mut self) -> Result<(), Error> {
        let confidence = self.seeing.controls.confidence();
        if confidence.to_bits() == self.seeing.confidence.to_bits() {
            return Ok(());
        }
        self.seeing.confidence = confidence;
        self.decoder.set_confidence(self.seeing.least_score())?;
        if let Some(tracker) = &mut self.seeing.tracker {
            tracker.set_settings(track_settings(confidence))?;
        }
        Ok(())
    }

    fn see(&mut self, parcel: &mut Parcel, line: &Line) -> Result<(), Error> {
        let (Some(outcome), Some(map)) = (parcel.outcome.take(), parcel.map) else { return Ok(()) };
        let began = Instant::now();
        let found = boxes(&mut self.decoder, &outcome, &map)?;
        let decoded = Instant::now();
        parcel.found.clear();
        parcel.found.extend_from_slice(found);
        self.seeing.follow(parcel, found);
        parcel.times.decode_us = micros(decoded - began);
        parcel.times.track_us = micros(decoded.elapsed());
        drop(outcome);
        line.wake_feeder();
        Ok(())
    }

    fn draw(&mut self, parcel: &mut Parcel, line: &Line) {
        let began = Instant::now();
        let (dropped, lost, broken) = (&line.tally.dropped, &line.tally.lost, &line.tally.broken);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        parcel.vitals = Vitals {
            fps: self.seeing.rate.count(began),
            dropped: load(dropped),
            lost: load(lost) + load(broken),
            temperature_c: line.temperature.get(),
            waiting: line.waiting(),
            npu: line.tally.npu(),
        };
        // Nobody looks at a frame whose pixels were left in the camera's buffer.
        if let Some(overlay) = self.seeing.overlay.as_mut().filter(|_| parcel.shot.has_pixels()) {
            overlay.draw(&mut parcel.shot, &parcel.objects, &self.classes, &parcel.vitals);
        }
        parcel.times.draw_us = micros(began.elapsed());
    }
}

fn boxes<'d>(
    decoder: &'d mut Decoder,
    outcome: &Outcome,
    map: &LetterboxMap,
) -> Result<&'d [Detection], Error> {
    match outcome {
        Outcome::Memory(seat) => decoder.detect_views(seat.outputs().iter().map(Tensor::view), map),
        Outcome::Npu(finished) => decoder.detect_views(finished.outputs(), map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Between frames, as they were filmed.
    const FILMED: Duration = Duration::from_millis(33);
    const FRAMES: u32 = 100;

    /// Numbers, frame by frame, of one object that is hidden for a third of a second and later for one and a half, as it was filmed.
    fn numbers(filmed: Option<Duration>, read: Duration) -> Vec<Vec<Option<u32>>> {
        let mut seeing = Seeing::new(Following::On, None, Controls::new(0.25)).unwrap();
        let mut parcel = Parcel::new();
        let numbers_in = |frame: u32| {
            parcel.shot.filmed_at = filmed.map(|interval| interval * frame);
            parcel.arrived = seeing.begun + read * frame;
            let is_hidden = (10..20).contains(&frame) || (40..85).contains(&frame);
            let left = 2.0 * f32::from(u8::try_from(frame).unwrap());
            let object = Detection { class: 0, score: 0.9, x0: left, y0: 100.0, x1: left + 60.0, y1: 160.0 };
            seeing.follow(&mut parcel, if is_hidden { &[] } else { std::slice::from_ref(&object) });
            parcel.objects.iter().map(|object| object.track).collect()
        };
        (0..FRAMES).map(numbers_in).collect()
    }

    /// It is remembered over the first time; behind the second it is another, whose first sighting does not count.
    fn as_filmed() -> Vec<Vec<Option<u32>>> {
        let number_in = |frame| match frame {
            0..10 | 20..40 => vec![Some(1)],
            86.. => vec![Some(2)],
            _ => vec![],
        };
        (0..FRAMES).map(number_in).collect()
    }

    #[test]
    fn a_recording_gives_the_same_numbers_however_fast_it_is_read() {
        for read_ms in [0, 1, 33, 500, 10_000] {
            let numbers = numbers(Some(FILMED), Duration::from_millis(read_ms));
            assert_eq!(numbers, as_filmed(), "a frame every {read_ms} ms");
        }
    }

    #[test]
    fn what_is_no_recording_is_followed_by_when_it_came() {
        assert_eq!(numbers(None, FILMED), as_filmed());
        let slow = numbers(None, 10 * FILMED);
        assert_eq!((&slow[9], &slow[21]), (&vec![Some(1)], &vec![Some(2)]), "hidden for three seconds");
    }
}
