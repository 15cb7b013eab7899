//! `cargo xtask flash --dry-run` as a person runs it: the plan is printed, and nothing is connected to, asked or written.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

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
