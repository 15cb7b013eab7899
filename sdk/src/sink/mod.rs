//! Where frames and what was found on them go. One trait, so that whatever feeds sinks need not know them. A sink that fails
//! says so; whether the others go on is for who feeds them to say.

pub mod config;
mod controls;
mod detections;
mod jpeg;
mod lines;
#[cfg(feature = "mqtt")]
mod mqtt;
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

use crate::source::Shot;
use crate::{Detection, Error};

pub use controls::Controls;
pub use lines::Lines;
pub use open::open_all;

/// Something that shows, sends or keeps frames.
pub trait Sink: Send {
    /// Takes in one frame. Returns soon: what may wait for a network or a disk does so elsewhere and drops what it cannot keep up with.
    ///
    /// # Errors
    /// [`Error::Artifact`] when what it writes to cannot be written, [`Error::Input`] when a frame cannot be sent as it is or a
    /// broker does not answer. Those of [`open_all`] say so once and go on by themselves.
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error>;

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// A frame and all that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its number among those shown, from 0.
    pub number: u64,
    /// Its pixels; where an overlay is drawn, with the overlay.
    pub shot: &'a Shot,
    /// What was found on it, best first.
    pub objects: &'a [Object],
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
    /// From the frame's arrival to the sinks, waiting included.
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
}
