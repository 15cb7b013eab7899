//! A sink and what is done when it fails: told once, left out for a while, tried again; or the end of the run, where the sink
//! is what the run is for.

use std::time::{Duration, Instant};

use super::note::{Note, Notes};
use super::report::SinkReport;
use crate::Error;
use crate::sink::{Shown, Sink};

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
    /// Since when it is left out.
    failed: Option<Instant>,
    failures: u64,
}

impl Outlet {
    pub(super) fn new(sink: Box<dyn Sink>, duty: Duty) -> Self {
        Self { sink, duty, failed: None, failures: 0 }
    }

    /// Shows a frame, unless the sink failed just before.
    ///
    /// # Errors
    /// The sink's, where it is essential.
    pub(super) fn show(&mut self, shown: &Shown<'_>, notes: &Notes) -> Result<(), Error> {
        if self.failed.is_some_and(|failed| failed.elapsed() < LEFT_OUT) {
            return Ok(());
        }
        match self.sink.show(shown) {
            Ok(()) => {
                if self.failed.take().is_some() {
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
        if self.failed.replace(Instant::now()).is_none() {
            notes.leave(Note::SinkFailed(format!("{}: {error}", self.sink.describe())));
        }
        Ok(())
    }

    pub(super) fn report(&self) -> SinkReport {
        SinkReport { name: self.sink.describe(), failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use artifact::Fault;

    use super::super::Stop;
    use super::*;
    use crate::sink::{FrameTimes, Vitals};
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
        let (shot, times, vitals) = (Shot::default(), FrameTimes::default(), Vitals::default());
        outlet.show(&Shown { number, shot: &shot, objects: &[], classes: &[], times, vitals }, notes)
    }

    #[test]
    fn a_failure_is_told_once_and_the_end_of_it_too() {
        let notes = Notes::new(Stop::new());
        let mut outlet = Outlet::new(Box::new(Flaky { works_from: 4 }), Duty::Optional);
        show(&mut outlet, 0, &notes).unwrap();
        assert!(matches!(notes.take(), Some(Note::SinkFailed(said)) if said.starts_with("flaky: full")));
        show(&mut outlet, 1, &notes).unwrap();
        assert_eq!(outlet.report().failures, 1, "it was left out");
        for number in [2, 5] {
            outlet.failed = Instant::now().checked_sub(LEFT_OUT);
            show(&mut outlet, number, &notes).unwrap();
        }
        assert_eq!(notes.take(), Some(Note::SinkWorks("flaky".into())));
        assert_eq!((notes.take(), outlet.report().failures), (None, 2));
    }

    #[test]
    fn without_an_essential_sink_there_is_no_going_on() {
        let notes = Notes::new(Stop::new());
        let mut outlet = Outlet::new(Box::new(Flaky { works_from: 1 }), Duty::Essential);
        assert!(show(&mut outlet, 0, &notes).is_err());
        assert_eq!(notes.take(), None);
    }
}
