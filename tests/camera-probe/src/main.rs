//! `camera-probe REPORT.json`: what the camera source makes of a real driver. Opens the first camera in each format that it
//! offers, counts frames, compares their brightness and their DMA-BUFs, and, where the driver is the kernel's `vivid`, has it
//! damage, lose and withhold frames, fail, and go away. Exit code 1: something was not as it must be.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use repedge::frame::Samples;
use repedge::source::v4l2::{Camera, LentDma, LentPixels, Pixels, Settings, Wish, first_camera};
use repedge::source::{Arrival, Format, Shot, Source};
use serde_json::{Value, json};
use v4l2r::bindings::v4l2_queryctrl;
use v4l2r::ioctl::{self, CtrlId, QueryCtrlFlags};

/// Frames taken in each format.
const FRAMES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(2);
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Nothing here takes longer, even in an emulator.
const LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: camera-probe REPORT.json");
        return ExitCode::from(2);
    };
    let outcome = probe().and_then(|report| {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write {}", Path::new(&path).display()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn probe() -> Result<Value> {
    let found = first_camera()?.context("there is no camera")?;
    eprintln!("{found:?}");
    let mut formats = Vec::new();
    for (pixels, size) in [
        (None, (640, 480)),
        (Some(Pixels::Nv12), (640, 360)),
        (Some(Pixels::Yuyv), (640, 360)),
        (Some(Pixels::Jpeg), (640, 360)),
    ] {
        let wish = Wish { width_px: size.0, height_px: size.1, pixels, ..Wish::default() };
        formats.push(match open(wish) {
            Ok(mut camera) => capture(&mut camera).with_context(|| format!("{pixels:?}"))?,
            Err(error) => json!({ "wish": format!("{pixels:?}"), "refused": error.to_string() }),
        });
        eprintln!("{}", formats[formats.len() - 1]);
    }
    let captured = formats.iter().filter(|format| format["frames"].is_u64()).count();
    ensure!(captured >= 2, "only {captured} formats gave frames");
    let faults = if found.card == "vivid" { faults(&found.path)? } else { Value::Null };
    Ok(
        json!({ "path": found.path, "card": found.card, "bus": found.bus, "formats": formats, "faults": faults }),
    )
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
    let (dma_bufs, equal) = compare_dma(camera)?;
    Ok(json!({
        "camera": camera.describe(), "format": format!("{:?}", shot.format),
        "size": [shot.width_px, shot.height_px], "bytes": shot.bytes.len(), "frames": numbers.len(),
        "numbers": [numbers[0], numbers[numbers.len() - 1]], "different": sums.len(), "mean_luma": mean,
        "fps": FRAMES as f64 / seconds, "dma_bufs": dma_bufs, "dma_bytes_compared": equal,
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

/// How many DMA-BUFs a frame has, and how many of its bytes were found equal in them.
fn compare_dma(camera: &mut Camera) -> Result<(usize, usize)> {
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
            compared = match dma[..] {
                [] => Ok((0, 0)),
                [one] => equal_bytes(one, &planes.concat()).map(|equal| (1, equal)),
                [one, two, ..] => equal_bytes(one, planes[0])
                    .and_then(|first| Ok((2, first + equal_bytes(two, planes[1])?))),
            };
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
                Arrival::Broken(reason) => told.push(reason),
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
        if let Arrival::Broken(reason) = camera.next(&mut Shot::default(), PATIENCE)? {
            stuck.push(reason);
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

/// Sets the control of this name, through a file of its own, which is closed before it returns.
fn control(path: &Path, name: &str, value: i32) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut id = 0;
    loop {
        let asked = CtrlId::new(id)?;
        let next: v4l2_queryctrl = ioctl::queryctrl(&file, asked, QueryCtrlFlags::NEXT)
            .with_context(|| format!("vivid has no control {name:?}"))?;
        id = next.id;
        let text: Vec<u8> = next.name.iter().copied().take_while(|byte| *byte != 0).collect();
        if text == name.as_bytes() {
            ioctl::s_ctrl(&file, id, value).with_context(|| format!("setting {name:?}"))?;
            eprintln!("{name}: {value}");
            return Ok(());
        }
    }
}
