//! A model without weights: its graph, what its outputs mean, and the description both came from. Finds named models
//! and description files; never touches weights.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

use artifact::{MAX_SIDE_PX, RawOutput};

use super::build;
use super::graph::{Activation, Graph, Op};
use super::head::Head;
use super::named::{self, MODEL_NAMES};
use super::weights::Weights;
use super::yaml::{Block, Description};
use crate::digest::sha256;
use crate::{Error, Result, yaml};

/// Red, green and blue: what the device's pre-processing makes and training reads.
const IMAGE_CHANNELS: usize = 3;
const MAX_CLASSES: usize = 2000;
const MAX_CLASS_NAME_BYTES: usize = 256;

/// A model without weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Name of the model, or the stem of its description file.
    pub name: String,
    /// Normalized YAML: overrides applied, `nc` set; parses to this architecture again. Of a graph that comes from no
    /// description, where it comes from.
    pub description: String,
    /// What is computed.
    pub graph: Graph,
    /// What the outputs mean.
    pub head: Head,
}

/// What a caller wants different from the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Activation instead of the description's `act`.
    pub act: Option<Activation>,
    /// Rep block form instead of the description's `block`.
    pub block: Option<Block>,
}

/// A model in its training form: batch norms, and several branches where it has rep blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedModel {
    /// Graph and head.
    pub architecture: Architecture,
    /// A tensor for each of the graph's [`super::WeightSpec`]s.
    pub weights: Weights,
    /// Side of the square images it was trained on, in pixels.
    pub imgsz: usize,
}

/// A model in its deployed form: one path, convolutions with bias, no batch norm.
#[derive(Debug, Clone, PartialEq)]
pub struct FusedModel {
    /// Graph and head.
    pub architecture: Architecture,
    /// A tensor for each of the graph's [`super::WeightSpec`]s.
    pub weights: Weights,
    /// Side of the square images it was trained on, in pixels.
    pub imgsz: usize,
}

impl Architecture {
    /// The model called `model` (one of [`MODEL_NAMES`]) or described by the file `model` (`*.yaml`, `*.yml`), for
    /// the given class names.
    ///
    /// # Errors
    /// [`Error::Model`] when the name is unknown or the description is wrong (naming layer and row), an I/O error
    /// when the file cannot be read, [`Error::Input`] when the class names cannot be used.
    pub fn load(model: &str, overrides: &Overrides, classes: &[String]) -> Result<Self> {
        if let Some(description) = named::description(model) {
            return Self::parse(model, description, overrides, classes);
        }
        let Some(path) = description_file(model) else {
            return Err(Error::model(
                format!("no model is called {model:?}"),
                format!("one of {}, or a description file FILE.yaml", MODEL_NAMES.join(", ")),
                "check the spelling",
            ));
        };
        let text = read_description(path)?;
        let name =
            path.file_stem().map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned());
        Self::parse(&name, &text, overrides, classes)
    }

    /// The model described by `text`; `name` is its name and stands in errors.
    ///
    /// # Errors
    /// As [`Architecture::load`].
    pub fn parse(name: &str, text: &str, overrides: &Overrides, classes: &[String]) -> Result<Self> {
        check_classes(classes)?;
        let mut description = Description::parse(name, text)?;
        description.act = overrides.act.unwrap_or(description.act);
        description.block = overrides.block.unwrap_or(description.block);
        let built = build::build(name, &description, classes.len())?;
        let head = Head::with_anchors(classes.to_vec(), built.strides, description.anchors_px.clone());
        let architecture = Self {
            name: name.to_owned(),
            description: description.to_yaml(classes.len()),
            graph: built.graph,
            head,
        };
        architecture.validate()?;
        Ok(architecture)
    }

    /// Checks that the graph is sound and that the head fits its outputs.
    ///
    /// # Errors
    /// [`Error::Model`] naming what does not fit.
    pub fn validate(&self) -> Result<()> {
        check_classes(&self.head.classes)?;
        let channels = self.graph.channels()?;
        // The first node of a sound graph is its input.
        if channels[0] != IMAGE_CHANNELS {
            return Err(Error::model(
                format!("{}: a model of images with {} channels", self.name, channels[0]),
                format!("{IMAGE_CHANNELS} channels: images are RGB"),
                "set `ch: 3` in the model description, or leave it out",
            ));
        }
        self.head.validate()?;
        let outputs = self.head.raw_outputs();
        if outputs.len() != self.graph.outputs.len() {
            return Err(misfit(
                format!("{} outputs", self.graph.outputs.len()),
                format!("{} outputs, which the head takes", outputs.len()),
            ));
        }
        for (&output, expected) in self.graph.outputs.iter().zip(outputs) {
            if channels[output] != expected.channels {
                return Err(misfit(
                    format!("output {:?} of {} channels", self.graph.nodes[output].name, channels[output]),
                    format!("{} channels for {} classes", expected.channels, self.head.classes.len()),
                ));
            }
        }
        Ok(())
    }

    /// Checks that square images of `imgsz` pixels can be fed, so that each output has `imgsz / stride` cells a side.
    ///
    /// # Errors
    /// [`Error::Input`] when `imgsz` is no multiple of the largest stride or out of range, [`Error::Model`] when the
    /// outputs do not lie at the head's strides.
    pub fn check_imgsz(&self, imgsz: usize) -> Result<()> {
        let step = self.head.strides.iter().copied().max().unwrap_or(1).max(1);
        if imgsz == 0 || !imgsz.is_multiple_of(step) || imgsz > MAX_SIDE_PX {
            return Err(Error::input(
                format!("an image size of {imgsz} px"),
                format!("a multiple of {step}, the largest stride, up to {MAX_SIDE_PX}"),
                format!("try {} px", imgsz.clamp(1, MAX_SIDE_PX).next_multiple_of(step)),
            ));
        }
        let shapes = self.graph.shapes(imgsz, imgsz)?;
        for (&output, RawOutput { stride, .. }) in self.graph.outputs.iter().zip(self.head.raw_outputs()) {
            if shapes[output][1..] != [imgsz / stride; 2] {
                return Err(misfit(
                    format!(
                        "output {:?} is {:?} at {imgsz} px",
                        self.graph.nodes[output].name, shapes[output]
                    ),
                    format!("stride {stride}"),
                ));
            }
        }
        Ok(())
    }

    /// Whether the graph has batch norms, which only the training form has.
    pub fn has_batch_norm(&self) -> bool {
        self.graph.nodes.iter().any(|node| matches!(node.op, Op::BatchNorm { .. }))
    }
}

/// SHA-256 of the description file `model` in hexadecimal; `None` for a built-in model, and for what is none.
///
/// # Errors
/// As [`Architecture::load`] for a file that cannot be read.
pub fn description_digest(model: &str) -> Result<Option<String>> {
    description_file(model).map(|path| Ok(sha256(&yaml::read(path)?))).transpose()
}

/// The description file that `model` names, where it is not the name of a built-in model.
fn description_file(model: &str) -> Option<&Path> {
    let path = Path::new(model);
    let is_yaml = |e: &OsStr| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml");
    (named::description(model).is_none() && path.extension().is_some_and(is_yaml)).then_some(path)
}

fn read_description(path: &Path) -> Result<String> {
    String::from_utf8(yaml::read(path)?).map_err(|e| {
        Error::model(
            format!("{}: {}", path.display(), e.utf8_error()),
            "a model description, which is UTF-8 text",
            "check the path: this may be a weights file, or text in another encoding",
        )
    })
}

fn check_classes(classes: &[String]) -> Result<()> {
    if classes.is_empty() || classes.len() > MAX_CLASSES {
        return Err(Error::input(
            format!("{} classes", classes.len()),
            format!("1 to {MAX_CLASSES} class names"),
            "check `names` in the dataset's data.yaml",
        ));
    }
    if let Some(name) = classes.iter().find(|name| name.len() > MAX_CLASS_NAME_BYTES) {
        return Err(Error::input(
            format!("a class name of {} bytes", name.len()),
            format!("at most {MAX_CLASS_NAME_BYTES}"),
            "check `names` in the dataset's data.yaml",
        ));
    }
    let mut seen = HashSet::new();
    match classes.iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::input(
            format!("two classes called {name:?}"),
            "a name of its own for each class",
            "rename one of them in the dataset: a data.yaml's `names`, or a COCO file's `categories`",
        )),
    }
}

pub(super) fn misfit(found: impl Into<String>, expected: impl Into<String>) -> Error {
    Error::model(found, expected, "the model's head and graph do not belong together: make the file again")
}

#[cfg(test)]
mod tests;
