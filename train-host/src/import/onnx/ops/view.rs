//! Strided views over row-major elements, from which transposes, slices and broadcasts are copied. Indices are in range
//! by construction: whoever makes a view has checked its shape.

use crate::import::onnx::tensor::{Data, Value};
use std::sync::Arc;

/// Where each element of a result lies among those of its source.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub shape: Vec<usize>,
    /// Distance in memory of neighbors along each axis.
    pub strides: Vec<isize>,
    /// Index of the first element.
    pub start: usize,
}

impl View {
    /// All elements of a tensor in their order.
    pub fn of(shape: &[usize]) -> Self {
        let mut strides = vec![0_isize; shape.len()];
        let mut step = 1_usize;
        for (stride, &side) in strides.iter_mut().zip(shape).rev() {
            *stride = step.cast_signed();
            step = step.saturating_mul(side);
        }
        Self { shape: shape.to_vec(), strides, start: 0 }
    }

    /// The elements of a tensor of `shape` repeated to fill `target`; none when they cannot.
    pub fn broadcast(shape: &[usize], target: &[usize]) -> Option<Self> {
        let missing = target.len().checked_sub(shape.len())?;
        let source = Self::of(shape);
        let mut strides = vec![0; target.len()];
        for (axis, (&side, &stride)) in shape.iter().zip(&source.strides).enumerate() {
            let wanted = target[missing + axis];
            if side != wanted && side != 1 {
                return None;
            }
            strides[missing + axis] = if side == 1 { 0 } else { stride };
        }
        Some(Self { shape: target.to_vec(), strides, start: 0 })
    }

    /// The elements seen, in order.
    pub fn copy<T: Copy>(&self, data: &[T]) -> Vec<T> {
        let count: usize = self.shape.iter().product();
        let mut copied = Vec::with_capacity(count);
        if count == 0 {
            return copied;
        }
        let Some((&inner, outer)) = self.shape.split_last() else {
            return vec![data[self.start]];
        };
        let inner_stride = self.strides[outer.len()];
        let mut at = vec![0_usize; outer.len()];
        let mut row = self.start;
        loop {
            let mut index = row;
            for _ in 0..inner {
                copied.push(data[index]);
                index = index.wrapping_add_signed(inner_stride);
            }
            let advanced = (0..outer.len()).rev().any(|axis| {
                at[axis] += 1;
                row = row.wrapping_add_signed(self.strides[axis]);
                if at[axis] == outer[axis] {
                    let back = self.strides[axis].wrapping_mul(at[axis].cast_signed());
                    row = row.wrapping_add_signed(back.wrapping_neg());
                    at[axis] = 0;
                }
                at[axis] > 0
            });
            if !advanced {
                return copied;
            }
        }
    }

    /// The elements of `value` seen.
    pub fn copy_value(&self, value: &Value) -> Value {
        let data = match &value.data {
            Data::Unknown => Data::Unknown,
            Data::Floats(data) => Data::Floats(Arc::new(self.copy(data))),
            Data::Ints(data) => Data::Ints(Arc::new(self.copy(data))),
        };
        Value { shape: self.shape.clone(), data }
    }
}

/// The shape to which both can be broadcast.
pub(super) fn common_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let side =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (side(a, axis), side(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_see_what_they_say() {
        let data: Vec<u8> = (0..6).collect();
        let whole = View::of(&[2, 3]);
        assert_eq!(whole.copy(&data), data);
        let transposed = View { shape: vec![3, 2], strides: vec![1, 3], start: 0 };
        assert_eq!(transposed.copy(&data), [0, 3, 1, 4, 2, 5]);
        let backwards = View { shape: vec![2, 2], strides: vec![-3, -2], start: 5 };
        assert_eq!(backwards.copy(&data), [5, 3, 2, 0]);
        assert_eq!(View::broadcast(&[2, 1], &[2, 2, 2]).unwrap().copy(&[7, 8]), [7, 7, 8, 8, 7, 7, 8, 8]);
        assert_eq!(View::broadcast(&[], &[3]).unwrap().copy(&[7]), [7, 7, 7]);
        assert_eq!(View::of(&[]).copy(&[7]), [7]);
        assert!(View::of(&[2, 0]).copy(&data).is_empty());
        assert!(View::broadcast(&[3], &[2]).is_none());
    }

    #[test]
    fn shapes_meet_as_numpy_broadcasts() {
        assert_eq!(common_shape(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
        assert_eq!(common_shape(&[], &[5]), Some(vec![5]));
        assert_eq!(common_shape(&[2], &[3]), None);
    }
}
