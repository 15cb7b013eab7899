//! What is played: a camera, a folder of images, a file of video, a test pattern, or the pictures in the bundle until a camera
//! comes; and how, where nobody says.

use std::time::Duration;

use anyhow::{Result, ensure};
use artifact::Fault;
use examples::device::PipelineModel;
use examples::images::images_in;
use repedge::Error;
use repedge::pipeline::{Following, Policy};
use repedge::source::{Arrival, Handover, Pattern, Rewound, Shot, Source, Still, Stills, open_video};

#[cfg(feature = "camera")]
use super::cameras::{self, Sought};
use super::config::{Play, Settings};

/// From one of the bundle's own pictures to the next, where nobody says: each is to be seen.
const PICTURE: Duration = Duration::from_millis(200);

/// A source, and what becomes of its frames.
pub struct Playback {
    pub source: Box<dyn Source>,
    pub policy: Policy,
    pub following: Following,
    pub interval: Duration,
    /// Where a camera is that came meanwhile, once the source has ended.
    pub camera: Handover,
}

/// Opens what `settings` name, else the first camera, else the bundle's own pictures, which are repeated until there is one.
///
/// # Errors
/// When there is nothing to play.
pub fn open(settings: &Settings, model: &mut PipelineModel) -> Result<Playback> {
    #[cfg(feature = "camera")]
    match cameras::open(settings)? {
        Sought::Camera(camera) => return Ok(of_camera(settings, camera)),
        Sought::Later(search, refusals) => return until_camera(settings, model, search, refusals),
        Sought::Nothing => {}
    }
    of_files(settings, model)
}

/// How a camera is played.
pub fn of_camera(settings: &Settings, source: Box<dyn Source>) -> Playback {
    Playback {
        source,
        policy: settings.policy.unwrap_or(Policy::NewestFrame),
        following: Following::On,
        interval: settings.interval.unwrap_or_default(),
        camera: Handover::default(),
    }
}

/// The bundle's pictures, until `search` finds a camera.
#[cfg(feature = "camera")]
fn until_camera(
    settings: &Settings,
    model: &mut PipelineModel,
    search: repedge::source::v4l2::Search,
    refusals: Vec<String>,
) -> Result<Playback> {
    let playback = of_files(settings, model)?;
    let (source, camera) = repedge::source::Standby::new(playback.source, search, refusals);
    Ok(Playback { source: Box::new(source), camera, ..playback })
}

/// What is no camera.
fn of_files(settings: &Settings, model: &mut PipelineModel) -> Result<Playback> {
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
        Some(Play::Camera(path)) => {
            return Err(Error::Input(Fault::new(
                format!("camera {}, which this build cannot open", path.display()),
                "a build with cameras",
                "build examples with feature `camera`, as packages for boards are",
            ))
            .into());
        }
        None => Box::new(Stills::new(bundled(model)?)),
    };
    let repeat = settings.repeat || settings.play.is_none();
    let moves = matches!(settings.play, Some(Play::Video(_) | Play::Pattern(_)));
    let usual = if settings.play.is_none() { PICTURE } else { Duration::ZERO };
    let interval = settings.interval.unwrap_or(usual);
    let is_live = matches!(settings.play, Some(Play::Pattern(_))) && !interval.is_zero();
    let policy = if is_live { Policy::NewestFrame } else { Policy::EveryFrame };
    Ok(Playback {
        source: Box::new(Rounds { source, repeat, has_shown: false }),
        policy: settings.policy.unwrap_or(policy),
        following: if settings.track || moves { Following::On } else { Following::Off },
        interval,
        camera: Handover::default(),
    })
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
