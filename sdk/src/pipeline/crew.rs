//! The threads of a running pipeline: started, watched, and waited for, but not for ever.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use artifact::Fault;

use super::line::{Cause, Line, Stage};
use super::note::Note;
use super::pinning::{Pinning, pin};
use super::stage::capture::Capture;
use super::stage::decode::Decoding;
use super::stage::inference::Inferring;
use super::stage::preprocess::Preparing;
use super::stage::sinks::Showing;
use crate::Error;

/// A thread that brings back what it works with, unless it panicked.
type Hand<P> = JoinHandle<Option<P>>;

/// All threads.
pub(super) struct Crew {
    capture: Hand<Capture>,
    preprocess: Hand<Preparing>,
    inference: Hand<Inferring>,
    decode: Hand<Decoding>,
    sinks: Hand<Showing>,
}

/// What stages work with.
pub(super) struct Parts {
    pub(super) capture: Capture,
    pub(super) preprocess: Preparing,
    pub(super) inference: Inferring,
    pub(super) decode: Decoding,
    pub(super) sinks: Showing,
}

/// What came back of that and is of use again.
pub(super) struct Back {
    pub(super) capture: Option<Capture>,
    pub(super) decode: Option<Decoding>,
    pub(super) sinks: Option<Showing>,
    /// Stages that have not ended.
    pub(super) stuck: Vec<Stage>,
}

impl Crew {
    /// Starts all threads.
    ///
    /// # Errors
    /// [`Error::Backend`] when the system gives no thread; those that were started end.
    pub(super) fn start(parts: Parts, line: &Arc<Line>, pinning: &Pinning) -> Result<Self, Error> {
        Self::start_all(parts, line, pinning).inspect_err(|_| line.abort())
    }

    fn start_all(parts: Parts, line: &Arc<Line>, pinning: &Pinning) -> Result<Self, Error> {
        let Parts { capture, preprocess, inference, decode, sinks } = parts;
        let prepare = |part: &mut Preparing, line: &Line| {
            part.run(line);
            Ok(())
        };
        let infer = |part: &mut Inferring, line: &Line| {
            part.run(line);
            Ok(())
        };
        // From the end to the beginning, so that whoever is handed a frame is there.
        Ok(Self {
            sinks: start(Stage::Sinks, line, &pinning.sinks, sinks, Showing::run)?,
            decode: start(Stage::Decode, line, &pinning.decode, decode, Decoding::run)?,
            inference: start(Stage::Inference, line, &pinning.inference, inference, infer)?,
            preprocess: start(Stage::Preprocess, line, &pinning.preprocess, preprocess, prepare)?,
            capture: start(Stage::Capture, line, &pinning.capture, capture, Capture::run)?,
        })
    }

    /// Whether each stage has ended.
    pub(super) fn have_ended(&self) -> [bool; Stage::ALL.len()] {
        [
            self.capture.is_finished(),
            self.preprocess.is_finished(),
            self.inference.is_finished(),
            self.decode.is_finished(),
            self.sinks.is_finished(),
        ]
    }

    /// Takes back what ended stages worked with; those that have not are left alone.
    pub(super) fn dismiss(self) -> Back {
        let have_ended = self.have_ended();
        let stuck = Stage::ALL.into_iter().filter(|stage| !have_ended[stage.index()]).collect();
        Back { capture: join(self.capture), decode: join(self.decode), sinks: join(self.sinks), stuck }
    }
}

fn join<P>(hand: Hand<P>) -> Option<P> {
    if hand.is_finished() { hand.join().ok().flatten() } else { None }
}

fn start<P: Send + 'static>(
    stage: Stage,
    line: &Arc<Line>,
    cores: &[usize],
    mut part: P,
    work: impl FnOnce(&mut P, &Line) -> Result<(), Error> + Send + 'static,
) -> Result<Hand<P>, Error> {
    let (line, cores) = (Arc::clone(line), cores.to_vec());
    let run = move || {
        if let Err(reason) = pin(&cores) {
            line.notes.leave(Note::NotPinned(stage, reason));
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut part, &line)));
        let part = match outcome {
            Ok(Ok(())) => Some(part),
            Ok(Err(error)) => {
                line.end(Cause::Failed(error));
                Some(part)
            }
            Err(panic) => {
                line.end(Cause::Failed(panicked(stage, panic.as_ref())));
                None
            }
        };
        line.notes.ring();
        part
    };
    Builder::new().name(stage.name().into()).spawn(run).map_err(|error| {
        Error::Backend(Fault::new(
            format!("no thread for {stage}: {error}"),
            "a thread for each stage",
            "raise the limit on processes (`ulimit -u`)",
        ))
    })
}

fn panicked(stage: Stage, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let said = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given");
    Error::Backend(Fault::new(
        format!("{stage} panicked: {said}"),
        "a stage that ends with an error where it cannot go on",
        "this is a defect: report it with what was said before",
    ))
}
