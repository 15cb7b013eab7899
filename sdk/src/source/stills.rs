//! Pictures, one a frame: files that are decoded each time, as a camera's frames are, or images in memory.

use std::path::PathBuf;
use std::time::Duration;

use super::reel::Reel;
use super::{Arrival, Format, Rewound, Shot, Source};
use crate::{Error, Image, frame};

/// A picture.
#[derive(Debug, Clone)]
pub enum Still {
    /// An image file, as [`frame::read_image`] reads them: into memory of its own each time.
    File(PathBuf),
    /// An image with its name.
    Image(String, Image),
}

/// Pictures in turn. They do not say when they were taken, and count as 30 frames a second.
#[derive(Debug, Clone)]
pub struct Stills {
    pictures: Vec<Still>,
    next: usize,
    reel: Reel,
}

impl Stills {
    /// These pictures, in this order.
    pub fn new(pictures: Vec<Still>) -> Self {
        Self { pictures, next: 0, reel: Reel::default() }
    }
}

impl Source for Stills {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        let Some(picture) = self.pictures.get(self.next) else { return Ok(Arrival::Ended) };
        shot.number = self.next as u64;
        shot.filmed_at = Some(self.reel.advance());
        self.next += 1;
        match picture {
            Still::File(path) => match frame::read_image(path) {
                Ok(image) => {
                    shot.name = path.display().to_string();
                    (shot.width_px, shot.height_px) = (image.width_px, image.height_px);
                    (shot.format, shot.bytes) = (Format::Rgb, image.rgb);
                }
                Err(error) => return Ok(Arrival::Broken(error.to_string())),
            },
            Still::Image(name, image) => {
                shot.name.clone_from(name);
                let size_px = (image.width_px, image.height_px);
                shot.make_room(size_px, Format::Rgb, image.rgb.len()).copy_from_slice(&image.rgb);
            }
        }
        Ok(Arrival::Frame)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.next = 0;
        Ok(Rewound::Yes)
    }

    fn describe(&self) -> String {
        match self.pictures.len() {
            1 => "1 picture".into(),
            count => format!("{count} pictures"),
        }
    }
}
