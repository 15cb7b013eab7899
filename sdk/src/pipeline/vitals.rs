//! How the device does: frames a second, and how hot it is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time from one reading of the temperature to the next.
const READING: Duration = Duration::from_secs(2);
/// What of the average a new frame makes, where frames come in a steady stream.
const SHARE: f32 = 0.1;
/// An interval so many times the average is no part of the stream,
const GAP_TIMES: f32 = 10.0;
/// if it is so long, too: frames of sources that give several at once are further apart now and then.
const GAP_S: f32 = 1.0;

/// Frames a second, lately.
#[derive(Debug, Default)]
pub struct Rate {
    before: Option<Instant>,
    interval_s: Option<f32>,
}

impl Rate {
    /// Counts a frame, and gives the rate; 0 for the first, and for the first after a gap.
    pub fn count(&mut self, now: Instant) -> f32 {
        if let Some(before) = self.before.replace(now) {
            self.pass((now - before).as_secs_f32());
        }
        self.interval_s.filter(|interval| *interval > 0.0).map_or(0.0, |interval| interval.recip())
    }

    fn pass(&mut self, passed_s: f32) {
        self.interval_s = match self.interval_s {
            Some(old) if passed_s > GAP_S.max(GAP_TIMES * old) => None,
            Some(old) => Some(old + SHARE * (passed_s - old)),
            None => Some(passed_s),
        };
    }
}

/// A temperature that one thread reads and others use.
#[derive(Debug)]
pub struct Temperature(AtomicU32);

impl Default for Temperature {
    fn default() -> Self {
        Self(AtomicU32::new(f32::NAN.to_bits()))
    }
}

impl Temperature {
    /// What was read last, in °C.
    pub fn get(&self) -> Option<f32> {
        Some(f32::from_bits(self.0.load(Ordering::Relaxed))).filter(|it| it.is_finite())
    }
}

/// Reads the hottest of the kernel's thermal zones, now and then, without allocating.
#[derive(Debug)]
pub struct Thermometer {
    zones: Vec<PathBuf>,
    due: Instant,
}

impl Thermometer {
    /// The zones below `root`, which is `/` on a device.
    pub fn new(root: &Path) -> Self {
        let entries = std::fs::read_dir(root.join("sys/class/thermal")).into_iter().flatten().flatten();
        let zones = entries.map(|entry| entry.path().join("temp")).filter(|path| path.is_file());
        Self { zones: zones.collect(), due: Instant::now() }
    }

    /// Reads into `temperature`, if it is time to.
    pub fn read(&mut self, temperature: &Temperature, now: Instant) {
        if now < self.due {
            return;
        }
        self.due = now + READING;
        let hottest = self.zones.iter().filter_map(|zone| degrees(zone)).reduce(f32::max);
        temperature.0.store(hottest.unwrap_or(f32::NAN).to_bits(), Ordering::Relaxed);
    }
}

/// Thousandths of a degree, as the kernel writes them (its documentation, driver-api/thermal/sysfs-api).
fn degrees(zone: &Path) -> Option<f32> {
    let mut bytes = [0; 16];
    let read = File::open(zone).ok()?.read(&mut bytes).ok()?;
    let text = std::str::from_utf8(bytes.get(..read)?).ok()?;
    Some(text.trim().parse::<f32>().ok()? / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_frames() {
        let (mut rate, begin) = (Rate::default(), Instant::now());
        let at = |ms: u64| begin + Duration::from_millis(ms);
        assert_eq!(rate.count(at(0)), 0.0);
        assert_eq!(rate.count(at(100)), 10.0);
        for frame in 2..100 {
            assert!((rate.count(at(frame * 100)) - 10.0).abs() < 1e-3);
        }
        for frame in 0..100 {
            rate.count(at(9900 + frame * 50));
        }
        assert!((rate.count(at(9900 + 5000)) - 20.0).abs() < 0.1);
    }

    #[test]
    fn after_a_gap_the_rate_is_that_of_the_frames_behind_it() {
        let (mut rate, mut now) = (Rate::default(), Instant::now());
        let mut after = |ms: u64| {
            now += Duration::from_millis(ms);
            rate.count(now)
        };
        for _ in 0..20 {
            after(100);
        }
        assert_eq!(after(60_000), 0.0);
        for _ in 0..20 {
            assert!((after(50) - 20.0).abs() < 0.01);
        }
        // Less than a second is no gap, nor is a stream that is as slow as that.
        assert!(after(900) > 0.0);
        for _ in 0..20 {
            after(2000);
        }
        assert!((after(2000) - 0.5).abs() < 0.01);
    }

    #[test]
    fn the_hottest_zone_counts_and_none_is_none() {
        let root = tempfile::tempdir().unwrap();
        let temperature = Temperature::default();
        Thermometer::new(root.path()).read(&temperature, Instant::now());
        assert_eq!(temperature.get(), None);
        for (zone, text) in
            [("thermal_zone0", "41250\n"), ("thermal_zone1", "52500\n"), ("thermal_zone2", "hot")]
        {
            let folder = root.path().join("sys/class/thermal").join(zone);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("temp"), text).unwrap();
        }
        let mut thermometer = Thermometer::new(root.path());
        thermometer.read(&temperature, Instant::now() + READING);
        assert_eq!(temperature.get(), Some(52.5));
    }
}
