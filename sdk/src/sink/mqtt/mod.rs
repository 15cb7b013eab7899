//! Messages to an MQTT broker: what was found on each frame, and whether we are there. Sent from a thread of its own, at most once
//! each: a broker that is away or slow costs messages, the oldest first.

mod link;
mod settings;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use super::config::MqttConfig;
use super::snapshot::Snapshot;
use super::trouble::Trouble;
use super::{Health, Pixels, Shown, Sink};
use crate::Error;
use settings::Settings;

/// Messages that wait; the oldest go when there are more.
const MAX_WAITING: usize = 16;

/// The sink that sends.
pub(super) struct Mqtt {
    outbox: Arc<Outbox>,
    snapshot: Snapshot,
    description: String,
    thread: Option<JoinHandle<()>>,
}

/// Messages on their way to the broker.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    closed: Notify,
    trouble: Trouble,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    /// Memory of messages that were sent.
    spare: Vec<Vec<u8>>,
    line: Line,
}

/// How the line to the broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// There is none.
    #[default]
    Down,
    /// It is new: the broker has not heard that we are there.
    New,
    /// Messages can go.
    Up,
}

/// What is to be sent next.
enum Next {
    Online,
    Message(Vec<u8>),
}

impl Mqtt {
    /// Connects, and sends from then on; a broker that is not there yet is tried again and again.
    ///
    /// # Errors
    /// [`Error::Input`] when the topic or broker cannot be one, [`Error::Artifact`] when the password cannot be read.
    pub(super) fn open(config: &MqttConfig) -> Result<Self, Error> {
        let settings = Settings::new(config)?;
        let description = format!("MQTT to {}:{}, topic {}", settings.host, settings.port, settings.topic);
        let outbox = Arc::new(Outbox::default());
        let shared = Arc::clone(&outbox);
        let thread = super::open::spawn("repedge-mqtt", move || link::serve(&settings, &shared))?;
        Ok(Self { outbox, snapshot: Snapshot::default(), description, thread: Some(thread) })
    }
}

impl Sink for Mqtt {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let mut waiting = self.outbox.lock();
        // News that is old when the line comes up is no news.
        if waiting.line != Line::Down {
            let mut message = waiting.memory();
            self.snapshot.take(shown);
            // Numbers and text are always JSON, and memory takes all that is written.
            if serde_json::to_writer(&mut message, &self.snapshot).is_ok() {
                waiting.messages.push_back(message);
                self.outbox.changed.notify_one();
            }
        }
        drop(waiting);
        self.outbox.trouble.check()
    }

    fn pixels(&self) -> Pixels {
        Pixels::Unneeded
    }

    fn health(&self) -> Health {
        self.outbox.trouble.health()
    }

    fn describe(&self) -> String {
        self.description.clone()
    }
}

impl Drop for Mqtt {
    fn drop(&mut self) {
        self.outbox.closed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_line(&self, line: Line) {
        self.lock().line = line;
        self.changed.notify_one();
    }

    /// Waits until there is something to send and a line to send it.
    async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.lock().next() {
                return next;
            }
            self.changed.notified().await;
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<Next> {
        match self.line {
            Line::Down => None,
            Line::New => {
                self.line = Line::Up;
                Some(Next::Online)
            }
            Line::Up => self.messages.pop_front().map(Next::Message),
        }
    }

    /// Memory for a message, that of the oldest when too many wait.
    fn memory(&mut self) -> Vec<u8> {
        let oldest = if self.messages.len() >= MAX_WAITING { self.messages.pop_front() } else { None };
        let mut memory = oldest.or_else(|| self.spare.pop()).unwrap_or_default();
        memory.clear();
        memory
    }

    /// Takes back the memory of a message that was sent.
    fn recycle(&mut self, message: Vec<u8>) {
        if self.spare.len() < MAX_WAITING {
            self.spare.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_go_first_and_memory_is_used_again() {
        let mut waiting = Waiting { line: Line::New, ..Waiting::default() };
        for number in 0..20_u8 {
            let mut message = waiting.memory();
            assert!(message.is_empty());
            message.push(number);
            waiting.messages.push_back(message);
        }
        assert!(matches!(waiting.next(), Some(Next::Online)));
        let Some(Next::Message(first)) = waiting.next() else { panic!("no message") };
        assert_eq!(first, [4]);
        let place = first.as_ptr();
        waiting.recycle(first);
        let memory = waiting.memory();
        assert_eq!(memory.as_ptr(), place);
        waiting.line = Line::Down;
        assert!(waiting.next().is_none());
    }
}
