//! Weights files: safetensors with the graph, the head and the origin in the metadata, so that a file needs nothing
//! beside it. Files are written whole or not at all, and everything in one is checked before it is believed.
//! Knows only files that train-host wrote: those of other programs come in through `import`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::Fault;
use serde::{Deserialize, Serialize};

use super::architecture::{Architecture, FusedModel, TrainedModel};
use super::graph::Op;
use super::specs::Role;
use super::tensor_file::{from_json, in_file, to_json};
pub use super::tensor_file::{read_tensors, write_tensors};
use super::weights::Weights;
use crate::{Error, Result};

/// Version of the layout written here.
const FORMAT: &str = "1";
/// File of a run folder that stands for the run.
const BEST_FILE: &str = "best.safetensors";
/// The one metadata key that may be missing.
const PROVENANCE_KEY: &str = "provenance";

/// A model read from or written to a weights file.
#[derive(Debug, Clone, PartialEq)]
pub enum Checkpoint {
    /// Multi-branch training form.
    Trained(TrainedModel),
    /// Single-path deployed form.
    Fused(FusedModel),
}

/// Where a model came from that another program trained; optional in a weights file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// What kind of file it was in.
    pub format: String,
    /// Releases of the program that may have written it, a guess from what is in it.
    pub release: String,
    /// Which part of the file it is: of a YOLOv5 checkpoint `ema` (the moving average) or `model`.
    pub part: String,
    /// Epochs done, counted from 0, when the file is from the middle of a training.
    pub epoch: Option<u64>,
    /// When the file was written, in the words of its program.
    pub date: Option<String>,
    /// Hyper-parameters of the training by their names; empty when the file has none.
    pub hyper_parameters: serde_json::Map<String, serde_json::Value>,
}

/// Form of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Training form.
    Trained,
    /// Deployed form.
    Fused,
}

impl Stage {
    /// `trained` or `fused`, as in files and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Fused => "fused",
        }
    }
}

impl Checkpoint {
    /// Graph and head.
    pub fn architecture(&self) -> &Architecture {
        match self {
            Self::Trained(model) => &model.architecture,
            Self::Fused(model) => &model.architecture,
        }
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        match self {
            Self::Trained(model) => &model.weights,
            Self::Fused(model) => &model.weights,
        }
    }

    /// Side of the square images trained on, in pixels.
    pub fn imgsz(&self) -> usize {
        match self {
            Self::Trained(model) => model.imgsz,
            Self::Fused(model) => model.imgsz,
        }
    }

    /// Its form.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Trained(_) => Stage::Trained,
            Self::Fused(_) => Stage::Fused,
        }
    }

    /// Checks graph, head, image size, and that the weights are those the graph needs, all finite.
    ///
    /// # Errors
    /// [`Error::Model`] or [`Error::Input`] naming what is wrong.
    pub fn validate(&self) -> Result<()> {
        let architecture = self.architecture();
        architecture.validate()?;
        architecture.check_imgsz(self.imgsz())?;
        if matches!(self, Self::Fused(_)) {
            check_fused(architecture)?;
        }
        check_weights(architecture, self.weights())
    }
}

/// Writes `checkpoint` to `path`, atomically.
///
/// # Errors
/// As [`Checkpoint::validate`]; an I/O error when the file cannot be written, which leaves an older file as it was.
pub fn save(path: &Path, checkpoint: &Checkpoint) -> Result<()> {
    save_with(path, checkpoint, None)
}

/// [`save`] with where the model came from.
///
/// # Errors
/// As [`save`].
pub fn save_with(path: &Path, checkpoint: &Checkpoint, provenance: Option<&Provenance>) -> Result<()> {
    checkpoint.validate()?;
    let Architecture { name, description, graph, head } = checkpoint.architecture();
    let mut metadata = BTreeMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("stage".to_owned(), to_json(&checkpoint.stage())?),
        ("name".to_owned(), name.clone()),
        ("description".to_owned(), description.clone()),
        ("imgsz".to_owned(), checkpoint.imgsz().to_string()),
        ("graph".to_owned(), to_json(graph)?),
        ("head".to_owned(), to_json(head)?),
    ]);
    if let Some(provenance) = provenance {
        metadata.insert(PROVENANCE_KEY.to_owned(), to_json(provenance)?);
    }
    write_tensors(path, checkpoint.weights(), &metadata)
}

/// Reads the checkpoint at `path`; a run folder stands for its `best.safetensors`.
///
/// # Errors
/// [`Error::Model`] when the file is no whole checkpoint of this format, an I/O error when it cannot be read.
pub fn load(path: &Path) -> Result<Checkpoint> {
    load_with(path).map(|(checkpoint, _)| checkpoint)
}

/// [`load`], and where the model came from if another program trained it.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path) -> Result<(Checkpoint, Option<Provenance>)> {
    let path = resolve(path)?;
    let (weights, metadata) = read_tensors(&path)?;
    let field = |key: &str| {
        metadata.get(key).map(String::as_str).ok_or_else(|| {
            in_file(&path, &format!("no {key:?} in the metadata"), "a checkpoint written by train-host")
        })
    };
    let format = field("format")?;
    if format != FORMAT {
        return Err(in_file(&path, &format!("checkpoint format {format:?}"), "format 1; update train-host"));
    }
    let architecture = Architecture {
        name: field("name")?.to_owned(),
        description: field("description")?.to_owned(),
        graph: from_json(&path, "graph", field("graph")?)?,
        head: from_json(&path, "head", field("head")?)?,
    };
    let imgsz = from_json(&path, "imgsz", field("imgsz")?)?;
    let checkpoint = match from_json(&path, "stage", field("stage")?)? {
        Stage::Trained => Checkpoint::Trained(TrainedModel { architecture, weights, imgsz }),
        Stage::Fused => Checkpoint::Fused(FusedModel { architecture, weights, imgsz }),
    };
    checkpoint.validate().map_err(|error| name_file(&path, error))?;
    let provenance = metadata.get(PROVENANCE_KEY);
    let provenance = provenance.map(|text| from_json(&path, PROVENANCE_KEY, text)).transpose()?;
    Ok((checkpoint, provenance))
}

/// The weights file meant by `path`: itself, or `best.safetensors` of a run folder.
///
/// # Errors
/// [`Error::Input`] when there is no such file, else when its name does not end in `.safetensors`.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    let file = if path.is_dir() { path.join(BEST_FILE) } else { path.to_path_buf() };
    if !file.is_file() {
        return Err(Error::input(
            format!("no file {}", file.display()),
            "a .safetensors file written by train-host, another program's model (.pt or .onnx), or a run folder",
            "check the path; a run folder has best.safetensors after its first epoch",
        ));
    }
    if !file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        return Err(Error::input(
            format!("{} is not a .safetensors file", file.display()),
            "a .safetensors file written by train-host, another program's model (.pt or .onnx), or a run folder",
            other_extension(&file),
        ));
    }
    Ok(file)
}

/// What to do about a file of another kind.
fn other_extension(file: &Path) -> &'static str {
    let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
    match extension.to_str() {
        Some("bundle") => "give the weights it was made of: a bundle is for devices and `train-host eval`",
        Some("pth" | "ckpt" | "bin") => {
            "rename it to .pt where it is a YOLOv5 checkpoint; others cannot be read"
        }
        Some("yaml" | "yml") => {
            "this is a description without weights: `train-host show` and `train` take it"
        }
        _ => "give the weights of a run, a YOLOv5 checkpoint, or an ONNX detector",
    }
}

fn check_fused(architecture: &Architecture) -> Result<()> {
    let unfused = architecture.graph.nodes.iter().find(|node| {
        matches!(node.op, Op::BatchNorm { .. }) || matches!(node.op, Op::Conv(conv) if !conv.bias)
    });
    match unfused {
        None => Ok(()),
        Some(node) => Err(Error::model(
            format!("node {:?} of a fused model is {:?}", node.name, node.op),
            "convolutions with bias and no batch norm",
            "fuse the trained model again",
        )),
    }
}

fn check_weights(architecture: &Architecture, weights: &Weights) -> Result<()> {
    let specs = architecture.graph.weight_specs();
    for spec in &specs {
        let tensor = weights.get(&spec.name)?;
        let length: usize = tensor.shape.iter().product();
        if tensor.shape != spec.shape || tensor.data.len() != length {
            return Err(Error::model(
                format!("weight {:?} of shape {:?}", spec.name, tensor.shape),
                format!("shape {:?}", spec.shape),
                "the weights belong to another model",
            ));
        }
        let valid = |value: &f32| value.is_finite() && (spec.role != Role::RunningVar || *value >= 0.0);
        if let Some(value) = tensor.data.iter().find(|value| !valid(value)) {
            return Err(Error::model(
                format!("weight {:?} holds {value}", spec.name),
                "finite values, and variances that are not negative",
                "the file is damaged, or training diverged: lower the learning rate",
            ));
        }
    }
    if weights.len() != specs.len() {
        let known: std::collections::HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let surplus = weights.iter().map(|(name, _)| name).find(|name| !known.contains(name.as_str()));
        return Err(Error::model(
            format!("a weight the model does not have: {surplus:?}"),
            format!("{} tensors", specs.len()),
            "the weights belong to another model",
        ));
    }
    Ok(())
}

/// Puts the file's name before what was found.
pub(crate) fn name_file(path: &Path, error: Error) -> Error {
    let named = |fault: Fault| Fault { found: format!("{}: {}", path.display(), fault.found), ..fault };
    match error {
        Error::Model(fault) | Error::Input(fault) => Error::Model(named(fault)),
        other => other,
    }
}

#[cfg(test)]
mod tests;
