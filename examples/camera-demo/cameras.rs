//! Which camera is played: the one that is named, or the first that can be used of those that the board has. The one place that
//! knows of V4L2.

use anyhow::Result;
use boards::{Board, PixelFormat};
use examples::console;
use repedge::source::v4l2::{Camera, Formats, Kind, Pixels, Search, Settings as CameraSettings, Wish};
use repedge::source::{Hunt, Source};

use super::config::{Play, Settings};

/// What came of looking for a camera to play.
pub enum Sought {
    /// One is there.
    Camera(Box<dyn Source>),
    /// Something else is to be played.
    Nothing,
    /// None is there yet. It may still come; who looked, and what was said of those that cannot be used.
    Later(Search, Vec<String>),
}

/// The camera that `settings` name, or, where they name nothing to play, the first that can be used.
///
/// # Errors
/// When the one that is named cannot be used.
pub fn open(settings: &Settings) -> Result<Sought> {
    let cameras = CameraSettings {
        kinds: settings.device.find_board()?.as_ref().map(kinds).unwrap_or_default(),
        wish: wish(settings),
        ..CameraSettings::default()
    };
    match &settings.play {
        Some(Play::Camera(path)) => {
            let camera = Camera::open(CameraSettings { path: Some(path.clone()), ..cameras })?;
            Ok(Sought::Camera(Box::new(camera)))
        }
        Some(_) => Ok(Sought::Nothing),
        None => {
            let mut search = Search::new(cameras);
            let look = search.look();
            for refusal in &look.refusals {
                console::note(format_args!("note: a camera is not used: {refusal}"));
            }
            Ok(look.source.map_or(Sought::Later(search, look.refusals), Sought::Camera))
        }
    }
}

fn wish(settings: &Settings) -> Wish {
    let usual = Wish::default();
    let wish = &settings.wish;
    let [width_px, height_px] =
        wish.size_px.map_or([usual.width_px, usual.height_px], |size_px| size_px.map(u32::from));
    let formats = wish.formats.as_ref().map_or(usual.formats, |formats| Formats::only(&pixels(&formats.0)));
    Wish { width_px, height_px, fps: wish.fps.unwrap_or(usual.fps), formats }
}

fn kinds(board: &Board) -> Vec<Kind> {
    let kind =
        |camera: &boards::Camera| Kind { driver: camera.driver.clone(), formats: pixels(&camera.formats) };
    board.cameras.iter().map(kind).collect()
}

/// Those that cameras are read in.
fn pixels(formats: &[PixelFormat]) -> Vec<Pixels> {
    let pixels = |format: &PixelFormat| match format {
        PixelFormat::Nv12 => &[Pixels::Nv12, Pixels::Nv12Planes][..],
        PixelFormat::Yuyv => &[Pixels::Yuyv],
        PixelFormat::Mjpeg => &[Pixels::Jpeg],
        PixelFormat::Rgb24 => &[],
    };
    formats.iter().flat_map(pixels).copied().collect()
}
