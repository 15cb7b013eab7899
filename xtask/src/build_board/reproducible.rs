//! The same inputs give the same package: what a user's files were touched by, and where they lie, does not count.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;

/// The package of a bundle and a key that are copies of the same, changed at that time.
fn package(folder: &Path, programs: &Programs, changed_s: u64) -> (Board, Package) {
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
    let (package, _) = pack(&workspace, &board, &args, programs, None).unwrap();
    (board, package)
}

/// Checks that copies of the same in other folders, changed at other times, make the same.
fn expect_same(make: impl Fn(&Board, &Programs, &Package) -> Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs::of(&["camera-demo", "self-test"], b"programs".into());
    // The second is later than any commit.
    let [first, second] = [("a", 1_000_000_000), ("b", 9_000_000_000)].map(|(name, changed_s)| {
        let (board, package) = package(&folder.path().join(name), &programs, changed_s);
        make(&board, &programs, &package)
    });
    assert!(first == second, "a copy of a bundle and a key gave another package");
}

#[test]
fn times_and_folders_of_given_files_do_not_count() {
    expect_same(|_, _, package| archive::tar_gz(&package.tree).unwrap());
}

/// Each is packed in a folder of its own name.
#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb"]
fn nor_do_they_or_the_folder_packed_in_for_a_deb() {
    let packer = Packer::find().unwrap();
    expect_same(|board, programs, package| packer.pack(board, programs, package).unwrap());
}
