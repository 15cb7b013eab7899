//! What apt offers, and what of it is taken: the pinned version while it can be had, else the one that apt would take, which is
//! said once for each package. It reads apt's lists, and never renews them.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::pins::{FILE, Pins, Standing};
use super::{OTHER_THAN_TESTED, Package};
use crate::system;

/// A package as apt offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What apt would take.
    pub candidate: Package,
    /// Every version that a server has.
    versions: Vec<Package>,
}

/// What is taken of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    package: Package,
    /// What there is to say about it.
    note: Option<String>,
}

/// Of each package that apt knows, the one to take; says on standard error where that is not the pinned one.
///
/// # Errors
/// When apt cannot be asked, or offers another file as the pinned version.
pub fn choose(pins: &Pins, names: &[String]) -> Result<Vec<Package>> {
    let choices = offers(names)?.into_iter().map(|offer| offer.choice(pins));
    let told = |choice: Choice| {
        choice.note.iter().for_each(|note| eprintln!("{note}"));
        choice.package
    };
    choices.map(|choice| choice.map(told)).collect()
}

/// Whether the pinned version of a package can be had.
///
/// # Errors
/// As [`choose`].
pub fn can_get(pins: &Pins, name: &str) -> Result<bool> {
    let offers = offers(&[name.to_owned()])?;
    offers.iter().try_fold(false, |found, offer| Ok(found || offer.pinned(pins)?.is_some()))
}

/// The packages to install so that these come in their pinned versions, and so does what they bring along: as far as apt has
/// them.
///
/// # Errors
/// As [`choose`].
pub fn in_pinned_versions(pins: &Pins, packages: &[&str]) -> Result<Vec<String>> {
    let mut install = system::apt_get(&["--simulate", "install", "--no-install-recommends"]);
    let simulated = install.args(packages).stdin(Stdio::null()).output().context("cannot start apt-get")?;
    // What cannot be installed brings nothing along, and the installation says why.
    let simulated = String::from_utf8_lossy(&simulated.stdout);
    let pinned: Vec<_> = installed(&simulated).filter(|name| pins.cover(name)).map(String::from).collect();
    if pinned.is_empty() {
        return Ok(packages.iter().copied().map(String::from).collect());
    }
    // In another version than the pinned, a package may not go with the version of one that it comes with: apt knows which does.
    let chosen = choose(pins, &pinned)?.into_iter().filter(|package| pins.has(package));
    Ok(with_versions(packages, &chosen.collect::<Vec<_>>()))
}

/// These packages as apt takes them, where one was chosen in its version.
fn with_versions(packages: &[&str], chosen: &[Package]) -> Vec<String> {
    let is_chosen = |name: &str| chosen.iter().any(|package| package.name == plain(name));
    let others = packages.iter().copied().filter(|name| !is_chosen(name)).map(String::from);
    others.chain(chosen.iter().map(Package::exactly)).collect()
}

/// The packages in what `apt-get --simulate install` prints, lines such as `Inst libc6:arm64 (2.36-9 Debian:12 [arm64])`.
fn installed(simulated: &str) -> impl Iterator<Item = &str> {
    let lines = simulated.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split(' ').next())
}

/// What apt offers of packages; nothing of those that it does not know.
///
/// # Errors
/// When apt cannot be asked.
pub fn offers(names: &[String]) -> Result<Vec<Offer>> {
    Ok(grouped(&show(names, "--no-all-versions")?, show(names, "--all-versions")?))
}

/// Offers by package: the first version that was shown is the newest.
pub fn grouped(candidates: &[Package], versions: Vec<Package>) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for version in versions {
        let is_same = |other: &Package| other.full_name() == version.full_name();
        if let Some(offer) = offers.iter_mut().find(|offer| is_same(&offer.candidate)) {
            offer.versions.push(version);
        } else {
            // The newest, where the candidate is installed and no server has it any more.
            let candidate = candidates.iter().find(|other| is_same(other)).unwrap_or(&version).clone();
            offers.push(Offer { candidate, versions: vec![version] });
        }
    }
    offers
}

fn show(names: &[String], versions: &str) -> Result<Vec<Package>> {
    let mut show = Command::new("apt-cache");
    show.args(["show", "--quiet", versions]).args(names).stdin(Stdio::null());
    // It fails where it knows none of them, and shows the others where it knows some.
    let output = show.output().context("cannot start apt-cache, which is Debian's")?;
    Ok(records(&String::from_utf8_lossy(&output.stdout)))
}

/// The packages in what `apt-cache show` prints. Those without a digest are installed, and no server has them.
fn records(shown: &str) -> Vec<Package> {
    let record = |text: &str| {
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            values.next().map(String::from)
        };
        let (name, architecture) = (field("Package")?, field("Architecture")?);
        Some(Package { name, architecture, version: field("Version")?, sha256: field("SHA256")? })
    };
    shown.split("\n\n").filter_map(record).collect()
}

/// A package's name without its architecture.
fn plain(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

impl Offer {
    fn choice(&self, pins: &Pins) -> Result<Choice> {
        let candidate = &self.candidate;
        if let Some(pinned) = self.pinned(pins)? {
            return Ok(Choice { package: pinned.clone(), note: None });
        }
        let note = match pins.judge(candidate)? {
            Standing::Other(pinned) => Some(format!(
                "{FILE} pins {} {pinned}, Debian now has {}: {OTHER_THAN_TESTED}",
                candidate.full_name(),
                candidate.version
            )),
            Standing::Pinned | Standing::Unnamed => None,
        };
        Ok(Choice { package: candidate.clone(), note })
    }

    /// The pinned version, where a server has it. All that have it must have the same.
    fn pinned(&self, pins: &Pins) -> Result<Option<&Package>> {
        let mut pinned = None;
        for version in &self.versions {
            if pins.judge(version)? == Standing::Pinned {
                pinned = Some(version);
            }
        }
        Ok(pinned)
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::package;
    use super::*;

    fn offer(versions: &[Package]) -> Offer {
        let mut offers = grouped(&versions[..1], versions.to_vec());
        assert_eq!(offers.len(), 1);
        offers.remove(0)
    }

    #[test]
    fn the_pinned_version_is_taken_while_a_server_has_it() {
        let (old, new) = (package("libc6:arm64", "2.36-9", "a"), package("libc6:arm64", "2.36-10", "b"));
        let pins = Pins::of(from_ref(&old)).unwrap();
        let choice = offer(&[new, old.clone()]).choice(&pins).unwrap();
        assert_eq!(choice, Choice { package: old, note: None });
    }

    #[test]
    fn another_version_is_taken_where_the_pinned_one_is_gone_and_told() {
        let (old, new) = (package("libc6:arm64", "2.36-9", "a"), package("libc6:arm64", "2.36-10", "b"));
        let pins = Pins::of(&[old]).unwrap();
        let choice = offer(from_ref(&new)).choice(&pins).unwrap();
        let note = choice.note.unwrap();
        for part in [FILE, "libc6:arm64 2.36-9,", "has 2.36-10:", "`cargo xtask setup pins`"] {
            assert!(note.contains(part), "{part}: {note}");
        }
        assert_eq!(choice.package, new);
        assert!(!choice.package.used(&pins).pinned);
    }

    #[test]
    fn a_server_with_another_file_as_the_pinned_version_is_refused() {
        let (right, wrong) = (package("libc6:arm64", "2.36-9", "a"), package("libc6:arm64", "2.36-9", "b"));
        let pins = Pins::of(from_ref(&right)).unwrap();
        for versions in [vec![wrong.clone()], vec![right.clone(), wrong.clone()], vec![wrong, right]] {
            let error = offer(&versions).choice(&pins).unwrap_err().to_string();
            assert!(error.contains("libc6:arm64 2.36-9 has SHA-256 bbbb"), "{error}");
        }
    }

    #[test]
    fn packages_without_a_pin_are_taken_as_they_come() {
        let gone = package("busybox:arm64", "1", "a");
        let choice = offer(from_ref(&gone)).choice(&Pins::default()).unwrap();
        assert_eq!(choice, Choice { package: gone, note: None });
    }

    #[test]
    fn what_servers_have_is_read_from_what_apt_shows() {
        let [first, second] = ["a", "b"].map(|digit| digit.repeat(64));
        let shown = format!(
            "Package: libc6\nSource: glibc\nVersion: 2.36-9\nArchitecture: arm64\nDescription: the\n Version: no\nSHA256: {first}\n\n\
             Package: qemu\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:10\n\n\
             Package: libc6\nVersion: 2.36-8\nArchitecture: arm64\nSHA256: {second}\n\n"
        );
        let (new, old) = (package("libc6:arm64", "2.36-9", "a"), package("libc6:arm64", "2.36-8", "b"));
        assert_eq!(records(&shown), [new.clone(), old.clone()]);
        let offered = grouped(from_ref(&old), records(&shown));
        assert_eq!(offered, [Offer { candidate: old.clone(), versions: vec![new.clone(), old.clone()] }]);
        let without_candidate = grouped(&[], records(&shown));
        assert_eq!(without_candidate, [Offer { candidate: new.clone(), versions: vec![new, old] }]);
    }

    #[test]
    fn what_an_installation_brings_along_is_asked_for_in_its_version() {
        let simulated = "NOTE: This is only a simulation!\nInst gcc-12 (12.2.0-14 Debian:12/stable [amd64])\nInst \
                         libc6:arm64 [2.36-8] (2.36-9 Debian:12 [arm64])\nConf gcc-12 (12.2.0-14 Debian:12 [amd64])\n";
        assert!(installed(simulated).eq(["gcc-12", "libc6:arm64"]));
        let chosen = [package("gcc-12:amd64", "12.2.0-14", "a"), package("libc6:arm64", "2.36-9", "b")];
        let asked = with_versions(&["gcc", "libc6:arm64"], &chosen);
        assert_eq!(asked, ["gcc", "gcc-12:amd64=12.2.0-14", "libc6:arm64=2.36-9"]);
    }
}
