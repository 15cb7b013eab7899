//! Which files to read and where their pictures go. Never reads an image.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use examples::images::images_in;

/// Files as they are, folders replaced by the images directly in them, by name.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(images_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// For each input `out/STEM.png`, numbered where stems repeat; nothing without `out`. Refuses to overwrite an input.
pub fn picture_paths(inputs: &[PathBuf], out: Option<&Path>) -> Result<Vec<Option<PathBuf>>> {
    let Some(out) = out else { return Ok(vec![None; inputs.len()]) };
    let sources: HashSet<PathBuf> = inputs.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut taken = HashSet::new();
    let mut pictures = Vec::with_capacity(inputs.len());
    for input in inputs {
        let stem = input.file_stem().unwrap_or_default().to_string_lossy();
        let numbered = (2..).map(|n| format!("{stem}-{n}.png"));
        let name = std::iter::once(format!("{stem}.png")).chain(numbered).find(|name| !taken.contains(name));
        let name = name.unwrap_or_default();
        let picture = out.join(&name);
        if picture.canonicalize().is_ok_and(|path| sources.contains(&path)) {
            bail!(
                "{}: the picture would overwrite an input\n  expected: another folder for the pictures\n  help: choose another --out",
                picture.display()
            );
        }
        taken.insert(name);
        pictures.push(Some(picture));
    }
    Ok(pictures)
}
