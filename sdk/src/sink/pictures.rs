//! Frames as JPEG for all who want them, encoded once and on a thread of their own: the newest frame counts, and a frame that
//! nobody wants is not even copied, nor read from a camera's buffer. Nobody gets more of them in a second than asked for: encoding takes longer than finding.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::desk::Desk;
use super::trouble::Trouble;
use super::{Health, Pixels, Shown, Sink, copy_pixels, jpeg};
use crate::Error;
use crate::pace::Pace;
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
    /// Whether the next frame is wanted; asked for each that is due.
    fn wants(&self) -> bool;

    /// Time between two frames.
    fn interval(&self) -> Duration;

    /// Takes one in; returns at once.
    fn take(&self, jpeg: &Arc<Jpeg>);

    /// Fails once for what could not be done with those taken.
    fn check(&self) -> Result<(), Error>;

    /// Whether what failed still does.
    fn is_troubled(&self) -> bool;

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// The sink that encodes frames.
pub(super) struct Pictures {
    shared: Arc<Shared>,
    takers: Arc<[Arc<dyn Taker>]>,
    /// Of each taker.
    paces: Vec<Pace>,
    /// Whether the frame at hand is for each taker.
    wanted: Vec<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Where the newest frame waits for the encoder.
    desk: Desk<Waiting>,
    trouble: Trouble,
}

#[derive(Default)]
struct Waiting {
    shot: Shot,
    /// When the frame in `shot` was shown, until the encoder has it.
    since: Option<Instant>,
    /// Which takers it is for.
    wanted: Vec<bool>,
}

impl Pictures {
    /// Encodes for `takers` from now on.
    pub(super) fn open(takers: Vec<Arc<dyn Taker>>) -> Result<Self, Error> {
        let paces: Vec<_> = takers.iter().map(|taker| Pace::new(taker.interval())).collect();
        let (shared, takers) = (Arc::new(Shared::default()), Arc::<[_]>::from(takers));
        let wanted = vec![false; paces.len()];
        shared.desk.with(|waiting| waiting.wanted.clone_from(&wanted));
        let work = (Arc::clone(&shared), Arc::clone(&takers));
        let thread = super::open::spawn("repedge-jpeg", move || work.0.serve(&work.1))?;
        Ok(Self { shared, takers, paces, wanted, thread: Some(thread) })
    }
}

impl Sink for Pictures {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let now = Instant::now();
        for ((taker, pace), wanted) in self.takers.iter().zip(&mut self.paces).zip(&mut self.wanted) {
            *wanted = shown.shot.has_pixels() && pace.left(now).is_none() && taker.wants();
            if *wanted {
                pace.took(now);
            }
        }
        if self.wanted.contains(&true) {
            // The encoder holds the desk for as long as an exchange takes.
            self.shared.desk.bring(|waiting| waiting.exchange_for(shown.shot, now, &self.wanted));
        }
        self.takers.iter().try_for_each(|taker| taker.check())?;
        self.shared.trouble.check()
    }

    fn pixels(&self) -> Pixels {
        if self.takers.iter().any(|taker| taker.wants()) { Pixels::Needed } else { Pixels::Unneeded }
    }

    fn health(&self) -> Health {
        if self.takers.iter().any(|taker| taker.is_troubled()) {
            return Health::Troubled;
        }
        self.shared.trouble.health()
    }

    fn describe(&self) -> String {
        self.takers.iter().map(|taker| taker.describe()).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.shared.desk.close();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Encodes what comes, until it is over; a frame that waits then is still encoded.
    fn serve(&self, takers: &[Arc<dyn Taker>]) {
        let (mut shot, mut wanted, mut len) = (Shot::default(), vec![false; takers.len()], 0);
        while let Some(at) = self.desk.take(|waiting| waiting.take(&mut shot, &mut wanted)) {
            let mut bytes = Vec::with_capacity(len + len / 8);
            match shot.picture().and_then(|picture| jpeg::encode(picture, QUALITY, &mut bytes)) {
                Ok(()) => {
                    len = bytes.len();
                    self.trouble.is_over();
                    let jpeg = Arc::new(Jpeg { at, size_px: [shot.width_px, shot.height_px], bytes });
                    let given =
                        takers.iter().zip(&wanted).filter(|(taker, wanted)| **wanted && taker.wants());
                    given.for_each(|(taker, _)| taker.take(&jpeg));
                }
                Err(error) => self.trouble.tell(error),
            }
        }
    }
}

impl Waiting {
    /// A newer frame. Whoever the older one was for, if the encoder does not have it yet, is given this one.
    fn exchange_for(&mut self, shot: &Shot, shown_at: Instant, wanted: &[bool]) {
        copy_pixels(shot, &mut self.shot);
        self.since = Some(shown_at);
        self.wanted.iter_mut().zip(wanted).for_each(|(is, now)| *is |= now);
    }

    /// Exchanges the frame, if there is one, for `shot`, and for whom it is for `wanted`.
    fn take(&mut self, shot: &mut Shot, wanted: &mut Vec<bool>) -> Option<Instant> {
        let since = self.since.take()?;
        std::mem::swap(&mut self.shot, shot);
        std::mem::swap(&mut self.wanted, wanted);
        self.wanted.fill(false);
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::sink::{FrameTimes, Vitals};
    use crate::source::{Pattern, Source};

    /// Takes one frame an interval while it is there, and counts them.
    struct Counter {
        interval: Duration,
        is_there: AtomicBool,
        taken: Mutex<usize>,
        trouble: Trouble,
    }

    impl Counter {
        fn new(interval: Duration) -> Arc<Self> {
            let (taken, trouble) = (Mutex::default(), Trouble::default());
            Arc::new(Self { interval, is_there: AtomicBool::new(true), taken, trouble })
        }
    }

    impl Taker for Counter {
        fn wants(&self) -> bool {
            self.is_there.load(Ordering::SeqCst)
        }

        fn interval(&self) -> Duration {
            self.interval
        }

        fn take(&self, jpeg: &Arc<Jpeg>) {
            assert!(jpeg.size_px == [64, 48] && jpeg.bytes.starts_with(&[0xff, 0xd8]));
            *self.taken.lock().unwrap() += 1;
        }

        fn check(&self) -> Result<(), Error> {
            self.trouble.check()
        }

        fn is_troubled(&self) -> bool {
            self.trouble.is_known()
        }

        fn describe(&self) -> String {
            "a counter".into()
        }
    }

    /// Shows twenty frames, and gives what went wrong.
    fn show_twenty(pictures: &mut Pictures) -> Vec<Error> {
        let (mut pattern, mut shot) = (Pattern::new(64, 48), Shot::default());
        let show = |number| {
            pattern.next(&mut shot, Duration::ZERO).unwrap();
            let (times, vitals) = (FrameTimes::default(), Vitals::default());
            let shown = Shown { number, shot: &shot, objects: &[], found: &[], classes: &[], times, vitals };
            let outcome = pictures.show(&shown);
            // Until the encoder has it: a newer frame would replace it.
            while pictures.shared.desk.with(|waiting| waiting.since.is_some()) {
                std::thread::yield_now();
            }
            outcome.err()
        };
        (0..20).filter_map(show).collect()
    }

    #[test]
    fn each_taker_has_its_own_rate() {
        let (seldom, always) = (Counter::new(Duration::from_secs(3600)), Counter::new(Duration::ZERO));
        let mut pictures = Pictures::open(vec![Arc::clone(&seldom) as _, Arc::clone(&always) as _]).unwrap();
        assert!(show_twenty(&mut pictures).is_empty());
        assert_eq!(pictures.health(), Health::Sound);
        drop(pictures);
        assert_eq!([*seldom.taken.lock().unwrap(), *always.taken.lock().unwrap()], [1, 20]);
    }

    #[test]
    fn pixels_are_needed_while_anybody_wants_pictures_and_frames_without_are_passed_over() {
        let counter = Counter::new(Duration::from_secs(3600));
        let mut pictures = Pictures::open(vec![Arc::clone(&counter) as _]).unwrap();
        assert_eq!(pictures.pixels(), Pixels::Needed);
        counter.is_there.store(false, Ordering::SeqCst);
        assert_eq!(pictures.pixels(), Pixels::Unneeded);
        counter.is_there.store(true, Ordering::SeqCst);
        let (shot, times, vitals) = (Shot::default(), FrameTimes::default(), Vitals::default());
        let unread = Shown { number: 0, shot: &shot, objects: &[], found: &[], classes: &[], times, vitals };
        pictures.show(&unread).unwrap();
        // The unread one did not count as the one of this hour.
        assert!(show_twenty(&mut pictures).is_empty());
        drop(pictures);
        assert_eq!(*counter.taken.lock().unwrap(), 1);
    }

    #[test]
    fn the_trouble_of_one_is_told_once_lasts_and_costs_the_others_nothing() {
        let (troubled, sound) = (Counter::new(Duration::ZERO), Counter::new(Duration::ZERO));
        let mut pictures = Pictures::open(vec![Arc::clone(&troubled) as _, Arc::clone(&sound) as _]).unwrap();
        troubled.trouble.tell(Error::Input(artifact::Fault::new("a full disk", "room", "")));
        assert_eq!((show_twenty(&mut pictures).len(), pictures.health()), (1, Health::Troubled));
        troubled.trouble.is_over();
        assert_eq!((show_twenty(&mut pictures).len(), pictures.health()), (0, Health::Sound));
        drop(pictures);
        assert_eq!(*sound.taken.lock().unwrap(), 40);
    }
}
