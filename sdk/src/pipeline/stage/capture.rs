//! Takes frames from the source, at most as often as asked for, and lets newer ones replace those that wait, where that is
//! the policy.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Error;
use crate::pipeline::Policy;
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::note::Note;
use crate::sink::Controls;
use crate::source::{Arrival, Source};

/// How long a frame is waited for before it is looked whether the end is asked for: less than the time of a frame.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often it is looked whether frames are to be looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// The source and how it is played.
pub struct Capture {
    pub(in crate::pipeline) source: Box<dyn Source>,
    pub(in crate::pipeline) policy: Policy,
    /// Least time from one frame to the next.
    pub(in crate::pipeline) interval: Duration,
    pub(in crate::pipeline) controls: Controls,
}

/// Whether there is more to do.
#[derive(PartialEq, Eq)]
enum Next {
    Frame,
    Over,
}

impl Capture {
    /// Plays the source to its end.
    ///
    /// # Errors
    /// [`Error::Input`] when the source cannot give another frame.
    pub fn run(&mut self, line: &Line) -> Result<(), Error> {
        let mut held = None;
        loop {
            let begun = Instant::now();
            if !self.rest(line) || self.play(line, &mut held)? == Next::Over {
                line.captured.close();
                return Ok(());
            }
            let next = begun + self.interval;
            if next > Instant::now() && !line.pulse(Stage::Capture).idle(|| line.captured.sleep_until(next)) {
                return Ok(());
            }
        }
    }

    /// Waits while paused, where nothing is lost by that; says whether the line goes on.
    fn rest(&self, line: &Line) -> bool {
        let pulse = line.pulse(Stage::Capture);
        while self.policy == Policy::EveryFrame && self.controls.is_paused() {
            if !pulse.idle(|| line.captured.sleep_until(Instant::now() + PAUSE)) {
                return false;
            }
        }
        !line.is_aborted()
    }

    /// Waits for one frame and hands it on. What `held` holds is the memory for it, where the time before gave none.
    fn play(&mut self, line: &Line, held: &mut Option<Box<Parcel>>) -> Result<Next, Error> {
        // A frame that must not be lost is read once there is room for it, so that it waits in its file and not here.
        if self.policy == Policy::EveryFrame && !line.captured.wait_for_room() {
            return Ok(Next::Over);
        }
        let Some(mut parcel) = held.take().or_else(|| line.free.take()) else { return Ok(Next::Over) };
        let began = Instant::now();
        let arrival = self.source.next(&mut parcel.shot, PATIENCE)?;
        line.pulse(Stage::Capture).beat();
        match arrival {
            Arrival::Frame if self.controls.is_paused() && self.policy == Policy::NewestFrame => {}
            Arrival::Frame => {
                parcel.arrived = Instant::now();
                line.tally.work(Stage::Capture).add(parcel.arrived - began);
                let Ok(replaced) = self.hand_on(line, parcel) else { return Ok(Next::Over) };
                *held = replaced;
                return Ok(Next::Frame);
            }
            Arrival::Broken(reason) => {
                line.tally.broken.fetch_add(1, Ordering::Relaxed);
                line.notes.leave(Note::Skipped(reason));
            }
            Arrival::Late => {}
            Arrival::Ended => return Ok(Next::Over),
        }
        *held = Some(parcel);
        Ok(Next::Frame)
    }

    fn hand_on(&self, line: &Line, parcel: Box<Parcel>) -> Result<Option<Box<Parcel>>, Box<Parcel>> {
        match self.policy {
            Policy::EveryFrame => line.captured.put(parcel).map(|()| None),
            Policy::NewestFrame => {
                let replaced = line.captured.put_newest(parcel)?;
                if replaced.is_some() {
                    line.tally.dropped.fetch_add(1, Ordering::Relaxed);
                }
                Ok(replaced)
            }
        }
    }
}
