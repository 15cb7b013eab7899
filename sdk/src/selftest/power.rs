//! How much power is drawn, where the kernel tells. Boards have sensors one behind another, and one sensor may measure what goes
//! into a regulator and what comes out: a sum would count twice. So the highest of all counts, which is the one nearest to the
//! supply; what other supplies give is not in it.

use std::path::{Path, PathBuf};

use super::readings::{entries, name, real};

/// The highest `power*_input` of all sensors; where there is none, the highest `power_now` of all supplies. In watts.
pub(super) fn power_w(root: &Path) -> Option<f64> {
    // Both count in µW (kernel documentation, ABI/testing/sysfs-class-hwmon and sysfs-class-power).
    let sensors = entries(&root.join("sys/class/hwmon"));
    let inputs = sensors.iter().flat_map(|sensor| entries(sensor)).filter(|file| is_input(file));
    highest_w(inputs).or_else(|| {
        let supplies = entries(&root.join("sys/class/power_supply"));
        highest_w(supplies.iter().map(|supply| supply.join("power_now")))
    })
}

/// Whether `file` is a sensor's reading of now, such as `power2_input`.
fn is_input(file: &Path) -> bool {
    let name = name(file).unwrap_or_default();
    let number = name.strip_prefix("power").and_then(|rest| rest.strip_suffix("_input"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn highest_w(files: impl Iterator<Item = PathBuf>) -> Option<f64> {
    // Some drivers tell with a sign which way it flows.
    files.filter_map(|file| real(&file)).map(|microwatts| microwatts.abs() / 1e6).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn power_of(files: &[(&str, &str)]) -> Option<f64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join("sys/class").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        power_w(root.path())
    }

    #[test]
    fn the_highest_of_all_sensors_and_channels_counts() {
        let sensors = [
            ("hwmon/hwmon0/temp1_input", "99000000\n"),
            ("hwmon/hwmon1/power1_input", "1500000\n"),
            ("hwmon/hwmon1/power1_input_highest", "99000000\n"),
            ("hwmon/hwmon2/power1_input", "4100000\n"),
            ("hwmon/hwmon2/power2_input", "5250000\n"),
            ("hwmon/hwmon2/power3_input", "unknown\n"),
            ("power_supply/battery/power_now", "9000000\n"),
        ];
        assert_eq!(power_of(&sensors), Some(5.25));
    }

    #[test]
    fn a_supply_counts_where_no_sensor_tells() {
        let supplies = [
            ("hwmon/hwmon0/power1_input", "unknown\n"),
            ("power_supply/charger/online", "1\n"),
            ("power_supply/battery/power_now", "-7500000\n"),
            ("power_supply/other/power_now", "100000\n"),
        ];
        assert_eq!(power_of(&supplies), Some(7.5));
    }

    #[test]
    fn nothing_is_told_where_nothing_can_be_read() {
        assert_eq!(power_of(&[]), None);
        assert_eq!(power_of(&[("hwmon/hwmon0/name", "x"), ("power_supply/a/power_now", "")]), None);
    }
}
