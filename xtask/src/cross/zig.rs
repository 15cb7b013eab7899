//! zig and cargo-zigbuild, pinned in `toolchains/zig.toml` and unpacked in the user's cache: cargo compiles everything anew
//! when the linker's path changes, as it would from clone to clone. Never one of the user's: another version may link otherwise.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;

use super::Missing;
use crate::pins::Pins;
use crate::workspace::{Workspace, cache_folder};

const PINS: &str = "toolchains/zig.toml";

/// zig, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zig {
    folder: PathBuf,
    version: String,
}

impl Zig {
    /// The program.
    pub fn program(&self) -> PathBuf {
        self.folder.join("ziglang/zig")
    }

    /// What calls cargo with zig as linker.
    pub fn cargo_zigbuild(&self) -> PathBuf {
        self.folder.join("cargo-zigbuild")
    }
}

impl fmt::Display for Zig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "zig {}", self.version)
    }
}

/// zig, where it is unpacked in the pinned version.
///
/// # Errors
/// That it is missing.
pub fn find(workspace: &Workspace) -> Result<Zig, Missing> {
    let found = read(workspace).ok().filter(|(pins, zig)| pins.are_in(&zig.folder));
    found.map(|(_, zig)| zig).ok_or_else(|| Missing {
        what: "zig".into(),
        purpose: "which links for old glibc".into(),
        remedy: "`cargo xtask setup zig`".into(),
    })
}

/// Unpacks the pinned zig, or returns at once where it is there already.
///
/// # Errors
/// On hosts without pinned wheels, and whatever downloading and unpacking meet.
pub fn provide(workspace: &Workspace) -> Result<Zig> {
    let (pins, zig) = read(workspace)?;
    pins.unpack("zig", &zig.folder, "build with `--with gcc`")?;
    Ok(zig)
}

fn read(workspace: &Workspace) -> Result<(Pins, Zig)> {
    let pins = Pins::read(&workspace.join(PINS))?;
    let version = pins.version.clone();
    let folder = cache_folder()?.join(format!("zig-{version}"));
    Ok((pins, Zig { folder, version }))
}
