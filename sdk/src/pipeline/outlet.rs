//! A sink and what is done when it fails: told once, left out for a while, tried again, unless it does that by itself; or the
//! end of the run, where the sink is what the run is for.

use std::time::{Duration, Instant};

use super::note::{Note, Notes};
use super::report::SinkReport;
use crate::Error;
use crate::sink::{Health, Pixels, Shown, Sink};

/// How long a sink that failed is left out.
const LEFT_OUT: Duration = Duration::from_secs(10);

/// What a sink's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duty {
    /// The others go on, and it is tried again later.
    #[default]
    Optional,
    /// Nobody needs the others without it: the run ends.
    Essential,
}

/// A sink among others.
pub(super) struct Outlet {
    sink: Box<dyn Sink>,
    duty: Duty,
    state: State,
    failures: u64,
    left_out: u64,
}

/// How a sink did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    /// It failed then, and does not know how it does.
    LeftOut(Instant),
    /// It failed, and tries again by itself.
    Failed,
}

impl Outlet {
    pub(super) fn new(sink: Box<dyn Sink>, duty: Duty) -> Self {
        Self { sink, duty, state: State::Works, failures: 0, left_out: 0 }
    }

    /// Shows a frame, unless the sink failed just before and would do so again.
    ///
    /// # Errors
    /// The sink's, where it is essential.
    pub(super) fn show(&mut self, shown: &Shown<'_>, notes: &Notes) -> Result<(), Error> {
        if self.is_left_out() || self.waits_for_pixels(shown) {
            self.left_out += 1;
            return Ok(());
        }
        match self.sink.show(shown) {
            Ok(()) => {
                if self.state != State::Works && self.sink.health() != Health::Troubled {
                    self.state = State::Works;
                    notes.leave(Note::SinkWorks(self.sink.describe()));
                }
                Ok(())
            }
            Err(error) => self.fail(error, notes),
        }
    }

    fn fail(&mut self, error: Error, notes: &Notes) -> Result<(), Error> {
        self.failures += 1;
        if self.duty == Duty::Essential {
            return Err(error);
        }
        if self.state == State::Works {
            notes.leave(Note::SinkFailed(format!("{}: {error}", self.sink.describe())));
        }
        self.state = match self.sink.health() {
            Health::Unknown => State::LeftOut(Instant::now()),
            Health::Troubled | Health::Sound => State::Failed,
        };
        Ok(())
    }

    /// Whether it failed just before and would do so again.
    fn is_left_out(&self) -> bool {
        matches!(self.state, State::LeftOut(since) if since.elapsed() < LEFT_OUT)
    }

    /// Whether it is to be tried again, and this frame was taken when nobody read pixels for it.
    fn waits_for_pixels(&self, shown: &Shown<'_>) -> bool {
        let is_due = matches!(self.state, State::LeftOut(_));
        is_due && self.sink.pixels() == Pixels::Needed && !shown.shot.has_pixels()
    }

    /// Whether the sink looks at pixels: not while it is left out.
    pub(super) fn pixels(&self) -> Pixels {
        if self.is_left_out() { Pixels::Unneeded } else { self.sink.pixels() }
    }

    pub(super) fn report(&self) -> SinkReport {
        SinkReport { name: self.sink.describe(), failures: self.failures, left_out: self.left_out }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use artifact::Fault;

    use super::super::Stop;
    use super::*;
    #[cfg(feature = "mqtt")]
    use crate::sink::config::MqttConfig;
    use crate::sink::config::{RecordConfig, SinkConfig};
    use crate::sink::{Controls, FrameTimes, Vitals, open_all};
    use crate::source::Shot;

    /// Fails at the frames before `works_from`.
    struct Flaky {
        works_from: u64,
    }

    impl Sink for Flaky {
        fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
            if shown.number < self.works_from {
                Err(Error::Input(Fault::new("full", "room", "tidy up")))
            } else {
                Ok(())
            }
        }

        fn describe(&self) -> String {
            "flaky".into()
        }
    }

    fn show(outlet: &mut Outlet, number: u64, notes: &Notes) -> Result<(), Error> {
        let shot = Shot { width_px: 1, height_px: 1, bytes: vec![0; 3], ..Shot::default() };
        show_shot(outlet, number, &shot, notes)
    }

    fn show_shot(outlet: &mut Outlet, number: u64, shot: &Shot, notes: &Notes) -> Result<(), Error> {
        let (times, vitals) = (FrameTimes::default(), Vitals::default());
        outlet.show(&Shown { number, shot, objects: &[], found: &[], classes: &[], times, vitals }, notes)
    }

    #[test]
    fn a_failure_is_told_once_and_the_end_of_it_too() {
        let notes = Notes::new(Stop::new());
        let mut outlet = Outlet::new(Box::new(Flaky { works_from: 4 }), Duty::Optional);
        show(&mut outlet, 0, &notes).unwrap();
        assert!(matches!(notes.take(), Some(Note::SinkFailed(said)) if said.starts_with("flaky: full")));
        show(&mut outlet, 1, &notes).unwrap();
        let SinkReport { failures, left_out, .. } = outlet.report();
        assert_eq!((failures, left_out), (1, 1), "it was left out");
        for number in [2, 5] {
            outlet.state = State::LeftOut(Instant::now().checked_sub(LEFT_OUT).unwrap());
            show(&mut outlet, number, &notes).unwrap();
        }
        assert_eq!(notes.take(), Some(Note::SinkWorks("flaky".into())));
        let SinkReport { failures, left_out, .. } = outlet.report();
        assert_eq!((notes.take(), failures, left_out), (None, 2, 1));
    }

    #[test]
    fn nobody_reads_pixels_for_a_sink_that_is_left_out() {
        let notes = Notes::new(Stop::new());
        let mut outlet = Outlet::new(Box::new(Flaky { works_from: 1 }), Duty::Optional);
        assert_eq!(outlet.pixels(), Pixels::Needed);
        show(&mut outlet, 0, &notes).unwrap();
        assert_eq!(outlet.pixels(), Pixels::Unneeded);
        outlet.state = State::LeftOut(Instant::now().checked_sub(LEFT_OUT).unwrap());
        assert_eq!(outlet.pixels(), Pixels::Needed, "it is tried again");
        // Frames that were taken before that still come, without pixels: none of them is the one to try with.
        show_shot(&mut outlet, 0, &Shot::default(), &notes).unwrap();
        let SinkReport { failures, left_out, .. } = outlet.report();
        assert_eq!((outlet.pixels(), failures, left_out), (Pixels::Needed, 1, 1));
        show(&mut outlet, 1, &notes).unwrap();
        assert_eq!(outlet.state, State::Works);
    }

    #[test]
    fn without_an_essential_sink_there_is_no_going_on() {
        let notes = Notes::new(Stop::new());
        let mut outlet = Outlet::new(Box::new(Flaky { works_from: 1 }), Duty::Essential);
        assert!(show(&mut outlet, 0, &notes).is_err());
        assert_eq!(notes.take(), None);
    }

    /// Fails once, at its first frame, and has trouble until it is told that it has none.
    #[derive(Clone, Default)]
    struct Healing {
        shown: Arc<AtomicU64>,
        is_sound: Arc<AtomicBool>,
    }

    impl Sink for Healing {
        fn show(&mut self, _shown: &Shown<'_>) -> Result<(), Error> {
            match self.shown.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::Input(Fault::new("away", "a broker", ""))),
                _ => Ok(()),
            }
        }

        fn health(&self) -> Health {
            if self.is_sound.load(Ordering::SeqCst) { Health::Sound } else { Health::Troubled }
        }

        fn describe(&self) -> String {
            "healing".into()
        }
    }

    #[test]
    fn a_sink_that_tries_by_itself_is_fed_on_and_works_once_it_says_so() {
        let (notes, healing) = (Notes::new(Stop::new()), Healing::default());
        let mut outlet = Outlet::new(Box::new(healing.clone()), Duty::Optional);
        for number in 0..10 {
            show(&mut outlet, number, &notes).unwrap();
        }
        assert_eq!(healing.shown.load(Ordering::SeqCst), 10, "none is kept from it");
        assert!(matches!(notes.take(), Some(Note::SinkFailed(said)) if said.starts_with("healing: away")));
        assert_eq!(notes.take(), None, "it is silent, but not well");
        healing.is_sound.store(true, Ordering::SeqCst);
        show(&mut outlet, 10, &notes).unwrap();
        assert_eq!((notes.take(), notes.take()), (Some(Note::SinkWorks("healing".into())), None));
    }

    /// Shows frames until the sink of `config` has failed, and as many again; gives what was said.
    fn said_of(config: &SinkConfig) -> Vec<Note> {
        let sink = open_all(config, &Controls::new(0.5)).unwrap().pop().unwrap();
        let mut outlet = Outlet::new(sink, Duty::Optional);
        let shot = Shot { width_px: 8, height_px: 8, bytes: vec![9; 8 * 8 * 3], ..Shot::default() };
        let (notes, mut said) = (Notes::new(Stop::new()), Vec::new());
        let (times, vitals) = (FrameTimes::default(), Vitals::default());
        let mut show = |number| {
            let shown = Shown { number, shot: &shot, objects: &[], found: &[], classes: &[], times, vitals };
            outlet.show(&shown, &notes).unwrap();
            // Were it left out, that would be long ago.
            if let State::LeftOut(since) = &mut outlet.state {
                *since = Instant::now().checked_sub(LEFT_OUT).unwrap();
            }
            said.extend(notes.take());
            std::thread::sleep(Duration::from_millis(1));
            said.len()
        };
        let failed = (0..60_000).find(|number| show(*number) > 0).expect("it fails within a minute");
        for number in failed + 1..2 * failed + 10 {
            show(number);
        }
        said
    }

    #[test]
    fn a_disk_that_stays_full_does_not_work_again() {
        let folder = tempfile::tempdir().unwrap();
        let record = RecordConfig { reserve_mb: u64::MAX, ..RecordConfig::new(folder.path().into()) };
        let said = said_of(&SinkConfig { record: Some(record), ..SinkConfig::default() });
        assert!(matches!(&said[..], [Note::SinkFailed(said)] if said.contains("almost full")), "{said:?}");
    }

    #[cfg(feature = "mqtt")]
    #[test]
    fn a_broker_that_stays_away_does_not_work_again() {
        let broker = "127.0.0.1:1".into();
        let mqtt = MqttConfig { broker, topic: "t".into(), user: None, password_file: None };
        let said = said_of(&SinkConfig { mqtt: Some(mqtt), ..SinkConfig::default() });
        assert!(matches!(&said[..], [Note::SinkFailed(said)] if said.contains("MQTT broker")), "{said:?}");
    }
}
