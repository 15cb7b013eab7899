//! `train-host bench-int8`: what int8 brings on this machine's CPU, layer by layer.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::json::JsonArgs;
use super::quantize::{images_in, load_fused};
use crate::dataset::Split;
use crate::quantize::{Speed, file, speed};
use crate::{Error, Result, import};

/// Arguments of `train-host bench-int8`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The float model: run folder, weights file, YOLOv5 checkpoint (.pt) or ONNX detector (.onnx).
    #[arg(value_name = "RUN|WEIGHTS|ONNX")]
    float: PathBuf,
    /// What `train-host quantize` made of it.
    #[arg(value_name = "Q.safetensors")]
    int8: PathBuf,
    /// Images to run: a dataset or a folder.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Frames timed.
    #[arg(long, value_name = "N", default_value_t = 100)]
    frames: usize,
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the command.
///
/// # Errors
/// As [`speed`], and those of files that cannot be read.
pub fn run(args: Args) -> Result<()> {
    if args.frames == 0 {
        return Err(Error::input("--frames 0", "at least one frame", "100 give steady medians"));
    }
    let int8 = file::load(&args.int8)?;
    let float = load_fused(&args.float, &import::Options { names: None, imgsz: Some(int8.imgsz) })?;
    let images = images_in(&args.data, Some(Split::Val), &float)?;
    let speed = speed(&float, &int8, &images, args.frames)?;
    args.json.emit(&speed)?;
    args.json.say(&describe(&speed))
}

fn describe(speed: &Speed) -> String {
    let Speed { model, imgsz, frames, float_ms, int8_ms, int8_to_float, layers_timed_in, layers } = speed;
    let mut text = format!(
        "{model} at {imgsz} px on the CPU, {frames} frames, paired: float {float_ms:.1} ms, int8 {int8_ms:.1} ms, \
         ratio {:.3} ({:.3} to {:.3})\n\n\
         The layers, timed in {layers_timed_in} alone, on one thread. The whole models above ran as they ship, our \
         kernels computing what they can, so that sums and ratios of the layers are not theirs.\n{:<28}{:>10}{:>12}{:>12}{:>8}\n",
        int8_to_float.median,
        int8_to_float.low,
        int8_to_float.high,
        "layer",
        "M MACs",
        "float us",
        "int8 us",
        "ratio"
    );
    for layer in layers {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let macs = layer.macs as f64 / 1e6;
        let ratio =
            if layer.float_us > 0.0 { format!("{:.2}", layer.int8_us / layer.float_us) } else { "-".into() };
        let mark = if layer.int8 { "" } else { " f" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<28}{macs:>10.1}{:>12.0}{:>12.0}{ratio:>8}{mark}",
            layer.layer, layer.float_us, layer.int8_us
        );
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::LayerSpeed;
    use crate::statistics::Ratio;

    #[test]
    fn what_the_layers_were_timed_in_stands_above_their_table() {
        let layer = LayerSpeed {
            layer: "model.0.conv".into(),
            macs: 1_500_000,
            int8: true,
            float_us: 200.0,
            int8_us: 100.0,
        };
        let text = describe(&Speed {
            model: "yolov5n".into(),
            imgsz: 640,
            frames: 10,
            float_ms: 40.0,
            int8_ms: 20.0,
            int8_to_float: Ratio { of_sums: 0.5, median: 0.5, low: 0.4, high: 0.6 },
            layers_timed_in: "tract 1.2.3".into(),
            layers: vec![layer],
        });
        let lines: Vec<&str> = text.lines().collect();
        let place = |part: &str| lines.iter().position(|line| line.contains(part)).unwrap();
        let order = ["ratio 0.500", "timed in tract 1.2.3 alone", "M MACs", "model.0.conv"].map(place);
        assert!(order.is_sorted_by(|a, b| a < b), "{text}");
        assert!(lines[order[3]].ends_with("0.50"), "{text}");
    }
}
