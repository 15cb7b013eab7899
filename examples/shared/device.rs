//! What the programs on a device have in common: whose bundles they accept, which engine runs them, what board this is.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use artifact::BackendKind;
use artifact::trust::minimum_security_version;
use boards::Board;
use clap::ValueEnum;
use repedge::backend::SharedEngine;
use repedge::backend::rknn::{Cores, RknnOptions};
use repedge::{BackendChoice, Detector, Device, KeyRing, Model, Options, Origin, Trust};
use serde::Deserialize;

use crate::console;

/// Where a device keeps the public keys that it trusts.
const KEYS: &str = "/etc/repedge/keys";
/// Where it keeps the lowest security version that it accepts.
const STATE: &str = "/var/lib/repedge/minimum-security-version";

/// A model that frames go through side by side.
pub type PipelineModel = Model<SharedEngine>;

/// Arguments that every program takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DeviceArgs {
    /// Engine that runs the model [default: auto]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// Board this is: a name, or a resolved board file (.json) [default: no check of what the bundle is made for]
    #[arg(long, value_name = "NAME|FILE.json")]
    pub board: Option<String>,
    /// Folder of the public keys (*.pub) whose bundles are accepted [default: /etc/repedge/keys]
    #[arg(long, value_name = "DIR", conflicts_with = "allow_unsigned")]
    pub keys: Option<PathBuf>,
    /// Accept any bundle, whoever made it
    #[arg(long)]
    pub allow_unsigned: bool,
    /// File with the lowest security version that is accepted [default: /var/lib/repedge/minimum-security-version]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Engine that runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The NPU where bundle and build have it, else the CPU
    Auto,
    /// The CPU
    Tract,
    /// The Rockchip NPU
    Rknn,
}

impl From<Backend> for BackendChoice {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Tract => Self::Tract,
            Backend::Rknn => Self::Rknn,
        }
    }
}

impl DeviceArgs {
    /// The board that was named, if any.
    ///
    /// # Errors
    /// When there is none of that name, or its file cannot be used.
    pub fn find_board(&self) -> Result<Option<Board>> {
        self.board.as_deref().map(find_board).transpose()
    }

    /// The file of the lowest security version.
    pub fn state(&self) -> &Path {
        self.state.as_deref().unwrap_or(Path::new(STATE))
    }

    /// Opens `bundle` as these arguments say, and says on standard error when another engine runs than was hoped for.
    ///
    /// # Errors
    /// When the bundle is not accepted, or no engine can run it.
    pub fn open(&self, bundle: &Path) -> Result<Detector> {
        let detector = Detector::open(bundle, self.options()?)?;
        say_fallback(detector.backend(), detector.fallback());
        Ok(detector)
    }

    /// As [`DeviceArgs::open`], for a pipeline: on every core of the board's NPU.
    ///
    /// # Errors
    /// As [`DeviceArgs::open`].
    pub fn open_model(&self, bundle: &Path) -> Result<PipelineModel> {
        let npu = RknnOptions { cores: cores(self.find_board()?.as_ref()), ..RknnOptions::default() };
        let model = Model::open(bundle, Options { npu, ..self.options()? })?;
        say_fallback(model.backend(), model.fallback());
        Ok(model)
    }

    fn options(&self) -> Result<Options> {
        let backend = self.backend.unwrap_or(Backend::Auto).into();
        Ok(Options { backend, trust: self.trust()?, ..Options::default() })
    }

    fn trust(&self) -> Result<Trust> {
        let keys = self.keys.as_deref().unwrap_or(Path::new(KEYS));
        let origin = if self.allow_unsigned { Origin::Anyone } else { Origin::Keys(KeyRing::read(keys)?) };
        let device = self.find_board()?.map_or(Device::Any, |board| device_of(&board));
        Ok(Trust { origin, device, minimum_security_version: minimum_security_version(self.state())? })
    }
}

fn say_fallback(backend: BackendKind, reason: Option<&str>) {
    if let Some(reason) = reason {
        console::note(format_args!("note: running on {backend} because {reason}"));
    }
}

/// Each core of the board's NPU; the driver chooses where there is one, or nobody says how many.
fn cores(board: Option<&Board>) -> Cores {
    let count = board.and_then(|board| u8::try_from(board.npu.as_ref()?.cores).ok());
    count.filter(|count| *count > 1).map_or(Cores::Driver, Cores::Each)
}

fn find_board(text: &str) -> Result<Board> {
    if !text.ends_with(".json") {
        return Ok(Board::find(text)?);
    }
    let json = std::fs::read(text).map_err(|e| artifact::Error::io(text, e))?;
    let board: Board = serde_json::from_slice(&json).map_err(|e| {
        anyhow!("{text}: {e}\n  expected: a board file as JSON\n  help: use the board.json of the package")
    })?;
    board.validate(&board.name)?;
    Ok(board)
}

fn device_of(board: &Board) -> Device {
    match &board.npu {
        Some(npu) => Device::Npu { chip: npu.chip.clone() },
        None => Device::Cpu,
    }
}
