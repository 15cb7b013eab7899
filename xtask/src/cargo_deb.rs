//! cargo-deb, which packs `.deb` files: pinned in `toolchains/rust.toml` and compiled into the user's cache. Never one of the
//! user's: another version may pack other bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cross::{Missing, pinned};
use crate::unpack;
use crate::workspace::{Workspace, cache_folder, run};

/// Its name in the registry and on the disk.
pub const NAME: &str = "cargo-deb";

/// The program, where it is there in the pinned version.
///
/// # Errors
/// That it is missing.
pub fn find() -> Result<PathBuf, Missing> {
    find_in(folder().ok())
}

fn find_in(folder: Option<PathBuf>) -> Result<PathBuf, Missing> {
    let found = folder.map(|folder| program(&folder)).filter(|program| program.is_file());
    found.ok_or_else(|| Missing {
        what: NAME.into(),
        purpose: "which packs .deb files".into(),
        remedy: "`cargo xtask setup deb`".into(),
    })
}

/// Compiles the pinned version, or returns at once where it is there already.
///
/// # Errors
/// Whatever downloading and compiling meet.
pub fn provide(workspace: &Workspace) -> Result<()> {
    let version = pinned::version(NAME)?;
    put(&folder()?, |staged| {
        let built = staged.join("target");
        run(&mut installation(workspace, &version, staged, &built))?;
        fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))
    })
}

fn folder() -> Result<PathBuf> {
    Ok(cache_folder()?.join(format!("{NAME}-{}", pinned::version(NAME)?)))
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin").join(NAME)
}

/// Has a folder made beside its place, and puts it there whole.
fn put(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if program(folder).is_file() {
        return Ok(());
    }
    let staged = unpack::beside(folder, "installing");
    make(&staged).inspect_err(|_| {
        // The error that stopped us matters more than one about the remains.
        let _ = fs::remove_dir_all(&staged);
    })?;
    unpack::swap(&staged, folder)?;
    eprintln!("{NAME} is in {}", folder.display());
    Ok(())
}

/// Without its features, xz and debug symbols, which no package of ours has: no C has to be compiled then. And unoptimized, in
/// half the minutes: gzip does what takes time in packing.
fn installation(workspace: &Workspace, version: &str, root: &Path, built: &Path) -> Command {
    let mut command = workspace.cargo("install");
    command
        .args(["--locked", "--no-default-features", "--debug", "--root"])
        .arg(root)
        .arg("--target-dir")
        .arg(built);
    command.arg(format!("{NAME}@{version}"));
    command
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::workspace::display;

    #[test]
    fn the_pinned_version_is_installed_as_it_was_published() {
        let workspace = Workspace::find().unwrap();
        let version = pinned::version(NAME).unwrap();
        let command = display(&installation(&workspace, &version, Path::new("/root"), Path::new("/built")));
        assert!(command.contains(" install --locked --no-default-features "), "{command}");
        assert!(
            command.ends_with(&format!(" --root /root --target-dir /built cargo-deb@{version}")),
            "{command}"
        );
        assert!(folder().unwrap().ends_with(format!("cargo-deb-{version}")));
    }

    #[test]
    fn it_is_there_whole_or_not_at_all_and_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let place = cache.path().join("cargo-deb-1.2.3");
        let make = |staged: &Path| {
            fs::create_dir_all(staged.join("bin"))?;
            Ok(fs::write(program(staged), "packs")?)
        };
        let missing = find_in(Some(place.clone())).unwrap_err().to_string();
        assert_eq!(missing, "missing: cargo-deb, which packs .deb files\n  help: `cargo xtask setup deb`");
        let error = put(&place, |staged| {
            make(staged)?;
            bail!("no network")
        });
        assert_eq!(error.unwrap_err().to_string(), "no network");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
        put(&place, make).unwrap();
        put(&place, |_| bail!("it was made again")).unwrap();
        assert_eq!(fs::read_to_string(find_in(Some(place)).unwrap()).unwrap(), "packs");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }
}
