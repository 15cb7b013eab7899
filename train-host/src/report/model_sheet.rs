//! What a model is made of, layer by layer, as trained and as fused: the document of `train-host show`, its table, and
//! the pictures of both graphs. Counts, never runs a model.

mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::graph_svg::{self, Form};
use super::numbers::fraction;
use crate::Result;
use crate::fuse::fused_graph;
use crate::model::outline::{Cost, From, Layer};
use crate::model::{Activation, Architecture, Block, Checkpoint, Graph, Op, Outline, Shape};

/// Longest model name that becomes part of a file name.
const MAX_FILE_STEM: usize = 80;

/// A model in both forms, with what its layers weigh and cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelSheet {
    /// Name of the model.
    pub model: String,
    /// How many classes it tells apart.
    pub classes: usize,
    /// Side of the square images the costs are for, in pixels.
    pub imgsz: usize,
    /// Activations it uses.
    pub activations: Vec<Activation>,
    /// Form of its rep blocks, where it has any.
    pub block: Option<Block>,
    /// Its layers in order.
    pub layers: Vec<Row>,
    /// All layers of the training form; `None` for a model that is known fused only.
    pub trained: Option<Cost>,
    /// All layers of the fused form.
    pub fused: Cost,
    #[serde(skip)]
    sides: Vec<Side>,
}

/// One of the two forms.
#[derive(Debug, Clone, PartialEq)]
struct Side {
    form: Form,
    architecture: Architecture,
    outline: Outline,
}

/// A layer in both forms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Number of its row in the description.
    pub index: usize,
    /// What the names of its nodes begin with.
    pub name: String,
    /// Module of the description, else the operator.
    pub module: String,
    /// How often the module, or what repeats inside it, stands in a row.
    pub repeats: usize,
    /// Where it reads.
    pub from: Vec<From>,
    /// Channels, height and width of what it gives.
    pub outputs: Vec<Shape>,
    /// In training form; `None` where there is none.
    pub trained: Option<Cost>,
    /// In fused form; `None` for a layer that fusing merged into another.
    pub fused: Option<Cost>,
    /// Fraction of the fused model's operations.
    pub share: f64,
}

impl ModelSheet {
    /// The sheet of a model without weights, for square images of `imgsz` pixels.
    ///
    /// # Errors
    /// [`Error::Model`](crate::Error::Model) when the model is broken or cannot be fused,
    /// [`Error::Input`](crate::Error::Input) when the image size does not fit it.
    pub fn of_architecture(architecture: Architecture, imgsz: usize) -> Result<Self> {
        let fused = Architecture { graph: fused_graph(&architecture.graph)?, ..architecture.clone() };
        Self::of_forms(Some(architecture), fused, imgsz)
    }

    /// The sheet of a model with weights, for images of `imgsz` pixels instead of its own size where that is given.
    ///
    /// # Errors
    /// As [`ModelSheet::of_architecture`].
    pub fn of_checkpoint(checkpoint: Checkpoint, imgsz: Option<usize>) -> Result<Self> {
        let imgsz = imgsz.unwrap_or(checkpoint.imgsz());
        match checkpoint {
            Checkpoint::Trained(model) => Self::of_architecture(model.architecture, imgsz),
            Checkpoint::Fused(model) => Self::of_forms(None, model.architecture, imgsz),
        }
    }

    fn of_forms(trained: Option<Architecture>, fused: Architecture, imgsz: usize) -> Result<Self> {
        let side = |form, architecture: Architecture| -> Result<Side> {
            Ok(Side { form, outline: Outline::of(&architecture, imgsz)?, architecture })
        };
        let trained = trained.map(|trained| side(Form::Trained, trained)).transpose()?;
        let fused = side(Form::Fused, fused)?;
        let Side { architecture, .. } = trained.as_ref().unwrap_or(&fused);
        Ok(Self {
            model: architecture.name.clone(),
            classes: architecture.head.classes.len(),
            imgsz,
            activations: activations(&architecture.graph),
            block: architecture.graph.block(),
            layers: rows(trained.as_ref().map(|side| &side.outline), &fused.outline),
            trained: trained.as_ref().map(|side| side.outline.total()),
            fused: fused.outline.total(),
            sides: trained.into_iter().chain([fused]).collect(),
        })
    }

    /// The sheet as a table for a terminal.
    pub fn text(&self) -> String {
        text::table(self)
    }

    /// Draws each form into `folder` as `NAME-trained.svg` and `NAME-fused.svg` and tells the files.
    ///
    /// # Errors
    /// [`Error::Artifact`](crate::Error::Artifact) when a file cannot be written.
    pub fn draw(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let stem = file_stem(&self.model);
        let mut files = Vec::new();
        for Side { form, architecture, outline } in &self.sides {
            let file = folder.join(format!("{stem}-{form}.svg"));
            let svg = graph_svg::draw(*form, architecture, outline, self.imgsz);
            artifact::atomic::write(&file, svg.as_bytes())?;
            files.push(file);
        }
        Ok(files)
    }
}

fn rows(trained: Option<&Outline>, fused: &Outline) -> Vec<Row> {
    let costs = |outline: &Outline| -> HashMap<String, Cost> {
        outline.layers.iter().map(|layer| (layer.name.clone(), layer.cost)).collect()
    };
    let (before, after) = (trained.map(costs).unwrap_or_default(), costs(fused));
    let whole = fused.total().flops;
    let row = |outline: &Outline, layer: &Layer| {
        let (trained, fused) = (before.get(&layer.name).copied(), after.get(&layer.name).copied());
        Row {
            index: layer.index,
            name: layer.name.clone(),
            module: layer.module.clone(),
            repeats: layer.repeats,
            from: layer.from.clone(),
            outputs: layer.results.iter().map(|&id| outline.shapes[id]).collect(),
            share: fraction(fused.unwrap_or_default().flops, whole),
            trained,
            fused,
        }
    };
    let of_trained =
        trained.iter().flat_map(|outline| outline.layers.iter().map(|layer| row(outline, layer)));
    // Only a graph without a description has layers that are called otherwise once they are fused.
    let fused_only = fused.layers.iter().filter(|layer| !before.contains_key(&layer.name));
    of_trained.chain(fused_only.map(|layer| row(fused, layer))).collect()
}

/// Each once, in the order of first use.
fn activations(graph: &Graph) -> Vec<Activation> {
    let mut found = Vec::new();
    for node in &graph.nodes {
        if let Op::Act(act) = node.op
            && !found.contains(&act)
        {
            found.push(act);
        }
    }
    found
}

/// The name comes out of a file and must not lead out of the folder.
fn file_stem(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let stem: String = model.chars().map(plain).take(MAX_FILE_STEM).collect();
    let stem = stem.trim_start_matches('.');
    if stem.is_empty() { "model".to_owned() } else { stem.to_owned() }
}

#[cfg(test)]
mod tests;
