//! Hands frames to all sinks, one after the other.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Error;
use crate::detector::micros;
use crate::pipeline::line::{Cause, Line, Parcel, Stage};
use crate::pipeline::outlet::Outlet;
use crate::sink::{Pixels, Shown};

/// All sinks.
pub struct Showing {
    pub(in crate::pipeline) outlets: Vec<Outlet>,
    pub(in crate::pipeline) classes: Vec<String>,
    /// Frames after which it is enough.
    pub(in crate::pipeline) frames: u64,
    /// When the first frame and the last one were shown.
    pub(in crate::pipeline) span: Option<(Instant, Instant)>,
}

impl Showing {
    /// Shows frame after frame.
    ///
    /// # Errors
    /// An essential sink's.
    pub fn run(&mut self, line: &Line) -> Result<(), Error> {
        let pulse = line.pulse(Stage::Sinks);
        while let Some(mut parcel) = pulse.idle(|| line.decoded.take()) {
            let number = line.tally.shown.load(Ordering::Relaxed);
            self.show(number, &mut parcel, line)?;
            line.demand.set_sinks(self.pixels());
            line.tally.shown.store(number + 1, Ordering::Relaxed);
            line.retire(parcel);
            pulse.beat();
            // Whoever watches ends the line a moment later; until then no frame more is shown.
            if line.notes.is_stopped() {
                return Ok(());
            }
            if number + 1 >= self.frames {
                line.end(Cause::Enough);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether any sink looks at pixels.
    pub fn pixels(&self) -> Pixels {
        let is_needed = self.outlets.iter().any(|outlet| outlet.pixels() == Pixels::Needed);
        if is_needed { Pixels::Needed } else { Pixels::Unneeded }
    }

    fn show(&mut self, number: u64, parcel: &mut Parcel, line: &Line) -> Result<(), Error> {
        let began = Instant::now();
        let latency = began.saturating_duration_since(parcel.arrived);
        let times = &mut parcel.times;
        times.latency_us = micros(latency);
        let work =
            times.preprocess_us + times.inference_us + times.decode_us + times.track_us + times.draw_us;
        line.tally.latency.add(latency);
        line.tally.waiting.add(latency.saturating_sub(parcel.read + Duration::from_micros(work)));
        let shown = Shown {
            number,
            shot: &parcel.shot,
            objects: &parcel.objects,
            found: &parcel.found,
            classes: &self.classes,
            times: parcel.times,
            vitals: parcel.vitals,
        };
        let shown_all = self.outlets.iter_mut().try_for_each(|outlet| outlet.show(&shown, &line.notes));
        let ended = Instant::now();
        line.worked(Stage::Sinks, ended - began);
        let first = self.span.map_or(began, |(first, _)| first);
        self.span = Some((first, began));
        shown_all
    }
}
