//! System programs that the build needs and the Debian packages they come in.
//! It names what is missing and installs it only where it may (root, with apt-get); it never calls sudo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::debian::{self, Pins};
use crate::workspace::{Workspace, run, succeeds};

/// A program that must be there, and how to get it.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// What is missing, as the user knows it.
    pub name: &'static str,
    /// The Debian/Ubuntu package that has it.
    pub package: &'static str,
    /// What we need it for.
    pub purpose: &'static str,
    /// Whether the machine has it.
    pub is_met: fn() -> bool,
}

/// A C++ compiler, for torch-sys.
pub const COMPILER: Need = Need {
    name: "a C++ compiler (c++)",
    package: "g++",
    purpose: "compiling torch-sys",
    is_met: || on_path("c++"),
};

/// Python with pip, to fetch wheels.
pub const PIP: Need = Need {
    name: "pip",
    package: "python3-pip",
    purpose: "downloading the pinned wheels",
    is_met: || pip_command().is_some(),
};

/// Python's venv module with ensurepip.
pub const VENV: Need = Need {
    name: "Python's venv module",
    package: "python3-venv",
    purpose: "the environment that checks our ONNX files",
    is_met: || succeeds("python3", &["-c", "import venv, ensurepip"]),
};

/// libclang, which bindgen parses C with.
pub const LIBCLANG: Need = Need {
    name: "libclang",
    package: "libclang1",
    purpose: "generating the binding of the NPU runtime",
    is_met: || !libclang().is_empty(),
};

/// genimage, which puts disk images together.
pub const GENIMAGE: Need = Need {
    name: "genimage",
    package: "genimage",
    purpose: "disk images for boards",
    is_met: || program("genimage").is_ok(),
};

/// mke2fs and its like, which make, fill and check filesystems.
pub const E2FSPROGS: Need = Need {
    name: "mke2fs and debugfs",
    package: "e2fsprogs",
    purpose: "filesystems in disk images",
    is_met: || ["mke2fs", "debugfs", "dumpe2fs", "e2fsck"].iter().all(|name| program(name).is_ok()),
};

/// fakeroot, which shows a program owners and devices that only root could make.
pub const FAKEROOT: Need = Need {
    name: "fakeroot",
    package: "fakeroot",
    purpose: "owners and devices in disk images",
    is_met: || program("fakeroot").is_ok(),
};

/// An ssh client.
pub const SSH: Need = Need {
    name: "ssh",
    package: "openssh-client",
    purpose: "flashing boards over ssh",
    is_met: || on_path("ssh"),
};

/// An ssh server, which a test starts for itself on a port of its own.
pub const SSHD: Need = Need {
    name: "sshd",
    package: "openssh-server",
    purpose: "testing what flashes boards over ssh",
    is_met: || program("sshd").is_ok(),
};

/// Checks that every need is met, and installs nothing.
///
/// # Errors
/// Names what is missing and the command that installs it.
pub fn expect(needs: &[Need]) -> Result<()> {
    let missing = unmet(needs);
    ensure!(missing.is_empty(), "missing: {}", install_hint(&missing));
    Ok(())
}

/// Makes sure that every need is met, installing packages where we are root on Debian.
///
/// # Errors
/// Names what is missing and the command that installs it.
pub fn provide(needs: &[Need]) -> Result<()> {
    let missing = unmet(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let hint = install_hint(&missing);
    if !may_install() {
        bail!("{hint}");
    }
    eprintln!("installing: {hint}");
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    install(&packages)?;
    match unmet(needs) {
        still if still.is_empty() => Ok(()),
        still => bail!("still missing after the installation: {}", install_hint(&still)),
    }
}

/// Installs what is missing where we may; elsewhere says what is left out, because nothing depends on it.
///
/// # Errors
/// When an installation that we may do fails.
pub fn provide_optional(needs: &[Need]) -> Result<()> {
    let missing = unmet(needs);
    if missing.is_empty() || may_install() {
        return provide(needs);
    }
    eprintln!("not installed: {}", install_hint(&missing));
    Ok(())
}

/// Installs packages of another architecture, where we are root on Debian.
///
/// # Errors
/// Elsewhere, and when the installation fails; names the commands, after `otherwise`, another way to the same.
pub fn install_foreign(architecture: &str, packages: &[&str], otherwise: &str) -> Result<()> {
    let list = packages.join(" ");
    let hint = format!(
        "{otherwise} `sudo dpkg --add-architecture {architecture} && sudo apt-get update && sudo apt-get install {list}`"
    );
    if !may_install() {
        bail!("missing for {architecture}: {list} ({hint})");
    }
    eprintln!("installing: {list}");
    run(Command::new("dpkg").args(["--add-architecture", architecture]))?;
    install(packages)
}

/// Installs packages, the pinned of them and of what they bring along in their pinned versions where that can be.
fn install(packages: &[&str]) -> Result<()> {
    read_lists_anew();
    let install =
        |packages: &[String]| run(apt_get(&["install", "--yes", "--no-install-recommends"]).args(packages));
    let pins = Pins::read(&Workspace::find()?)?;
    let plain: Vec<_> = packages.iter().copied().map(String::from).collect();
    let pinned = debian::in_pinned_versions(&pins, packages)?;
    install(&pinned).or_else(|error| {
        // What is installed may be newer than a pinned version beside it can be.
        ensure!(pinned != plain, error);
        eprintln!(
            "installing what apt chooses: what {} pins cannot be installed together, or not beside what is here: {error:#}",
            debian::FILE
        );
        install(&plain)
    })
}

/// Has apt read its lists anew where we may, those of another architecture among them, and makes sure that it knows a package
/// of that.
///
/// # Errors
/// Names the commands that make it known.
pub fn renew_foreign_lists(architecture: &str, package: &str) -> Result<()> {
    let hint = format!("`sudo dpkg --add-architecture {architecture} && sudo apt-get update`, on Debian");
    if may_install() {
        run(Command::new("dpkg").args(["--add-architecture", architecture]))?;
        read_lists_anew();
    } else {
        eprintln!("going by the lists of packages that there are: {hint} brings new ones");
    }
    let foreign = format!("{package}:{architecture}");
    ensure!(succeeds("apt-cache", &["show", "--quiet", &foreign]), "apt knows no package {foreign} ({hint})");
    Ok(())
}

/// The command that runs pip, as words: `python3 -m pip` where that works.
pub fn pip_command() -> Option<&'static [&'static str]> {
    const CANDIDATES: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
    CANDIDATES.into_iter().find(|words| {
        let arguments = [&words[1..], &["--version"]].concat();
        succeeds(words[0], &arguments)
    })
}

/// Whether a program of this name lies in a folder of PATH.
pub fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

/// The path of a program, also where only an administrator's PATH leads.
///
/// # Errors
/// When it is not installed; names the package that has it, where we know it.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut files = env::split_paths(&path).chain(administrators).map(|folder| folder.join(name));
    let found = files.find(|file| is_program(file));
    let package = match name {
        "mke2fs" | "debugfs" | "dumpe2fs" | "e2fsck" => "e2fsprogs",
        "sshd" => "openssh-server",
        other => other,
    };
    found.with_context(|| format!("{name} is not installed (`sudo apt-get install {package}`)"))
}

/// What is missing, what for, and the command that installs it.
pub fn install_hint(missing: &[Need]) -> String {
    let what: Vec<_> = missing.iter().map(|need| format!("{} for {}", need.name, need.purpose)).collect();
    let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    format!("{} (`sudo apt-get install {}`)", what.join(", "), packages.join(" "))
}

/// Every libclang in the folders that bindgen looks into; it takes one of them.
pub fn libclang() -> Vec<PathBuf> {
    let named = env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let system = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let below = |folder: &PathBuf| entries(folder).into_iter().flat_map(|entry| [entry.join("lib"), entry]);
    let folders: Vec<_> =
        named.into_iter().chain(system.iter().flat_map(below)).chain(system.clone()).collect();
    folders.iter().flat_map(entries).filter(|file| is_libclang(file)).collect()
}

fn is_libclang(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // `libclang-cpp` is another library.
    let versioned = name.strip_prefix("libclang-").is_some_and(|rest| rest.starts_with(char::is_numeric));
    name.starts_with("libclang.so") || versioned && name.contains(".so")
}

fn entries(folder: &PathBuf) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Whether every need is met.
pub fn are_met(needs: &[Need]) -> bool {
    unmet(needs).is_empty()
}

fn unmet(needs: &[Need]) -> Vec<Need> {
    needs.iter().filter(|need| !(need.is_met)()).copied().collect()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Whether packages can be installed: we are root on Debian, or on what is made from it.
pub fn may_install() -> bool {
    is_root() && on_path("apt-get")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A list that cannot be had, such as one that its mirror is just replacing, says nothing about the packages asked for:
/// whether those can be had is for the installation to say.
fn read_lists_anew() {
    if let Err(error) = run(&mut apt_get(&["update"])) {
        eprintln!("going on with the lists of packages that there are: {error:#}");
    }
}

/// apt-get that asks nothing.
pub fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Need = Need { name: "frobnicator", package: "frob", purpose: "tests", is_met: || false };

    #[test]
    fn a_hint_names_purpose_and_command() {
        let hint = install_hint(&[ABSENT]);
        assert_eq!(hint, "frobnicator for tests (`sudo apt-get install frob`)");
    }

    #[test]
    fn met_needs_change_nothing() {
        let met = Need { is_met: || true, ..ABSENT };
        expect(&[met]).unwrap();
        let error = expect(&[met, ABSENT]).unwrap_err().to_string();
        assert_eq!(error, "missing: frobnicator for tests (`sudo apt-get install frob`)");
        provide(&[met]).unwrap();
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program-of-ours"));
    }
}
