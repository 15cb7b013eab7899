//! Recognizes YOLO11's attention by what it computes: the nodes between two maps are run on numbers and have to give what
//! [`Attention`] defines.

use std::collections::HashMap;

use super::super::fault::unsupported;
use super::super::inferred::Inferred;
use super::super::net::TensorId;
use super::super::tensor::Value;
use super::channels::fault_of;
use super::cone::Cone;
use super::{Outcome, Plan};
use crate::model::{Attention, Op};

/// Largest difference of a result and the definition, as a fraction of the largest result: a scale rounded to 16 bits alone
/// makes 2e-4.
const TOLERANCE: f32 = 1e-3;
/// How many positions are compared; every one depends on all others.
const COMPARED: usize = 16;

pub(super) fn plan(
    model: &Inferred,
    cone: &Cone,
    source: TensorId,
    tensor: TensorId,
    name: String,
) -> Outcome<Plan> {
    let other = || unsupported("matrix products that are not the attention of YOLO11's C2PSA");
    let from = model.map_shape(source).ok_or_else(other)?;
    let to = model.map_shape(tensor).ok_or_else(other)?;
    let attention = read(model, cone, from, to).ok_or_else(other)?;
    let seed = seed(from);
    let shape = [&[1], &from[..]].concat();
    let seeds = HashMap::from([(source, Value::floats(shape, seed.clone()))]);
    let found = model.probe(&seeds, &[tensor]).map_err(fault_of)?;
    let found = found[0].as_floats().ok_or_else(other)?;
    if !computes(&attention, from[1] * from[2], &seed, found) {
        return Err(other());
    }
    Ok(Plan::one(Op::Attention(attention), name, source))
}

/// Heads and channels, from the shapes of the maps and of the scores `[…, positions, positions]`.
fn read(model: &Inferred, cone: &Cone, from: [usize; 3], to: [usize; 3]) -> Option<Attention> {
    let positions = from[1] * from[2];
    let [heads @ .., rows, columns] = &model.value(cone.weights?)?.shape[..] else { return None };
    let heads: usize = heads.iter().product();
    let keys = from[0].checked_sub(to[0])?;
    let divides = positions > 0
        && heads > 0
        && keys > 0
        && keys.is_multiple_of(2 * heads)
        && to[0].is_multiple_of(heads);
    let fits = [*rows, *columns] == [positions; 2] && from[1..] == to[1..] && divides;
    fits.then(|| Attention { heads, key_dim: keys / (2 * heads), head_dim: to[0] / heads })
}

/// Numbers of both signs without a pattern, small enough that the softmax does not saturate.
fn seed(shape: [usize; 3]) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "a seed needs no exact phase")]
    let wave = |index: usize| (index as f32 * 0.754_877_7).fract() * 2.0 - 1.0;
    (0..shape.iter().product()).map(wave).collect()
}

/// Whether `found` is the attention of `input`.
fn computes(attention: &Attention, positions: usize, input: &[f32], found: &[f32]) -> bool {
    let Attention { heads, key_dim, head_dim } = *attention;
    let compared = (0..COMPARED).map(|part| part * positions / COMPARED);
    let (mut difference, mut largest) = (0.0_f32, 0.0_f32);
    for (head, position) in (0..heads).flat_map(|head| compared.clone().map(move |position| (head, position)))
    {
        let first = head * (2 * key_dim + head_dim);
        let at = |channel: usize, position: usize| input[(first + channel) * positions + position];
        #[expect(clippy::cast_precision_loss, reason = "channels are few")]
        let scale = 1.0 / (key_dim as f32).sqrt();
        let score = |other: usize| -> f32 {
            (0..key_dim).map(|key| at(key, position) * at(key_dim + key, other)).sum::<f32>() * scale
        };
        let weights: Vec<f32> = (0..positions).map(|other| score(other).exp()).collect();
        let sum: f32 = weights.iter().sum();
        for channel in 0..head_dim {
            let value = |other: usize| at(2 * key_dim + channel, other);
            let expected = (0..positions).map(|other| weights[other] * value(other)).sum::<f32>() / sum;
            let found = found[(head * head_dim + channel) * positions + position];
            difference = difference.max((found - expected).abs());
            largest = largest.max(expected.abs());
        }
    }
    difference <= TOLERANCE * largest
}
