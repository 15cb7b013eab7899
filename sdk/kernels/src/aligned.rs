//! Values from the beginning of a cache line on, so that what fills a register lies in one line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the largest registers.
const LINE: usize = 64;

/// As many values as it was made with.
#[derive(Debug)]
pub struct Aligned<T> {
    /// Those, and as many as alignment may take before and behind them.
    all: Vec<T>,
    first: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// `len` values that are zero.
    pub fn zeroed(len: usize) -> Self {
        // Memory that the system hands out as zeros is not touched.
        let all = vec![T::default(); len + LINE / size_of::<T>()];
        let first = all.as_ptr().align_offset(LINE).min(all.len() - len);
        Self { all, first, len }
    }
}

impl<T: Copy + Default> From<Vec<T>> for Aligned<T> {
    fn from(values: Vec<T>) -> Self {
        let mut aligned = Self::zeroed(values.len());
        aligned.copy_from_slice(&values);
        aligned
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[self.first..self.first + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[self.first..self.first + self.len]
    }
}

/// `floats`, rounded up to whole cache lines.
pub fn whole_lines(floats: usize) -> usize {
    floats.next_multiple_of(LINE / size_of::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_with_a_line_and_are_all_there() {
        for len in [0, 1, 7, 64, 1000] {
            let values: Vec<i16> = (0..len).collect();
            let aligned = Aligned::from(values.clone());
            assert_eq!(*aligned, *values);
            assert_eq!(aligned.as_ptr().addr() % LINE, 0);
        }
    }
}
