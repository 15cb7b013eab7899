//! A page from the board: live picture, what was found, plots, controls, and metrics for Prometheus. Serves on a thread of its
//! own; visitors who are slow see fewer frames, and what they wait for never holds up the pipeline.

mod guard;
mod metrics;
mod patience;
mod routes;
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use artifact::Fault;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tokio::sync::{oneshot, watch};

use super::config::WebConfig;
use super::pictures::{Jpeg, Taker};
use super::snapshot::Snapshot;
use super::{Controls, Pixels, Shown, Sink};
use crate::Error;
use guard::Guard;
use metrics::Totals;

/// The sink behind the page.
pub(super) struct Web {
    board: Arc<Board>,
    /// Where it listens, with the port that the system chose where that was left to it.
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    /// Ends the server when it is dropped.
    stop: Option<oneshot::Sender<()>>,
}

/// What the page shows, between the pipeline and the server.
struct Board {
    latest: Mutex<Latest>,
    /// Tells visitors of a frame, or of a control that somebody changed.
    changed: watch::Sender<()>,
    picture: watch::Sender<Option<Arc<Jpeg>>>,
    /// Between two pictures.
    interval: Duration,
    controls: Controls,
}

#[derive(Clone, Default)]
struct Latest {
    frame: Snapshot,
    totals: Totals,
    /// When the frame was shown; none before the first.
    shown_at: Option<Instant>,
}

impl Latest {
    /// How long ago the frame was shown: a camera that is unplugged leaves the last one behind, with all that was said of it.
    fn age(&self, now: Instant) -> Option<Duration> {
        self.shown_at.map(|shown_at| now.saturating_duration_since(shown_at))
    }
}

impl Web {
    /// Serves the page from now on.
    ///
    /// # Errors
    /// [`Error::Input`] when the address is taken, or others could look without a token.
    pub(super) fn open(config: &WebConfig, controls: Controls) -> Result<Self, Error> {
        let guard = Guard::new(config)?;
        let board = Arc::new(Board {
            latest: Mutex::default(),
            changed: watch::Sender::new(()),
            picture: watch::Sender::new(None),
            interval: config.max_fps.interval(),
            controls,
        });
        let (listener, address) = server::bind(config.listen)?;
        let (stop, stopped) = oneshot::channel();
        let routes = routes::routes(Arc::clone(&board), guard);
        let thread = super::open::spawn("repedge-web", move || server::serve(listener, routes, stopped))?;
        Ok(Self { board, address, thread: Some(thread), stop: Some(stop) })
    }

    /// What takes pictures for the page.
    pub(super) fn taker(&self) -> Arc<dyn Taker> {
        Arc::clone(&self.board) as _
    }
}

impl Sink for Web {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let mut latest = self.board.latest();
        let Latest { frame, totals, shown_at } = &mut *latest;
        frame.take(shown);
        totals.count(frame);
        *shown_at = Some(Instant::now());
        drop(latest);
        self.board.changed.send_replace(());
        Ok(())
    }

    fn pixels(&self) -> Pixels {
        // Its pictures come from who encodes them for all.
        Pixels::Unneeded
    }

    fn describe(&self) -> String {
        format!("page at http://{}/", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Board {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy, so that the pipeline waits for no visitor's text.
    fn copy(&self) -> Latest {
        self.latest().clone()
    }

    /// The state as JSON.
    fn state(&self) -> String {
        let latest = self.copy();
        let age = latest.age(Instant::now());
        // Numbers and text are always JSON.
        serde_json::to_string(&State { frame: &latest.frame, age, controls: &self.controls })
            .unwrap_or_default()
    }

    fn metrics(&self) -> String {
        let latest = self.copy();
        latest.totals.text(&latest.frame, latest.age(Instant::now()), &self.controls)
    }
}

impl Taker for Board {
    fn wants(&self) -> bool {
        self.picture.receiver_count() > 0
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn take(&self, jpeg: &Arc<Jpeg>) {
        self.picture.send_replace(Some(Arc::clone(jpeg)));
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn is_troubled(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        "live picture".into()
    }
}

struct State<'a> {
    frame: &'a Snapshot,
    age: Option<Duration>,
    controls: &'a Controls,
}

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("paused", &self.controls.is_paused())?;
        map.serialize_entry("confidence", &self.controls.confidence())?;
        map.serialize_entry("age_ms", &self.age.map(|age| age.as_millis()))?;
        self.frame.entries::<S>(&mut map)?;
        map.end()
    }
}

fn unusable(found: impl Into<String>, expected: &str, hint: &str) -> Error {
    Error::Input(Fault::new(found, expected, hint))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_state_tells_how_old_its_frame_is() {
        let (begin, controls) = (Instant::now(), Controls::new(0.25));
        let told = |latest: &Latest, later_ms| {
            let age = latest.age(begin + Duration::from_millis(later_ms));
            let state = State { frame: &latest.frame, age, controls: &controls };
            serde_json::to_value(&state).unwrap()["age_ms"].clone()
        };
        let mut latest = Latest::default();
        assert_eq!(told(&latest, 9000), Value::Null, "there was none");
        latest.shown_at = Some(begin);
        assert_eq!((told(&latest, 0), told(&latest, 4200)), (0.into(), 4200.into()));
    }
}
