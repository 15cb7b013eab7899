//! Writes to a card or stick of this machine. It refuses whatever could be the machine's own: disks that are not
//! removable, mounted ones, partitions, and anything that is no disk; and it asks before it overwrites.

use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{OFlags, major, minor};

use super::disk::FileDisk;
use super::write::{self, DiskImage};

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
        let data = device.metadata().with_context(|| format!("there is no {}", device.display()))?;
        ensure!(
            data.file_type().is_block_device(),
            "{} is no disk: expected a block device such as a card reader's, which `lsblk` lists",
            device.display()
        );
        self.card_numbered(device, &format!("{}:{}", major(data.rdev()), minor(data.rdev())))
    }

    fn card_numbered(&self, device: &Path, number: &str) -> Result<Card> {
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
        Ok(Card { device: device.to_owned(), model, bytes: sectors * 512 })
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
}

/// Writes an image to a card after the user's consent.
///
/// # Errors
/// When consent is not given or the image could not be written; says what the card holds.
pub fn flash(card: &Card, image: &DiskImage, consent: Consent) -> Result<()> {
    let there = image.map().image_bytes();
    ensure!(
        there <= card.bytes,
        "{} is too small: the image has {there} bytes; nothing was written",
        card.describe()
    );
    if consent == Consent::Ask {
        ask(card)?;
    }
    // Exclusive: the kernel refuses if something mounted it since.
    let flags = i32::try_from(OFlags::EXCL.bits()).context("a flag beyond its type")?;
    let file = File::options().read(true).write(true).custom_flags(flags).open(&card.device);
    let file = file
        .with_context(|| format!("cannot open {} for writing; nothing was written", card.device.display()))?;
    write::write(image, &mut FileDisk::new(file, card.bytes))
        .with_context(|| format!("could not write {}", card.describe()))
}

fn ask(card: &Card) -> Result<()> {
    let input = io::stdin();
    ensure!(
        input.is_terminal(),
        "{} would be overwritten, and nobody is there to ask: `--yes` says so beforehand; nothing was written",
        card.describe()
    );
    eprint!("{}\nEverything on it is lost. Write? [yes/no] ", card.describe());
    io::stderr().flush()?;
    let answer = input.lock().lines().next().transpose()?.unwrap_or_default();
    ensure!(answer.trim() == "yes", "not confirmed; nothing was written");
    Ok(())
}

/// Readers say that they are removable; the MMC driver tells SD cards from soldered memory instead.
fn is_removable(folder: &Path) -> bool {
    text_of(&folder.join("removable")) == "1" || text_of(&folder.join("device/type")) == "SD"
}

fn text_of(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with a disk of its own (8:0), a card in a USB reader (8:16, one partition), an SD card and soldered
    /// memory (179:0, 179:8).
    struct Machine {
        _folder: tempfile::TempDir,
        kernel: Kernel,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let sys = folder.path().to_owned();
            let machine =
                Self { _folder: folder, kernel: Kernel { sys, mounts: String::new(), swaps: String::new() } };
            fs::create_dir_all(machine.path("dev/block")).unwrap();
            machine.disk("sda", "8:0", &[("removable", "0"), ("device/model", "SSD")]);
            machine.disk(
                "sdb",
                "8:16",
                &[("removable", "1"), ("device/vendor", "Generic "), ("device/model", "Reader")],
            );
            machine.disk("sdb/sdb1", "8:17", &[("partition", "1")]);
            machine.disk(
                "mmcblk0",
                "179:0",
                &[("removable", "0"), ("device/type", "SD"), ("device/name", "SC32G")],
            );
            machine.disk("mmcblk1", "179:8", &[("removable", "0"), ("device/type", "MMC")]);
            machine
        }

        fn path(&self, below: &str) -> PathBuf {
            self.kernel.sys.join(below)
        }

        fn disk(&self, name: &str, number: &str, facts: &[(&str, &str)]) {
            for (file, text) in facts.iter().chain(&[("size", "62500000"), ("dev", number)]) {
                let path = self.path(&format!("block/{name}/{file}"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{text}\n")).unwrap();
            }
            symlink(self.path(&format!("block/{name}")), self.path(&format!("dev/block/{number}"))).unwrap();
        }

        fn refusal(&self, number: &str) -> String {
            self.kernel.card_numbered(Path::new("/dev/x"), number).unwrap_err().to_string()
        }
    }

    #[test]
    fn cards_are_recognized() {
        let machine = Machine::new();
        let card = machine.kernel.card_numbered(Path::new("/dev/sdb"), "8:16").unwrap();
        assert_eq!(card.describe(), "/dev/sdb: Generic Reader, 29.8 GiB");
        assert_eq!(machine.kernel.card_numbered(Path::new("/dev/mmcblk0"), "179:0").unwrap().model, "SC32G");
    }

    #[test]
    fn disks_of_the_machine_are_refused() {
        let machine = Machine::new();
        assert!(machine.refusal("8:0").contains("not removable"));
        assert!(machine.refusal("179:8").contains("not removable"));
        assert!(machine.refusal("9:9").contains("knows no disk"));
        assert!(
            machine.refusal("8:17").contains("is a partition")
                && machine.refusal("8:17").contains("/dev/sdb")
        );
    }

    #[test]
    fn disks_in_use_are_refused() {
        let mut machine = Machine::new();
        machine.kernel.mounts = "36 25 8:17 / /media/card rw,noatime shared:1 - ext4 /dev/sdb1 rw\n".into();
        assert!(
            machine.refusal("8:16").contains("sdb1 is mounted at /media/card"),
            "{}",
            machine.refusal("8:16")
        );
        machine.kernel.mounts = "36 25 0:40 / /media/card rw - btrfs /dev/sdb1 rw\n".into();
        assert!(machine.refusal("8:16").contains("mounted at /media/card"));
        machine.kernel.mounts.clear();
        machine.kernel.swaps = "Filename Type Size Used Priority\n/dev/sdb1 partition 8 0 -2\n".into();
        assert!(machine.refusal("8:16").contains("swaps to sdb1"));
        machine.kernel.swaps.clear();
        fs::create_dir_all(machine.path("block/sdb/sdb1/holders/dm-0")).unwrap();
        assert!(machine.refusal("8:16").contains("sdb1 is part of dm-0"));
    }

    #[test]
    fn an_empty_reader_is_refused() {
        let machine = Machine::new();
        fs::write(machine.path("block/sdb/size"), "0\n").unwrap();
        assert!(machine.refusal("8:16").contains("put a card in"));
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let machine = Machine::new();
        let file = machine.path("file");
        fs::write(&file, "x").unwrap();
        for path in [Path::new("/dev/null"), &file] {
            assert!(machine.kernel.card(path).unwrap_err().to_string().contains("is no disk"), "{path:?}");
        }
        assert!(machine.kernel.card(Path::new("/dev/no-such-disk")).is_err());
    }
}
