//! Watches the stages while they run: passes notes on, tells that all is well while every stage moves, ends the line when
//! asked, and waits for its end, but not for ever.

use std::time::{Duration, Instant};

use super::crew::Crew;
use super::line::{Line, Stage};
use super::note::Note;
use super::pulse::Seen;
use super::vitals::Thermometer;
use super::{Stop, Watch};

/// Time from one look at the stages to the next.
const LOOK: Duration = Duration::from_millis(50);
/// How long stages may take to end. Those that wait end at once, those at work with their frame. As long, too, may take what
/// comes out of an engine that is given up.
const GRACE: Duration = Duration::from_secs(2);
/// How long a stage may take for a frame before that is said.
const SLOW: Duration = Duration::from_secs(5);

/// Returns once every stage has ended, or has not although it had to. Allocates nothing, because frames are under way.
pub(super) fn supervise(
    crew: &Crew,
    line: &Line,
    stop: &Stop,
    mut thermometer: Thermometer,
    watch: &mut dyn Watch,
) {
    let mut rounds = Rounds::new(Instant::now());
    let (mut given_up, mut aborted) = (None, None);
    loop {
        while let Some(note) = line.notes.take() {
            watch.note(&note);
        }
        let have_ended = crew.have_ended();
        if have_ended == [true; Stage::ALL.len()] {
            // What the last one said may have come meanwhile.
            while let Some(note) = line.notes.take_last() {
                watch.note(&note);
            }
            return;
        }
        let now = Instant::now();
        if stop.is_stopped() || (line.is_given_up() && has_had_its_time(&mut given_up, now)) {
            line.abort();
        }
        if line.is_aborted() && has_had_its_time(&mut aborted, now) {
            return;
        }
        rounds.look(line, have_ended, now, watch);
        thermometer.read(&line.temperature, now);
        stop.watch_until(now + LOOK);
    }
}

/// Whether it is too long ago that something began, which was just now where nobody knew.
fn has_had_its_time(since: &mut Option<Instant>, now: Instant) -> bool {
    now.duration_since(*since.get_or_insert(now)) > GRACE
}

/// What was seen of the stages.
struct Rounds {
    seen: [Seen; Stage::ALL.len()],
    said: [bool; Stage::ALL.len()],
    alive: Instant,
}

impl Rounds {
    fn new(now: Instant) -> Self {
        Self { seen: [Seen::new(now); Stage::ALL.len()], said: [false; Stage::ALL.len()], alive: now }
    }

    fn look(
        &mut self,
        line: &Line,
        have_ended: [bool; Stage::ALL.len()],
        now: Instant,
        watch: &mut dyn Watch,
    ) {
        for stage in Stage::ALL {
            let index = stage.index();
            let seen = &mut self.seen[index];
            seen.look(line.pulse(stage), now);
            if have_ended[index] {
                seen.moved = now;
            }
            let still = now.duration_since(seen.moved);
            if still > SLOW && !self.said[index] {
                watch.note(&Note::Stuck(stage, still.as_secs()));
            }
            self.said[index] = still > SLOW;
        }
        if self.seen.iter().all(|seen| seen.moved > self.alive) {
            self.alive = now;
            watch.alive();
        }
    }
}
