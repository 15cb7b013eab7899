//! What a frame of Motion JPEG allocates. The picture and the file's bytes lie in memory that is used again. zune-jpeg, which takes no
//! memory from outside but the picture's, allocates its own for every frame: a few pieces, as large as some rows of the picture.
//! They are the same for every frame, and all are given back.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use repedge::source::{Arrival, Shot, Source, open_video};

/// Width and height of what cameras send.
const SIDES_PX: [u16; 2] = [1280, 720];
const PICTURE: u64 = 1280 * 720 * 3;
const FRAMES: usize = 8;
/// Most pieces of memory for a frame; zune-jpeg 0.5.15 takes 17, of 220 KB in all where colors are halved both ways.
const PIECES: u64 = 32;

/// A picture with something to see everywhere.
fn jpeg(sampling: SamplingFactor) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..PICTURE).map(|at| (at / 3 % 1280 / 5 + at / 3840 / 5).to_le_bytes()[0]).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_sampling_factor(sampling);
    encoder.encode(&pixels, SIDES_PX[0], SIDES_PX[1], ColorType::Rgb).unwrap();
    bytes
}

/// What each frame of `source` allocates.
fn play(source: &mut dyn Source, shot: &mut Shot) -> Vec<AllocationInfo> {
    let next = |_| {
        measure(|| {
            let arrival = source.next(shot, Duration::from_secs(1)).unwrap();
            assert_eq!(arrival, Arrival::Frame);
        })
    };
    (0..FRAMES).map(next).collect()
}

#[test]
fn a_frame_costs_the_decoders_own_memory_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mjpeg");
    for sampling in [SamplingFactor::R_4_2_0, SamplingFactor::R_4_2_2, SamplingFactor::R_4_4_4] {
        std::fs::write(&path, jpeg(sampling).repeat(FRAMES)).unwrap();
        let (mut source, mut shot) = (open_video(&path).unwrap(), Shot::default());
        // Once through the file, so that what is read ahead has all the memory that it needs.
        let warm_up = play(source.as_mut(), &mut shot);
        assert!(warm_up[0].bytes_max >= PICTURE, "the counter does not count");
        source.rewind().unwrap();
        let frames = play(source.as_mut(), &mut shot);
        let AllocationInfo { count_total, bytes_total, .. } = frames[0];
        for frame in &frames {
            assert_eq!((frame.count_total, frame.bytes_total), (count_total, bytes_total), "{sampling:?}");
            assert!(frame.count_total <= PIECES && frame.bytes_max < PICTURE / 4, "{sampling:?}: {frame:?}");
            assert_eq!((frame.count_current, frame.bytes_current), (0, 0), "{sampling:?}: {frame:?}");
        }
    }
}
