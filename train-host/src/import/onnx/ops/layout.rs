//! Operators that rearrange elements and change none: reshapes, transposes, slices, splits, joins.

use std::sync::Arc;

use super::sources::sides;
use super::view::{View, common_shape};
use super::{Call, Outcome, axis};
use crate::import::onnx::fault::{broken, unsupported};
use crate::import::onnx::tensor::{Data, MAX_AXES, Value, elements};

pub(super) fn reshape(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let asked = call.ints(1)?;
    let keep_zeros = call.node.int("allowzero") == Some(1);
    let mut shape = Vec::with_capacity(asked.len());
    let mut open = None;
    for (at, &side) in asked.iter().enumerate() {
        shape.push(match side {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 if !keep_zeros => *value.shape.get(at).ok_or_else(|| misfit(value, asked))?,
            side => usize::try_from(side).map_err(|_| misfit(value, asked))?,
        });
    }
    let count: usize = value.shape.iter().product();
    if let Some(open) = open {
        let rest = elements(&shape).filter(|&rest| rest > 0);
        shape[open] = count.checked_div(rest.ok_or_else(|| misfit(value, asked))?).unwrap_or(0);
    }
    with_shape(value, shape).ok_or_else(|| misfit(value, asked))
}

fn misfit(value: &Value, asked: &[i64]) -> artifact::Fault {
    broken(format!("a reshape of {:?} to {:?}", value.shape, &asked[..asked.len().min(8)]))
}

/// The same elements in another shape; none when it holds not as many.
fn with_shape(value: &Value, shape: Vec<usize>) -> Option<Value> {
    let fits = elements(&shape) == Some(value.shape.iter().product());
    fits.then(|| Value { shape, data: value.data.clone() })
}

pub(super) fn flatten(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let rank = value.shape.len();
    // Unlike other axes this one may be the rank itself.
    let split = match call.node.int("axis").unwrap_or(1) {
        at if usize::try_from(at) == Ok(rank) => rank,
        at => axis(at, rank)?,
    };
    let (rows, columns) = value.shape.split_at(split);
    let shape = vec![rows.iter().product(), columns.iter().product()];
    with_shape(value, shape).ok_or_else(|| broken("a flattened shape beyond any model"))
}

pub(super) fn squeeze(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let rank = value.shape.len();
    let dropped = match call.ints_or_attribute(1, "axes")? {
        Some(axes) => axes.into_iter().map(|at| axis(at, rank)).collect::<Outcome<Vec<_>>>()?,
        None => (0..rank).filter(|&at| value.shape[at] == 1).collect(),
    };
    if let Some(&at) = dropped.iter().find(|&&at| value.shape[at] != 1) {
        return Err(broken(format!("a squeeze of axis {at} of {:?}", value.shape)));
    }
    let kept = (0..rank).filter(|at| !dropped.contains(at)).map(|at| value.shape[at]).collect();
    Ok(Value { shape: kept, data: value.data.clone() })
}

pub(super) fn unsqueeze(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let axes = call.ints_or_attribute(1, "axes")?.ok_or_else(|| broken("no axes to add"))?;
    let rank = value.shape.len() + axes.len();
    if rank > MAX_AXES {
        return Err(broken(format!("{rank} axes, at most {MAX_AXES} are read")));
    }
    let added = axes.into_iter().map(|at| axis(at, rank)).collect::<Outcome<Vec<_>>>()?;
    if has_twice(&added) {
        return Err(broken(format!("an axis added twice: {added:?}")));
    }
    let mut sides = value.shape.iter();
    let shape = (0..rank).filter_map(|at| if added.contains(&at) { Some(1) } else { sides.next().copied() });
    Ok(Value { shape: shape.collect(), data: value.data.clone() })
}

fn has_twice(axes: &[usize]) -> bool {
    (1..axes.len()).any(|at| axes[..at].contains(&axes[at]))
}

pub(super) fn transpose(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let rank = value.shape.len();
    let order: Vec<usize> = match call.node.ints("perm") {
        Some(order) => order.iter().map(|&at| axis(at, rank)).collect::<Outcome<_>>()?,
        None => (0..rank).rev().collect(),
    };
    if order.len() != rank || (0..rank).any(|at| !order.contains(&at)) {
        return Err(broken(format!("a transpose of {rank} axes to {order:?}")));
    }
    let source = View::of(&value.shape);
    let view = View {
        shape: order.iter().map(|&at| source.shape[at]).collect(),
        strides: order.iter().map(|&at| source.strides[at]).collect(),
        start: 0,
    };
    seen(call, value, &view)
}

pub(super) fn slice(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let rank = value.shape.len();
    let (starts, ends) = (call.ints(1)?, call.ints(2)?);
    let axes = match call.optional(3) {
        Some(_) => call.ints(3)?.iter().map(|&at| axis(at, rank)).collect::<Outcome<Vec<_>>>()?,
        None => (0..starts.len()).collect(),
    };
    let steps = if call.optional(4).is_some() { call.ints(4)?.to_vec() } else { vec![1; starts.len()] };
    let lengths = [ends.len(), axes.len(), steps.len()];
    let sound = lengths == [starts.len(); 3] && axes.len() <= rank && axes.iter().all(|&at| at < rank);
    if !sound || has_twice(&axes) || steps.contains(&0) {
        return Err(broken(format!("a slice of {:?} along {} axes", value.shape, axes.len())));
    }
    let mut view = View::of(&value.shape);
    for (at, axis) in axes.into_iter().enumerate() {
        let (start, count) = taken(value.shape[axis], starts[at], ends[at], steps[at]);
        let stride = view.strides[axis];
        view.start = view.start.wrapping_add_signed(stride.wrapping_mul(start.cast_signed()));
        view.shape[axis] = count;
        // An axis of one element has a step that leads nowhere and may be as long as it likes.
        view.strides[axis] = stride.wrapping_mul(isize::try_from(steps[at]).unwrap_or(isize::MAX));
    }
    seen(call, value, &view)
}

/// Index of the first element that a slice takes of `side`, and how many, as NumPy counts.
fn taken(side: usize, start: i64, end: i64, step: i64) -> (usize, usize) {
    let side = i64::try_from(side).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(side) } else { at };
    let (first, span) = if step > 0 {
        let first = from_end(start).clamp(0, side);
        (first, from_end(end).clamp(0, side) - first)
    } else {
        let first = from_end(start).clamp(-1, side - 1);
        (first, first - from_end(end).clamp(-1, side - 1))
    };
    let step = step.unsigned_abs();
    let count = u64::try_from(span).unwrap_or(0).div_ceil(step);
    let count = usize::try_from(count).unwrap_or(0);
    (if count == 0 { 0 } else { usize::try_from(first).unwrap_or(0) }, count)
}

pub(super) fn split(call: &mut Call) -> Outcome<Vec<Value>> {
    let value = call.input(0)?;
    let axis = call.axis(value.shape.len(), 0)?;
    let side = value.shape[axis];
    let lengths: Vec<usize> = match call.ints_or_attribute(1, "split")? {
        Some(lengths) => lengths
            .iter()
            .map(|&length| usize::try_from(length).ok().filter(|&length| length <= side))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                broken(format!("a split of {side} into {:?}", &lengths[..lengths.len().min(8)]))
            })?,
        None => {
            let parts = call.node.outputs.len();
            let whole = side.div_ceil(parts.max(1));
            (0..parts).map(|part| whole.min(side.saturating_sub(part * whole))).collect()
        }
    };
    if lengths.len() != call.node.outputs.len() || lengths.iter().sum::<usize>() != side {
        return Err(broken(format!("a split of {side} into {} parts", call.node.outputs.len())));
    }
    let mut parts = Vec::with_capacity(lengths.len());
    let mut view = View::of(&value.shape);
    for length in lengths {
        view.shape[axis] = length;
        parts.push(seen(call, value, &view)?);
        view.start = view.start.wrapping_add_signed(view.strides[axis].wrapping_mul(length.cast_signed()));
    }
    Ok(parts)
}

pub(super) fn expand(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let asked = sides(call.ints(1)?)?;
    let view = common_shape(&value.shape, &asked).and_then(|shape| View::broadcast(&value.shape, &shape));
    let view = view.ok_or_else(|| broken(format!("{:?} expanded to {asked:?}", value.shape)))?;
    seen(call, value, &view)
}

pub(super) fn gather(call: &mut Call) -> Outcome<Value> {
    let (value, index) = (call.input(0)?, call.input(1)?);
    let axis = call.axis(value.shape.len(), 0)?;
    let side = value.shape[axis];
    let chosen: Vec<usize> = call.ints(1)?.iter().map(|&at| super::axis(at, side)).collect::<Outcome<_>>()?;
    let (before, rest) = value.shape.split_at(axis);
    let shape = [before, &index.shape, &rest[1..]].concat();
    call.work.claim(&shape)?;
    let inner: usize = rest[1..].iter().product();
    let rows: usize = before.iter().product();
    let from = move |row: usize, at: usize| (row * side + at) * inner..(row * side + at + 1) * inner;
    let places = || (0..rows).flat_map(|row| chosen.iter().map(move |&at| from(row, at)));
    let data = match &value.data {
        Data::Unknown => Data::Unknown,
        Data::Floats(data) => {
            Data::Floats(Arc::new(places().flat_map(|place| data[place].to_vec()).collect()))
        }
        Data::Ints(data) => Data::Ints(Arc::new(places().flat_map(|place| data[place].to_vec()).collect())),
    };
    Ok(Value { shape, data })
}

pub(super) fn concat(call: &mut Call) -> Outcome<Value> {
    let parts = (0..call.inputs.len()).map(|place| call.input(place)).collect::<Outcome<Vec<_>>>()?;
    let [first, ..] = parts[..] else { return Err(broken("a concatenation of nothing")) };
    let axis = call.axis(first.shape.len(), 1)?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for part in &parts {
        let fits = part.shape.len() == shape.len()
            && (0..shape.len()).all(|at| at == axis || part.shape[at] == shape[at]);
        if !fits {
            return Err(broken(format!("{:?} beside {:?} along axis {axis}", first.shape, part.shape)));
        }
        shape[axis] = shape[axis].saturating_add(part.shape[axis]);
    }
    if parts.iter().any(|part| !part.is_known()) {
        elements(&shape).ok_or_else(|| unsupported("a tensor beyond any detector"))?;
        return Ok(Value::unknown(shape));
    }
    call.work.claim(&shape)?;
    let rows: usize = shape[..axis].iter().product();
    let run = |part: &Value| part.shape[axis..].iter().product::<usize>();
    if let Some(data) = parts.iter().map(|part| part.as_floats()).collect::<Option<Vec<_>>>() {
        return Ok(Value::floats(shape, joined(&parts, &data, rows, run)));
    }
    let data = parts.iter().map(|part| part.as_ints()).collect::<Option<Vec<_>>>();
    let data = data.ok_or_else(|| broken("integers and floats side by side"))?;
    Ok(Value::ints(shape, joined(&parts, &data, rows, run)))
}

fn joined<T: Copy>(parts: &[&Value], data: &[&[T]], rows: usize, run: impl Fn(&Value) -> usize) -> Vec<T> {
    let row = |row: usize| {
        parts.iter().zip(data).flat_map({
            let run = &run;
            move |(part, data)| data[row * run(part)..(row + 1) * run(part)].iter().copied()
        })
    };
    (0..rows).flat_map(row).collect()
}

fn seen(call: &mut Call, value: &Value, view: &View) -> Outcome<Value> {
    if value.is_known() {
        call.work.claim(&view.shape)?;
    } else {
        elements(&view.shape).ok_or_else(|| unsupported("a tensor beyond any detector"))?;
    }
    Ok(view.copy_value(value))
}
