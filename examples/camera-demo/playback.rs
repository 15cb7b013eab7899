//! What is played: a camera, a folder of images, a file of video, a test pattern, or the pictures in the bundle; and how, where
//! nobody says.

use std::time::Duration;

use anyhow::{Result, ensure};
use artifact::Fault;
use examples::device::PipelineModel;
use examples::images::images_in;
use repedge::Error;
use repedge::pipeline::{Following, Policy};
use repedge::source::{Arrival, Pattern, Rewound, Shot, Source, Still, Stills, open_video};

use super::config::{Play, Settings};

/// A source, and what becomes of its frames.
pub struct Playback {
    pub source: Box<dyn Source>,
    pub policy: Policy,
    pub following: Following,
}

/// Opens what `settings` name, else the first camera, else the bundle's own pictures, which are repeated.
///
/// # Errors
/// When there is nothing to play.
pub fn open(settings: &Settings, model: &mut PipelineModel) -> Result<Playback> {
    if let Some(source) = camera(settings)? {
        let (policy, following) = (settings.policy.unwrap_or(Policy::NewestFrame), Following::On);
        return Ok(Playback { source, policy, following });
    }
    let source: Box<dyn Source> = match &settings.play {
        Some(Play::Images(folder)) => {
            let files = images_in(folder)?.into_iter().map(Still::File);
            Box::new(Stills::new(files.collect()))
        }
        Some(Play::Video(file)) => open_video(file)?,
        Some(Play::Pattern(size_px)) => {
            let [width_px, height_px] = size_px.map(usize::from);
            Box::new(Pattern::new(width_px, height_px))
        }
        Some(Play::Camera(_)) | None => Box::new(Stills::new(bundled(model)?)),
    };
    let repeat = settings.repeat || settings.play.is_none();
    let moves = matches!(settings.play, Some(Play::Video(_) | Play::Pattern(_)));
    let is_live = matches!(settings.play, Some(Play::Pattern(_))) && !settings.interval.is_zero();
    let usual = if is_live { Policy::NewestFrame } else { Policy::EveryFrame };
    Ok(Playback {
        source: Box::new(Rounds { source, repeat, has_shown: false }),
        policy: settings.policy.unwrap_or(usual),
        following: if settings.track || moves { Following::On } else { Following::Off },
    })
}

/// The camera that `settings` name, or, where they name nothing to play, the first that there is. The one place that knows of
/// cameras.
#[cfg(feature = "camera")]
fn camera(settings: &Settings) -> Result<Option<Box<dyn Source>>> {
    use repedge::source::v4l2::{Camera, Settings as CameraSettings, Wish, first_camera};

    let path = match &settings.play {
        Some(Play::Camera(path)) => path.clone(),
        Some(_) => return Ok(None),
        None => match first_camera()? {
            Some(found) => found.path,
            None => return Ok(None),
        },
    };
    let usual = Wish::default();
    let [width_px, height_px] =
        settings.wish.size_px.map_or([usual.width_px, usual.height_px], |size_px| size_px.map(u32::from));
    let wish = Wish { width_px, height_px, fps: settings.wish.fps.unwrap_or(usual.fps), ..usual };
    let camera = Camera::open(CameraSettings { path: Some(path), wish, ..CameraSettings::default() })?;
    Ok(Some(Box::new(camera)))
}

/// No camera, which this build cannot open.
#[cfg(not(feature = "camera"))]
fn camera(settings: &Settings) -> Result<Option<Box<dyn Source>>> {
    match &settings.play {
        Some(Play::Camera(path)) => Err(Error::Input(Fault::new(
            format!("camera {}, which this build cannot open", path.display()),
            "a build with cameras",
            "build examples with feature `camera`, as packages for boards are",
        ))
        .into()),
        _ => Ok(None),
    }
}

/// A source that is played over and over, where that is asked for, and must give something each time.
struct Rounds {
    source: Box<dyn Source>,
    repeat: bool,
    /// Whether anything was shown since the source began.
    has_shown: bool,
}

impl Source for Rounds {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        loop {
            match self.source.next(shot, patience)? {
                Arrival::Ended => {
                    if !self.has_shown {
                        return Err(self.empty());
                    }
                    if !self.repeat || self.source.rewind()? == Rewound::No {
                        return Ok(Arrival::Ended);
                    }
                    self.has_shown = false;
                }
                arrival => {
                    self.has_shown |= arrival == Arrival::Frame;
                    return Ok(arrival);
                }
            }
        }
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.source.rewind()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}

impl Rounds {
    fn empty(&self) -> Error {
        Error::Input(Fault::new(
            format!("{}: nothing in it can be used", self.source.describe()),
            "at least one whole image",
            "see above",
        ))
    }
}

fn bundled(model: &mut PipelineModel) -> Result<Vec<Still>> {
    let names: Vec<String> = model.manifest().check_images.iter().map(|image| image.name.clone()).collect();
    ensure!(
        !names.is_empty(),
        "nothing to play\n  expected: a camera, --images, --video or --pattern, or a bundle with pictures of its own\n  \
         help: name a folder with --images, or convert with --check-images"
    );
    let still = |(index, name)| Ok(Still::Image(name, model.check_image(index)?));
    names.into_iter().enumerate().map(still).collect()
}
