//! Sinks that fail behind a whole pipeline: what is said of them, and that the others do not notice.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use repedge::pipeline::{Duty, Note, Pipeline, Policy, Run, Settings, Stop, Watch};
use repedge::sink::{Controls, Sink, open_all};

use super::broker::{self, Said};
use super::http::ask;
use super::world::{Acts, Frames, Model, wait_until};

/// Hears everything, for others too.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Note>>>);

impl Heard {
    fn notes(&self) -> Vec<Note> {
        self.0.lock().unwrap().clone()
    }
}

impl Watch for Heard {
    fn note(&mut self, note: &Note) {
        self.0.lock().unwrap().push(note.clone());
    }

    fn alive(&mut self) {}
}

/// A pipeline that runs until it is stopped.
struct Running {
    heard: Heard,
    stop: Stop,
    thread: JoinHandle<Run>,
}

impl Running {
    fn start(sinks: Vec<Box<dyn Sink>>) -> Self {
        let (heard, stop) = (Heard::default(), Stop::new());
        let settings = Settings {
            policy: Policy::EveryFrame,
            interval: Duration::from_millis(2),
            ..Settings::default()
        };
        let source = Box::new(Frames::new(u64::MAX));
        let mut pipeline = Pipeline::new(source, settings, Controls::new(0.25), stop.clone());
        for sink in sinks {
            pipeline.add_sink(sink, Duty::Optional);
        }
        let mut ear = heard.clone();
        let thread = std::thread::spawn(move || pipeline.run(&mut Model::new([Acts::new()]), &mut ear));
        Self { heard, stop, thread }
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(&Note) -> bool) {
        wait_until(what, || self.heard.notes().iter().any(&is_it));
    }

    /// All that was said.
    fn end(self) -> Vec<Note> {
        self.stop.stop();
        self.thread.join().unwrap().end.unwrap();
        self.heard.notes()
    }
}

fn open(config: &str) -> Vec<Box<dyn Sink>> {
    open_all(&toml::from_str(config).unwrap(), &Controls::new(0.25)).unwrap()
}

#[test]
fn a_broker_works_again_once_it_answers_and_not_before() {
    // A port that nobody listens at, as long as it is ours.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let running = Running::start(open(&format!("[mqtt]\nbroker = '{address}'\ntopic = 'repedge/door'")));
    running.wait_for("it fails", |note| matches!(note, Note::SinkFailed(_)));
    let said = broker::start_at(TcpListener::bind(address).unwrap(), usize::MAX);
    running.wait_for("it works", |note| matches!(note, Note::SinkWorks(_)));
    // It may answer before it says so here.
    assert!(matches!(said.recv_timeout(Duration::from_secs(60)), Ok(Said::Connect(_))));
    let notes = running.end();
    assert!(matches!(&notes[..], [Note::SinkFailed(_), Note::SinkWorks(_)]), "{notes:?}");
}

#[test]
fn a_full_disk_takes_no_picture_from_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "[web]\nlisten = '127.0.0.1:0'\n[record]\nfolder = {:?}\nreserve_mb = {}",
        folder.path(),
        i64::MAX
    );
    let sinks = open(&config);
    let said: Vec<String> = sinks.iter().map(|sink| sink.describe()).collect();
    let host = said.iter().find_map(|it| it.strip_prefix("page at http://")?.strip_suffix('/')).unwrap();
    let running = Running::start(sinks);
    let mut visitor = ask(host, "GET", "/stream.mjpeg", &[], "");
    running.wait_for("the disk is full", |note| matches!(note, Note::SinkFailed(_)));
    // More than may wait on the way.
    for _ in 0..20 {
        assert!(visitor.picture().starts_with(&[0xff, 0xd8]));
    }
    let notes = running.end();
    assert!(matches!(&notes[..], [Note::SinkFailed(said)] if said.contains("almost full")), "{notes:?}");
}
