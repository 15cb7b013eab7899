//! A camera that follows a script, with a clock of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::super::layout::Packing;
use super::*;
use crate::frame::YuvColor;
use crate::frame::jpeg::Motion;
use crate::source::Shot;

const SECOND: Duration = Duration::from_secs(1);

/// What a camera does when it is asked for a frame.
#[derive(Debug, Clone, Copy)]
enum Does {
    Gives(u32),
    GivesDamaged(u32),
    /// Fewer bytes than a frame has.
    GivesShort(u32),
    Nothing,
    Fails,
}

/// What opening comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Opens {
    Yes,
    Absent,
    Unfit,
    Busy,
}

#[derive(Debug, Default)]
struct World {
    now: Cell<Duration>,
    does: RefCell<VecDeque<Does>>,
    /// What follows where the script has ended: yes.
    opens: RefCell<VecDeque<Opens>>,
    log: RefCell<Vec<String>>,
    open: Cell<u32>,
}

#[derive(Debug, Clone)]
struct FakeHub(Rc<World>);

#[derive(Debug)]
struct FakeDevice(Rc<World>);

impl World {
    fn note(&self, what: &str) {
        self.log.borrow_mut().push(format!("{:.1} {what}", self.now.get().as_secs_f32()));
    }
}

impl Hub for FakeHub {
    type Device = FakeDevice;

    fn open(&mut self) -> Result<FakeDevice, Unopened> {
        let fault = || Fault::new("no camera", "one", "plug it in");
        match self.0.opens.borrow_mut().pop_front().unwrap_or(Opens::Yes) {
            Opens::Absent => Err(Unopened::Absent(fault())),
            Opens::Unfit => Err(Unopened::Unfit(fault())),
            Opens::Busy => Err(Unopened::Unfit(Fault::new("a busy camera", "a free one", "free it"))),
            Opens::Yes => {
                self.0.note("open");
                self.0.open.set(self.0.open.get() + 1);
                assert_eq!(self.0.open.get(), 1, "opened while it was open");
                Ok(FakeDevice(self.0.clone()))
            }
        }
    }

    fn now(&self) -> Duration {
        self.0.now.get()
    }

    fn pause(&mut self, pause: Duration) {
        assert!(!pause.is_zero() && pause <= LONGEST_PAUSE, "{pause:?}");
        self.0.now.set(self.0.now.get() + pause);
    }
}

impl Device for FakeDevice {
    fn layout(&self) -> Layout {
        Layout { width_px: 2, height_px: 2, packing: Packing::Nv12 { stride: 2, color: YuvColor::default() } }
    }

    fn next(&mut self, patience: Duration, read: &mut dyn FnMut(&Taken<'_>)) -> Result<Waited, Failure> {
        let bytes = [1; 6];
        let mut give = |sequence, state, planes| {
            read(&Taken { sequence, taken_at: Duration::ZERO, state, planes, dma: [None; 2], whole: None });
            Ok(Waited::Buffer)
        };
        match self.0.does.borrow_mut().pop_front().unwrap_or(Does::Nothing) {
            Does::Gives(sequence) => give(sequence, State::Whole, [&bytes, &[]]),
            Does::GivesDamaged(sequence) => give(sequence, State::Damaged, [&bytes, &[]]),
            Does::GivesShort(sequence) => give(sequence, State::Whole, [&bytes[..5], &[]]),
            Does::Fails => Err(Failure("unplugged".into())),
            Does::Nothing => {
                self.0.now.set(self.0.now.get() + patience);
                Ok(Waited::Nothing)
            }
        }
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.0.note("restart");
        Ok(())
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.0.note("close");
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// A camera with stuck streams after 5 seconds.
fn watched(does: &[Does], opens: &[Opens]) -> (Watched<FakeHub>, Rc<World>) {
    let world = Rc::new(World {
        does: RefCell::new(does.iter().copied().collect()),
        opens: RefCell::new(opens.iter().copied().collect()),
        ..World::default()
    });
    (Watched::open(FakeHub(world.clone()), 5 * SECOND).unwrap(), world)
}

fn next(watched: &mut Watched<FakeHub>, patience: Duration) -> (Arrival, u64) {
    let (mut shot, mut found) = (Shot::default(), 0);
    let arrival = watched.next(patience, &mut |taken, layout, number| {
        found = number;
        layout.unpack(taken.planes, &mut shot, &mut Motion::default())
    });
    (arrival, found)
}

fn said(arrival: &Arrival) -> &str {
    let Arrival::Event(what) = arrival else { panic!("{arrival:?}") };
    what
}

/// Why a frame cannot be used.
fn unusable(arrival: &Arrival) -> &str {
    let Arrival::Broken(reason) = arrival else { panic!("{arrival:?}") };
    reason
}

#[test]
fn gaps_and_broken_frames_count() {
    let script = [
        Does::Gives(7),
        Does::Gives(8),
        Does::Gives(11),
        Does::GivesDamaged(12),
        Does::GivesShort(13),
        Does::Gives(13),
        Does::Gives(2),
        Does::Gives(u32::MAX),
    ];
    let (mut camera, _) = watched(&script, &[]);
    let mut take = || next(&mut camera, SECOND);
    assert_eq!([take(), take(), take()].map(|(_, number)| number), [0, 1, 4]);
    assert!(unusable(&take().0).starts_with("frame 5: the driver"));
    assert!(unusable(&take().0).starts_with("frame 6: a frame of 2x2"));
    // A count that stands still or goes back.
    assert_eq!([take(), take(), take()].map(|(_, number)| number), [7, 8, 9]);
    assert_eq!(take().0, Arrival::Late);
}

#[test]
fn what_is_unplugged_is_closed_and_opened_when_it_is_back() {
    let opens = [Opens::Yes, Opens::Absent, Opens::Absent, Opens::Absent, Opens::Absent];
    let (mut camera, world) = watched(&[Does::Gives(0), Does::Fails, Does::Gives(0)], &opens);
    assert_eq!(next(&mut camera, SECOND), (Arrival::Frame, 0));
    assert!(said(&next(&mut camera, SECOND).0).starts_with("unplugged: the camera was closed"));
    assert_eq!(world.open.get(), 0);
    // Looked for at 0.1, 0.3, 0.7, 1.5 and 3.1 seconds.
    for second in 1..=3 {
        assert_eq!(next(&mut camera, SECOND).0, Arrival::Late);
        assert_eq!(world.now.get(), second * SECOND);
    }
    assert_eq!(next(&mut camera, SECOND), (Arrival::Frame, 1));
    assert_eq!(*world.log.borrow(), ["0.0 open", "0.0 close", "3.1 open"]);
}

#[test]
fn a_camera_that_stays_away_is_looked_for_without_end_but_not_often() {
    let mut opens = vec![Opens::Absent; 1000];
    opens[0] = Opens::Yes;
    let (mut camera, world) = watched(&[Does::Fails], &opens);
    said(&next(&mut camera, SECOND).0);
    for _ in 0..200 {
        assert_eq!(next(&mut camera, SECOND).0, Arrival::Late);
    }
    let looks = 999 - world.opens.borrow().len();
    assert!((95..=110).contains(&looks), "{looks}");
}

#[test]
fn a_stuck_stream_is_begun_anew_and_then_opened_anew() {
    let (mut camera, world) = watched(&[Does::Gives(0)], &[]);
    let mut take = || next(&mut camera, 2 * SECOND);
    assert_eq!(take().0, Arrival::Frame);
    assert_eq!([take().0, take().0], [Arrival::Late, Arrival::Late]);
    assert_eq!(said(&take().0), "no frame for 5 s: the stream was begun anew");
    assert_eq!([take().0, take().0], [Arrival::Late, Arrival::Late]);
    assert!(said(&take().0).starts_with("no frame for 5 s, although"));
    world.does.borrow_mut().push_back(Does::Gives(0));
    assert_eq!(take(), (Arrival::Frame, 1));
    assert_eq!(*world.log.borrow(), ["0.0 open", "5.0 restart", "10.0 close", "10.1 open"]);
}

#[test]
fn a_frame_after_the_stream_was_begun_anew_clears_the_record() {
    let does = [Does::Nothing, Does::Gives(0), Does::Nothing, Does::Gives(0)];
    let (mut camera, world) = watched(&does, &[]);
    let mut take = || next(&mut camera, 9 * SECOND).0;
    said(&take());
    assert_eq!(take(), Arrival::Frame);
    said(&take());
    assert_eq!(take(), Arrival::Frame);
    assert_eq!(*world.log.borrow(), ["0.0 open", "5.0 restart", "10.0 restart"]);
}

#[test]
fn why_a_camera_that_is_back_is_not_used_is_told_once_until_it_changes() {
    use Opens::{Absent, Busy, Unfit, Yes};
    let opens = [Yes, Unfit, Unfit, Unfit, Busy, Busy, Absent, Busy];
    let (mut camera, _) = watched(&[Does::Fails, Does::Gives(3)], &opens);
    said(&next(&mut camera, SECOND).0);
    let mut told = Vec::new();
    let arrival = loop {
        match next(&mut camera, SECOND) {
            (Arrival::Event(what), _) => told.push(what.split('\n').next().unwrap_or_default().to_owned()),
            (Arrival::Late, _) => {}
            arrival => break arrival,
        }
    };
    assert_eq!(told, ["no camera", "a busy camera", "a busy camera"]);
    assert_eq!(arrival, (Arrival::Frame, 0));
}

#[test]
fn no_patience_is_no_wait() {
    let (mut camera, world) = watched(&[Does::Nothing, Does::Fails], &[]);
    assert_eq!(next(&mut camera, Duration::ZERO).0, Arrival::Late);
    said(&next(&mut camera, Duration::ZERO).0);
    world.now.set(SECOND);
    assert_eq!(next(&mut camera, Duration::ZERO).0, Arrival::Late);
    assert_eq!(world.now.get(), SECOND);
}

#[test]
fn the_first_open_must_succeed() {
    for opens in [Opens::Absent, Opens::Unfit] {
        let world = Rc::new(World { opens: RefCell::new([opens].into()), ..World::default() });
        assert!(Watched::open(FakeHub(world), SECOND).is_err());
    }
}
