//! Against a real sshd on this machine, with a board's `dpkg`, `systemctl` and package played by small scripts below a
//! folder of the test. The network between both ends is the test's own, so that it can cut it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use artifact::Signer as _;
use signing::{KeyFiles, PrivateKey, Protection};

use super::package::tests::deb;
use super::*;
use crate::flash::judge;
use crate::system;

/// The package's own scripts.
const ACTIVATE: &str = include_str!("../../../../examples/package/activate");
const RUN: &str = include_str!("../../../../examples/package/run");
const POSTINST: &str = include_str!("../../../../examples/package/postinst");

/// Behaves as its version is called, takes together only what the real one does, and keeps a minimum as that one does: here
/// it is a version, and every other is below it. A signature is the name of the file of its key.
const SELF_TEST: &str = r#"#!/bin/sh
if [ "$1" = --verify-file ]; then [ "$3 $5" = "--signature --keys" ] && [ -e "$6/$(cat "$4")" ]; exit; fi
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
[ "$version" != hangs ] || exec /bin/sleep 1000
if [ "$version" = slow-and-fails ]; then
    touch "$REPEDGE_ROOT/testing"
    while [ ! -e "$REPEDGE_ROOT/cut" ]; do /bin/sleep 0.1; done
fi
case "$version" in *fails) verdict=fail ;; *) verdict=pass ;; esac
printf '{"verdict": "%s", "backend": "tract", "fps": 12.5}' "$verdict" >"$json"
[ "$verdict" = pass ]
"#;

/// The package's content says its version. As the real one it runs the package's own script.
const DPKG: &str = r#"#!/bin/sh
if [ "$1" = --print-architecture ]; then cat "$REPEDGE_ROOT/arch"; exit; fi
for file; do :; done
package="$REPEDGE_ROOT/usr/lib/repedge/package"
units="$REPEDGE_ROOT/usr/lib/systemd/system"
touch "$REPEDGE_ROOT/installing"
mkdir -p "$package/bin" "$package/keys" "$units"
sed -n 's/^content of //p' "$file" | head -n 1 >"$package/VERSION"
echo key >"$package/keys/ours.pub"
case "$(cat "$package/VERSION")" in
    unsigned) touch "$package/unsigned" ;;
    *) rm -f "$package/unsigned" ;;
esac
case "$(cat "$package/VERSION")" in
    slow-install*) while [ ! -e "$REPEDGE_ROOT/cut" ]; do /bin/sleep 0.1; done ;;
    fills-disk) ln -s /dev/full "$REPEDGE_ROOT/var/lib/repedge/flash/.outcome" ;;
esac
cp "$REPEDGE_ROOT/self-test" "$package/bin/self-test"
cp "$REPEDGE_ROOT/activate" "$REPEDGE_ROOT/run-program" "$package"
mv "$package/run-program" "$package/run"
case "$(cat "$package/VERSION")" in
    no-service) rm -f "$units/repedge-camera-demo.service" ;;
    *) cat "$package/VERSION" >"$units/repedge-camera-demo.service" ;;
esac
DPKG_ROOT="$REPEDGE_ROOT" sh "$REPEDGE_ROOT/postinst" configure
"#;

/// What a package says of itself before it is installed: all are of one security version, but for one that is replayed.
const DPKG_DEB: &str = r#"#!/bin/sh
[ "$1" = --fsys-tarfile ] || exit 2
package="$REPEDGE_ROOT/packed/usr/lib/repedge/package"
mkdir -p "$package"
case "$(sed -n 's/^content of //p' "$2" | head -n 1)" in replayed) echo 2 ;; *) echo 3 ;; esac >"$package/security-version"
exec tar -C "$REPEDGE_ROOT/packed" -cf - ./usr
"#;

/// `up` is there while the service runs, and counts how often somebody looked; `disabled`, where it does not start with the board.
const SYSTEMCTL: &str = r#"#!/bin/sh
up="$REPEDGE_ROOT/up"
version="$(basename "$(readlink "$REPEDGE_ROOT/var/lib/repedge/current")")"
if [ "$1" = is-enabled ]; then
    [ ! -e "$REPEDGE_ROOT/disabled" ]
    exit
fi
if [ "$1" = is-active ]; then
    [ -e "$up" ] || exit 3
    [ "$2" = --quiet ] || echo active
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
        [ "$version" != never-starts ] && [ ! -e "$REPEDGE_ROOT/$version-never-starts" ] || exit 1
        if [ "$version" = starts-once ] && [ -e "$REPEDGE_ROOT/started" ]; then exit 1; fi
        touch "$REPEDGE_ROOT/started"
        echo 0 >"$up"
        ;;
esac
"#;

/// What the package's script calls beside that, and the time between two looks at the service.
const DONE: &str = "#!/bin/sh\n";
const DONE_BY: [&str; 5] = ["getent", "useradd", "usermod", "udevadm", "sleep"];

const SUDO: &str = "#!/bin/sh\n[ \"$1\" = -n ] && shift\nexec \"$@\"\n";
const MKTEMP: &str = "#!/bin/sh\nmkdir -p \"$REPEDGE_ROOT/tmp\" && echo \"$REPEDGE_ROOT/tmp\"\n";
/// systemd's, which this machine need not run.
const SYSTEMD_RUN: &str = "#!/bin/sh\necho \"$*\" >>\"$REPEDGE_ROOT/scopes\"\n[ \"$1 $2\" = '--quiet --scope' ] && shift 2 && exec \"$@\"\n";
/// Tells when somebody waits for a flash to end: nothing else waits for the lock like that.
const FLOCK: &str = r#"#!/bin/sh
[ "$1 $3" != "-s true" ] || touch "$REPEDGE_ROOT/following"
exec /usr/bin/flock "$@"
"#;

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
        // There is a folder `run`.
        loopback.script("root/run-program", RUN);
        loopback.script("root/postinst", POSTINST);
        loopback.script("root/self-test", SELF_TEST);
        let programs = [
            ("dpkg", DPKG),
            ("dpkg-deb", DPKG_DEB),
            ("systemctl", SYSTEMCTL),
            ("systemd-run", SYSTEMD_RUN),
            ("sudo", SUDO),
            ("mktemp", MKTEMP),
            ("flock", FLOCK),
        ];
        for (name, text) in programs {
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
        self.script(&format!("{versions}/activate"), ACTIVATE);
        self.script(&format!("{versions}/run"), RUN);
        fs::create_dir_all(self.path(&versions).join("keys")).unwrap();
        fs::write(self.path(&versions).join("keys/ours.pub"), "key").unwrap();
        let link = self.path("root/var/lib/repedge").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.path(&versions), link).unwrap();
    }

    /// Until the board installs, and whoever sent the package waits for the end: only then is a cut one of both.
    fn wait_until_followed(&self) {
        wait_until(|| ["root/installing", "root/following"].iter().all(|file| self.path(file).exists()));
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
        let mut content = format!("\ncontent of {version}\n").into_bytes();
        content.resize(600_000, b'x');
        let control = format!("Package: repedge\nVersion: {version}\nBoard: rk3588\n");
        fs::write(&file, deb(&control, &content)).unwrap();
        let signer = if version == "foreign" { "theirs.pub" } else { "ours.pub" };
        fs::write(self.path("package.deb.minisig"), signer).unwrap();
        if version == "unsigned" {
            fs::remove_file(self.path("package.deb.minisig")).unwrap();
        }
        Package::open(&file).unwrap()
    }

    fn connect(&self) -> Result<Ssh> {
        Ssh::connect("board", Some(&self.path("ssh_config")))
    }

    /// The line that a flash ends with.
    fn flash(&self, version: &str) -> Result<String> {
        self.flash_as(version, Unsigned::AsTheBoardSays)
    }

    fn flash_as(&self, version: &str, unsigned: Unsigned) -> Result<String> {
        let package = self.package(version);
        judge(&self.board, &package, unsigned, &mut self.connect()?, &self.path("self-test.json"))
    }

    /// What the board says of why it took a package.
    fn trust(&self, version: &str, unsigned: Unsigned) -> String {
        let package = self.package(version);
        let mut shell = self.connect().unwrap();
        let before = board::ask(&mut shell).unwrap();
        let mut visit = Visit { shell: &mut shell, before, folder: String::new() };
        visit.copy(&package).unwrap();
        visit.start(&package, unsigned).unwrap();
        let outcome = outcome::follow(&mut shell).unwrap();
        assert_eq!(outcome.judge(None).unwrap(), version);
        outcome.trust().to_owned()
    }

    /// How the last flash ended, where nobody was told yet.
    fn earlier(&self) -> Option<String> {
        let mut shell = self.connect().unwrap();
        let facts = board::ask(&mut shell).unwrap();
        outcome::of_earlier(&facts, &mut shell).unwrap()
    }

    /// The verdict of the report that was kept.
    fn verdict(&self) -> Option<String> {
        let report = fs::read(self.path("self-test.json")).ok()?;
        let report: Value = serde_json::from_slice(&report).unwrap();
        Some(report["verdict"].as_str().unwrap().to_owned())
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
    let end = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < end, "it never came");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_good_version_goes_into_service() {
    let board = Loopback::new();
    let told = board.flash("2").unwrap();
    assert!(told.starts_with("rk3588 runs version 2, verified: pass on tract, 12.5 fps\n"), "{told}");
    assert_eq!((board.runs().as_str(), board.verdict().as_deref()), ("2", Some("pass")));
    let asked =
        format!("daemon-reload\nenable --quiet {UNIT}\nrestart {UNIT}\nstop {UNIT}\nrestart {UNIT}\n");
    assert_eq!(board.systemctl(), asked);
    assert_eq!(board.self_tests(), "2 quick\n2\n2 quick commit\n", "older versions are forbidden last");
    assert_eq!(board.read("minimum"), "2\n");
    assert!(!board.path("root/tmp").exists(), "nothing is left in /var/tmp");
    assert_eq!(board.earlier(), None);
    let scopes = board.read("scopes");
    assert!(scopes.contains("--scope setsid sh "), "logind may end the job with its session: {scopes}");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_whose_self_test_hangs_is_taken_back() {
    let board = Loopback::new();
    // Only the whole self-test hangs; nothing else is to be ended.
    let timeout = r#"#!/bin/sh
limit="$4"
case "$*" in *" --json "*) limit=1 ;; esac
shift 4
exec /usr/bin/timeout --foreground -k 10 "$limit" "$@"
"#;
    board.script("bin/timeout", timeout);
    let error = board.refusal("hangs");
    assert!(error.contains("ended with code 124; the board went back and runs version 1"), "{error}");
    assert!(error.contains("had not ended after"), "{error}");
    board.expect_as_before();
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_way_back_is_seen_to_have_worked() {
    let board = Loopback::new();
    fs::write(board.path("root/1-never-starts"), "").unwrap();
    let error = board.refusal("later-fails");
    assert!(error.contains("went back to version 1, whose service does not stay up either"), "{error}");
    assert_eq!(board.runs(), "1");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_service_that_its_owner_disabled_is_not_started() {
    let board = Loopback::new();
    board.script("root/var/lib/repedge/versions/1/bin/camera-demo", DONE);
    fs::write(board.path("root/disabled"), "").unwrap();
    fs::remove_file(board.path("root/up")).unwrap();
    board.flash("2").unwrap();
    assert_eq!(board.systemctl(), format!("daemon-reload\nstop {UNIT}\n"));
    assert!(!board.path("root/up").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_replayed_package_is_refused_before_anything_of_it_is_in_place() {
    let board = Loopback::new();
    let unit = board.path("root/usr/lib/systemd/system").join(UNIT);
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "1\n").unwrap();
    fs::write(board.path("root/var/lib/repedge/minimum-security-version"), "3\n").unwrap();
    let refuses = |runs: &str, unsigned| {
        let error = format!("{:#}", board.flash_as("replayed", unsigned).unwrap_err());
        assert!(error.contains(&format!("refused version replayed and runs {runs} as before")), "{error}");
        assert!(error.contains("has security version 2, expected at least 3"), "{error}");
        assert_eq!(fs::read_to_string(&unit).unwrap(), "1\n");
        assert!(!board.path("root/installing").exists() && !board.path("root/usr/lib/repedge").exists());
        assert!(!board.path("root/etc/repedge/allow-unsigned").exists(), "{error}");
    };
    refuses("version 1", Unsigned::AsTheBoardSays);
    refuses("version 1", Unsigned::Allow);
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    refuses("no version", Unsigned::AsTheBoardSays);
    board.flash("2").unwrap();
    assert_eq!((board.runs().as_str(), fs::read_to_string(&unit).unwrap().as_str()), ("2", "2\n"));
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_disk_that_is_full_while_it_installs_leaves_the_old_version_running() {
    let board = Loopback::new();
    let cp = r#"#!/bin/sh
if [ "$1" = -R ]; then
    mkdir "$3" && echo half >"$3/VERSION"
    echo "cp: No space left on device" >&2
    exit 1
fi
exec /bin/cp "$@"
"#;
    board.script("bin/cp", cp);
    let error = board.refusal("2");
    for part in [
        "version 2 was not put into service, the board runs version 1",
        "No space left on device",
        "version 1 runs",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(board.path("root/up").exists() && board.runs() == "1");
    assert!(!board.path("root/var/lib/repedge/versions/.new-2").exists(), "half a version is left");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_disk_without_room_for_the_outcome_is_told() {
    let board = Loopback::new();
    // What was not written whole must not replace anything.
    let mv =
        "#!/bin/sh\n[ ! -L \"$1\" ] || { touch \"$REPEDGE_ROOT/moved\"; exit 1; }\nexec /bin/mv \"$@\"\n";
    board.script("bin/mv", mv);
    let outcome = board.path("root/var/lib/repedge/flash/.outcome");
    fs::create_dir_all(outcome.parent().unwrap()).unwrap();
    symlink("/dev/full", &outcome).unwrap();
    let error = board.refusal("2");
    assert!(error.contains("nothing was installed, the board runs version 1 as before"), "{error}");
    assert!(error.contains("make room on that disk") && !board.path("root/installing").exists(), "{error}");

    fs::remove_file(&outcome).unwrap();
    let error = board.refusal("fills-disk");
    assert!(error.contains("full disk how that ended: it runs version fills-disk"), "{error}");
    assert!(!board.path("root/moved").exists() && !board.path("root/tmp").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_fails_its_self_test_is_taken_back() {
    let board = Loopback::new();
    fs::write(board.path("self-test.json"), r#"{"verdict": "pass"}"#).unwrap();
    let error = board.refusal("later-fails");
    assert!(
        error.contains(
            "failed its self-test: fail on tract, 12.5 fps; the board went back and runs version 1"
        ),
        "{error}"
    );
    board.expect_as_before();
    assert_eq!(board.verdict().as_deref(), Some("fail"), "the report of a version that failed is kept");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_version_that_nobody_signed_goes_into_service_where_that_is_allowed() {
    let board = Loopback::new();
    let error = board.refusal("unsigned");
    assert!(error.contains("refused version unsigned and runs version 1 as before"), "{error}");
    for part in ["no signature beside it", "build-board BOARD --sign KEY", "--allow-unsigned", "touch "] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!board.path("root/installing").exists() && board.path("root/up").exists());
    fs::create_dir_all(board.path("root/etc/repedge")).unwrap();
    fs::write(board.path("root/etc/repedge/allow-unsigned"), "").unwrap();
    board.flash("unsigned").unwrap();
    assert_eq!(board.self_tests(), "unsigned quick\nunsigned\n");
    assert!(!board.path("root/minimum").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn an_unsigned_first_version_needs_the_word_of_who_flashes() {
    let board = Loopback::new();
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    let error = board.refusal("unsigned");
    assert!(error.contains("not put into service, the board runs no version"), "{error}");
    for part in ["version unsigned is not signed", "build-board BOARD --sign KEY", "--allow-unsigned"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!((board.self_tests().as_str(), board.path("root/etc/repedge").exists()), ("", false));

    board.flash_as("unsigned", Unsigned::Allow).unwrap();
    assert_eq!(board.runs(), "unsigned");
    assert!(board.path("root/etc/repedge/allow-unsigned").exists());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_flash_says_that_it_allows_what_nobody_signed() {
    let board = Loopback::new();
    let trust = board.trust("unsigned", Unsigned::Allow);
    assert!(trust.contains("this flash made /etc/repedge/allow-unsigned"), "{trust}");
    assert!(board.path("root/etc/repedge/allow-unsigned").exists());
    let trust = board.trust("unsigned", Unsigned::Allow);
    assert!(trust.contains("there was /etc/repedge/allow-unsigned before"), "{trust}");
    // The next one is told why it is taken.
    let trust = board.trust("foreign", Unsigned::AsTheBoardSays);
    assert!(trust.contains("allow-unsigned allows what nobody signed"), "{trust}");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_board_on_which_unsigned_versions_cannot_be_allowed_installs_nothing() {
    let board = Loopback::new();
    fs::write(board.path("root/etc"), "no folder").unwrap();
    let error = format!("{:#}", board.flash_as("unsigned", Unsigned::Allow).unwrap_err());
    assert!(error.contains("refused version unsigned and runs version 1 as before"), "{error}");
    assert!(error.contains("mkdir") && !board.path("root/installing").exists(), "{error}");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_package_without_the_service_is_judged_by_its_self_test() {
    let board = Loopback::new();
    board.flash("no-service").unwrap();
    assert_eq!(board.runs(), "no-service");
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
    board.link("before/later-fails", "1");
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
    assert!(error.contains("the connection broke while the board installs and judges"), "{error}");
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
fn a_short_copy_of_signature_or_job_is_found_too() {
    for (nth, name) in [(2, "package.deb.minisig"), (3, "job")] {
        let board = Loopback::new();
        let cat = format!(
            r#"#!/bin/sh
[ $# = 0 ] || exec /bin/cat "$@"
echo >>"$REPEDGE_ROOT/copies"
[ "$(wc -l <"$REPEDGE_ROOT/copies")" != {nth} ] || exec head -c 5
exec /bin/cat
"#
        );
        board.script("bin/cat", &cat);
        let error = board.refusal("2");
        assert!(error.contains("the copy on the board has SHA-256"), "{error}");
        assert!(error.contains(&format!(", {name} has ")), "{error}");
        assert!(error.contains("runs version 1 as before") && !board.path("root/tmp").exists(), "{error}");
    }
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
#[ignore = "needs sshd of openssh-server"]
fn a_package_that_somebody_else_signed_is_refused_before_it_is_installed() {
    let board = Loopback::new();
    fs::write(board.path("self-test.json"), r#"{"verdict": "pass"}"#).unwrap();
    let error = board.refusal("foreign");
    assert!(error.contains("refused version foreign and runs version 1 as before"), "{error}");
    assert!(error.contains("not signed by a key that this device trusts"), "{error}");
    assert_eq!((board.runs().as_str(), board.self_tests().as_str()), ("1", ""));
    assert!(!board.path("root/installing").exists() && board.path("root/up").exists());
    assert_eq!(board.verdict(), None, "a report of another version is left");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_first_package_is_trusted_as_it_comes() {
    let board = Loopback::new();
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    let trust = board.trust("foreign", Unsigned::AsTheBoardSays);
    assert!(trust.contains("it is trusted on this first use"), "{trust}");
    assert_eq!(board.runs(), "foreign");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_first_package_is_judged_by_the_owners_keys_where_there_are_any() {
    let board = Loopback::new();
    fs::remove_file(board.path("root/var/lib/repedge/current")).unwrap();
    let files = KeyFiles::of(&board.path("keys"), "owner");
    files.generate(Protection::None).unwrap();
    let keys = board.path("root/etc/repedge/keys");
    fs::create_dir_all(&keys).unwrap();
    fs::copy(&files.public, keys.join("owner.pub")).unwrap();
    let error = board.refusal("2");
    for part in ["nothing was changed: no version runs", "(owner.pub)", "another key has signed it"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!board.path("root/tmp").exists() && !board.path("root/installing").exists());

    let package = board.package("2");
    let key = PrivateKey::read(&files.private, "test").unwrap();
    let signature = key.sign(&fs::read(&package.file).unwrap()).unwrap();
    fs::write(board.path("package.deb.minisig"), signature).unwrap();
    let package = Package::open(&package.file).unwrap();
    let (unsigned, report) = (Unsigned::AsTheBoardSays, board.path("self-test.json"));
    judge(&board.board, &package, unsigned, &mut board.connect().unwrap(), &report).unwrap();
    assert_eq!(board.runs(), "2");
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_flash_that_fails_says_that_what_it_allowed_stays() {
    let board = Loopback::new();
    let package = board.package("fails-at-once");
    let mut shell = board.connect().unwrap();
    let before = board::ask(&mut shell).unwrap();
    let mut visit = Visit { shell: &mut shell, before, folder: String::new() };
    visit.copy(&package).unwrap();
    visit.start(&package, Unsigned::Allow).unwrap();
    let outcome = outcome::follow(&mut shell).unwrap();
    outcome.judge(None).unwrap_err();
    let stays = "until that file is removed, also now that version fails-at-once was not put into service";
    assert!(outcome.trust().ends_with(stays), "{}", outcome.trust());
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_board_goes_on_when_the_cable_is_pulled_while_it_installs() {
    for (version, runs, told) in [
        ("slow-install", "slow-install", "version slow-install passed and runs"),
        ("slow-install-fails", "1", "the board went back and runs version 1"),
    ] {
        let board = Loopback::new();
        let error = thread::scope(|scope| {
            let flashing = scope.spawn(|| board.refusal(version));
            board.wait_until_followed();
            board.network.cut();
            flashing.join().unwrap()
        });
        assert!(error.contains("the connection broke while the board installs and judges"), "{error}");
        // Who comes meanwhile waits, and is told.
        let earlier = thread::scope(|scope| {
            let asking = scope.spawn(|| board.earlier());
            File::create(board.path("root/cut")).unwrap();
            asking.join().unwrap()
        });
        assert!(earlier.as_deref().is_some_and(|earlier| earlier.contains(told)), "{earlier:?}");
        assert_eq!((board.runs().as_str(), board.earlier()), (runs, None));
        assert_eq!(board.read("minimum").trim(), if runs == "1" { "" } else { runs });
        assert!(!board.path("root/tmp").exists(), "nothing is left in /var/tmp");
    }
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_second_flash_waits_for_the_first_and_goes_on() {
    let board = Loopback::new();
    thread::scope(|scope| {
        let flashing = scope.spawn(|| board.refusal("slow-install-fails"));
        board.wait_until_followed();
        board.network.cut();
        flashing.join().unwrap();
        let again = scope.spawn(|| board.flash("2"));
        File::create(board.path("root/cut")).unwrap();
        again.join().unwrap().unwrap();
    });
    assert_eq!((board.runs().as_str(), board.verdict().as_deref()), ("2", Some("pass")));
}

#[test]
#[ignore = "needs sshd of openssh-server"]
fn a_flash_that_a_power_cut_ended_is_told() {
    let board = Loopback::new();
    let flash = board.path("root/var/lib/repedge/flash");
    fs::create_dir_all(&flash).unwrap();
    for (name, text) in [("lock", ""), ("log", "installing\n"), ("outcome", "ended=\nversion=2\nbefore=1\n")]
    {
        fs::write(flash.join(name), text).unwrap();
    }
    let told = board.earlier().unwrap();
    assert!(told.contains("it runs version 1, and nobody has seen the end"), "{told}");
}

#[test]
fn a_version_whose_report_is_lost_runs_all_the_same() {
    let judged = Judged::of(Ok("2".into()), Some(Err(anyhow::anyhow!("the connection was lost"))));
    let error = format!("{:#}", judged.result.unwrap_err());
    assert!(error.contains("version 2 passed its self-test, runs and is committed"), "{error}");
    assert!(judged.report.is_none() && error.contains("the connection was lost"), "{error}");
}
