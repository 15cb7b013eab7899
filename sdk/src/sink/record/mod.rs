//! Video on a disk: segments of pictures, written on a thread of their own. A segment has its name when it is whole; the oldest go
//! when there are too many; a disk that is almost full is left alone until there is room again; a folder that is deleted is made again.

mod disk;
mod mp4;
mod segment;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use artifact::Fault;

use super::config::{RecordConfig, VideoFormat};
use super::desk::Desk;
use super::pictures::{Jpeg, Taker};
use super::trouble::Trouble;
use crate::Error;
use segment::Segment;

/// Pictures that wait for the disk; the oldest go when there are more.
const MAX_WAITING: usize = 16;
/// Until a disk that refused is asked again.
const REST: Duration = Duration::from_secs(10);

/// Keeps video.
pub(super) struct Recorder {
    queue: Arc<Queue>,
    folder: PathBuf,
    interval: Duration,
    thread: Option<JoinHandle<()>>,
}

/// Pictures on their way to the disk.
#[derive(Default)]
struct Queue {
    desk: Desk<Waiting>,
    trouble: Trouble,
}

#[derive(Default)]
struct Waiting {
    pictures: VecDeque<Arc<Jpeg>>,
    /// No pictures are wanted before.
    resting_until: Option<Instant>,
}

impl Recorder {
    /// Records from now on. A folder that cannot be used now, such as one on a disk that is not there yet, is told of when
    /// somebody asks, and tried again.
    ///
    /// # Errors
    /// [`Error::Input`] when the sizes do not fit together, or the system gives no thread.
    pub(super) fn open(config: &RecordConfig) -> Result<Self, Error> {
        let mut tape = Tape::new(config)?;
        let queue = Arc::new(Queue::default());
        if let Err(error) = tape.prepare() {
            queue.rest(error);
        }
        let shared = Arc::clone(&queue);
        let thread = super::open::spawn("repedge-record", move || shared.serve(tape))?;
        let (folder, interval) = (config.folder.clone(), config.max_fps.interval());
        Ok(Self { queue, folder, interval, thread: Some(thread) })
    }
}

impl Taker for Recorder {
    fn wants(&self) -> bool {
        self.queue.desk.with(|waiting| waiting.resting_until.is_none_or(|until| until <= Instant::now()))
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn take(&self, jpeg: &Arc<Jpeg>) {
        self.queue.desk.bring(|Waiting { pictures, .. }| {
            if pictures.len() >= MAX_WAITING {
                pictures.pop_front();
            }
            pictures.push_back(Arc::clone(jpeg));
        });
    }

    fn check(&self) -> Result<(), Error> {
        self.queue.trouble.check()
    }

    fn is_troubled(&self) -> bool {
        self.queue.trouble.is_known()
    }

    fn describe(&self) -> String {
        format!("recording to {}", self.folder.display())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.queue.desk.close();
        if let Some(thread) = self.thread.take() {
            // It ends by itself; had it panicked, there would be nothing left to do here.
            let _ = thread.join();
        }
    }
}

impl Queue {
    /// Writes what comes until it is over.
    fn serve(&self, mut tape: Tape) {
        while let Some(picture) = self.desk.take(|waiting| waiting.pictures.pop_front()) {
            match tape.keep(&picture) {
                Ok(()) => self.trouble.is_over(),
                Err(error) => self.rest(error),
            }
        }
        if let Err(error) = tape.finish() {
            self.trouble.tell(error);
        }
    }

    /// Tells of `error`, and leaves the disk alone for a while.
    fn rest(&self, error: Error) {
        self.trouble.tell(error);
        self.desk.with(|waiting| {
            waiting.pictures.clear();
            waiting.resting_until = Some(Instant::now() + REST);
        });
    }
}

/// The segments and the one at hand.
struct Tape {
    folder: PathBuf,
    format: VideoFormat,
    segment_bytes: u64,
    total_bytes: u64,
    reserve_bytes: u64,
    /// Whether the folder is there, and what was cut in it has a name that says so.
    is_prepared: bool,
    segment: Option<Segment>,
}

impl Tape {
    /// Looks at the settings, and at no disk.
    fn new(config: &RecordConfig) -> Result<Self, Error> {
        let RecordConfig { folder, format, segment_mb, total_mb, reserve_mb, .. } = config;
        if *segment_mb == 0 || segment_mb.saturating_mul(2) > *total_mb {
            return Err(Error::Input(Fault::new(
                format!("segments of {segment_mb} MB, of {total_mb} MB in all"),
                "segments of at least 1 MB, and room for two",
                "choose other sizes as segment_mb and total_mb under [record]",
            )));
        }
        let bytes = |mb: &u64| mb.saturating_mul(1_000_000);
        Ok(Self {
            folder: folder.clone(),
            format: *format,
            segment_bytes: bytes(segment_mb),
            total_bytes: bytes(total_mb),
            reserve_bytes: bytes(reserve_mb),
            is_prepared: false,
            segment: None,
        })
    }

    /// Makes the folder ready for segments, unless it is.
    fn prepare(&mut self) -> Result<(), Error> {
        if !self.is_prepared {
            std::fs::create_dir_all(&self.folder).map_err(|e| artifact::Error::io(&self.folder, e))?;
            disk::name_cut_segments(&self.folder)?;
            self.is_prepared = true;
        }
        Ok(())
    }

    /// Fails once where somebody has deleted the folder, or in it what is being recorded; after that all is made anew.
    fn check_deleted(&mut self) -> Result<(), Error> {
        let part = self.segment.as_ref().map(Segment::part);
        let place = part.or(self.is_prepared.then_some(&*self.folder));
        let Some(deleted) = place.filter(|place| matches!(place.try_exists(), Ok(false))) else {
            return Ok(());
        };
        let error = artifact::Error::Artifact(Fault::new(
            format!("{}: deleted while it was recorded to", deleted.display()),
            "a folder and a segment that stay until the segment is whole",
            "recording begins anew by itself, in a folder of the same name; what was deleted is lost",
        ));
        // It goes nowhere any more, and has no place to be given its name in.
        (self.segment, self.is_prepared) = (None, false);
        Err(error.into())
    }

    /// Writes a picture. What was written before stays whole, also when this fails.
    fn keep(&mut self, picture: &Arc<Jpeg>) -> Result<(), Error> {
        let kept = self.try_keep(picture);
        if kept.is_err() {
            // What is on the disk is whole, and the first failure tells more.
            let _ = self.finish();
        }
        kept
    }

    fn try_keep(&mut self, picture: &Arc<Jpeg>) -> Result<(), Error> {
        self.check_deleted()?;
        self.prepare()?;
        disk::check_room(&self.folder, self.reserve_bytes)?;
        let room = self.segment_bytes;
        if self.segment.as_ref().is_some_and(|segment| !segment.takes(picture, room)) {
            self.finish()?;
        }
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => {
                disk::make_room(&self.folder, self.total_bytes.saturating_sub(self.segment_bytes))?;
                none.insert(Segment::begin(&self.folder, self.format, picture)?)
            }
        };
        segment.write(picture)
    }

    /// Gives the segment at hand its name.
    fn finish(&mut self) -> Result<(), Error> {
        self.segment.take().map_or(Ok(()), Segment::finish)
    }
}

#[cfg(test)]
mod tests;
