//! `camera-probe REPORT.json FORMAT…`: what the camera source makes of a real driver. Opens the first camera in each of these
//! formats, which it must have, counts frames, compares their brightness and their DMA-BUFs, asks of it what every source of the sdk
//! promises, and, where the driver is the kernel's `vivid`, has it damage, lose and withhold frames, fail, and go away.
//!
//! `camera-probe --control NAME VALUE`: sets a control of the first camera. `camera-probe --drawn PICTURE LINES`: whether a
//! picture shows what one of the JSON lines says. Exit code 1: something was not as it must be.

#[path = "../../../sdk/src/source/contract.rs"]
mod contract;
mod control;
mod drawn;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use repedge::frame::Samples;
use repedge::source::v4l2::{Camera, Formats, LentDma, LentPixels, Pixels, Settings, Wish, first_camera};
// Some for the contract, which is the sdk's own.
use repedge::source::{Arrival, Format, Rewound, Shot, Source, Supply};
use serde_json::{Value, json};
use v4l2r::ioctl;

use contract::Heard;
use control::control;

/// Frames taken in each format.
const FRAMES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(2);
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Nothing here takes longer, even in an emulator.
const LIMIT: Duration = Duration::from_secs(60);
/// Formats that can be asked for, by V4L2's names.
const FORMATS: [(&str, Pixels); 4] =
    [("NV12", Pixels::Nv12), ("NM12", Pixels::Nv12Planes), ("YUYV", Pixels::Yuyv), ("MJPG", Pixels::Jpeg)];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["--control", name, value] => set(name, value),
        ["--drawn", picture, lines] => drawn::check(Path::new(picture), Path::new(lines)),
        [report, ref formats @ ..] if !report.starts_with("--") => write(Path::new(report), formats),
        _ => {
            eprintln!(
                "usage: camera-probe REPORT.json FORMAT... | --control NAME VALUE | --drawn PICTURE LINES"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn set(name: &str, value: &str) -> Result<()> {
    let found = first_camera()?.context("there is no camera")?;
    control(&found.path, name, value.parse().with_context(|| format!("{value:?} is no value"))?)
}

fn write(path: &Path, formats: &[&str]) -> Result<()> {
    let text = serde_json::to_string_pretty(&probe(formats)?)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn probe(wanted: &[&str]) -> Result<Value> {
    let found = first_camera()?.context("there is no camera")?;
    eprintln!("{found:?}");
    let is_vivid = found.card == "vivid";
    let mut formats = vec![capture(&mut open(Wish::default())?).context("any format")?];
    for name in wanted {
        let format = in_format(name).with_context(|| format!("format {name}"))?;
        // vivid exports its buffers; other drivers need not.
        ensure!(!is_vivid || format["dma_bufs"] != 0, "format {name}: no DMA-BUF of a frame");
        eprintln!("{format}");
        // What lies in one buffer, from its first byte on, is left there until it is read.
        let may_be_left = format["dma_bufs"] == 1 && format["dma_offset"] == 0;
        let is_left = format["contract"]["unread"] != 0;
        let said = format!("frames stayed in their buffers: {is_left}, expected: {may_be_left}");
        ensure!(!is_vivid || is_left == may_be_left, "format {name}: {said}");
        formats.push(format);
    }
    let faults = if is_vivid { faults(&found.path)? } else { Value::Null };
    Ok(json!({
        "path": found.path, "card": found.card, "bus": found.bus, "driver": found.driver, "formats": formats,
        "faults": faults,
    }))
}

/// Takes frames in the format of this name and no other, and asks what every source promises.
fn in_format(name: &str) -> Result<Value> {
    let pixels = FORMATS.iter().find(|(other, _)| *other == name).map(|(_, pixels)| *pixels);
    let formats = Formats::only(&[pixels.context("no format that we read")?]);
    let mut camera = open(Wish { width_px: 640, height_px: 360, formats, ..Wish::default() })?;
    let is_set = camera.describe().ends_with(&format!("640x360 pixels as {name}"));
    ensure!(is_set, "the camera was set to something else: {}", camera.describe());
    let mut seen = capture(&mut camera)?;
    let Heard { numbers, broken, unread } =
        contract::check(&mut camera).context("what every source promises")?;
    seen["contract"] = json!({ "numbers": numbers, "broken": broken, "unread": unread });
    Ok(seen)
}

fn open(wish: Wish) -> Result<Camera> {
    Ok(Camera::open(Settings { wish, stuck_after: STUCK_AFTER, ..Settings::default() })?)
}

/// Takes frames; fails unless they come, differ, and lie in their DMA-BUFs too.
fn capture(camera: &mut Camera) -> Result<Value> {
    let (mut shot, mut means, mut sums, mut numbers) = (Shot::default(), Vec::new(), Vec::new(), Vec::new());
    let started = Instant::now();
    while numbers.len() < FRAMES {
        ensure!(started.elapsed() < LIMIT, "{} frames in {LIMIT:?}", numbers.len());
        match camera.next(&mut shot, PATIENCE)? {
            Arrival::Frame => {
                shot.picture()?;
                means.push(mean_luma(&shot));
                sums.push(
                    shot.bytes
                        .iter()
                        .fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into())),
                );
                numbers.push(shot.number);
            }
            other => eprintln!("{other:?}"),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    sums.sort_unstable();
    sums.dedup();
    ensure!(sums.len() > 1, "all frames are the same");
    ensure!(numbers.is_sorted_by(|a, b| a < b), "numbers do not rise: {numbers:?}");
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    ensure!((20.0..=235.0).contains(&mean), "a mean brightness of {mean}");
    let InDma { bufs, offset, equal } = compare_dma(camera)?;
    Ok(json!({
        "camera": camera.describe(), "format": format!("{:?}", shot.format),
        "size": [shot.width_px, shot.height_px], "bytes": shot.bytes.len(), "frames": numbers.len(),
        "numbers": [numbers[0], numbers[numbers.len() - 1]], "different": sums.len(), "mean_luma": mean,
        "fps": FRAMES as f64 / seconds, "dma_bufs": bufs, "dma_offset": offset,
        "dma_bytes_compared": equal,
        "taken_at_s": camera.taken_at().map(|at| at.as_secs_f64()),
    }))
}

/// Mean of Y; of green, which is most of it, where there is none.
fn mean_luma(shot: &Shot) -> f64 {
    let pixels = shot.width_px * shot.height_px;
    let sum = |bytes: &mut dyn Iterator<Item = &u8>| bytes.map(|byte| u64::from(*byte)).sum::<u64>() as f64;
    let total = match shot.format {
        Format::Nv12(_) => sum(&mut shot.bytes[..pixels].iter()),
        Format::Yuyv(_) => sum(&mut shot.bytes.iter().step_by(2)),
        Format::Rgb => sum(&mut shot.bytes.iter().skip(1).step_by(3)),
    };
    total / pixels as f64
}

/// What of a frame is in DMA-BUFs.
struct InDma {
    /// How many it is in.
    bufs: usize,
    /// Bytes in front of it in the first one.
    offset: usize,
    /// How many of its bytes were found equal there.
    equal: usize,
}

/// Fails unless a frame is the same in its DMA-BUFs.
fn compare_dma(camera: &mut Camera) -> Result<InDma> {
    let mut compared = Err(anyhow::anyhow!("no frame to compare"));
    let started = Instant::now();
    while compared.is_err() && started.elapsed() < LIMIT {
        camera.lend(PATIENCE, &mut |lent| {
            let planes: [&[u8]; 2] = match lent.pixels {
                LentPixels::Jpeg(bytes) => [bytes, &[]],
                LentPixels::Yuv(frame) => match frame.samples {
                    Samples::Yuyv(plane) => [plane.bytes, &[]],
                    Samples::Nv12 { luma, chroma } => [luma.bytes, chroma.bytes],
                },
            };
            let dma: Vec<_> = lent.dma_bufs.iter().flatten().collect();
            let equal = match dma[..] {
                [] => Ok(0),
                [one] => equal_bytes(one, &planes.concat()),
                [one, two, ..] => {
                    equal_bytes(one, planes[0]).and_then(|first| Ok(first + equal_bytes(two, planes[1])?))
                }
            };
            let offset = dma.first().map_or(0, |first| first.offset);
            compared = equal.map(|equal| InDma { bufs: dma.len(), offset, equal });
        });
    }
    compared
}

fn equal_bytes(dma: &LentDma<'_>, bytes: &[u8]) -> Result<usize> {
    let mapping =
        ioctl::mmap(&dma.fd, 0, u32::try_from(dma.offset + bytes.len())?).context("cannot map a DMA-BUF")?;
    ensure!(&mapping[dma.offset..] == bytes, "a DMA-BUF holds something else than the frame");
    Ok(bytes.len())
}

/// What vivid is asked to do wrong, by the names of its controls.
fn faults(path: &Path) -> Result<Value> {
    let mut camera = open(Wish::default())?;
    let mut shot = Shot::default();
    let mut until_frame = |camera: &mut Camera| -> Result<(Vec<String>, usize, u64)> {
        let (mut told, mut late, started) = (Vec::new(), 0, Instant::now());
        loop {
            ensure!(started.elapsed() < LIMIT, "no frame after {told:?}");
            match camera.next(&mut shot, Duration::from_millis(50))? {
                Arrival::Frame => return Ok((told, late, shot.number)),
                Arrival::Broken(said) | Arrival::Event(said) => told.push(said),
                Arrival::Late => late += 1,
                Arrival::Ended => bail!("a camera that ends"),
            }
        }
    };
    until_frame(&mut camera)?;

    control(path, "Inject V4L2_BUF_FLAG_ERROR", 1)?;
    // Frames that were filled before may come first.
    let mut damaged = Vec::new();
    for _ in 0..10 {
        damaged.extend(until_frame(&mut camera)?.0);
    }
    ensure!(damaged.len() == 1 && damaged[0].contains("damaged"), "a damaged frame: {damaged:?}");

    let before = until_frame(&mut camera)?.2;
    control(path, "Percentage of Dropped Buffers", 50)?;
    let mut after = before;
    for _ in 0..FRAMES {
        after = until_frame(&mut camera)?.2;
    }
    let lost = after - before - FRAMES as u64;
    ensure!(lost > 0, "none of {FRAMES} frames was lost with half of them dropped");

    control(path, "Percentage of Dropped Buffers", 100)?;
    let mut stuck = Vec::new();
    let started = Instant::now();
    while stuck.len() < 2 {
        ensure!(started.elapsed() < LIMIT, "a stuck stream told {stuck:?}");
        if let Arrival::Event(what) = camera.next(&mut Shot::default(), PATIENCE)? {
            stuck.push(what);
        }
    }
    control(path, "Percentage of Dropped Buffers", 0)?;
    let (unstuck, ..) = until_frame(&mut camera)?;
    ensure!(
        stuck[0].contains("begun anew") && stuck[1].contains("although"),
        "a stuck stream told {stuck:?}"
    );

    control(path, "Inject Fatal Streaming Error", 1)?;
    let mut failed = Vec::new();
    for _ in 0..10 {
        failed.extend(until_frame(&mut camera)?.0);
    }
    ensure!(failed.len() == 1 && failed[0].contains("opened again"), "a failed stream: {failed:?}");

    let before = until_frame(&mut camera)?.2;
    control(path, "Disconnect", 1)?;
    ensure!(first_camera()?.is_none(), "vivid is not disconnected");
    let started = Instant::now();
    let (mut told, mut late, mut number) = (Vec::new(), 0, before);
    while told.is_empty() || number == before {
        let (more, later, at) = until_frame(&mut camera)?;
        // A frame that was filled before the disconnect may still come.
        number = if told.is_empty() && more.is_empty() { before } else { at };
        told.extend(more);
        late += later;
    }
    let away_ms = u64::try_from(started.elapsed().as_millis())?;
    ensure!(told.len() == 1 && told[0].contains("gone"), "a disconnect: {told:?}");
    let mut more = 0;
    while more < FRAMES {
        ensure!(until_frame(&mut camera)?.0.is_empty(), "told something after the camera was back");
        more += 1;
    }
    Ok(json!({
        "damaged": damaged, "lost_of_dropped_half": lost, "stuck": stuck, "unstuck": unstuck, "failed": failed,
        "disconnect": { "told": told, "late": late, "away_ms": away_ms, "numbers": [before, number], "frames_after": more },
    }))
}
