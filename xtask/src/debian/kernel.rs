//! Which package is the kernel's: its name has the version in it, so that another one comes with another name.

use std::process::Command;

use anyhow::{Context, Result};

use super::OTHER_THAN_TESTED;
use super::apt::can_get;
use super::pins::{FILE, Pins};
use crate::workspace::capture;

/// The package that always depends on the newest kernel for 64-bit Arm.
pub const NEWEST: &str = "linux-image-arm64";

/// Whether a package of this name is a kernel.
pub fn is_kernel(name: &str) -> bool {
    name.starts_with("linux-image-")
}

/// The name of the kernel's package to take: the pinned one while it can be had, else the newest, of which it says so.
///
/// # Errors
/// When apt knows of no kernel, or offers another file as the pinned version.
pub fn to_take(pins: &Pins) -> Result<String> {
    let (name, note) = choice(pins, newest()?, |pinned| can_get(pins, &format!("{pinned}:arm64")))?;
    note.iter().for_each(|note| eprintln!("{note}"));
    Ok(name)
}

/// The kernel to take, and what there is to say about its name; of its version others say.
fn choice(
    pins: &Pins,
    newest: String,
    can_get: impl FnOnce(&str) -> Result<bool>,
) -> Result<(String, Option<String>)> {
    let Some(pinned) = pins.names("arm64").find(|name| is_kernel(name)) else { return Ok((newest, None)) };
    if pinned == newest || can_get(pinned)? {
        return Ok((pinned.to_owned(), None));
    }
    let note = format!("{FILE} pins {pinned}, Debian now has {newest}: {OTHER_THAN_TESTED}");
    Ok((newest, Some(note)))
}

/// The name of the newest kernel's package that apt knows.
///
/// # Errors
/// When apt knows of none.
pub fn newest() -> Result<String> {
    newest_in(&capture(Command::new("apt-cache").args(["depends", &format!("{NEWEST}:arm64")]))?)
}

/// The kernel's own package out of what `apt-cache depends` prints for the package that depends on it.
fn newest_in(printed: &str) -> Result<String> {
    let names = printed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let mut kernels = names.filter(|name| is_kernel(name));
    let kernel = kernels.next().with_context(|| format!("{NEWEST} depends on no kernel:\n{printed}"))?;
    Ok(kernel.trim_end_matches(":arm64").to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::package;
    use super::*;

    #[test]
    fn the_pinned_kernel_is_taken_while_it_can_be_had() {
        let (old, new) = ("linux-image-6.1.0-56-arm64", "linux-image-6.1.0-57-arm64");
        let pins = Pins::of(&[package(&format!("{old}:arm64"), "6.1.192-2", "a")]).unwrap();
        let taken = choice(&pins, new.into(), |name| Ok(name == old)).unwrap();
        assert_eq!(taken, (old.into(), None));
        let (taken, note) = choice(&pins, new.into(), |_| Ok(false)).unwrap();
        let note = note.unwrap();
        assert!(taken == new && note.contains(&format!("pins {old}, Debian now has {new}: ")), "{note}");
        // Whether its version is the pinned one is found with those of the other packages.
        assert_eq!(choice(&pins, old.into(), |_| Ok(false)).unwrap(), (old.into(), None));
        assert_eq!(choice(&Pins::default(), new.into(), |_| Ok(false)).unwrap(), (new.into(), None));
    }

    #[test]
    fn the_kernel_is_what_the_package_depends_on() {
        let printed = "linux-image-arm64:arm64\n  Depends: linux-image-6.1.0-56-arm64:arm64\n";
        assert_eq!(newest_in(printed).unwrap(), "linux-image-6.1.0-56-arm64");
        assert!(newest_in("linux-image-arm64:arm64\n").is_err());
    }
}
