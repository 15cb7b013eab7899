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
use crate::sink::NpuVitals;

/// Longest sleep, after which it is looked whether a call to the engine does not return.
const NAP: Duration = Duration::from_millis(50);
/// How long frames that are under way may still take at an engine that is given up: its other cores are at work, and
/// finish what they have in less; those that wait at them for longer are lost.
const FAREWELL: Duration = Duration::from_millis(500);

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
    /// Runs frame after frame. Where the engine cannot go on, the line ends with its error once what it finished is handed on.
    pub fn run(&mut self, line: &Line) {
        line.set_feeder(std::thread::current());
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        engine.wake(std::thread::current());
        // What an earlier run left under way would be taken for frames of this one.
        while engine.in_flight() > 0 {
            drop(engine.next_until(Instant::now() + NAP));
        }
        let under_way = VecDeque::with_capacity(line.rooms());
        let mut feed = Feed { engine: &mut *engine, line, lent: 0, under_way, is_fed: true };
        let ended = feed.run();
        let has_failed = ended.is_err();
        if let Err(error) = ended {
            line.give_up(error);
            feed.drain();
        }
        feed.look();
        if has_failed {
            line.tally.retire_npu();
        }
        line.inferred.close();
    }
}

impl Feed<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let pulse = self.line.pulse(Stage::Inference);
        loop {
            let turn = self.turn()?;
            self.look();
            match turn {
                Turn::Worked => pulse.beat(),
                // With frames at the engine, it is the engine that must get on.
                Turn::Idle if self.under_way.is_empty() => pulse.idle(|| std::thread::park_timeout(NAP)),
                Turn::Idle => std::thread::park_timeout(NAP),
                Turn::Over => return Ok(()),
            }
        }
    }

    /// Copies out how the NPU does, and tells of cores that come and go: nobody else can ask while this stage has the engine.
    fn look(&mut self) {
        let Some(report) = self.engine.npu_report() else { return };
        let cores = u64::try_from(self.engine.lanes()).unwrap_or(u64::MAX);
        let npu = NpuVitals::new(cores, report);
        let before = self.line.tally.note_npu(report, npu);
        if before.map_or(cores, |before| before.cores_in_service) != npu.cores_in_service {
            self.line.notes.leave(Note::Cores { in_service: npu.cores_in_service, all: cores });
        }
    }

    /// Hands on what the engine finishes although it is given up. What it does not is lost with it.
    fn drain(&mut self) {
        let end = Instant::now() + FAREWELL;
        while !self.line.is_aborted()
            && let Some(result) = self.engine.next_until(end)
        {
            if let (Some(parcel), Ok(outcome)) = (self.under_way.pop_front(), result) {
                self.hand_on(parcel, outcome);
            }
        }
    }

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
            // The frame is lost with the engine.
            Err(error) => return Err(error),
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
