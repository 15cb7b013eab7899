use std::fs;

use super::*;
use crate::bmap::path_beside;
use crate::flash::disk::FileDisk;

const DISK_BYTES: u64 = 4 << 20;

/// An image of 3 MiB of which the second MiB does not matter, and a disk full of old bytes.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let bytes: Vec<u8> =
            (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
        fs::write(bench.image(), bytes).unwrap();
        let map = Bmap::of(&bench.image(), &[(0, 1 << 20), (2 << 20, 1 << 20)]).unwrap();
        fs::write(path_beside(&bench.image()), map.to_xml()).unwrap();
        bench
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("a.img")
    }

    fn write_to(&self, disk: &mut Faulty) -> Result<Verified, Interrupted> {
        write(&DiskImage::open(&self.image()).unwrap(), disk)
    }
}

/// What a disk may do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It takes and gives a few bytes at once.
    Short,
    /// Every other call is interrupted by a signal.
    Signals,
    /// It is gone after this many bytes.
    Pulled(u64),
    /// It is gone after this many bytes, and with it what it had taken.
    PulledWithCache(u64),
    /// It takes all that it is given, settles this many times, and is gone then.
    PulledBeforeSettle(u64),
    /// It is full after this many bytes.
    Full(u64),
    /// It takes nothing from here on and says that it did.
    Forgets(u64),
    /// It changes a bit.
    Flips,
    /// It cannot be read.
    Unreadable,
}

struct Faulty {
    bytes: Vec<u8>,
    fault: Fault,
    written: u64,
    calls: u64,
    settled: u64,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            bytes: vec![0xee; usize::try_from(DISK_BYTES).unwrap()],
            fault,
            written: 0,
            calls: 0,
            settled: 0,
        }
    }

    fn expect_no_signal(&mut self) -> io::Result<()> {
        self.calls += 1;
        let is_interrupted = self.fault == Fault::Signals && self.calls % 2 == 1;
        if is_interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn is_untouched(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0xee)
    }
}

impl Disk for Faulty {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.expect_no_signal()?;
        let length = match self.fault {
            Fault::Short => data.len().min(1000),
            Fault::Pulled(after) | Fault::PulledWithCache(after) if self.written >= after => {
                return Err(io::ErrorKind::NotConnected.into());
            }
            Fault::Full(after) if self.written >= after => return Err(io::ErrorKind::StorageFull.into()),
            _ => data.len(),
        };
        self.written += length as u64;
        if matches!(self.fault, Fault::Forgets(from) if offset >= from) {
            return Ok(length);
        }
        let start = usize::try_from(offset).unwrap();
        self.bytes[start..start + length].copy_from_slice(&data[..length]);
        Ok(length)
    }

    fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize> {
        self.expect_no_signal()?;
        let start = usize::try_from(offset).unwrap();
        let length = if self.fault == Fault::Short { data.len().min(1000) } else { data.len() };
        data[..length].copy_from_slice(&self.bytes[start..start + length]);
        match self.fault {
            Fault::Unreadable => Err(io::ErrorKind::NotConnected.into()),
            _ => Ok(length),
        }
    }

    fn settle_after(&self) -> u64 {
        match self.fault {
            Fault::PulledBeforeSettle(_) => 1 << 20,
            _ => u64::MAX,
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        let is_gone = match self.fault {
            Fault::PulledWithCache(after) => self.written >= after,
            Fault::PulledBeforeSettle(settled) => self.settled >= settled,
            _ => false,
        };
        if is_gone {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.settled += 1;
        if self.fault == Fault::Flips {
            self.bytes[2 << 20] ^= 1;
        }
        Ok(())
    }
}

#[test]
fn only_what_matters_is_written() {
    let bench = Bench::new();
    for fault in [Fault::None, Fault::Short, Fault::Signals] {
        let mut disk = Faulty::new(fault);
        let verified = bench.write_to(&mut disk).unwrap();
        assert_eq!(verified.to_string(), "2097152 bytes verified", "{fault:?}");
        let image = fs::read(bench.image()).unwrap();
        let mib = 1 << 20;
        assert!(disk.bytes[..mib] == image[..mib] && disk.bytes[2 * mib..3 * mib] == image[2 * mib..]);
        assert!(disk.bytes[mib..2 * mib].iter().chain(&disk.bytes[3 * mib..]).all(|byte| *byte == 0xee));
    }
}

#[test]
fn a_file_is_a_disk() {
    let bench = Bench::new();
    let path = bench.folder.path().join("disk");
    fs::write(&path, vec![0xee; usize::try_from(DISK_BYTES).unwrap()]).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut disk = FileDisk::new(file, DISK_BYTES);
    assert!(disk.settle_after() <= 32 << 20, "the kernel would take a whole image at once");
    write(&DiskImage::open(&bench.image()).unwrap(), &mut disk).unwrap();
    assert_eq!(fs::read(&path).unwrap()[2 << 20..3 << 20], fs::read(bench.image()).unwrap()[2 << 20..]);
}

#[test]
fn a_cable_that_is_pulled_leaves_a_part() {
    let bench = Bench::new();
    let mut disk = Faulty::new(Fault::Pulled(1 << 20));
    let error = bench.write_to(&mut disk).unwrap_err();
    assert_eq!(error.state, State::Partly { written: 1 << 20, total: 2 << 20 });
    assert!(
        error.to_string().contains("cannot write at byte 2097152")
            && error.to_string().contains("boots neither")
    );
    let mut disk = Faulty::new(Fault::Pulled(0));
    let error = bench.write_to(&mut disk).unwrap_err();
    assert_eq!(error.state, State::Begun);
    assert!(error.to_string().contains("or a piece of the new image") && disk.is_untouched(), "{error}");
}

#[test]
fn a_cable_that_is_pulled_before_the_disk_settled_leaves_an_unknown_part() {
    let bench = Bench::new();
    for (settled, written) in [(0, 0), (1, 1 << 20)] {
        let error = bench.write_to(&mut Faulty::new(Fault::PulledBeforeSettle(settled))).unwrap_err();
        assert_eq!(error.state, State::Unsettled { written, total: 2 << 20 });
        let error = error.to_string();
        assert!(error.contains("does not confirm") && error.contains("an unknown part"), "{error}");
        assert!(error.contains("may boot neither") && error.contains("write it again"), "{error}");
        assert!(!error.contains("all was written"), "{error}");
    }
}

/// A write may fail because of what was taken long before it.
#[test]
fn a_write_that_fails_does_not_confirm_those_before_it() {
    let error = Bench::new().write_to(&mut Faulty::new(Fault::PulledWithCache(1 << 20))).unwrap_err();
    assert_eq!(error.state, State::Unsettled { written: 0, total: 2 << 20 });
    assert!(error.to_string().contains("cannot write at byte 2097152"), "{error}");
}

#[test]
fn a_disk_that_is_full_says_how_far_it_came() {
    let error = Bench::new().write_to(&mut Faulty::new(Fault::Full(1 << 20))).unwrap_err();
    assert_eq!(error.state, State::Partly { written: 1 << 20, total: 2 << 20 });
}

#[test]
fn a_disk_that_lies_is_found_out_by_reading_back() {
    let bench = Bench::new();
    let state = State::Unlike { start: 2 << 20, bytes: 1 << 20 };
    for fault in [Fault::Flips, Fault::Forgets(2 << 20)] {
        assert_eq!(bench.write_to(&mut Faulty::new(fault)).unwrap_err().state, state, "{fault:?}");
    }
    assert_eq!(bench.write_to(&mut Faulty::new(Fault::Unreadable)).unwrap_err().state, State::Unread);
}

#[test]
fn what_is_wrong_with_the_image_is_found_before_the_disk_is_touched() {
    let bench = Bench::new();
    let mut bytes = fs::read(bench.image()).unwrap();
    bytes[5] ^= 1;
    fs::write(bench.image(), bytes).unwrap();
    let mut disk = Faulty::new(Fault::None);
    let error = bench.write_to(&mut disk).unwrap_err();
    assert!(error.to_string().contains("is damaged") && disk.is_untouched(), "{error}");
    assert_eq!(error.state, State::Untouched);
}

#[test]
fn a_disk_that_is_too_small_is_not_touched() {
    let mut disk = Faulty::new(Fault::None);
    disk.bytes.truncate(2 << 20);
    let error = Bench::new().write_to(&mut disk).unwrap_err();
    assert!(error.to_string().contains("does not fit") && disk.is_untouched(), "{error}");
}
