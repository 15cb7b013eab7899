//! Zip members into a folder, and a finished folder into its place.
//! It never leaves a half-unpacked destination: everything is written beside it, then renamed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use zip::ZipArchive;

/// A member to unpack, a program where the archive says so, or with a trailing slash on both sides every member below a folder.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Name inside the archive.
    pub from: String,
    /// Path below the destination.
    pub to: String,
}

/// Unpacks the chosen members of a zip archive below `destination`.
///
/// # Errors
/// When a member is missing, would leave the destination, or cannot be written.
pub fn members(archive: &Path, chosen: &[Member], destination: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut zip = ZipArchive::new(file).with_context(|| format!("{} is no zip", archive.display()))?;
    let plan = plan(&mut zip, chosen).with_context(|| archive.display().to_string())?;
    let bar = bytes_bar(plan.iter().map(|item| item.size).sum(), "unpacking", archive);
    for Item { index, path, .. } in &plan {
        let mut member = zip.by_index(*index)?;
        let path = make_room(&destination.join(path))?;
        let mut output = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        io::copy(&mut bar.wrap_read(&mut member), &mut output)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if member.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("cannot make {} a program", path.display()))?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A name beside `path` that no other process uses.
pub fn beside(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}.{purpose}-{}", std::process::id()))
}

/// Puts a finished folder in the place of `destination`, whatever is there.
///
/// # Errors
/// When a rename fails; `destination` is then as it was.
pub fn swap(staged: &Path, destination: &Path) -> Result<()> {
    let old = beside(destination, "old");
    let had_one = destination.exists();
    if had_one {
        fs::rename(destination, &old).with_context(|| format!("cannot move {}", destination.display()))?;
    }
    let swapped = fs::rename(staged, destination);
    if had_one {
        match &swapped {
            Ok(()) => fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?,
            Err(_) => fs::rename(&old, destination).context("cannot put the old folder back")?,
        }
    }
    swapped.with_context(|| format!("cannot rename {} to {}", staged.display(), destination.display()))
}

/// Makes the folders that lead to `path`, and gives it back.
///
/// # Errors
/// When they cannot be made.
pub fn make_room(path: &Path) -> Result<PathBuf> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    Ok(path.to_owned())
}

/// A progress bar over the bytes of a file.
pub fn bytes_bar(length: u64, verb: &str, file: &Path) -> ProgressBar {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let short = name.split('-').next().unwrap_or_default();
    let style = ProgressStyle::with_template("{msg:30} {bar:30} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(format!("{verb} {short}"))
}

/// One member to write: its place in the archive, its path below the destination, its size.
struct Item {
    index: usize,
    path: PathBuf,
    size: u64,
}

fn plan(zip: &mut ZipArchive<File>, chosen: &[Member]) -> Result<Vec<Item>> {
    let mut plan = Vec::new();
    for member in chosen {
        let before = plan.len();
        for index in 0..zip.len() {
            let name = zip.name_for_index(index).unwrap_or_default();
            let Some(path) = placed(name, member) else { continue };
            ensure!(is_inside(&path), "{name} would be unpacked outside of the destination");
            let size = zip.by_index_raw(index)?.size();
            plan.push(Item { index, path, size });
        }
        ensure!(plan.len() > before, "the archive has no {}", member.from);
    }
    Ok(plan)
}

/// Where `name` goes under `member`, if it is chosen by it.
fn placed(name: &str, member: &Member) -> Option<PathBuf> {
    if member.from.ends_with('/') {
        let rest = name.strip_prefix(&member.from).filter(|rest| !rest.is_empty() && !rest.ends_with('/'))?;
        return Some(Path::new(&member.to).join(rest));
    }
    (name == member.from).then(|| PathBuf::from(&member.to))
}

fn is_inside(relative: &Path) -> bool {
    relative.components().all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(folder: &Path, names: &[&str]) -> PathBuf {
        let path = folder.join("a.zip");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    fn member(from: &str, to: &str) -> Member {
        Member { from: from.into(), to: to.into() }
    }

    #[test]
    fn chosen_members_land_where_the_pins_say() {
        let folder = tempfile::tempdir().unwrap();
        let zip = archive(folder.path(), &["t/include/a.h", "t/include/b/c.h", "t/lib/x.so", "t/other"]);
        let out = folder.path().join("out");
        members(&zip, &[member("t/include/", "include/"), member("t/lib/x.so", "lib/y.so")], &out).unwrap();
        assert_eq!(fs::read_to_string(out.join("include/b/c.h")).unwrap(), "t/include/b/c.h");
        assert_eq!(fs::read_to_string(out.join("lib/y.so")).unwrap(), "t/lib/x.so");
        assert!(!out.join("other").exists());
    }

    #[test]
    fn a_missing_member_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let zip = archive(folder.path(), &["a"]);
        let error = members(&zip, &[member("b", "b")], folder.path()).unwrap_err();
        assert!(format!("{error:#}").contains("has no b"), "{error:#}");
    }

    #[test]
    fn a_member_cannot_leave_the_destination() {
        let folder = tempfile::tempdir().unwrap();
        let zip = archive(folder.path(), &["i/../../evil"]);
        let out = folder.path().join("out/deep");
        assert!(members(&zip, &[member("i/", "i/")], &out).is_err());
        assert!(!folder.path().join("evil").exists());
    }

    #[test]
    fn a_swap_replaces_the_old_folder_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("d"), folder.path().join("staged"));
        fs::create_dir(&old).unwrap();
        fs::write(old.join("stale"), "").unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(new.join("fresh"), "").unwrap();
        swap(&new, &old).unwrap();
        assert!(old.join("fresh").exists() && !old.join("stale").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
