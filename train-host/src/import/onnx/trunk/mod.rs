//! Turns what the head's convolutions depend on into our graph: each tensor asked for is planned from the node that makes
//! it and what lies right before that, then what the plan reads is asked for; at last the plans are carried out in order.
//! Folds nothing: that is for `fuse`.

mod activation;
mod attention;
mod channels;
mod cone;
mod convolution;
mod naming;

use std::collections::{BTreeMap, HashMap, HashSet};

use artifact::Fault;

use super::fault::{at_node, unsupported};
use super::inferred::{Inferred, copies};
use super::net::{Maker, Step, TensorId};
use crate::model::{Graph, NodeId, Op, Weights};
use crate::{Error, Result};
use naming::Names;

/// One node of our graph to be.
struct Piece {
    op: Op,
    name: String,
    inputs: Vec<From>,
    /// Suffix, shape and values of its weights.
    weights: Vec<(&'static str, Vec<usize>, Vec<f32>)>,
}

/// What a piece reads.
#[derive(Debug, Clone, Copy)]
enum From {
    Tensor(TensorId),
    /// An earlier piece of the same plan.
    Piece(usize),
}

/// How a tensor is computed in our graph.
enum Plan {
    /// It is another tensor.
    Same(TensorId),
    /// By these, the last of which gives it.
    Pieces(Vec<Piece>),
}

impl Plan {
    fn one(op: Op, name: String, input: TensorId) -> Self {
        Self::Pieces(vec![Piece { op, name, inputs: vec![From::Tensor(input)], weights: Vec::new() }])
    }

    fn many(op: Op, name: String, inputs: &[TensorId]) -> Self {
        let inputs = inputs.iter().map(|&input| From::Tensor(input)).collect();
        Self::Pieces(vec![Piece { op, name, inputs, weights: Vec::new() }])
    }

    fn reads(&self) -> Vec<TensorId> {
        let tensor = |input: &From| match *input {
            From::Tensor(tensor) => Some(tensor),
            From::Piece(_) => None,
        };
        match self {
            Self::Same(tensor) => vec![*tensor],
            Self::Pieces(pieces) => {
                pieces.iter().flat_map(|piece| &piece.inputs).filter_map(tensor).collect()
            }
        }
    }
}

type Outcome<T> = std::result::Result<T, Fault>;

/// The graph that computes `outputs`, and its weights. Nodes come in the order of the file's.
///
/// # Errors
/// [`Error::Model`] naming the first node that our graph has no counterpart of.
pub(super) fn build(model: &Inferred, outputs: &[TensorId]) -> Result<(Graph, Weights)> {
    let plans = plans(model, outputs)?;
    let mut builder = Builder {
        model,
        graph: Graph::default(),
        weights: Weights::default(),
        done: HashMap::new(),
        names: Names::default(),
    };
    let [channels, ..] = model.map_shape(model.net.input).unwrap_or_default();
    let image = builder.graph.push(builder.names.unique("images".into()), Op::Input { channels }, &[]);
    builder.done.insert(model.net.input, image);
    for ((_, tensor), plan) in plans {
        builder.carry_out(tensor, plan)?;
    }
    builder.graph.outputs = outputs.iter().map(|&output| builder.found(output)).collect::<Result<_>>()?;
    Ok((builder.graph, builder.weights))
}

/// A plan for every tensor that `outputs` need, by the step that makes it: each step reads results of earlier ones only.
fn plans(model: &Inferred, outputs: &[TensorId]) -> Result<BTreeMap<(usize, TensorId), Plan>> {
    let mut plans = BTreeMap::new();
    let mut open = outputs.to_vec();
    let mut seen = HashSet::from([model.net.input]);
    let mut first_fault: Option<(usize, Error)> = None;
    while let Some(tensor) = open.pop() {
        if !seen.insert(tensor) {
            continue;
        }
        let Maker::Step(number) = model.net.makers[tensor] else {
            return Err(Error::Model(unsupported(format!(
                "{:?}, a constant where a feature map is expected",
                model.net.names[tensor]
            ))));
        };
        let step = &model.net.steps[number];
        match plan_step(model, step, tensor) {
            Ok(plan) => {
                open.extend(plan.reads());
                plans.insert((number, tensor), plan);
            }
            Err(fault) => {
                if first_fault.as_ref().is_none_or(|(first, _)| number < *first) {
                    first_fault = Some((number, at_node(step.node, fault)));
                }
                open.extend(before(model, step));
            }
        }
    }
    match first_fault {
        None => Ok(plans),
        Some((_, error)) => Err(error),
    }
}

/// Where to look for what is wrong even earlier: before a node that stands for itself.
fn before(model: &Inferred, step: &Step) -> Option<TensorId> {
    let mut unknown = step.inputs.iter().copied().flatten().filter(|&input| !model.is_known(input));
    match (unknown.next(), unknown.next()) {
        (Some(only), None) if !cone::rearranges(step.node.op) => Some(only),
        _ => None,
    }
}

struct Builder<'b, 'a> {
    model: &'b Inferred<'a>,
    graph: Graph,
    weights: Weights,
    done: HashMap<TensorId, NodeId>,
    names: Names,
}

impl Builder<'_, '_> {
    fn found(&self, tensor: TensorId) -> Result<NodeId> {
        self.done.get(&tensor).copied().ok_or_else(|| {
            Error::Model(unsupported(format!("{:?}, which is no feature map", self.model.net.names[tensor])))
        })
    }

    fn carry_out(&mut self, tensor: TensorId, plan: Plan) -> Result<()> {
        let id = match plan {
            Plan::Same(source) => self.found(source)?,
            Plan::Pieces(pieces) => self.add(pieces)?,
        };
        self.done.insert(tensor, id);
        Ok(())
    }

    /// Adds nodes and gives the last one.
    fn add(&mut self, pieces: Vec<Piece>) -> Result<NodeId> {
        let mut made: Vec<NodeId> = Vec::with_capacity(pieces.len());
        for Piece { op, name, inputs, weights } in pieces {
            let id_of = |input| match input {
                From::Tensor(tensor) => self.found(tensor),
                From::Piece(piece) => Ok(made[piece]),
            };
            let inputs = inputs.into_iter().map(id_of).collect::<Result<Vec<_>>>()?;
            let name = self.names.unique(name);
            for (suffix, shape, values) in weights {
                self.weights.insert(format!("{name}.{suffix}"), &shape, values);
            }
            made.push(self.graph.push(name, op, &inputs));
        }
        made.last().copied().ok_or_else(|| Error::Model(unsupported("a plan without nodes")))
    }
}

fn plan_step(model: &Inferred, step: &Step, tensor: TensorId) -> Outcome<Plan> {
    if model.map_shape(tensor).is_none() {
        return Err(unsupported("its result is no feature map of one image"));
    }
    match step.node.op {
        _ if copies(step.node) => Ok(Plan::Same(input(step, 0)?)),
        "Conv" => convolution::plan(model, step),
        "BatchNormalization" => convolution::plan_batch_norm(model, step, tensor),
        "Add" | "Sum" | "Sub" | "Mul" | "Div" => plan_arithmetic(model, step, tensor),
        "MaxPool" => convolution::plan_max_pool(model, step),
        "Resize" => channels::plan_resize(model, step),
        "Concat" => channels::plan_concat(model, step, tensor),
        op if cone::rearranges(op) => channels::plan_arranged(model, step, tensor),
        _ => activation::plan(model, step),
    }
}

/// Sums, products and what else takes two.
fn plan_arithmetic(model: &Inferred, step: &Step, tensor: TensorId) -> Outcome<Plan> {
    if let Some(plan) = activation::plan_product(model, step)? {
        return Ok(plan);
    }
    let inputs: Vec<TensorId> = step.inputs.iter().copied().flatten().collect();
    let known = inputs.iter().filter(|&&input| model.is_known(input)).count();
    if known > 0 {
        return convolution::plan_affine(model, step, tensor);
    }
    let shapes: Vec<_> = inputs.iter().map(|&input| model.map_shape(input)).collect();
    match step.node.op {
        "Add" | "Sum" if shapes.iter().all(|shape| *shape == model.map_shape(tensor)) && inputs.len() > 1 => {
            Ok(Plan::many(Op::Add, naming::of_step(model, step), &inputs))
        }
        "Add" | "Sum" => Err(unsupported(format!("a sum of feature maps of shapes {shapes:?}"))),
        _ => Err(unsupported("a product or difference of two feature maps, as in squeeze-and-excitation")),
    }
}

/// The input in this place.
fn input(step: &Step, place: usize) -> Outcome<TensorId> {
    step.inputs
        .get(place)
        .copied()
        .flatten()
        .ok_or_else(|| super::fault::broken(format!("input {place} is left out")))
}
