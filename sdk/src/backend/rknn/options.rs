//! How the NPU is used: which library and cores, how data moves, and how long anything may take.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::Fault;

use super::clock::{Clock, SystemClock};
use crate::Error;

/// Cores that the runtime has masks for; RK3588 has as many, other chips fewer.
const MAX_CORES: u8 = 3;
/// In place of an end that no clock can tell.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How a model is run on the NPU.
#[derive(Debug, Clone)]
pub struct RknnOptions {
    /// The runtime library's file; where absent, librknnrt.so and librknnmrt.so are looked for.
    pub library: Option<PathBuf>,
    /// The chip that this program runs on.
    pub chip: Chip,
    /// Which cores run the model.
    pub cores: Cores,
    /// How inputs and outputs move.
    pub path: IoPath,
    /// Frames that a core has at most, counting the one it works on: 2 keeps it busy while the host works.
    pub frames_per_core: usize,
    /// Who goes first when programs share the NPU.
    pub priority: Priority,
    /// Whether layers are timed.
    pub timing: LayerTiming,
    /// Whether the model may use the chip's SRAM.
    pub sram: Sram,
    /// Time limits.
    pub limits: TimeLimits,
    /// By which the pauses are measured after which a core is tried again on which no context could be opened.
    pub clock: Arc<dyn Clock>,
}

/// How long calls may take, and how often they may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// What the runtime is told: a frame that takes longer fails. At least a millisecond.
    pub run: Duration,
    /// How much later than `run` a call must have returned; after that it is taken for never returning.
    pub grace: Duration,
    /// How long loading a model may take.
    pub open: Duration,
    /// Frames in a row that fail on a core and have the NPU given up, at least 1.
    pub max_failures: u32,
    /// Workers whose call has not returned that may be set aside at a time, each with its context and buffers, before the
    /// NPU is given up.
    pub max_quarantined: u32,
}

/// The chip that a model must be compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Chip {
    /// What the device tree says; where there is none, any.
    #[default]
    Detected,
    /// This one, such as `rk3588`, also by the name of a variant with the same NPU, such as `rk3588s`.
    Named(String),
}

/// Which cores run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cores {
    /// One context, and the driver chooses its core for each frame.
    #[default]
    Driver,
    /// One context on this core, counted from 0, up to 2.
    One(u8),
    /// One context on each of the first so many cores, sharing weights: for most frames a second. 1 to 3.
    Each(u8),
    /// One context on all of the first so many cores: for the shortest time a frame. 1 to 3.
    Together(u8),
}

/// How inputs and outputs move between host and NPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoPath {
    /// Without copies where runtime and model allow it.
    #[default]
    Auto,
    /// Through memory that the NPU reads and writes itself.
    ZeroCopy,
    /// Through the runtime's own copies.
    Copied,
}

/// Order among programs that share the NPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// First.
    #[default]
    High,
    /// Between.
    Medium,
    /// Last.
    Low,
}

/// Whether each layer's time is measured, which slows the model down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerTiming {
    /// No.
    #[default]
    Off,
    /// Yes: see [`crate::backend::rknn::Usage::layers`].
    On,
}

/// Whether intermediate tensors may lie in the chip's SRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sram {
    /// No.
    #[default]
    Off,
    /// Where it is free.
    On,
}

impl Default for RknnOptions {
    fn default() -> Self {
        Self {
            library: None,
            chip: Chip::default(),
            cores: Cores::default(),
            path: IoPath::default(),
            frames_per_core: 2,
            priority: Priority::default(),
            timing: LayerTiming::default(),
            sram: Sram::default(),
            limits: TimeLimits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Default for TimeLimits {
    /// A second for a frame, half a second more until its call is taken for lost, half a minute for loading, three
    /// failures in a row, and four workers set aside.
    fn default() -> Self {
        Self {
            run: Duration::from_secs(1),
            grace: Duration::from_millis(500),
            open: Duration::from_secs(30),
            max_failures: 3,
            max_quarantined: 4,
        }
    }
}

impl TimeLimits {
    /// How long the call of a frame may take before it is taken for never returning.
    pub(super) fn patience(&self) -> Duration {
        self.run.saturating_add(self.grace)
    }

    /// How long `frames` frames and the end of their worker may take.
    pub(super) fn of_frames(&self, frames: usize) -> Duration {
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.patience().saturating_mul(frames).saturating_add(self.grace)
    }
}

/// `wait` later than `start`, or so late that nobody waits for it.
pub(super) fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait).unwrap_or_else(|| start + FAR)
}

impl RknnOptions {
    /// The flags of `rknn_init`. Never the one for asynchronous runs, with which a run gives the outputs of the frame
    /// before: the pool overlaps frames without mixing them up.
    pub(super) fn flags(&self) -> u32 {
        let priority = match self.priority {
            Priority::High => rknn_sys::RKNN_FLAG_PRIOR_HIGH,
            Priority::Medium => rknn_sys::RKNN_FLAG_PRIOR_MEDIUM,
            Priority::Low => rknn_sys::RKNN_FLAG_PRIOR_LOW,
        };
        let timing = match self.timing {
            LayerTiming::Off => 0,
            LayerTiming::On => rknn_sys::RKNN_FLAG_COLLECT_PERF_MASK,
        };
        let sram = match self.sram {
            Sram::Off => 0,
            Sram::On => rknn_sys::RKNN_FLAG_ENABLE_SRAM,
        };
        priority | timing | sram
    }
}

impl Cores {
    /// Refuses what no chip has. Whether this one has the cores, its runtime says.
    pub(super) fn check(self) -> Result<(), Error> {
        let is_possible = match self {
            Self::Driver => true,
            Self::One(core) => core < MAX_CORES,
            Self::Each(count) | Self::Together(count) => (1..=MAX_CORES).contains(&count),
        };
        if is_possible {
            return Ok(());
        }
        Err(Error::Input(Fault::new(
            format!("the choice of cores {self:?}"),
            format!("1 to {MAX_CORES} cores, or one of the numbers 0 to {}", MAX_CORES - 1),
            "choose cores that the chip has, or leave the choice to the driver (`Cores::Driver`)",
        )))
    }

    /// The core mask of each context; none leaves the choice to the driver.
    pub(super) fn masks(self) -> Vec<Option<u32>> {
        match self {
            Self::Driver => vec![None],
            Self::One(core) => vec![Some(mask(core))],
            Self::Each(count) => (0..count).map(|core| Some(mask(core))).collect(),
            Self::Together(count) => vec![Some((0..count).map(mask).fold(0, |all, one| all | one))],
        }
    }
}

fn mask(core: u8) -> u32 {
    1_u32.wrapping_shl(core.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_become_the_runtimes_masks() {
        assert_eq!(Cores::Driver.masks(), [None]);
        assert_eq!(Cores::One(1).masks(), [Some(rknn_sys::rknn_core_mask::RKNN_NPU_CORE_1.0)]);
        assert_eq!(Cores::Each(3).masks(), [Some(1), Some(2), Some(4)]);
        assert_eq!(Cores::Together(3).masks(), [Some(rknn_sys::rknn_core_mask::RKNN_NPU_CORE_0_1_2.0)]);
    }

    #[test]
    fn cores_that_no_chip_has_are_refused() {
        for good in [Cores::Driver, Cores::One(2), Cores::Each(1), Cores::Each(3), Cores::Together(3)] {
            good.check().unwrap();
        }
        for bad in [
            Cores::One(3),
            Cores::One(32),
            Cores::One(255),
            Cores::Each(0),
            Cores::Each(4),
            Cores::Together(0),
            Cores::Together(4),
        ] {
            let error = bad.check().unwrap_err();
            assert!(
                matches!(error, Error::Input(_)) && error.to_string().contains("Cores::Driver"),
                "{error}"
            );
        }
    }

    #[test]
    fn limits_without_end_are_no_overflow() {
        let limits = TimeLimits { run: Duration::MAX, grace: Duration::MAX, ..TimeLimits::default() };
        assert_eq!((limits.patience(), limits.of_frames(usize::MAX)), (Duration::MAX, Duration::MAX));
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > after(now, Duration::from_secs(3600)));
    }

    #[test]
    fn options_become_flags_without_the_asynchronous_one() {
        assert_eq!(RknnOptions::default().flags(), 0);
        let all = RknnOptions {
            priority: Priority::Low,
            timing: LayerTiming::On,
            sram: Sram::On,
            ..RknnOptions::default()
        };
        assert_eq!(all.flags(), 0x2 | 0x8 | 0x800);
        assert_eq!(all.flags() & rknn_sys::RKNN_FLAG_ASYNC_MASK, 0);
    }
}
