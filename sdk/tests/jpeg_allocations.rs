//! Frames of Motion JPEG allocate nothing, once there was one: the picture, the file's bytes and all that decoding takes lie in memory that
//! is used again.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use repedge::source::{Arrival, Format, Shot, Source, open_video};

/// Width and height of what cameras send.
const SIDES_PX: [u16; 2] = [1280, 720];
const PICTURE: u64 = 1280 * 720;
const FRAMES: usize = 8;

/// A picture with something to see everywhere.
fn jpeg(sampling: SamplingFactor, restart_interval: u16) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..PICTURE * 3).map(|at| (at / 3 % 1280 / 5 + at / 3840 / 5).to_le_bytes()[0]).collect();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 80);
    encoder.set_sampling_factor(sampling);
    encoder.set_restart_interval(restart_interval);
    encoder.encode(&pixels, SIDES_PX[0], SIDES_PX[1], ColorType::Rgb).unwrap();
    bytes
}

/// The same without the tables that cameras leave out.
fn bare(mut jpeg: Vec<u8>) -> Vec<u8> {
    while let Some(at) = jpeg.windows(2).position(|mark| mark == [0xff, 0xc4]) {
        let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        jpeg.drain(at..at + 2 + length);
    }
    jpeg
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
fn a_frame_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mjpeg");
    let both_ways = jpeg(SamplingFactor::R_4_2_0, 0);
    let images = [
        (both_ways.clone(), "4:2:0"),
        (jpeg(SamplingFactor::R_4_2_2, 0), "4:2:2"),
        (jpeg(SamplingFactor::R_4_4_4, 0), "4:4:4"),
        (jpeg(SamplingFactor::R_4_4_0, 0), "4:4:0"),
        (jpeg(SamplingFactor::R_4_2_2, 40), "restarts"),
        (bare(both_ways), "no tables"),
    ];
    for (image, name) in images {
        std::fs::write(&path, image.repeat(FRAMES)).unwrap();
        let (mut source, mut shot) = (open_video(&path).unwrap(), Shot::default());
        // Once through the file, so that what is read ahead has all the memory that it needs.
        let warm_up = play(source.as_mut(), &mut shot);
        assert!(warm_up[0].bytes_max >= PICTURE, "the counter does not count");
        source.rewind().unwrap();
        for frame in play(source.as_mut(), &mut shot) {
            assert_eq!((frame.count_total, frame.bytes_total), (0, 0), "{name}");
        }
        assert_eq!(shot.format == Format::Rgb, name.starts_with("4:4"), "{name}");
    }
}
