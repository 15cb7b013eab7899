//! Frames as JPEG for all who want them, encoded once and on a thread of their own: the newest frame counts, and a frame that
//! nobody wants is not even copied.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::trouble::Trouble;
use super::{Shown, Sink, jpeg};
use crate::Error;
use crate::source::Shot;

/// Looks good on a screen; half the bytes of 90.
const QUALITY: u8 = 80;

/// A frame as JPEG.
#[derive(Debug)]
pub(super) struct Jpeg {
    /// When the frame was shown.
    pub(super) at: Instant,
    pub(super) size_px: [usize; 2],
    pub(super) bytes: Vec<u8>,
}

/// Somebody who takes frames as JPEG.
pub(super) trait Taker: Send + Sync {
    /// Whether the next frame is wanted; asked for each.
    fn wants(&self) -> bool;

    /// Takes one in; returns at once.
    fn take(&self, jpeg: &Arc<Jpeg>);

    /// Fails once for what could not be done with those taken.
    fn check(&self) -> Result<(), Error>;

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// The sink that encodes frames.
pub(super) struct Pictures {
    desk: Arc<Desk>,
    takers: Arc<[Arc<dyn Taker>]>,
    thread: Option<JoinHandle<()>>,
}

/// Where the newest frame waits for the encoder.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    trouble: Trouble,
}

#[derive(Default)]
struct Waiting {
    shot: Shot,
    /// When the frame in `shot` was shown, until the encoder has it.
    since: Option<Instant>,
    is_closed: bool,
}

impl Pictures {
    /// Encodes for `takers` from now on.
    pub(super) fn open(takers: Vec<Arc<dyn Taker>>) -> Result<Self, Error> {
        let (desk, takers) = (Arc::new(Desk::default()), Arc::<[_]>::from(takers));
        let work = { (Arc::clone(&desk), Arc::clone(&takers)) };
        let thread = super::open::spawn("repedge-jpeg", move || work.0.serve(&work.1))?;
        Ok(Self { desk, takers, thread: Some(thread) })
    }
}

impl Sink for Pictures {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        if self.takers.iter().any(|taker| taker.wants()) {
            let mut waiting = self.desk.lock();
            let shot = &mut waiting.shot;
            (shot.width_px, shot.height_px) = (shown.shot.width_px, shown.shot.height_px);
            shot.format = shown.shot.format;
            shot.bytes.clone_from(&shown.shot.bytes);
            waiting.since = Some(Instant::now());
            self.desk.changed.notify_one();
        }
        self.takers.iter().try_for_each(|taker| taker.check())?;
        self.desk.trouble.check()
    }

    fn describe(&self) -> String {
        self.takers.iter().map(|taker| taker.describe()).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.desk.lock().is_closed = true;
        self.desk.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes what comes, until it is over; a frame that waits then is still encoded.
    fn serve(&self, takers: &[Arc<dyn Taker>]) {
        let (mut shot, mut len) = (Shot::default(), 0);
        while let Some(at) = self.next(&mut shot) {
            let mut bytes = Vec::with_capacity(len + len / 8);
            match shot.picture().and_then(|picture| jpeg::encode(picture, QUALITY, &mut bytes)) {
                Ok(()) => {
                    len = bytes.len();
                    self.trouble.is_over();
                    let jpeg = Arc::new(Jpeg { at, size_px: [shot.width_px, shot.height_px], bytes });
                    takers.iter().filter(|taker| taker.wants()).for_each(|taker| taker.take(&jpeg));
                }
                Err(error) => self.trouble.tell(error),
            }
        }
    }

    /// Waits for a frame and exchanges it for `shot`; none when it is over.
    fn next(&self, shot: &mut Shot) -> Option<Instant> {
        let mut waiting = self.lock();
        loop {
            if let Some(since) = waiting.since.take() {
                std::mem::swap(&mut waiting.shot, shot);
                return Some(since);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
