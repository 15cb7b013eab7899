//! `cargo xtask flash --dry-run` as a person runs it: the plan is printed, and nothing is connected to, asked or written.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The last line of every plan.
const NOTHING_DONE: &str = "nothing was done: this was --dry-run";

/// A folder with a package, an image, and an `ssh` that leaves a mark.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(desk.path("x.deb"), b"!<arch>\ndebian-binary   ").unwrap();
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
