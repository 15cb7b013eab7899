//! Keeps a camera going: what is unplugged is let go and opened again when it is back, what is stuck is begun anew. It asks
//! any [`Device`], so that tests need none, and never waits longer than it was told.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use artifact::Fault;

use super::LentDma;
use super::layout::{Layout, Planes};
use crate::source::Arrival;

/// Until a lost camera is first looked for.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A camera that streams.
pub(super) trait Device {
    /// Where pixels lie in its buffers.
    fn layout(&self) -> Layout;

    /// Waits for the next buffer, for at most `patience`, and lends it to `read`.
    fn next(&mut self, patience: Duration, read: &mut dyn FnMut(&Taken<'_>)) -> Result<Waited, Failure>;

    /// Stops the stream and begins it anew.
    fn restart(&mut self) -> Result<(), Failure>;
}

/// Where a camera comes from, and the time.
pub(super) trait Hub {
    /// The camera.
    type Device: Device;

    /// Opens the camera that was opened first, wherever it is now, or any on the first call.
    fn open(&mut self) -> Result<Self::Device, Unopened>;

    /// Time since any moment.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn pause(&mut self, pause: Duration);
}

/// A filled buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken<'a> {
    /// The driver's count of frames.
    pub(super) sequence: u32,
    /// When it was taken, on the driver's clock, nearly always `CLOCK_MONOTONIC`.
    pub(super) taken_at: Duration,
    pub(super) state: State,
    pub(super) planes: Planes<'a>,
    /// The same memory as DMA-BUF, where the driver exports it.
    pub(super) dma: [Option<LentDma<'a>>; 2],
    /// The DMA-BUF of all planes, where it may be kept: the device does not fill it again while it is shared.
    pub(super) whole: Option<&'a Arc<OwnedFd>>,
}

/// Whether the driver vouches for a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// `V4L2_BUF_FLAG_ERROR`.
    Damaged,
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    Buffer,
    Nothing,
}

/// Why a camera cannot be used any more as it is open now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(pub(super) String);

/// Why there is no camera to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unopened {
    /// It is not there.
    Absent(Fault),
    /// It is there, and cannot be used.
    Unfit(Fault),
}

/// What reads a buffer; the error is a sentence.
pub(super) type Read<'r> = dyn FnMut(&Taken<'_>, &Layout, u64) -> Result<(), String> + 'r;

/// A camera, kept going.
#[derive(Debug)]
pub(super) struct Watched<H: Hub> {
    hub: H,
    link: Link<H::Device>,
    /// A stream without frames for so long is stuck.
    stuck_after: Duration,
    numbers: Numbers,
}

#[derive(Debug)]
enum Link<D> {
    Open { device: D, heard_at: Duration, attempts: Attempts },
    Lost { look_at: Duration, pause: Duration, refusal: Option<String> },
}

/// What was done about a stream since it last gave a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    None,
    BegunAnew,
}

impl<H: Hub> Watched<H> {
    /// Opens the camera.
    ///
    /// # Errors
    /// When it is not there or cannot be used now.
    pub(super) fn open(mut hub: H, stuck_after: Duration) -> Result<Self, Fault> {
        let device = hub.open().map_err(|(Unopened::Absent(fault) | Unopened::Unfit(fault))| fault)?;
        let link = Link::Open { device, heard_at: hub.now(), attempts: Attempts::None };
        Ok(Self { hub, link, stuck_after, numbers: Numbers::default() })
    }

    pub(super) fn hub(&self) -> &H {
        &self.hub
    }

    /// The camera, while it is there.
    pub(super) fn device(&self) -> Option<&H::Device> {
        match &self.link {
            Link::Open { device, .. } => Some(device),
            Link::Lost { .. } => None,
        }
    }

    /// Waits for the next frame, for at most `patience`, and has it read.
    pub(super) fn next(&mut self, patience: Duration, read: &mut Read<'_>) -> Arrival {
        let deadline = self.hub.now().saturating_add(patience);
        loop {
            let arrival = match self.link {
                Link::Open { .. } => self.wait(deadline, read),
                Link::Lost { .. } => self.look(deadline),
            };
            if let Some(arrival) = arrival {
                return arrival;
            }
        }
    }

    fn wait(&mut self, deadline: Duration, read: &mut Read<'_>) -> Option<Arrival> {
        let Link::Open { device, heard_at, attempts } = &mut self.link else { return None };
        let stuck_at = heard_at.saturating_add(self.stuck_after);
        let (layout, numbers, mut arrival) = (device.layout(), &mut self.numbers, None);
        let until = deadline.min(stuck_at).saturating_sub(self.hub.now());
        let waited = device.next(until, &mut |taken| {
            let number = numbers.pass(taken.sequence);
            let outcome = match taken.state {
                State::Whole => read(taken, &layout, number),
                State::Damaged => Err("the driver says that it is damaged".into()),
            };
            let told = |reason| Arrival::Broken(format!("frame {number}: {reason}"));
            arrival = Some(outcome.map_or_else(told, |()| Arrival::Frame));
        });
        let now = self.hub.now();
        match waited {
            Err(Failure(reason)) => Some(self.lose(&reason)),
            Ok(Waited::Buffer) => {
                (*heard_at, *attempts) = (now, Attempts::None);
                arrival
            }
            Ok(Waited::Nothing) if now >= stuck_at => Some(self.wake(now)),
            Ok(Waited::Nothing) => (now >= deadline).then_some(Arrival::Late),
        }
    }

    /// Does something about a stream that gives nothing: first what is quick, then what is thorough.
    fn wake(&mut self, now: Duration) -> Arrival {
        let quiet = format!("no frame for {} s", self.stuck_after.as_secs_f32());
        let Link::Open { device, heard_at, attempts } = &mut self.link else { return Arrival::Late };
        if *attempts == Attempts::BegunAnew {
            return self.lose(&format!("{quiet}, although the stream was begun anew"));
        }
        (*heard_at, *attempts) = (now, Attempts::BegunAnew);
        let outcome = device.restart();
        self.numbers.begin_anew();
        match outcome {
            Ok(()) => Arrival::Event(format!("{quiet}: the stream was begun anew")),
            Err(Failure(reason)) => {
                self.lose(&format!("{quiet}, and the stream cannot be begun anew: {reason}"))
            }
        }
    }

    /// Closes the camera, which frees the buffers of one that is gone, and has it looked for.
    fn lose(&mut self, reason: &str) -> Arrival {
        let look_at = self.hub.now().saturating_add(FIRST_PAUSE);
        self.link = Link::Lost { look_at, pause: FIRST_PAUSE, refusal: None };
        self.numbers.begin_anew();
        Arrival::Event(format!("{reason}: the camera was closed and will be opened again"))
    }

    fn look(&mut self, deadline: Duration) -> Option<Arrival> {
        let Link::Lost { look_at, pause, refusal } = &mut self.link else { return None };
        let now = self.hub.now();
        if now < *look_at {
            self.hub.pause(deadline.min(*look_at).saturating_sub(now));
            return (self.hub.now() >= deadline).then_some(Arrival::Late);
        }
        let opened = self.hub.open();
        let now = self.hub.now();
        match opened {
            Ok(device) => {
                self.link = Link::Open { device, heard_at: now, attempts: Attempts::None };
                None
            }
            Err(unopened) => {
                *pause = (*pause * 2).min(LONGEST_PAUSE);
                *look_at = now.saturating_add(*pause);
                let known = refusal.take();
                if let Unopened::Unfit(fault) = unopened {
                    *refusal = Some(fault.to_string());
                }
                // What was said at the last look is no news.
                let news = refusal.clone().filter(|_| *refusal != known);
                news.map(Arrival::Event).or_else(|| (now >= deadline).then_some(Arrival::Late))
            }
        }
    }
}

/// Turns a driver's counts, which begin anew with each stream, into one count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Numbers {
    next: u64,
    last: Option<u32>,
}

impl Numbers {
    /// The number of the frame with this count; those that the driver passed over are counted.
    fn pass(&mut self, sequence: u32) -> u64 {
        let step = self.last.map_or(1, |last| sequence.wrapping_sub(last));
        // Some drivers count nothing, and a count that goes back says nothing of what was lost.
        let step = if (1..=1 << 30).contains(&step) { step } else { 1 };
        let number = self.next + u64::from(step - 1);
        (self.next, self.last) = (number + 1, Some(sequence));
        number
    }

    fn begin_anew(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests;
