//! Against a real sshd on this machine, with a board's `dpkg`, `systemctl` and package played by small scripts below a
//! folder of the test. The network between both ends is the test's own, so that it can cut it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::system;

/// The package's own scripts.
const ACTIVATE: &str = include_str!("../../../../examples/package/activate");
const POSTINST: &str = include_str!("../../../../examples/package/postinst");

/// Behaves as its version is called, takes together only what the real one does, and keeps a minimum as that one does: here
/// it is a version, and every other is below it.
const SELF_TEST: &str = r#"#!/bin/sh
version="$(cat "$(dirname "$0")/../VERSION")"
minimum="$REPEDGE_ROOT/minimum"
for word; do
    case "$last" in --json) json="$word" ;; esac
    case "$word" in
        --quick) quick=1 ;;
        --keys) keys=1 ;;
        --allow-unsigned) unsigned=1 ;;
        --commit) commit=1 ;;
    esac
    last="$word"
done
if [ -n "$unsigned" ] && [ -n "$keys$commit" ]; then
    echo "error: the argument '--allow-unsigned' cannot be used with the others" >&2
    exit 2
fi
echo "$version${quick:+ quick}${commit:+ commit}" >>"$REPEDGE_ROOT/self-tests"
if [ -e "$minimum" ] && [ "$(cat "$minimum")" != "$version" ]; then
    echo "the bundle is older than what is accepted" >&2
    exit 1
fi
[ ! -e "$REPEDGE_ROOT/$version-fails" ] || exit 1
if [ -n "$quick" ]; then
    [ "$version" != fails-at-once ] || exit 1
    if [ -n "$commit" ]; then
        [ "$version" != fails-to-commit ] || exit 1
        echo "$version" >"$minimum"
    fi
    exit 0
fi
if [ "$version" = slow-and-fails ]; then
    touch "$REPEDGE_ROOT/testing"
    while [ ! -e "$REPEDGE_ROOT/cut" ]; do /bin/sleep 0.1; done
fi
case "$version" in *fails) verdict=fail ;; *) verdict=pass ;; esac
printf '{"verdict": "%s", "backend": "tract", "fps": 12.5}' "$verdict" >"$json"
[ "$verdict" = pass ]
"#;

/// The package's version stands behind the magic of a Debian package. As the real one it runs the package's own script.
const DPKG: &str = r#"#!/bin/sh
if [ "$1" = --print-architecture ]; then cat "$REPEDGE_ROOT/arch"; exit; fi
for file; do :; done
package="$REPEDGE_ROOT/usr/lib/repedge/package"
units="$REPEDGE_ROOT/usr/lib/systemd/system"
mkdir -p "$package/bin" "$units"
sed -n '3p' "$file" >"$package/VERSION"
cp "$REPEDGE_ROOT/self-test" "$package/bin/self-test"
cp "$REPEDGE_ROOT/activate" "$package/activate"
case "$(cat "$package/VERSION")" in
    no-service) rm -f "$units/repedge-camera-demo.service" ;;
    *) touch "$units/repedge-camera-demo.service" ;;
esac
DPKG_ROOT="$REPEDGE_ROOT" sh "$REPEDGE_ROOT/postinst" configure
"#;

/// `up` is there while the service runs, and counts how often somebody looked.
const SYSTEMCTL: &str = r#"#!/bin/sh
up="$REPEDGE_ROOT/up"
version="$(basename "$(readlink "$REPEDGE_ROOT/var/lib/repedge/current")")"
if [ "$1" = is-active ]; then
    [ -e "$up" ] || exit 3
    looks=$(($(cat "$up") + 1))
    echo "$looks" >"$up"
    if [ "$version" = ends-soon ] && [ "$looks" -gt 2 ]; then exit 3; fi
    exit 0
fi
echo "$*" >>"$REPEDGE_ROOT/systemctl.log"
case "$1" in
    stop) rm -f "$up" ;;
    restart)
        rm -f "$up"
        [ "$version" != never-starts ] || exit 1
        if [ "$version" = starts-once ] && [ -e "$REPEDGE_ROOT/started" ]; then exit 1; fi
        touch "$REPEDGE_ROOT/started"
        echo 0 >"$up"
        ;;
esac
"#;

/// What the package's script calls beside that, and the time between two looks at the service.
const DONE: &str = "#!/bin/sh\n";
const DONE_BY: [&str; 4] = ["getent", "usermod", "udevadm", "sleep"];

const SUDO: &str = "#!/bin/sh\n[ \"$1\" = -n ] && shift\nexec \"$@\"\n";
const MKTEMP: &str = "#!/bin/sh\nmkdir -p \"$REPEDGE_ROOT/tmp\" && echo \"$REPEDGE_ROOT/tmp\"\n";

const UNIT: &str = "repedge-camera-demo.service";

/// A board with version 1 in service, behind sshd.
struct Loopback {
    folder: tempfile::TempDir,
    network: Arc<Network>,
    board: Board,
}

/// The cable: it counts what goes to the board, and ends when it has carried so much.
#[derive(Default)]
struct Network {
    carried: AtomicU64,
    /// Bytes after which it is cut; 0 for never.
    cut_after: AtomicU64,
    ends: std::sync::Mutex<Vec<TcpStream>>,
}

impl Network {
    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, mut from: impl Read, mut to: impl Write) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let carried = self.carried.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
            let limit = self.cut_after.load(Ordering::SeqCst);
            if limit > 0 && carried > limit {
                self.cut();
                break;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    }
}

impl Loopback {
    fn new() -> Self {
        let loopback = Self {
            folder: tempfile::tempdir().unwrap(),
            network: Arc::default(),
            board: Board::find("rk3588").unwrap(),
        };
        let root = loopback.path("root");
        loopback.link("current", "1");
        fs::write(root.join("arch"), "arm64\n").unwrap();
        fs::write(root.join("up"), "0\n").unwrap();
        fs::create_dir_all(root.join("run/systemd/system")).unwrap();
        loopback.script("root/activate", ACTIVATE);
        loopback.script("root/postinst", POSTINST);
        loopback.script("root/self-test", SELF_TEST);
        for (name, text) in [("dpkg", DPKG), ("systemctl", SYSTEMCTL), ("sudo", SUDO), ("mktemp", MKTEMP)] {
            loopback.script(&format!("bin/{name}"), text);
        }
        for name in DONE_BY {
            loopback.script(&format!("bin/{name}"), DONE);
        }
        loopback.serve();
        loopback
    }

    /// Has a link name a version, which is there then.
    fn link(&self, name: &str, version: &str) {
        let versions = format!("root/var/lib/repedge/versions/{version}");
        self.script(&format!("{versions}/bin/self-test"), SELF_TEST);
        fs::write(self.path(&versions).join("VERSION"), format!("{version}\n")).unwrap();
        let link = self.path("root/var/lib/repedge").join(name);
        let _ = fs::remove_file(&link);
        symlink(format!("versions/{version}"), link).unwrap();
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn key(&self, name: &str) -> String {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.path(name));
        assert!(keygen.status().unwrap().success());
        fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    /// Answers on a port of the loopback device with one sshd a connection, each with keys and settings of the test.
    fn serve(&self) {
        let (host, user) = (self.key("host"), self.key("user"));
        fs::write(self.path("authorized"), user).unwrap();
        let shown = |below: &str| self.path(below).display().to_string();
        // Behind the user's own start-up files, which may set PATH anew.
        let enter = format!(
            "#!/bin/sh\nexport REPEDGE_ROOT={} PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            shown("root"),
            shown("bin")
        );
        self.script("enter", &enter);
        let settings = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
             PermitRootLogin yes\nForceCommand {}\n",
            shown("host"),
            shown("authorized"),
            shown("enter")
        );
        fs::write(self.path("sshd_config"), settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        fs::write(self.path("known"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let client = format!(
            "Host board\nHostName 127.0.0.1\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n",
            shown("user"),
            shown("known")
        );
        fs::write(self.path("ssh_config"), client).unwrap();
        let (settings, network) = (self.path("sshd_config"), Arc::clone(&self.network));
        // Where Debian's service would make it; sshd wants it when it runs as root.
        let _ = fs::create_dir_all("/run/sshd");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connect(&settings, stream, &network);
            }
        });
    }

    fn package(&self, version: &str) -> Package {
        let file = self.path("package.deb");
        let mut bytes = format!("!<arch>\ndebian-binary   \n{version}\n").into_bytes();
        bytes.resize(600_000, b'x');
        fs::write(&file, bytes).unwrap();
        Package::open(&file).unwrap()
    }

    fn flash(&self, version: &str) -> Result<Done> {
        let package = self.package(version);
        let mut shell = Ssh::connect("board", Some(&self.path("ssh_config")))?;
        flash(&self.board, &package, &mut shell)
    }

    fn refusal(&self, version: &str) -> String {
        format!("{:#}", self.flash(version).unwrap_err())
    }

    fn runs(&self) -> String {
        let target = fs::read_link(self.path("root/var/lib/repedge/current")).unwrap();
        target.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn systemctl(&self) -> String {
        self.read("systemctl.log")
    }

    /// The version and the kind of each self-test.
    fn self_tests(&self) -> String {
        self.read("self-tests")
    }

    fn read(&self, below_root: &str) -> String {
        fs::read_to_string(self.path("root").join(below_root)).unwrap_or_default()
    }

    /// Version 1 is in service, runs, and may come back at any time.
    fn expect_as_before(&self) {
        assert_eq!(self.runs(), "1");
        assert!(self.systemctl().ends_with(&format!("restart {UNIT}\n")), "{}", self.systemctl());
        assert!(self.path("root/up").exists() && !self.path("root/minimum").exists());
    }
}

/// Runs one sshd, with the test's network between it and the client.
fn connect(settings: &Path, client: TcpStream, network: &Arc<Network>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut sshd = Command::new(system::program("sshd").unwrap());
    sshd.args(["-i", "-f"]).arg(settings);
    sshd.stdin(Stdio::from(theirs.try_clone().unwrap())).stdout(Stdio::from(theirs)).stderr(Stdio::null());
    let mut running = sshd.spawn().unwrap();
    // What was given to the child must not stay open here, or its end would never be seen.
    drop(sshd);
    network.ends.lock().unwrap().push(client.try_clone().unwrap());
    let (up, down) = (Arc::clone(network), client.try_clone().unwrap());
    let (to_board, from_board) = (ours.try_clone().unwrap(), ours);
    thread::spawn(move || {
        up.carry(&client, &to_board);
        let _ = to_board.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut from_board = from_board;
        let _ = io::copy(&mut from_board, &mut &down);
        let _ = down.shutdown(Shutdown::Both);
        let _ = running.wait();
    });
}

fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_good_version_goes_into_service() {
    let board = Loopback::new();
    let done = board.flash("2").unwrap();
    assert_eq!((done.version.as_str(), board.runs().as_str()), ("2", "2"));
    assert_eq!(summary(&done.report), "pass on tract, 12.5 fps");
    let asked =
        format!("daemon-reload\nenable --quiet {UNIT}\nrestart {UNIT}\nstop {UNIT}\nrestart {UNIT}\n");
    assert_eq!(board.systemctl(), asked);
    assert_eq!(board.self_tests(), "2 quick\n2\n2 quick commit\n", "older versions are forbidden last");
    assert_eq!(board.read("minimum"), "2\n");
    assert!(!board.path("root/tmp").exists(), "nothing is left in /var/tmp");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_fails_its_self_test_is_taken_back() {
    let board = Loopback::new();
    let error = board.refusal("later-fails");
    assert!(
        error.contains(
            "failed its self-test: fail on tract, 12.5 fps; the board went back and runs version 1"
        ),
        "{error}"
    );
    board.expect_as_before();
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_nobody_signed_goes_into_service_where_that_is_allowed() {
    let board = Loopback::new();
    fs::create_dir_all(board.path("root/etc/repedge")).unwrap();
    fs::write(board.path("root/etc/repedge/flags"), "# words\nREPEDGE_FLAGS=--allow-unsigned\n").unwrap();
    assert_eq!(board.flash("2").unwrap().version, "2");
    assert_eq!(board.self_tests(), "2 quick\n2\n");
    assert!(!board.path("root/minimum").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_package_without_the_service_is_judged_by_its_self_test() {
    let board = Loopback::new();
    assert_eq!(board.flash("no-service").unwrap().version, "no-service");
    let asked = format!("daemon-reload\nstop {UNIT}\ndisable --quiet {UNIT}\nstop {UNIT}\n");
    assert_eq!(board.systemctl(), asked);
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_cannot_forbid_older_ones_is_told() {
    let board = Loopback::new();
    let error = board.refusal("fails-to-commit");
    assert!(
        error.contains("passed its self-test and runs") && error.contains("activate --commit"),
        "{error}"
    );
    assert_eq!(board.runs(), "fails-to-commit");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_fails_its_quick_check_never_runs() {
    let board = Loopback::new();
    let error = board.refusal("fails-at-once");
    assert!(
        error.contains("version fails-at-once was not put into service, the board runs version 1"),
        "{error}"
    );
    assert_eq!(board.runs(), "1");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_whose_service_does_not_stay_up_is_taken_back() {
    for version in ["never-starts", "ends-soon"] {
        let board = Loopback::new();
        let error = board.refusal(version);
        let expected = format!("version {version} was not put into service, the board runs version 1");
        assert!(error.contains(&expected) && error.contains("going back to it"), "{error}");
        board.expect_as_before();
    }
    let board = Loopback::new();
    let error = board.refusal("starts-once");
    assert!(error.contains("service did not come up; the board went back and runs version 1"), "{error}");
    board.expect_as_before();
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn without_a_version_to_go_back_to_the_reason_is_said() {
    let board = Loopback::new();
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    let error = board.refusal("later-fails");
    let stays = "version later-fails stays in service and is not to be trusted";
    assert!(error.contains(&format!("no earlier version to go back to; {stays}")), "{error}");
    assert_eq!(board.runs(), "later-fails");

    let board = Loopback::new();
    fs::write(board.path("root/1-fails"), "").unwrap();
    let error = board.refusal("later-fails");
    assert!(error.contains(&format!("could not go back to the version before; {stays}")), "{error}");
    assert!(error.contains("version 1 failed its self-test and is not used"), "{error}");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_ran_before_stays_when_it_fails() {
    let board = Loopback::new();
    board.link("previous", "1");
    board.link("current", "later-fails");
    let error = board.refusal("later-fails");
    assert!(error.contains("the board ran this version before; version later-fails stays"), "{error}");
    assert_eq!(board.runs(), "later-fails");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_cable_pulled_while_copying_changes_nothing() {
    let board = Loopback::new();
    board.network.cut_after.store(200_000, Ordering::SeqCst);
    let error = board.refusal("2");
    assert!(error.contains("nothing was installed, the board runs version 1 as before"), "{error}");
    assert!(
        error.contains("a partial copy may lie in") && error.contains("connection to board was lost"),
        "{error}"
    );
    assert_eq!(board.runs(), "1");
    assert!(!board.path("root/usr").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_board_ends_its_self_test_by_itself_when_the_cable_is_pulled() {
    let board = Loopback::new();
    let error = thread::scope(|scope| {
        let flashing = scope.spawn(|| board.refusal("slow-and-fails"));
        wait_until(|| board.path("root/testing").exists());
        assert_eq!(board.runs(), "slow-and-fails");
        board.network.cut();
        File::create(board.path("root/cut")).unwrap();
        flashing.join().unwrap()
    });
    assert!(error.contains("the connection broke during the self-test"), "{error}");
    assert!(error.contains("goes back to version 1 if not"), "{error}");
    let asked = format!("stop {UNIT}\nrestart {UNIT}\n");
    wait_until(|| board.runs() == "1" && board.systemctl().ends_with(&asked));
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_wrong_device_is_left_alone() {
    let board = Loopback::new();
    fs::write(board.path("root/arch"), "amd64\n").unwrap();
    let error = board.refusal("2");
    assert!(
        error.contains("nothing was changed, the board runs version 1: wrong device: it is amd64"),
        "{error}"
    );
    assert!(!board.path("root/tmp").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_full_disk_changes_nothing() {
    let board = Loopback::new();
    fs::create_dir(board.path("root/tmp")).unwrap();
    symlink("/dev/full", board.path("root/tmp/package.deb")).unwrap();
    let error = board.refusal("2");
    assert!(
        error.contains("runs version 1 as before") && error.contains("No space left on device"),
        "{error}"
    );
    assert_eq!(board.runs(), "1");
    assert!(!board.path("root/tmp").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_short_copy_is_found_by_its_digest() {
    let board = Loopback::new();
    board.script("bin/cat", "#!/bin/sh\n[ $# = 0 ] && exec head -c 500000\nexec /bin/cat \"$@\"\n");
    let error = board.refusal("2");
    assert!(
        error.contains("the copy on the board has SHA-256") && error.contains("runs version 1 as before"),
        "{error}"
    );
    assert_eq!(board.runs(), "1");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn who_may_not_log_in_is_told_how_to_find_out() {
    let board = Loopback::new();
    fs::write(board.path("authorized"), "").unwrap();
    let error = board.refusal("2");
    assert!(error.contains("ssh cannot log in to board") && error.contains("nothing was changed"), "{error}");
}

#[test]
fn what_is_no_package_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.deb");
    fs::write(&file, "!<arch>\nsomething else entirely").unwrap();
    assert!(Package::open(&file).unwrap_err().to_string().contains("is no Debian package"));
    let board = Board::find("rk3588").unwrap();
    assert!(
        Package::find(&board, Path::new("/nonexistent"))
            .unwrap_err()
            .to_string()
            .contains("build-board rk3588")
    );
}
