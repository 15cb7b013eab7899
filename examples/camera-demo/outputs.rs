//! Where frames go: the sinks that the settings name. One that must be there is what the program runs for; the others may fail
//! and come back.

use std::io::Write;

use anyhow::Result;
use examples::console;
use repedge::pipeline::Duty;
use repedge::sink::{Lines, Sink};

use super::config::Settings;

/// All sinks, and what their failing means.
///
/// # Errors
/// When a file cannot be created.
pub fn sinks(settings: &Settings) -> Result<Vec<(Box<dyn Sink>, Duty)>> {
    let lines: (Box<dyn Sink>, Duty) = if console::is_stdout(&settings.json) {
        // Whoever closes standard output has seen enough.
        (Box::new(Lines::new(console::STDOUT, Box::new(Stdout))), Duty::Essential)
    } else {
        (Box::new(Lines::create(&settings.json)?), Duty::Optional)
    };
    Ok(vec![lines])
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
