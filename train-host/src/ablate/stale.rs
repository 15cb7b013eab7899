//! What lies in the folder of the results but came from another plan: trainings, timings and pictures. Removes nothing, for
//! a plan may be changed back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::cell::Cell;
use super::outputs::Output;
use super::plan::Plan;
use super::timing::{Engine, stem};
use crate::{Error, Result};

/// Names that a note shows before it only counts.
const SHOWN: usize = 8;

/// A note on what in `out` is not part of the results of `plan`, its `cells` and `pictures`; `None` when all of it is.
///
/// # Errors
/// [`Error::Artifact`] when a folder cannot be listed.
pub fn note(plan: &Plan, cells: &[Cell], pictures: &[PathBuf], out: &Path) -> Result<Option<String>> {
    let stale = find(plan, cells, pictures, out)?;
    if stale.is_empty() {
        return Ok(None);
    }
    let mut names: Vec<String> = stale.iter().take(SHOWN).map(|path| path.display().to_string()).collect();
    if stale.len() > SHOWN {
        names.push(format!("and {} more", stale.len() - SHOWN));
    }
    Ok(Some(format!(
        "note: in {}, but of another plan and no part of these results: {}",
        out.display(),
        names.join(", ")
    )))
}

/// Relative to `out`, by name.
fn find(plan: &Plan, cells: &[Cell], pictures: &[PathBuf], out: &Path) -> Result<Vec<PathBuf>> {
    let mut known: HashSet<PathBuf> = pictures.iter().cloned().collect();
    known.insert(Path::new(Output::PICTURES.name()).join("pictures.json"));
    known.extend(cells.iter().map(|cell| PathBuf::from(&cell.name)));
    for engine in Engine::ALL {
        for (frames, repeat) in plan.timings() {
            let timing = Path::new(Output::TIMING.name()).join(stem(engine, frames, repeat));
            known.extend(["json", "csv"].map(|kind| timing.with_extension(kind)));
        }
    }
    let mut found = Vec::new();
    for folder in names(out)? {
        let holds_results = [Output::TIMING, Output::PICTURES].iter().any(|output| folder == output.name());
        let is_ours = |name: &String| holds_results || name.starts_with("seed-");
        let inside = names(&out.join(&folder))?;
        found.extend(inside.iter().filter(|name| is_ours(name)).map(|name| Path::new(&folder).join(name)));
    }
    found.retain(|path| !known.contains(path));
    Ok(found)
}

/// Names in a folder, sorted; none where it is no folder. Names that are no text are not ours.
fn names(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let io = |e| Error::io(folder, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        names.extend(entry.map_err(io)?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::plan::Changes;

    #[test]
    fn what_the_plan_does_not_name_is_told_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("plan.yaml"), dir.path().join("out"));
        let text = "epochs: 1\nimgsz: 64\nseeds: [0]\nframes: [9]\nvariants: [{name: a, model: yolov5n, baseline: true}]\n";
        std::fs::write(&path, text).unwrap();
        let plan = Plan::read(&path, Changes { data: Some("d".into()), frames: None }).unwrap();
        let cells = Cell::all(&plan, &out).unwrap();
        let pictures = [PathBuf::from("pictures/1-x-a.png")];
        let told = || note(&plan, &cells, &pictures, &out).unwrap();
        let current =
            ["pictures/1-x-a.png", "pictures/pictures.json", "timing/tract-9-1.json", "timing/torch-9-1.csv"];
        let own = ["a/seed-0/args.json", "table.md", "mine/notes.txt"];
        let old = ["a/seed-1/args.json", "b/seed-0/args.json", "pictures/x-a.png", "timing/tract-8-1.json"];
        for file in current.iter().chain(&own) {
            artifact::atomic::write(&out.join(file), b"").unwrap();
        }
        assert_eq!(told(), None);
        for file in old {
            artifact::atomic::write(&out.join(file), b"").unwrap();
        }
        let said = told().unwrap();
        assert!(said.ends_with(": a/seed-1, b/seed-0, pictures/x-a.png, timing/tract-8-1.json"), "{said}");
        assert!(old.iter().all(|file| out.join(file).is_file()));
    }
}
