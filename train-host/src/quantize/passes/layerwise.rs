//! Walks the float and the int8 model side by side, layer by layer, over a few images, and refines each int8 kernel
//! with what its layer really reads: the errors of the layers before it included. Memory is bounded by taking fewer
//! images where tensors are large.

use artifact::{Spread, TensorData};
use rayon::prelude::*;

use super::bias::{correct, mean_error};
use super::operators::{Layer, Plane, apply, stored};
use super::rounding::round_adaptively;
use super::samples::{Moments, Objective, sample};
use crate::model::{Architecture, Conv, FusedModel, Graph, Node, NodeId, Op, Shape, Weights};
use crate::quantize::focus::Focus;
use crate::quantize::images::{Images, bar};
use crate::quantize::objects;
use crate::quantize::ptq::conv_weights;
use crate::quantize::scheme::{QuantizedModel, function, sole_activation};
use crate::{Error, Result};
use repedge::int8;

/// Most images walked with.
const IMAGES: usize = 24;
/// Places of each image that a mean error is taken over.
const BIAS_PLACES: usize = 2048;
/// Most memory for the tensors of both models.
const BYTES: usize = 640 << 20;

/// What is refined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refinement {
    /// How weights are rounded.
    pub rounding: Rounding,
    /// What biases are.
    pub bias: Bias,
}

/// How weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// As they are: to nearest, from the quantizer.
    Nearest,
    /// For the least error of the layer's outputs (AdaRound's objective).
    Adaptive,
}

/// What biases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// As they are: those of the float model.
    Plain,
    /// Corrected by the layer's mean error on the images (bias correction, Nagel et al. 2019, measured, not modeled).
    Corrected,
}

/// Refines the int8 kernels of `quantized`, which was made of `model`, on `images`; returns the convolutions whose weights stay
/// rounded to nearest, because to round them adaptively would take too much memory.
///
/// # Errors
/// [`Error::Runtime`] when tract refuses a layer or an image cannot be read; [`Error::Model`] when the two models do
/// not belong together.
pub fn refine(
    model: &FusedModel,
    quantized: &mut QuantizedModel,
    images: &Images,
    what: Refinement,
) -> Result<Vec<String>> {
    if what == (Refinement { rounding: Rounding::Nearest, bias: Bias::Plain }) {
        return Ok(Vec::new());
    }
    if model.architecture.graph != quantized.architecture.graph {
        return Err(Error::model(
            "two models of different graphs",
            "the model that was quantized",
            "report this",
        ));
    }
    let graph = &model.architecture.graph;
    let shapes = graph.shapes(model.imgsz, model.imgsz)?;
    let bytes = 2 * 4 * most_live(graph, &shapes);
    let images = images.spread((BYTES / bytes.max(1)).clamp(1, IMAGES));
    let mut walk = Walk {
        model,
        shapes,
        what,
        pairs: (0..graph.nodes.len()).map(|_| None).collect(),
        focuses: Vec::new(),
    };
    let last_users = last_users(graph);
    let bar = bar(graph.nodes.len(), "refining layers", images.progress());
    for id in 0..graph.nodes.len() {
        let pair = walk.node(quantized, id, &images.quiet())?;
        walk.pairs[id] = Some(pair);
        walk.pairs
            .iter_mut()
            .zip(&last_users)
            .filter(|(_, last)| **last <= id)
            .for_each(|(pair, _)| *pair = None);
        bar.inc(1);
    }
    bar.finish_and_clear();
    quantized.validate()?;
    Ok(match what.rounding {
        Rounding::Nearest => Vec::new(),
        Rounding::Adaptive => too_large(quantized),
    })
}

/// The int8 convolutions that adaptive rounding leaves as they are.
fn too_large(quantized: &QuantizedModel) -> Vec<String> {
    let nodes = quantized.architecture.graph.nodes.iter().enumerate();
    let is_too_large = |(id, node): &(NodeId, &Node)| match &node.op {
        Op::Conv(conv) => quantized.is_int8(*id) && !Moments::fit(conv),
        _ => false,
    };
    nodes.filter(is_too_large).map(|(_, node)| node.name.clone()).collect()
}

/// A node's results in both models, one plane an image.
struct Pair {
    float: Vec<Plane>,
    int8: Vec<Plane>,
}

struct Walk<'a> {
    model: &'a FusedModel,
    shapes: Vec<Shape>,
    what: Refinement,
    pairs: Vec<Option<Pair>>,
    /// Where to look in each image.
    focuses: Vec<Focus>,
}

impl Walk<'_> {
    fn node(&mut self, quantized: &mut QuantizedModel, id: NodeId, images: &Images) -> Result<Pair> {
        let node = &self.model.architecture.graph.nodes[id];
        let mut pair = match node.op {
            Op::Input { .. } => self.read(images)?,
            Op::Conv(conv) => self.convolution(quantized, id, &conv)?,
            Op::Attention(_) => self.layer(node.op, node.inputs[0])?,
            op => self.plain(&op, &node.inputs)?,
        };
        let quant = quantized.scheme.tensors[id];
        pair.int8 = pair.int8.into_iter().map(|plane| stored(plane, quant)).collect();
        Ok(pair)
    }

    fn read(&mut self, images: &Images) -> Result<Pair> {
        let mut float = Vec::new();
        let mut samples = objects::found(self.model, images)?.samples.into_iter();
        let focuses = &mut self.focuses;
        images.stream(self.model.imgsz, "reading", |shown| {
            if let TensorData::F32(values) = &shown.tensor.data {
                float.push(values.clone());
                let objects = samples.next().map(|sample| sample.boxes).unwrap_or_default();
                focuses.push(Focus { content: shown.content, objects });
            }
            Ok(())
        })?;
        Ok(Pair { int8: float.clone(), float })
    }

    fn pair(&self, id: NodeId) -> Result<&Pair> {
        self.pairs[id].as_ref().ok_or_else(|| {
            Error::model(
                format!("node {id} is read before it is made"),
                "a sorted graph",
                "report this as a bug",
            )
        })
    }

    /// Refines the kernel of convolution `id` and runs both models' convolutions.
    fn convolution(&self, quantized: &mut QuantizedModel, id: NodeId, conv: &Conv) -> Result<Pair> {
        let node = &self.model.architecture.graph.nodes[id];
        let input = node.inputs[0];
        let (input_shape, shape) = (self.shapes[input], self.shapes[id]);
        let inputs = self.pair(input)?;
        let (values, bias) = conv_weights(self.model, id)?;
        let mut run = Layer::convolution(conv, input_shape, values.to_vec(), bias.to_vec())?;
        let float: Vec<Plane> = inputs.float.iter().map(|plane| run.run(plane)).collect::<Result<_>>()?;
        let scheme = &mut quantized.scheme;
        let (Some(kernel), Some(from)) = (scheme.kernels.get_mut(&node.name), scheme.tensors[input]) else {
            let int8 = inputs.int8.iter().map(|plane| run.run(plane)).collect::<Result<_>>()?;
            return Ok(Pair { float, int8 });
        };
        if self.what.rounding == Rounding::Adaptive && Moments::fit(conv) {
            let mut moments = Moments::of(conv);
            for ((read, wanted), focus) in inputs.int8.iter().zip(&float).zip(&self.focuses) {
                sample(&mut moments, conv, focus, (read, input_shape), (wanted, shape));
            }
            let biases = kernel.real_bias(from.scale);
            let objective = match self.what.bias {
                Bias::Plain => Objective::Outputs(&biases),
                Bias::Corrected => Objective::Spread,
            };
            round_adaptively(kernel, values, &moments, objective);
        }
        run = Layer::convolution(conv, input_shape, kernel.real_values(), kernel.real_bias(from.scale))?;
        let mut int8: Vec<Plane> = inputs.int8.iter().map(|plane| run.run(plane)).collect::<Result<_>>()?;
        if self.what.bias == Bias::Corrected {
            let errors = self.mean_errors(id, &float, &int8);
            correct(kernel, &errors, from.scale);
            for plane in &mut int8 {
                shift(plane, &errors);
            }
        }
        Ok(Pair { float, int8 })
    }

    /// Mean error of each channel of convolution `id`, as what is behind it sees them.
    fn mean_errors(&self, id: NodeId, float: &[Plane], int8: &[Plane]) -> Vec<f64> {
        let Architecture { graph, head, .. } = &self.model.architecture;
        let output = graph.outputs.iter().position(|&output| output == id);
        let function: fn(f64) -> f64 = match sole_activation(graph, &graph.users(), id) {
            Some((_, activation)) => function(activation),
            None if output.is_some() => int8::sigmoid,
            None => |x| x,
        };
        let spread = |channel: usize| output.map_or(Spread::NONE, |output| head.spread_of(output, channel));
        let [channels, height, width] = self.shapes[id];
        let plane = height * width;
        let places: Vec<Vec<usize>> =
            self.focuses.iter().map(|focus| focus.places(height, width, BIAS_PLACES)).collect();
        let of_channel = |channel: usize| {
            let part = |planes: &[Plane]| -> Vec<Vec<f32>> {
                let planes = planes.iter().zip(&places);
                planes
                    .map(|(values, places)| {
                        places.iter().map(|place| values[channel * plane + place]).collect()
                    })
                    .collect()
            };
            let Spread { gain, offset } = spread(channel);
            let seen = |value: f64| function((value - f64::from(offset)) / f64::from(gain));
            mean_error(&part(float), &part(int8), seen)
        };
        (0..channels).into_par_iter().map(of_channel).collect()
    }

    /// An operator without weights that tract runs, in both models.
    fn layer(&self, op: Op, input: NodeId) -> Result<Pair> {
        let mut layer = Layer::new(op, self.shapes[input], &Weights::default())?;
        let mut run = |planes: &[Plane]| planes.iter().map(|plane| layer.run(plane)).collect::<Result<_>>();
        let pair = self.pair(input)?;
        Ok(Pair { float: run(&pair.float)?, int8: run(&pair.int8)? })
    }

    /// An operator without weights, in both models.
    fn plain(&self, op: &Op, inputs: &[NodeId]) -> Result<Pair> {
        let pairs: Vec<&Pair> = inputs.iter().map(|&input| self.pair(input)).collect::<Result<_>>()?;
        let shape = self.shapes[inputs[0]];
        let of_model = |planes: fn(&Pair) -> &Vec<Plane>| -> Result<Vec<Plane>> {
            let images = pairs.first().map_or(0, |pair| planes(pair).len());
            let image = |at: usize| {
                let operands: Vec<&Plane> = pairs.iter().map(|pair| &planes(pair)[at]).collect();
                apply(op, &operands, shape)
            };
            (0..images).into_par_iter().map(image).collect()
        };
        Ok(Pair { float: of_model(|pair| &pair.float)?, int8: of_model(|pair| &pair.int8)? })
    }
}

/// Adds `errors`, one for each channel, to `plane`.
fn shift(plane: &mut Plane, errors: &[f64]) {
    let size = plane.len() / errors.len().max(1);
    for (values, error) in plane.chunks_mut(size.max(1)).zip(errors) {
        #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
        values.iter_mut().for_each(|value| *value += *error as f32);
    }
}

/// The last node that reads each node, or itself where none does.
fn last_users(graph: &Graph) -> Vec<NodeId> {
    let users = graph.users();
    users.iter().enumerate().map(|(id, users)| users.iter().copied().max().unwrap_or(id)).collect()
}

/// Most values that are alive at once for one image.
fn most_live(graph: &Graph, shapes: &[Shape]) -> usize {
    let last = last_users(graph);
    let size = |id: usize| shapes[id].iter().product::<usize>();
    let alive = |at: usize| (0..=at).filter(|&id| last[id] >= at).map(size).sum::<usize>();
    (0..shapes.len()).map(alive).max().unwrap_or(0)
}
