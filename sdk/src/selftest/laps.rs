//! A run in ten laps, so that noise and slowing down can be told: speeds, how far chance moves them, and whether the device
//! got slower by more than that.

use std::time::{Duration, Instant};

/// Parts of a run.
pub(super) const LAPS: usize = 10;
/// Frames that a lap must have for its speed to say anything.
const FEWEST: u64 = 3;
/// A device that gets slower by less than this share from the first lap to the last is not throttled.
const THROTTLED: f64 = 0.1;
/// Standard errors that chance stays within.
const CHANCE: f64 = 3.0;

/// A tenth of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Lap {
    pub frames: u64,
    /// Frames a second.
    pub fps: f64,
}

impl Lap {
    /// So many frames in `passed`.
    pub(super) fn of(frames: u64, passed: Duration) -> Self {
        Self { frames, fps: per_second(frames, passed) }
    }
}

/// How many of `frames` go into a second, where all took `spent`.
#[expect(clippy::cast_precision_loss, reason = "frame counts are far below 2^53")]
pub(super) fn per_second(frames: u64, spent: Duration) -> f64 {
    frames as f64 / spent.as_secs_f64().max(1e-9)
}

/// Whether the last lap was slower than the first, by more than a tenth of it and by more than chance; none where a lap has
/// too few frames to tell.
///
/// Chance is three standard errors of the difference of two laps, with the spread of a lap estimated from the steps between
/// laps that follow each other: so that getting slower bit by bit does not count as noise. The largest step is left out: a
/// device that is throttled once does not count as a noisy one.
pub(super) fn is_throttled(laps: &[Lap; LAPS]) -> Option<bool> {
    let [first, .., last] = laps;
    let slower = first.fps - last.fps;
    let is_told = laps.iter().all(|lap| lap.frames >= FEWEST);
    is_told.then(|| slower > (THROTTLED * first.fps).max(CHANCE * difference_error(laps)))
}

/// The standard error of the difference of two laps.
fn difference_error(laps: &[Lap; LAPS]) -> f64 {
    let squares = laps.windows(2).map(|pair| (pair[1].fps - pair[0].fps).powi(2));
    let largest = squares.clone().fold(0.0, f64::max);
    let counted = LAPS - 2;
    // A step is such a difference.
    ((squares.sum::<f64>() - largest) / counted as f64).sqrt()
}

/// Mean speed over all laps, and how far chance may have moved it.
pub(super) struct Speed {
    pub fps: f64,
    pub noise_fps: f64,
}

impl Speed {
    /// Mean of the laps' speeds, and twice its standard error.
    pub(super) fn of(laps_fps: [f64; LAPS]) -> Self {
        let count = LAPS as f64;
        let fps = laps_fps.iter().sum::<f64>() / count;
        let variance = laps_fps.iter().map(|lap| (lap - fps).powi(2)).sum::<f64>() / (count - 1.0);
        Self { fps, noise_fps: 2.0 * (variance / count).sqrt() }
    }
}

/// Laps of frames that come by themselves. A lap ends with the first frame after its time, so that none is without any.
pub(super) struct LapClock {
    lap: Duration,
    begun: Option<Instant>,
    frames: u64,
    done: usize,
    laps: [Lap; LAPS],
}

impl LapClock {
    /// All laps together last `whole`, once they have begun.
    pub(super) fn new(whole: Duration) -> Self {
        let lap = whole / 10;
        Self { lap, begun: None, frames: 0, done: 0, laps: [Lap::default(); LAPS] }
    }

    /// Starts the first lap.
    pub(super) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
    }

    /// Whether frames count.
    pub(super) fn is_running(&self) -> bool {
        self.begun.is_some() && self.done < LAPS
    }

    /// Counts a frame.
    pub(super) fn count(&mut self, now: Instant) {
        let Some(begun) = self.begun.filter(|_| self.is_running()) else { return };
        self.frames += 1;
        let passed = now.saturating_duration_since(begun);
        if passed >= self.lap {
            self.laps[self.done] = Lap::of(self.frames, passed);
            self.done += 1;
            (self.begun, self.frames) = (Some(now), 0);
        }
    }

    /// Laps that are over.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// All of them.
    pub(super) fn laps(&self) -> [Lap; LAPS] {
        self.laps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(laps_fps: [f64; LAPS]) -> Option<bool> {
        is_throttled(&laps_fps.map(|fps| Lap { frames: FEWEST, fps }))
    }

    /// `speed` of each lap, with noise of this standard deviation; the same in every run.
    fn noisy(seed: u64, deviation: f64, speed: impl Fn(f64) -> f64) -> [f64; LAPS] {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = || {
            // xorshift64, of which the upper bits are taken.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX)
        };
        // The sum of twelve has a deviation of one.
        std::array::from_fn(|lap| {
            let chance: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            speed(lap as f64) + deviation * chance
        })
    }

    /// How many of a hundred such runs count as throttled.
    fn of_a_hundred(deviation: f64, speed: impl Fn(f64) -> f64 + Copy) -> usize {
        (1..=100).filter(|seed| throttled(noisy(*seed, deviation, speed)) == Some(true)).count()
    }

    #[test]
    fn a_device_that_is_steady_is_not_throttled_however_noisy_its_laps_are() {
        assert_eq!(throttled([32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0]), Some(false));
        for percent in [1.0, 3.0, 5.0, 10.0] {
            let count = of_a_hundred(percent, |_| 100.0);
            assert!(count <= 5, "{count} runs with a noise of {percent} %");
        }
    }

    #[test]
    fn a_device_that_slows_down_by_a_fifth_is_throttled() {
        assert_eq!(throttled(std::array::from_fn(|lap| 100.0 - 20.0 * lap as f64 / 9.0)), Some(true));
        for percent in [1.0, 2.0] {
            let slowly = of_a_hundred(percent, |lap| 100.0 - 20.0 * lap / 9.0);
            let at_once = of_a_hundred(percent, |lap| if lap < 6.0 { 100.0 } else { 80.0 });
            assert!(slowly >= 95 && at_once >= 95, "{slowly} and {at_once} runs with a noise of {percent} %");
        }
    }

    #[test]
    fn a_tenth_less_is_no_throttling_and_more_than_that_is() {
        let last = |fps| throttled(std::array::from_fn(|lap| if lap < LAPS - 1 { 100.0 } else { fps }));
        assert_eq!([last(91.0), last(89.0)], [Some(false), Some(true)]);
    }

    #[test]
    fn too_few_frames_tell_nothing() {
        let mut laps = [Lap { frames: FEWEST, fps: 100.0 }; LAPS];
        laps[4].frames = FEWEST - 1;
        assert_eq!(is_throttled(&laps), None);
    }

    #[test]
    fn a_lap_ends_with_the_first_frame_after_its_time() {
        let (mut clock, begin) = (LapClock::new(Duration::from_secs(10)), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        clock.count(at(0));
        assert!(!clock.is_running());
        clock.begin(at(0));
        for ms in [400, 800, 1600, 6600] {
            clock.count(at(ms));
        }
        assert_eq!(clock.done(), 2, "a pause is one lap");
        let [first, second, ..] = clock.laps();
        assert_eq!((first.frames, second), (3, Lap { frames: 1, fps: 0.2 }));
        assert!((first.fps - 1.875).abs() < 1e-9);
        for second in 10..30 {
            clock.count(at(1000 * second));
        }
        assert_eq!((clock.done(), clock.is_running()), (LAPS, false));
    }
}
