//! Frames from a source through a model to sinks, each stage on a thread of its own. Frames stay in order; a fixed number of
//! them goes round, so that the stages themselves allocate nothing for a frame. What they call may: sources that decode images,
//! tract where it runs what our kernels do not, and sinks, on threads of their own. What waits too long is
//! replaced by what is newer, or nothing is, as the [`Policy`] says. Durations are measured by a clock that nobody sets.
//!
//! ```text
//! source ─▶ capture ─▶ preprocess ─▶ inference ─▶ decode, track, draw ─▶ sinks
//!              ▲            ▲ rooms ─────┘                                 │
//!              └────────────────────────── memory of frames ◀──────────────┘
//! ```
//!
//! Preprocess takes a frame only once the engine has room for it, and no more are under way than keep the slowest stage busy:
//! until then the newest may still replace it. Frames of files, none of which may be lost, wait in their file all the same, so
//! that as many are under way as there is room for.

mod crew;
mod demand;
mod flow;
mod line;
mod note;
mod outlet;
mod pinning;
mod pulse;
mod queue;
mod report;
mod stage;
mod stop;
mod supervise;
mod vitals;

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use artifact::{BackendKind, Manifest};
use serde::Deserialize;

use crate::backend::SharedEngine;
use crate::preprocess::rga::RgaChoice;
use crate::sink::{Controls, Object, Sink, Vitals};
use crate::source::{Shot, Source};
use crate::{Error, Model};
use crew::{Back, Crew, Parts};
use demand::Demand;
use line::{Cause, Line};
use note::Notes;
use outlet::Outlet;
use report::Tally;
use stage::capture::Capture;
use stage::decode::{Decoding, Seeing};
use stage::inference::Inferring;
use stage::preprocess::Preparing;
use stage::sinks::Showing;
use vitals::Thermometer;

pub(crate) use flow::Bound;
pub use line::Stage;
pub(crate) use line::parcels;
pub use note::Note;
pub use outlet::Duty;
pub use pinning::Pinning;
pub use queue::QueueReport;
pub use report::{PipelineReport, SinkReport, Spread, StageReport};
pub use stop::Stop;

/// What becomes of frames that come faster than they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The newest replaces the one that waits, which counts as dropped: for cameras.
    #[default]
    #[serde(rename = "newest")]
    NewestFrame,
    /// The source waits: for files. Where it does, the longest queues make it go fastest, and nothing gets old by them.
    #[serde(rename = "every")]
    EveryFrame,
}

/// Whether objects are followed from frame to frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Following {
    /// Every detection stands by itself.
    #[default]
    Off,
    /// Objects keep their numbers.
    On,
}

/// How frames are played.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What becomes of frames that come too fast.
    pub policy: Policy,
    /// Whether objects are followed.
    pub following: Following,
    /// Least time from one frame to the next; of cameras, whose frames come when they do, on average. A camera's frames that
    /// come before are passed over where the newest counts, so that the one that is looked at is as new as can be.
    pub interval: Duration,
    /// Frames to show; all of them where absent.
    pub frames: Option<u64>,
    /// Which processor cores stages run on.
    pub pinning: Pinning,
    /// Whether RGA prepares the frames of cameras that give them as DMA-BUF for an NPU, and which librga is used. Untested on
    /// hardware.
    pub rga: RgaChoice,
}

/// What draws what was found onto frames.
pub trait Overlay: Send {
    /// Draws onto one frame.
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals);
}

/// A model, and what replaces its engine once that is given up.
pub trait Analyzer {
    /// What the model takes and gives.
    fn manifest(&self) -> &Manifest;

    /// The engine that runs it.
    fn engine(&self) -> SharedEngine;

    /// Which one that is, for the report.
    fn backend(&self) -> Option<BackendKind> {
        None
    }

    /// Why it runs in place of a better one, if it does, for the report.
    fn fallback(&self) -> Option<&str> {
        None
    }

    /// Changes to another engine where `error` says that this one is given up; says why, or nothing where it does not.
    ///
    /// # Errors
    /// When there should be another engine and it cannot be loaded.
    fn replace(&mut self, error: &Error) -> Result<Option<String>, Error>;
}

impl Analyzer for Model<SharedEngine> {
    fn manifest(&self) -> &Manifest {
        self.manifest()
    }

    fn engine(&self) -> SharedEngine {
        Arc::clone(&self.opened.session)
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(self.opened.backend)
    }

    fn fallback(&self) -> Option<&str> {
        self.opened.fallback.as_deref()
    }

    fn replace(&mut self, error: &Error) -> Result<Option<String>, Error> {
        let has_changed = self.cpu_takes_over(error)?;
        Ok(self.opened.fallback.clone().filter(|_| has_changed))
    }
}

/// Who is told how a pipeline does.
pub trait Watch {
    /// Something happened that the pipeline goes on after.
    fn note(&mut self, note: &Note);

    /// Every stage has moved since the last call: what a watchdog wants to hear.
    fn alive(&mut self);
}

/// Why a pipeline ended, where nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source has no more frames, and all of them were shown.
    Over,
    /// As many frames as were asked for were shown.
    Enough,
    /// Somebody asked.
    Stopped,
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What became of the frames, also where the run failed.
    pub report: PipelineReport,
    /// Why it ended.
    pub end: Result<End, Error>,
}

/// Frames from a source to sinks.
pub struct Pipeline {
    source: Box<dyn Source>,
    outlets: Vec<Outlet>,
    overlay: Option<Box<dyn Overlay>>,
    settings: Settings,
    controls: Controls,
    stop: Stop,
}

/// What goes from one engine to the next.
struct Kept {
    capture: Capture,
    seeing: Seeing,
    showing: Showing,
}

impl Pipeline {
    /// A pipeline without sinks, which heeds `controls` and ends when `stop` is asked to.
    pub fn new(source: Box<dyn Source>, settings: Settings, controls: Controls, stop: Stop) -> Self {
        Self { source, outlets: Vec::new(), overlay: None, settings, controls, stop }
    }

    /// Shows frames there, too.
    pub fn add_sink(&mut self, sink: Box<dyn Sink>, duty: Duty) {
        self.outlets.push(Outlet::new(sink, duty));
    }

    /// Draws onto frames before they are shown: for sinks that show pixels. Frames whose pixels none of them needs are not drawn on
    /// where they stay in a camera's buffer.
    pub fn set_overlay(&mut self, overlay: Box<dyn Overlay>) {
        self.overlay = Some(overlay);
    }

    /// Runs until the source ends, enough was shown, somebody asks, or something fails. Where the engine is given up, what it
    /// has finished is still shown and the rest counts as lost; the run goes on where the analyzer has another engine. Asked to
    /// end, it leaves what is under way; a stage that does not end is left, and named in the report.
    pub fn run(self, analyzer: &mut dyn Analyzer, watch: &mut dyn Watch) -> Run {
        let Self { source, outlets, overlay, settings, controls, stop } = self;
        let Settings { policy, following, interval, frames, pinning, rga } = settings;
        let frames = frames.unwrap_or(u64::MAX);
        if frames == 0 {
            return Run { report: PipelineReport::default(), end: Ok(End::Enough) };
        }
        let seeing = match Seeing::new(following, overlay, controls.clone()) {
            Ok(seeing) => seeing,
            Err(error) => return Run { report: PipelineReport::default(), end: Err(error) },
        };
        let classes = analyzer.manifest().classes.clone();
        let kept = Kept {
            capture: Capture::new(source, policy, interval, controls),
            seeing,
            showing: Showing { outlets, classes, frames, span: None },
        };
        let notes = Arc::new(Notes::new(stop.clone()));
        let mut shift = Shift {
            tally: Arc::new(Tally::new()),
            notes,
            stop,
            pinning,
            rga,
            report: PipelineReport::default(),
        };
        let end = shift.run(kept, analyzer, watch);
        Run { report: shift.report, end }
    }
}

/// A run.
struct Shift {
    tally: Arc<Tally>,
    notes: Arc<Notes>,
    stop: Stop,
    pinning: Pinning,
    rga: RgaChoice,
    report: PipelineReport,
}

impl Shift {
    /// Runs one engine after another.
    fn run(&mut self, kept: Kept, analyzer: &mut dyn Analyzer, watch: &mut dyn Watch) -> Result<End, Error> {
        let mut next = kept;
        loop {
            let (cause, kept) = self.run_engine(next, analyzer, watch)?;
            let error = match cause {
                Some(Cause::Failed(error)) => error,
                Some(Cause::Enough) => return Ok(End::Enough),
                None if self.stop.is_stopped() => return Ok(End::Stopped),
                None => return Ok(End::Over),
            };
            match (analyzer.replace(&error)?, kept) {
                (Some(reason), Some(kept)) => {
                    watch.note(&Note::FellBack(reason));
                    next = kept;
                }
                _ => return Err(error),
            }
        }
    }

    /// Runs until the line ends; gives the cause, and what another engine can go on with.
    fn run_engine(
        &mut self,
        kept: Kept,
        analyzer: &dyn Analyzer,
        watch: &mut dyn Watch,
    ) -> Result<(Option<Cause>, Option<Kept>), Error> {
        let Kept { capture, seeing, showing } = kept;
        let (engine, manifest) = (analyzer.engine(), analyzer.manifest());
        let (preprocess, decode, lanes, pinning, demand) = {
            let engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
            let preprocess = Preparing::new(manifest, engine.input(), self.rga.clone())?;
            let decode = Decoding::new(seeing, manifest, engine.outputs())?;
            let demand = Demand::new(preprocess.pixels(&*engine), showing.pixels());
            (preprocess, decode, engine.lanes(), self.pinning.around(&*engine), demand)
        };
        let (bound, tally, notes) = (capture.bound(lanes), Arc::clone(&self.tally), Arc::clone(&self.notes));
        let line = Arc::new(Line::new(lanes, bound, demand, tally, notes));
        let parts = Parts { capture, preprocess, inference: Inferring { engine }, decode, sinks: showing };
        let thermometer = Thermometer::new(Path::new("/"));
        let crew = Crew::start(parts, &line, &pinning)?;
        supervise::supervise(&crew, &line, &self.stop, thermometer, watch);
        let back = crew.dismiss();
        if line.has_failed() {
            self.tally.lose_rest();
        }
        self.fill_report(&line, lanes, &back);
        self.report.backend = analyzer.backend();
        self.report.fallback = analyzer.fallback().map(str::to_owned);
        let Back { capture, decode, sinks, .. } = back;
        let kept = capture.zip(decode).zip(sinks);
        let kept = kept.map(|((capture, decode), showing)| Kept { capture, seeing: decode.seeing, showing });
        Ok((line.take_cause(), kept))
    }

    fn fill_report(&mut self, line: &Line, lanes: usize, back: &Back) {
        let Back { sinks, stuck, .. } = back;
        let span = sinks.as_ref().and_then(|sinks| sinks.span);
        let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let report = self.tally.report();
        let later = report.shown.saturating_sub(1);
        self.report = PipelineReport {
            seconds,
            fps: (seconds > 0.0).then(|| to_f64(later) / seconds),
            lanes,
            queues: line.report(),
            sinks: sinks.iter().flat_map(|sinks| sinks.outlets.iter().map(Outlet::report)).collect(),
            stuck: stuck.clone(),
            ..report
        };
    }
}

#[expect(clippy::cast_precision_loss, reason = "frame counts are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
