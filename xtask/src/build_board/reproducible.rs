//! The same inputs give the same package: what a user's files were touched by, and where they lie, does not count.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;

/// The packages of a bundle and a key that are copies of the same, changed at that time.
fn packages(folder: &Path, changed_s: u64) -> [Vec<u8>; 2] {
    let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
    let (bundle, key) = (folder.join("cats.bundle"), folder.join("theirs.pub"));
    fs::create_dir_all(folder).unwrap();
    fs::copy(workspace.join("tests/boards/npu.bundle"), &bundle).unwrap();
    fs::write(&key, "# a key").unwrap();
    for file in [&bundle, &key] {
        let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed_s);
        File::options().append(true).open(file).unwrap().set_modified(changed).unwrap();
    }
    let args = Args { bundle: Some(bundle), trusted: vec![key], ..Args::default() };
    let programs = Programs::of(&["camera-demo", "self-test"], b"programs".into());
    let (package, _) = pack(&workspace, &board, &args, &programs, None).unwrap();
    [archive::tar_gz(&package.tree).unwrap(), deb::write(&board, &programs, &package).unwrap()]
}

#[test]
fn times_and_folders_of_given_files_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let first = packages(&folder.path().join("a"), 1_000_000_000);
    // Later than any commit.
    let second = packages(&folder.path().join("b"), 9_000_000_000);
    assert!(first == second, "a copy of a bundle and a key gave another package");
}
