//! `cargo xtask flash --dry-run` as a person runs it: the plan is printed, and nothing is connected to, asked or written.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// The last line of every plan.
const NOTHING_DONE: &str = "nothing was done: this was --dry-run";

/// A package that says this of itself.
fn deb(control: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    header.as_old_mut().name[..9].copy_from_slice(b"./control");
    header.set_cksum();
    let mut files = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    files.append(&header, control.as_bytes()).unwrap();
    let control = files.into_inner().unwrap().finish().unwrap();
    let mut members = ar::Builder::new(Vec::new());
    for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control)] {
        members.append(&ar::Header::new(name.into(), bytes.len() as u64), bytes).unwrap();
    }
    members.into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A folder with a package, an image, and an `ssh` that leaves a mark.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(desk.path("x.deb"), deb("Package: repedge\nVersion: 1.0\nBoard: rk3588\n")).unwrap();
        fs::write(desk.path("x.img"), vec![7; 1 << 20]).unwrap();
        let ssh = desk.path("ssh");
        fs::write(&ssh, format!("#!/bin/sh\ntouch '{}'\n", desk.path("connected").display())).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a block map of the image beside it, as `build-board` and other tools do.
    fn map_image(&self, board: Option<&str>) {
        let board = board.map(|name| format!("<!-- Board: {name} -->")).unwrap_or_default();
        let (digest, zeros) = (hex(&fs::read(self.path("x.img")).unwrap()), "0".repeat(64));
        let map = format!(
            "<bmap version=\"2.0\">{board}<ImageSize>1048576</ImageSize><BlockSize>4096</BlockSize>\
             <BlocksCount>256</BlocksCount><MappedBlocksCount>256</MappedBlocksCount><ChecksumType>sha256</ChecksumType>\
             <BmapFileChecksum>{zeros}</BmapFileChecksum>\
             <BlockMap><Range chksum=\"{digest}\">0-255</Range></BlockMap></bmap>"
        );
        let sealed = map.replace(&zeros, &hex(map.as_bytes()));
        fs::write(self.path("x.bmap"), sealed).unwrap();
    }

    /// What flashing prints with these arguments; `@` begins a name in the folder.
    fn flash(&self, arguments: &[&str]) -> Output {
        let path = env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.env("PATH", format!("{}:{path}", self.folder.path().display()));
        command.arg("flash").args(arguments.iter().map(|argument| match argument.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => argument.into(),
        }));
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn plan(&self, arguments: &[&str]) -> String {
        let output = self.flash(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan = String::from_utf8(output.stdout).unwrap();
        assert_eq!(plan.lines().last(), Some(NOTHING_DONE), "{plan}");
        plan
    }

    /// The files are the ones that were put there.
    fn expect_unchanged(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ssh", "x.deb", "x.img"]);
        assert!(fs::read(self.path("x.img")).unwrap() == vec![7; 1 << 20]);
    }
}

#[test]
fn over_ssh_nobody_is_connected_to() {
    let desk = Desk::new();
    let plan = desk.plan(&["rk3588", "--ssh", "root@board.invalid", "--package", "@x.deb", "--dry-run"]);
    for part in ["1. ask root@board.invalid", "is a rk3588", "x.deb to /var/tmp", "self-test.json"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(
        plan.contains("which has no signature beside it") && plan.contains("first version is trusted"),
        "{plan}"
    );
    assert!(plan.contains("its owner has put no key into /etc/repedge/keys"), "{plan}");
    desk.expect_unchanged();
}

#[test]
fn what_nobody_signed_is_allowed_only_when_asked_to() {
    let desk = Desk::new();
    let asked = ["rk3588", "--ssh", "root@board.invalid", "--package", "@x.deb", "--dry-run"];
    let plan = desk.plan(&asked);
    assert!(plan.contains("refuse what nobody signed") && !plan.contains("make the file"), "{plan}");
    let plan = desk.plan(&[&asked[..], &["--allow-unsigned"]].concat());
    assert!(plan.contains("make the file /etc/repedge/allow-unsigned"), "{plan}");
    assert!(plan.contains("runs what nobody signed") && !plan.contains("refuse what"), "{plan}");
    desk.expect_unchanged();
}

#[test]
fn a_package_of_another_board_goes_nowhere() {
    let desk = Desk::new();
    for flags in [&["--dry-run"][..], &[]] {
        let arguments =
            [&["rk3568", "--ssh", "root@board.invalid", "--package", "@x.deb"][..], flags].concat();
        let output = desk.flash(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("x.deb is for rk3588, not for rk3568"), "{said}");
    }
    desk.expect_unchanged();
}

/// Over USB an rk3566 looks like an rk3568, and a card looks like any: the image must say it.
#[test]
fn an_image_of_another_board_goes_nowhere() {
    let desk = Desk::new();
    desk.map_image(Some("rk3568"));
    for way in [&["--usb"][..], &["--usb", "--dry-run"]] {
        let output = desk.flash(&[&["rk3566", "--image", "@x.img"][..], way].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("x.img is for \"rk3568\"") && said.contains("not for rk3566"), "{said}");
        assert!(said.contains("nothing was written") && output.stdout.is_empty(), "{said}");
    }
    desk.plan(&["rk3568", "--usb", "--image", "@x.img", "--dry-run"]);
}

#[test]
fn an_image_that_does_not_say_its_board_is_left_to_the_user_in_words() {
    let desk = Desk::new();
    let said = || {
        let output = desk.flash(&["rk3566", "--usb", "--image", "@x.img", "--dry-run"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let words = "no block map beside it says which board it is for, so see to it that it is rk3566";
    assert!(said().contains(words), "{}", said());
    desk.map_image(None);
    assert!(said().contains(words), "{}", said());
    desk.map_image(Some("rk3566"));
    assert!(!said().contains("which board"), "{}", said());
}

#[test]
fn over_usb_the_plan_needs_no_board() {
    let desk = Desk::new();
    let plan = desk.plan(&["rk3588", "--usb", "--image", "@x.img", "--dry-run"]);
    for part in ["in maskrom mode, stop: no --loader", "write the 1 of 1 MiB", "restart the board"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    desk.expect_unchanged();
}

/// A plan for a card needs a card, which no test may expect: what is none is refused before anything is asked.
#[test]
fn a_file_is_no_card() {
    let desk = Desk::new();
    for flag in [&["--dry-run"][..], &["--yes"]] {
        let arguments = [&["qemu-virt", "--sd", "@x.deb", "--image", "@x.img"][..], flag].concat();
        let output = desk.flash(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("nothing was written") && said.contains("is no disk"), "{said}");
        assert!(output.stdout.is_empty());
    }
    desk.expect_unchanged();
}
