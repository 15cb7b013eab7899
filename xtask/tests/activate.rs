//! `examples/package/activate` on this machine, below a folder that plays a board: new versions, failing ones, damaged ones,
//! what the device demands of them, the way back, and a kill before and after every step it takes, or a disk that is full there.

#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{program, said};

const ACTIVATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/package/activate");
const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/package/run");
const UNIT: &str = "repedge-camera-demo.service";
const UNIT_FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/package/repedge-camera-demo.service");

/// A self-test that passes while neither `fails` nor `hangs` lies beside its program, and that takes what nobody signed only
/// alone, as the real one. A signature is the name of the file of its key.
const SELF_TEST: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$REPEDGE_ROOT/self-tests"
if [ "$1" = --verify-file ]; then [ "$3 $5" = "--signature --keys" ] && [ -e "$6/$(cat "$4")" ]; exit; fi
case "$*" in *--allow-unsigned*--commit* | *--allow-unsigned*--keys* | *--keys*--allow-unsigned*) exit 2 ;; esac
[ ! -e "$here/hangs" ] || exec /bin/sleep 1000
[ ! -e "$here/fails" ] || exit 1
"#;

/// Says what it was started with.
const CAMERA_DEMO: &str = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n";

/// A service that runs as long as somebody looks less often than the file `looks` says.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$REPEDGE_ROOT/systemctl"
[ "$(wc -l < "$REPEDGE_ROOT/systemctl")" -le "$(cat "$REPEDGE_ROOT/looks")" ]
"#;

/// Stands for a program that `activate` runs: counts, and kills `activate` before or after the chosen call, or fails at it as
/// on a full disk. Syncing every disk of this machine would only take time.
const SHIM: &str = r#"#!/bin/sh
calls=$(($(cat "$REPEDGE_ROOT/calls") + 1))
echo "$calls" > "$REPEDGE_ROOT/calls"
[ "$KILL_BEFORE" != "$calls" ] || { kill -9 "$PPID"; exit 1; }
name=$(basename "$0")
status=0
if [ "$FULL_AT" = "$calls" ]; then
    if [ "$name $1" = "cp -R" ]; then /bin/mkdir -p "$3" && echo half >"$3/model.bundle"; fi
    echo "$name: No space left on device" >&2
    exit 1
fi
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
        fs::create_dir(package.join("keys")).unwrap();
        fs::copy(RUN, package.join("run")).unwrap();
        program(&package.join("bin/camera-demo"), CAMERA_DEMO);
        for mark in marks {
            fs::write(package.join("bin").join(mark), "").unwrap();
        }
    }

    /// As [`Self::install`], of a bundle that nobody signed.
    fn install_unsigned(&self, version: &str) {
        self.install(version, &[]);
        self.write("usr/lib/repedge/package/unsigned", "");
    }

    /// Has the device's owner allow what nobody signed.
    fn allow_unsigned(&self) {
        self.write("etc/repedge/allow-unsigned", "");
    }

    /// Has the device's owner allow it no more.
    fn demand_signatures(&self) {
        fs::remove_file(self.path("etc/repedge/allow-unsigned")).unwrap();
    }

    /// The service's program, started as the unit starts it.
    fn serve(&self) -> Output {
        let mut command = Command::new(self.path("var/lib/repedge/current/run"));
        command.args(["camera-demo", "--config", "x y.toml"]).env("REPEDGE_ROOT", self.root.path());
        command.output().unwrap()
    }

    /// Makes the version that runs one of before there was `run`, which says by its flags what it allows itself.
    fn make_old(&self, flags: &str) {
        let version = self.path("var/lib/repedge/current");
        fs::remove_file(version.join("run")).unwrap();
        fs::write(version.join("flags"), flags).unwrap();
    }

    /// What a program is given where the version that runs is asked to run it.
    fn given(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.path("var/lib/repedge/current/run"));
        let output = command.args(arguments).env("REPEDGE_ROOT", self.root.path()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap().replace('\n', " ")
    }

    fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.path("calls"), "0").unwrap();
        let path = format!("{}:{}", self.path("shims").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.arg(ACTIVATE).args(arguments).env("REPEDGE_ROOT", self.root.path()).env("PATH", path);
        command.env("KILL_BEFORE", "0").env("KILL_AFTER", "0").env("FULL_AT", "0");
        command
    }

    fn activate(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// As [`Self::activate`], killed at a step; whether it got that far.
    fn activate_killed(&self, arguments: &[&str], variable: &str, at: usize) -> bool {
        let output = self.command(arguments).env(variable, at.to_string()).output().unwrap();
        !output.status.success()
    }

    /// As [`Self::activate`], where it must succeed.
    fn expect(&self, arguments: &[&str]) {
        let output = self.activate(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }

    /// What [`Self::activate`] says where it must fail.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.activate(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", said(&output));
        said(&output)
    }

    /// The version that runs.
    fn current(&self) -> Option<String> {
        self.linked("current")
    }

    /// The version before that.
    fn previous(&self) -> Option<String> {
        self.linked(&format!("before/{}", self.current()?))
    }

    /// The version that a link names, which must be there and whole.
    fn linked(&self, link: &str) -> Option<String> {
        let target = fs::read_link(self.path("var/lib/repedge").join(link)).ok()?;
        let version = target.file_name().unwrap().to_str().unwrap().to_owned();
        let folder = self.path("var/lib/repedge/versions").join(&version);
        assert_eq!(fs::read_to_string(folder.join("model.bundle")).unwrap(), format!("model of {version}"));
        assert!(folder.join("bin/self-test").is_file() && folder.join("board.json").is_file());
        Some(version)
    }

    /// Nothing half-made lies there.
    fn expect_tidy(&self, when: &str) {
        assert!(self.versions().iter().all(|name| !name.starts_with('.')), "{when}: {:?}", self.versions());
        let state = names(&self.path("var/lib/repedge"));
        assert!(state.iter().all(|name| !name.starts_with(".link")), "{when}: {state:?}");
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

#[test]
fn a_version_that_passes_runs_and_the_one_before_is_kept() {
    let device = Device::new();
    for version in ["1.0+a", "1.0+b", "1.0+c"] {
        device.install(version, &[]);
        let output = device.activate(&[]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains(&format!("version {version} runs")), "{}", said(&output));
    }
    assert_eq!(device.current().as_deref(), Some("1.0+c"));
    assert_eq!(device.previous().as_deref(), Some("1.0+b"));
    assert_eq!(device.versions(), ["1.0+b", "1.0+c"]);
}

#[test]
fn a_version_tests_itself_before_the_switch_and_forbids_others_only_when_asked() {
    for is_signed in [true, false] {
        let device = Device::new();
        if is_signed {
            device.install("1.0+a", &[]);
        } else {
            device.install_unsigned("1.0+a");
            device.allow_unsigned();
        }
        for arguments in [&[][..], &["--self-test", "--json", "x"], &["--commit"]] {
            let output = device.activate(arguments);
            assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        }
        let state = "ROOT/var/lib/repedge";
        let asked = |folder: &str| {
            let version = format!("{state}/versions/{folder}");
            let common = format!(
                "{version}/model.bundle --board {version}/board.json --state {state}/minimum-security-version"
            );
            if is_signed {
                format!("{common} --keys {version}/keys")
            } else {
                format!("--allow-unsigned {common}")
            }
        };
        // It is tested before it has its name.
        let mut expected =
            vec![format!("{} --quick", asked(".new-1.0+a")), format!("{} --json x", asked("1.0+a"))];
        if is_signed {
            expected.push(format!("{} --quick --commit", asked("1.0+a")));
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
    assert_eq!(device.current().as_deref(), Some("1.0+a"));
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
    fs::write(units.join(UNIT), "").unwrap();
    // What hangs once it has said that it is ready is ended by its watchdog, and looked at once a second until then.
    let unit = fs::read_to_string(UNIT_FILE).unwrap();
    let watchdog_s = unit.lines().find_map(|line| line.strip_prefix("WatchdogSec=")).unwrap();
    let until_watchdog = 1 + watchdog_s.parse::<u32>().unwrap();
    // It does not start; it ends after two looks; it hangs; it stays.
    for (looks, code) in [(0, 1), (3, 1), (until_watchdog, 1), (100, 0)] {
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
    assert_eq!(device.current().as_deref(), Some("1.0+a"));
    assert_eq!(device.versions(), ["1.0+a"]);
    let first = Device::new();
    first.install("1.0+a", &["fails"]);
    let output = first.activate(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no version runs"), "{}", said(&output));
}

#[test]
fn a_self_test_that_hangs_is_ended_and_has_failed() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.expect(&[]);
    let hanging = |arguments: &[&str]| {
        let output = device.command(arguments).env("REPEDGE_SELF_TEST_LIMIT_S", "1").output().unwrap();
        assert!(said(&output).contains("had not ended after 1 s"), "{arguments:?}: {}", said(&output));
        output
    };
    device.install("1.0+b", &["hangs"]);
    let output = hanging(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("version 1.0+a runs"), "{}", said(&output));

    device.install("1.0+b", &[]);
    device.expect(&[]);
    device.write("var/lib/repedge/versions/1.0+a/bin/hangs", "");
    assert_eq!(hanging(&["--rollback"]).status.code(), Some(1));
    assert_eq!(device.current().as_deref(), Some("1.0+b"));
    device.write("var/lib/repedge/versions/1.0+b/bin/hangs", "");
    assert!(!hanging(&["--self-test"]).status.success());
    assert_eq!(hanging(&["--commit"]).status.code(), Some(1));
}

/// A damaged package of the version that runs is tested before it takes a file's place.
#[test]
fn the_version_that_runs_is_mended_only_by_what_passes() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.expect(&[]);
    device.install("1.0+a", &["fails"]);
    let said = device.refusal(&[]);
    assert!(said.contains("version 1.0+a failed") && said.contains("version 1.0+a runs"), "{said}");
    device.expect_tidy("after a failure");
    assert_eq!(names(&device.path("var/lib/repedge/current/bin")), ["camera-demo", "self-test"]);
    device.expect(&["--self-test"]);
}

/// A disk that is full at any step: what runs is whole and said, and nothing half-made takes more of it.
#[test]
fn a_full_disk_at_any_step_leaves_nothing_half_made() {
    for arguments in [&[][..], &["--rollback"]] {
        let mut steps = 0;
        loop {
            steps += 1;
            let device = Device::new();
            for version in ["1.0+a", "1.0+b"] {
                device.install(version, &[]);
                device.expect(&[]);
            }
            device.install("1.0+c", &[]);
            let output = device.command(arguments).env("FULL_AT", steps.to_string()).output().unwrap();
            if output.status.success() {
                break;
            }
            let when = format!("{arguments:?}, step {steps}: {}", said(&output));
            assert!(when.contains("No space left on device"), "{when}");
            assert!(when.contains(&format!("version {} runs", device.current().unwrap())), "{when}");
            device.expect_tidy(&when);
            // With room again the new version comes.
            device.expect(&[]);
            assert_eq!(device.current().as_deref(), Some("1.0+c"), "{when}");
        }
        assert!(steps > 5, "only {steps} steps were found to fail at");
    }
}

#[test]
fn a_rollback_goes_back_and_forth_if_the_self_test_lets_it() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    assert!(device.refusal(&["--rollback"]).contains("no version runs"));
    device.expect(&[]);
    let said_alone = device.refusal(&["--rollback"]);
    assert!(
        said_alone.contains("no version before this one") && said_alone.contains("1.0+a runs"),
        "{said_alone}"
    );
    device.install("1.0+b", &[]);
    assert!(device.activate(&[]).status.success());
    for (now, before) in [("1.0+a", "1.0+b"), ("1.0+b", "1.0+a")] {
        assert!(device.activate(&["--rollback"]).status.success());
        assert_eq!(device.current().as_deref(), Some(now));
        assert_eq!(device.previous().as_deref(), Some(before));
    }
    device.write("var/lib/repedge/versions/1.0+a/bin/fails", "");
    let output = device.activate(&["--rollback"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("version 1.0+b runs"), "{}", said(&output));
}

#[test]
fn wrong_usage_and_wrong_versions_are_refused() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    for arguments in [&["--forward"][..], &["--verify"]] {
        assert_eq!(device.activate(arguments).status.code(), Some(2));
    }
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
                let killed = device.activate_killed(&[], variable, at);
                let current = device.current();
                assert!([Some(old), Some(new)].contains(&current.as_deref()), "{variable}={at}: {current:?}");
                device.previous();
                if !killed {
                    break;
                }
                kills += 1;
                let output = device.activate(&[]);
                assert!(output.status.success(), "{variable}={at}: {}", said(&output));
                assert_eq!(device.current().as_deref(), Some(new), "{variable}={at}");
                assert_eq!(device.previous().as_deref(), Some(old), "{variable}={at}");
                assert_eq!(device.versions(), [old, new], "{variable}={at}");
                let left: Vec<_> = names(&device.path("var/lib/repedge"));
                assert_eq!(left, [".lock", "before", "current", "versions"], "{variable}={at}");
            }
        }
    }
    assert!(kills > 30, "only {kills} steps were found to kill at");
}

/// Kills an activation that fails at every step there is, also where it clears away what has failed.
#[test]
fn a_kill_at_any_step_of_a_failure_leaves_the_version_that_runs() {
    let mut kills = 0;
    for variable in ["KILL_BEFORE", "KILL_AFTER"] {
        for failing in ["1.0+a", "1.0+b"] {
            for at in 1.. {
                let device = Device::new();
                device.install("1.0+a", &[]);
                device.expect(&[]);
                device.install(failing, &["fails"]);
                let output = device.command(&[]).env(variable, at.to_string()).output().unwrap();
                assert!(!output.status.success(), "{variable}={at}");
                assert_eq!(device.current().as_deref(), Some("1.0+a"), "{variable}={at}");
                device.expect(&["--self-test"]);
                if output.status.code() == Some(1) {
                    break;
                }
                kills += 1;
                device.install("1.0+c", &[]);
                device.expect(&[]);
                assert_eq!(device.versions(), ["1.0+a", "1.0+c"], "{variable}={at}");
            }
        }
    }
    assert!(kills > 15, "only {kills} steps were found to kill at");
}

/// Kills the way back, also the one after a way back, at every step there is: both links are the old ones or the new ones.
#[test]
fn a_kill_at_any_step_of_a_rollback_leaves_a_way_on() {
    let mut kills = 0;
    for variable in ["KILL_BEFORE", "KILL_AFTER"] {
        for earlier in [&[][..], &["--rollback"]] {
            for at in 1.. {
                let device = Device::new();
                for version in ["1.0+z", "1.0+a", "1.0+b"] {
                    device.install(version, &[]);
                    device.expect(&[]);
                }
                earlier.iter().for_each(|argument| device.expect(&[argument]));
                let (from, to) = (device.current().unwrap(), device.previous().unwrap());
                let killed = device.activate_killed(&["--rollback", &from], variable, at);
                let links = (device.current().unwrap(), device.previous().unwrap());
                let old = (from.clone(), to.clone());
                let new = (to, from.clone());
                assert!(links == old || links == new, "{variable}={at}: {links:?}");
                if !killed {
                    break;
                }
                kills += 1;
                // It is done again where it was not done, and says so where it was.
                let output = device.activate(&["--rollback", &from]);
                assert_eq!(output.status.success(), links == old, "{variable}={at}: {}", said(&output));
                let links = (device.current().unwrap(), device.previous().unwrap());
                assert_eq!(links, new, "{variable}={at}");
            }
        }
    }
    assert!(kills > 15, "only {kills} steps were found to kill at");
}

#[test]
fn only_the_version_that_was_meant_is_taken_back_or_committed() {
    let device = Device::new();
    for version in ["1.0+a", "1.0+b"] {
        device.install(version, &[]);
        device.expect(&[]);
    }
    let before = fs::read(device.path("self-tests")).unwrap();
    for argument in ["--rollback", "--commit"] {
        let said = device.refusal(&[argument, "1.0+a"]);
        assert!(said.contains("1.0+a was meant") && said.contains("version 1.0+b runs"), "{said}");
    }
    assert_eq!(fs::read(device.path("self-tests")).unwrap(), before);
    device.expect(&["--commit", "1.0+b"]);
    device.expect(&["--rollback", "1.0+b"]);
    assert_eq!(device.current().as_deref(), Some("1.0+a"));
}

#[test]
fn without_the_version_before_there_is_no_way_back() {
    let device = Device::new();
    for version in ["1.0+a", "1.0+b"] {
        device.install(version, &[]);
        device.expect(&[]);
    }
    fs::remove_dir_all(device.path("var/lib/repedge/versions/1.0+a")).unwrap();
    let said = device.refusal(&["--rollback"]);
    assert!(said.contains("no version before this one") && said.contains("1.0+b runs"), "{said}");
}

/// Damages a version that runs, and kills what mends it at every step there is.
#[test]
fn a_damaged_version_is_mended_by_its_own_package() {
    let mut kills = 0;
    for variable in ["KILL_BEFORE", "KILL_AFTER"] {
        for at in 1.. {
            let device = Device::new();
            device.install("1.0+a", &["mark"]);
            device.expect(&[]);
            let version = "var/lib/repedge/versions/1.0+a";
            device.write(&format!("{version}/model.bundle"), "damaged");
            device.write(&format!("{version}/bin/more"), "");
            fs::remove_file(device.path(version).join("bin/mark")).unwrap();
            let unusable = fs::Permissions::from_mode(0o644);
            fs::set_permissions(device.path(version).join("bin/self-test"), unusable).unwrap();
            let killed = device.activate_killed(&[], variable, at);
            assert!(device.path(version).join("bin/self-test").is_file(), "{variable}={at}");
            device.expect(&[]);
            assert_eq!(device.current().as_deref(), Some("1.0+a"), "{variable}={at}");
            let programs = names(&device.path(version).join("bin"));
            assert_eq!(programs, ["camera-demo", "mark", "self-test"], "{variable}={at}");
            assert_eq!(device.versions(), ["1.0+a"], "{variable}={at}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 15, "only {kills} steps were found to kill at");
}

/// What a refusal of an unsigned version says: what it is, what was expected, and both ways to mend it.
fn expect_mendable(said: &str, version: &str) {
    for part in [
        &format!("version {version} is not signed"),
        "expected: a signed version",
        "cargo xtask keys generate",
        "build-board BOARD --sign KEY",
        "flash BOARD --ssh USER@HOST --allow-unsigned",
        "etc/repedge/allow-unsigned` on the device",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn an_unsigned_version_is_refused_unless_the_device_allows_it() {
    let device = Device::new();
    device.install_unsigned("1.0+a");
    let said = device.refusal(&[]);
    expect_mendable(&said, "1.0+a");
    assert!(said.contains("no version runs"), "{said}");
    assert!(!device.path("self-tests").exists() && !device.path("var/lib/repedge/versions").exists());
    device.allow_unsigned();
    device.expect(&[]);
    assert_eq!(device.current().as_deref(), Some("1.0+a"));

    // A key of its own or a signed version changes nothing about that.
    let device = Device::new();
    device.write("etc/repedge/keys/owner.pub", "key");
    device.install("1.0+a", &[]);
    device.expect(&[]);
    device.install_unsigned("1.0+b");
    let said = device.refusal(&[]);
    expect_mendable(&said, "1.0+b");
    assert!(said.contains("version 1.0+a runs"), "{said}");
    assert_eq!((device.current().as_deref(), device.versions().len()), (Some("1.0+a"), 1));
    device.allow_unsigned();
    device.expect(&[]);
    assert_eq!(device.current().as_deref(), Some("1.0+b"));
}

#[test]
fn a_package_that_hides_that_nobody_signed_it_is_judged_by_keys_all_the_same() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.write("usr/lib/repedge/package/flags", "REPEDGE_FLAGS=--allow-unsigned\n");
    device.write("usr/lib/repedge/package/allow-unsigned", "");
    device.expect(&[]);
    let tests = fs::read_to_string(device.path("self-tests")).unwrap();
    assert!(tests.contains("--keys") && !tests.contains("--allow-unsigned"), "{tests}");
    let started = device.serve();
    assert_eq!(String::from_utf8_lossy(&started.stdout), "--config\nx y.toml\n");
}

#[test]
fn a_device_that_allows_unsigned_versions_no_more_starts_none() {
    let device = Device::new();
    device.allow_unsigned();
    device.install_unsigned("1.0+a");
    device.expect(&[]);
    let started = device.serve();
    assert!(started.status.success(), "{}", said(&started));
    assert_eq!(String::from_utf8_lossy(&started.stdout), "--allow-unsigned\n--config\nx y.toml\n");

    device.demand_signatures();
    let refused = device.serve();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0), "{}", said(&refused));
    expect_mendable(&said(&refused), "1.0+a");
    expect_mendable(&device.refusal(&["--self-test"]), "1.0+a");
    expect_mendable(&device.refusal(&["--commit"]), "1.0+a");

    // Nor is there a way back to it.
    device.install("1.0+b", &[]);
    device.expect(&[]);
    let said = device.refusal(&["--rollback"]);
    expect_mendable(&said, "1.0+a");
    assert!(said.contains("version 1.0+b runs"), "{said}");
    device.allow_unsigned();
    device.expect(&["--rollback"]);
    assert_eq!(device.current().as_deref(), Some("1.0+a"));
}

#[test]
fn a_version_comes_back_with_its_own_keys() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.write("usr/lib/repedge/package/keys/ours.pub", "key");
    device.expect(&[]);
    let keys = |device: &Device| names(&device.path("var/lib/repedge/current/keys"));
    device.write("etc/repedge/keys/owner.pub", "the owner's");
    device.install("1.0+b", &["fails"]);
    device.refusal(&[]);
    assert_eq!(keys(&device), ["ours.pub"], "a version that failed has changed what runs");

    device.install("1.0+b", &[]);
    device.write("usr/lib/repedge/package/keys/ours.pub", "key");
    device.expect(&[]);
    assert_eq!(keys(&device), ["device-owner.pub"]);
    fs::write(device.path("self-tests"), "").unwrap();
    device.expect(&["--rollback", "1.0+b"]);
    let tests = fs::read_to_string(device.path("self-tests")).unwrap();
    assert!(tests.contains("versions/1.0+a/keys"), "{tests}");
}

#[test]
fn a_package_is_verified_by_the_version_that_runs() {
    let device = Device::new();
    let package = device.path("package.deb");
    let verify = ["--verify", package.to_str().unwrap()];
    device.allow_unsigned();
    device.install_unsigned("1.0+a");
    device.expect(&[]);
    assert!(said(&device.activate(&verify)).contains("allows what nobody signed"));
    device.demand_signatures();
    device.install("1.0+b", &[]);
    device.write("usr/lib/repedge/package/keys/ours.pub", "key");
    device.expect(&[]);
    // What is installed and does not run has no say.
    device.install("1.0+c", &[]);
    device.write("usr/lib/repedge/package/keys/another.pub", "key");

    assert!(device.refusal(&verify).contains("no signature beside it"));
    device.write("package.deb.minisig", "another.pub");
    assert!(device.refusal(&verify).contains("not signed by a key that this device trusts"));
    device.write("package.deb.minisig", "ours.pub");
    device.expect(&verify);
    device.write("package.deb.minisig", "owner.pub");
    device.refusal(&verify);
    // Keys of the device's own count alone, as they are now.
    device.write("etc/repedge/keys/owner.pub", "key");
    device.expect(&verify);
    device.write("package.deb.minisig", "ours.pub");
    assert!(device.refusal(&verify).contains("not signed by a key that this device trusts"));
    device.install("1.0+d", &[]);
    device.expect(&[]);
    fs::rename(device.path("etc/repedge/keys/owner.pub"), device.path("etc/repedge/keys/newer.pub")).unwrap();
    for (signer, is_trusted) in [("device-owner.pub", false), ("owner.pub", false), ("newer.pub", true)] {
        device.write("package.deb.minisig", signer);
        assert_eq!(device.activate(&verify).status.success(), is_trusted, "{signer}");
    }
    fs::remove_file(device.path("package.deb.minisig")).unwrap();
    device.allow_unsigned();
    device.expect(&verify);
}

#[test]
fn a_package_that_the_device_has_moved_on_from_is_refused_before_it_is_installed() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.write("usr/lib/repedge/package/keys/ours.pub", "key");
    device.expect(&[]);
    let package = device.path("package.tar.gz");
    let verify = ["--verify", package.to_str().unwrap()];
    device.write("package.tar.gz.minisig", "ours.pub");
    let pack = |security_version: Option<&str>| {
        let said = "packed/usr/lib/repedge/package/security-version";
        device.write("packed/usr/lib/repedge/package/VERSION", "1.0\n");
        let _ = fs::remove_file(device.path(said));
        if let Some(security_version) = security_version {
            device.write(said, security_version);
        }
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(device.path("packed")).arg("-czf").arg(&package).arg("./usr");
        assert!(tar.status().unwrap().success());
    };
    pack(Some("2\n"));
    device.expect(&verify);
    for allows_unsigned in [false, true] {
        if allows_unsigned {
            device.allow_unsigned();
        }
        device.write("var/lib/repedge/minimum-security-version", "3\n");
        for (found, shown) in [(Some("2\n"), "2"), (None, "0"), (Some("many\n"), "many")] {
            pack(found);
            let said = device.refusal(&verify);
            let expected = format!("has security version {shown}, expected at least 3");
            assert!(said.contains(&expected) && said.contains("version 1.0+a runs"), "{said}");
        }
        for found in ["3\n", "10\n"] {
            pack(Some(found));
            device.expect(&verify);
        }
        fs::remove_file(device.path("var/lib/repedge/minimum-security-version")).unwrap();
    }
}

#[test]
fn a_package_of_another_board_is_refused() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.expect(&[]);
    device.install("1.0+b", &[]);
    device.write("usr/lib/repedge/package/compatible", "rockchip,rk3568\nrockchip,rk3566\n");
    device.write("proc/device-tree/compatible", "radxa,rock-5a\0rockchip,rk3588s\0");
    let said = device.refusal(&[]);
    for part in ["rockchip,rk3568 rockchip,rk3566", "radxa,rock-5a rockchip,rk3588s", "version 1.0+a runs"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    device.write("usr/lib/repedge/package/compatible", "rockchip,rk3588\n");
    device.expect(&[]);
    assert_eq!(device.current().as_deref(), Some("1.0+b"));
}

/// What versions of before there was `run` said by their flags.
const OLD_UNSIGNED: &str = "REPEDGE_FLAGS=--allow-unsigned\n";

#[test]
fn a_version_of_before_there_was_run_is_there_to_go_back_to() {
    for flags in ["REPEDGE_FLAGS=\n", OLD_UNSIGNED] {
        let device = Device::new();
        device.install("1.0+a", &[]);
        device.expect(&[]);
        device.make_old(flags);
        device.install("1.0+b", &[]);
        device.allow_unsigned();
        device.expect(&[]);
        assert_eq!(device.current().as_deref(), Some("1.0+b"));
        device.expect(&["--rollback"]);
        assert_eq!(device.current().as_deref(), Some("1.0+a"));
        assert!(device.serve().status.success(), "{flags}");
        device.demand_signatures();
        assert_eq!(device.serve().status.success(), flags != OLD_UNSIGNED, "{flags}");
    }
}

#[test]
fn a_refused_upgrade_leaves_an_older_version_that_the_unit_can_start() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.expect(&[]);
    device.make_old("");
    device.install_unsigned("1.0+b");
    let said = device.refusal(&[]);
    expect_mendable(&said, "1.0+b");
    assert!(!said.contains("from its next start on"), "{said}");
    assert_eq!(device.current().as_deref(), Some("1.0+a"));
    let started = device.serve();
    assert_eq!(String::from_utf8_lossy(&started.stdout), "--config\nx y.toml\n");
}

#[test]
fn an_older_version_that_nobody_signed_is_told_that_it_will_be_refused() {
    let device = Device::new();
    device.install("1.0+a", &[]);
    device.expect(&[]);
    device.make_old(OLD_UNSIGNED);
    device.install_unsigned("1.0+b");
    let told = device.refusal(&[]);
    let notice = "version 1.0+a is not signed, and is refused from its next start on";
    assert!(told.contains(notice) && told.contains("etc/repedge/allow-unsigned'"), "{told}");
    expect_mendable(&said(&device.serve()), "1.0+a");
    device.allow_unsigned();
    assert!(device.serve().status.success());
    device.demand_signatures();
    assert!(!device.refusal(&[]).contains(notice), "it is told at each installation");
}

/// Kills the adoption of an unsigned version at every step: it has `run` only once it has its mark.
#[test]
fn an_adopted_version_is_never_taken_for_a_signed_one() {
    let mut kills = 0;
    for variable in ["KILL_BEFORE", "KILL_AFTER"] {
        for at in 1.. {
            let device = Device::new();
            device.install("1.0+a", &[]);
            device.expect(&[]);
            device.make_old(OLD_UNSIGNED);
            device.install("1.0+b", &[]);
            let killed = device.activate_killed(&[], variable, at);
            let old = device.path("var/lib/repedge/versions/1.0+a");
            assert!(!old.join("run").exists() || old.join("unsigned").exists(), "{variable}={at}");
            device.expect(&[]);
            assert_eq!(fs::read(old.join("run")).unwrap(), fs::read(RUN).unwrap(), "{variable}={at}");
            assert!(!device.path("var/lib/repedge/versions/.new-run").exists(), "{variable}={at}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 15, "only {kills} steps were found to kill at");
}

#[test]
fn what_the_device_allows_is_told_to_a_program_once_and_as_an_option() {
    let device = Device::new();
    device.allow_unsigned();
    device.install_unsigned("1.0+a");
    device.expect(&[]);
    for (arguments, given) in [
        (&["--quick"][..], "--allow-unsigned --quick "),
        (&["--quick", "--", "--keys"], "--allow-unsigned --quick -- --keys "),
        (&["--allow-unsigned", "x"], "--allow-unsigned x "),
        (&["--keys", "ours"], "--keys ours "),
        (&["--keys=ours"], "--keys=ours "),
    ] {
        assert_eq!(device.given(&[&["camera-demo"], arguments].concat()), given);
    }
    device.expect(&["--self-test", "--allow-unsigned"]);
    let tests = fs::read_to_string(device.path("self-tests")).unwrap();
    assert_eq!(tests.lines().last().unwrap().matches("--allow-unsigned").count(), 1, "{tests}");
}
