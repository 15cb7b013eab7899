//! Where the newest frame waits for a thread that shows it. One that comes before the thread has the last takes its place, so
//! that who brings frames never waits.

use std::time::Duration;

use super::copy_pixels;
use super::desk::Desk;
use crate::source::Shot;

/// The place.
#[derive(Default)]
pub(super) struct Newest(Desk<Waiting>);

/// What is to be done after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// More may come.
    GoOn,
    /// Nothing more will come.
    Over,
}

#[derive(Default)]
struct Waiting {
    shot: Shot,
    /// Whether the thread does not have it yet.
    is_new: bool,
}

impl Newest {
    /// Brings a frame.
    pub(super) fn put(&self, shot: &Shot) {
        // The thread holds the place for as long as an exchange takes.
        self.0.bring(|waiting| {
            copy_pixels(shot, &mut waiting.shot);
            waiting.is_new = true;
        });
    }

    /// Waits for a frame and exchanges it for `shot`; says whether there is one. One that waits at the end is still given.
    pub(super) fn take(&self, shot: &mut Shot) -> bool {
        let exchange = |waiting: &mut Waiting| {
            let is_new = std::mem::take(&mut waiting.is_new);
            is_new.then(|| std::mem::swap(&mut waiting.shot, shot))
        };
        self.0.take(exchange).is_some()
    }

    /// Waits for so long, or until nothing more will come; says which.
    pub(super) fn rest(&self, limit: Duration) -> Rest {
        if self.0.wait_for_close(limit) { Rest::Over } else { Rest::GoOn }
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_frame_is_taken_once_and_whoever_waits_wakes_at_the_end() {
        let (newest, mut shot) = (Newest::default(), Shot::default());
        for level in [1, 2] {
            newest.put(&Shot { width_px: 1, height_px: 1, bytes: vec![level; 3], ..Shot::default() });
        }
        assert!(newest.take(&mut shot));
        assert_eq!((shot.width_px, &shot.bytes[..]), (1, &[2; 3][..]));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| newest.take(&mut Shot::default()));
            newest.close();
            assert!(!waits.join().unwrap());
        });
    }

    #[test]
    fn a_rest_ends_with_its_time_or_at_once_when_it_is_over() {
        let newest = Newest::default();
        assert_eq!(newest.rest(Duration::ZERO), Rest::GoOn);
        std::thread::scope(|scope| {
            let rests = scope.spawn(|| newest.rest(Duration::from_secs(3600)));
            newest.close();
            assert_eq!(rests.join().unwrap(), Rest::Over);
        });
    }
}
