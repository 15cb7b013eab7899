//! What is on a board: NPU, cameras, display, clocks.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Version;

/// A board's NPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npu {
    /// The chip, as the NPU's compiler calls it.
    pub chip: String,
    /// Cores that run models side by side.
    pub cores: u32,
    /// The library that runs models.
    pub runtime_library: RuntimeLibrary,
    /// The oldest version of that library that runs what is compiled for this board.
    pub minimum_runtime: Version,
    /// Where the kernel tells how busy the cores are; in debugfs for root only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_file: Option<PathBuf>,
}

/// Rockchip's library that runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuntimeLibrary {
    /// Of the RK35xx chips.
    #[serde(rename = "librknnrt.so")]
    Rknnrt,
    /// Of the RV110x chips.
    #[serde(rename = "librknnmrt.so")]
    Rknnmrt,
}

impl RuntimeLibrary {
    /// The file's name.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Rknnrt => "librknnrt.so",
            Self::Rknnmrt => "librknnmrt.so",
        }
    }
}

impl fmt::Display for RuntimeLibrary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.file_name())
    }
}

/// A kind of camera that a board takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// How it is connected.
    pub bus: Bus,
    /// How the name of its V4L2 driver begins.
    pub driver: String,
    /// Pixel formats that it gives and we read, the preferred one first.
    pub formats: Vec<PixelFormat>,
}

/// How a camera is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// By USB.
    Usb,
    /// By MIPI CSI-2, through the chip's image processor.
    MipiCsi,
    /// It is the kernel's test driver.
    Virtual,
}

/// Layout of a camera's pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    /// A plane of luma, one of chroma at half size.
    Nv12,
    /// Luma and chroma interleaved, chroma at half width.
    Yuyv,
    /// A JPEG a frame.
    Mjpeg,
    /// Three bytes a pixel.
    Rgb24,
}

/// A display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Display {
    /// Name of its DRM driver.
    pub drm_driver: String,
}

/// A clock to fix while speed is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// What it drives.
    pub domain: Domain,
    /// How the kernel shows it.
    pub kind: ClockKind,
    /// Its folder in /sys.
    pub path: PathBuf,
    /// The governor to choose; none where the kernel has none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
    /// The frequency to set; none where the governor chooses the highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_mhz: Option<u32>,
}

/// What a clock drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// Processor cores.
    Cpu,
    /// The NPU.
    Npu,
    /// Memory.
    Ddr,
}

/// How the kernel shows a clock: which files there are, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockKind {
    /// A policy of cpufreq; kHz.
    Cpufreq,
    /// A device of devfreq; Hz.
    Devfreq,
    /// A clock in debugfs; Hz.
    Clk,
}

impl ClockKind {
    /// How the path of every clock of this kind begins.
    pub fn path_prefix(self) -> &'static str {
        match self {
            Self::Cpufreq => "/sys/devices/system/cpu/cpufreq/policy",
            Self::Devfreq => "/sys/class/devfreq/",
            Self::Clk => "/sys/kernel/debug/clk/",
        }
    }

    /// How many of the file's units are a MHz.
    fn units_in_mhz(self) -> u64 {
        match self {
            Self::Cpufreq => 1_000,
            Self::Devfreq | Self::Clk => 1_000_000,
        }
    }
}

impl Clock {
    /// The file that takes the governor, where there is one.
    pub fn governor_file(&self) -> Option<PathBuf> {
        match self.kind {
            ClockKind::Cpufreq => Some(self.path.join("scaling_governor")),
            ClockKind::Devfreq => Some(self.path.join("governor")),
            ClockKind::Clk => None,
        }
    }

    /// The file that takes the frequency.
    pub fn set_file(&self) -> PathBuf {
        self.path.join(match self.kind {
            ClockKind::Cpufreq => "scaling_setspeed",
            ClockKind::Devfreq => "userspace/set_freq",
            ClockKind::Clk => "clk_rate",
        })
    }

    /// The file that tells the frequency.
    pub fn read_file(&self) -> PathBuf {
        self.path.join(match self.kind {
            ClockKind::Cpufreq => "scaling_cur_freq",
            ClockKind::Devfreq => "cur_freq",
            ClockKind::Clk => "clk_rate",
        })
    }

    /// What to write into [`Clock::set_file`], in that file's unit.
    pub fn set_value(&self) -> Option<u64> {
        self.frequency_mhz.map(|mhz| u64::from(mhz) * self.kind.units_in_mhz())
    }

    /// MHz of what [`Clock::read_file`] tells; none where that is no number.
    pub fn read_mhz(&self, text: &str) -> Option<u32> {
        let units: u64 = text.trim().parse().ok()?;
        u32::try_from(units / self.kind.units_in_mhz()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(kind: ClockKind) -> Clock {
        Clock { domain: Domain::Cpu, kind, path: "/sys/x".into(), governor: None, frequency_mhz: Some(1800) }
    }

    #[test]
    fn each_kind_has_its_files_and_unit() {
        let cpu = clock(ClockKind::Cpufreq);
        assert_eq!(cpu.set_value(), Some(1_800_000));
        assert_eq!(cpu.set_file(), PathBuf::from("/sys/x/scaling_setspeed"));
        assert_eq!(cpu.read_mhz("1800000\n"), Some(1800));
        let npu = clock(ClockKind::Devfreq);
        assert_eq!(npu.set_value(), Some(1_800_000_000));
        assert_eq!(npu.governor_file(), Some(PathBuf::from("/sys/x/governor")));
        assert_eq!(npu.read_mhz("1000000000"), Some(1000));
        assert_eq!(npu.read_mhz("?"), None);
        assert_eq!(clock(ClockKind::Clk).governor_file(), None);
    }
}
