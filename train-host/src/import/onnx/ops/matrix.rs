//! Matrix products and softmax, for the parts of a model that have to be understood with numbers: attention and the
//! expectation over bins.

use super::{Call, Outcome};
use crate::import::onnx::fault::{broken, unsupported};
use crate::import::onnx::tensor::{Value, elements};

/// `MatMul` of matrices, or of stacks of them with equal leading axes.
pub(super) fn product(call: &mut Call) -> Outcome<Value> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (stack, shape, [rows, inner, columns]) = product_shape(&a.shape, &b.shape)
        .ok_or_else(|| broken(format!("a product of {:?} and {:?}", a.shape, b.shape)))?;
    if !(a.is_known() && b.is_known()) {
        return Ok(Value::unknown(shape));
    }
    let (Some(left), Some(right)) = (a.as_floats(), b.as_floats()) else {
        return Err(broken("a product of integer matrices"));
    };
    call.work.claim(&shape)?;
    let products =
        [rows, inner, columns].iter().try_fold(stack as u64, |all, &side| all.checked_mul(side as u64));
    call.work.claim_steps(products.unwrap_or(u64::MAX))?;
    let mut data = vec![0.0; stack * rows * columns];
    for matrix in 0..stack {
        let (left, right) = (&left[matrix * rows * inner..], &right[matrix * inner * columns..]);
        for (row, sums) in
            data[matrix * rows * columns..][..rows * columns].chunks_exact_mut(columns.max(1)).enumerate()
        {
            for (at, &factor) in left[row * inner..][..inner].iter().enumerate() {
                let values = &right[at * columns..][..columns];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
            }
        }
    }
    Ok(Value::floats(shape, data))
}

/// Number of matrices, shape of the result, and `[rows, inner, columns]` of each product.
fn product_shape(a: &[usize], b: &[usize]) -> Option<(usize, Vec<usize>, [usize; 3])> {
    let ([stack @ .., rows, inner], [other @ .., depth, columns]) = (a, b) else { return None };
    if stack != other || inner != depth {
        return None;
    }
    let shape = [stack, &[*rows, *columns]].concat();
    elements(&shape)?;
    Some((stack.iter().product(), shape, [*rows, *inner, *columns]))
}

/// Softmax along an axis; before opset 13 over all axes from it on.
pub(super) fn softmax(call: &mut Call) -> Outcome<Value> {
    let value = call.input(0)?;
    let shape = value.shape.clone();
    let joint = call.opset < 13;
    let axis = call.axis(shape.len(), if joint { 1 } else { -1 })?;
    let Some(data) = value.as_floats() else {
        return if value.is_known() {
            Err(broken("a softmax of integers"))
        } else {
            Ok(Value::unknown(shape))
        };
    };
    if joint && axis + 1 != shape.len() {
        return Err(unsupported("a softmax over several axes, as before opset 13"));
    }
    call.work.claim(&shape)?;
    let (side, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let mut result = data.to_vec();
    for block in result.chunks_exact_mut((side * inner).max(1)) {
        for lane in 0..inner {
            let at = |index: usize| index * inner + lane;
            let highest = (0..side).map(|index| block[at(index)]).fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = (0..side).map(|index| (block[at(index)] - highest).exp()).sum();
            (0..side).for_each(|index| block[at(index)] = (block[at(index)] - highest).exp() / sum);
        }
    }
    Ok(Value::floats(shape, result))
}
