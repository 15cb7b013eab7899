//! The pipeline with an NPU, played too, and a camera that gives DMA-BUFs. What is seen there, a red square, is not in the bytes
//! that the CPU would read: so what is found tells who prepared a frame.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repedge::frame::YuvColor;
use repedge::pipeline::{Duty, End, Note, Overlay, Pipeline, PipelineReport, Policy, Settings, Stop, Watch};
use repedge::preprocess::rga::{DmaLayout, RgaChoice};
use repedge::sink::{Controls, Object, Pixels, Shown, Sink, Vitals};
use repedge::source::{Arrival, Format, Rewound, Shot, ShotDma, Source};
use repedge::{Error, draw};
use stand_in::rga::Rga as StandIn;

use crate::common::SIDE_PX;
use crate::frames::{Camera, nv12};
use crate::npu;

const FRAMES: usize = 30;

/// Red in the right upper quarter, else gray.
fn square(kind: usize, x: usize, y: usize) -> u8 {
    if x >= SIDE_PX / 2 && y < SIDE_PX / 2 { [81, 90, 240][kind] } else { [126, 128, 128][kind] }
}

/// Where a camera puts its frames.
#[derive(Clone)]
struct Buffers {
    fds: [Arc<OwnedFd>; 2],
    layout: DmaLayout,
}

impl Buffers {
    fn new(layout: DmaLayout) -> Self {
        let fd = || Arc::new(OwnedFd::from(Camera::new(layout, square).file));
        Self { fds: [fd(), fd()], layout }
    }
}

struct Frames {
    buffers: Option<Buffers>,
    next: usize,
}

impl Source for Frames {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        let pixels = SIDE_PX * SIDE_PX;
        (shot.width_px, shot.height_px) = (SIDE_PX, SIDE_PX);
        shot.format = Format::Nv12(YuvColor::default());
        // Without what was drawn on the frame before.
        shot.bytes.clear();
        shot.bytes.resize(pixels * 3 / 2, 128);
        let next = self.next;
        self.next += 1;
        shot.dma = self
            .buffers
            .as_ref()
            .map(|buffers| ShotDma::new(Arc::clone(&buffers.fds[next % buffers.fds.len()]), buffers.layout));
        Ok(Arrival::Frame)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "frames".into()
    }
}

/// The same for a source that leaves frames in the camera's buffers where it is asked to, and counts those that it does not.
struct Unread {
    frames: Frames,
    reads: Arc<AtomicU64>,
}

impl Source for Unread {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.frames.next(shot, patience)
    }

    fn next_unread(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        let arrival = self.frames.next(shot, patience)?;
        shot.bytes.clear();
        Ok(arrival)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "frames that stay where they are".into()
    }
}

/// Counts what was found on each frame, and the frames that came with pixels.
#[derive(Clone)]
struct Found {
    objects: Arc<Mutex<Vec<usize>>>,
    with_pixels: Arc<AtomicU64>,
    /// What it needs, before any frame and after each.
    needs: Vec<Pixels>,
}

impl Found {
    fn needing(needs: &[Pixels]) -> Self {
        Self { objects: Arc::default(), with_pixels: Arc::default(), needs: needs.to_vec() }
    }
}

impl Sink for Found {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        self.objects.lock().unwrap().push(shown.objects.len());
        self.with_pixels.fetch_add(shown.shot.has_pixels().into(), Ordering::SeqCst);
        Ok(())
    }

    fn pixels(&self) -> Pixels {
        let shown = self.objects.lock().unwrap().len();
        self.needs[shown.min(self.needs.len() - 1)]
    }

    fn describe(&self) -> String {
        "found".into()
    }
}

/// Draws on frames that have pixels, and is given no others.
struct Drawn;

impl Overlay for Drawn {
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals) {
        draw::Overlay::new().draw(shot, objects, classes, vitals).unwrap();
    }
}

/// Hears who prepares frames.
#[derive(Default)]
struct Ear(Vec<String>);

impl Watch for Ear {
    fn note(&mut self, note: &Note) {
        if let Note::Prepares(who) = note {
            self.0.push(who.clone());
        }
    }

    fn alive(&mut self) {}
}

/// What came of a run.
struct Ran {
    report: PipelineReport,
    /// Objects on each frame.
    found: Vec<usize>,
    /// Frames that came with pixels.
    with_pixels: u64,
    /// What was said of who prepares frames.
    said: Vec<String>,
}

fn run(name: &str, rga: RgaChoice, buffers: Option<Buffers>) -> Ran {
    play(name, rga, Box::new(Frames { buffers, next: 0 }), Found::needing(&[Pixels::Needed]))
}

/// Plays frames that may stay where they are, for sinks with these needs; gives how many did not, too.
fn run_unread(name: &str, rga: RgaChoice, buffers: Buffers, needs: &[Pixels]) -> (Ran, u64) {
    let frames = Frames { buffers: Some(buffers), next: 0 };
    let source = Unread { frames, reads: Arc::default() };
    let reads = Arc::clone(&source.reads);
    let ran = play(name, rga, Box::new(source), Found::needing(needs));
    (ran, reads.load(Ordering::SeqCst))
}

fn play(name: &str, rga: RgaChoice, source: Box<dyn Source>, found: Found) -> Ran {
    let mut squares = npu::Squares::on(npu::pool(&npu::scenario(name), &npu::options()).unwrap());
    let settings =
        Settings { policy: Policy::EveryFrame, frames: Some(FRAMES as u64), rga, ..Settings::default() };
    let mut pipeline = Pipeline::new(source, settings, Controls::new(0.25), Stop::new());
    let mut ear = Ear::default();
    pipeline.set_overlay(Box::new(Drawn));
    pipeline.add_sink(Box::new(found.clone()), Duty::Essential);
    let run = pipeline.run(&mut squares, &mut ear);
    assert_eq!(run.end.unwrap(), End::Enough);
    assert_eq!((run.report.shown, run.report.lost), (FRAMES as u64, 0));
    let with_pixels = found.with_pixels.load(Ordering::SeqCst);
    let found = found.objects.lock().unwrap().clone();
    Ran { report: run.report, found, with_pixels, said: ear.0 }
}

fn file(stand_in: &StandIn) -> RgaChoice {
    RgaChoice::File(stand_in.path().into())
}

#[test]
fn frames_go_from_buffer_to_buffer() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let buffers = Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX));
    let ran = run("rga works", file(&stand_in), Some(buffers.clone()));
    assert!(ran.report.by_rga >= FRAMES as u64, "{:?}", ran.report);
    assert_eq!(ran.found, [1; FRAMES]);
    assert_eq!(ran.said, ["RGA (librga 1.10.0), which is untested on hardware"]);
    assert_eq!(stand_in.misuses(), 0);
    // The thread that had them may end a little later.
    npu::wait_until("handles are released", || stand_in.handles() == 0);
    npu::wait_until("buffers are given back", || buffers.fds.iter().all(|fd| Arc::strong_count(fd) == 1));
}

#[test]
fn after_a_failure_the_cpu_goes_on_which_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    stand_in.fail_after(10);
    let buffers = Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX));
    let ran = run("rga fails", file(&stand_in), Some(buffers));
    let by_rga = usize::try_from(ran.report.by_rga).unwrap();
    assert!((1..=10).contains(&by_rga), "{by_rga}");
    let (first, rest) = ran.found.split_at(by_rga);
    assert!(first.iter().all(|found| *found == 1) && rest.iter().all(|found| *found == 0), "{:?}", ran.found);
    let [works, fails] = &ran.said[..] else { panic!("{:?}", ran.said) };
    assert!(works.starts_with("RGA"), "{works}");
    assert!(fails.starts_with("the CPU because RGA failed at "), "{fails}");
    assert_eq!(stand_in.misuses(), 0);
    npu::wait_until("handles are released", || stand_in.handles() == 0);
}

#[test]
fn where_rga_cannot_the_cpu_does_all() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let aligned = || Some(Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX)));
    let nowhere = RgaChoice::File(PathBuf::from("/nowhere/librga.so"));
    let unaligned = Some(Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX + 8)));
    for (rga, buffers, said) in [
        (nowhere.clone(), aligned(), Some("no librga on this machine")),
        (file(&stand_in), unaligned, Some("72 bytes apart")),
        (RgaChoice::Off, aligned(), None),
        // Nothing is said where there is nothing for RGA to do.
        (nowhere, None, None),
    ] {
        let ran = run("rga cannot", rga, buffers);
        assert_eq!((ran.report.by_rga, &ran.found[..]), (0, &[0; FRAMES][..]));
        assert_eq!(ran.said.len(), usize::from(said.is_some()), "{:?}", ran.said);
        assert!(ran.said.iter().all(|words| words.contains(said.unwrap_or_default())), "{:?}", ran.said);
    }
    assert_eq!((stand_in.done(), stand_in.misuses(), stand_in.handles()), (0, 0, 0));
}

#[test]
fn no_processor_reads_a_frame_that_nobody_looks_at() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let buffers = Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX));
    let (ran, reads) = run_unread("rga alone", file(&stand_in), buffers.clone(), &[Pixels::Unneeded]);
    assert_eq!((reads, ran.with_pixels, &ran.found[..]), (0, 0, &[1; FRAMES][..]));
    npu::wait_until("buffers are given back", || buffers.fds.iter().all(|fd| Arc::strong_count(fd) == 1));
    let (ran, reads) = run_unread("rga and pictures", file(&stand_in), buffers, &[Pixels::Needed]);
    assert_eq!((ran.with_pixels, &ran.found[..]), (FRAMES as u64, &[1; FRAMES][..]));
    assert!(reads >= FRAMES as u64 && ran.report.by_rga >= FRAMES as u64, "{reads}: {:?}", ran.report);
    assert_eq!(stand_in.misuses(), 0);
}

#[test]
fn frames_are_read_from_when_a_sink_looks_until_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let buffers = || Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX));
    let (begins, ends) = ([Pixels::Unneeded, Pixels::Needed], [Pixels::Needed, Pixels::Unneeded]);
    let (ran, _) = run_unread("rga, then a visitor", file(&stand_in), buffers(), &begins);
    assert!((1..FRAMES as u64).contains(&ran.with_pixels), "{}", ran.with_pixels);
    let (ran, _) = run_unread("rga, then no visitor", file(&stand_in), buffers(), &ends);
    assert!((1..FRAMES as u64).contains(&ran.with_pixels), "{}", ran.with_pixels);
}

#[test]
fn frames_that_stayed_where_they_are_are_not_lost_when_rga_fails() {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::copy_to(folder.path());
    let buffers = || Buffers::new(nv12(SIDE_PX, SIDE_PX, SIDE_PX));
    stand_in.fail_after(10);
    let (ran, reads) = run_unread("rga fails alone", file(&stand_in), buffers(), &[Pixels::Unneeded]);
    let by_rga = usize::try_from(ran.report.by_rga).unwrap();
    assert!((1..=10).contains(&by_rga) && reads > 0, "{by_rga}, {reads}");
    // Those that were not read when they came were read where they lay: there is a square on them.
    let late = ran.found[by_rga..].iter().filter(|found| **found == 1).count();
    assert!(late >= 1 && late + by_rga < FRAMES, "{:?}", ran.found);
    assert_eq!(ran.said.len(), 2, "{:?}", ran.said);
    let (ran, reads) = run_unread("no rga", RgaChoice::Off, buffers(), &[Pixels::Unneeded]);
    assert_eq!((ran.report.by_rga, &ran.found[..]), (0, &[0; FRAMES][..]));
    assert!(reads >= FRAMES as u64, "all are read when they come: {reads}");
}
