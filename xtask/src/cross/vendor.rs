//! The linker of a vendor's SDK, for boards whose C library no public registry has a linker for: named by cargo's own variable for
//! it, else found on the PATH by the name in the board's file. It must say that it links for the board.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use boards::Target;

use super::{Missing, variable};
use crate::system;
use crate::workspace::capture;

/// A vendor's C compiler, which links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    program: PathBuf,
    version: String,
    /// The folder of its headers; empty where it has none of its own.
    sysroot: String,
}

impl Vendor {
    /// The program.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Has a cargo command link, compile C and read C headers with it.
    pub fn hand_to(&self, cargo: &mut Command, triple: &str) {
        let words = triple.replace('-', "_");
        cargo.env(linker_variable(triple), &self.program).env(format!("CC_{words}"), &self.program);
        if !self.sysroot.is_empty() {
            let name = format!("BINDGEN_EXTRA_CLANG_ARGS_{words}");
            cargo.env(name, format!("--sysroot={}", self.sysroot));
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        write!(out, "{name} {}", self.version)
    }
}

/// The linker for a target.
///
/// # Errors
/// That there is none, or that the one there is links for something else.
pub fn find(target: &Target) -> Result<Vendor, Missing> {
    let named = env::var(linker_variable(&target.triple)).ok().filter(|name| !name.is_empty());
    look(target, named.as_deref())
}

/// As [`find`], with what the variable says.
fn look(target: &Target, named: Option<&str>) -> Result<Vendor, Missing> {
    let variable = linker_variable(&target.triple);
    let usual = target.vendor_linker.as_deref().unwrap_or("cc");
    let missing = |purpose: String| Missing {
        what: named.unwrap_or(usual).to_owned(),
        purpose,
        remedy: format!(
            "`export {variable}=/path/of/the/SDK/bin/{usual}`, with the path of your vendor's SDK, or have its folder on PATH"
        ),
    };
    let program = system::program(named.unwrap_or(usual)).map_err(|_| {
        missing(match named {
            Some(_) => {
                format!(
                    "which {variable} names, and which is no program: an absolute path, or a name on PATH"
                )
            }
            None => "which links the programs, and which only the vendor's SDK has".into(),
        })
    })?;
    let ask = |argument: &str| {
        capture(Command::new(&program).arg(argument)).map(|text| text.trim().to_owned()).map_err(|error| {
            missing(format!("which links the programs, and which does not answer: {error:#}"))
        })
    };
    let machine = ask("-dumpmachine")?;
    if !is_for(&target.triple, &machine) {
        return Err(missing(format!(
            "which links for {machine:?}, and {} is expected, such as {usual} links for",
            target.triple
        )));
    }
    let (version, sysroot) = (ask("-dumpversion")?, ask("-print-sysroot")?);
    Ok(Vendor { program, version, sysroot })
}

/// Whether a compiler for this machine links for a target. Vendors put names of their own between, so that the ends count: the
/// processor, and the C library with the way floats are passed.
fn is_for(triple: &str, machine: &str) -> bool {
    let ends = |name: &str| {
        let mut words = name.split('-');
        let first = words.next().unwrap_or_default().to_owned();
        (first, words.next_back().unwrap_or_default().replacen("gnu", "", 1))
    };
    let ((processor, library), (theirs, their_library)) = (ends(triple), ends(machine));
    // Rust names the version of the processor, compilers the family.
    !theirs.is_empty() && processor.starts_with(&theirs) && library == their_library
}

fn linker_variable(triple: &str) -> String {
    variable("CARGO_TARGET", triple, "LINKER")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use boards::Board;

    use super::*;

    const VARIABLE: &str = "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_UCLIBCEABIHF_LINKER";
    const MACHINE: &str = "arm-rockchip830-linux-uclibcgnueabihf";

    /// The board's target, its linker under a name that nobody has on the PATH.
    fn target() -> Target {
        let target = Board::find("rv1106").unwrap().target.unwrap();
        assert_eq!(target.vendor_linker.as_deref(), Some("arm-rockchip830-linux-uclibcgnueabihf-gcc"));
        Target { vendor_linker: Some(format!("{MACHINE}-gcc-of-nobody")), ..target }
    }

    /// A linker that says what it links for, and the folder that it lies in.
    fn stand_in(machine: &str, mode: u32) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{MACHINE}-gcc"));
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in\n-dumpmachine) echo {machine} ;;\n-dumpversion) echo 8.3.0 ;;\n-print-sysroot) echo /sdk ;;\nesac\n"
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let named = path.display().to_string();
        (folder, named)
    }

    #[test]
    fn the_linker_that_is_named_links() {
        let (_folder, named) = stand_in(MACHINE, 0o755);
        let vendor = look(&target(), Some(&named)).unwrap();
        assert_eq!(vendor.to_string(), format!("{MACHINE}-gcc 8.3.0"));
        let mut cargo = Command::new("cargo");
        vendor.hand_to(&mut cargo, &target().triple);
        let set: Vec<_> = cargo.get_envs().map(|(name, value)| (name.to_str().unwrap(), value)).collect();
        let program = Some(named.as_ref());
        for (name, value) in [
            (VARIABLE, program),
            ("CC_armv7_unknown_linux_uclibceabihf", program),
            ("BINDGEN_EXTRA_CLANG_ARGS_armv7_unknown_linux_uclibceabihf", Some("--sysroot=/sdk".as_ref())),
        ] {
            assert!(set.contains(&(name, value)), "{name}: {set:?}");
        }
    }

    #[test]
    fn what_cannot_link_is_named_with_the_command_that_mends_it() {
        let refused = |named: Option<&str>| {
            let missing = look(&target(), named).unwrap_err();
            assert!(missing.remedy.starts_with(&format!("`export {VARIABLE}=/")), "{missing:?}");
            (missing.what, missing.purpose)
        };
        let (what, purpose) = refused(None);
        assert!(what.contains("arm-rockchip830") && purpose.contains("vendor's SDK"), "{what}, {purpose}");
        let (what, purpose) = refused(Some("/no/such/linker"));
        assert!(what == "/no/such/linker" && purpose.contains(VARIABLE), "{what}, {purpose}");
        let (_folder, named) = stand_in(MACHINE, 0o644);
        assert!(refused(Some(&named)).1.contains("no program"));
        for wrong in ["x86_64-linux-gnu", "arm-linux-gnueabihf", "arm-rockchip830-linux-uclibcgnueabi", ""] {
            let (_folder, named) = stand_in(wrong, 0o755);
            let (_, purpose) = refused(Some(&named));
            assert!(purpose.contains(&format!("{wrong:?}")) && purpose.contains("uclibceabihf"), "{purpose}");
        }
    }

    #[test]
    fn a_linker_of_another_name_fits_by_what_it_links_for() {
        assert!(is_for("armv7-unknown-linux-uclibceabihf", "arm-buildroot-linux-uclibcgnueabihf"));
        assert!(is_for("aarch64-unknown-linux-musl", "aarch64-linux-musl"));
        assert!(!is_for("aarch64-unknown-linux-musl", "arm-linux-musleabihf"));
    }
}
