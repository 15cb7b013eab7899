//! The package in the hands of the real dpkg, below a folder that plays a board: systemd and the programs are scripts, the
//! package's own scripts are as they ship.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use super::*;

/// All programs of a board. The self-test fails where the model says so.
const PROGRAMS: &str = r#"#!/bin/sh
case "$0" in
    *self-test)
        echo "$*" >>"$REPEDGE_ROOT/self-tests"
        ! grep -q fails "$(dirname "$0")/../model.bundle"
        ;;
esac
"#;

/// The service starts, unless the model says otherwise; `up` is there while it runs, `enabled` while it starts with the board.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1" in is-*) ;; *) echo "$*" >>"$DPKG_ROOT/systemctl" ;; esac
case "$1" in
    is-active)
        [ -e "$DPKG_ROOT/up" ] || exit 3
        [ "$2" = --quiet ] || echo active
        ;;
    is-enabled) [ -e "$DPKG_ROOT/enabled" ] ;;
    restart)
        rm -f "$DPKG_ROOT/up"
        ! grep -q crashes "$DPKG_ROOT/var/lib/repedge/current/model.bundle" || exit 1
        touch "$DPKG_ROOT/up"
        ;;
    stop) rm -f "$DPKG_ROOT/up" ;;
    enable | disable)
        for unit; do :; done
        [ -f "$DPKG_ROOT/usr/lib/systemd/system/$unit" ] || exit 1
        if [ "$1" = enable ]; then touch "$DPKG_ROOT/enabled"; else rm -f "$DPKG_ROOT/enabled"; fi
        ;;
esac
"#;
/// What else the package's scripts call, and must not do to this machine.
const DONE_BY: [&str; 5] = ["getent", "useradd", "usermod", "udevadm", "sleep"];
const UNIT: &str = "repedge-camera-demo.service";

/// A folder with dpkg's own files and systemd's mark.
struct Device {
    folder: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap() };
        for folder in
            ["bin", "root/run/systemd/system", "root/var/lib/dpkg/info", "root/var/lib/dpkg/updates"]
        {
            fs::create_dir_all(device.path(folder)).unwrap();
        }
        fs::write(device.path("root/var/lib/dpkg/status"), "").unwrap();
        device.script("systemctl", SYSTEMCTL);
        for name in DONE_BY {
            device.script(name, "#!/bin/sh\n");
        }
        device
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn dpkg(&self) -> Command {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", self.path("root").display()));
        command.arg(format!("--log={}", self.path("log").display()));
        // Without chroot, which only root may, and with nothing of Debian in the folder.
        command.args(["--force-script-chrootless", "--force-not-root", "--force-unsafe-io"]);
        // Settings that the user changed stay, as they do with flash.
        command.args(["--force-architecture", "--force-depends", "--force-confold"]);
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display()));
        command.stdin(Stdio::null());
        command
    }

    /// The command that installs a package of these programs and that model, and the package's version.
    fn installation(&self, programs: &[&str], model: &str, date_s: u64) -> (Command, String) {
        let bundle =
            Bundle { bytes: model.into(), is_signed: true, security_version: 3, source: "x.bundle".into() };
        self.installation_of(programs, &bundle, date_s)
    }

    fn installation_of(&self, programs: &[&str], bundle: &Bundle, date_s: u64) -> (Command, String) {
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs::of(programs, PROGRAMS.into());
        let package = package::compose(&workspace, &board, &programs, bundle, &[], date_s).unwrap();
        let file = self.path("repedge.deb");
        let deb = Packer::find().unwrap().pack(&board, &programs, &package).unwrap();
        fs::write(&file, deb).unwrap();
        let mut command = self.dpkg();
        command.arg("--install").arg(file);
        (command, package.version)
    }

    /// Installs camera-demo with a model; the version, and what dpkg said.
    fn install(&self, model: &str, date_s: u64) -> (String, Output) {
        let (mut command, version) = self.installation(&["camera-demo", "self-test"], model, date_s);
        (version, command.output().unwrap())
    }

    /// As [`Self::install`], of a bundle that nobody signed.
    fn install_unsigned(&self, model: &str, date_s: u64) -> (String, Output) {
        let bundle =
            Bundle { bytes: model.into(), is_signed: false, security_version: 3, source: "x.bundle".into() };
        let (mut command, version) = self.installation_of(&["camera-demo", "self-test"], &bundle, date_s);
        (version, command.output().unwrap())
    }

    /// Has the device's owner allow what nobody signed.
    fn allow_unsigned(&self) {
        fs::create_dir_all(self.path("root/etc/repedge")).unwrap();
        fs::write(self.path("root/etc/repedge/allow-unsigned"), "").unwrap();
    }

    /// Has the device's owner allow it no more.
    fn demand_signatures(&self) {
        fs::remove_file(self.path("root/etc/repedge/allow-unsigned")).unwrap();
    }

    fn runs(&self) -> String {
        let link = fs::read_link(self.path("root/var/lib/repedge/current")).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// What systemd was asked, and forgets it.
    fn asked(&self) -> String {
        let path = self.path("root/systemctl");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text
    }

    /// What the self-tests were run for, by the last argument of each.
    fn self_tests(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("root/self-tests")).unwrap();
        text.lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn an_installed_version_forbids_older_ones_once_its_service_runs() {
    let device = Device::new();
    let (version, output) = device.install("model", 1);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(device.runs(), version);
    assert_eq!(device.asked(), format!("daemon-reload\nenable --quiet {UNIT}\nrestart {UNIT}\n"));
    assert_eq!(device.self_tests(), ["--quick", "--commit"]);
    assert!(device.path("root/etc/repedge/keys").is_dir(), "there is no place for the owner's keys");

    let removed = device.dpkg().args(["--remove", "repedge"]).output().unwrap();
    assert!(removed.status.success(), "{}", said(&removed));
    assert_eq!(device.asked(), format!("disable --now --quiet {UNIT}\ndaemon-reload\n"));
    assert!(!device.path("root/var/lib/repedge/versions").exists());
    assert!(device.path("root/etc/repedge/camera-demo.toml").exists(), "settings are the user's");
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn flash_commits_by_itself() {
    let device = Device::new();
    let (mut command, version) = device.installation(&["camera-demo", "self-test"], "model", 1);
    let output = command.env("REPEDGE_FLASH_COMMITS", "1").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((device.runs(), device.self_tests()), (version, vec!["--quick".to_owned()]));
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_version_that_does_not_run_gives_way_to_the_one_that_did() {
    let device = Device::new();
    let (old, _) = device.install("model", 1);
    for (at, model, reason) in [(2, "it crashes", "going back"), (3, "it fails", "failed its self-test")] {
        device.asked();
        let (new, output) = device.install(model, at);
        assert!(!output.status.success() && said(&output).contains(reason), "{}", said(&output));
        assert_ne!(new, old);
        assert_eq!(device.runs(), old);
        assert!(device.path("root/up").exists(), "{}", device.asked());
    }
    assert_eq!(device.self_tests().iter().filter(|last| *last == "--commit").count(), 1);
}

/// What a refusal of an unsigned package says: what it is, what was expected, and both ways to mend it.
const REFUSAL: [&str; 5] = [
    "is not signed",
    "expected: a signed version",
    "cargo xtask keys generate",
    "build-board BOARD --sign KEY",
    "flash BOARD --ssh USER@HOST --allow-unsigned",
];

fn expect_refused(output: &Output) {
    assert!(!output.status.success(), "{}", said(output));
    for part in REFUSAL {
        assert!(said(output).contains(part), "{part}: {}", said(output));
    }
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn an_unsigned_first_version_needs_the_owners_word() {
    let device = Device::new();
    let (version, output) = device.install_unsigned("model", 1);
    expect_refused(&output);
    for part in ["no version runs", "not configured", "then 'dpkg --configure repedge', or install again"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    assert!(!device.path("root/var/lib/repedge/current").exists() && !device.path("root/up").exists());
    assert!(!device.path("root/self-tests").exists(), "it ran");

    device.allow_unsigned();
    let output = device.dpkg().args(["--configure", "repedge"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((device.runs(), device.self_tests()), (version, vec!["--quick".to_owned()]));
    let tests = fs::read_to_string(device.path("root/self-tests")).unwrap();
    assert!(tests.starts_with("--allow-unsigned "), "{tests}");
    assert!(device.path("root/up").exists());
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn an_unsigned_upgrade_leaves_the_old_version_running() {
    let device = Device::new();
    let (signed, _) = device.install("model", 1);
    let settings = device.path("root/etc/repedge/camera-demo.toml");
    fs::write(&settings, "# the user's\n").unwrap();
    let (unsigned, output) = device.install_unsigned("model", 2);
    expect_refused(&output);
    assert!(said(&output).contains(&format!("version {signed} runs")), "{}", said(&output));
    assert_eq!(device.runs(), signed);
    assert!(device.path("root/up").exists());

    device.allow_unsigned();
    let (_, output) = device.install_unsigned("model", 2);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(device.runs(), unsigned);
    assert_eq!(fs::read_to_string(settings).unwrap(), "# the user's\n");
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_signed_package_that_fails_leaves_an_unsigned_version_running() {
    let device = Device::new();
    device.allow_unsigned();
    let (unsigned, output) = device.install_unsigned("model", 1);
    assert!(output.status.success(), "{}", said(&output));
    for (at, model) in [(2, "it fails"), (3, "it crashes")] {
        let (_, output) = device.install(model, at);
        assert!(!output.status.success(), "{}", said(&output));
        assert_eq!(device.runs(), unsigned);
        assert!(device.path("root/up").exists());
    }
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_device_that_demands_signatures_later_has_no_unsigned_version_to_go_back_to() {
    let device = Device::new();
    device.allow_unsigned();
    let (unsigned, _) = device.install_unsigned("model", 1);
    let (signed, output) = device.install("model", 2);
    assert!(output.status.success(), "{}", said(&output));
    device.demand_signatures();
    let activate = device.path("root/var/lib/repedge/current/activate");
    let mut command = Command::new(activate);
    command.arg("--rollback").env("REPEDGE_ROOT", device.path("root"));
    let output = command.output().unwrap();
    expect_refused(&output);
    assert!(said(&output).contains(&unsigned), "{}", said(&output));
    assert_eq!(device.runs(), signed);
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_package_says_its_security_version_before_it_is_installed() {
    let device = Device::new();
    let (_, output) = device.install("model", 1);
    assert!(output.status.success(), "{}", said(&output));
    device.allow_unsigned();
    let minimum = device.path("root/var/lib/repedge/minimum-security-version");
    for (accepted, code) in [("3\n", 0), ("4\n", 1)] {
        fs::write(&minimum, accepted).unwrap();
        let mut command = Command::new(device.path("root/var/lib/repedge/current/activate"));
        command.arg("--verify").arg(device.path("repedge.deb")).env("REPEDGE_ROOT", device.path("root"));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let refused = said(&output).contains("has security version 3, expected at least 4");
        assert_eq!(refused, code == 1, "{}", said(&output));
    }
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_package_of_another_board_is_not_activated() {
    let device = Device::new();
    let (old, _) = device.install("model", 1);
    fs::create_dir_all(device.path("root/proc/device-tree")).unwrap();
    fs::write(device.path("root/proc/device-tree/compatible"), "radxa,zero3\0rockchip,rk3566\0").unwrap();
    let (_, output) = device.install("another model", 2);
    assert!(!output.status.success() && said(&output).contains("radxa,zero3"), "{}", said(&output));
    assert_eq!(device.runs(), old);
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_first_version_whose_service_does_not_run_yet_stays() {
    let device = Device::new();
    let (version, output) = device.install("it crashes", 1);
    assert!(output.status.success() && said(&output).contains("does not run yet"), "{}", said(&output));
    assert_eq!((device.runs(), device.self_tests()), (version, vec!["--quick".to_owned()]));
}

#[test]
#[ignore = "needs cargo-deb of cargo xtask setup deb, dpkg-deb and dpkg"]
fn a_package_without_camera_demo_has_no_service() {
    let device = Device::new();
    let (mut command, version) = device.installation(&["detect-image", "self-test"], "model", 1);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!((device.runs(), device.asked()), (version, "daemon-reload\n".to_owned()));
    let removed = device.dpkg().args(["--remove", "repedge"]).output().unwrap();
    assert!(removed.status.success(), "{}", said(&removed));

    // The service of a version before ends.
    device.install("model", 2);
    device.asked();
    let output = device.installation(&["detect-image", "self-test"], "model", 3).0.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(device.asked().contains(&format!("stop {UNIT}\n")) && !device.path("root/up").exists());
}

#[test]
fn an_image_is_refused_where_its_medium_has_no_place() {
    let args = |board: &str, image| {
        let sources = Sources { allow_unsigned: true, ..Sources::default() };
        Args { board: board.into(), image: Some(image), sources, ..Args::default() }
    };
    let expect = |args: &Args| expect_image(&Board::find(&args.board).unwrap(), args);
    expect(&args("qemu-virt", Medium::Sd)).unwrap();
    let error = expect(&args("qemu-virt", Medium::Emmc)).unwrap_err().to_string();
    assert!(error.contains("for this medium"), "{error}");
    let error = expect(&args("rk3588", Medium::Sd)).unwrap_err().to_string();
    assert!(error.contains("--rootfs"), "{error}");
    // What is missing comes before what nobody signed.
    let error =
        expect(&Args { sources: Sources::default(), ..args("rk3588", Medium::Sd) }).unwrap_err().to_string();
    assert!(error.contains("--rootfs"), "{error}");
    let unsigned = Args { sources: Sources::default(), ..args("qemu-virt", Medium::Sd) };
    let error = expect(&unsigned).unwrap_err().to_string();
    assert!(error.contains("not signed") && error.contains("--allow-unsigned"), "{error}");
}
