//! Where frames and what was found on them go. One trait, so that whatever feeds sinks need not know them. A sink that fails
//! says so; whether the others go on is for who feeds them to say.

pub mod config;
mod controls;
mod desk;
mod detections;
mod jpeg;
mod lines;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "drm")]
mod newest;
mod open;
mod pictures;
mod record;
#[cfg(feature = "drm")]
mod screen;
#[cfg(any(feature = "web", feature = "mqtt"))]
mod snapshot;
mod trouble;
#[cfg(feature = "web")]
mod web;

use serde::Serialize;

use crate::backend::rknn::PoolReport;
use crate::source::Shot;
use crate::{Detection, Error};

pub use controls::Controls;
pub use lines::{Lines, LinesAside};
pub use open::open_all;

/// Something that shows, sends or keeps frames.
pub trait Sink: Send {
    /// Takes in one frame. Returns soon: what may wait for a network, a disk or a display does so elsewhere and drops what it
    /// cannot keep up with; but for [`Lines`], none of which is lost.
    ///
    /// # Errors
    /// [`Error::Artifact`] when what it writes to cannot be written, [`Error::Input`] when a frame cannot be sent as it is or a
    /// broker does not answer. Those of [`open_all`] say so once and go on by themselves.
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error>;

    /// Whether it looks at [pixels](Shot::bytes). Asked for each frame, and told to the source: frames that nobody looks at are not
    /// even copied. Where the answer changes to [`Pixels::Needed`], the frames that are under way then come
    /// [without](Shot::has_pixels).
    fn pixels(&self) -> Pixels {
        Pixels::Needed
    }

    /// How it does, also while [`Sink::show`] says nothing.
    fn health(&self) -> Health {
        Health::Unknown
    }

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// Whether somebody looks at pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pixels {
    /// It does.
    #[default]
    Needed,
    /// All else that is known of a frame is enough.
    Unneeded,
}

/// How a sink does. One that knows tries by itself again what failed, and wants to be shown every frame meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It does not know: whether it works again is seen when it is tried.
    #[default]
    Unknown,
    /// What it said goes wrong still does.
    Troubled,
    /// Nothing is wrong, now.
    Sound,
}

/// A frame and all that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its number among those shown, from 0.
    pub number: u64,
    /// Its pixels, where any sink [needs](Sink::pixels) them; where an overlay is drawn, with the overlay.
    pub shot: &'a Shot,
    /// What was found on it, best first; where objects are followed, those that were seen before, by number, at smoothed places.
    pub objects: &'a [Object],
    /// What was found on this frame by itself, best first; where objects are followed, also what scores too low to begin one.
    pub found: &'a [Detection],
    /// Class names by [`Detection::class`].
    pub classes: &'a [String],
    /// How long it took.
    pub times: FrameTimes,
    /// How the device does.
    pub vitals: Vitals,
}

/// An object on a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its number, where objects are followed.
    pub track: Option<u32>,
    /// Where it is, and what.
    pub detection: Detection,
}

/// How long each stage of a frame took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FrameTimes {
    /// Letterbox and conversion.
    pub preprocess_us: u64,
    /// The engine.
    pub inference_us: u64,
    /// Decode and NMS.
    pub decode_us: u64,
    /// Following objects.
    pub track_us: u64,
    /// Drawing the overlay.
    pub draw_us: u64,
    /// To the sinks, waiting included: from when the frame was taken, where its source knows that, else from when it had been read.
    pub latency_us: u64,
}

/// How the device does.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Vitals {
    /// Frames shown in a second, lately.
    pub fps: f32,
    /// Frames passed over so far because newer ones had come.
    pub dropped: u64,
    /// Frames lost so far: broken ones, or by an engine's failure.
    pub lost: u64,
    /// The hottest place of the device, in °C, where it can be read.
    pub temperature_c: Option<f32>,
    /// How full the queues were.
    pub waiting: Waiting,
    /// How the NPU does; none where none has run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npu: Option<NpuVitals>,
}

/// Frames that wait for each stage: what piles up before one is held up by it or what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Waiting {
    /// Captured.
    pub preprocess: usize,
    /// Prepared.
    pub inference: usize,
    /// Finished by the engine.
    pub decode: usize,
    /// Decoded and drawn on.
    pub sinks: usize,
}

/// How the NPU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NpuVitals {
    /// Cores that the model was opened on.
    pub cores: u64,
    /// Those of them that are not left out.
    pub cores_in_service: u64,
    /// Calls that did not return, set aside so far.
    pub quarantined: u64,
}

impl NpuVitals {
    /// What `report` says of so many cores.
    pub(crate) fn new(cores: u64, report: PoolReport) -> Self {
        let PoolReport { left_out, quarantined, .. } = report;
        Self { cores, cores_in_service: cores.saturating_sub(left_out), quarantined }
    }
}

/// Copies a frame's pixels, and all that is needed to look at them, into memory that is used again.
fn copy_pixels(from: &Shot, to: &mut Shot) {
    (to.width_px, to.height_px, to.format) = (from.width_px, from.height_px, from.format);
    to.bytes.clone_from(&from.bytes);
}
