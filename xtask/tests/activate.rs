//! `examples/package/activate` on this machine, below a folder that plays a board: new versions, failing ones, the way
//! back, and a kill before and after every step it takes.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ACTIVATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/package/activate");

/// A self-test that passes while the file `fails` beside its program is not there, and that takes what nobody signed only
/// alone, as the real one.
const SELF_TEST: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$REPEDGE_ROOT/self-tests"
case "$*" in *--allow-unsigned*--commit* | *--allow-unsigned*--keys* | *--keys*--allow-unsigned*) exit 2 ;; esac
[ ! -e "$here/fails" ] || exit 1
"#;

/// A service that runs as long as somebody looks less often than the file `looks` says.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$REPEDGE_ROOT/systemctl"
[ "$(wc -l < "$REPEDGE_ROOT/systemctl")" -le "$(cat "$REPEDGE_ROOT/looks")" ]
"#;

/// Stands for a program that `activate` runs: counts, and kills `activate` before or after the chosen call. Syncing
/// every disk of this machine would only take time.
const SHIM: &str = r#"#!/bin/sh
calls=$(($(cat "$REPEDGE_ROOT/calls") + 1))
echo "$calls" > "$REPEDGE_ROOT/calls"
[ "$KILL_BEFORE" != "$calls" ] || { kill -9 "$PPID"; exit 1; }
name=$(basename "$0")
status=0
[ "$name" = sync ] || "/bin/$name" "$@" || status=$?
[ "$KILL_AFTER" != "$calls" ] || kill -9 "$PPID"
exit "$status"
"#;
const STEPS: [&str; 6] = ["cp", "mv", "ln", "rm", "sync", "mkdir"];

/// A folder that plays a board.
struct Device {
    root: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        let device = Self { root: tempfile::tempdir().unwrap() };
        let shims = device.path("shims");
        fs::create_dir_all(&shims).unwrap();
        for step in STEPS {
            program(&shims.join(step), SHIM);
        }
        program(&shims.join("systemctl"), SYSTEMCTL);
        program(&shims.join("sleep"), "#!/bin/sh\n");
        device
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Puts a package where the package manager does.
    fn install(&self, version: &str, marks: &[&str]) {
        let package = self.path("usr/lib/repedge/package");
        let _ = fs::remove_dir_all(&package);
        fs::create_dir_all(package.join("bin")).unwrap();
        program(&package.join("bin/self-test"), SELF_TEST);
        for (name, text) in
            [("VERSION", format!("{version}\n")), ("model.bundle", format!("model of {version}"))]
        {
            fs::write(package.join(name), text).unwrap();
        }
        fs::write(package.join("board.json"), "{}").unwrap();
        for mark in marks {
            fs::write(package.join("bin").join(mark), "").unwrap();
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.path("calls"), "0").unwrap();
        let path = format!("{}:{}", self.path("shims").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.arg(ACTIVATE).args(arguments).env("REPEDGE_ROOT", self.root.path()).env("PATH", path);
        command.env("KILL_BEFORE", "0").env("KILL_AFTER", "0");
        command
    }

    fn activate(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// As [`Self::activate`], killed at a step; whether it got that far.
    fn activate_killed(&self, variable: &str, at: usize) -> bool {
        let output = self.command(&[]).env(variable, at.to_string()).output().unwrap();
        !output.status.success()
    }

    /// The version that a link names, which must be there and whole.
    fn linked(&self, link: &str) -> Option<String> {
        let target = fs::read_link(self.path("var/lib/repedge").join(link)).ok()?;
        let version = target.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = self.path("var/lib/repedge").join(target);
        assert_eq!(fs::read_to_string(folder.join("model.bundle")).unwrap(), format!("model of {version}"));
        assert!(folder.join("bin/self-test").is_file() && folder.join("board.json").is_file());
        Some(version)
    }

    fn versions(&self) -> Vec<String> {
        names(&self.path("var/lib/repedge/versions"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_version_that_passes_runs_and_the_one_before_is_kept() {
    let device = Device::new();
    for version in ["1.0+a", "1.0+b", "1.0+c"] {
        device.install(version, &[]);
        let output = device.activate(&[]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(&format!("version {version} runs")), "{}", said(&output));
    }
    assert_eq!(device.linked("current").as_deref(), Some("1.0+c"));
    assert_eq!(device.linked("previous").as_deref(), Some("1.0+b"));
    assert_eq!(device.versions(), ["1.0+b", "1.0+c"]);
}

#[test]
fn a_version_tests_itself_before_the_switch_and_forbids_others_only_when_asked() {
    let signed = ("", "--keys ROOT/etc/repedge/keys", true);
    let unsigned = ("--allow-unsigned", "--allow-unsigned", false);
    for (flags, trust, commits) in [signed, unsigned] {
        let device = Device::new();
        device.install("1.0+a", &[]);
        fs::create_dir_all(device.path("etc/repedge")).unwrap();
        fs::write(device.path("etc/repedge/flags"), format!("# words\nREPEDGE_FLAGS={flags}\n")).unwrap();
        for arguments in [&[][..], &["--self-test", "--json", "x"], &["--commit"]] {
            let output = device.activate(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        }
        let state = "ROOT/var/lib/repedge";
        let version = format!("{state}/versions/1.0+a");
        let common = format!(
            "{version}/model.bundle --board {version}/board.json --state {state}/minimum-security-version {trust}"
        );
        let mut expected = vec![format!("{common} --quick"), format!("{common} --json x")];
        if commits {
            expected.push(format!("{common} --quick --commit"));
        }
        let runs = fs::read_to_string(device.path("self-tests")).unwrap();
        let runs = runs.replace(device.root.path().to_str().unwrap(), "ROOT");
        assert_eq!(runs.lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_fails_its_self_test_commits_nothing() {
    let device = Device::new();
    let none = device.activate(&["--commit"]);
    assert!(none.status.code() == Some(1) && said(&none).contains("no version runs"), "{}", said(&none));
    device.install("1.0+a", &[]);
    assert!(device.activate(&[]).status.success());
    fs::write(device.path("var/lib/repedge/current/bin/fails"), "").unwrap();
    let output = device.activate(&["--commit"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("accepted as before"), "{}", said(&output));
    assert_eq!(device.linked("current").as_deref(), Some("1.0+a"));
}

#[test]
fn a_service_is_up_when_it_stays_up() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    assert!(device.activate(&[]).status.success());
    let without = device.activate(&["--start"]);
    assert!(without.status.success() && said(&without).contains("no service"), "{}", said(&without));
    let units = device.path("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    fs::write(units.join("repedge-camera-demo.service"), "").unwrap();
    // It does not start; it ends after two looks; it stays.
    for (looks, code) in [(0, 1), (3, 1), (100, 0)] {
        fs::write(device.path("looks"), looks.to_string()).unwrap();
        let _ = fs::remove_file(device.path("systemctl"));
        let output = device.activate(&["--start"]);
        assert_eq!(output.status.code(), Some(code), "{looks}: {}", said(&output));
        assert_eq!(said(&output).contains("version 1.0+a runs"), code == 1, "{}", said(&output));
    }
}

#[test]
fn a_version_that_fails_leaves_the_old_one_running() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    assert!(device.activate(&[]).status.success());
    device.install("1.0+b", &["fails"]);
    let output = device.activate(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("version 1.0+a runs"), "{}", said(&output));
    assert_eq!(device.linked("current").as_deref(), Some("1.0+a"));
    assert_eq!(device.versions(), ["1.0+a"]);
    let first = Device::new();
    first.install("1.0+a", &["fails"]);
    let output = first.activate(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no version runs"), "{}", said(&output));
}

#[test]
fn a_rollback_goes_back_and_forth_if_the_self_test_lets_it() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    assert_eq!(device.activate(&["--rollback"]).status.code(), Some(1));
    assert!(device.activate(&[]).status.success());
    assert_eq!(device.activate(&["--rollback"]).status.code(), Some(1));
    device.install("1.0+b", &[]);
    assert!(device.activate(&[]).status.success());
    for (now, before) in [("1.0+a", "1.0+b"), ("1.0+b", "1.0+a")] {
        assert!(device.activate(&["--rollback"]).status.success());
        assert_eq!(device.linked("current").as_deref(), Some(now));
        assert_eq!(device.linked("previous").as_deref(), Some(before));
    }
    fs::write(device.path("var/lib/repedge/previous/bin/fails"), "").unwrap();
    let output = device.activate(&["--rollback"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("version 1.0+b runs"), "{}", said(&output));
}

#[test]
fn wrong_usage_and_wrong_versions_are_refused() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    assert_eq!(device.activate(&["--forward"]).status.code(), Some(2));
    for version in ["", "../x", "a b", ".hidden", "a/b"] {
        device.install(version, &[]);
        let output = device.activate(&[]);
        assert_eq!(output.status.code(), Some(1), "{version}");
        assert!(said(&output).contains("no version"), "{}", said(&output));
    }
    assert!(!device.path("var/lib/repedge/current").exists());
}

/// Kills the activation of a second and of a third version at every step there is.
#[test]
fn a_kill_at_any_step_leaves_a_version_that_runs_and_can_be_mended() {
    let mut kills = 0;
    for variable in ["KILL_BEFORE", "KILL_AFTER"] {
        for (older, old, new) in [(None, "1.0+a", "1.0+b"), (Some("1.0+z"), "1.0+a", "1.0+b")] {
            for at in 1.. {
                let device = Device::new();
                for version in older.into_iter().chain([old]) {
                    device.install(version, &[]);
                    assert!(device.activate(&[]).status.success());
                }
                device.install(new, &[]);
                let killed = device.activate_killed(variable, at);
                let current = device.linked("current");
                assert!([Some(old), Some(new)].contains(&current.as_deref()), "{variable}={at}: {current:?}");
                device.linked("previous");
                if !killed {
                    break;
                }
                kills += 1;
                let output = device.activate(&[]);
                assert!(output.status.success(), "{variable}={at}: {}", said(&output));
                assert_eq!(device.linked("current").as_deref(), Some(new), "{variable}={at}");
                assert_eq!(device.linked("previous").as_deref(), Some(old), "{variable}={at}");
                assert_eq!(device.versions(), [old, new], "{variable}={at}");
                let left: Vec<_> = names(&device.path("var/lib/repedge"));
                assert_eq!(left, [".lock", "current", "previous", "versions"], "{variable}={at}");
            }
        }
    }
    assert!(kills > 30, "only {kills} steps were found to kill at");
}
