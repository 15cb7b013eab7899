//! `train-host show`: the layers of a model, what they weigh and cost as trained and as fused, and pictures of both
//! graphs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::json::JsonArgs;
use crate::import;
use crate::model::{Activation, Architecture, Block, MODEL_NAMES, Overrides};
use crate::report::ModelSheet;
use crate::{Error, Result};

/// Classes of COCO, which published sizes are for.
const CLASSES: u16 = 80;
/// Side that published costs are for, in pixels.
const IMGSZ: usize = 640;

/// Arguments of `train-host show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "MODEL", help = format!("{}, a run folder, or a weights file", super::models()))]
    model: String,
    /// Classes to build a model without weights for [default: 80].
    #[arg(long, value_name = "N")]
    classes: Option<u16>,
    /// Side of the square images to count for, in pixels [default: the weights' own, else 640].
    #[arg(long, value_name = "N")]
    imgsz: Option<usize>,
    /// Activation instead of the model's own.
    #[arg(long, value_enum)]
    act: Option<Activation>,
    /// Rep block instead of the model's own.
    #[arg(long, value_enum)]
    block: Option<Block>,
    /// Draw the graph as trained and as fused: NAME-trained.svg and NAME-fused.svg in this folder.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    sheet: ModelSheet,
    svg: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] when nothing is called so, or an option does not go with weights; else what loading, fusing and
/// writing report.
pub fn run(args: Args) -> Result<()> {
    let sheet = sheet(&args)?;
    let svg = match &args.svg {
        Some(folder) => sheet.draw(folder)?,
        None => Vec::new(),
    };
    args.json.say(sheet.text().trim_end())?;
    for file in &svg {
        args.json.say(&format!("drew {}", file.display()))?;
    }
    args.json.emit(&Summary { sheet, svg })
}

fn sheet(args: &Args) -> Result<ModelSheet> {
    let path = Path::new(&args.model);
    if is_description(&args.model) {
        let overrides = Overrides { act: args.act, block: args.block };
        let classes: Vec<String> =
            (0..args.classes.unwrap_or(CLASSES)).map(|class| format!("class {class}")).collect();
        let architecture = Architecture::load(&args.model, &overrides, &classes)?;
        return ModelSheet::of_architecture(architecture, args.imgsz.unwrap_or(IMGSZ));
    }
    if !path.exists() {
        return Err(Error::input(
            format!("no model and no file is called {:?}", args.model),
            format!(
                "one of {}, a description FILE.yaml, a run folder, or a weights file",
                MODEL_NAMES.join(", ")
            ),
            "check the spelling",
        ));
    }
    for (flag, given) in [
        ("--classes", args.classes.is_some()),
        ("--act", args.act.is_some()),
        ("--block", args.block.is_some()),
    ] {
        if given {
            return Err(Error::input(
                format!("{flag} with the weights {}", path.display()),
                "weights as they are",
                format!("leave out {flag}, or show the model they were made of"),
            ));
        }
    }
    let options = import::Options { imgsz: args.imgsz, ..import::Options::default() };
    ModelSheet::of_checkpoint(import::open_with(path, &options)?.checkpoint, args.imgsz)
}

/// Whether `model` is what [`Architecture::load`] takes.
fn is_description(model: &str) -> bool {
    let extension = Path::new(model).extension();
    MODEL_NAMES.contains(&model)
        || extension.is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"))
}
