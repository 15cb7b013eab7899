//! The demo as a service: signals that ask it to stop, and what systemd is told. Outside of systemd nothing is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Longest sleep before signals and the watchdog are looked at again.
const NAP: Duration = Duration::from_millis(50);

/// A running service.
pub struct Service {
    stop: Arc<AtomicBool>,
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
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // A second one kills, should the first not be heeded.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .context("cannot catch signals")?;
        }
        // Half the time that systemd allows, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|allowed| allowed / 2);
        Ok(Self { stop, watchdog, last_alive: Instant::now() })
    }

    /// Tells systemd that frames are about to be looked at.
    ///
    /// # Errors
    /// When systemd's socket is there and cannot be written to.
    pub fn ready(&self, status: &str) -> Result<()> {
        tell(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    /// Tells systemd that the service lives, when it is time to.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn alive(&mut self) -> Result<()> {
        if self.watchdog.is_some_and(|interval| self.last_alive.elapsed() >= interval) {
            tell(&[NotifyState::Watchdog])?;
            self.last_alive = Instant::now();
        }
        Ok(())
    }

    /// Tells systemd that the end is meant.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn stopping(&self) -> Result<()> {
        tell(&[NotifyState::Stopping])
    }

    /// Whether somebody asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Sleeps until `then`, or until somebody asks to stop.
    ///
    /// # Errors
    /// As [`Service::ready`].
    pub fn wait_until(&mut self, then: Instant) -> Result<()> {
        while let Some(left) = then.checked_duration_since(Instant::now())
            && !self.is_stopped()
        {
            std::thread::sleep(left.min(NAP));
            self.alive()?;
        }
        Ok(())
    }
}

fn tell(state: &[NotifyState<'_>]) -> Result<()> {
    sd_notify::notify(state).context("cannot tell systemd")
}
