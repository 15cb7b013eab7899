//! Finds the ignored tests of the workspace in its sources, with the reason each gives, and says which can run here.
//! It never runs a test. A reason is a contract: "needs …" names what must be there for the test to run.

use std::collections::BTreeMap;

use crate::rust_source::{Line, split, words};

/// A test that runs only where something is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IgnoredTest {
    /// The package it belongs to.
    pub package: String,
    /// Name of the function.
    pub function: String,
    /// What the attribute says; empty when it says nothing.
    pub reason: String,
}

/// What a reason may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The real images beside the checkout.
    SharedData,
    /// The Python environment that `cargo xtask test` makes.
    Python,
    /// A package of Cargo.lock that is read, never compiled.
    VendorHeader,
    /// Rockchip's library for aarch64, which only `cargo xtask test --aarch64` runs.
    VendorRuntime,
    /// Rockchip's compiler, which `cargo xtask setup rknn` installs.
    Toolkit,
    /// Debian's tool that reads packages.
    Dpkg,
    /// What packs them, which `cargo xtask setup deb` installs.
    CargoDeb,
    /// systemd's reader of units.
    SystemdAnalyze,
    /// A browser without a window.
    Chromium,
    /// What tells of a file of video.
    Ffprobe,
    /// The emulator of whole machines, which `cargo xtask setup qemu` installs.
    Qemu,
    /// Debian's MQTT broker and its clients.
    Mosquitto,
    /// What disk images are made with.
    ImageTools,
    /// An ssh server that a test may start.
    Sshd,
    /// Many minutes, which only `cargo xtask test --long` takes.
    Time,
}

const NEEDS: [(Need, &str); 15] = [
    (Need::SharedData, "../shared/data"),
    (Need::Python, "the Python venv of cargo xtask"),
    (Need::VendorHeader, "the crate rknn-sys-rs"),
    (Need::VendorRuntime, "the vendor's librknnrt.so of cargo xtask test --aarch64"),
    (Need::Qemu, "qemu-system-aarch64 of cargo xtask setup qemu"),
    (Need::Toolkit, "rknn-toolkit2 of cargo xtask setup rknn"),
    (Need::Dpkg, "dpkg-deb"),
    (Need::CargoDeb, "cargo-deb of cargo xtask setup deb"),
    (Need::SystemdAnalyze, "systemd-analyze"),
    (Need::Chromium, "chromium"),
    (Need::Ffprobe, "ffprobe"),
    (Need::Mosquitto, "mosquitto"),
    (Need::ImageTools, "genimage, e2fsprogs and fakeroot"),
    (Need::Sshd, "sshd of openssh-server"),
    (Need::Time, "the time of cargo xtask test --long"),
];

/// Whether a reason begins with "needs" and names something that we know how to look for.
pub fn is_understood(reason: &str) -> bool {
    reason.starts_with("needs ") && needs_of(reason).next().is_some()
}

/// Whether everything that a reason asks for is there.
pub fn can_run(reason: &str, available: &[Need]) -> bool {
    is_understood(reason) && needs_of(reason).all(|need| available.contains(&need))
}

/// The ignored tests in one source file.
pub fn find(path: &str, text: &str) -> Vec<IgnoredTest> {
    let lines = split(text);
    let starts = (0..lines.len()).filter(|&at| lines[at].code.contains("#[ignore"));
    starts
        .filter_map(|at| {
            let function = lines[at..].iter().find_map(|line| function_name(&line.code))?;
            Some(IgnoredTest { package: package_of(path), function, reason: reason(&lines[at..]) })
        })
        .collect()
}

/// The tests that cannot run, counted by reason.
pub fn count_by_reason<'a>(tests: impl IntoIterator<Item = &'a IgnoredTest>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for test in tests {
        *counts.entry(test.reason.as_str()).or_default() += 1;
    }
    counts
}

/// The name of the package whose folder holds `path`.
fn package_of(path: &str) -> String {
    let name = match path.split('/').collect::<Vec<_>>()[..] {
        ["sdk", inner @ ("artifact" | "rknn-sys"), ..] => inner,
        ["sdk", ..] => "repedge",
        ["tests", "stand-in", inner @ ("stand-in-rga" | "stand-in-rk" | "stand-in-rv"), ..] => inner,
        ["tests", inner @ "stand-in", ..] => inner,
        [folder, ..] => folder,
        [] => "",
    };
    name.to_owned()
}

fn needs_of(reason: &str) -> impl Iterator<Item = Need> {
    NEEDS.into_iter().filter(move |(_, words)| reason.contains(words)).map(|(need, _)| need)
}

fn function_name(code: &str) -> Option<String> {
    let mut words = words(code).skip_while(|word| *word != "fn");
    words.nth(1).map(str::to_owned)
}

fn reason(lines: &[Line]) -> String {
    let end = lines.iter().position(|line| line.code.contains(']')).unwrap_or(0);
    lines[..=end].iter().map(|line| line.quoted.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"
#[test]
#[ignore = "needs ../shared/data (BCCD)"]
fn learns_bccd() {}

#[ignore]
#[test]
pub fn silent() {}

const TEXT: &str = "#[ignore] fn not_code() {}";
"##;

    #[test]
    fn tests_are_found_with_their_reasons() {
        let found = find("sdk/artifact/src/lib.rs", SOURCE);
        let pairs: Vec<_> = found.iter().map(|test| (test.function.as_str(), test.reason.as_str())).collect();
        assert_eq!(pairs, [("learns_bccd", "needs ../shared/data (BCCD)"), ("silent", "")]);
        assert_eq!(found[0].package, "artifact");
    }

    #[test]
    fn folders_name_packages() {
        assert_eq!(package_of("sdk/src/frame.rs"), "repedge");
        assert_eq!(package_of("train-host/tests/fuse.rs"), "train-host");
        assert_eq!(package_of("tests/tests/bccd.rs"), "tests");
        assert_eq!(package_of("tests/stand-in/tests/quirks.rs"), "stand-in");
        assert_eq!(package_of("tests/stand-in/stand-in-rk/src/lib.rs"), "stand-in-rk");
    }

    #[test]
    fn a_test_runs_only_where_everything_it_needs_is_there() {
        let both = "needs ../shared/data (BCCD) and the Python venv of cargo xtask setup";
        assert!(can_run(both, &[Need::SharedData, Need::Python]));
        assert!(!can_run(both, &[Need::Python]));
        assert!(!can_run("slow", &[Need::SharedData, Need::Python]));
        assert!(!is_understood("needs a board"));
    }
}
