use std::os::unix::fs::symlink;

use super::*;
use crate::bmap::{Bmap, path_beside};
use crate::flash::disk::Disk;
use crate::flash::write::{Interrupted, State};

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
            &[
                ("removable", "1"),
                ("diskseq", "5"),
                ("device/vendor", "Generic "),
                ("device/model", "Reader"),
            ],
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
        let refusal = format!("{:#}", self.kernel.card_numbered(Path::new("/dev/x"), number).unwrap_err());
        assert!(refusal.starts_with("nothing was written: "), "{refusal}");
        refusal
    }
}

#[test]
fn cards_are_recognized() {
    let machine = Machine::new();
    let card = machine.kernel.card_numbered(Path::new("/dev/sdb"), "8:16").unwrap();
    assert_eq!(card.describe(), "/dev/sdb: Generic Reader, 29.8 GiB");
    assert_eq!((&*card.number, &*card.sequence), ("8:16", "5"));
    let card = machine.kernel.card_numbered(Path::new("/dev/mmcblk0"), "179:0").unwrap();
    assert_eq!((&*card.model, &*card.sequence), ("SC32G", ""), "older kernels count no disks");
}

#[test]
fn disks_of_the_machine_are_refused() {
    let machine = Machine::new();
    assert!(machine.refusal("8:0").contains("not removable"));
    assert!(machine.refusal("179:8").contains("not removable"));
    assert!(machine.refusal("9:9").contains("knows no disk"));
    assert!(
        machine.refusal("8:17").contains("is a partition") && machine.refusal("8:17").contains("/dev/sdb")
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
        let refusal = format!("{:#}", machine.kernel.card(path).unwrap_err());
        assert!(refusal.starts_with("nothing was written: ") && refusal.contains("is no disk"), "{refusal}");
        // What is open counts, whatever its name is by now.
        let open = File::open(path).unwrap();
        let refusal = format!("{:#}", machine.kernel.open_card(Path::new("/dev/sdb"), &open).unwrap_err());
        assert!(refusal.starts_with("nothing was written: /dev/sdb is no disk"), "{refusal}");
    }
    let refusal = format!("{:#}", machine.kernel.card(Path::new("/dev/no-such-disk")).unwrap_err());
    assert_eq!(refusal.split(": ").next(), Some("nothing was written"), "{refusal}");
    assert!(refusal.contains("there is no /dev/no-such-disk"), "{refusal}");
}

const MIB: usize = 1 << 20;
const CARD_BYTES: usize = 4 * MIB;

/// A file that plays a card full of old bytes, and an image of 3 MiB of which the middle one does not matter.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(bench.path("card"), vec![0xee; CARD_BYTES]).unwrap();
        let image = bench.path("a.img");
        fs::write(&image, (0..3 * MIB).map(|at| (at >> 9).to_le_bytes()[0]).collect::<Vec<_>>()).unwrap();
        let map = Bmap::of(&image, &[(0, MIB as u64), (2 * MIB as u64, MIB as u64)]).unwrap();
        fs::write(path_beside(&image), map.to_xml()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn card(&self, bytes: usize) -> Card {
        Card {
            device: self.path("card"),
            number: "8:16".into(),
            sequence: "5".into(),
            model: "Reader".into(),
            bytes: bytes as u64,
        }
    }

    fn image(&self) -> DiskImage {
        DiskImage::open(&self.path("a.img")).unwrap()
    }

    fn flash(&self, card: &Card) -> Result<Verified> {
        flash(card, &self.image(), Consent::Given, |_| Ok(card.clone()))
    }

    /// The card's file behind a cable.
    fn cable(&self, fault: Fault) -> Cable {
        let file = File::options().read(true).write(true).open(self.path("card")).unwrap();
        Cable { disk: FileDisk::new(file, CARD_BYTES as u64), fault, cache: Vec::new() }
    }

    fn expect_written(&self) {
        let (card, image) = (fs::read(self.path("card")).unwrap(), fs::read(self.path("a.img")).unwrap());
        assert!(card[..MIB] == image[..MIB] && card[2 * MIB..3 * MIB] == image[2 * MIB..]);
        assert!(card[MIB..2 * MIB].iter().chain(&card[3 * MIB..]).all(|byte| *byte == 0xee));
    }

    fn failure(&self, card: &Card) -> String {
        format!("{:#}", self.flash(card).unwrap_err())
    }

    fn is_untouched(&self) -> bool {
        fs::read(self.path("card")).unwrap() == vec![0xee; CARD_BYTES]
    }
}

#[test]
fn what_matters_of_an_image_is_on_the_card_and_verified() {
    let bench = Bench::new();
    let verified = bench.flash(&bench.card(CARD_BYTES)).unwrap();
    assert_eq!(verified.to_string(), "2097152 bytes verified");
    bench.expect_written();
}

/// What happens to a card while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It takes and gives a few bytes at once.
    Short,
    /// It is pulled when this many bytes are on it.
    Pulled(usize),
    /// The kernel takes all, and the card is pulled when this many bytes of that are on it.
    PulledWithCache(usize),
}

/// A card that can be pulled. What is on it then stays in its file.
struct Cable {
    disk: FileDisk,
    fault: Fault,
    /// What the kernel keeps of what it took.
    cache: Vec<(u64, Vec<u8>)>,
}

impl Disk for Cable {
    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
        match self.fault {
            Fault::Short => self.disk.write_at(offset, &data[..data.len().min(1000)]),
            Fault::Pulled(0) => Err(io::ErrorKind::NotConnected.into()),
            Fault::Pulled(left) => {
                let taken = self.disk.write_at(offset, &data[..data.len().min(left)])?;
                self.fault = Fault::Pulled(left - taken);
                Ok(taken)
            }
            Fault::PulledWithCache(_) => {
                self.cache.push((offset, data.to_vec()));
                Ok(data.len())
            }
        }
    }

    fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize> {
        let length = data.len().min(1000);
        self.disk.read_at(offset, &mut data[..length])
    }

    fn settle_after(&self) -> u64 {
        self.disk.settle_after()
    }

    fn settle(&mut self) -> io::Result<()> {
        let Fault::PulledWithCache(mut left) = self.fault else { return self.disk.settle() };
        for (offset, data) in self.cache.drain(..) {
            let length = data.len().min(left);
            left -= self.disk.write_at(offset, &data[..length])?;
        }
        Err(io::ErrorKind::NotConnected.into())
    }
}

#[test]
fn a_card_that_takes_few_bytes_at_once_is_verified_all_the_same() {
    let bench = Bench::new();
    write::write(&bench.image(), &mut bench.cable(Fault::Short)).unwrap();
    bench.expect_written();
}

#[test]
fn a_card_that_is_pulled_holds_the_part_that_is_said() {
    let bench = Bench::new();
    let error = write::write(&bench.image(), &mut bench.cable(Fault::Pulled(MIB + 5000))).unwrap_err();
    assert_eq!(error.state, State::Partly { written: MIB as u64 + 5000, total: 2 * MIB as u64 });
    let (card, image) = (fs::read(bench.path("card")).unwrap(), fs::read(bench.path("a.img")).unwrap());
    assert!(card[..MIB] == image[..MIB] && card[2 * MIB..][..5000] == image[2 * MIB..][..5000]);
    assert!(card[MIB..2 * MIB].iter().chain(&card[2 * MIB + 5000..]).all(|byte| *byte == 0xee));
}

/// What the kernel took is not on the card: nobody may be told that it was.
#[test]
fn a_card_that_is_pulled_while_the_kernel_still_writes_holds_an_unknown_part() {
    for written in [0, 5000, MIB + 5000] {
        let bench = Bench::new();
        let error =
            write::write(&bench.image(), &mut bench.cable(Fault::PulledWithCache(written))).unwrap_err();
        assert_eq!(error.state, State::Unsettled { written: 0, total: 2 * MIB as u64 }, "{written}");
        assert!(error.to_string().contains("an unknown part"), "{error}");
        assert!(fs::read(bench.path("card")).unwrap()[2 * MIB + 5000..].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn a_card_that_another_disk_has_taken_the_place_of_is_not_written() {
    let (bench, number) = (Bench::new(), String::from("8:32"));
    let card = bench.card(CARD_BYTES);
    for other in [
        Card { number, ..card.clone() },
        Card { sequence: "6".into(), ..card.clone() },
        Card { model: "Backup".into(), ..card.clone() },
        Card { bytes: 2 << 40, ..card.clone() },
    ] {
        let refusal = flash(&card, &bench.image(), Consent::Given, |_| Ok(other.clone())).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("another disk") && refusal.contains(&other.describe()), "{refusal}");
        assert!(refusal.contains("nothing was written") && bench.is_untouched(), "{refusal}");
    }
    let mounted = |_: &File| bail!("nothing was written: it is in use");
    flash(&card, &bench.image(), Consent::Given, mounted).unwrap_err();
    assert!(bench.is_untouched());
}

/// The file that is judged is the one that is written.
#[test]
fn a_card_is_looked_at_again_when_it_is_open() {
    let bench = Bench::new();
    let card = bench.card(CARD_BYTES);
    let look = |file: &File| {
        assert_eq!(file.metadata()?.ino(), fs::metadata(&card.device)?.ino());
        Ok(card.clone())
    };
    flash(&card, &bench.image(), Consent::Given, look).unwrap();
    bench.expect_written();
}

#[test]
fn a_card_that_is_too_small_is_not_touched() {
    let bench = Bench::new();
    let failure = bench.failure(&bench.card(3 * MIB - 512));
    assert!(failure.contains("too small") && failure.ends_with("nothing was written"), "{failure}");
    assert!(bench.is_untouched());
}

#[test]
fn a_card_that_was_pulled_before_is_said_to_be_as_it_was() {
    let bench = Bench::new();
    let card = Card { device: bench.path("gone"), ..bench.card(CARD_BYTES) };
    let failure = bench.failure(&card);
    assert!(failure.contains("cannot open") && failure.contains("nothing was written"), "{failure}");
    assert!(!card.device.exists(), "a file was made in the place of the card");
}

#[test]
fn a_damaged_image_is_found_before_the_card_is_touched() {
    let bench = Bench::new();
    let mut bytes = fs::read(bench.path("a.img")).unwrap();
    bytes[2 * MIB + 7] ^= 1;
    fs::write(bench.path("a.img"), bytes).unwrap();
    let failure = bench.failure(&bench.card(CARD_BYTES));
    assert!(failure.contains("1048576 bytes from 2097152 on have another SHA-256"), "{failure}");
    assert!(failure.contains("nothing was written, it holds what it held before"), "{failure}");
    assert!(bench.is_untouched());
}

/// The kernel's own full disk: it is read and never takes a byte.
#[test]
fn a_full_disk_says_what_it_holds() {
    let bench = Bench::new();
    let card = Card { device: "/dev/full".into(), ..bench.card(CARD_BYTES) };
    let error = bench.flash(&card).unwrap_err();
    assert_eq!(error.downcast_ref::<Interrupted>().unwrap().state, State::Begun);
    let failure = format!("{error:#}");
    assert!(failure.contains("cannot write at byte 0") && failure.contains("state of the disk"), "{failure}");
}

#[test]
fn only_a_yes_is_consent() {
    let card = Bench::new().card(CARD_BYTES);
    ask(&card, Some("yes\n".as_bytes())).unwrap();
    for answer in ["", "\n", "y\n", "no\nyes\n", "Yes\n"] {
        let refusal = ask(&card, Some(answer.as_bytes())).unwrap_err().to_string();
        assert_eq!(refusal, "not confirmed; nothing was written", "{answer:?}");
    }
    let refusal = ask(&card, None::<&[u8]>).unwrap_err().to_string();
    assert!(refusal.contains("--yes") && refusal.ends_with("nothing was written"), "{refusal}");
}
