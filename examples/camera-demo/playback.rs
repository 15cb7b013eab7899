//! What is played: a folder of images, a file of video, a test pattern, or the pictures in the bundle. Frames that cannot be
//! used are said and passed over.

use std::time::Duration;

use anyhow::{Result, ensure};
use examples::images::images_in;
use repedge::Detector;
use repedge::source::{Arrival, Pattern, Rewound, Shot, Source, Still, Stills, open_video};

use super::config::{Play, Settings};

/// How long a frame is waited for before signals and the watchdog are looked at again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Frames in turn.
pub struct Playback {
    source: Box<dyn Source>,
    repeat: bool,
    shot: Shot,
    /// Whether anything was shown since the source began.
    has_shown: bool,
}

/// What came of asking for a frame.
pub enum Next<'a> {
    /// Here it is.
    Frame(&'a Shot),
    /// None yet.
    Later,
    /// There are no more.
    Over,
}

impl Playback {
    /// Opens what `settings` name, else the bundle's own pictures, which are repeated.
    ///
    /// # Errors
    /// When there is nothing to play.
    pub fn open(settings: &Settings, detector: &mut Detector) -> Result<Self> {
        let source: Box<dyn Source> = match &settings.play {
            Play::Images(folder) => {
                let files = images_in(folder)?.into_iter().map(Still::File);
                Box::new(Stills::new(files.collect()))
            }
            Play::Video(file) => open_video(file)?,
            Play::Pattern([width_px, height_px]) => Box::new(Pattern::new(*width_px, *height_px)),
            Play::Bundle => Box::new(Stills::new(bundled(detector)?)),
        };
        let repeat = settings.repeat || matches!(settings.play, Play::Bundle);
        Ok(Self { source, repeat, shot: Shot::default(), has_shown: false })
    }

    /// What is played, for people.
    pub fn describe(&self) -> String {
        self.source.describe()
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the source fails, or nothing in it can be used.
    pub fn next(&mut self) -> Result<Next<'_>> {
        loop {
            match self.source.next(&mut self.shot, PATIENCE)? {
                Arrival::Frame => {
                    self.has_shown = true;
                    return Ok(Next::Frame(&self.shot));
                }
                Arrival::Broken(reason) => eprintln!("skipped: {reason}"),
                Arrival::Late => return Ok(Next::Later),
                Arrival::Ended => {
                    ensure!(
                        self.has_shown,
                        "{}: nothing in it can be used\n  expected: at least one whole image\n  help: see above",
                        self.source.describe()
                    );
                    if !self.repeat || self.source.rewind()? == Rewound::No {
                        return Ok(Next::Over);
                    }
                    self.has_shown = false;
                }
            }
        }
    }
}

fn bundled(detector: &mut Detector) -> Result<Vec<Still>> {
    let names: Vec<String> =
        detector.manifest().check_images.iter().map(|image| image.name.clone()).collect();
    ensure!(
        !names.is_empty(),
        "nothing to play\n  expected: --images, --video or --pattern, or a bundle with pictures of its own\n  \
         help: name a folder with --images, or convert with --check-images"
    );
    let still = |(index, name)| Ok(Still::Image(name, detector.check_image(index)?));
    names.into_iter().enumerate().map(still).collect()
}
