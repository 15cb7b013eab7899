//! Settings: a TOML file, overridden by arguments. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use boards::PixelFormat;
use clap::ValueEnum;
use examples::console;
use examples::device::{Backend, DeviceArgs};
use examples::fraction;
use repedge::pipeline::Policy;
use repedge::preprocess::rga::RgaChoice;
use repedge::sink::config::{MqttConfig, RecordConfig, ScreenConfig, SinkConfig, WebConfig};
use serde::Deserialize;

use super::Args;

/// What the file may say. Relative paths start at its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    bundle: Option<PathBuf>,
    images: Option<PathBuf>,
    video: Option<PathBuf>,
    camera: Option<PathBuf>,
    camera_size: Option<String>,
    camera_fps: Option<u32>,
    camera_format: Option<String>,
    pattern: Option<String>,
    track: bool,
    repeat: bool,
    policy: Option<Policy>,
    interval_ms: Option<u64>,
    confidence: Option<f32>,
    json: Option<PathBuf>,
    report: Option<PathBuf>,
    backend: Option<Backend>,
    rga: Option<String>,
    board: Option<String>,
    keys: Option<PathBuf>,
    allow_unsigned: bool,
    state: Option<PathBuf>,
    web: Option<WebConfig>,
    mqtt: Option<MqttConfig>,
    record: Option<RecordConfig>,
    screen: Option<ScreenConfig>,
}

/// What holds, once file and arguments are merged.
#[derive(Debug)]
pub struct Settings {
    pub bundle: PathBuf,
    pub device: DeviceArgs,
    /// The first camera, else the bundle's own pictures, where absent.
    pub play: Option<Play>,
    #[cfg_attr(not(feature = "camera"), allow(dead_code, reason = "this build opens no camera"))]
    pub wish: CameraWish,
    /// Whether objects are followed from frame to frame, also in pictures.
    pub track: bool,
    pub repeat: bool,
    pub policy: Option<Policy>,
    pub frames: Option<u64>,
    /// Least time from one frame to the next, where anybody says.
    pub interval: Option<Duration>,
    pub rga: RgaChoice,
    pub confidence: Option<f32>,
    pub json: PathBuf,
    pub report: Option<PathBuf>,
    /// All sinks but the JSON lines.
    pub sinks: SinkConfig,
    /// Whether the page was asked for by whoever called, and not by a file alone.
    pub wants_page: bool,
}

impl Settings {
    /// Whether frames come when they come, as those of cameras do, unless every one is to be shown.
    pub fn is_live(&self) -> bool {
        let of_camera = match &self.play {
            Some(play) => matches!(play, Play::Camera(_)),
            // The first camera, or pictures until there is one.
            None => cfg!(feature = "camera"),
        };
        self.policy.map_or(of_camera, |policy| policy == Policy::NewestFrame)
    }
}

/// What is wished of a camera; what nearly every camera has where nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "camera"), allow(dead_code, reason = "this build opens no camera"))]
pub struct CameraWish {
    pub size_px: Option<[u16; 2]>,
    pub fps: Option<u32>,
    /// Those that are taken, the preferred one first; the board's before all others where nothing is said.
    pub formats: Option<Formats>,
}

/// Pixel formats in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(feature = "camera"), allow(dead_code, reason = "this build opens no camera"))]
pub struct Formats(pub Vec<PixelFormat>);

/// What becomes of frames that come too fast.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PolicyArg {
    /// The newest replaces the one that waits
    Newest,
    /// The source waits
    Every,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Newest => Self::NewestFrame,
            PolicyArg::Every => Self::EveryFrame,
        }
    }
}

/// What to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Play {
    /// The images of a folder.
    Images(PathBuf),
    /// A file of video.
    Video(PathBuf),
    /// The camera at this device.
    Camera(PathBuf),
    /// A test pattern of this width and height.
    Pattern([u16; 2]),
}

impl Play {
    /// The one of these that is named, if any is.
    fn of(
        images: Option<PathBuf>,
        video: Option<PathBuf>,
        camera: Option<PathBuf>,
        pattern: Option<[u16; 2]>,
    ) -> Result<Option<Self>> {
        let named = [
            images.map(Self::Images),
            video.map(Self::Video),
            camera.map(Self::Camera),
            pattern.map(Self::Pattern),
        ];
        let mut named = named.into_iter().flatten();
        let (play, more) = (named.next(), named.next());
        ensure!(
            more.is_none(),
            "several things to play\n  expected: one of `images`, `video`, `camera` and `pattern`\n  help: leave the others out"
        );
        Ok(play)
    }
}

/// The page's settings: those of the file, with the address of the argument.
fn web(listen: Option<SocketAddr>, file: Option<WebConfig>) -> Option<WebConfig> {
    match listen {
        Some(listen) => Some(WebConfig { listen, ..file.unwrap_or_default() }),
        None => file,
    }
}

/// Settings of recordings: those of the file, with the folder of the argument.
fn record(folder: Option<PathBuf>, file: Option<RecordConfig>) -> Option<RecordConfig> {
    match (folder, file) {
        (Some(folder), Some(file)) => Some(RecordConfig { folder, ..file }),
        (Some(folder), None) => Some(RecordConfig::new(folder)),
        (None, file) => file,
    }
}

/// Where a device keeps the bundle that it runs, the file of its board, and the keys that count.
const CURRENT: &str = "/var/lib/repedge/current";
/// The bundle's name there, and where it lies beside the program.
const BUNDLE: &str = "model.bundle";
/// The name of the board's file beside it.
const BOARD: &str = "board.json";
/// The folder of public keys beside it.
const KEYS: &str = "keys";

/// The folder of the bundle to run where none is named, if there is one.
fn usual_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent).map(Path::to_owned);
    [Some(CURRENT.into()), beside].into_iter().flatten().find(|folder| folder.join(BUNDLE).is_file())
}

/// What is run where no bundle is named: a bundle, and what lies beside it, as in the folder of a package.
#[derive(Debug, Default)]
struct Usual {
    bundle: Option<PathBuf>,
    board: Option<String>,
    keys: Option<PathBuf>,
}

impl Usual {
    /// What `folder` holds.
    fn of(folder: &Path) -> Self {
        let there = |name| Some(folder.join(name)).filter(|path| path.exists());
        let board = there(BOARD).and_then(|board| Some(board.to_str()?.to_owned()));
        Self { bundle: Some(folder.join(BUNDLE)), board, keys: there(KEYS) }
    }
}

/// Reads a size such as `1280x720`.
pub fn parse_size(text: &str) -> Result<[u16; 2], String> {
    let sides = text.split_once('x').map(|(width, height)| [width, height].map(str::parse));
    match sides {
        Some([Ok(width), Ok(height)]) if (1..=8192).contains(&width) && (1..=8192).contains(&height) => {
            Ok([width, height])
        }
        _ => Err(format!("{text:?}: expected a size such as 1280x720, each side at most 8192")),
    }
}

/// Reads the size that the file's `key` says, if it does.
fn size_of_file(key: &str, text: Option<&str>) -> Result<Option<[u16; 2]>> {
    text.map(parse_size).transpose().map_err(|e| anyhow!("{key}: {e}"))
}

/// Reads frames a second.
pub fn parse_fps(text: &str) -> Result<u32, String> {
    let number = text.parse().map_err(|_| format!("{text:?}: expected frames a second such as 30"))?;
    check_fps(number)
}

fn check_fps(fps: u32) -> Result<u32, String> {
    if (1..=1000).contains(&fps) {
        Ok(fps)
    } else {
        Err(format!("{fps}: expected 1 to 1000 frames a second"))
    }
}

/// Reads pixel formats such as `nv12,yuyv`.
pub fn parse_formats(text: &str) -> Result<Formats, String> {
    let format = |name: &str| match name.trim() {
        "nv12" => Ok(PixelFormat::Nv12),
        "yuyv" => Ok(PixelFormat::Yuyv),
        "mjpeg" => Ok(PixelFormat::Mjpeg),
        other => Err(format!("{other:?}: expected some of nv12, yuyv and mjpeg, the preferred one first")),
    };
    text.split(',').map(format).collect::<Result<_, _>>().map(Formats)
}

/// Reads which RGA is used: what is neither `auto` nor `off` is the file of a librga.
pub fn parse_rga(text: &str) -> Result<RgaChoice, String> {
    match text {
        "auto" => Ok(RgaChoice::System),
        "off" => Ok(RgaChoice::Off),
        "" => Err("nothing: expected auto, off, or the file of a librga".into()),
        file => Ok(RgaChoice::File(file.into())),
    }
}

/// As [`parse_rga`], with files that start at `folder`.
fn rga_of_file(text: &str, folder: &Path) -> Result<RgaChoice> {
    match parse_rga(text).map_err(|e| anyhow!("rga: {e}"))? {
        RgaChoice::File(file) => Ok(RgaChoice::File(folder.join(file))),
        choice => Ok(choice),
    }
}

impl Config {
    /// Reads the file that `args` name, and lets them override it.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown, or no bundle is named.
    pub fn read(args: Args) -> Result<Settings> {
        Self::read_beside(args, usual_folder)
    }

    /// As [`Config::read`], with what `folder` holds where no bundle is named: keys and board of another folder say nothing of a
    /// bundle that somebody names.
    fn read_beside(args: Args, folder: impl FnOnce() -> Option<PathBuf>) -> Result<Settings> {
        let file = args.config.as_deref().map_or(Ok(Self::default()), Self::parse)?;
        let named = args.bundle.or(file.bundle);
        let usual = match named {
            Some(bundle) => Usual { bundle: Some(bundle), ..Usual::default() },
            None => folder().as_deref().map(Usual::of).unwrap_or_default(),
        };
        let bundle = usual.bundle.context(
            "no bundle\n  expected: a bundle to run\n  help: name one with --bundle, or as `bundle` in the file of --config",
        )?;
        let given = args.device;
        // Who names keys, or none at all, on the command line means neither of the file's.
        let (keys, allow_unsigned) = if given.keys.is_some() || given.allow_unsigned {
            (given.keys, given.allow_unsigned)
        } else {
            (file.keys, file.allow_unsigned)
        };
        // Who allows any bundle needs no keys.
        let keys = keys.or_else(|| usual.keys.filter(|_| !allow_unsigned));
        let device = DeviceArgs {
            backend: given.backend.or(file.backend),
            board: given.board.or(file.board).or(usual.board),
            keys,
            allow_unsigned,
            state: given.state.or(file.state),
        };
        let pattern = size_of_file("pattern", file.pattern.as_deref())?;
        let fps = file.camera_fps.map(check_fps).transpose().map_err(|e| anyhow!("camera_fps: {e}"))?;
        let confidence = file.confidence.map(fraction::check).transpose();
        let confidence = confidence.map_err(|e| anyhow!("confidence: {e}"))?;
        let formats = file.camera_format.as_deref().map(parse_formats).transpose();
        let formats = formats.map_err(|e| anyhow!("camera_format: {e}"))?;
        let wish = CameraWish {
            size_px: args.camera_size.or(size_of_file("camera_size", file.camera_size.as_deref())?),
            fps: args.camera_fps.or(fps),
            formats: args.camera_format.or(formats),
        };
        let folder = args.config.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let rga = file.rga.as_deref().map(|text| rga_of_file(text, folder)).transpose()?;
        let of_file = Play::of(file.images, file.video, file.camera, pattern)?;
        let play = Play::of(args.images, args.video, args.camera, args.pattern)?.or(of_file);
        Ok(Settings {
            bundle,
            device,
            track: args.track || file.track,
            play,
            wish,
            repeat: args.repeat || file.repeat,
            policy: args.policy.map(Policy::from).or(file.policy),
            frames: args.frames,
            interval: args.interval_ms.or(file.interval_ms).map(Duration::from_millis),
            rga: args.rga.or(rga).unwrap_or_default(),
            confidence: args.confidence.or(confidence),
            json: args.json.or(file.json).unwrap_or_else(|| "-".into()),
            report: args.report.or(file.report),
            wants_page: args.web.is_some(),
            sinks: SinkConfig {
                web: web(args.web, file.web),
                mqtt: file.mqtt,
                record: record(args.record, file.record),
                screen: file.screen,
            },
        })
    }

    fn parse(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| artifact::Error::io(path, e))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| {
            let hint = "help: `camera-demo --help` names the settings, with `-` for `_`";
            anyhow!("{}: {e}\n  expected: settings as TOML\n  {hint}", path.display())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in
            [&mut config.bundle, &mut config.images, &mut config.video, &mut config.keys, &mut config.state]
        {
            *place = place.take().map(|place| folder.join(place));
        }
        let sinks =
            SinkConfig { web: config.web, mqtt: config.mqtt, record: config.record, screen: config.screen };
        let SinkConfig { web, mqtt, record, screen } = sinks.started_at(folder);
        (config.web, config.mqtt, config.record, config.screen) = (web, mqtt, record, screen);
        for place in [&mut config.json, &mut config.report] {
            let here = |place: PathBuf| if console::is_stdout(&place) { place } else { folder.join(place) };
            *place = place.take().map(here);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Settings of who gives these arguments where the usual bundle lies in `folder`.
    fn settings(folder: &Path, args: &[&str]) -> Settings {
        let args = Args::parse_from([&["camera-demo"], args].concat());
        Config::read_beside(args, || Some(folder.to_owned())).unwrap()
    }

    #[test]
    fn board_and_keys_beside_the_usual_bundle_count_where_nobody_names_others() {
        let folder = tempfile::tempdir().unwrap();
        let [board, keys] = [BOARD, KEYS].map(|name| folder.path().join(name));
        let none = settings(folder.path(), &[]).device;
        assert_eq!((none.board, none.keys), (None, None), "what is not there is not named");
        std::fs::write(&board, "{}").unwrap();
        std::fs::create_dir(&keys).unwrap();

        let usual = settings(folder.path(), &[]);
        assert_eq!(usual.bundle, folder.path().join(BUNDLE));
        assert_eq!((usual.device.board.as_deref(), usual.device.keys), (board.to_str(), Some(keys.clone())));

        let given = settings(folder.path(), &["--board", "host", "--keys", "mine"]).device;
        assert_eq!((given.board.as_deref(), given.keys), (Some("host"), Some("mine".into())));
        let any = settings(folder.path(), &["--allow-unsigned"]).device;
        assert_eq!((any.keys, any.allow_unsigned), (None, true));
        let other = settings(folder.path(), &["--bundle", "other.bundle"]).device;
        assert_eq!((other.board, other.keys), (None, None), "they say nothing of another bundle");

        let file = folder.path().join("demo.toml");
        std::fs::write(&file, "board = 'host'\nkeys = 'theirs'\n").unwrap();
        let of_file = settings(folder.path(), &["--config", file.to_str().unwrap()]).device;
        assert_eq!(
            (of_file.board.as_deref(), of_file.keys),
            (Some("host"), Some(folder.path().join("theirs")))
        );
    }
}
