//! Once it runs, the pipeline allocates nothing for a frame, on any of its threads and those of the NPU's cores: also with Motion JPEG,
//! with objects that come, go and are followed, the overlay drawn, and JSON lines written in place. Alone in its file, because the
//! allocator counts for the whole process; what the stand-in allocates inside its own library does not count.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;
#[path = "pipeline/world.rs"]
#[allow(dead_code, reason = "the other suite uses it all")]
mod world;

#[path = "counting/ffi.rs"]
mod ffi;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use repedge::backend::rknn::{Cores, RknnOptions};
use repedge::frame::YuvColor;
use repedge::pipeline::{Analyzer, Following, Overlay, Pipeline, Policy, Settings, Stop};
use repedge::sink::{Controls, Lines, Object, Shown, Sink, Vitals};
use repedge::source::{Arrival, Format, Pattern, Rewound, Shot, Source, open_video};
use repedge::{Error, draw};

/// Frames after which everything has its size.
const WARM_UP: u64 = 50;
const FRAMES: u64 = 500;

/// Notes how much was allocated when the first frame that counts came, and the last, and how many followed objects came.
#[derive(Clone)]
struct Count {
    allocations: Arc<[AtomicU64; 2]>,
    followed: Arc<AtomicU64>,
}

impl Count {
    fn new() -> Self {
        Self {
            allocations: Arc::new([AtomicU64::new(u64::MAX), AtomicU64::new(0)]),
            followed: Arc::default(),
        }
    }
}

impl Sink for Count {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        for (index, number) in [WARM_UP, FRAMES - 1].into_iter().enumerate() {
            if shown.number == number {
                self.allocations[index].store(ffi::allocations(), Ordering::SeqCst);
            }
        }
        let followed = shown.objects.iter().filter(|object| object.track.is_some()).count();
        self.followed.fetch_add(followed as u64, Ordering::SeqCst);
        Ok(())
    }

    fn describe(&self) -> String {
        "count".into()
    }
}

/// The overlay of live frames.
struct Drawn(draw::Overlay);

impl Overlay for Drawn {
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals) {
        self.0.draw(shot, objects, classes, vitals).unwrap();
    }
}

/// The squares model on the NPU.
fn squares() -> npu::Squares {
    let options = RknnOptions { cores: Cores::Each(3), frames_per_core: 4, ..npu::options() };
    npu::Squares::on(npu::pool(&npu::scenario("pipeline without allocations"), &options).unwrap())
}

/// Frames that are red, and black now and then.
struct Reds {
    next: u64,
}

impl Source for Reds {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        let (width, height) = (240, 240);
        let [y, u, v] = if self.next % 9 == 8 { [16, 128, 128] } else { [81, 90, 240] };
        (shot.number, shot.width_px, shot.height_px) = (self.next, width, height);
        shot.format = Format::Nv12(YuvColor::default());
        shot.bytes.resize(width * height * 3 / 2, 0);
        let (luma, chroma) = shot.bytes.split_at_mut(width * height);
        luma.fill(y);
        chroma.as_chunks_mut::<2>().0.fill([u, v]);
        self.next += 1;
        Ok(Arrival::Frame)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "red".into()
    }
}

/// Allocations from the first frame that counts to the last, and followed objects on all.
fn play(source: Box<dyn Source>, policy: Policy, analyzer: &mut dyn Analyzer) -> (u64, u64) {
    let count = Count::new();
    let settings = Settings { policy, following: Following::On, frames: Some(FRAMES), ..Settings::default() };
    let mut pipeline = Pipeline::new(source, settings, Controls::new(0.25), Stop::new());
    pipeline.add_sink(Box::new(count.clone()), Default::default());
    pipeline.add_sink(Box::new(Lines::new("nowhere", Box::new(std::io::sink()))), Default::default());
    pipeline.set_overlay(Box::new(Drawn(draw::Overlay::new())));
    let run = pipeline.run(analyzer, &mut world::Ear::default());
    assert_eq!(run.report.shown, FRAMES);
    let [first, last] = [0, 1].map(|index| count.allocations[index].load(Ordering::SeqCst));
    assert!(first > 0, "the counter does not count");
    (last - first, count.followed.load(Ordering::SeqCst))
}

/// Allocations of such a run.
fn allocations(source: Box<dyn Source>, policy: Policy, analyzer: &mut dyn Analyzer) -> u64 {
    play(source, policy, analyzer).0
}

/// A video of so many frames, each a bit brighter than the one before.
fn video(folder: &Path, frames: u64) -> PathBuf {
    let path = folder.join("gray.y4m");
    let mut bytes = b"YUV4MPEG2 W32 H16 F30:1 C420jpeg\n".to_vec();
    for frame in 0..frames {
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend_from_slice(&[u8::try_from(frame % 256).unwrap(); 32 * 16 * 3 / 2]);
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A video of so many images, large enough for the file to be read on many times while it is warmed up.
fn motion(folder: &Path, sampling: SamplingFactor, frames: usize) -> PathBuf {
    let path = folder.join("motion.mjpeg");
    let pixels: Vec<u8> = (0..320 * 240 * 3_u32).map(|at| (at % 1913).to_le_bytes()[0]).collect();
    let mut image = Vec::new();
    let mut encoder = Encoder::new(&mut image, 90);
    encoder.set_sampling_factor(sampling);
    encoder.encode(&pixels, 320, 240, ColorType::Rgb).unwrap();
    assert!(image.len() > 10_000, "{}", image.len());
    std::fs::write(&path, image.repeat(frames)).unwrap();
    path
}

/// One test for all, because others would count along.
#[test]
fn nothing_is_allocated_for_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = video(folder.path(), FRAMES);
    let blind = || world::Model::new([world::Acts::new()]);
    let pattern = || Box::new(Pattern::new(320, 240));
    for policy in [Policy::NewestFrame, Policy::EveryFrame] {
        assert_eq!(allocations(pattern(), policy, &mut blind()), 0, "the pattern, {policy:?}");
        assert_eq!(allocations(pattern(), policy, &mut squares()), 0, "the NPU, {policy:?}");
        let (allocated, followed) = play(Box::new(Reds { next: 0 }), policy, &mut squares());
        assert_eq!(allocated, 0, "objects on the NPU, {policy:?}");
        assert!(followed >= FRAMES, "{followed} objects on {FRAMES} frames, {policy:?}");
    }
    let video = open_video(&path).unwrap();
    assert_eq!(allocations(video, Policy::EveryFrame, &mut blind()), 0, "a video");
    let frames = usize::try_from(FRAMES).unwrap();
    for sampling in [SamplingFactor::R_4_2_2, SamplingFactor::R_4_2_0, SamplingFactor::R_4_4_4] {
        let video = open_video(&motion(folder.path(), sampling, frames)).unwrap();
        assert_eq!(allocations(video, Policy::EveryFrame, &mut blind()), 0, "Motion JPEG, {sampling:?}");
    }
}
