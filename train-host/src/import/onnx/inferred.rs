//! The sorted model with the shape of every tensor, and the elements of those that do not depend on the image; and parts
//! of it run on numbers, to learn what they do. Recognizes nothing itself.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use artifact::Fault;

use super::fault::{at_node, unsupported};
use super::net::{Maker, Net, Step, TensorId};
use super::ops::{Call, Work, evaluate};
use super::proto::{Node, data_type};
use super::tensor::Value;
use crate::{Error, Result};

/// Most elements computed while shapes are inferred: shape arithmetic and grids, seldom weights.
const INFERENCE_WORK: u64 = 1 << 25;
/// Most elements and products computed to learn what the parts of a model do: one attention at 1280 px needs a billion.
const PROBE_WORK: u64 = 1 << 33;
/// Most elements held at once while a part is run.
const MAX_HELD: usize = 1 << 25;

/// A model whose every tensor has a shape.
pub(super) struct Inferred<'a> {
    pub net: &'a Net<'a>,
    opset: i64,
    /// By [`TensorId`]; none for what no output depends on.
    values: Vec<Option<Value>>,
    /// What may still be run.
    work: Cell<Work>,
}

impl<'a> Inferred<'a> {
    /// Infers shapes for an image of `input_shape`.
    ///
    /// # Errors
    /// [`Error::Model`] naming the first node that is not supported.
    pub fn new(net: &'a Net<'a>, opset: i64, input_shape: &[usize]) -> Result<Self> {
        let mut values: Vec<Option<Value>> = vec![None; net.makers.len()];
        for (tensor, maker) in net.makers.iter().enumerate() {
            match *maker {
                Maker::Stored(place) if !net.users[tensor].is_empty() || net.outputs.contains(&tensor) => {
                    values[tensor] = Some(Value::read(&net.stored[place]).map_err(Error::Model)?);
                }
                _ => {}
            }
        }
        values[net.input] = Some(Value::unknown(input_shape.to_vec()));
        let mut work = Work::new(INFERENCE_WORK);
        for step in &net.steps {
            let results = run_step(step, opset, &mut work, |tensor| values[tensor].as_ref())?;
            results.into_iter().for_each(|(tensor, value)| values[tensor] = Some(value));
        }
        Ok(Self { net, opset, values, work: Cell::new(Work::new(PROBE_WORK)) })
    }

    /// Shape and perhaps elements of a tensor that an output depends on.
    pub fn value(&self, tensor: TensorId) -> Option<&Value> {
        self.values[tensor].as_ref()
    }

    /// Its elements, where they are floats that do not depend on the image.
    pub fn floats(&self, tensor: TensorId) -> Option<&[f32]> {
        self.value(tensor)?.as_floats()
    }

    /// Whether its elements do not depend on the image.
    pub fn is_known(&self, tensor: TensorId) -> bool {
        self.value(tensor).is_some_and(Value::is_known)
    }

    /// Channels, height and width, where it is a feature map.
    pub fn map_shape(&self, tensor: TensorId) -> Option<[usize; 3]> {
        self.value(tensor)?.map_shape()
    }

    /// Inputs of `step` in their places.
    pub fn inputs(&self, step: &Step) -> Vec<Option<&Value>> {
        step.inputs.iter().map(|input| input.and_then(|tensor| self.value(tensor))).collect()
    }

    /// The tensor behind copies and casts.
    pub fn behind_copies(&self, mut tensor: TensorId) -> TensorId {
        while let Some(step) = self.net.step_of(tensor)
            && copies(step.node)
            && let Some(&Some(source)) = step.inputs.first()
        {
            tensor = source;
        }
        tensor
    }

    /// Runs what lies between `seeds` and `targets` on the elements given for the seeds.
    ///
    /// # Errors
    /// [`Error::Model`] when something between them cannot be run, or depends on the image in another way.
    pub fn probe(&self, seeds: &HashMap<TensorId, Value>, targets: &[TensorId]) -> Result<Vec<Value>> {
        let steps = self.steps_between(seeds, targets)?;
        let mut pending: HashMap<TensorId, usize> = HashMap::new();
        let reads = steps.iter().flat_map(|&step| self.net.steps[step].inputs.iter().flatten());
        reads.chain(targets).for_each(|&tensor| *pending.entry(tensor).or_default() += 1);
        let mut work = self.work.get();
        let mut found: HashMap<TensorId, Value> = HashMap::new();
        for step in steps {
            let step = &self.net.steps[step];
            let look_up =
                |tensor| seeds.get(&tensor).or_else(|| found.get(&tensor)).or_else(|| self.value(tensor));
            let results = run_step(step, self.opset, &mut work, look_up)?;
            self.work.set(work);
            found.extend(results.into_iter().filter(|(tensor, _)| pending.contains_key(tensor)));
            // What nothing reads any more makes room.
            for tensor in step.inputs.iter().flatten() {
                if let Some(left) = pending.get_mut(tensor) {
                    *left -= 1;
                    if *left == 0 {
                        found.remove(tensor);
                    }
                }
            }
            if found.values().map(|value| value.shape.iter().product::<usize>()).sum::<usize>() > MAX_HELD {
                return Err(at_node(step.node, unsupported("more numbers at once than any detector needs")));
            }
        }
        let take = |target: &TensorId| {
            let value = seeds.get(target).or_else(|| found.get(target)).or_else(|| self.value(*target));
            value.filter(|value| value.is_known()).cloned().ok_or_else(|| {
                Error::Model(unsupported(format!("{:?}, which cannot be computed", self.net.names[*target])))
            })
        };
        targets.iter().map(take).collect()
    }

    /// The steps that `targets` need of `seeds`, in order.
    fn steps_between(
        &self,
        seeds: &HashMap<TensorId, Value>,
        targets: &[TensorId],
    ) -> Result<BTreeSet<usize>> {
        let mut steps = BTreeSet::new();
        let mut open = targets.to_vec();
        while let Some(tensor) = open.pop() {
            if seeds.contains_key(&tensor) || self.is_known(tensor) {
                continue;
            }
            let Maker::Step(step) = self.net.makers[tensor] else {
                return Err(Error::Model(unsupported("an output that reads the image itself")));
            };
            if steps.insert(step) {
                open.extend(self.net.steps[step].inputs.iter().flatten());
            }
        }
        Ok(steps)
    }
}

/// Whether a node gives what it reads; floats of all widths are one here.
pub(super) fn copies(node: &Node) -> bool {
    match node.op {
        "Identity" | "Dropout" => true,
        "Cast" => node.int("to").is_some_and(|to| data_type::FLOATS.map(i64::from).contains(&to)),
        _ => false,
    }
}

fn run_step<'v>(
    step: &'v Step,
    opset: i64,
    work: &'v mut Work,
    look_up: impl Fn(TensorId) -> Option<&'v Value>,
) -> Result<Vec<(TensorId, Value)>> {
    let inputs = step.inputs.iter().map(|input| input.and_then(&look_up)).collect();
    let mut call = Call { node: step.node, inputs, opset, work };
    let results = evaluate(&mut call).map_err(|fault: Fault| at_node(step.node, fault))?;
    let outputs = step.outputs.iter().zip(results);
    Ok(outputs.filter_map(|(&tensor, value)| Some((tensor?, value))).collect())
}
