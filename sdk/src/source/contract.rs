//! What every source promises, asked of one: frames come in order and were filmed in it, what is broken is told, a frame is the same
//! whether it is read at once or later, and one that nobody has read yet stays as it is. The tests beside this ask files and the
//! pattern; `tests/camera-probe` asks cameras, and takes in this file for that. So it knows no source, and all it needs is beside it.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Arrival, Rewound, Shot, Source, Supply};

/// Arrivals that are looked at, where there are so many.
const ARRIVALS: usize = 5;
/// Frames that are kept: more than a source has buffers to spare.
const KEPT: usize = 8;
const PATIENCE: Duration = Duration::from_secs(1);
/// How often in a row no frame may come of what is live.
const MOST_WAITS: usize = 60;

/// What was heard of a source.
#[derive(Debug)]
pub struct Heard {
    /// Numbers of its first frames.
    pub numbers: Vec<u64>,
    /// How many broken ones were told among them.
    pub broken: usize,
    /// How many frames stayed in a buffer until they were read.
    pub unread: usize,
}

/// A way to take a frame.
#[derive(Debug, Clone, Copy)]
enum Way {
    Read,
    Unread,
    Skip,
}

/// What came of a source.
#[derive(Default)]
struct Taken {
    arrivals: Vec<Arrival>,
    frames: Vec<Shot>,
    unread: usize,
}

/// Plays the beginning of a source, several times where that can be, or what is live.
///
/// # Errors
/// When it breaks a promise.
pub fn check(source: &mut dyn Source) -> Result<Heard> {
    let at_once = take(source, Way::Read)?;
    ensure!(at_once.unread == 0, "{} frames were not read at once", at_once.unread);
    let rewound = source.rewind()?;
    let later = take(source, Way::Unread)?;
    match rewound {
        Rewound::Yes => repeats(&at_once, &later)?,
        Rewound::No => goes_on(&at_once, &later, 0)?,
    }
    moves_on(at_once.frames.iter().chain(&later.frames))?;
    passes_over(source, &later)?;
    keeps(source)?;
    let is_broken = |arrival: &&Arrival| matches!(arrival, Arrival::Broken(_));
    Ok(Heard {
        numbers: at_once.frames.iter().map(|shot| shot.number).collect(),
        broken: at_once.arrivals.iter().filter(is_broken).count(),
        unread: later.unread,
    })
}

/// What comes next: a frame, a broken one, or the end.
fn next(source: &mut dyn Source, way: Way, shot: &mut Shot) -> Result<Arrival> {
    for _ in 0..MOST_WAITS {
        let arrival = match way {
            Way::Read => source.next(shot, PATIENCE)?,
            Way::Unread => source.next_unread(shot, PATIENCE)?,
            Way::Skip => source.skip(shot, PATIENCE)?,
        };
        if !matches!(arrival, Arrival::Late | Arrival::Event(_)) {
            return Ok(arrival);
        }
        ensure!(source.supply() == Supply::Live, "{arrival:?} of a source whose frames wait");
    }
    bail!("no frame, {MOST_WAITS} times in a row")
}

/// The next arrivals. Of the frames' buffers none is kept.
fn take(source: &mut dyn Source, way: Way) -> Result<Taken> {
    let (mut taken, mut shot) = (Taken::default(), Shot::default());
    while taken.arrivals.len() < ARRIVALS {
        let arrival = next(source, way, &mut shot)?;
        match arrival {
            Arrival::Ended => break,
            Arrival::Frame => {
                taken.unread += usize::from(!shot.has_pixels());
                read(&mut shot)?;
                let is_before = |last: &Shot| last.number < shot.number;
                let rises = taken.frames.last().is_none_or(is_before);
                ensure!(rises, "frame {} does not count on from the one before it", shot.number);
                taken.frames.push(Shot { dma: None, ..shot.clone() });
            }
            _ => {}
        }
        taken.arrivals.push(arrival);
    }
    Ok(taken)
}

/// Reads a frame, if that was not done before, and fails unless its pixels are what its buffer still holds, if it has one.
fn read(shot: &mut Shot) -> Result<()> {
    shot.read()?;
    ensure!(shot.has_pixels(), "frame {} has no pixels", shot.number);
    shot.picture()?;
    let mut again = Shot { bytes: Vec::new(), ..shot.clone() };
    if again.dma.is_some() {
        again.read()?;
        equal(shot, &again)?;
    }
    Ok(())
}

fn equal(one: &Shot, other: &Shot) -> Result<()> {
    let kind = |shot: &Shot| format!("{:?} {:?}", (shot.number, &shot.name), looks(shot));
    ensure!(kind(one) == kind(other), "{} came as {} later", kind(one), kind(other));
    ensure!(one.bytes == other.bytes, "frame {} is another one when it is read later", one.number);
    Ok(())
}

fn looks(shot: &Shot) -> String {
    format!("{}x{} pixels as {:?}", shot.width_px, shot.height_px, shot.format)
}

/// Fails unless the same came again.
fn repeats(before: &Taken, after: &Taken) -> Result<()> {
    let [first, second] = [before, after].map(|taken| &taken.arrivals);
    ensure!(first == second, "{first:?} came as {second:?} the second time");
    before.frames.iter().zip(&after.frames).try_for_each(|(one, other)| equal(one, other))
}

/// Fails unless frames of the same kind went on, without at least so many that were passed over in between.
fn goes_on(before: &Taken, after: &Taken, passed_over: u64) -> Result<()> {
    let last = before.frames.last().context("no frame that can be used")?;
    let first = after.frames.first().context("no frame that can be used, after others")?;
    ensure!(
        last.number + passed_over < first.number,
        "frame {} came after frame {}, and {passed_over} in between",
        first.number,
        last.number
    );
    ensure!(looks(last) == looks(first), "{} became {}", looks(last), looks(first));
    Ok(())
}

/// Fails unless a recording's frames were filmed one after the other, also those behind a rewind.
fn moves_on<'a>(frames: impl Iterator<Item = &'a Shot>) -> Result<()> {
    let filmed_at: Vec<_> = frames.map(|shot| shot.filmed_at).collect();
    let is_recorded = filmed_at.iter().any(Option::is_some);
    let rises = filmed_at.is_sorted_by(|one, next| one < next);
    ensure!(rises || !is_recorded, "frames were not filmed one after the other: {filmed_at:?}");
    Ok(())
}

/// Fails unless a frame that is passed over counts, and those behind it are what they would have been.
fn passes_over(source: &mut dyn Source, before: &Taken) -> Result<()> {
    let rewound = source.rewind()?;
    next(source, Way::Skip, &mut Shot::default())?;
    let after = take(source, Way::Unread)?;
    if rewound == Rewound::No {
        return goes_on(before, &after, 1);
    }
    ensure!(!after.frames.is_empty(), "no frame behind one that was passed over");
    before.frames.iter().skip(1).zip(&after.frames).try_for_each(|(one, other)| equal(one, other))
}

/// Fails unless frames whose buffers are kept stay as they are while others come, read or not, however many are kept.
fn keeps(source: &mut dyn Source) -> Result<()> {
    source.rewind()?;
    let mut kept = Vec::new();
    for way in [Way::Read, Way::Unread].into_iter().cycle().take(KEPT) {
        let mut shot = Shot::default();
        match next(source, way, &mut shot)? {
            Arrival::Frame => kept.push(shot),
            Arrival::Ended => break,
            _ => {}
        }
    }
    kept.iter_mut().try_for_each(read)
}
