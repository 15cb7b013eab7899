//! What stands at the path before and after, whatever it is.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

use super::*;

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn failed_write_keeps_the_old_file_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    write(&path, b"old").unwrap();
    let failed = write_with(&path, |out| {
        out.write_all(b"half")?;
        Err(io::Error::other("disk full"))
    });
    assert!(failed.unwrap_err().to_string().contains("disk full"));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn what_fails_its_check_never_gets_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.bin");
    let seen_by =
        |check: fn(&Path) -> Result<(), Error>| write_checked(&path, |out| out.write_all(b"new"), check);
    let refused = |beside: &Path| {
        assert_eq!(fs::read(beside).unwrap(), b"new");
        Err(Error::io("check", io::Error::other("refused")))
    };
    assert!(seen_by(refused).unwrap_err().to_string().contains("refused"));
    assert_eq!(count(dir.path()), 0);
    seen_by(|_| Ok(())).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn links_stay_and_what_they_lead_to_is_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    let [target, link, second] = ["real/a", "link", "second"].map(|name| dir.path().join(name));
    symlink("real/a", &link).unwrap();
    symlink("link", &second).unwrap();
    for text in ["new", "newer"] {
        write(&second, text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), text);
    }
    assert!(link.is_symlink() && second.is_symlink());
    assert_eq!(count(dir.path()), 3);

    let circle = dir.path().join("circle");
    symlink("circle", &circle).unwrap();
    assert!(write(&circle, b"x").unwrap_err().to_string().contains("circle"));
}

#[test]
fn permissions_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, b"old").unwrap();
    for mode in [0o600, 0o750] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[test]
fn pipes_and_devices_are_written_into() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    write(&pipe, b"through").unwrap();
    assert_eq!(reader.join().unwrap(), b"through");
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert_eq!(count(dir.path()), 1);

    let link = dir.path().join("full");
    symlink("/dev/full", &link).unwrap();
    assert!(write(&link, b"x").unwrap_err().to_string().contains("full"));
    assert!(fs::metadata("/dev/full").unwrap().file_type().is_char_device());
}

#[test]
fn the_longest_name_there_can_be_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("n".repeat(255));
    write(&path, b"x").unwrap();
    assert_eq!(fs::read(path).unwrap(), b"x");
}

#[test]
fn a_folder_in_the_way_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("folder");
    fs::create_dir(&path).unwrap();
    assert!(write(&path, b"x").is_err());
    assert!(path.is_dir());
    assert_eq!(count(dir.path()), 1);
}
