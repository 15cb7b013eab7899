//! `examples/package/postinst` on this machine, below a folder that plays a board: whom it makes, which service it starts, and
//! which it leaves alone. With the real dpkg it is run by the tests of `build_board`.

#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{program, said};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/package");
const UNIT: &str = "repedge-camera-demo.service";

/// A self-test that passes, and says what it was run for.
const SELF_TEST: &str = "#!/bin/sh\nfor last; do :; done\necho \"$last\" >>\"$REPEDGE_ROOT/self-tests\"\n";

/// A service that stays up, unless the version that runs crashes. `state` is what systemd says of it, and `enabled` whether it
/// starts with the board.
const SYSTEMCTL: &str = r#"#!/bin/sh
case "$1" in is-*) ;; *) echo "$*" >>"$DPKG_ROOT/systemctl" ;; esac
state=$(cat "$DPKG_ROOT/state" 2>/dev/null || echo inactive)
case "$1" in
    is-active)
        [ "$2" = --quiet ] || echo "$state"
        [ "$state" = active ]
        ;;
    is-enabled) [ -e "$DPKG_ROOT/enabled" ] ;;
    enable) touch "$DPKG_ROOT/enabled" ;;
    disable) rm "$DPKG_ROOT/enabled" ;;
    stop) rm "$DPKG_ROOT/state" ;;
    restart)
        rm -f "$DPKG_ROOT/state"
        [ ! -e "$DPKG_ROOT/var/lib/repedge/current/bin/crashes" ] || exit 1
        echo active >"$DPKG_ROOT/state"
        ;;
esac
"#;

/// What makes users, and must not on this machine.
const USERS: &str = "#!/bin/sh\necho \"$(basename \"$0\") $*\" >>\"$DPKG_ROOT/users\"\n";

/// A folder that plays a board with systemd.
struct Device {
    folder: tempfile::TempDir,
}

impl Device {
    fn new() -> Self {
        let device = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "root/etc", "root/run/systemd/system", "root/usr/lib/systemd/system"] {
            fs::create_dir_all(device.path(folder)).unwrap();
        }
        program(&device.path("bin/systemctl"), SYSTEMCTL);
        for name in ["useradd", "usermod", "getent"] {
            program(&device.path("bin").join(name), USERS);
        }
        for name in ["udevadm", "sleep", "sync"] {
            program(&device.path("bin").join(name), "#!/bin/sh\n");
        }
        device
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn root(&self, below: &str) -> PathBuf {
        self.path("root").join(below)
    }

    /// Puts a package of these programs where dpkg does, and configures it.
    fn install(&self, version: &str, programs: &[&str]) -> Output {
        let (package, unit) =
            (self.root("usr/lib/repedge/package"), self.root("usr/lib/systemd/system").join(UNIT));
        let _ = fs::remove_dir_all(&package);
        let _ = fs::remove_file(&unit);
        fs::create_dir_all(package.join("bin")).unwrap();
        program(&package.join("bin/self-test"), SELF_TEST);
        for name in programs {
            program(&package.join("bin").join(name), "#!/bin/sh\n");
        }
        if programs.contains(&"camera-demo") {
            fs::write(unit, "").unwrap();
        }
        fs::write(package.join("VERSION"), format!("{version}\n")).unwrap();
        for script in ["activate", "run"] {
            fs::copy(Path::new(SCRIPTS).join(script), package.join(script)).unwrap();
        }
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.path("bin").display());
        let mut command = Command::new("sh");
        command.arg(Path::new(SCRIPTS).join("postinst")).args(["configure", "0"]);
        command.env("PATH", path).env("DPKG_ROOT", self.path("root"));
        command.output().unwrap()
    }

    /// As [`Self::install`] of camera-demo, where it must succeed.
    fn expect(&self, version: &str) {
        let output = self.install(version, &["camera-demo"]);
        assert!(output.status.success(), "{version}: {}", said(&output));
        assert_eq!(self.runs(), version);
    }

    fn runs(&self) -> String {
        let link = fs::read_link(self.root("var/lib/repedge/current")).unwrap();
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// A file of what was asked, and forgets it.
    fn take(&self, name: &str) -> String {
        let text = fs::read_to_string(self.root(name)).unwrap_or_default();
        let _ = fs::remove_file(self.root(name));
        text
    }
}

#[test]
fn the_user_is_made_below_the_root_that_dpkg_installs_to() {
    let device = Device::new();
    fs::write(device.root("etc/group"), "video:x:44:\n").unwrap();
    device.expect("1");
    let root = device.path("root");
    let expected = format!(
        "useradd --prefix {0} --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin \
         repedge\nusermod --prefix {0} --append --groups video repedge\n",
        root.display()
    );
    assert_eq!(device.take("users"), expected);

    fs::write(device.root("etc/passwd"), "repedge:x:999:999::/nonexistent:/usr/sbin/nologin\n").unwrap();
    device.expect("2");
    assert!(!device.take("users").contains("useradd"), "a user that is there is made again");
}

#[test]
fn a_service_that_its_owner_disabled_stays_so() {
    let device = Device::new();
    device.expect("1");
    assert_eq!(device.take("systemctl"), format!("daemon-reload\nenable --quiet {UNIT}\nrestart {UNIT}\n"));
    device.expect("2");
    assert_eq!(device.take("systemctl"), format!("daemon-reload\nrestart {UNIT}\n"));

    fs::remove_file(device.root("enabled")).unwrap();
    // One that runs all the same goes on, as the new version.
    device.expect("3");
    assert_eq!(device.take("systemctl"), format!("daemon-reload\nrestart {UNIT}\n"));
    fs::remove_file(device.root("state")).unwrap();
    device.take("self-tests");
    device.expect("4");
    assert_eq!(device.take("systemctl"), "daemon-reload\n");
    assert_eq!(device.take("self-tests"), "--quick\n--commit\n");
}

#[test]
fn a_service_that_the_version_before_did_not_have_is_enabled() {
    let device = Device::new();
    let output = device.install("1", &["detect-image"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(device.take("systemctl"), "daemon-reload\n");
    device.expect("2");
    assert_eq!(device.take("systemctl"), format!("daemon-reload\nenable --quiet {UNIT}\nrestart {UNIT}\n"));
}

#[test]
fn a_version_gives_way_also_where_the_service_before_waited_for_its_next_start() {
    for state in ["active", "activating"] {
        let device = Device::new();
        device.expect("1");
        fs::write(device.root("state"), state).unwrap();
        let output = device.install("2", &["camera-demo", "crashes"]);
        assert_eq!(output.status.code(), Some(1), "{state}: {}", said(&output));
        assert!(said(&output).contains("going back to it"), "{state}: {}", said(&output));
        assert_eq!(device.runs(), "1", "{state}");
    }
}
