//! Writes a disk image to a board over Rockchip's USB protocol. The boot ROM is given a loader first, because only a
//! loader can write; every failure says what the board's memory holds and how the board is reached again.

mod bus;
mod link;
mod loader;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::write::{self, DiskImage, Verified};
pub use bus::{Bus, Found, Mode, Seen, Usb};
use link::{Link, LinkDisk};

/// How often a board is looked for after it was given a loader.
const TRIES: u32 = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
const REACH: &str =
    "hold the board's maskrom or recovery button, connect its USB-C or OTG port, and power it on";

/// A board of which vendor and product number are known from its file.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name.
    pub board: &'a str,
    /// Its vendor and product number.
    pub ids: (u16, u16),
}

/// Writes an image to the one board that is plugged in.
///
/// # Errors
/// When there is no such board, several, or another; when it needs a loader and there is none; when writing fails.
pub fn flash(
    target: Target,
    bus: &mut dyn Bus,
    loader: Option<&Path>,
    image: &DiskImage,
) -> Result<Verified> {
    let found = target.find(bus).context("nothing was written")?;
    eprintln!("{}: {}", target.board, found.seen);
    let mut link = match found.seen.mode {
        Mode::Loader => found.link,
        Mode::Maskrom => target.start_loader(found.link, bus, loader).context(
            "no loader runs on the board; nothing was written, it holds what it held before and stays in maskrom mode \
             until it is powered off",
        )?,
    };
    let mut disk = LinkDisk::new(link.as_mut()).context("nothing was written")?;
    let verified = write::write(image, &mut disk).with_context(|| {
        format!("could not write the memory of {}\n  help: to reach it again, {REACH}", target.board)
    })?;
    link.restart().with_context(|| {
        format!(
            "{} holds the new image, verified, but could not be restarted: power it off and on",
            target.board
        )
    })?;
    Ok(verified)
}

/// What [`flash`] would do, with the steps of `writing` among it. It looks at USB and opens nothing there.
pub fn plan(target: Target, bus: &mut dyn Bus, loader: Option<&Path>, writing: Vec<String>) -> Vec<String> {
    let board = match target.look(bus) {
        Ok(seen) => format!("take {seen}"),
        Err(error) => format!("look for the board on USB (now: {error:#})"),
    };
    let loader = match loader {
        Some(loader) => format!("in maskrom mode, give it {}", loader.display()),
        None => "in maskrom mode, stop: no --loader".into(),
    };
    [vec![board, loader], writing, vec!["restart the board".into()]].concat()
}

impl Target<'_> {
    /// The one board of this kind that is plugged in, open.
    ///
    /// # Errors
    /// When there is none, several, or only others.
    fn find(&self, bus: &mut dyn Bus) -> Result<Found> {
        self.only_one(bus.list()?, |found| &found.seen)
    }

    /// The one board of this kind that is plugged in, as it shows without being opened.
    ///
    /// # Errors
    /// When there is none, several, or only others.
    pub fn look(&self, bus: &mut dyn Bus) -> Result<Seen> {
        self.only_one(bus.look()?, |seen| seen)
    }

    fn only_one<T>(&self, all: Vec<T>, seen: fn(&T) -> &Seen) -> Result<T> {
        let (mut ours, others): (Vec<T>, Vec<T>) = all.into_iter().partition(|it| seen(it).ids == self.ids);
        let (vendor, product) = self.ids;
        let list = |all: &[T]| all.iter().map(|it| seen(it).to_string()).collect::<Vec<_>>().join(", ");
        match (ours.len(), ours.pop()) {
            (1, Some(one)) => Ok(one),
            (0, _) if others.is_empty() => {
                bail!("no board on USB: expected {vendor:04x}:{product:04x}\n  help: {REACH}")
            }
            (0, _) => bail!(
                "another board is plugged in: {}; {} is {vendor:04x}:{product:04x}",
                list(&others),
                self.board
            ),
            (_, last) => {
                ours.extend(last);
                bail!("several boards are plugged in: {}; leave one", list(&ours))
            }
        }
    }

    /// Gives the boot ROM a loader and waits until that answers.
    fn start_loader(
        &self,
        mut rom: Box<dyn Link>,
        bus: &mut dyn Bus,
        file: Option<&Path>,
    ) -> Result<Box<dyn Link>> {
        let file = file.context(
            "the board is in maskrom mode, in which it can write nothing by itself: `--loader FILE` gives it a loader, \
             such as rk3588_spl_loader_*.bin of its support package",
        )?;
        for piece in loader::read(file)? {
            if let Err(error) = rom.download(piece.area, &piece.code) {
                // A loader that was given before keeps the ROM's descriptor, and takes no code.
                ensure!(rom.flash_bytes().is_ok(), "the boot ROM does not take the loader: {error:#}");
                return Ok(rom);
            }
            bus.wait(piece.pause);
        }
        // The loader shows anew on USB.
        drop(rom);
        let mut reason = None;
        for _ in 0..TRIES {
            bus.wait(BETWEEN_TRIES);
            match self.find(bus).and_then(|mut found| found.link.flash_bytes().map(|_| found.link)) {
                Ok(link) => return Ok(link),
                Err(error) => reason = Some(error),
            }
        }
        let reason = reason.map_or_else(String::new, |error| format!(": {error:#}"));
        bail!("the loader {} was given, but does not answer{reason}", file.display())
    }
}
