//! The kernel's headers that `v4l2r` is compiled with: pinned in `toolchains/linux-headers.toml`, unpacked beside it. Never in
//! the place of ones that the user exported, or of a system's that are new enough.

use std::env;
use std::path::Path;

use anyhow::Result;

use crate::pins::Pins;
use crate::system::{self, LIBCLANG};
use crate::workspace::Workspace;

const PINS: &str = "toolchains/linux-headers.toml";
/// Where `.cargo/config.toml` has v4l2r look.
const FOLDER: &str = "toolchains/linux-headers";
/// What v4l2r reads; `.cargo/config.toml` sets it where it is not exported.
pub const VARIABLE: &str = "V4L2R_VIDEODEV2_H_PATH";
/// The system's own, which v4l2r takes where there are no others.
const SYSTEM: &str = "/usr/include/linux/v4l2-controls.h";
/// What the system's have when they are new enough: v4l2r names it.
const NEWEST_USED: &str = "V4L2_CID_STATELESS_AV1_SEQUENCE";
const ELSEWHERE: &str = "install the kernel's headers of version 6.5 or newer (Debian's linux-libc-dev), or export \
    V4L2R_VIDEODEV2_H_PATH with a folder that has them as linux/videodev2.h";

/// Makes sure that v4l2r can be compiled: headers that are new enough, and libclang, which reads them.
///
/// # Errors
/// On hosts without a pinned wheel and with old headers, and whatever downloading and unpacking meet.
pub fn provide(workspace: &Workspace) -> Result<()> {
    system::provide(&[LIBCLANG])?;
    if is_exported(workspace) || are_new(Path::new(SYSTEM)) {
        return Ok(());
    }
    Pins::read(&workspace.join(PINS))?.unpack("headers of V4L2", &workspace.join(FOLDER), ELSEWHERE)
}

/// Whether v4l2r can be compiled as things are.
pub fn are_there(workspace: &Workspace) -> bool {
    let pinned = || Pins::read(&workspace.join(PINS)).is_ok_and(|pins| pins.are_in(&workspace.join(FOLDER)));
    (LIBCLANG.is_met)() && (is_exported(workspace) || are_new(Path::new(SYSTEM)) || pinned())
}

/// Whether a user named other headers than ours: cargo passes ours on in the same variable.
pub fn is_exported(workspace: &Workspace) -> bool {
    let value = env::var_os(VARIABLE).filter(|value| !value.is_empty());
    value.is_some_and(|value| Path::new(&value) != workspace.join(FOLDER))
}

fn are_new(controls: &Path) -> bool {
    std::fs::read_to_string(controls).is_ok_and(|text| text.contains(NEWEST_USED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_new_enough_by_what_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("v4l2-controls.h");
        assert!(!are_new(&file));
        std::fs::write(&file, "#define V4L2_CID_STATELESS_VP9_FRAME 1\n").unwrap();
        assert!(!are_new(&file));
        std::fs::write(&file, format!("#define {NEWEST_USED}\t1\n")).unwrap();
        assert!(are_new(&file));
    }
}
