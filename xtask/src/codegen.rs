//! `cargo xtask codegen`: regenerates what is generated and committed, or finds out that it has drifted.
//! The generator itself, bindgen's program at a pinned version, lives in the user's cache: as a dependency it would make
//! every `cargo xtask` slower.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::system::{self, LIBCLANG};
use crate::workspace::{Workspace, cache_folder, capture, run};

const BINDGEN: &str = "0.73.2";
const CRATE: &str = "sdk/rknn-sys";
/// Pointer width, and a target that has it; the structs are the same for all targets of one width.
const WIDTHS: [(u32, &str); 2] = [(64, "aarch64-unknown-linux-gnu"), (32, "armv7-unknown-linux-gnueabihf")];

/// Arguments of `cargo xtask codegen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Change nothing; fail when a committed file is not what would be generated.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
///
/// # Errors
/// When bindgen cannot be had or fails, and with `--check` when a file has drifted.
pub fn run_command(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let bindgen = provide_bindgen()?;
    let mut drifted = Vec::new();
    for (width, target) in WIDTHS {
        let fresh = generate(&workspace, &bindgen, width, target)?;
        let path = format!("{CRATE}/src/bindings/pointer{width}.rs");
        let committed = fs::read_to_string(workspace.join(&path)).unwrap_or_default();
        match (committed == fresh, args.check) {
            (true, _) => println!("ok       {path}"),
            (false, true) => drifted.push(path),
            (false, false) => {
                fs::write(workspace.join(&path), fresh).with_context(|| format!("cannot write {path}"))?;
                println!("written  {path}");
            }
        }
    }
    if !drifted.is_empty() {
        bail!("{} differ from what {CRATE}/abi gives: run `cargo xtask codegen`", drifted.join(", "));
    }
    Ok(())
}

fn generate(workspace: &Workspace, bindgen: &Path, width: u32, target: &str) -> Result<String> {
    let header = format!(
        "//! Generated from abi/abi.h by `cargo xtask codegen` for machines of {width}-bit pointers; never edited."
    );
    let mut command = Command::new(bindgen);
    // The path of the header is part of nothing that is generated.
    command.current_dir(workspace.join(CRATE)).args(["abi/abi.h", "--raw-line", &header]);
    command.args(["--dynamic-loading", "RknnTable", "--wrap-unsafe-ops"]);
    command.args(["--rust-target", "1.90", "--rust-edition", "2024", "--default-enum-style", "newtype"]);
    command.args(["--with-derive-default", "--allowlist-item", "rknn_.*|RKNN_.*"]);
    command.args(["--no-doc-comments", "--disable-header-comment", "--rustfmt-configuration-file"]);
    command.arg(workspace.join(".rustfmt.toml")).args(["--", &format!("--target={target}")]);
    capture(&mut command)
}

/// bindgen's program, compiled into the user's cache on the first call.
fn provide_bindgen() -> Result<PathBuf> {
    system::provide(&[LIBCLANG])?;
    let folder = cache_folder()?.join(format!("bindgen-{BINDGEN}"));
    let program = folder.join("bin/bindgen");
    if !program.is_file() {
        eprintln!("compiling bindgen {BINDGEN}, once");
        let mut install = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        install.args(["install", "--locked", "--version", BINDGEN, "bindgen-cli", "--root"]).arg(&folder);
        // Its build is its own: neither our target folder nor our configuration has a say.
        install.current_dir(std::env::temp_dir()).env_remove("CARGO_TARGET_DIR");
        run(&mut install)?;
    }
    Ok(program)
}
