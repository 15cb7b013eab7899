//! Starts a model from the weights of another. From a plain checkpoint into a rep model the function is kept exactly,
//! so that training continues instead of restarting. Whatever could not be taken over is reported, never silent.

use std::collections::HashMap;

use serde::Serialize;

use super::architecture::Architecture;
use super::batch_norm::BatchNorm;
use super::checkpoint::Checkpoint;
use super::forms::{Form, Layer, layers};
use super::graph::{Activation, Conv, Graph, Op};
use super::head::Head;
use super::init::initial_weights;
use super::weights::{WeightTensor, Weights};
use crate::{Error, Result};

/// What happened to each layer of the target model; a layer is named by the prefix of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransferReport {
    /// Layers whose tensors were copied.
    pub copied: Vec<String>,
    /// Layers whose tensors were computed from the source so that the function is kept.
    pub derived: Vec<String>,
    /// Layers, or classes of a Detect convolution, that start from random values.
    pub reinitialized: Vec<String>,
    /// Differences that change the function although weights were taken over.
    pub notes: Vec<String>,
}

/// Weights for `target` from `source`; what has no counterpart starts from [`initial_weights`] with `seed`.
///
/// Plain or fused layers become rep blocks that compute the same in evaluation mode. RepVGG: the 3×3 branch takes
/// kernel and batch norm, the other branches get γ = β = 0. QARepVGG: the batch norm after the sum takes the source's,
/// the inner one is an identity, the 1×1 is 0, and the 3×3 is the source's kernel minus the identity branch.
///
/// Detect keeps its box and objectness rows when the classes differ; class rows are taken over by class name.
///
/// # Errors
/// [`Error::Model`] when a layer of the same name has other channels or another kernel, when a rep block would have to
/// become something else (fuse it first), when no layer of the source fits the target, or when either is broken.
pub fn transfer(source: &Checkpoint, target: &Architecture, seed: u64) -> Result<(Weights, TransferReport)> {
    source.validate()?;
    target.validate()?;
    let from = source.architecture();
    let anchors_px = [from.head.anchors_px()?, target.head.anchors_px()?];
    let known: HashMap<String, Layer> =
        layers(&from.graph)?.into_iter().map(|layer| (layer.prefix.clone(), layer)).collect();
    let mut job = Job {
        source: source.weights(),
        heads: [&from.head, &target.head],
        anchors_px,
        weights: initial_weights(target, seed),
        report: TransferReport::default(),
    };
    for layer in layers(&target.graph)? {
        match known.get(&layer.prefix) {
            Some(counterpart) => job.take(counterpart, &layer)?,
            None => job.report.reinitialized.push(layer.prefix),
        }
    }
    if job.report.copied.is_empty() && job.report.derived.is_empty() {
        return Err(Error::model(
            format!("no layer of {:?} is a layer of {:?}", from.name, target.name),
            "weights of a model with the same layers",
            "check --weights and --model",
        ));
    }
    note_differences(from, target, &mut job.report);
    Ok((job.weights, job.report))
}

struct Job<'a> {
    source: &'a Weights,
    /// The source's and the target's.
    heads: [&'a Head; 2],
    anchors_px: [&'a [Vec<[f32; 2]>]; 2],
    weights: Weights,
    report: TransferReport,
}

impl Job<'_> {
    fn take(&mut self, source: &Layer, target: &Layer) -> Result<()> {
        if let (Form::Output { level: from }, Form::Output { level: to }) = (source.form, target.form) {
            refuse_unless(source.conv.cin == target.conv.cin, source, target)?;
            return self.take_output(&target.prefix, from, to);
        }
        let same_shape = Conv { bias: false, ..source.conv } == Conv { bias: false, ..target.conv };
        refuse_unless(same_shape, source, target)?;
        if source.form == target.form {
            self.copy(source, target)?;
            self.report.copied.push(target.prefix.clone());
            return Ok(());
        }
        refuse_unless(matches!(source.form, Form::Plain | Form::Fused), source, target)?;
        match target.form {
            Form::Plain => self.derive_plain(source, target)?,
            Form::Repvgg { .. } => self.derive_repvgg(source, target)?,
            Form::Qarepvgg { identity } => self.derive_qarepvgg(source, target, identity)?,
            Form::Fused | Form::Output { .. } => refuse_unless(false, source, target)?,
        }
        self.report.derived.push(target.prefix.clone());
        Ok(())
    }

    fn copy(&mut self, source: &Layer, target: &Layer) -> Result<()> {
        for conv in target.convs() {
            self.copy_tensor(&format!("{conv}.weight"))?;
            if target.conv.bias {
                self.copy_tensor(&format!("{conv}.bias"))?;
            }
        }
        for name in target.batch_norms() {
            let bn = BatchNorm::read(self.source, &name)?.with_eps(source.eps, target.eps);
            bn.write(&mut self.weights, &name);
        }
        Ok(())
    }

    fn copy_tensor(&mut self, name: &str) -> Result<()> {
        let tensor = self.source.get(name)?;
        self.weights.insert(name, &tensor.shape, tensor.data.clone());
        Ok(())
    }

    /// A fused layer as convolution and batch norm.
    fn derive_plain(&mut self, source: &Layer, target: &Layer) -> Result<()> {
        let kernel = self.source.get(&source.name("conv.weight"))?;
        self.weights.insert(target.name("conv.weight"), &kernel.shape, kernel.data.clone());
        self.batch_norm_of(source, target)?.write(&mut self.weights, &target.name("bn"));
        Ok(())
    }

    fn derive_repvgg(&mut self, source: &Layer, target: &Layer) -> Result<()> {
        let kernel = self.source.get(&source.name("conv.weight"))?;
        self.weights.insert(target.name("dense.conv.weight"), &kernel.shape, kernel.data.clone());
        for name in target.batch_norms() {
            // An identity branch has as many channels as the others: it exists only where cin = cout.
            let channels = target.conv.cout;
            BatchNorm::silent(channels).write(&mut self.weights, &name);
        }
        self.batch_norm_of(source, target)?.write(&mut self.weights, &target.name("dense.bn"));
        Ok(())
    }

    fn derive_qarepvgg(&mut self, source: &Layer, target: &Layer, identity: bool) -> Result<()> {
        let mut kernel = self.source.get(&source.name("conv.weight"))?.clone();
        if identity {
            subtract_identity(&target.conv, &mut kernel.data);
        }
        self.weights.insert(target.name("dense.conv.weight"), &kernel.shape, kernel.data);
        let pointwise = target.name("pointwise.conv.weight");
        let WeightTensor { shape, data } = self.weights.get(&pointwise)?.clone();
        self.weights.insert(pointwise, &shape, vec![0.0; data.len()]);
        BatchNorm::identity(target.conv.cout, target.eps).write(&mut self.weights, &target.name("dense.bn"));
        self.batch_norm_of(source, target)?.write(&mut self.weights, &target.name("bn"));
        Ok(())
    }

    /// What follows the source's convolution, as a batch norm with the target's eps.
    fn batch_norm_of(&self, source: &Layer, target: &Layer) -> Result<BatchNorm> {
        if source.form == Form::Plain {
            return Ok(BatchNorm::read(self.source, &source.name("bn"))?.with_eps(source.eps, target.eps));
        }
        let beta = self.source.get(&source.name("conv.bias"))?.data.clone();
        Ok(BatchNorm { beta, ..BatchNorm::identity(target.conv.cout, target.eps) })
    }

    fn take_output(&mut self, prefix: &str, from: usize, to: usize) -> Result<()> {
        let [source_head, target_head] = self.heads;
        let [found, anchors] = [self.anchors_px[0][from].len(), self.anchors_px[1][to].len()];
        if anchors != found {
            self.report.reinitialized.push(prefix.to_owned());
            self.report
                .notes
                .push(format!("{prefix}: {found} anchors in the source, {anchors} in the target"));
            return Ok(());
        }
        let classes = class_map(source_head, target_head);
        let rows = row_map(anchors, source_head.classes.len(), &classes);
        for name in [format!("{prefix}.weight"), format!("{prefix}.bias")] {
            let source = self.source.get(&name)?;
            let WeightTensor { shape, mut data } = self.weights.get(&name)?.clone();
            let row_len = data.len() / rows.len();
            for (row, source_row) in data.chunks_exact_mut(row_len).zip(&rows) {
                if let Some(index) = source_row {
                    row.copy_from_slice(&source.data[index * row_len..][..row_len]);
                }
            }
            self.weights.insert(name, &shape, data);
        }
        let fresh = classes.iter().zip(&target_head.classes).filter(|(found, _)| found.is_none());
        let fresh: Vec<String> = fresh.map(|(_, class)| format!("{prefix} class {class:?}")).collect();
        self.report.copied.push(prefix.to_owned());
        self.report.reinitialized.extend(fresh);
        Ok(())
    }
}

/// Subtracts the kernel that gives back its input: 1 at the center of each output channel's own input channel.
fn subtract_identity(conv: &Conv, kernel: &mut [f32]) {
    let taps = conv.kernel * conv.kernel;
    let per_group = conv.cin / conv.groups;
    for (output, filter) in kernel.chunks_exact_mut(per_group * taps).enumerate() {
        filter[output % per_group * taps + taps / 2] -= 1.0;
    }
}

/// For each class of the target, the source's class of that name. Where no name is shared but the counts agree, the
/// classes count as renamed.
fn class_map(source: &Head, target: &Head) -> Vec<Option<usize>> {
    let named: Vec<Option<usize>> =
        target.classes.iter().map(|class| source.classes.iter().position(|other| other == class)).collect();
    if source.classes.len() == target.classes.len() && named.iter().all(Option::is_none) {
        return (0..target.classes.len()).map(Some).collect();
    }
    named
}

/// For each output channel of the target, the source's: box, objectness, then the classes, anchor after anchor.
fn row_map(anchors: usize, source_classes: usize, classes: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut rows = Vec::with_capacity(anchors * (5 + classes.len()));
    for anchor in 0..anchors {
        let first = anchor * (5 + source_classes);
        rows.extend((first..first + 5).map(Some));
        rows.extend(classes.iter().map(|class| class.map(|class| first + 5 + class)));
    }
    rows
}

fn refuse_unless(fits: bool, source: &Layer, target: &Layer) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::model(
        format!("layer {:?} of the weights: {:?}, {:?}", source.prefix, source.form, source.conv),
        format!("a layer that can become {:?}, {:?}", target.form, target.conv),
        "use weights of the same width and depth; run `train-host fuse` on those of another block form first",
    ))
}

fn note_differences(source: &Architecture, target: &Architecture, report: &mut TransferReport) {
    let activations = [activation(&source.graph), activation(&target.graph)];
    if activations[0] != activations[1] {
        report.notes.push(format!(
            "activation {:?} in the source, {:?} in the target",
            activations[0], activations[1]
        ));
    }
    if source.head.boxes != target.head.boxes {
        report.notes.push("the anchors differ: boxes come out in other sizes until trained".into());
    }
    let (from, to) = (&source.head.classes, &target.head.classes);
    if from != to && from.len() == to.len() && !from.iter().any(|class| to.contains(class)) {
        report.notes.push(format!("classes {from:?} are taken to be renamed to {to:?}"));
    }
}

fn activation(graph: &Graph) -> Option<Activation> {
    graph.nodes.iter().find_map(|node| match node.op {
        Op::Act(act) => Some(act),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
