//! YOLOv5 checkpoints (`.pt`, releases 5 to 7) as trained models. The pickle is read as data and nothing of it is run. What a
//! file says about its size is checked before it is believed, so that a hostile one is refused in little memory.
//!
//! `zip` and `pickle` guard the file, `module` and `describe` find out what the model is, `structure` checks that the modules
//! are what our graph computes, and `tensors` has `pytorch-reader` fetch the weights.

mod describe;
mod module;
mod origin;
mod pickle;
mod plain;
mod structure;
mod tensors;
mod zip;

use std::path::Path;

use describe::Described;
use module::Modules;
use pickle::{Item, MAX_PICKLE_BYTES, Pickle};
use tensors::Wanted;
use zip::Archive;

use super::Imported;
use crate::model::checkpoint::{Provenance, name_file};
use crate::model::{Checkpoint, TrainedModel};
use crate::{Error, Result};

/// Reads the checkpoint at `path`: of a training checkpoint the moving average (`ema`), else `model`.
///
/// # Errors
/// [`Error::Model`] naming what was found when the file is no whole checkpoint of a YOLOv5 detector, names or calls
/// anything that such a checkpoint does not, or holds a model that our graphs do not compute exactly; an I/O error when it
/// cannot be read.
pub fn open(path: &Path) -> Result<Imported> {
    read(path).map_err(|error| name_file(path, error))
}

fn read(path: &Path) -> Result<Imported> {
    let Plan { part, described, wanted, provenance } = plan(path)?;
    let weights = tensors::read(path, part, &wanted)?;
    let Described { architecture, imgsz } = described;
    let checkpoint = Checkpoint::Trained(TrainedModel { architecture, weights, imgsz });
    checkpoint.validate()?;
    Ok(Imported { checkpoint, provenance: Some(provenance) })
}

/// All that is known before the weights are read.
struct Plan {
    part: &'static str,
    described: Described,
    wanted: Vec<Wanted>,
    provenance: Provenance,
}

/// Reads and checks everything but the weights; the pickle is gone from memory when they are read.
fn plan(path: &Path) -> Result<Plan> {
    let mut archive = Archive::open(path)?;
    let bytes = archive.pickle(MAX_PICKLE_BYTES)?;
    let pickle = Pickle::read(&bytes)?;
    let root = pickle.root();
    let (part, model) = find_model(root)?;
    let modules = Modules::of(model)?;
    let stem = path.file_stem().map_or_else(|| "yolov5".into(), |stem| stem.to_string_lossy());
    let described = describe::describe(root, model, &modules, &mut archive, &stem)?;
    structure::check(&described.architecture, &modules)?;
    let wanted = tensors::plan(&described.architecture.graph, &modules, &archive)?;
    let provenance = origin::provenance(root, part, model)?;
    Ok(Plan { part, described, wanted, provenance })
}

/// Which part of the checkpoint holds the model to take, and the model.
fn find_model<'p, 'a>(root: Item<'p, 'a>) -> Result<(&'static str, Item<'p, 'a>)> {
    let Some(entries) = root.entries() else {
        return Err(refuse(format!("{} in place of a checkpoint", root.show()), CHECKPOINT));
    };
    let tensors = entries.filter(|(_, value)| value.tensor().is_some()).count();
    let parts = ["ema", "model"].into_iter();
    let found = parts.filter_map(|part| Some((part, root.get(part)?))).find(|(_, model)| !model.is_none());
    let hint = "save the model itself, torch.save({'model': model}, FILE), or train-host's own weights";
    match found {
        None if tensors > 0 => {
            Err(refuse_with(format!("a state_dict of {tensors} tensors without the model"), CHECKPOINT, hint))
        }
        None => Err(refuse(format!("{} without a model", root.show()), CHECKPOINT)),
        Some((part, model)) if model.entries().is_some() => Err(refuse_with(
            format!("{} under {part:?}: a state_dict without the model", model.show()),
            CHECKPOINT,
            hint,
        )),
        Some((part, model)) => {
            check_class(part, model)?;
            Ok((part, model))
        }
    }
}

fn check_class(part: &str, model: Item) -> Result<()> {
    match model.class() {
        Some(("models.yolo", "Model" | "DetectionModel")) => Ok(()),
        Some((module, _)) if module.starts_with("ultralytics") => Err(refuse_with(
            format!("{} under {part:?}, a model of the ultralytics package", model.show()),
            CHECKPOINT,
            "export it to ONNX and give that to `train-host convert`",
        )),
        _ => Err(refuse_with(
            format!("{} under {part:?}", model.show()),
            "models.yolo.Model or models.yolo.DetectionModel, YOLOv5's detectors",
            "segmentation and classification models are not supported",
        )),
    }
}

const CHECKPOINT: &str =
    "a checkpoint of YOLOv5's train.py: a dict with the whole model under \"model\" or \"ema\"";

/// An error about the file that is being read.
fn refuse(found: impl Into<String>, expected: impl Into<String>) -> Error {
    refuse_with(
        found,
        expected,
        "take the checkpoint from its source again; those of YOLOv5 5.0 to 7.0 are read",
    )
}

fn refuse_with(found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::model(found, expected, hint)
}

fn as_index(value: u64) -> Result<usize> {
    usize::try_from(value).map_err(|_| refuse(format!("{value} bytes"), "what this machine can address"))
}
