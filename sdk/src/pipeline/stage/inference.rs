//! Feeds the engine: gives its rooms to be filled, starts what is filled, hands on what is finished, and sleeps only while
//! there is nothing of that to do.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::Error;
use crate::backend::{Engine, Outcome, SharedEngine};
use crate::detector::micros;
use crate::pipeline::line::{Line, Parcel, Stage};
use crate::pipeline::note::Note;
use crate::pipeline::queue::Taken;

/// Longest sleep, after which it is looked whether a call to the engine does not return.
const NAP: Duration = Duration::from_millis(50);

/// Runs an engine.
pub struct Inferring {
    pub(in crate::pipeline) engine: SharedEngine,
}

/// The engine's frames.
struct Feed<'a> {
    engine: &'a mut dyn Engine,
    line: &'a Line,
    /// Rooms that are being filled.
    lent: usize,
    under_way: VecDeque<Box<Parcel>>,
    is_fed: bool,
}

/// What came of looking for something to do.
#[derive(PartialEq, Eq)]
enum Turn {
    Worked,
    Idle,
    Over,
}

impl Inferring {
    /// Runs frame after frame.
    ///
    /// # Errors
    /// [`Error::Backend`] or [`Error::Npu`] when the engine cannot go on.
    pub fn run(&mut self, line: &Line) -> Result<(), Error> {
        line.set_feeder(std::thread::current());
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.wake(std::thread::current());
        // What an earlier run left under way would be taken for frames of this one.
        while engine.in_flight() > 0 {
            drop(engine.next_until(Instant::now() + NAP));
        }
        let under_way = VecDeque::with_capacity(line.rooms());
        let mut feed = Feed { engine: &mut *engine, line, lent: 0, under_way, is_fed: true };
        let pulse = line.pulse(Stage::Inference);
        let done = loop {
            match feed.turn() {
                Ok(Turn::Worked) => pulse.beat(),
                // With frames at the engine, it is the engine that must get on.
                Ok(Turn::Idle) if feed.under_way.is_empty() => pulse.idle(|| std::thread::park_timeout(NAP)),
                Ok(Turn::Idle) => std::thread::park_timeout(NAP),
                Ok(Turn::Over) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        line.inferred.close();
        if done.is_err() {
            let left = u64::try_from(feed.under_way.len()).unwrap_or(0);
            line.tally.lost.fetch_add(left, Ordering::Relaxed);
        }
        done
    }
}

impl Feed<'_> {
    fn turn(&mut self) -> Result<Turn, Error> {
        if self.line.is_aborted() {
            return Ok(Turn::Over);
        }
        let (lent, started) = (self.lend()?, self.start());
        let finished = self.finish()?;
        if !self.is_fed && self.under_way.is_empty() {
            return Ok(Turn::Over);
        }
        Ok(if lent || started || finished { Turn::Worked } else { Turn::Idle })
    }

    /// Gives rooms to be filled.
    fn lend(&mut self) -> Result<bool, Error> {
        let mut has_lent = false;
        while self.is_fed && self.lent + self.engine.in_flight() < self.line.rooms() {
            let Some(room) = self.engine.room()? else { break };
            if self.line.rooms.put(room).is_err() {
                break;
            }
            self.lent += 1;
            has_lent = true;
        }
        Ok(has_lent)
    }

    /// Starts what is filled.
    fn start(&mut self) -> bool {
        let mut has_started = false;
        loop {
            match self.line.prepared.try_take() {
                Taken::Item(mut parcel) => {
                    self.lent = self.lent.saturating_sub(1);
                    if let Some(room) = parcel.room.take() {
                        self.engine.submit(room);
                        self.under_way.push_back(parcel);
                    }
                    has_started = true;
                }
                Taken::Late => return has_started,
                Taken::Over => {
                    self.is_fed = false;
                    return has_started;
                }
            }
        }
    }

    /// Hands on the oldest frame, if it is finished.
    fn finish(&mut self) -> Result<bool, Error> {
        let Some(result) = self.engine.next_until(Instant::now()) else { return Ok(false) };
        let Some(parcel) = self.under_way.pop_front() else { return Ok(true) };
        match result {
            Ok(outcome) => self.hand_on(parcel, outcome),
            // The source's next frame comes soon; an NPU that is given up is another matter.
            Err(Error::Npu { failure, fault }) if failure.loses_frames_only() => {
                self.line.tally.lost.fetch_add(1, Ordering::Relaxed);
                self.line.notes.leave(Note::Lost(fault.found));
                self.line.retire(parcel);
            }
            Err(error) => {
                self.under_way.push_front(parcel);
                return Err(error);
            }
        }
        Ok(true)
    }

    fn hand_on(&mut self, mut parcel: Box<Parcel>, outcome: Outcome) {
        self.line.worked(Stage::Inference, outcome.run());
        parcel.times.inference_us = micros(outcome.run());
        parcel.outcome = Some(outcome);
        // Where the line has ended, the next turn says so.
        let _ = self.line.inferred.put(parcel);
    }
}
