//! A camera of files that keeps its promises or breaks one, which the contract must tell.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::frame::YuvColor;
use crate::preprocess::rga::{DmaLayout, DmaPacking};
use crate::source::{Arrival, Format, Rewound, Shot, ShotDma, Source, Supply, contract};

const SIDE_PX: usize = 2;
const BYTES: usize = SIDE_PX * SIDE_PX * 3 / 2;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Nothing,
    /// It never gives a frame.
    Comes,
    /// It never gives a frame, although its frames wait.
    Waits,
    /// All frames have the same number.
    Counts,
    /// All frames were filmed at the same time.
    Moves,
    /// What is to be read at once is left in its buffer.
    Reads,
    /// What is left in its buffer cannot be found there.
    Leaves,
    /// Buffers that are in use are filled again.
    Keeps,
    /// Nothing is passed over.
    PassesOver,
    /// It says that it begins anew, and goes on.
    Rewinds,
}

struct Fake {
    breaks: Breaks,
    next: u64,
    buffers: [Arc<OwnedFd>; 3],
}

impl Fake {
    fn new(breaks: Breaks) -> Self {
        let buffers = [(); 3].map(|()| Arc::new(OwnedFd::from(tempfile::tempfile().unwrap())));
        Self { breaks, next: 0, buffers }
    }

    /// A buffer that nobody uses, with these bytes.
    fn filled(&self, bytes: &[u8]) -> Option<Arc<OwnedFd>> {
        let mut buffers = self.buffers.iter();
        let free = buffers.find(|buffer| Arc::strong_count(buffer) == 1 || self.breaks == Breaks::Keeps)?;
        File::from(free.try_clone().unwrap()).write_all_at(bytes, 0).unwrap();
        Some(Arc::clone(free))
    }
}

impl Source for Fake {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        let arrival = self.next_unread(shot, patience)?;
        if self.breaks != Breaks::Reads {
            shot.read()?;
        }
        Ok(arrival)
    }

    fn next_unread(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        *shot = Shot::default();
        if [Breaks::Comes, Breaks::Waits].contains(&self.breaks) {
            return Ok(Arrival::Late);
        }
        (shot.number, shot.width_px, shot.height_px) = (self.next, SIDE_PX, SIDE_PX);
        shot.format = Format::Nv12(YuvColor::default());
        shot.filmed_at = (self.breaks == Breaks::Moves).then_some(Duration::ZERO);
        let bytes = [self.next.to_le_bytes()[0]; BYTES];
        let (packing, color) = (DmaPacking::Nv12 { stride: SIDE_PX }, YuvColor::default());
        let layout = DmaLayout { width_px: SIDE_PX, height_px: SIDE_PX, packing, color };
        match self.filled(&bytes) {
            Some(_) if self.breaks == Breaks::Leaves => {}
            Some(fd) => shot.dma = Some(ShotDma::new(fd, layout)),
            None => shot.bytes = bytes.into(),
        }
        self.next += u64::from(self.breaks != Breaks::Counts);
        Ok(Arrival::Frame)
    }

    fn skip(&mut self, _shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        self.next += u64::from(self.breaks != Breaks::PassesOver);
        Ok(Arrival::Frame)
    }

    fn supply(&self) -> Supply {
        if self.breaks == Breaks::Waits { Supply::OnDemand } else { Supply::Live }
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(if self.breaks == Breaks::Rewinds { Rewound::Yes } else { Rewound::No })
    }

    fn describe(&self) -> String {
        format!("{:?}", self.breaks)
    }
}

#[test]
fn a_camera_that_keeps_its_promises_is_believed() {
    let heard = contract::check(&mut Fake::new(Breaks::Nothing)).unwrap();
    assert_eq!((heard.numbers, heard.broken, heard.unread), (vec![0, 1, 2, 3, 4], 0, 5));
}

#[test]
fn every_broken_promise_is_told() {
    for (breaks, said) in [
        (Breaks::Comes, "no frame, 60 times in a row"),
        (Breaks::Waits, "Late of a source whose frames wait"),
        (Breaks::Counts, "frame 0 does not count on"),
        (Breaks::Moves, "not filmed one after the other"),
        (Breaks::Reads, "5 frames were not read at once"),
        (Breaks::Leaves, "frame 0 has no pixels"),
        (Breaks::Keeps, "is another one when it is read later"),
        (Breaks::PassesOver, "and 1 in between"),
        (Breaks::Rewinds, "came as"),
    ] {
        let error = contract::check(&mut Fake::new(breaks)).unwrap_err().to_string();
        assert!(error.contains(said), "{breaks:?}: {error}");
    }
}
