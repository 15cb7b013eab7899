//! How fast a float model and its int8 model run on the CPU, whole as they ship and layer by layer in tract alone, paired:
//! every frame goes through both. Only measures.

use std::collections::BTreeMap;

use artifact::{Tensor, TensorData};
use repedge::backend::Session;
use repedge::backend::tract::{self, CpuOptions, Kernels, TractSession};
use serde::Serialize;

use super::images::{Images, bar};
use super::scheme::{QuantizedModel, sole_activation};
use crate::clock::clock;
use crate::model::{FusedModel, Graph, NodeId, Op};
use crate::statistics::{Ratio, median, ratio};
use crate::{Error, Result, export};

/// Images that frames are taken from, again and again.
const MAX_IMAGES: usize = 16;
/// Frames of each model that are not counted.
const WARM_UP_FRAMES: usize = 3;
/// Draws of the bootstrap and the order of the models follow from it.
const SEED: u64 = 0;

/// Times of both models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speed {
    /// Name of the model.
    pub model: String,
    /// Side of its images in pixels.
    pub imgsz: usize,
    /// Frames timed.
    pub frames: usize,
    /// Median of the float model's whole run, in milliseconds.
    pub float_ms: f64,
    /// Median of the int8 model's.
    pub int8_ms: f64,
    /// Time in int8 over time in floats, frame by frame.
    pub int8_to_float: Ratio,
    /// What the layers were timed in: not what the times above are of, where our kernels run the models.
    pub layers_timed_in: String,
    /// Each layer, in the graph's order; what belongs to none is last.
    pub layers: Vec<LayerSpeed>,
}

/// Times of a layer: a convolution with its activation, or another operator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSpeed {
    /// Name of its first node.
    pub layer: String,
    /// Multiply-adds.
    pub macs: u64,
    /// Whether it computes in int8.
    pub int8: bool,
    /// Median in floats, in microseconds, in tract alone.
    pub float_us: f64,
    /// Median in int8, likewise.
    pub int8_us: f64,
}

/// Times `frames` frames of both models over `images`.
///
/// # Errors
/// [`Error::Model`] when `int8` was not made of `float`'s graph; [`Error::Runtime`] when tract refuses a model or an
/// image cannot be read.
pub fn speed(float: &FusedModel, int8: &QuantizedModel, images: &Images, frames: usize) -> Result<Speed> {
    let graph = &float.architecture.graph;
    if *graph != int8.architecture.graph || float.imgsz != int8.imgsz {
        return Err(Error::model(
            "an int8 model of another graph or image size than the float model's",
            "the model that was quantized",
            "give the weights that `train-host quantize` was given",
        ));
    }
    let mut pictures = Vec::new();
    images.spread(MAX_IMAGES).stream(float.imgsz, "reading", |shown| {
        pictures.push(shown.tensor.clone());
        Ok(())
    })?;
    let mut sessions: Vec<Box<dyn Session>> =
        vec![Box::new(export::session(float)?), Box::new(export::quantized_session(int8)?)];
    let progress = bar(frames, "timing", images.progress());
    let whole = clock(&mut sessions, &pictures, frames, SEED, &progress)?;
    progress.finish_and_clear();
    let layers = Layers::of(graph);
    let progress = bar(frames, "timing layers", images.progress());
    let mut times: Vec<Vec<[f64; 2]>> = vec![Vec::with_capacity(frames); layers.names.len() + 1];
    // Operator by operator: our kernels run a model as one, in steps that bear no layer's name.
    let options = CpuOptions { kernels: Kernels::Engine, ..CpuOptions::default() };
    let mut profiled =
        [export::session_with(float, options)?, export::quantized_session_with(int8, options)?];
    for frame in 0..WARM_UP_FRAMES + frames {
        let image = &pictures[frame % pictures.len()];
        let found = layers.times_of_both(&mut profiled, image)?;
        if frame >= WARM_UP_FRAMES {
            times.iter_mut().zip(found).for_each(|(times, found)| times.push(found));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(Speed {
        model: float.architecture.name.clone(),
        imgsz: float.imgsz,
        frames,
        float_ms: median(&whole[0]) / 1e3,
        int8_ms: median(&whole[1]) / 1e3,
        int8_to_float: ratio(&whole[1], &whole[0], SEED),
        layers_timed_in: format!("tract {}", tract::VERSION),
        layers: layers.summary(graph, int8, &times)?,
    })
}

/// Which layer each node belongs to.
struct Layers {
    names: Vec<NodeId>,
    /// Place in `names` for each node's name.
    places: BTreeMap<String, usize>,
}

impl Layers {
    fn of(graph: &Graph) -> Self {
        let users = graph.users();
        let mut layers = Self { names: Vec::new(), places: BTreeMap::new() };
        for (id, node) in graph.nodes.iter().enumerate() {
            let behind_conv = node.inputs.first().filter(|&&input| {
                matches!(graph.nodes[input].op, Op::Conv(_))
                    && sole_activation(graph, &users, input).is_some_and(|(act, _)| act == id)
            });
            let place = match behind_conv {
                Some(&conv) => layers.places[&graph.nodes[conv].name],
                None => {
                    layers.names.push(id);
                    layers.names.len() - 1
                }
            };
            layers.places.insert(node.name.clone(), place);
        }
        layers
    }

    /// The layer of the operator `name`: tract's operators are called as the node they came from, with more behind.
    fn place(&self, name: &str) -> usize {
        let mut prefix = name;
        loop {
            if let Some(&place) = self.places.get(prefix) {
                return place;
            }
            match prefix.rsplit_once('.') {
                Some((shorter, _)) => prefix = shorter,
                None => return self.names.len(),
            }
        }
    }

    /// Microseconds of each layer in each model, and of what belongs to none.
    fn times_of_both(&self, sessions: &mut [TractSession; 2], image: &Tensor) -> Result<Vec<[f64; 2]>> {
        debug_assert!(matches!(image.data, TensorData::F32(_)));
        let mut times = vec![[0.0; 2]; self.names.len() + 1];
        for (which, session) in sessions.iter_mut().enumerate() {
            for operator in session.profile(image)? {
                times[self.place(&operator.name)][which] += operator.took.as_secs_f64() * 1e6;
            }
        }
        Ok(times)
    }

    fn summary(
        &self,
        graph: &Graph,
        int8: &QuantizedModel,
        times: &[Vec<[f64; 2]>],
    ) -> Result<Vec<LayerSpeed>> {
        let shapes = graph.shapes(int8.imgsz, int8.imgsz)?;
        let of_model = |times: &[[f64; 2]], which: usize| {
            median(&times.iter().map(|times| times[which]).collect::<Vec<_>>())
        };
        let mut layers: Vec<LayerSpeed> = self
            .names
            .iter()
            .zip(times)
            .map(|(&id, times)| LayerSpeed {
                layer: graph.nodes[id].name.clone(),
                macs: graph.nodes[id].op.flops(shapes[id]) / 2,
                int8: int8.is_int8(id),
                float_us: of_model(times, 0),
                int8_us: of_model(times, 1),
            })
            .collect();
        if let Some(rest) = times.last() {
            let (float_us, int8_us) = (of_model(rest, 0), of_model(rest, 1));
            layers.push(LayerSpeed { layer: "(other)".into(), macs: 0, int8: false, float_us, int8_us });
        }
        Ok(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Activation, Conv};

    #[test]
    fn operators_belong_to_the_layer_they_came_from() {
        let mut graph = Graph::default();
        let conv = Conv { cin: 3, cout: 4, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let first = graph.push("model.0.conv", Op::Conv(conv), &[image]);
        let act = graph.push("model.0.act", Op::Act(Activation::Silu), &[first]);
        graph.push("model.1", Op::MaxPool { kernel: 3, stride: 1, pad: 1 }, &[act]);
        let layers = Layers::of(&graph);
        assert_eq!(layers.names, [image, first, 3]);
        let places =
            ["model.0.conv.im2col", "model.0.act.sigmoid", "model.0.act.q", "model.1.rescaled0.x", "source"];
        assert_eq!(places.map(|name| layers.place(name)), [1, 1, 1, 2, 3]);
    }
}
