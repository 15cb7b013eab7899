//! What `convert` and `eval` have in common about NPUs: the arguments for Rockchip's toolkit, and `convert` for boards
//! with an NPU.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use boards::Board;
use serde::Serialize;

use super::convert::{Args, BOXES, Given, Loaded, METHODS, TRAINING, keep_onnx, load};
use super::quantize::told;
use crate::console::{self, counted};
use crate::evaluate::Progress;
use crate::export::bundle::{self, Deployed, Fallback, Packed};
use crate::model::FusedModel;
use crate::quantize::{self, Outcome, file};
use crate::rknn::{Algorithm, Delivered, Delivery, NpuModel, Toolkit, computable, deliver, expect_floats};
use crate::{Error, Result, import};

/// Longest time of a step of the toolkit: a hundred times what yolov5n takes.
const LIMIT_S: u64 = 1800;

/// How long the toolkit may take.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ToolkitArgs {
    /// Longest that a step of rknn-toolkit2 may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = LIMIT_S, value_parser = clap::value_parser!(u64).range(1..))]
    toolkit_timeout: u64,
}

/// Arguments for boards with an NPU.
#[derive(Debug, clap::Args)]
pub struct NpuArgs {
    /// Who decides the NPU's int8: our quantizer, or rknn-toolkit2's own on the same images. The README tells what each
    /// lost in the simulator; `eval --simulate` measures it on your model [default: ours].
    #[arg(long, value_enum)]
    quantizer: Option<QuantizerArg>,
    /// How rknn-toolkit2 finds ranges, with --quantizer toolkit [default: normal].
    #[arg(long, value_enum)]
    toolkit_algorithm: Option<Algorithm>,
    /// Leave out the ONNX model for the CPU: the bundle then runs on the NPU only.
    #[arg(long)]
    no_fallback: bool,
    #[command(flatten)]
    toolkit: ToolkitArgs,
}

/// Who decides the NPU's int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum QuantizerArg {
    /// Ours.
    #[default]
    Ours,
    /// The toolkit's own.
    Toolkit,
}

/// What `--json` prints of a conversion for an NPU.
#[derive(Debug, Serialize)]
pub struct NpuSummary {
    /// The folder that `eval --simulate` needs.
    build_record: PathBuf,
    /// Tensors that an int8 model computes in half floats.
    half_tensors: Vec<String>,
    /// Images that a quantized model was calibrated on and does not name, so that the build record does not either.
    unnamed_images: Option<usize>,
}

/// Flags that only boards with an NPU have.
pub(super) const FLAGS: [&str; 4] =
    ["--quantizer", "--toolkit-algorithm", "--no-fallback", "--toolkit-timeout"];

impl ToolkitArgs {
    /// The longest that one step may take.
    pub fn limit(self) -> Duration {
        Duration::from_secs(self.toolkit_timeout)
    }
}

/// Checks that nothing is asked that only boards with an NPU have.
///
/// # Errors
/// [`Error::Input`] naming the flag.
pub(super) fn expect_none(given: &Given, board: &Board) -> Result<()> {
    given.expect_none(FLAGS, |flag| {
        Error::input(
            format!("{flag} for board {:?}, which has no NPU", board.name),
            "a board with an NPU, such as --target rk3588",
            format!("name the board with --target, or leave {flag} out"),
        )
    })
}

/// Checks that nothing is asked of a quantizer that has nothing to do.
///
/// # Errors
/// [`Error::Input`] naming the flag.
fn expect_use(args: &Args, precision: boards::Precision) -> Result<()> {
    if precision != boards::Precision::Int8 {
        return args.given.expect_none(["--quantizer", "--toolkit-algorithm"], |flag| {
            Error::input(
                format!("{flag} with --precision {precision}, in which nothing is quantized"),
                "--precision int8",
                format!("leave {flag} out, or take --precision int8"),
            )
        });
    }
    if args.npu.quantizer != Some(QuantizerArg::Toolkit) {
        return Ok(());
    }
    args.given.expect_none(TRAINING, |flag| {
        Error::input(
            format!("{flag} with --quantizer toolkit, which does not train"),
            "our quantizer",
            format!("leave --quantizer out to train what the NPU runs, or leave {flag} out"),
        )
    })?;
    args.given.expect_none([BOXES], |flag| {
        Error::input(
            format!("{flag} with --quantizer toolkit, for which boxes stay as they are"),
            "our quantizer",
            format!("leave {flag} out, or --quantizer"),
        )
    })?;
    if !args.npu.no_fallback {
        return Ok(());
    }
    args.given.expect_none(METHODS, |flag| {
        Error::input(
            format!(
                "{flag} with --quantizer toolkit and --no-fallback, so that nothing is left for our quantizer"
            ),
            "an int8 model of ours, for the NPU or for the CPU",
            format!("leave {flag} out (the toolkit has --toolkit-algorithm), or one of the other two"),
        )
    })
}

impl NpuArgs {
    fn algorithm(&self) -> Result<Algorithm> {
        if self.toolkit_algorithm.is_some() && self.quantizer != Some(QuantizerArg::Toolkit) {
            return Err(Error::input(
                "--toolkit-algorithm without --quantizer toolkit",
                "both",
                "add --quantizer toolkit; ours chooses with --method",
            ));
        }
        Ok(self.toolkit_algorithm.unwrap_or_default())
    }
}

/// Converts for a board with an NPU.
///
/// # Errors
/// [`Error::Input`] for arguments that do not fit together or when the toolkit is missing; else what quantizing,
/// compiling and writing report.
pub(super) fn convert(
    args: &Args,
    board: &Board,
    asked: Option<boards::Precision>,
) -> Result<(Packed, boards::Precision, NpuSummary)> {
    let preferred = board.precisions.first().copied().unwrap_or(boards::Precision::Int8);
    let precision = asked.unwrap_or(preferred);
    bundle::check_offer(board, precision)?;
    expect_use(args, precision)?;
    let algorithm = args.npu.algorithm()?;
    // Before minutes are spent on quantizing.
    let toolkit = Toolkit::find()?;
    let delivered = match (precision, args.npu.quantizer.unwrap_or_default()) {
        (boards::Precision::Int8, QuantizerArg::Toolkit) => by_toolkit(args, board, &toolkit, algorithm)?,
        _ => by_us(args, board, &toolkit, precision)?,
    };
    let Delivered { packed, record, half_tensors, unnamed_images } = delivered;
    Ok((packed, precision, NpuSummary { build_record: record, half_tensors, unnamed_images }))
}

/// In our int8, or in half floats.
fn by_us(args: &Args, board: &Board, toolkit: &Toolkit, precision: boards::Precision) -> Result<Delivered> {
    let (model, images) = load(args, board, Some(precision))?;
    let model = match model {
        Loaded::Quantized(model) => {
            if let Some((node, why)) = model.scheme.floats.first_key_value() {
                expect_floats(board, node, why)?;
            }
            Loaded::Quantized(computable(&model))
        }
        fused @ Loaded::Fused(_) => fused,
    };
    let npu = match &model {
        Loaded::Quantized(model) => NpuModel::Quantized(model),
        Loaded::Fused(model) => NpuModel::Half(model),
    };
    hand_over(args, board, toolkit, (npu, model.deployed()), &images)
}

/// In the toolkit's int8; ours is for the CPU.
fn by_toolkit(args: &Args, board: &Board, toolkit: &Toolkit, algorithm: Algorithm) -> Result<Delivered> {
    if file::is_quantized(&args.model) {
        return Err(Error::input(
            format!("--quantizer toolkit for {}, which is quantized", args.model.display()),
            "a model in floats",
            "convert the model it was made of, or leave --quantizer out",
        ));
    }
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    let options = import::Options { names, imgsz: args.imgsz };
    let model: FusedModel = super::quantize::load_fused(&args.model, &options)?;
    let images = args.calibration.images(&model)?;
    let npu = NpuModel::Calibrated(&model, algorithm);
    if args.npu.no_fallback {
        return hand_over(args, board, toolkit, (npu, Deployed::Fused(&model)), images.chosen().paths());
    }
    let Outcome { model: quantized, record, .. } =
        quantize::run(&model, &images, &args.calibration.recipe(board)?)?;
    console::say(format_args!("for the CPU: {}", told(&model, &record)));
    hand_over(args, board, toolkit, (npu, Deployed::Quantized(&quantized)), images.chosen().paths())
}

fn hand_over(
    args: &Args,
    board: &Board,
    toolkit: &Toolkit,
    (npu, cpu): (NpuModel<'_>, Deployed<'_>),
    images: &[PathBuf],
) -> Result<Delivered> {
    keep_onnx(args, cpu)?;
    let fallback = if args.npu.no_fallback { Fallback::None(cpu) } else { Fallback::Cpu(cpu) };
    let (out, limit, progress) = (args.out.as_path(), args.npu.toolkit.limit(), Progress::Bar);
    args.release.release(images, |release| {
        deliver(toolkit, &Delivery { board, npu, fallback, images, release, out, limit, progress })
    })
}

impl fmt::Display for NpuSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "build record for eval --simulate: {}", self.build_record.display())?;
        if let Some(images) = self.unnamed_images {
            let calibrated = counted(images, "image");
            write!(
                f,
                "\nit lists no images: the quantized model does not name the {calibrated} it was calibrated on"
            )?;
        }
        match self.half_tensors.len() {
            0 => Ok(()),
            count => write!(
                f,
                "\n{count} tensors in half floats: attention's, and what --float-macs leaves in floats"
            ),
        }
    }
}
