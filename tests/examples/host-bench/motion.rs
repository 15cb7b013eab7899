//! Motion JPEG: a file's next frame, as the pipeline gets it, beside zune-jpeg with the same image in memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use repedge::source::{Arrival, Rewound, Shot, open_video};
use serde_json::{Value, json};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{CAMERA_PX, noise, ratio, turn_about};

/// What UVC cameras' images weigh about as much at.
const QUALITY: u8 = 80;

/// Times both for images of a sampling.
pub(super) fn motion(sampling: SamplingFactor, rounds: usize) -> Result<Value> {
    let image = image(sampling)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("a.mjpeg");
    std::fs::write(&path, &image)?;
    let (mut source, mut shot, mut rgb) = (open_video(&path)?, Shot::default(), Vec::new());
    let [our_time, zune_time] = turn_about(
        rounds,
        [
            &mut || {
                ensure!(source.rewind()? == Rewound::Yes, "a file that does not begin anew");
                let arrival = source.next(&mut shot, Duration::ZERO)?;
                ensure!(arrival == Arrival::Frame, "{arrival:?} in place of a frame");
                Ok(())
            },
            &mut || zune(&image, &mut rgb),
        ],
    )?;
    Ok(json!({
        "ours_us": our_time.as_micros(),
        "zune_jpeg_us": zune_time.as_micros(),
        "zune_jpeg_over_ours": ratio(zune_time, our_time),
        "image_bytes": image.len(),
        "frame_bytes": shot.bytes.len(),
        "format": format!("{:?}", shot.format),
    }))
}

fn zune(image: &[u8], rgb: &mut Vec<u8>) -> Result<()> {
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(image), options);
    decoder.decode_headers()?;
    rgb.resize(decoder.output_buffer_size().context("too many pixels")?, 0);
    Ok(decoder.decode_into(rgb)?)
}

/// Smooth shapes with edges, and the noise of a camera.
fn image(sampling: SamplingFactor) -> Result<Vec<u8>> {
    let [width, height] = CAMERA_PX;
    let mut pixels = noise(2, width * height * 3);
    for (at, value) in pixels.iter_mut().enumerate() {
        let (x, y, channel) = (at / 3 % width, at / 3 / width, at % 3);
        let wave = (x * (channel + 1) / 4 + y / 3) % 256;
        let edge = if (x / 37 + y / 23).is_multiple_of(5) { 40 } else { 0 };
        *value = u8::try_from((wave.min(255 - wave) + edge + usize::from(*value % 8) + 16).min(255))?;
    }
    let mut image = Vec::new();
    let mut encoder = Encoder::new(&mut image, QUALITY);
    encoder.set_sampling_factor(sampling);
    encoder.encode(&pixels, width.try_into()?, height.try_into()?, ColorType::Rgb)?;
    Ok(image)
}
