//! `cargo xtask test --x86-64`: the kernels' suites on emulated processors that have what this one may lack, AVX-512 and VNNI.
//! Programs are linked statically, at fixed addresses: `tests/python/emulate_x86_64.py` is all that they find there.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::python::EMULATOR;
use crate::system::{self, COMPILER};
use crate::workspace::{Workspace, run_inheriting};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const SCRIPT: &str = "tests/python/emulate_x86_64.py";
/// AVX-512 without VNNI, both, and VNNI without AVX-512.
const PROCESSORS: [&str; 3] = ["skylake-x", "tigerlake", "arrow-lake"];

/// Runs the suites, on each processor in turn.
///
/// # Errors
/// When the machine cannot be made ready, or a test fails.
pub fn test(workspace: &Workspace) -> Result<()> {
    let python = provide(workspace)?;
    for processor in PROCESSORS {
        eprintln!("on an emulated {processor}:");
        run_inheriting(&mut suites(workspace, &python, processor)?)?;
    }
    Ok(())
}

/// Installs what a fresh machine lacks, so that [`test`] starts at once.
///
/// # Errors
/// When it cannot be installed, or this is no Linux on x86_64.
pub fn set_up(workspace: &Workspace) -> Result<()> {
    provide(workspace).map(drop)
}

/// The Python that the emulator is installed for.
fn provide(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let here = (std::env::consts::ARCH, std::env::consts::OS);
    ensure!(
        here == ("x86_64", "linux"),
        "programs for {TARGET} are emulated on x86_64 Linux only, this is {here:?}"
    );
    system::provide(&[COMPILER])?;
    EMULATOR.provide(workspace)
}

/// `cargo test` of the kernels, on one processor. Threads take turns there: tests do, too.
fn suites(workspace: &Workspace, python: &Path, processor: &str) -> Result<Command> {
    let mut command = workspace.cargo("test");
    command.args([
        "--locked",
        "--target",
        TARGET,
        "--package",
        "kernels",
        "--no-fail-fast",
        "--lib",
        "--tests",
    ]);
    command.arg("--config").arg(runner(python, &workspace.join(SCRIPT), processor));
    command.args(["--", "--test-threads=1"]);
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", FLAGS);
    // Properties are tried on fewer cases.
    command.env("REPEDGE_EMULATED", "1");
    // Its own folder: other flags would have everything compiled anew.
    command.env("CARGO_TARGET_DIR", workspace.target_folder()?.join("x86-64"));
    Ok(command)
}

const FLAGS: &str = "-Ctarget-feature=+crt-static -Crelocation-model=static";

/// What cargo starts programs with: a list, since paths may hold spaces.
fn runner(python: &Path, script: &Path, processor: &str) -> String {
    let program = [python, script].map(|path| toml::Value::from(path.to_string_lossy().into_owned()));
    let list: Vec<_> = program.into_iter().chain([toml::Value::from(processor)]).collect();
    format!("target.{TARGET}.runner={}", toml::Value::from(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_is_a_list_of_one_line() {
        let found = runner(Path::new("/a b/python"), Path::new("/c/run.py"), "tigerlake");
        assert_eq!(found, format!(r#"target.{TARGET}.runner=["/a b/python", "/c/run.py", "tigerlake"]"#));
    }

    #[test]
    fn the_script_knows_the_processors() {
        let script = std::fs::read_to_string(Workspace::find().unwrap().join(SCRIPT)).unwrap();
        for processor in PROCESSORS {
            assert!(script.contains(&format!("\"{processor}\": ")), "{processor}");
        }
    }
}
