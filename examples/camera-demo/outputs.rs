//! Where frames go: the sinks that the settings name. One that must be there is what the program runs for; the others may fail
//! and come back.

use std::io::Write;

use anyhow::Result;
use examples::console;
use repedge::draw;
use repedge::pipeline::{Duty, Overlay};
use repedge::sink::{Controls, Lines, Object, Sink, Vitals, open_all};
use repedge::source::Shot;

use super::config::Settings;

/// All sinks, and what their failing means.
///
/// # Errors
/// When a file cannot be created, or a sink cannot be opened.
pub fn sinks(settings: &Settings, controls: &Controls) -> Result<Vec<(Box<dyn Sink>, Duty)>> {
    let lines: (Box<dyn Sink>, Duty) = if console::is_stdout(&settings.json) {
        // Whoever closes standard output has seen enough.
        (Box::new(Lines::new(console::STDOUT, Box::new(Stdout))), Duty::Essential)
    } else {
        (Box::new(Lines::create(&settings.json)?), Duty::Optional)
    };
    let others = open_all(&settings.sinks, controls)?.into_iter().map(|sink| (sink, Duty::Optional));
    Ok(std::iter::once(lines).chain(others).collect())
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
