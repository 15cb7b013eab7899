//! The demo's output folder: it replaces its own from an earlier run and nobody else's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Marks a folder as made by the demo.
const MARK: &str = ".repedge-demo";

/// Checks that a folder is absent, empty, or an earlier demo's.
///
/// # Errors
/// When it holds something else.
pub fn expect_replaceable(folder: &Path) -> Result<()> {
    let is_empty = fs::read_dir(folder).map_or(!folder.exists(), |mut entries| entries.next().is_none());
    ensure!(
        is_empty || folder.join(MARK).exists(),
        "{} was not made by the demo and is left alone: name another folder with --out",
        folder.display()
    );
    Ok(())
}

/// Makes an empty, marked folder, removing an earlier demo's.
///
/// # Errors
/// As [`expect_replaceable`], and when the disk refuses.
pub fn replace(folder: &Path) -> Result<()> {
    expect_replaceable(folder)?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join(MARK), "made by `cargo xtask demo`, which replaces this folder\n")
        .with_context(|| format!("cannot write into {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_demo_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("runs/demo");
        replace(&out).unwrap();
        fs::write(out.join("old"), "").unwrap();
        replace(&out).unwrap();
        assert!(!out.join("old").exists());
    }

    #[test]
    fn a_strangers_folder_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        assert!(replace(folder.path()).is_err());
        assert!(folder.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_file_is_no_folder_to_replace() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(expect_replaceable(&file).is_err());
    }
}
