//! ONNX in: a detector of another tool as a fused model of ours. The file is sorted, its shapes are inferred, the head is
//! cut at the raw convolutions and its decoding recognized by what it computes, the rest becomes our graph, and `fuse`
//! folds batch norms and parallel branches. What cannot be taken is refused by the name of its node. Reads one file
//! and never follows a reference to another.

mod complete;
mod fault;
mod head;
mod image;
mod inferred;
mod metadata;
mod net;
mod ops;
mod proto;
mod tensor;
mod trunk;
mod wire;

use std::path::Path;

use self::head::Hints;
use self::inferred::Inferred;
use self::metadata::Metadata;
use self::net::Net;
use super::Options;
use crate::console::say;
use crate::fuse::fuse_graph;
use crate::model::checkpoint::name_file;
use crate::model::{Architecture, Checkpoint, FusedModel, spread_boxes};
use crate::{Error, Result};

/// Largest file, which is protobuf's own limit.
const MAX_FILE_BYTES: u64 = 1 << 31;
/// Versions of ONNX's operators that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=21;

/// Reads the model at `path`.
///
/// # Errors
/// [`Error::Model`] when it is no detector that can be taken, naming the first node that is not supported;
/// [`Error::Input`] when an option does not fit it; an I/O error when it cannot be read.
pub(super) fn load(path: &Path, options: &Options) -> Result<Checkpoint> {
    let metadata = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
    let length = metadata.len();
    // Reading a pipe would wait for someone to write into it.
    if !metadata.is_file() || length > MAX_FILE_BYTES {
        return Err(Error::model(
            format!(
                "{}: {}",
                path.display(),
                if metadata.is_file() { format!("{length} bytes") } else { "a pipe or a device".into() }
            ),
            format!("an ONNX model of at most {MAX_FILE_BYTES} bytes"),
            "check that it is a detector",
        ));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let name = path.file_stem().map_or_else(|| "model".into(), |stem| stem.to_string_lossy());
    let Understood { checkpoint, notes } =
        read(&bytes, &name, options).map_err(|error| name_file(path, error))?;
    for note in notes {
        say(format_args!("note: {}: {note}", path.display()));
    }
    Ok(checkpoint)
}

/// A model and what a reader should know about how it was understood.
struct Understood {
    checkpoint: Checkpoint,
    notes: Vec<String>,
}

/// Reads the model in `bytes`, to be called `name`.
fn read(bytes: &[u8], name: &str, options: &Options) -> Result<Understood> {
    let model = proto::read(bytes).map_err(|reason| {
        Error::model(format!("no ONNX model: {reason}"), "an ONNX file", "check the file, or export it again")
    })?;
    if !OPSETS.contains(&model.opset) {
        return Err(Error::model(
            format!("opset {}", model.opset),
            format!("{} to {}", OPSETS.start(), OPSETS.end()),
            "export the model with opset=17",
        ));
    }
    let metadata = Metadata::read(&model);
    if let Some(task) = metadata.task.as_deref().filter(|task| *task != "detect") {
        return Err(Error::model(
            format!("a model for the task {task:?}"),
            "a detector",
            "export a detection model",
        ));
    }
    let net = Net::sort(&model.graph).map_err(Error::Model)?;
    let side_px = image::side(net.image, &metadata, options)?;
    let inferred = Inferred::new(&net, model.opset, &[1, image::CHANNELS, side_px, side_px])?;

    let mut notes = vec!["images are taken to be letterboxed RGB from 0 to 1".to_owned()];
    let names = complete::class_names(options.names.as_ref(), &metadata, &mut notes);
    let hints = Hints { classes: names.as_ref().map(Vec::len) };
    let found = head::find(&inferred, side_px, hints)?;
    let (graph, weights) = trunk::build(&inferred, &found.outputs)?;
    let (graph, weights) = fuse_graph(&graph, &weights)?;
    let architecture = Architecture {
        name: name.to_owned(),
        description: format!("imported from ONNX, opset {}", model.opset),
        graph,
        head: complete::head(found, names, &metadata, &mut notes)?,
    };
    let imgsz = options.imgsz.unwrap_or(side_px);
    let mut model = FusedModel { architecture, weights, imgsz };
    if !model.architecture.head.spread.is_empty() {
        model = spread_boxes(&model, Vec::new())?;
    }
    let checkpoint = Checkpoint::Fused(model);
    checkpoint.validate()?;
    Ok(Understood { checkpoint, notes })
}
