//! Operators whose results come from attributes, shapes or types rather than from arithmetic: constants, ranges, casts.

use super::{Call, Outcome};
use crate::import::onnx::fault::{broken, unsupported};
use crate::import::onnx::proto::{Attr, data_type};
use crate::import::onnx::tensor::{Data, Value, elements};

pub(super) fn constant(call: &mut Call) -> Outcome<Value> {
    for attribute in &call.node.attributes {
        let count = |values: usize| vec![values];
        return match (attribute.name, &attribute.value) {
            ("value", Attr::Tensor(tensor)) => Value::read(tensor),
            ("value_int", &Attr::Int(value)) => Ok(Value::ints(vec![], vec![value])),
            ("value_ints", Attr::Ints(values)) => Ok(Value::ints(count(values.len()), values.clone())),
            ("value_float", &Attr::Float(value)) => Ok(Value::floats(vec![], vec![value])),
            ("value_floats", Attr::Floats(values)) => Ok(Value::floats(count(values.len()), values.clone())),
            _ => continue,
        };
    }
    Err(unsupported("a constant without numbers"))
}

pub(super) fn constant_of_shape(call: &mut Call) -> Outcome<Value> {
    let shape = sides(call.ints(0)?)?;
    call.work.claim(&shape)?;
    let count = shape.iter().product();
    let fill = match call.node.attribute("value") {
        Some(Attr::Tensor(tensor)) => Some(Value::read(tensor)?),
        _ => None,
    };
    match fill.as_ref().map(|fill| &fill.data) {
        None => Ok(Value::floats(shape, vec![0.0; count])),
        Some(Data::Floats(fill)) if fill.len() == 1 => Ok(Value::floats(shape, vec![fill[0]; count])),
        Some(Data::Ints(fill)) if fill.len() == 1 => Ok(Value::ints(shape, vec![fill[0]; count])),
        Some(_) => Err(broken("a fill value that is not one number")),
    }
}

pub(super) fn range(call: &mut Call) -> Outcome<Value> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    if let [Some(&[start]), Some(&[limit]), Some(&[step])] = inputs.map(Value::as_ints) {
        let span = i128::from(limit) - i128::from(start);
        let count = if step == 0 {
            -1
        } else {
            (span + i128::from(step) - i128::from(step.signum())) / i128::from(step)
        };
        let count = usize::try_from(count.max(0)).ok().filter(|_| step != 0);
        let count = count.ok_or_else(|| broken(format!("a range from {start} to {limit} by {step}")))?;
        call.work.claim(&[count])?;
        let values = std::iter::successors(Some(start), |value| value.checked_add(step)).take(count);
        return Ok(Value::ints(vec![count], values.collect()));
    }
    if let [Some(&[start]), Some(&[limit]), Some(&[step])] = inputs.map(Value::as_floats) {
        let count = ((f64::from(limit) - f64::from(start)) / f64::from(step)).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates; the count is claimed"
        )]
        let count = if count.is_nan() { usize::MAX } else { count.max(0.0) as usize };
        call.work.claim(&[count])?;
        #[expect(clippy::cast_precision_loss, reason = "ranges over grids are short")]
        let values = (0..count).map(|index| start + index as f32 * step).collect();
        return Ok(Value::floats(vec![count], values));
    }
    Err(unsupported("a range that depends on the image"))
}

pub(super) fn shape(call: &mut Call) -> Outcome<Value> {
    let shape = &call.input(0)?.shape;
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let bound = |name: &str, default: i64| {
        let value = call.node.int(name).unwrap_or(default);
        let value = if value < 0 { value.saturating_add(rank) } else { value };
        usize::try_from(value.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let sides: Vec<i64> = shape
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .map(|&side| i64::try_from(side).unwrap_or(i64::MAX))
        .collect();
    Ok(Value::ints(vec![sides.len()], sides))
}

/// Types of one kind are one type here: only floats and integers are told apart.
pub(super) fn cast(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let target = call.node.int("to").and_then(|to| i32::try_from(to).ok()).unwrap_or(0);
    let to_float = data_type::FLOATS.contains(&target);
    let to_int = matches!(target, data_type::BOOL | data_type::INT32 | data_type::INT64);
    match &value.data {
        _ if !to_float && !to_int => Err(unsupported(format!("a cast to ONNX's data type {target}"))),
        Data::Ints(data) if to_float => {
            call.work.claim(&value.shape)?;
            #[expect(clippy::cast_precision_loss, reason = "what a cast to float does")]
            let data = data.iter().map(|&value| value as f32).collect();
            Ok(Value::floats(value.shape.clone(), data))
        }
        Data::Floats(data) if to_int => {
            call.work.claim(&value.shape)?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "`as` truncates and saturates, as a cast should"
            )]
            let data = data.iter().map(|&value| value as i64).collect();
            Ok(Value::ints(value.shape.clone(), data))
        }
        Data::Ints(data) if target == data_type::BOOL => {
            call.work.claim(&value.shape)?;
            Ok(Value::ints(value.shape.clone(), data.iter().map(|&value| i64::from(value != 0)).collect()))
        }
        _ => Ok(value.clone()),
    }
}

/// Integers as the sides of a shape.
pub(super) fn sides(ints: &[i64]) -> Outcome<Vec<usize>> {
    let shape: Option<Vec<usize>> = ints.iter().map(|&side| usize::try_from(side).ok()).collect();
    shape
        .filter(|shape| elements(shape).is_some())
        .ok_or_else(|| broken(format!("a shape of {:?}", &ints[..ints.len().min(8)])))
}
