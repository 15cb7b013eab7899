//! qemu for whole machines, from the system's packages. It never removes a package: where the release's own qemu conflicts
//! with a newer part of qemu that is installed, the release's backports are asked, for this one installation.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::machine::QEMU;
use crate::debian::{self, Pins};
use crate::system::{self, Need, on_path};
use crate::workspace::{Workspace, capture, run};

const PACKAGE: &str = "qemu-system-arm";
const INSTALL: [&str; 2] = ["install", "--no-install-recommends"];

/// The emulator of whole machines.
pub const EMULATOR: Need =
    Need { name: QEMU, package: PACKAGE, purpose: "booting a board in qemu", is_met: || on_path(QEMU) };

/// Makes sure that qemu is there, installing it where we are root on Debian.
///
/// # Errors
/// Elsewhere, and when no package fits what is installed; says what to do.
pub fn provide() -> Result<()> {
    if (EMULATOR.is_met)() {
        return Ok(());
    }
    ensure!(system::may_install(), "{}", system::install_hint(&[EMULATOR]));
    eprintln!("installing: {}", system::install_hint(&[EMULATOR]));
    run(&mut system::apt_get(&["update"]))?;
    let pins = Pins::read(&Workspace::find()?)?;
    let pinned = debian::in_pinned_versions(&pins, &[PACKAGE])?;
    // What is pinned may not go with what is installed, which stays: then what apt chooses, if that does.
    if simulate(&[], &pinned).is_ok_and(|simulated| removals(&simulated).is_empty()) {
        return install(&[], &pinned);
    }
    let plain = [PACKAGE.into()];
    let simulated = simulate(&[], &plain)?;
    let removed = removals(&simulated);
    if removed.is_empty() {
        eprintln!(
            "installing the {PACKAGE} that apt chooses: what {} pins does not fit what is here",
            debian::FILE
        );
        return install(&[], &plain);
    }
    eprintln!("the release's {PACKAGE} conflicts with {}: asking its backports", removed.join(", "));
    from_backports()
}

fn from_backports() -> Result<()> {
    let list = List::new(&backports_line()?)?;
    let suite = format!("{}-backports", codename()?);
    let source = format!("Dir::Etc::SourceList={}", list.path.display());
    let options = ["-o", &source, "-t", &suite];
    run(&mut system::apt_get(&["-o", &source, "update"]))?;
    let packages = [PACKAGE.into()];
    let simulated = simulate(&options, &packages)?;
    let removed = removals(&simulated);
    ensure!(
        removed.is_empty(),
        "{PACKAGE} of {suite} would remove {}: install a {QEMU} that fits them and put it on the PATH",
        removed.join(", ")
    );
    install(&options, &packages)
}

fn install(options: &[&str], packages: &[String]) -> Result<()> {
    run(system::apt_get(&["--yes", "--no-remove"]).args(options).args(INSTALL).args(packages))
}

/// What apt-get would do.
fn simulate(options: &[&str], packages: &[String]) -> Result<String> {
    capture(system::apt_get(&["--simulate"]).args(options).args(INSTALL).args(packages))
}

/// The packages that an installation would remove.
fn removals(simulated: &str) -> Vec<&str> {
    let removed = simulated.lines().filter_map(|line| line.strip_prefix("Remv "));
    removed.filter_map(|rest| rest.split(' ').next()).collect()
}

fn backports_line() -> Result<String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let mut targets = system::apt_get(&["indextargets", "--format", format]);
    backports_of(&capture(targets.arg("Identifier: Packages"))?, &codename()?)
}

/// The source of the backports, on the server that has the release itself.
fn backports_of(targets: &str, codename: &str) -> Result<String> {
    let mut words = targets.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let is_release = |words: &Vec<&str>| words[1..] == [codename, "main"];
    let release = words.find(is_release);
    let release = release.with_context(|| format!("apt has no source of {codename}'s main packages"))?;
    Ok(format!("deb {} {codename}-backports main\n", release[0]))
}

fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("/etc/os-release has no VERSION_CODENAME")?.trim_matches('"').to_owned())
}

/// A list of sources that is gone afterwards: the system's own with one line more.
struct List {
    path: PathBuf,
}

impl List {
    fn new(line: &str) -> Result<Self> {
        let own = Path::new("/etc/apt/sources.list");
        let own = if own.is_file() { fs::read_to_string(own)? } else { String::new() };
        let path = env::temp_dir().join(format!("repedge-backports-{}.list", std::process::id()));
        fs::write(&path, format!("{own}\n{line}"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The version that qemu tells, for records.
///
/// # Errors
/// When it does not run.
pub fn version() -> Result<String> {
    let text = capture(Command::new(QEMU).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_qemu_are_pinned_in_one_version() {
        let pins = Pins::read(&Workspace::find().unwrap()).unwrap();
        let version = pins.version(PACKAGE, "amd64").unwrap();
        assert_eq!(
            pins.version("qemu-system-common", "amd64"),
            Some(version),
            "apt takes no other for {PACKAGE}"
        );
        assert!(pins.cover("qemu-system-data"));
    }

    #[test]
    fn removals_are_seen() {
        let printed =
            "Reading package lists...\nRemv qemu-utils [1:10.0.2]\nInst qemu-system-arm (1:7.2 Debian)\n";
        assert_eq!(removals(printed), ["qemu-utils"]);
        assert_eq!(removals("Inst qemu-system-arm (1:7.2 Debian)\n"), Vec::<&str>::new());
    }

    #[test]
    fn backports_come_from_where_the_release_comes_from() {
        let targets = "http://a.example/ stable-security main\nhttp://b.example/debian/ stable main\n";
        assert_eq!(
            backports_of(targets, "stable").unwrap(),
            "deb http://b.example/debian/ stable-backports main\n"
        );
        assert!(backports_of(targets, "testing").is_err());
        assert!(backports_of("\n \n", "stable").is_err());
    }

    #[test]
    fn the_list_of_sources_is_gone_afterwards() {
        let list = List::new("deb http://b.example/ x main\n").unwrap();
        let path = list.path.clone();
        assert!(fs::read_to_string(&path).unwrap().ends_with("deb http://b.example/ x main\n"));
        drop(list);
        assert!(!path.exists());
    }
}
