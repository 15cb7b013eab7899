//! Element-wise arithmetic with NumPy's broadcasting, in f32 or, on shapes and indices, in i64.

use std::sync::Arc;

use super::view::{View, common_shape};
use super::{Call, Outcome};
use crate::import::onnx::fault::{broken, unsupported};
use crate::import::onnx::tensor::{Data, Value, elements};

/// An operator of two numbers, or of more from left to right.
pub(super) fn fold(call: &mut Call) -> Outcome<Value> {
    let mut result = call.input(0)?.clone();
    for place in 1..call.inputs.len() {
        result = pair(call, &result, call.input(place)?)?;
    }
    Ok(result)
}

fn pair(call: &mut Call, a: &Value, b: &Value) -> Outcome<Value> {
    let shape = shared_shape(&[a, b])?;
    if !(a.is_known() && b.is_known()) {
        return Ok(Value::unknown(shape));
    }
    call.work.claim(&shape)?;
    let op = call.node.op;
    if let (Some(left), Some(right)) = (a.as_floats(), b.as_floats()) {
        let (left, right) = (spread(a, left, &shape)?, spread(b, right, &shape)?);
        let pairs = left.iter().zip(&right);
        return Ok(match op {
            "Equal" => Value::ints(shape, pairs.map(|(a, b)| i64::from(a == b)).collect()),
            "Greater" => Value::ints(shape, pairs.map(|(a, b)| i64::from(a > b)).collect()),
            "Less" => Value::ints(shape, pairs.map(|(a, b)| i64::from(a < b)).collect()),
            _ => Value::floats(shape, pairs.map(|(&a, &b)| float(op, a, b)).collect()),
        });
    }
    if let (Some(left), Some(right)) = (a.as_ints(), b.as_ints()) {
        let (left, right) = (spread(a, left, &shape)?, spread(b, right, &shape)?);
        let data: Option<Vec<i64>> = left.iter().zip(&right).map(|(&a, &b)| int(op, a, b)).collect();
        return Ok(Value::ints(shape, data.ok_or_else(|| broken("integers that overflow"))?));
    }
    // The exponent of a power may be of another type than its base.
    if let (Some(left), Some(right), "Pow") = (a.as_floats(), b.as_ints(), op) {
        let (left, right) = (spread(a, left, &shape)?, spread(b, right, &shape)?);
        #[expect(clippy::cast_precision_loss, reason = "exponents are small")]
        let data = left.iter().zip(&right).map(|(&a, &b)| a.powf(b as f32)).collect();
        return Ok(Value::floats(shape, data));
    }
    Err(broken("integers and floats in one operation"))
}

fn float(op: &str, a: f32, b: f32) -> f32 {
    match op {
        "Sub" => a - b,
        "Mul" => a * b,
        "Div" => a / b,
        "Pow" if b == 2.0 => a * a,
        "Pow" => a.powf(b),
        "Min" => a.min(b),
        "Max" => a.max(b),
        _ => a + b,
    }
}

fn int(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some(i64::from(a == b)),
        "Greater" => Some(i64::from(a > b)),
        "Less" => Some(i64::from(a < b)),
        _ => a.checked_add(b),
    }
}

/// `Where`: the second input where the first is true, else the third.
pub(super) fn choose(call: &mut Call) -> Outcome<Value> {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let [condition, yes, no] = inputs;
    let shape = shared_shape(&inputs)?;
    if inputs.iter().any(|input| !input.is_known()) {
        return Ok(Value::unknown(shape));
    }
    call.work.claim(&shape)?;
    let flags = condition.as_ints().ok_or_else(|| broken("a condition that is no truth value"))?;
    let flags = spread(condition, flags, &shape)?;
    match (&yes.data, &no.data) {
        (Data::Floats(a), Data::Floats(b)) => {
            let (a, b) = (spread(yes, a, &shape)?, spread(no, b, &shape)?);
            Ok(Value::floats(shape, selected(&flags, &a, &b)))
        }
        (Data::Ints(a), Data::Ints(b)) => {
            let (a, b) = (spread(yes, a, &shape)?, spread(no, b, &shape)?);
            Ok(Value::ints(shape, selected(&flags, &a, &b)))
        }
        _ => Err(broken("a choice between integers and floats")),
    }
}

fn selected<T: Copy>(flags: &[i64], yes: &[T], no: &[T]) -> Vec<T> {
    flags
        .iter()
        .zip(yes.iter().zip(no))
        .map(|(&flag, (&yes, &no))| if flag == 0 { no } else { yes })
        .collect()
}

/// An operator of one number. Activations of an image only have to keep its shape here.
pub(super) fn each(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let shape = value.shape.clone();
    let op = call.node.op;
    let f = match op {
        "Sigmoid" => |x: f32| 1.0 / (1.0 + (-x).exp()),
        "Relu" => |x: f32| x.max(0.0),
        "Tanh" => f32::tanh,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Sqrt" => f32::sqrt,
        "Neg" => |x: f32| -x,
        "Abs" => f32::abs,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Reciprocal" => f32::recip,
        _ if !value.is_known() => return Ok(Value::unknown(shape)),
        _ => return Err(unsupported("it is applied where no activation is expected")),
    };
    match &value.data {
        Data::Unknown => Ok(Value::unknown(shape)),
        Data::Floats(data) => {
            call.work.claim(&shape)?;
            Ok(Value::floats(shape, data.iter().map(|&x| f(x)).collect()))
        }
        Data::Ints(data) => {
            call.work.claim(&shape)?;
            let data: Option<Vec<i64>> = data
                .iter()
                .map(|&x| match op {
                    "Neg" => x.checked_neg(),
                    "Abs" => x.checked_abs(),
                    "Floor" | "Ceil" | "Round" => Some(x),
                    _ => None,
                })
                .collect();
            data.map(|data| Value { shape, data: Data::Ints(Arc::new(data)) })
                .ok_or_else(|| broken("a function of floats over integers"))
        }
    }
}

fn shared_shape(values: &[&Value]) -> Outcome<Vec<usize>> {
    let mut shape = Vec::new();
    for value in values {
        shape = common_shape(&shape, &value.shape).filter(|shape| elements(shape).is_some()).ok_or_else(
            || {
                broken(format!(
                    "shapes that do not go together: {:?}",
                    values.iter().map(|v| &v.shape).collect::<Vec<_>>()
                ))
            },
        )?;
    }
    Ok(shape)
}

fn spread<T: Copy>(value: &Value, data: &[T], shape: &[usize]) -> Outcome<Vec<T>> {
    let view =
        View::broadcast(&value.shape, shape).ok_or_else(|| broken("shapes that do not go together"))?;
    Ok(view.copy(data))
}
