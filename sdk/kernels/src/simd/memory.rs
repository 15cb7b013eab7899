//! Values that several workers write to at once, each its own part. Hands out pointers, never reads or writes.

use std::marker::PhantomData;

/// A slice that workers share while they write to disjoint parts of it.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a, T = f32> {
    base: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a pointer and a length; whoever writes through the pointer answers for it.
unsafe impl<T> Send for Memory<'_, T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Memory<'_, T> {}

impl<'a, T> Memory<'a, T> {
    /// Shares `slice`.
    pub fn of(slice: &'a mut [T]) -> Self {
        Self { base: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Number of values.
    pub fn len(self) -> usize {
        self.len
    }

    /// A pointer to value `index`.
    ///
    /// # Panics
    /// Where that lies beyond the end.
    pub fn at(self, index: usize) -> *mut T {
        assert!(index <= self.len, "value {index} of {}", self.len);
        self.base.wrapping_add(index)
    }
}
