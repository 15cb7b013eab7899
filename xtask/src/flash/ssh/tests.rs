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

/// The package's own script.
const ACTIVATE: &str = include_str!("../../../../examples/package/activate");

/// Behaves as its version is called.
const SELF_TEST: &str = r#"#!/bin/sh
version="$(cat "$(dirname "$0")/../VERSION")"
for word; do
    case "$last" in --json) json="$word" ;; esac
    case "$word" in --quick) quick=1 ;; esac
    last="$word"
done
if [ -n "$quick" ]; then [ "$version" != fails-at-once ]; exit; fi
if [ "$version" = slow-and-fails ]; then
    touch "$REPEDGE_ROOT/testing"
    while [ ! -e "$REPEDGE_ROOT/cut" ]; do sleep 0.1; done
fi
case "$version" in *fails) verdict=fail ;; *) verdict=pass ;; esac
printf '{"verdict": "%s", "backend": "tract", "fps": 12.5}' "$verdict" >"$json"
[ "$verdict" = pass ]
"#;

/// The package's version stands behind the magic of a Debian package.
const DPKG: &str = r#"#!/bin/sh
if [ "$1" = --print-architecture ]; then cat "$REPEDGE_ROOT/arch"; exit; fi
for file; do :; done
package="$REPEDGE_ROOT/usr/lib/repedge/package"
mkdir -p "$package/bin"
sed -n '3p' "$file" >"$package/VERSION"
cp "$REPEDGE_ROOT/self-test" "$package/bin/self-test"
cp "$REPEDGE_ROOT/activate" "$package/activate"
"$package/activate"
"#;

const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >>"$REPEDGE_ROOT/systemctl.log"
case "$(readlink "$REPEDGE_ROOT/var/lib/repedge/current")" in
    *no-unit) [ "$1" != start ] ;;
esac
"#;

const SUDO: &str = "#!/bin/sh\n[ \"$1\" = -n ] && shift\nexec \"$@\"\n";
const MKTEMP: &str = "#!/bin/sh\nmkdir -p \"$REPEDGE_ROOT/tmp\" && echo \"$REPEDGE_ROOT/tmp\"\n";

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
        let first = root.join("var/lib/repedge/versions/1");
        fs::create_dir_all(first.join("bin")).unwrap();
        symlink("versions/1", root.join("var/lib/repedge/current")).unwrap();
        fs::write(first.join("VERSION"), "1\n").unwrap();
        loopback.script("root/var/lib/repedge/versions/1/bin/self-test", SELF_TEST);
        fs::write(root.join("arch"), "arm64\n").unwrap();
        loopback.script("root/activate", ACTIVATE);
        loopback.script("root/self-test", SELF_TEST);
        for (name, text) in [("dpkg", DPKG), ("systemctl", SYSTEMCTL), ("sudo", SUDO), ("mktemp", MKTEMP)] {
            loopback.script(&format!("bin/{name}"), text);
        }
        loopback.serve();
        loopback
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
        fs::read_to_string(self.path("root/systemctl.log")).unwrap_or_default()
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
    let unit = "repedge-camera-demo.service";
    assert_eq!(board.systemctl(), format!("stop {unit}\nstart {unit}\nis-active --quiet {unit}\n"));
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
    assert_eq!(board.runs(), "1");
    assert!(board.systemctl().ends_with("restart repedge-camera-demo.service\n"), "{}", board.systemctl());
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
fn a_version_whose_service_does_not_start_is_taken_back() {
    let board = Loopback::new();
    let error = board.refusal("no-unit");
    assert!(error.contains("service did not come up; the board went back and runs version 1"), "{error}");
    assert_eq!(board.runs(), "1");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn without_an_earlier_version_a_failure_is_said() {
    let board = Loopback::new();
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    let error = board.refusal("later-fails");
    assert!(
        error.contains("no earlier version to go back to; version later-fails stays in service"),
        "{error}"
    );
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
    wait_until(|| board.runs() == "1" && board.systemctl().contains("restart"));
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
