use std::cell::RefCell;
use std::fs;
use std::io;
use std::rc::Rc;

use rockusb::device::{self, Device, Transport};
use rockusb::operation::{OperationSteps, UsbStep};
use rockusb::protocol::{CommandBlock, CommandStatus, ResetOpcode, Status};
use rockusb_mock::{MockDevice, MockDeviceConfig};

use super::*;
use crate::bmap::{Bmap, path_beside};

const IDS: (u16, u16) = (0x2207, 0x350b);
const TARGET: Target = Target { board: "rk3588", ids: IDS };
const SECTORS: usize = 1024;

/// What happens to a board while it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The cable is pulled after this many writes.
    PulledAfter(usize),
    /// Its memory forgets a sector.
    Forgets(u32),
    /// The loader takes half of each write from this sector on, and says so.
    Short(u32),
    /// The loader does not start.
    DeadLoader,
}

/// A loader that says of a write how many bytes it did not take.
struct Says {
    residue: u32,
    tag: Option<u32>,
}

impl Transport for Says {
    type TransportError = io::Error;

    fn handle_operation<O, T>(&mut self, mut operation: O) -> Result<T, device::Error<io::Error>>
    where
        O: OperationSteps<T>,
    {
        loop {
            match operation.step() {
                // The command comes first, then its data.
                UsbStep::WriteBulk { data } if self.tag.is_none() => {
                    self.tag = Some(CommandBlock::from_bytes(data).unwrap().tag());
                }
                UsbStep::ReadBulk { data } => {
                    let (tag, residue) = (self.tag.take().unwrap(), self.residue);
                    CommandStatus { tag, residue, status: Status::SUCCESS }.to_bytes(data);
                }
                UsbStep::WriteBulk { .. } | UsbStep::WriteControl { .. } => {}
                UsbStep::Finished(result) => return result.map_err(device::Error::OperationError),
            }
        }
    }
}

/// A board over the mock of the rockusb crates: in its boot ROM until it was given both areas.
struct MockBoard {
    device: MockDevice,
    mode: Mode,
    fault: Fault,
    writes: usize,
}

/// The board as the bus hands it out, any number of times.
#[derive(Clone)]
struct Shared(Rc<RefCell<MockBoard>>);

impl Shared {
    fn new(mode: Mode, fault: Fault) -> Self {
        let config = MockDeviceConfig { flash: vec![0xee; SECTORS * 512], ..MockDeviceConfig::default() };
        Self(Rc::new(RefCell::new(MockBoard {
            device: MockDevice::new(config).unwrap(),
            mode,
            fault,
            writes: 0,
        })))
    }

    /// What the USB descriptor says: a loader that the boot ROM was given keeps the ROM's, as Rockchip's do.
    fn shown_mode(&self) -> Mode {
        let board = self.0.borrow();
        let was_given = board.device.maskrom_area(0x472).is_some();
        if was_given { Mode::Maskrom } else { board.mode }
    }

    fn flash(&self) -> Vec<u8> {
        self.0.borrow().device.flash().to_vec()
    }
}

impl Link for Shared {
    fn download(&mut self, area: u16, code: &[u8]) -> Result<()> {
        let mut board = self.0.borrow_mut();
        ensure!(board.mode == Mode::Maskrom, "stalled");
        Link::download(board.device.device(), area, code)?;
        if area == 0x472 && board.fault != Fault::DeadLoader {
            board.mode = Mode::Loader;
        }
        Ok(())
    }

    fn flash_bytes(&mut self) -> Result<u64> {
        let mut board = self.0.borrow_mut();
        ensure!(board.mode == Mode::Loader, "timed out");
        Link::flash_bytes(board.device.device())
    }

    fn write(&mut self, sector: u32, data: &[u8]) -> io::Result<()> {
        let mut board = self.0.borrow_mut();
        if matches!(board.fault, Fault::PulledAfter(count) if board.writes >= count) {
            return Err(io::Error::other("no device"));
        }
        board.writes += 1;
        match board.fault {
            Fault::Forgets(lost) if lost == sector => Ok(()),
            Fault::Short(from) if sector >= from => {
                let (taken, lost) = data.split_at(data.len() / 2);
                Link::write(board.device.device(), sector, taken)?;
                let residue = u32::try_from(lost.len()).unwrap();
                Link::write(&mut Device::new(Says { residue, tag: None }), sector, data)
            }
            _ => Link::write(board.device.device(), sector, data),
        }
    }

    fn read(&mut self, sector: u32, data: &mut [u8]) -> io::Result<()> {
        Link::read(self.0.borrow_mut().device.device(), sector, data)
    }

    fn restart(&mut self) -> Result<()> {
        Link::restart(self.0.borrow_mut().device.device())
    }
}

/// A bus with boards on it, each with its numbers.
struct Plugged(Vec<((u16, u16), Shared)>);

impl Bus for Plugged {
    fn look(&mut self) -> Result<Vec<Seen>> {
        let seen = self.0.iter().enumerate().map(|(at, (ids, board))| Seen {
            ids: *ids,
            mode: board.shown_mode(),
            place: format!("bus 1 device {at}"),
        });
        Ok(seen.collect())
    }

    fn list(&mut self) -> Result<Vec<Found>> {
        let links = self.0.clone().into_iter().map(|(_, board)| Box::new(board));
        Ok(self.look()?.into_iter().zip(links).map(|(seen, link)| Found { seen, link }).collect())
    }

    fn wait(&mut self, _: Duration) {}
}

/// An image of three times 64 KiB, of which the middle does not matter, and a boot file.
struct Bench {
    folder: tempfile::TempDir,
    image: DiskImage,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.img");
        fs::write(&path, (0..3 * 65536_u32).map(|at| (at >> 3).to_le_bytes()[0]).collect::<Vec<_>>())
            .unwrap();
        let map = Bmap::of(&path, &[(0, 65536), (2 * 65536, 65536)]).unwrap();
        fs::write(path_beside(&path), map.to_xml()).unwrap();
        fs::write(folder.path().join("loader.bin"), loader::tests::example()).unwrap();
        Self { image: DiskImage::open(&path).unwrap(), folder }
    }

    fn flash(&self, boards: &[((u16, u16), Shared)]) -> Result<Verified> {
        let loader = self.folder.path().join("loader.bin");
        flash(TARGET, &mut Plugged(boards.to_vec()), Some(&loader), &self.image)
    }

    fn expect_written(&self, board: &Shared) {
        let (flash, image) = (board.flash(), fs::read(self.folder.path().join("a.img")).unwrap());
        assert!(flash[..65536] == image[..65536] && flash[131_072..196_608] == image[131_072..]);
        assert!(flash[65536..131_072].iter().chain(&flash[196_608..]).all(|byte| *byte == 0xee), "sparse");
        assert_eq!(board.0.borrow().device.last_reset(), Some(ResetOpcode::Reset));
    }
}

fn is_untouched(board: &Shared) -> bool {
    board.flash().iter().all(|byte| *byte == 0xee)
}

#[test]
fn a_board_in_loader_mode_is_written_and_restarted() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::None));
    let verified = bench.flash(&[(IDS, board.clone())]).unwrap();
    assert_eq!(verified.to_string(), "131072 bytes verified");
    bench.expect_written(&board);
    assert_eq!(board.0.borrow().device.maskrom_area(0x472), None);
}

#[test]
fn a_boot_rom_is_given_a_loader_first() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Maskrom, Fault::None));
    bench.flash(&[(IDS, board.clone())]).unwrap();
    bench.expect_written(&board);
    // Each area got its code with two bytes of CRC behind it.
    let shared = board.0.borrow();
    assert_eq!(shared.device.maskrom_area(0x471).unwrap()[..6], *b"memory");
    assert_eq!(shared.device.maskrom_area(0x472).unwrap().len(), 5002);
    drop(shared);
    // Once more: the loader is still there, and still looks like the boot ROM.
    bench.flash(&[(IDS, board.clone())]).unwrap();
    bench.expect_written(&board);
}

#[test]
fn a_boot_rom_without_a_loader_is_left_alone() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Maskrom, Fault::None));
    let mut bus = Plugged(vec![(IDS, board.clone())]);
    let error = format!("{:#}", flash(TARGET, &mut bus, None, &bench.image).unwrap_err());
    assert!(
        error.contains("--loader FILE") && error.contains("nothing was written") && is_untouched(&board),
        "{error}"
    );
}

#[test]
fn a_loader_that_does_not_start_is_said() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Maskrom, Fault::DeadLoader));
    let error = format!("{:#}", bench.flash(&[(IDS, board.clone())]).unwrap_err());
    assert!(error.contains("does not answer: timed out") && is_untouched(&board), "{error}");
}

#[test]
fn a_wrong_board_and_several_boards_are_left_alone() {
    let (bench, one, two) =
        (Bench::new(), Shared::new(Mode::Loader, Fault::None), Shared::new(Mode::Loader, Fault::None));
    let error = format!("{:#}", bench.flash(&[((0x2207, 0x350a), one.clone())]).unwrap_err());
    assert!(
        error.contains("another board is plugged in: 2207:350a") && error.contains("2207:350b"),
        "{error}"
    );
    let error = format!("{:#}", bench.flash(&[(IDS, one.clone()), (IDS, two.clone())]).unwrap_err());
    assert!(error.contains("several boards"), "{error}");
    assert!(is_untouched(&one) && is_untouched(&two));
    assert!(format!("{:#}", bench.flash(&[]).unwrap_err()).contains("no board on USB"));
}

#[test]
fn a_pulled_cable_says_what_the_memory_holds() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::PulledAfter(1)));
    let error = format!("{:#}", bench.flash(&[(IDS, board)]).unwrap_err());
    assert!(error.contains("65536 of 131072 bytes of the new image"), "{error}");
    assert!(error.contains("to reach it again"), "{error}");
}

#[test]
fn a_loader_that_takes_less_than_it_was_given_is_not_believed() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::Short(256)));
    let error = format!("{:#}", bench.flash(&[(IDS, board.clone())]).unwrap_err());
    assert!(error.contains("the loader moved 32768 of 65536 bytes"), "{error}");
    assert!(error.contains("it took 65536 of 131072 bytes") && error.contains("a piece more"), "{error}");
    let (flash, image) = (board.flash(), fs::read(bench.folder.path().join("a.img")).unwrap());
    assert!(flash[131_072..163_840] == image[131_072..163_840]);
    assert!(flash[163_840..].iter().all(|byte| *byte == 0xee), "nothing was sent again");
    assert_eq!(board.0.borrow().device.last_reset(), None);
}

#[test]
fn a_damaged_image_is_found_before_the_board_is_written() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::None));
    let path = bench.folder.path().join("a.img");
    let mut bytes = fs::read(&path).unwrap();
    bytes[131_072 + 9] ^= 1;
    fs::write(path, bytes).unwrap();
    let error = format!("{:#}", bench.flash(&[(IDS, board.clone())]).unwrap_err());
    assert!(error.contains("65536 bytes from 131072 on have another SHA-256"), "{error}");
    assert!(error.contains("nothing was written, it holds what it held before"), "{error}");
    assert!(is_untouched(&board) && board.0.borrow().device.last_reset().is_none());
}

#[test]
fn memory_that_forgets_is_found_out() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::Forgets(256)));
    let error = format!("{:#}", bench.flash(&[(IDS, board.clone())]).unwrap_err());
    assert!(error.contains("65536 bytes from 131072 on"), "{error}");
    assert_eq!(board.0.borrow().device.last_reset(), None);
}

#[test]
fn memory_that_is_too_small_is_not_touched() {
    let (bench, board) = (Bench::new(), Shared::new(Mode::Loader, Fault::None));
    let config = MockDeviceConfig { flash: vec![0xee; 65536], ..MockDeviceConfig::default() };
    board.0.borrow_mut().device = MockDevice::new(config).unwrap();
    let error = format!("{:#}", bench.flash(&[(IDS, board.clone())]).unwrap_err());
    assert!(error.contains("does not fit") && is_untouched(&board), "{error}");
}

#[test]
fn a_dry_run_opens_no_board() {
    let board = Shared::new(Mode::Maskrom, Fault::None);
    let bench = Bench::new();
    let plan = |boards: &[((u16, u16), Shared)], loader: Option<&Path>| {
        let mut bus = Unopened(Plugged(boards.to_vec()));
        plan(TARGET, &mut bus, loader, vec!["write".into()]).join("\n")
    };
    let loader = bench.folder.path().join("loader.bin");
    let there = plan(&[(IDS, board.clone())], Some(&loader));
    assert!(
        there.contains("2207:350b at bus 1 device 0 in maskrom mode") && there.contains("loader.bin"),
        "{there}"
    );
    assert!(there.ends_with("write\nrestart the board"), "{there}");
    let absent = plan(&[], None);
    assert!(absent.contains("no board on USB") && absent.contains("no --loader"), "{absent}");
    assert!(is_untouched(&board) && board.0.borrow().device.maskrom_area(0x472).is_none());
}

/// A bus of which no board may be opened.
struct Unopened(Plugged);

impl Bus for Unopened {
    fn look(&mut self) -> Result<Vec<Seen>> {
        self.0.look()
    }

    fn list(&mut self) -> Result<Vec<Found>> {
        bail!("a board was opened")
    }

    fn wait(&mut self, _: Duration) {}
}
