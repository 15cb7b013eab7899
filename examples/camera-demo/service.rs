//! The demo as a service: signals that ask it to stop, and what systemd is told. Outside of systemd nothing is told.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use examples::console;
use repedge::pipeline::{Note, Stop, Watch};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A running service.
pub struct Service {
    stop: Stop,
    /// How often systemd wants to hear that it is alive, if it does.
    watchdog: Option<Duration>,
    last_alive: Instant,
}

impl Service {
    /// From here on, SIGTERM and SIGINT ask to stop instead of killing.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn start() -> Result<Self> {
        let stop = Stop::new();
        let was_asked = Arc::new(AtomicBool::new(false));
        let mut signals = Signals::new([SIGTERM, SIGINT]).context("cannot catch signals")?;
        for signal in [SIGTERM, SIGINT] {
            // A second one kills, should the first not be heeded.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&was_asked))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&was_asked)))
                .context("cannot catch signals")?;
        }
        let asked = stop.clone();
        let listen = move || signals.forever().for_each(|_| asked.stop());
        std::thread::Builder::new().name("signals".into()).spawn(listen).context("no thread for signals")?;
        // Half the time that systemd allows, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
        Ok(Self { stop, watchdog, last_alive: Instant::now() })
    }

    /// What signals ask.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Tells systemd that frames are about to be looked at.
    ///
    /// # Errors
    /// When systemd's socket is there and cannot be written to.
    pub fn ready(&self, status: &str) -> Result<()> {
        tell(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// Tells systemd what is done now.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn goes_on(&self, status: &str) -> Result<()> {
        tell(&[NotifyState::Status(status)])
    }

    /// Tells systemd that the end is meant.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn stopping(&self) -> Result<()> {
        tell(&[NotifyState::Stopping])
    }
}

impl Watch for Service {
    fn note(&mut self, note: &Note) {
        console::note(note);
    }

    /// Tells systemd that the service lives, when it is time to. Where that fails, systemd's watchdog is what helps.
    fn alive(&mut self) {
        if self.watchdog.is_some_and(|interval| self.last_alive.elapsed() >= interval) {
            match tell(&[NotifyState::Watchdog]) {
                Ok(()) => self.last_alive = Instant::now(),
                Err(error) => console::note(format_args!("note: {error:#}")),
            }
        }
    }
}

fn tell(state: &[NotifyState<'_>]) -> Result<()> {
    sd_notify::notify(state).context("cannot tell systemd")
}
