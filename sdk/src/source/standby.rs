//! Plays one source until there is another: pictures until a camera is plugged in. It then ends, and hands over what was found, so
//! that whoever plays can play that as it should be played.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Arrival, Rewound, Shot, Source, Supply};
use crate::Error;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks for a source, again and again.
pub trait Hunt: Send {
    /// Time since any moment.
    fn now(&self) -> Duration;

    /// Looks whether there is one now.
    fn look(&mut self) -> Look;
}

/// What came of looking.
#[derive(Default)]
pub struct Look {
    /// What was found.
    pub source: Option<Box<dyn Source>>,
    /// Why others, that were there too, cannot be used.
    pub refusals: Vec<String>,
}

/// Where what was found is taken from, once the source before has ended.
#[derive(Clone, Default)]
pub struct Handover(Arc<Mutex<Option<Box<dyn Source>>>>);

impl Handover {
    /// What was found, if anything was; nothing the second time.
    pub fn take(&self) -> Option<Box<dyn Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, source: Box<dyn Source>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }
}

/// Plays a source while another is looked for.
pub struct Standby<H> {
    played: Box<dyn Source>,
    hunt: H,
    look_at: Duration,
    /// What was said at the last look, so that it is said once.
    refusals: Vec<String>,
    untold: VecDeque<String>,
    has_found: bool,
    handover: Handover,
}

impl<H: Hunt> Standby<H> {
    /// Plays `played` until `hunt`, which has just looked and met these `refusals`, finds something for the handover.
    pub fn new(played: Box<dyn Source>, hunt: H, refusals: Vec<String>) -> (Self, Handover) {
        let (handover, look_at) = (Handover::default(), hunt.now() + LOOK_EVERY);
        let untold = VecDeque::new();
        let there = handover.clone();
        (Self { played, hunt, look_at, refusals, untold, has_found: false, handover }, there)
    }

    fn look(&mut self) {
        let Look { source, refusals } = self.hunt.look();
        // From here on, so that a look that takes long leaves time to play.
        self.look_at = self.hunt.now() + LOOK_EVERY;
        let is_new = |refusal: &&String| !self.refusals.contains(refusal);
        self.untold.extend(refusals.iter().filter(is_new).cloned());
        self.refusals = refusals;
        if let Some(source) = source {
            self.handover.put(source);
            self.has_found = true;
        }
    }
}

impl<H: Hunt> Source for Standby<H> {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        if !self.has_found && self.hunt.now() >= self.look_at {
            self.look();
        }
        if let Some(refusal) = self.untold.pop_front() {
            return Ok(Arrival::Event(refusal));
        }
        if self.has_found { Ok(Arrival::Ended) } else { self.played.next(shot, patience) }
    }

    fn supply(&self) -> Supply {
        self.played.supply()
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.played.rewind()
    }

    fn describe(&self) -> String {
        self.played.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::source::{Pattern, Still, Stills};

    const SECOND: Duration = Duration::from_secs(1);

    /// What each look finds, on a clock that the test moves.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<World>>);

    #[derive(Default)]
    struct World {
        now: Duration,
        finds: VecDeque<Look>,
        looks: usize,
    }

    impl Hunt for Fake {
        fn now(&self) -> Duration {
            self.0.lock().unwrap().now
        }

        fn look(&mut self) -> Look {
            let mut world = self.0.lock().unwrap();
            world.looks += 1;
            world.finds.pop_front().unwrap_or_default()
        }
    }

    fn refused(refusals: &[&str]) -> Look {
        Look { source: None, refusals: refusals.iter().map(ToString::to_string).collect() }
    }

    fn standby(finds: Vec<Look>, refusals: &[&str]) -> (Standby<Fake>, Handover, Fake) {
        let fake = Fake::default();
        fake.0.lock().unwrap().finds = finds.into();
        let pictures = (0..100).map(|number| Still::Image(number.to_string(), Image::filled(1, 1, [0; 3])));
        let pictures = Box::new(Stills::new(pictures.collect()));
        let (standby, handover) = Standby::new(pictures, fake.clone(), refused(refusals).refusals);
        (standby, handover, fake)
    }

    fn next(standby: &mut Standby<Fake>) -> Arrival {
        standby.next(&mut Shot::default(), SECOND).unwrap()
    }

    fn pass(fake: &Fake, time: Duration) {
        fake.0.lock().unwrap().now += time;
    }

    #[test]
    fn pictures_are_played_until_there_is_a_camera() {
        let camera = Look { source: Some(Box::new(Pattern::new(16, 16))), refusals: Vec::new() };
        let (mut standby, handover, fake) = standby(vec![Look::default(), camera], &[]);
        for _ in 0..3 {
            assert_eq!(next(&mut standby), Arrival::Frame);
        }
        assert_eq!(fake.0.lock().unwrap().looks, 0, "it was looked for just before");
        pass(&fake, 2 * SECOND);
        for _ in 0..3 {
            assert_eq!(next(&mut standby), Arrival::Frame);
        }
        assert_eq!(fake.0.lock().unwrap().looks, 1, "looked for every two seconds, not with every picture");
        assert!(handover.take().is_none());
        pass(&fake, 2 * SECOND);
        assert_eq!(next(&mut standby), Arrival::Ended);
        assert!(handover.take().unwrap().describe().contains("test pattern"));
        pass(&fake, 2 * SECOND);
        assert_eq!(next(&mut standby), Arrival::Ended);
        assert_eq!(fake.0.lock().unwrap().looks, 2, "one camera is enough");
        assert!(handover.take().is_none());
    }

    #[test]
    fn why_a_camera_is_not_used_is_told_once_until_it_changes() {
        let found = Look { source: Some(Box::new(Pattern::new(16, 16))), ..refused(&["b: no sensor"]) };
        let looks = vec![
            refused(&["a: busy"]),
            refused(&["a: busy", "b: gone"]),
            refused(&[]),
            refused(&["a: busy"]),
            found,
        ];
        let (mut standby, handover, fake) = standby(looks, &["a: busy"]);
        let mut told = Vec::new();
        for _ in 0..5 {
            pass(&fake, 2 * SECOND);
            while let Arrival::Event(reason) = next(&mut standby) {
                told.push(reason);
            }
        }
        assert_eq!(told, ["b: gone", "a: busy", "b: no sensor"]);
        assert!(handover.take().is_some());
    }
}
