//! Settings: a TOML file, overridden by arguments. Unknown keys are errors.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use examples::console;
use examples::device::{Backend, DeviceArgs};
use serde::Deserialize;

use super::Args;

/// What the file may say. Relative paths start at its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    bundle: Option<PathBuf>,
    images: Option<PathBuf>,
    repeat: bool,
    interval_ms: Option<u64>,
    confidence: Option<f32>,
    json: Option<PathBuf>,
    backend: Option<Backend>,
    board: Option<String>,
    keys: Option<PathBuf>,
    allow_unsigned: bool,
    state: Option<PathBuf>,
}

/// What holds, once file and arguments are merged.
#[derive(Debug)]
pub struct Settings {
    pub bundle: PathBuf,
    pub device: DeviceArgs,
    pub images: Option<PathBuf>,
    pub repeat: bool,
    pub frames: Option<u64>,
    pub interval: Duration,
    pub confidence: Option<f32>,
    pub json: PathBuf,
}

impl Config {
    /// Reads the file that `args` name, and lets them override it.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown, or no bundle is named.
    pub fn read(args: Args) -> Result<Settings> {
        let file = args.config.as_deref().map_or(Ok(Self::default()), Self::parse)?;
        let bundle = args.bundle.or(file.bundle).context(
            "no bundle\n  expected: a bundle to run\n  help: name one with --bundle, or as `bundle` in the file of --config",
        )?;
        let given = args.device;
        // Who names keys, or none at all, on the command line means neither of the file's.
        let (keys, allow_unsigned) = if given.keys.is_some() || given.allow_unsigned {
            (given.keys, given.allow_unsigned)
        } else {
            (file.keys, file.allow_unsigned)
        };
        let device = DeviceArgs {
            backend: given.backend.or(file.backend),
            board: given.board.or(file.board),
            keys,
            allow_unsigned,
            state: given.state.or(file.state),
        };
        Ok(Settings {
            bundle,
            device,
            images: args.images.or(file.images),
            repeat: args.repeat || file.repeat,
            frames: args.frames,
            interval: Duration::from_millis(args.interval_ms.or(file.interval_ms).unwrap_or(0)),
            confidence: args.confidence.or(file.confidence),
            json: args.json.or(file.json).unwrap_or_else(|| "-".into()),
        })
    }

    fn parse(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| artifact::Error::io(path, e))?;
        let mut config: Self = toml::from_str(&text).map_err(|e| {
            let hint = "help: `camera-demo --help` names the settings, with `-` for `_`";
            anyhow!("{}: {e}\n  expected: settings as TOML\n  {hint}", path.display())
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in [&mut config.bundle, &mut config.images, &mut config.keys, &mut config.state] {
            *place = place.take().map(|place| folder.join(place));
        }
        config.json =
            config.json.map(|json| if console::is_stdout(&json) { json } else { folder.join(json) });
        Ok(config)
    }
}
