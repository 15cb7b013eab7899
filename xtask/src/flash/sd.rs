//! Writes to a card or stick of this machine. It refuses whatever could be the machine's own: disks that are not
//! removable, mounted ones, partitions, and anything that is no disk; and it asks before it overwrites.

#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{OFlags, major, minor};

use super::disk::FileDisk;
use super::write::{self, DiskImage, Verified};

/// What every refusal says of the disk.
const NOTHING_WRITTEN: &str = "nothing was written";

/// What the kernel says about disks; tests make one up.
#[derive(Debug)]
pub struct Kernel {
    /// sysfs.
    pub sys: PathBuf,
    /// Text of /proc/self/mountinfo.
    pub mounts: String,
    /// Text of /proc/swaps.
    pub swaps: String,
}

/// A disk that may be overwritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its device file.
    pub device: PathBuf,
    /// The number that the kernel knows it by.
    pub number: String,
    /// The kernel's count of disks that came, where it tells; another card in the same reader has another one.
    pub sequence: String,
    /// What it calls itself.
    pub model: String,
    /// Its size.
    pub bytes: u64,
}

/// Whether to ask before a disk is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Ask on the terminal.
    Ask,
    /// The user gave it on the command line.
    Given,
}

impl Kernel {
    /// The one that runs here.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn here() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let swaps = read("/proc/swaps").unwrap_or_default();
        Ok(Self { sys: "/sys".into(), mounts: read("/proc/self/mountinfo")?, swaps })
    }

    /// The disk behind a device file, if it may be overwritten.
    ///
    /// # Errors
    /// When it is no disk, only a part of one, in use, or not removable; nothing was touched.
    pub fn card(&self, device: &Path) -> Result<Card> {
        let data = device.metadata().with_context(|| format!("there is no {}", device.display()));
        self.card_of(device, data)
    }

    /// The disk behind a device file that is open, if it may be overwritten, whatever has its name by now.
    ///
    /// # Errors
    /// As [`Kernel::card`], or when it is gone.
    pub fn open_card(&self, device: &Path, file: &File) -> Result<Card> {
        self.card_of(device, file.metadata().with_context(|| format!("{} is gone", device.display())))
    }

    fn card_of(&self, device: &Path, data: Result<Metadata>) -> Result<Card> {
        let number = data.and_then(|data| number_of(device, &data)).context(NOTHING_WRITTEN)?;
        self.card_numbered(device, &number)
    }

    fn card_numbered(&self, device: &Path, number: &str) -> Result<Card> {
        self.judge(device, number).context(NOTHING_WRITTEN)
    }

    fn judge(&self, device: &Path, number: &str) -> Result<Card> {
        let link = self.sys.join("dev/block").join(number);
        let folder = link.canonicalize().with_context(|| format!("the kernel knows no disk {number}"))?;
        let shown = device.display();
        if folder.join("partition").exists() {
            let whole = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            bail!("{shown} is a partition: an image is of a whole disk, here /dev/{whole}");
        }
        self.expect_unused(device, &folder)?;
        ensure!(
            is_removable(&folder),
            "{shown} is not removable: it may be a disk of this machine, and those are never overwritten"
        );
        let sectors = text_of(&folder.join("size"));
        let sectors: u64 = sectors.parse().with_context(|| format!("{shown} has no size"))?;
        ensure!(sectors > 0, "{shown} is an empty reader: put a card in");
        let names = ["device/vendor", "device/model", "device/name"].map(|name| text_of(&folder.join(name)));
        let model = names.into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" ");
        let (device, number) = (device.to_owned(), number.to_owned());
        Ok(Card { device, number, sequence: text_of(&folder.join("diskseq")), model, bytes: sectors * 512 })
    }

    /// Nothing of the disk may be mounted, swapped to, or part of another device.
    fn expect_unused(&self, device: &Path, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let parts = entries.filter(|path| path.join("partition").exists());
        for part in parts.chain([folder.to_owned()]) {
            let name = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number = text_of(&part.join("dev"));
            if let Some(place) = self.mounted_at(&number, &name) {
                bail!("{} is in use: {name} is mounted at {place} (`umount {place}`)", device.display());
            }
            let swap = format!("/dev/{name}");
            let is_swap =
                self.swaps.lines().any(|line| line.split_whitespace().next() == Some(swap.as_str()));
            ensure!(!is_swap, "{} is in use: this machine swaps to {name}", device.display());
            let holder =
                fs::read_dir(part.join("holders")).ok().and_then(|mut all| all.next()).and_then(Result::ok);
            if let Some(holder) = holder {
                let holder = holder.file_name().to_string_lossy().into_owned();
                bail!("{} is in use: {name} is part of {holder}", device.display());
            }
        }
        Ok(())
    }

    fn mounted_at(&self, number: &str, name: &str) -> Option<String> {
        // proc(5): ID, parent, major:minor, root, mount point, options, optional fields, a hyphen, type, source. Some
        // filesystems have device numbers of their own, so the source counts as well.
        let source = format!("/dev/{name}");
        self.mounts.lines().find_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let after = words.iter().position(|word| *word == "-").and_then(|at| words.get(at + 2));
            let is_it = words.get(2) == Some(&number) || after == Some(&source.as_str());
            is_it.then(|| words.get(4).copied().unwrap_or("somewhere").to_owned())
        })
    }
}

impl Card {
    /// What it is, for a person.
    pub fn describe(&self) -> String {
        let gib = self.bytes as f64 / f64::from(1 << 30);
        format!(
            "{}: {}, {gib:.1} GiB",
            self.device.display(),
            if self.model.is_empty() { "disk" } else { &self.model }
        )
    }

    fn open(&self) -> Result<File> {
        // Exclusive: the kernel refuses if something mounted it since.
        let flags = i32::try_from(OFlags::EXCL.bits()).context("a flag beyond its type")?;
        let file = File::options().read(true).write(true).custom_flags(flags).open(&self.device);
        file.with_context(|| format!("cannot open {} for writing; {NOTHING_WRITTEN}", self.device.display()))
    }

    /// What was opened must be what was looked at before.
    fn expect_same(&self, opened: &Self) -> Result<()> {
        ensure!(
            self == opened,
            "another disk has taken the place of the one that was looked at: that was {}, this is {}; {NOTHING_WRITTEN}, \
             run the command again",
            self.describe(),
            opened.describe()
        );
        Ok(())
    }
}

/// Writes an image to a card after the user's consent. `look` says which card an open device file is of: while the question
/// stood, another disk may have taken the name.
///
/// # Errors
/// When consent is not given or the image could not be written; says what the card holds.
pub fn flash(
    card: &Card,
    image: &DiskImage,
    consent: Consent,
    look: impl FnOnce(&File) -> Result<Card>,
) -> Result<Verified> {
    let there = image.map().image_bytes();
    ensure!(
        there <= card.bytes,
        "{} is too small: the image has {there} bytes; {NOTHING_WRITTEN}",
        card.describe()
    );
    if consent == Consent::Ask {
        let input = io::stdin();
        ask(card, input.is_terminal().then(|| input.lock()))?;
    }
    let file = card.open()?;
    card.expect_same(&look(&file)?)?;
    write::write(image, &mut FileDisk::new(file, card.bytes))
        .with_context(|| format!("could not write {}", card.describe()))
}

/// Asks the one who sits there, if somebody does.
fn ask(card: &Card, person: Option<impl BufRead>) -> Result<()> {
    let person = person.with_context(|| {
        format!(
            "{} would be overwritten, and nobody is there to ask: `--yes` says so beforehand; {NOTHING_WRITTEN}",
            card.describe()
        )
    })?;
    eprint!("{}\nEverything on it is lost. Write? [yes/no] ", card.describe());
    io::stderr().flush()?;
    let answer = person.lines().next().transpose()?.unwrap_or_default();
    ensure!(answer.trim() == "yes", "not confirmed; {NOTHING_WRITTEN}");
    Ok(())
}

/// The number that the kernel knows a disk by.
fn number_of(device: &Path, data: &Metadata) -> Result<String> {
    ensure!(
        data.file_type().is_block_device(),
        "{} is no disk: expected a block device such as a card reader's, which `lsblk` lists",
        device.display()
    );
    Ok(format!("{}:{}", major(data.rdev()), minor(data.rdev())))
}

/// Readers say that they are removable; the MMC driver tells SD cards from soldered memory instead.
fn is_removable(folder: &Path) -> bool {
    text_of(&folder.join("removable")) == "1" || text_of(&folder.join("device/type")) == "SD"
}

fn text_of(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}
