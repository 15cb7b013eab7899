//! Which processor cores the stages of a running pipeline use, on boards whose cores are not all the same.

use serde::{Deserialize, Serialize};

/// Cores of each stage, by the kernel's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threads {
    /// Processor cores that the board has, numbered from 0.
    pub cores: usize,
    /// Waits for the camera, and decodes its JPEGs where it gives such.
    pub capture: Vec<usize>,
    /// Letterbox and conversion.
    pub preprocess: Vec<usize>,
    /// Feeds the engine; threads of the engine itself are not meant.
    pub inference: Vec<usize>,
    /// Decode, NMS, tracking and the overlay.
    pub decode: Vec<usize>,
    /// Hands frames to the sinks, whose own threads run there too.
    pub sinks: Vec<usize>,
}

impl Threads {
    /// The stages' cores under their keys.
    pub fn named(&self) -> [(&'static str, &[usize]); 5] {
        [
            ("capture", &self.capture),
            ("preprocess", &self.preprocess),
            ("inference", &self.inference),
            ("decode", &self.decode),
            ("sinks", &self.sinks),
        ]
    }
}
