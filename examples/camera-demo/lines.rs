//! The JSON lines: one document a frame, written when the frame is done.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use examples::console;
use repedge::StageTimes;
use repedge::source::Shot;
use serde::Serialize;

use super::objects::Object;

/// What was found on a frame.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    frame: u64,
    /// The frame's number in its source, where what is lost counts too.
    source_frame: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    image: &'a str,
    width_px: usize,
    height_px: usize,
    detections: Vec<Found<'a>>,
    times: StageTimes,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    /// The object's number, where objects are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u32>,
    class: usize,
    name: &'a str,
    score: f32,
    /// Left, top, right and bottom.
    box_px: [f32; 4],
}

impl<'a> Line<'a> {
    pub fn new(
        frame: u64,
        shot: &'a Shot,
        objects: &[Object],
        classes: &'a [String],
        times: StageTimes,
    ) -> Self {
        let found = |Object { track, detection: it }: &Object| Found {
            track: *track,
            class: it.class,
            name: classes.get(it.class).map_or("", String::as_str),
            score: it.score,
            box_px: [it.x0, it.y0, it.x1, it.y1],
        };
        Self {
            frame,
            source_frame: shot.number,
            image: &shot.name,
            width_px: shot.width_px,
            height_px: shot.height_px,
            detections: objects.iter().map(found).collect(),
            times,
        }
    }
}

/// Where the lines go.
pub enum Lines {
    /// Standard output.
    Stdout,
    /// A file, begun anew.
    File(PathBuf, File),
}

impl Lines {
    /// Opens `path`; `-` is standard output.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        if console::is_stdout(path) {
            return Ok(Self::Stdout);
        }
        let file = File::create(path).map_err(|e| artifact::Error::io(path, e))?;
        Ok(Self::File(path.to_path_buf(), file))
    }

    /// Writes one line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, line: &Line<'_>) -> Result<()> {
        let text = serde_json::to_string(line)? + "\n";
        match self {
            Self::Stdout => console::print(&text),
            Self::File(path, file) => {
                Ok(file.write_all(text.as_bytes()).map_err(|e| artifact::Error::io(&*path, e))?)
            }
        }
    }
}
