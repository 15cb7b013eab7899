//! `cargo xtask test`: makes the machine ready, then runs every test that can run here in reasonable time.
//! Tests whose needs are not there are left out and named with their reason; they never pass silently.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::check::Tree;
use crate::cross::pinned;
use crate::ignored::{self, IgnoredTest, Need};
use crate::system::{self, COMPILER, SSH, SSHD};
use crate::workspace::{Workspace, run_inheriting, succeeds};
use crate::{aarch64, armhf, cargo_deb, headers, image, libtorch, python, test_board, workspace, x86_64};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Instead run the suites of what ships to boards, compiled for aarch64, under qemu.
    #[arg(long, conflicts_with = "arguments")]
    aarch64: bool,
    /// Instead run what has another layout on 32-bit Arm, compiled for it, under qemu.
    #[arg(long, conflicts_with_all = ["arguments", "aarch64"])]
    armhf: bool,
    /// Instead run the suites of the kernels on emulated processors with AVX-512 and VNNI.
    #[arg(long = "x86-64", conflicts_with_all = ["arguments", "aarch64", "armhf"])]
    x86_64: bool,
    /// Also run the tests that take many minutes each.
    #[arg(long, conflicts_with_all = ["aarch64", "armhf", "x86_64"])]
    long: bool,
    /// Further arguments for `cargo nextest run` (or `cargo test`), such as a test's name.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the machine cannot be made ready or a test fails.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    if args.aarch64 {
        return aarch64::test(&workspace);
    }
    if args.armhf {
        return armhf::test(&workspace);
    }
    if args.x86_64 {
        return x86_64::test(&workspace);
    }
    system::provide(&[COMPILER])?;
    system::provide_optional(&image::TOOLS)?;
    headers::provide(&workspace)?;
    let bench = Bench {
        libtorch: libtorch::provide(&workspace)?,
        python: python::TESTS.provide(&workspace)?,
        shared_data: shared_data(&workspace)?,
        patience: if args.long { Patience::Long } else { Patience::Usual },
        workspace,
    };
    let (ready, left_out) = bench.sort_ignored()?;
    // The end-to-end suites start the programs. Built together with the tests, because alone they would ask other features
    // of what both depend on, and all of that would be compiled twice.
    workspace::run(bench.cargo("build")?.args(WHAT).args(["--bins", "--tests"]))?;
    if args.arguments.is_empty() {
        // First, so that the last lines printed are the summary of the tests proper.
        run_inheriting(bench.cargo("test")?.args(WHAT).args(["--doc", "--quiet"]))?;
        let programs = bench.workspace.target_folder()?.join("debug");
        test_board::run_all(&bench.workspace, programs.join("train-host"))?;
    }
    report_left_out(&left_out);
    if succeeds("cargo", &["nextest", "--version"]) {
        return run_inheriting(bench.nextest(&left_out)?.args(&args.arguments));
    }
    eprintln!("cargo-nextest is not installed ({}): using cargo test", pinned::install("cargo-nextest"));
    run_inheriting(bench.plain()?.args(&args.arguments))?;
    if ready.is_empty() {
        return Ok(());
    }
    run_inheriting(bench.plain()?.args(["--", "--ignored"]).args(ready.iter().map(|test| &test.function)))
}

/// What is tested: every package, with cameras and displays, as the programs of boards have them.
const WHAT: [&str; 3] = ["--workspace", "--features", "examples/camera,examples/screen,camera-probe/camera"];
/// What tests of flashing over ssh need. Only `cargo xtask setup flash` installs it: its package starts a server.
const SSH_TOOLS: [system::Need; 2] = [SSH, SSHD];

/// What the tests run with.
struct Bench {
    workspace: Workspace,
    libtorch: PathBuf,
    python: PathBuf,
    shared_data: Option<PathBuf>,
    patience: Patience,
}

/// How long tests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// What each change can wait for.
    Usual,
    /// Many minutes a test.
    Long,
}

impl Bench {
    /// The ignored tests that can run here, and those that cannot.
    fn sort_ignored(&self) -> Result<(Vec<IgnoredTest>, Vec<IgnoredTest>)> {
        let mut available = vec![Need::Python];
        available.extend(self.shared_data.as_ref().map(|_| Need::SharedData));
        available.extend(has_vendor_header(&self.workspace).then_some(Need::VendorHeader));
        available.extend(python::RKNN.is_there(&self.workspace).then_some(Need::Toolkit));
        for (program, need) in [
            ("dpkg-deb", Need::Dpkg),
            ("systemd-analyze", Need::SystemdAnalyze),
            ("chromium", Need::Chromium),
            ("ffprobe", Need::Ffprobe),
        ] {
            available.extend(system::on_path(program).then_some(need));
        }
        available.extend(cargo_deb::find().is_ok().then_some(Need::CargoDeb));
        let broker = ["mosquitto", "mosquitto_passwd", "mosquitto_sub"];
        available.extend(broker.into_iter().all(system::on_path).then_some(Need::Mosquitto));
        available.extend(system::are_met(&image::TOOLS).then_some(Need::ImageTools));
        available.extend(system::are_met(&SSH_TOOLS).then_some(Need::Sshd));
        available.extend((self.patience == Patience::Long).then_some(Need::Time));
        available.extend(test_board::is_ready()?.then_some(Need::Qemu));
        let tree = Tree::read(&self.workspace)?;
        let sources = tree.rust_files();
        let all = sources.flat_map(|file| ignored::find(&file.path, &file.text));
        Ok(all.partition(|test| ignored::can_run(&test.reason, &available)))
    }

    fn nextest(&self, left_out: &[IgnoredTest]) -> Result<Command> {
        let mut command = self.cargo("nextest")?;
        command.arg("run").args(WHAT).args(["--no-fail-fast", "--run-ignored", "all"]);
        if let Some(filter) = filter_without(left_out) {
            command.args(["--filterset", &filter]);
        }
        Ok(command)
    }

    fn plain(&self) -> Result<Command> {
        let mut command = self.cargo("test")?;
        command.args(WHAT).args(["--no-fail-fast", "--lib", "--bins", "--tests"]);
        Ok(command)
    }

    fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = self.workspace.cargo(subcommand);
        command.env("REPEDGE_PYTHON", &self.python);
        command.env("LD_LIBRARY_PATH", library_path(&self.libtorch)?);
        if let Some(folder) = &self.shared_data {
            command.env("REPEDGE_SHARED_DATA", folder);
        }
        Ok(command)
    }
}

/// The folder of real images: REPEDGE_SHARED_DATA, else `../shared/data`, where there is one.
fn shared_data(workspace: &Workspace) -> Result<Option<PathBuf>> {
    if let Some(folder) = env::var_os("REPEDGE_SHARED_DATA").filter(|value| !value.is_empty()) {
        let folder = std::path::absolute(folder)?;
        ensure!(folder.is_dir(), "REPEDGE_SHARED_DATA={} is no folder", folder.display());
        return Ok(Some(folder));
    }
    let beside = workspace.join("../shared/data");
    if !beside.is_dir() {
        return Ok(None);
    }
    let folder = beside.canonicalize().with_context(|| format!("cannot resolve {}", beside.display()))?;
    Ok(Some(folder))
}

/// Whether the sources of the crate that holds the vendor's header of the NPU runtime are fetched; cargo fetches them
/// with the rest of Cargo.lock where it can.
fn has_vendor_header(workspace: &Workspace) -> bool {
    let Ok(metadata) = workspace.metadata(&[]) else { return false };
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifests = packages.filter(|package| package["name"] == "rknn-sys-rs").map(|p| &p["manifest_path"]);
    manifests
        .filter_map(|path| path.as_str())
        .any(|path| Path::new(path).with_file_name("rknn_api.h").is_file())
}

/// Programs of our own find libtorch by their rpath; documentation tests and other packages' tests have none.
fn library_path(libtorch: &Path) -> Result<OsString> {
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders = std::iter::once(libtorch.join("lib")).chain(env::split_paths(&before));
    env::join_paths(folders).context("LIBTORCH holds a colon")
}

/// A nextest filterset that matches everything but `tests`; `None` for everything.
fn filter_without(tests: &[IgnoredTest]) -> Option<String> {
    let one =
        |test: &IgnoredTest| format!("(package(={}) and test(/(^|::){}$/))", test.package, test.function);
    let all: Vec<_> = tests.iter().map(one).collect();
    (!all.is_empty()).then(|| format!("not ({})", all.join(" or ")))
}

fn report_left_out(tests: &[IgnoredTest]) {
    for (reason, count) in ignored::count_by_reason(tests) {
        eprintln!("left out: {count} {} ignored: {reason}", if count == 1 { "test" } else { "tests" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_names_each_test_in_its_package() {
        assert_eq!(filter_without(&[]), None);
        let test =
            IgnoredTest { package: "repedge".into(), function: "on_bccd".into(), reason: String::new() };
        let filter = filter_without(&[test.clone(), test]).unwrap();
        let one = "(package(=repedge) and test(/(^|::)on_bccd$/))";
        assert_eq!(filter, format!("not ({one} or {one})"));
    }

    #[test]
    fn libtorch_comes_first_on_the_library_path() {
        let path = library_path(Path::new("/opt/torch")).unwrap();
        assert_eq!(env::split_paths(&path).next().unwrap(), Path::new("/opt/torch/lib"));
    }
}
