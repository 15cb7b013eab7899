//! A display at the board's own connector, through DRM/KMS with two dumb buffers. The board test runs it on QEMU's virtio GPU and
//! looks at what is shown; **untested on hardware**. No other program may hold the display (no desktop, no splash screen); the
//! kernel's console gives it up, and has it back afterwards. One that cannot be taken is tried again and again.

mod convert;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use artifact::Fault;
use drm::buffer::{Buffer, DrmFourcc};
use drm::control::dumbbuffer::{DumbBuffer, DumbMapping};
use drm::control::{Device as _, Event, Mode, PageFlipFlags, connector, crtc, framebuffer};

use super::config::ScreenConfig;
use super::newest::{Newest, Rest};
use super::trouble::Trouble;
use super::{Health, Pixels, Shown, Sink};
use crate::Error;
use crate::source::Shot;
use convert::Fitting;

/// Until a display that could not be taken is tried again.
const REST: Duration = Duration::from_secs(10);

/// The sink that shows frames on a display, from a thread of its own.
pub(super) struct Screen {
    shared: Arc<Shared>,
    card: PathBuf,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    newest: Newest,
    trouble: Trouble,
    /// The display, for people, once it was taken.
    taken: OnceLock<String>,
}

/// The display. Frames that come while the one before is not on it yet are passed over.
struct Display {
    card: Card,
    crtc: crtc::Handle,
    connector: connector::Handle,
    /// What the display showed before.
    before: crtc::Info,
    size_px: [usize; 2],
    buffers: [(DumbBuffer, framebuffer::Handle); 2],
    /// The buffer that is not shown.
    back: usize,
    is_flipping: bool,
    fitting: Fitting,
    description: String,
}

struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Card {}
impl drm::control::Device for Card {}

impl Screen {
    /// Takes the first display that is connected, in the mode it likes best. Where there is none, or another program holds it,
    /// that is told of when a frame is shown, and tried again.
    ///
    /// # Errors
    /// [`Error::Input`] when the system gives no thread.
    pub(super) fn open(config: &ScreenConfig) -> Result<Self, Error> {
        let (shared, card) = (Arc::new(Shared::default()), config.card.clone());
        let (work, (begin, begun)) = (Arc::clone(&shared), sync_channel(1));
        let thread = super::open::spawn("repedge-screen", {
            let card = card.clone();
            move || work.serve(&card, &begin)
        })?;
        // What came of the first try is known from here on. Had the thread ended, nobody would be left to wait for.
        let _ = begun.recv();
        Ok(Self { shared, card, thread: Some(thread) })
    }
}

fn unusable(card: &Path, error: &io::Error) -> Error {
    Error::Input(Fault::new(
        format!("{}: {error}", card.display()),
        "a display that is connected and that no other program holds",
        "end the desktop, name another `card` under [screen], or join the group `video`",
    ))
}

impl Shared {
    /// Takes the display of `card` and shows what comes until it is over. Where it cannot be taken, it is tried again after a
    /// while. Tells each time when it has tried.
    fn serve(&self, card: &Path, begin: &SyncSender<()>) {
        while let Err(error) = Display::take(card).and_then(|display| self.show_on(display, begin)) {
            self.trouble.tell(unusable(card, &error));
            // Only the first is waited for.
            let _ = begin.try_send(());
            if self.newest.rest(REST) == Rest::Over {
                return;
            }
        }
    }

    /// Shows what comes until it is over, unless the display's memory cannot be mapped: it is given back then.
    fn show_on(&self, mut display: Display, begin: &SyncSender<()>) -> io::Result<()> {
        // Copies, because what is mapped borrows them and the display is changed meanwhile.
        let mut buffers = display.buffers.map(|(buffer, _)| buffer);
        let mut memory = display.map(&mut buffers)?;
        // As it was described at first, should another have been plugged in since.
        self.taken.get_or_init(|| display.description.clone());
        let _ = begin.try_send(());
        let mut shot = Shot::default();
        while self.newest.take(&mut shot) {
            match display.show(&shot, &mut memory) {
                Ok(()) => self.trouble.is_over(),
                Err(error) => self.trouble.tell(error),
            }
        }
        Ok(())
    }
}

impl Display {
    fn take(path: &Path) -> io::Result<Self> {
        let nonblocking = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let card = Card(OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(path)?);
        let (connector, mode, crtc) = find_display(&card)?;
        let before = card.get_crtc(crtc)?;
        let (width, height) = mode.size();
        let buffers = [make_buffer(&card, mode)?, make_buffer(&card, mode)?];
        card.set_crtc(crtc, Some(buffers[0].1), (0, 0), &[connector], Some(mode))?;
        let description = format!("display at {}, {width}x{height} pixels", path.display());
        let size_px = [width.into(), height.into()];
        let fitting = Fitting::default();
        Ok(Self {
            card,
            crtc,
            connector,
            before,
            size_px,
            buffers,
            back: 1,
            is_flipping: false,
            fitting,
            description,
        })
    }

    /// The memory of both buffers, for as long as frames are shown.
    fn map<'b>(&self, [first, second]: &'b mut [DumbBuffer; 2]) -> io::Result<[DumbMapping<'b>; 2]> {
        Ok([self.card.map_dumb_buffer(first)?, self.card.map_dumb_buffer(second)?])
    }

    /// Whether the last frame is on the display.
    fn is_ready(&mut self) -> io::Result<bool> {
        if self.is_flipping {
            match self.card.receive_events() {
                Ok(mut events) => self.is_flipping = !events.any(|event| matches!(event, Event::PageFlip(_))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(!self.is_flipping)
    }

    fn show(&mut self, shot: &Shot, memory: &mut [DumbMapping<'_>; 2]) -> Result<(), Error> {
        shot.picture()?;
        let is_ready = self.is_ready();
        let shown = is_ready.and_then(|is_ready| if is_ready { self.draw(shot, memory) } else { Ok(()) });
        Ok(shown.map_err(|e| artifact::Error::io(&self.description, e))?)
    }

    fn draw(&mut self, shot: &Shot, memory: &mut [DumbMapping<'_>; 2]) -> io::Result<()> {
        let (buffer, framebuffer) = self.buffers[self.back];
        let stride = buffer.pitch() as usize;
        self.fitting.draw(shot, memory[self.back].as_mut(), stride, self.size_px);
        self.card.page_flip(self.crtc, framebuffer, PageFlipFlags::EVENT, None)?;
        (self.is_flipping, self.back) = (true, 1 - self.back);
        Ok(())
    }
}

impl Sink for Screen {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        // Until there is a display nobody reads pixels for it, and frames that are under way then are without.
        if self.shared.taken.get().is_some() && shown.shot.has_pixels() {
            self.shared.newest.put(shown.shot);
        }
        self.shared.trouble.check()
    }

    fn pixels(&self) -> Pixels {
        if self.shared.taken.get().is_some() { Pixels::Needed } else { Pixels::Unneeded }
    }

    fn health(&self) -> Health {
        self.shared.trouble.health()
    }

    fn describe(&self) -> String {
        let untaken = || format!("display at {}", self.card.display());
        self.shared.taken.get().cloned().unwrap_or_else(untaken)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.shared.newest.close();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Gives the display back as it was; where that fails, the kernel does it when the card is closed.
        let (framebuffer, mode) = (self.before.framebuffer(), self.before.mode());
        let _ = self.card.set_crtc(self.crtc, framebuffer, self.before.position(), &[self.connector], mode);
        for (buffer, framebuffer) in self.buffers {
            let _ = self.card.destroy_framebuffer(framebuffer);
            let _ = self.card.destroy_dumb_buffer(buffer);
        }
    }
}

fn find_display(card: &Card) -> io::Result<(connector::Handle, Mode, crtc::Handle)> {
    let resources = card.resource_handles()?;
    for connector in resources.connectors() {
        let Ok(info) = card.get_connector(*connector, true) else { continue };
        // The first mode is the one the display prefers.
        let (connector::State::Connected, Some(mode)) = (info.state(), info.modes().first()) else {
            continue;
        };
        let encoders = info.encoders().iter().filter_map(|encoder| card.get_encoder(*encoder).ok());
        let crtc = encoders.flat_map(|encoder| resources.filter_crtcs(encoder.possible_crtcs())).next();
        if let Some(crtc) = crtc {
            return Ok((*connector, *mode, crtc));
        }
    }
    Err(io::Error::new(ErrorKind::NotFound, "no display is connected"))
}

fn make_buffer(card: &Card, mode: Mode) -> io::Result<(DumbBuffer, framebuffer::Handle)> {
    let (width, height) = mode.size();
    let buffer = card.create_dumb_buffer((width.into(), height.into()), DrmFourcc::Xrgb8888, 32)?;
    let framebuffer = card.add_framebuffer(&buffer, 24, 32)?;
    Ok((buffer, framebuffer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{FrameTimes, Vitals};

    #[test]
    fn a_display_that_is_not_there_is_told_of_once_and_takes_no_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let mut screen = Screen::open(&ScreenConfig { card: folder.path().join("card0") }).unwrap();
        let shot = Shot { width_px: 1, height_px: 1, bytes: vec![0; 3], ..Shot::default() };
        let (times, vitals) = (FrameTimes::default(), Vitals::default());
        let shown = Shown { number: 0, shot: &shot, objects: &[], found: &[], classes: &[], times, vitals };
        let told = screen.show(&shown).unwrap_err().to_string();
        assert!(told.contains("card0") && told.contains("a display that is connected"), "{told}");
        screen.show(&shown).unwrap();
        assert_eq!((screen.health(), screen.pixels()), (Health::Troubled, Pixels::Unneeded));
        assert!(screen.describe().ends_with("card0"), "{}", screen.describe());
    }
}
