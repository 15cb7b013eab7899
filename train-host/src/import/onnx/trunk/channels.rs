//! Whatever rearranges a feature map: the nodes between it and its source are run on the indices of the source's
//! elements, and where these end up tells what they do: take channels, take every second pixel (Focus), repeat pixels.

use std::collections::HashMap;

use artifact::Fault;

use super::super::fault::unsupported;
use super::super::inferred::Inferred;
use super::super::net::{Step, TensorId};
use super::super::ops::nearest_factors;
use super::super::tensor::Value;
use super::cone::{Cone, is_slice};
use super::{From, Outcome, Piece, Plan, attention, input, naming};
use crate::Error;
use crate::model::Op;

/// Largest map whose elements are followed.
const MAX_FOLLOWED: usize = 1 << 24;
/// Most runs of channels that a map may be put together from.
const MAX_RUNS: usize = 256;

pub(super) fn plan_resize(model: &Inferred, step: &Step) -> Outcome<Plan> {
    let source = input(step, 0)?;
    match nearest_factors(step.node, &model.inputs(step))? {
        [1, 1] => Ok(Plan::Same(source)),
        [factor, other] if factor == other => {
            Ok(Plan::one(Op::Upsample { factor }, naming::of_step(model, step), source))
        }
        factors => Err(unsupported(format!("factors {factors:?}: only equal ones are supported"))),
    }
}

pub(super) fn plan_concat(model: &Inferred, step: &Step, tensor: TensorId) -> Outcome<Plan> {
    let parts: Vec<TensorId> = step.inputs.iter().copied().flatten().collect();
    let axis = step.node.int("axis").unwrap_or(1);
    match parts[..] {
        [part, ..] if parts.iter().all(|&part| is_slice(model, part)) && !keeps_size(model, part, tensor) => {
            plan_arranged(model, step, tensor)
        }
        _ if !matches!(axis, 1 | -3) => Err(unsupported(format!("a concatenation along axis {axis}"))),
        [only] => Ok(Plan::Same(only)),
        _ => Ok(Plan::many(Op::Concat, naming::of_step(model, step), &parts)),
    }
}

/// Whether a slice leaves height and width as they are.
fn keeps_size(model: &Inferred, part: TensorId, whole: TensorId) -> bool {
    let source = model.net.step_of(part).and_then(|step| step.inputs.first().copied().flatten());
    let size = |tensor| model.map_shape(tensor).map(|[_, height, width]| [height, width]);
    source.is_some_and(|source| size(source) == size(whole))
}

/// A map that is another map rearranged, or the result of attention.
pub(super) fn plan_arranged(model: &Inferred, step: &Step, tensor: TensorId) -> Outcome<Plan> {
    let cone = Cone::above(model, tensor);
    let &[source] = &cone.sources[..] else {
        return Err(unsupported(format!("a map put together from {} others", cone.sources.len())));
    };
    let name = naming::of_step(model, step);
    if cone.multiplies {
        return attention::plan(model, &cone, source, tensor, name);
    }
    let (Some(from), Some(to)) = (model.map_shape(source), model.map_shape(tensor)) else {
        return Err(unsupported("a map made of what is no map"));
    };
    if let Some(channels) = followed_by_channel(model, step, source, tensor) {
        return taken(source, &channels, from[0], name);
    }
    let found = follow(model, source, from, tensor)?;
    if let Some(channels) = channels(&found, from, to) {
        return taken(source, &channels, from[0], name);
    }
    if is_focus(&found, from, to) {
        return Ok(Plan::one(Op::SpaceToDepth, name, source));
    }
    match repeated(&found, from, to) {
        Some(factor) => Ok(Plan::one(Op::Upsample { factor }, name, source)),
        None => Err(unsupported(format!(
            "a rearrangement of {from:?} to {to:?} that is neither channels, Focus nor repetition"
        ))),
    }
}

/// The channels that a split or slice along channels alone takes: it does to one pixel what it does to all.
fn followed_by_channel(
    model: &Inferred,
    step: &Step,
    source: TensorId,
    tensor: TensorId,
) -> Option<Vec<usize>> {
    let (from, to) = (model.map_shape(source)?, model.map_shape(tensor)?);
    let direct = step.inputs.first().copied().flatten() == Some(source);
    if !direct || !matches!(step.node.op, "Split" | "Slice") || from[1..] != to[1..] {
        return None;
    }
    let pixel = Value::ints(vec![1, from[0], 1, 1], (0..i64::try_from(from[0]).ok()?).collect());
    let found = model.probe(&HashMap::from([(source, pixel)]), &[tensor]).ok()?;
    found[0].as_ints()?.iter().map(|&channel| usize::try_from(channel).ok()).collect()
}

/// The index in `source` of every element of `tensor`.
fn follow(model: &Inferred, source: TensorId, from: [usize; 3], tensor: TensorId) -> Outcome<Vec<usize>> {
    let count: usize = from.iter().product();
    if count > MAX_FOLLOWED {
        return Err(unsupported(format!("a rearrangement of {from:?}, which is too large to follow")));
    }
    let last = i64::try_from(count).unwrap_or(i64::MAX);
    let seed = Value::ints([&[1], &from[..]].concat(), (0..last).collect());
    let found = model.probe(&HashMap::from([(source, seed)]), &[tensor]).map_err(fault_of)?;
    let indices = found[0].as_ints().unwrap_or_default().iter().map(|&index| usize::try_from(index).ok());
    indices.collect::<Option<_>>().ok_or_else(|| unsupported("a rearrangement that computes"))
}

/// The channels taken, where each is taken whole.
fn channels(found: &[usize], from: [usize; 3], to: [usize; 3]) -> Option<Vec<usize>> {
    let cells = to[1] * to[2];
    if from[1..] != to[1..] || cells == 0 {
        return None;
    }
    let whole = |plane: &[usize]| {
        let channel = plane[0] / cells;
        plane.iter().enumerate().all(|(cell, &index)| index == channel * cells + cell).then_some(channel)
    };
    found.chunks_exact(cells).map(whole).collect()
}

fn is_focus(found: &[usize], [channels, height, width]: [usize; 3], to: [usize; 3]) -> bool {
    let halves = [4 * channels, height / 2, width / 2];
    let index = |at: usize| {
        let (channel, y, x) = (at / (to[1] * to[2]), at / to[2] % to[1], at % to[2]);
        let part = channel / channels;
        (channel % channels * height + 2 * y + part % 2) * width + 2 * x + part / 2
    };
    to == halves
        && [height, width].iter().all(|side| side.is_multiple_of(2))
        && found.iter().enumerate().all(|(at, &found)| found == index(at))
}

/// How often every pixel is repeated along both axes.
fn repeated(found: &[usize], from: [usize; 3], to: [usize; 3]) -> Option<usize> {
    let factor = to[1].checked_div(from[1])?;
    let index = |at: usize| {
        let (channel, y, x) = (at / (to[1] * to[2]), at / to[2] % to[1], at % to[2]);
        (channel * from[1] + y / factor) * from[2] + x / factor
    };
    let fits = factor > 0 && to == [from[0], from[1] * factor, from[2] * factor];
    (fits && found.iter().enumerate().all(|(at, &found)| found == index(at))).then_some(factor)
}

/// Runs of channels, joined where there are several.
fn taken(source: TensorId, channels: &[usize], available: usize, name: String) -> Outcome<Plan> {
    let runs: Vec<&[usize]> = channels.chunk_by(|a, b| a + 1 == *b).collect();
    if !(1..=MAX_RUNS).contains(&runs.len()) {
        return Err(unsupported(format!("channels put together from {} places", runs.len())));
    }
    if let [run] = runs[..]
        && run.len() == available
    {
        return Ok(Plan::Same(source));
    }
    let slice = |name: String, run: &[usize]| Piece {
        op: Op::Slice { start: run[0], len: run.len() },
        name,
        inputs: vec![From::Tensor(source)],
        weights: Vec::new(),
    };
    if let [run] = runs[..] {
        return Ok(Plan::Pieces(vec![slice(name, run)]));
    }
    let mut pieces: Vec<Piece> =
        runs.iter().enumerate().map(|(at, run)| slice(format!("{name}.part{at}"), run)).collect();
    let inputs = (0..pieces.len()).map(From::Piece).collect();
    pieces.push(Piece { op: Op::Concat, name, inputs, weights: Vec::new() });
    Ok(Plan::Pieces(pieces))
}

/// What a probe within a plan found wrong; the node is named by whoever plans.
pub(super) fn fault_of(error: Error) -> Fault {
    match error {
        Error::Model(fault) => fault,
        other => unsupported(other.to_string()),
    }
}
