//! Where frames go: the sinks that the settings name. Any of them may fail and come back; the others go on.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use examples::console;
use repedge::draw;
use repedge::pipeline::{Overlay, Stop};
use repedge::sink::config::SinkConfig;
use repedge::sink::{Controls, Health, Lines, Object, Pixels, Shown, Sink, Vitals, open_all};
use repedge::source::Shot;

use super::config::Settings;

/// All sinks. They stay while what is played changes.
pub struct Outputs {
    sinks: Vec<Arc<Mutex<Box<dyn Sink>>>>,
}

impl Outputs {
    /// Opens the sinks that `settings` name, the JSON lines first; where those go to standard output, whoever closes it asks
    /// `stop` to stop.
    ///
    /// # Errors
    /// When the lines' file cannot be opened, or a sink's settings cannot be used; but for a page that only the settings ask for.
    /// A disk or display that is not there is told of when it is needed, and tried again.
    pub fn open(settings: &Settings, controls: &Controls, stop: &Stop) -> Result<Self> {
        let lines: Box<dyn Sink> = if console::is_stdout(&settings.json) {
            Box::new(Watched { lines: to_stdout(settings)?, stop: stop.clone() })
        } else {
            Box::new(Lines::append(&settings.json)?)
        };
        let sinks = std::iter::once(lines).chain(open_all(&openable(settings), controls)?);
        Ok(Self { sinks: sinks.map(|sink| Arc::new(Mutex::new(sink))).collect() })
    }

    /// What there is, for people.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        self.sinks.iter().map(|sink| lock(sink).describe())
    }

    /// The sinks, for one run that comes after `shown` frames of others.
    pub fn after(&self, shown: u64) -> impl Iterator<Item = Box<dyn Sink>> {
        self.sinks
            .iter()
            .map(move |sink| Box::new(Lasting { sink: Arc::clone(sink), shown }) as Box<dyn Sink>)
    }
}

/// The sinks to open: without the page where its address is another program's and only the settings ask for it, because a
/// service that does not start for that would do nothing at all.
fn openable(settings: &Settings) -> SinkConfig {
    let mut sinks = settings.sinks.clone();
    if let Some(web) = sinks.web.take_if(|_| !settings.wants_page) {
        match TcpListener::bind(web.listen) {
            Ok(_) => sinks.web = Some(web),
            Err(error) => {
                console::note(format_args!("note: going on without a page on {}: {error}", web.listen));
            }
        }
    }
    sinks
}

fn lock(sink: &Mutex<Box<dyn Sink>>) -> MutexGuard<'_, Box<dyn Sink>> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink that outlives a run, and in which frames are counted on.
struct Lasting {
    sink: Arc<Mutex<Box<dyn Sink>>>,
    shown: u64,
}

impl Sink for Lasting {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), repedge::Error> {
        lock(&self.sink).show(&Shown { number: self.shown + shown.number, ..*shown })
    }

    fn pixels(&self) -> Pixels {
        lock(&self.sink).pixels()
    }

    fn health(&self) -> Health {
        lock(&self.sink).health()
    }

    fn describe(&self) -> String {
        lock(&self.sink).describe()
    }
}

/// The lines on standard output. Whoever closes it has seen enough: as good as asking to stop. All else, such as a disk that
/// is full, is for a while.
struct Watched {
    lines: Box<dyn Sink>,
    stop: Stop,
}

/// A camera waits for no reader, nor does what is played until there is one; of what else is played, no line may be missing.
fn to_stdout(settings: &Settings) -> Result<Box<dyn Sink>> {
    let lines = Lines::new(console::STDOUT, Box::new(Stdout));
    Ok(if settings.is_live() { Box::new(lines.aside()?) } else { Box::new(lines) })
}

impl Sink for Watched {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), repedge::Error> {
        match self.lines.show(shown) {
            Err(repedge::Error::Artifact(artifact::Error::Io { source, .. }))
                if source.kind() == ErrorKind::BrokenPipe =>
            {
                self.stop.stop();
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn pixels(&self) -> Pixels {
        self.lines.pixels()
    }

    fn health(&self) -> Health {
        self.lines.health()
    }

    fn describe(&self) -> String {
        self.lines.describe()
    }
}

/// What draws on frames, where a sink shows them.
pub fn overlay(settings: &Settings) -> Option<Box<dyn Overlay>> {
    let sinks = &settings.sinks;
    let shows = sinks.web.is_some() || sinks.record.is_some() || sinks.screen.is_some();
    shows.then(|| Box::new(Drawn(draw::Overlay::new())) as Box<dyn Overlay>)
}

/// Boxes, labels and a caption.
struct Drawn(draw::Overlay);

impl Overlay for Drawn {
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals) {
        // Fails where sides and bytes do not fit together, and then the stages before have lost the frame.
        let _ = self.0.draw(shot, objects, classes, vitals);
    }
}

/// Standard output, locked for each write only, so that panics and others can write to it too.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stdout().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}
