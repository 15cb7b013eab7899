//! Where frames come from: a folder of images, or the pictures in the bundle.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use examples::images::images_in;
use repedge::{Detector, Image, frame};

use super::config::Settings;

/// Pictures in turn.
pub struct Pictures {
    source: Source,
    next: usize,
    repeat: bool,
    /// The one that is shown.
    current: (String, Image),
    /// Pictures shown since the source began anew.
    shown: usize,
}

enum Source {
    /// Decoded each time, as a camera's frames are; so that a folder may be large.
    Folder(Vec<PathBuf>),
    /// Few and small.
    Bundle(Vec<(String, Image)>),
}

impl Pictures {
    /// The folder that `settings` name, else the bundle's own pictures, which are repeated.
    ///
    /// # Errors
    /// When there is no picture.
    pub fn open(settings: &Settings, detector: &mut Detector) -> Result<Self> {
        let (source, repeat) = match &settings.images {
            Some(folder) => (Source::Folder(images_in(folder)?), settings.repeat),
            None => (Source::Bundle(bundled(detector)?), true),
        };
        let current = (String::new(), Image::filled(1, 1, [0; 3]));
        Ok(Self { source, next: 0, repeat, current, shown: 0 })
    }

    /// The next picture with its name; none when there are no more. Broken files are said and passed over.
    ///
    /// # Errors
    /// When every file of a folder is broken.
    pub fn next(&mut self) -> Result<Option<(&str, &Image)>> {
        loop {
            if self.next == self.len() {
                ensure!(
                    self.shown > 0,
                    "none of the {} images can be read\n  expected: at least one whole image\n  help: see above",
                    self.len()
                );
                if !self.repeat {
                    return Ok(None);
                }
                (self.next, self.shown) = (0, 0);
            }
            let index = self.next;
            self.next += 1;
            if self.load(index) {
                self.shown += 1;
                break;
            }
        }
        Ok(Some((&self.current.0, &self.current.1)))
    }

    fn len(&self) -> usize {
        match &self.source {
            Source::Folder(paths) => paths.len(),
            Source::Bundle(pictures) => pictures.len(),
        }
    }

    fn load(&mut self, index: usize) -> bool {
        match &self.source {
            Source::Folder(paths) => match frame::read_image(&paths[index]) {
                Ok(image) => self.current = (paths[index].display().to_string(), image),
                Err(error) => {
                    eprintln!("skipped: {error}");
                    return false;
                }
            },
            Source::Bundle(pictures) => self.current.clone_from(&pictures[index]),
        }
        true
    }
}

fn bundled(detector: &mut Detector) -> Result<Vec<(String, Image)>> {
    let names: Vec<String> =
        detector.manifest().check_images.iter().map(|image| image.name.clone()).collect();
    ensure!(
        !names.is_empty(),
        "nothing to play\n  expected: --images, or a bundle with pictures of its own\n  \
         help: name a folder with --images, or convert with --check-images"
    );
    names.into_iter().enumerate().map(|(index, name)| Ok((name, detector.check_image(index)?))).collect()
}
