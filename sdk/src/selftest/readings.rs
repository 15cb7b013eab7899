//! What the kernel tells of the device while it runs: clocks, temperature, NPU load, memory, power. What cannot be read
//! is absent, never guessed. Sets nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::power;

/// Clocks by the kernel's name of what they drive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clocks {
    /// Of each group of CPU cores, such as `policy0`.
    pub cpu_hz: BTreeMap<String, u64>,
    /// Of each other part that has one, such as `fdab0000.npu` or `dmc`.
    pub devfreq_hz: BTreeMap<String, u64>,
    /// Those that were to be fixed for the run, by their name in the board's file.
    #[serde(default)]
    pub fixed: BTreeMap<String, FixedClock>,
}

/// A clock that was to be fixed while speed was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedClock {
    /// What was asked for; none where the governor chooses the highest.
    pub requested_mhz: Option<u32>,
    /// What the kernel told at the end of the run; none where that cannot be read.
    pub found_mhz: Option<u32>,
    /// Why it could not be fixed; none where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_fixed: Option<String>,
}

/// What could be read at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readings {
    /// Clocks.
    pub clocks: Option<Clocks>,
    /// The hottest thermal zone.
    pub temperature_c: Option<f64>,
    /// Load of each NPU core in percent.
    pub npu_load: Option<Vec<f64>>,
    /// Resident memory of this process.
    pub rss_bytes: Option<u64>,
    /// The highest power that any one sensor tells: see `power.rs` for which.
    pub power_w: Option<f64>,
}

impl Readings {
    /// Reads this machine, and in `npu_load` the load of its NPU, where its kernel tells that.
    pub fn now(npu_load: Option<&Path>) -> Self {
        Self::under(Path::new("/"), npu_load)
    }

    /// Reads the `proc` and `sys` that stand in `root`.
    fn under(root: &Path, npu_load: Option<&Path>) -> Self {
        Self {
            clocks: clocks(root),
            temperature_c: temperature_c(root),
            npu_load: npu_load.and_then(|file| load_in(&below(root, file))),
            rss_bytes: rss_bytes(root),
            power_w: power::power_w(root),
        }
    }

    /// The higher of each, and the later clocks.
    pub(super) fn highest(self, later: &Self) -> Self {
        Self {
            clocks: later.clocks.clone().or(self.clocks),
            temperature_c: higher(self.temperature_c, later.temperature_c),
            npu_load: match (self.npu_load, &later.npu_load) {
                (Some(a), Some(b)) if a.len() == b.len() => {
                    Some(a.iter().zip(b).map(|(a, b)| a.max(*b)).collect())
                }
                (a, b) => b.clone().or(a),
            },
            rss_bytes: self.rss_bytes.max(later.rss_bytes),
            power_w: higher(self.power_w, later.power_w),
        }
    }
}

fn higher(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

fn clocks(root: &Path) -> Option<Clocks> {
    let named = |folder: &str, file: &str, scale: u64| -> BTreeMap<String, u64> {
        let entries = entries(&root.join(folder));
        let value = |path: &PathBuf| Some((name(path)?, number(&path.join(file))?.checked_mul(scale)?));
        entries.iter().filter_map(value).collect()
    };
    let clocks = Clocks {
        // cpufreq counts in kHz, devfreq in Hz (kernel documentation, admin-guide/pm/cpufreq and ABI/sysfs-class-devfreq).
        cpu_hz: named("sys/devices/system/cpu/cpufreq", "scaling_cur_freq", 1000),
        devfreq_hz: named("sys/class/devfreq", "cur_freq", 1),
        fixed: BTreeMap::new(),
    };
    (clocks != Clocks::default()).then_some(clocks)
}

fn temperature_c(root: &Path) -> Option<f64> {
    let zones = entries(&root.join("sys/class/thermal"));
    let millidegrees = zones.iter().filter_map(|zone| real(&zone.join("temp")));
    millidegrees.map(|it| it / 1000.0).reduce(f64::max)
}

/// From lines such as `NPU load:  Core0: 12%, Core1:  0%,`.
fn load_in(file: &Path) -> Option<Vec<f64>> {
    let text = fs::read_to_string(file).ok()?;
    let percents: Vec<f64> =
        text.split('%').filter_map(|part| part.rsplit([' ', ':']).next()?.parse().ok()).collect();
    (!percents.is_empty()).then_some(percents)
}

fn rss_bytes(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn below(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

pub(super) fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub(super) fn real(path: &Path) -> Option<f64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    const LOAD: &str = "/sys/kernel/debug/npu/busy";

    /// Reads a machine whose board's file names [`LOAD`].
    fn read(machine: &tempfile::TempDir) -> Readings {
        Readings::under(machine.path(), Some(Path::new(LOAD)))
    }

    #[test]
    fn nothing_is_read_where_there_is_nothing() {
        assert_eq!(read(&machine(&[])), Readings::default());
        let unreadable = [
            ("sys/class/thermal/thermal_zone0/temp", "hot"),
            ("sys/kernel/debug/npu/busy", "NPU load: unknown"),
            ("proc/self/status", "VmRSS: much"),
        ];
        assert_eq!(read(&machine(&unreadable)), Readings::default());
    }

    #[test]
    fn a_board_is_read_in_its_units() {
        let board = machine(&[
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "1800000\n"),
            ("sys/class/devfreq/fdab0000.npu/cur_freq", "1000000000\n"),
            ("sys/class/thermal/thermal_zone0/temp", "41250\n"),
            ("sys/class/thermal/thermal_zone1/temp", "38000\n"),
            ("sys/kernel/debug/npu/busy", "NPU load:  Core0: 12%, Core1:  0%, Core2: 100%,\n"),
            ("proc/self/status", "Name:\tx\nVmRSS:\t    2048 kB\n"),
            ("sys/class/hwmon/hwmon0/power1_input", "1500000\n"),
        ]);
        let found = read(&board);
        assert_eq!(Readings::under(board.path(), None).npu_load, None, "no board's file names one");
        let clocks = found.clocks.clone().unwrap();
        assert_eq!(clocks.cpu_hz["policy0"], 1_800_000_000);
        assert_eq!(clocks.devfreq_hz["fdab0000.npu"], 1_000_000_000);
        assert_eq!((found.temperature_c, found.power_w), (Some(41.25), Some(1.5)));
        assert_eq!((found.npu_load.clone(), found.rss_bytes), (Some(vec![12.0, 0.0, 100.0]), Some(2 << 20)));
        let cooler = Readings { temperature_c: Some(30.0), ..Readings::default() };
        assert_eq!(found.clone().highest(&cooler), found);
        assert_eq!(cooler.highest(&found), found);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(Readings::now(None).rss_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }
}
